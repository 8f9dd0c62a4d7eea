"""Moving what a server keeps."""

from collections.abc import Iterable
from datetime import datetime

from otel_vtrack.client.call import Call, Pages, repeatable
from otel_vtrack.client.values import choice, timestamp
from otel_vtrack.v1 import export_pb2 as pb


def export_telemetry(
    signal: "str | pb.TelemetrySignal.ValueType",
    filter: str = "",  # noqa: A002 - as in the protos
    *,
    experiment: str = "",
    start_time_from: datetime | None = None,
    start_time_until: datetime | None = None,
    max_bytes: int = 0,
    timeout: float | None = None,
) -> Pages[pb.TelemetryBatch]:
    """Give all spans or log records as they were sent, in batches of about `max_bytes`.

    `signal` is `spans` or `log_records`. With a filter, of traces, the times are those of traces.
    """
    return Pages(
        method="ExportService/ExportTelemetry",
        request=pb.ExportTelemetryRequest(
            signal=choice(pb.TelemetrySignal, signal),
            filter=filter,
            experiment=experiment,
            start_time_from=timestamp(start_time_from),
            start_time_until=timestamp(start_time_until),
            max_bytes=max_bytes,
        ),
        response=pb.ExportTelemetryResponse,
        item=pb.TelemetryBatch,
        field="batches",
        sized=False,
        timeout=timeout,
    )


def export_changes(
    filter: str = "",  # noqa: A002 - as in the protos
    *,
    experiment: str = "",
    start_time_from: datetime | None = None,
    start_time_until: datetime | None = None,
    page_size: int = 0,
    timeout: float | None = None,
) -> Pages[pb.Change]:
    """Give all that people, code and judges wrote; filter and times are those of traces."""
    return Pages(
        method="ExportService/ExportChanges",
        request=pb.ExportChangesRequest(
            filter=filter,
            experiment=experiment,
            start_time_from=timestamp(start_time_from),
            start_time_until=timestamp(start_time_until),
            page_size=page_size,
        ),
        response=pb.ExportChangesResponse,
        item=pb.Change,
        field="changes",
        timeout=timeout,
    )


def import_changes(changes: Iterable[pb.Change], *, timeout: float | None = None) -> Call[int]:
    """Take up to 10,000 changes as `export_changes` gave them; what is there counts once.

    Returns how many were taken.
    """
    return repeatable(
        "ExportService/ImportChanges",
        pb.ImportChangesRequest(changes=changes),
        pb.ImportChangesResponse,
        lambda answer: answer.change_count,
        timeout,
    )
