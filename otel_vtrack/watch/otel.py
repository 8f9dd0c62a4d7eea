"""Emits events in OpenTelemetry's form: log records with an event name, over OTLP/HTTP."""

from collections.abc import Sequence
from typing import Any, Final

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import (
    LogRecordExporter,
    LogRecordExportResult,
    SimpleLogRecordProcessor,
)
from opentelemetry.sdk.resources import Resource
from typing_extensions import override

from otel_vtrack.query.watch import WatchEvent
from otel_vtrack.watch.delivery import Outcome

_SECONDS: Final = 10.0


class OtelLog:
    """An OTLP endpoint that receives events.

    Args:
        endpoint: Base URL of OTLP/HTTP, to which `/v1/logs` is appended. As for any exporter,
            `OTEL_EXPORTER_OTLP_HEADERS` and the certificates of the environment apply.
    """

    name = "otlp"

    def __init__(self, endpoint: str) -> None:
        self._exporter = _Exporter(
            OTLPLogExporter(endpoint=endpoint.rstrip("/") + "/v1/logs", timeout=_SECONDS)
        )
        provider = LoggerProvider(
            resource=Resource({"service.name": "otel-vtrack"}), shutdown_on_exit=False
        )
        provider.add_log_record_processor(SimpleLogRecordProcessor(self._exporter))
        self._logger = provider.get_logger("otel_vtrack.watch")

    def send(self, event: WatchEvent) -> Outcome:
        """Emit an event; the exporter itself retries for some seconds."""
        self._exporter.delivered = False
        self._logger.emit(record(event))
        if self._exporter.delivered:
            return Outcome(delivered=True)
        return Outcome(delivered=False, why="its endpoint did not accept it")


def record(event: WatchEvent) -> LogRecord:
    """Create the log record of an event."""
    told: dict[str, str | bool | int | float] = {
        "service.name": event.service_name,
        "service.version": event.version,
        "deployment.environment.name": event.environment,
        "deployment.id": event.deployment_id,
        "vtrack.experiment": event.experiment,
        "vtrack.watch.event_id": event.event_id,
        "vtrack.watch.deployment_kind": event.deployment_kind,
        "vtrack.watch.baseline_version": event.baseline_version,
        "vtrack.watch.baseline_deployment_id": event.baseline_deployment_id,
        "vtrack.watch.metric": event.metric,
        "vtrack.watch.baseline": event.baseline,
        "vtrack.watch.candidate": event.candidate,
        "vtrack.watch.difference": event.difference,
        "vtrack.watch.difference_lower": event.difference_lower,
        "vtrack.watch.difference_upper": event.difference_upper,
        "vtrack.watch.threshold": event.threshold,
        "vtrack.watch.baseline_count": event.baseline_count,
        "vtrack.watch.candidate_count": event.candidate_count,
        "vtrack.watch.routes_pooled": event.routes_pooled,
    }
    return LogRecord(
        timestamp=event.event_time_ns,
        observed_timestamp=event.event_time_ns,
        severity_number=SeverityNumber.WARN,
        severity_text="WARN",
        event_name=f"vtrack.watch.{event.kind}",
        body=event.summary,
        attributes={name: value for name, value in told.items() if value != ""},
    )


class _Exporter(LogRecordExporter):
    """Remembers whether the last export succeeded, which a processor does not report."""

    def __init__(self, exporter: LogRecordExporter) -> None:
        self._exporter = exporter
        self.delivered = False

    @override
    def export(self, batch: Sequence[Any]) -> LogRecordExportResult:
        result = self._exporter.export(batch)
        self.delivered = result is LogRecordExportResult.SUCCESS
        return result

    @override
    def force_flush(self, timeout_millis: int = 10_000) -> bool:
        return True

    @override
    def shutdown(self) -> None:
        self._exporter.shutdown()
