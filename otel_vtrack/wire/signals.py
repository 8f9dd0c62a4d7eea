"""Defines the kinds of telemetry, and how OTLP carries each."""

from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2


@dataclass(frozen=True, slots=True)
class Signal:
    """One kind of telemetry.

    Attributes:
        name: Name, as in `/v1/<name>`.
        service: The gRPC service.
        request: Message class of the request.
        response: Message class of the response.
        rejected: Field of the response's partial success that counts rejected items.
    """

    name: str
    service: str
    request: Any
    response: Any
    rejected: str


TRACES: Final = Signal(
    "traces",
    "opentelemetry.proto.collector.trace.v1.TraceService",
    trace_service_pb2.ExportTraceServiceRequest,
    trace_service_pb2.ExportTraceServiceResponse,
    "rejected_spans",
)
LOGS: Final = Signal(
    "logs",
    "opentelemetry.proto.collector.logs.v1.LogsService",
    logs_service_pb2.ExportLogsServiceRequest,
    logs_service_pb2.ExportLogsServiceResponse,
    "rejected_log_records",
)
METRICS: Final = Signal(
    "metrics",
    "opentelemetry.proto.collector.metrics.v1.MetricsService",
    metrics_service_pb2.ExportMetricsServiceRequest,
    metrics_service_pb2.ExportMetricsServiceResponse,
    "rejected_data_points",
)
SIGNALS: Final = (TRACES, LOGS, METRICS)
