"""The OTLP exporter, pointed at a vtrack receiver on this machine.

Only chooses where to send; the standard exporter handles encoding and retries.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.util.re import parse_env_headers

from otel_vtrack.sdk import guest, settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

GRPC: Final = "grpc"
HTTP: Final = "http/protobuf"
EXPERIMENT_HEADER: Final = "x-vtrack-experiment"

_DEFAULTS: Final = {GRPC: "http://127.0.0.1:4317", HTTP: "http://127.0.0.1:4318"}
_PROTOCOLS: Final = (
    settings.OTEL_VTRACK_PROTOCOL,
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
)
_HEADERS: Final = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")


class VtrackSpanExporter(SpanExporter):
    """Sends spans over OTLP; selected by ``OTEL_TRACES_EXPORTER=vtrack``.

    Everything else (TLS, headers, compression, timeouts) follows the ``OTEL_EXPORTER_OTLP_*``
    variables. With OTEL_VTRACK_EXPERIMENT each request names the experiment in a header.

    Args:
        endpoint: Overrides OTEL_VTRACK_ENDPOINT.
        protocol: Overrides OTEL_VTRACK_PROTOCOL.
        **options: Passed to the standard exporter of that protocol.
    """

    def __init__(
        self, endpoint: str | None = None, *, protocol: str | None = None, **options: Any
    ) -> None:
        protocol = protocol or _first(_PROTOCOLS) or GRPC
        if protocol not in _DEFAULTS:
            # Raising would abort all instrumentation. `http/json` has an endpoint for HTTP.
            why = ValueError(f"unknown protocol {protocol!r}; use {GRPC} or {HTTP}")
            guest.swallow(why, "choosing the protocol of the exporter")
            protocol = HTTP if protocol.startswith("http") else GRPC
        options.setdefault("headers", _headers(protocol))
        self._inner: SpanExporter
        # Import only the chosen exporter: grpc alone takes a large part of a second.
        if protocol == GRPC:
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415
                OTLPSpanExporter as GrpcExporter,
            )

            self._inner = GrpcExporter(endpoint=_endpoint(endpoint, GRPC), **options)
        else:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
                OTLPSpanExporter as HttpExporter,
            )

            self._inner = HttpExporter(endpoint=_endpoint(endpoint, HTTP), **options)

    def export(self, spans: "Sequence[ReadableSpan]") -> SpanExportResult:
        """Send a batch; return failures as results, where older exporters raise."""
        try:
            return self._inner.export(spans)
        except Exception as error:  # noqa: BLE001 - any failure to send
            guest.debug("could not send %d spans: %s", len(spans), error)
            return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Close the connection."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush the standard exporter; nothing is buffered here."""
        return self._inner.force_flush(timeout_millis)


def _endpoint(given: str | None, protocol: str) -> str | None:
    """Return the endpoint; None lets the standard exporter read the traces variable.

    Over HTTP, OTLP appends a path to the endpoint for all signals but uses the one for traces as it
    is. Our variable and the default are for all signals.
    """
    endpoint = given or settings.text(settings.OTEL_VTRACK_ENDPOINT)
    if not endpoint:
        if settings.text("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
            return None
        endpoint = settings.text("OTEL_EXPORTER_OTLP_ENDPOINT") or _DEFAULTS[protocol]
    if "://" not in endpoint:
        endpoint = f"http://{endpoint}"
    try:
        parts = urlsplit(endpoint)
    except ValueError as error:
        # As above: raising would abort all instrumentation.
        guest.swallow(error, "reading the endpoint of the exporter")
        return _endpoint(_DEFAULTS[protocol], protocol)
    if protocol == GRPC:
        # gRPC ignores a user and password but logs them with every failure.
        parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    elif not parts.path.endswith("/v1/traces"):
        parts = parts._replace(path=parts.path.rstrip("/") + "/v1/traces")
    return urlunsplit(parts)


def _headers(protocol: str) -> dict[str, Any] | None:
    """Return the headers to send; None lets the standard exporter read its variables."""
    experiment = settings.text(settings.OTEL_VTRACK_EXPERIMENT)
    if not experiment:
        return None
    # Headers passed to the standard exporter replace those in its variables, so include them.
    standard = parse_env_headers(_first(_HEADERS) or "", liberal=True)
    return {**_experiment_header(experiment, protocol), **standard}


def _experiment_header(experiment: str, protocol: str) -> dict[str, Any]:
    """Encode the experiment so that the protocol can send it; otherwise all spans would be lost."""
    if experiment.isascii() and experiment.isprintable():
        return {EXPERIMENT_HEADER: experiment}
    name, value = f"{EXPERIMENT_HEADER}-bin", experiment.encode(errors="replace")
    if protocol == GRPC:
        return {name: value}
    # HTTP allows bytes too, but the standard exporter takes text and sends it as Latin-1.
    return {name: value.decode("latin-1")} if experiment.isprintable() else {}


def _first(names: Sequence[str]) -> str | None:
    return next(filter(None, map(settings.text, names)), None)
