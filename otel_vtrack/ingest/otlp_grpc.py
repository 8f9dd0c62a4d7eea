"""OTLP over gRPC: TraceService, LogsService and MetricsService.

The services are generic handlers on raw bytes, so a request is parsed once, by validation,
and reaches the store unchanged. They need a `grpc.aio` server: an export waits for an insert,
and hundreds may wait without a thread each.

    server = grpc.aio.server(options=otlp_grpc.server_options())
    otlp_grpc.add_otlp(server, receiver)
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn

import grpc
import grpc.aio

from otel_vtrack.ingest import faults
from otel_vtrack.ingest.receiver import Receiver, adjusted_count_of, experiment_of
from otel_vtrack.wire.signals import SIGNALS, Signal

MAX_MESSAGE_BYTES: Final = 64 << 20
"""Default size limit of a request, compressed or not; the same as OTLP's."""

MAX_CONNECTIONS: Final = 1_000
"""Default limit of concurrent connections."""

# Per connection; the client delays further calls. RFC 9113 section 6.5.2 recommends no fewer.
_MOST_CALLS: Final = 100
# For the handshake; a silent connection would otherwise take a place for two minutes.
_HANDSHAKE_MS: Final = 10_000
# A connection whose other end is gone without a word would otherwise take a place for two hours.
_ASKED_AFTER_MS: Final = 60_000
_ANSWER_MS: Final = 20_000
_STATUS_TRAILER: Final = "grpc-status-details-bin"
# Python's OTLP exporter looks for the delay here and nowhere else.
_RETRY_TRAILER: Final = "google.rpc.retryinfo-bin"


def server_options(
    max_message_bytes: int = MAX_MESSAGE_BYTES, max_connections: int = MAX_CONNECTIONS
) -> list[tuple[str, int]]:
    """Return the channel arguments for a server that carries OTLP."""
    return [
        # grpcio applies this before and after decompression, and stops decompressing once it is
        # exceeded; the client gets RESOURCE_EXHAUSTED without RetryInfo.
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_concurrent_streams", _MOST_CALLS),
        # Further connections are closed, which clients see as UNAVAILABLE.
        ("grpc.max_allowed_incoming_connections", max_connections),
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
        ("grpc.keepalive_time_ms", _ASKED_AFTER_MS),
        ("grpc.keepalive_timeout_ms", _ANSWER_MS),
        ("grpc.http2.ping_timeout_ms", _ANSWER_MS),
        # Otherwise Go clients with keepalive are disconnected for "too_many_pings".
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
        ("grpc.http2.max_ping_strikes", 0),
        # A second server on a taken port must fail, not share it.
        ("grpc.so_reuseport", 0),
    ]


def add_otlp(server: grpc.aio.Server, receiver: Receiver) -> None:
    """Serve OTLP on `server`, alongside its other services."""
    server.add_generic_rpc_handlers(
        tuple(
            grpc.method_handlers_generic_handler(
                signal.service,
                {"Export": grpc.unary_unary_rpc_method_handler(_export(receiver, signal))},
            )
            for signal in SIGNALS
        )
    )


def _export(
    receiver: Receiver, signal: Signal
) -> Callable[[bytes, "grpc.aio.ServicerContext[Any, Any]"], Awaitable[bytes]]:
    async def export(request: bytes, context: "grpc.aio.ServicerContext[Any, Any]") -> bytes:
        try:
            headers = context.invocation_metadata() or ()
            experiment, count = experiment_of(headers), adjusted_count_of(headers)
            return await receiver.export(signal, request, experiment, count)
        except Exception as error:  # noqa: BLE001 - uncaught, it would be UNKNOWN: lost data
            fault = faults.fault_of(error)
        return await abort(context, fault)

    return export


async def abort(context: "grpc.aio.ServicerContext[Any, Any]", fault: faults.Fault) -> NoReturn:
    """End a call with a fault, and with the retry delay if it is retryable."""
    trailers = [(_STATUS_TRAILER, fault.status().SerializeToString())]
    if retry := fault.retry_info():
        trailers.append((_RETRY_TRAILER, retry.SerializeToString()))
    await context.abort(fault.code, fault.message, tuple(trailers))
