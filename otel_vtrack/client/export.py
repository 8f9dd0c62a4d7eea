"""Calls that export and import stored data."""

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
    """Export spans or log records as they were sent, in batches of about `max_bytes`.

    `signal` is `spans` or `log_records`. `filter` selects traces; the two times then apply to the
    starts of their roots.
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
    """Export changes made by people, code and LLM judges.

    `filter` and the two times, which apply to the starts of roots, restrict those of traces.
    """
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
    """Import up to 10,000 changes returned by `export_changes`; duplicates are stored once.

    Returns how many were accepted, including those already stored.
    """
    return repeatable(
        "ExportService/ImportChanges",
        pb.ImportChangesRequest(changes=changes),
        pb.ImportChangesResponse,
        lambda answer: answer.change_count,
        timeout,
    )
