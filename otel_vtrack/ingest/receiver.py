"""What both transports do with a request: check it, queue it, answer once it is stored."""

import asyncio
from collections.abc import Callable, Iterable
from concurrent import futures
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from otel_vtrack.ingest import faults
from otel_vtrack.ingest.commit import GroupCommit
from otel_vtrack.wire import framing, validate

_UTF_8: Final = "x-vtrack-experiment-bin"
EXPERIMENT_HEADERS: Final = ("x-vtrack-experiment", _UTF_8, "x-mlflow-experiment-id")
"""Headers, or gRPC metadata, that name the experiment of a request; the first one wins.

gRPC's metadata is ASCII, except where the name ends in `-bin`.
"""

_LONGEST_EXPERIMENT: Final = 250


@dataclass(frozen=True, slots=True)
class Signal:
    """One kind of telemetry, and how OTLP carries it.

    Attributes:
        name: As in `/v1/<name>`.
        service: The gRPC service.
        request: Message class of a request.
        response: Message class of an answer.
    """

    name: str
    service: str
    request: Any
    response: Any


TRACES: Final = Signal(
    "traces",
    "opentelemetry.proto.collector.trace.v1.TraceService",
    trace_service_pb2.ExportTraceServiceRequest,
    trace_service_pb2.ExportTraceServiceResponse,
)
LOGS: Final = Signal(
    "logs",
    "opentelemetry.proto.collector.logs.v1.LogsService",
    logs_service_pb2.ExportLogsServiceRequest,
    logs_service_pb2.ExportLogsServiceResponse,
)
METRICS: Final = Signal(
    "metrics",
    "opentelemetry.proto.collector.metrics.v1.MetricsService",
    metrics_service_pb2.ExportMetricsServiceRequest,
    metrics_service_pb2.ExportMetricsServiceResponse,
)
SIGNALS: Final = (TRACES, LOGS, METRICS)


class Receiver:
    """Takes requests of all signals, from gRPC and HTTP alike.

    Args:
        traces: Where traces go.
        logs: Where log records go.
        forward_metrics: Called with each request of metrics, in a thread; returns once they
            are safe, or raises as a store does. Without it metrics are not taken.
    """

    def __init__(
        self,
        traces: GroupCommit,
        logs: GroupCommit,
        *,
        forward_metrics: Callable[[bytes], None] | None = None,
    ) -> None:
        self._commits = {TRACES.name: traces, LOGS.name: logs}
        self._forward_metrics = forward_metrics

    async def export(self, signal: Signal, payload: bytes, experiment: str = "") -> bytes:
        """Store a request and return the serialized answer: empty when all of it was taken.

        Raises:
            Exception: Why it was not; `faults.fault_of` puts it in the sender's terms.
        """
        if signal is METRICS:
            if not self._forward_metrics:
                raise faults.not_served("metrics")
            validate.metrics(payload)
            await asyncio.to_thread(self._forward_metrics, payload)
            return b""
        checked = validate.traces(payload) if signal is TRACES else validate.logs(payload)
        if checked.items:
            stored = checked.payload
            if experiment:
                stored = framing.with_experiment(stored, experiment)
            await asyncio.wrap_future(self._commits[signal.name].submit(stored, checked.items))
        return _answer(signal, checked) if checked.message else b""

    def drain(self, timeout: float) -> bool:
        """Take no more, store what waits, and say whether that was done in time.

        Blocks for up to `timeout` seconds; answers go out through the event loop, so call it
        from another thread and stop the transports after it.
        """
        with futures.ThreadPoolExecutor(len(self._commits)) as pool:
            # At once, so that the last signal does not go on taking what it can't store.
            drains = [pool.submit(commit.drain, timeout) for commit in self._commits.values()]
        return all(drain.result() for drain in drains)


def experiment_of(headers: Iterable[tuple[str, str | bytes]]) -> str:
    """Return the experiment that headers in lower case name; empty when none does.

    Raises:
        Refused: It is longer than 250 characters.
    """
    named = {key: value for key, value in headers if key in EXPERIMENT_HEADERS}
    for key in EXPERIMENT_HEADERS:
        if value := named.get(key):
            if isinstance(value, str):
                text = value
            else:
                text = value.decode("utf-8" if key == _UTF_8 else "latin-1", errors="replace")
            if len(text) > _LONGEST_EXPERIMENT:
                raise faults.bad_data(f"{key} is longer than 250 characters; send a shorter name")
            return text
    return ""


def _answer(signal: Signal, checked: validate.Checked) -> bytes:
    answer = signal.response()
    answer.partial_success.error_message = checked.message
    if signal is TRACES:
        answer.partial_success.rejected_spans = checked.rejected
    else:
        answer.partial_success.rejected_log_records = checked.rejected
    return answer.SerializeToString()
