#!/bin/sh
# Rotel beside an application, before vtrack: pip install rotel, then
#
#     VTRACK_ENDPOINT=http://127.0.0.1:14317 OTEL_VTRACK_VERSION=2.4.0 ./start.sh
#
# The application exports OTLP to 127.0.0.1:4317 (gRPC) or :4318 (HTTP). Options that are added here
# go to Rotel, and every one of Rotel's can be a variable: `ROTEL_...`.
#
#   VTRACK_ENDPOINT     http:// or https://HOST:PORT of vtrack's gRPC
#   VTRACK_TOKEN_FILE   file whose first line is the token, if it asks for one
#   VTRACK_CA_FILE      authorities of its certificate, if not the usual ones
#   OTEL_VTRACK_...     what this application is: stamp_version.py says which there are
#   ROTEL               the program, where it is not that of the Python package
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
: "${VTRACK_ENDPOINT:?say where vtrack is, as in http://127.0.0.1:14317}"
if [ -z "${ROTEL:-}" ]; then
    ROTEL=$(python3 -c 'import pathlib, rotel; print(pathlib.Path(rotel.__file__).with_name("rotel-agent"))')
fi

export ROTEL_OTLP_WITH_TRACE_PROCESSOR="$here/stamp_version.py"
export ROTEL_OTLP_WITH_LOGS_PROCESSOR="$here/stamp_version.py"
export ROTEL_OTLP_WITH_METRICS_PROCESSOR="$here/stamp_version.py"

export ROTEL_EXPORTER=otlp
export ROTEL_OTLP_EXPORTER_PROTOCOL=grpc
export ROTEL_OTLP_EXPORTER_ENDPOINT="$VTRACK_ENDPOINT"
export ROTEL_OTLP_EXPORTER_COMPRESSION="${ROTEL_OTLP_EXPORTER_COMPRESSION:-none}"
if [ -n "${VTRACK_CA_FILE:-}" ]; then
    # Rotel 0.0.1a15 does not start with its own option for it.
    export SSL_CERT_FILE="$VTRACK_CA_FILE"
    unset SSL_CERT_DIR
fi
if [ -n "${VTRACK_TOKEN_FILE:-}" ]; then
    # In the environment, as others on the machine can read flags.
    token=$(grep -v -e '^#' -e '^[[:space:]]*$' "$VTRACK_TOKEN_FILE" | head -n 1)
    export ROTEL_OTLP_EXPORTER_CUSTOM_HEADERS="authorization=Bearer $token"
fi

# Rotel holds what waits in memory only: 4,096 spans a request, and an hour of tries while vtrack is
# away.
export ROTEL_BATCH_MAX_SIZE="${ROTEL_BATCH_MAX_SIZE:-4096}"
export ROTEL_OTLP_GRPC_MAX_RECV_MSG_SIZE_MIB="${ROTEL_OTLP_GRPC_MAX_RECV_MSG_SIZE_MIB:-64}"
export ROTEL_OTLP_EXPORTER_RETRY_MAX_ELAPSED_TIME="${ROTEL_OTLP_EXPORTER_RETRY_MAX_ELAPSED_TIME:-3600s}"

exec "$ROTEL" start "$@"
