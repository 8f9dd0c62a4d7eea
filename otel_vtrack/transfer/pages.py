"""Reads the data of a server, page by page."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from otel_vtrack.client import Client
from otel_vtrack.client.call import Call
from otel_vtrack.transfer.items import CHANGES, LOG_RECORDS, SPANS, Changes, Item, Telemetry, What
from otel_vtrack.v1 import export_pb2

START: Final = (SPANS, "")
_STAGES: Final = (SPANS, LOG_RECORDS, CHANGES)
_SIGNALS: Final = {
    SPANS: export_pb2.TELEMETRY_SIGNAL_SPANS,
    LOG_RECORDS: export_pb2.TELEMETRY_SIGNAL_LOG_RECORDS,
}
_SECONDS: Final = 120.0

MAX_BYTES = 16 << 20
PAGE_SIZE = 0
"""Page limits; 0 means the server's default, whose number of bytes is too low to be efficient."""

Place = tuple[str, str]
"""A stage, and the token of its next page."""


def read(
    client: Client, what: What, place: Place = START
) -> Iterator[tuple[list[Item], Place | None]]:
    """Yield pages from a place on, each with the place that follows; None after the last.

    While the caller handles a page, the next one is being fetched.
    """
    with ThreadPoolExecutor(1, "vtrack-export") as pool:
        asked: Future[tuple[list[Item], str]] | None = pool.submit(_page, client, what, *place)
        while asked is not None:
            items, token = asked.result()
            behind = (place[0], token) if token else _next_stage(place[0])
            asked = pool.submit(_page, client, what, *behind) if behind else None
            yield items, behind
            place = behind or place


def _next_stage(stage: str) -> Place | None:
    at = _STAGES.index(stage) + 1
    return (_STAGES[at], "") if at < len(_STAGES) else None


def _page(client: Client, what: What, stage: str, token: str) -> tuple[list[Item], str]:
    limits: dict[str, Any] = {
        "experiment": what.experiment,
        "start_time_from": _timestamp(what.since),
        "start_time_until": _timestamp(what.until),
        "filter": what.filter,
        "page_token": token,
    }
    if stage == CHANGES:
        changed = client.ask(
            Call(
                method="ExportService/ExportChanges",
                request=export_pb2.ExportChangesRequest(page_size=PAGE_SIZE, **limits),
                response=export_pb2.ExportChangesResponse,
                read=_itself,
                repeatable=True,
                timeout=_SECONDS,
            )
        )
        return [Changes(list(changed.changes))] if changed.changes else [], changed.next_page_token
    found = client.ask(
        Call(
            method="ExportService/ExportTelemetry",
            request=export_pb2.ExportTelemetryRequest(
                signal=_SIGNALS[stage], max_bytes=MAX_BYTES, **limits
            ),
            response=export_pb2.ExportTelemetryResponse,
            read=_itself,
            repeatable=True,
            timeout=_SECONDS,
        )
    )
    items: list[Item] = [
        Telemetry(stage, it.experiment, it.otlp, it.item_count, it.adjusted_count)
        for it in found.batches
    ]
    return items, found.next_page_token


def _itself(answer: Any) -> Any:
    return answer


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message
