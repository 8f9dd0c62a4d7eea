"""Gives out all telemetry, page by page, in the order in which it is stored.

A page goes on behind a key and not behind a number of rows, so that each costs the same, and none
shifts when more arrives. What arrives behind the place of an export comes with it, what arrives
before does not.
"""

import struct
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from google.protobuf.message import Message
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, LogsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import export, trace_search
from otel_vtrack.query.export import ResourceRow, ScopeRow
from otel_vtrack.query.filter import compile_traces
from otel_vtrack.query.rowbinary import Reader
from otel_vtrack.store.client import Store
from otel_vtrack.wire.attributes import set_value

DEFAULT_BYTES: Final = 4 << 20
MOST_BYTES: Final = 32 << 20
_MOST_ROWS: Final = 10_000
_TRACES: Final = 100
_MINUTE_NS: Final = 60_000_000_000

EARLIEST_NS: Final = -(1 << 63)
LATEST_NS: Final = (1 << 63) - 1
_ALL_MINUTES: Final = (1 << 32) - 1
_RECORD: Final = struct.Struct("<QQQiBIIII")


@dataclass(frozen=True, slots=True, kw_only=True)
class What:
    """Which telemetry.

    Attributes:
        experiment: What telemetry calls it; empty for all.
        traces: Trace id and experiment of each trace to give; empty for all. Log records are of
            these traces, in whatever experiment.
        first_minute: No span of theirs starts before, in seconds since 1970.
        last_minute: Nor in a minute after this one.
        from_ns: Starts, or was logged, then or later, in nanoseconds since 1970.
        last_ns: Not after this.
    """

    experiment: str = ""
    traces: tuple[tuple[str, str], ...] = ()
    first_minute: int = 0
    last_minute: int = _ALL_MINUTES
    from_ns: int = EARLIEST_NS
    last_ns: int = LATEST_NS


class Batch(NamedTuple):
    """Telemetry of one experiment, as OTLP, and how many spans each one stands for."""

    experiment: str
    otlp: Message
    item_count: int
    adjusted_count: float = 0.0


class Page(NamedTuple):
    """A page, and the key of the last on it; None if there is nothing behind it."""

    batches: list[Batch]
    place: list[Any] | None


class _Record(NamedTuple):
    """A log record as the store has it."""

    experiment: str
    resource: ResourceRow
    scope: ScopeRow
    record: LogRecord


class Reads(NamedTuple):
    """How a kind of telemetry is read.

    Attributes:
        page: `spans` or `log_records`.
        start: Its first key.
    """

    page: Callable[[Store, What, list[Any], int], Page]
    start: list[Any]


FOUND_START: Final[list[Any]] = [""]
SPANS_START: Final = [0, "0" * 32, EARLIEST_NS, "0" * 16]
LOG_RECORDS_START: Final = ["", 0, 0]


def size(asked: int) -> int:
    """Return how many bytes a page has; `asked` is 0 for as many as usual.

    Raises:
        InvalidArgument: It is out of range.
    """
    if not 0 <= asked <= MOST_BYTES:
        raise InvalidArgument(f"max_bytes is from 1 to {MOST_BYTES}, or 0 for {DEFAULT_BYTES}")
    return asked or DEFAULT_BYTES


def spans(store: Store, what: What, after: list[Any], max_bytes: int) -> Page:
    """Return the page of spans behind a key, as `Page.place` gave it or SPANS_START."""
    minute, trace_id, start_ns, span_id = after
    parameters: dict[str, Any] = {
        "after_minute": max(minute, what.first_minute),
        "after_trace_id": trace_id,
        "after_ns": start_ns,
        "after_span_id": span_id,
        "last_minute": what.last_minute,
        **_common(what, max_bytes),
    }
    for window in store.query("export/spans_window", parameters):
        parameters |= window
    for place in store.query("export/spans_place", parameters):
        parameters |= {
            "last_minute": place["minute"],
            "last_trace_id": place["trace_id"],
            "last_start_ns": place["start_ns"],
            "last_span_id": place["span_id"],
        }
        rows = Reader(store.binary("export/spans", parameters))
        return Page(list(_span_batches(_each_span(rows))), list(place.values()))
    return Page([], None)


def log_records(store: Store, what: What, after: list[Any], max_bytes: int) -> Page:
    """Return the page of log records behind a key, or LOG_RECORDS_START; see `spans`."""
    event_name, minute, record_id = after
    parameters: dict[str, Any] = {
        "after_event_name": event_name,
        "after_minute": minute,
        "after_record_id": record_id,
        **_common(what, max_bytes),
    }
    for window in store.query("export/log_records_window", parameters):
        parameters |= {name: window[name] for name in ("last_event_name", "last_minute")}
        for place in store.query("export/log_records_place", parameters):
            parameters |= {
                "last_event_name": place["event_name"],
                "last_minute": place["minute"],
                "last_record_id": place["record_id"],
            }
            rows = Reader(store.binary("export/log_records", parameters))
            return Page(list(_record_batches(_each_record(rows))), list(place.values()))
    return Page([], None)


def _common(what: What, max_bytes: int) -> dict[str, Any]:
    return {
        "experiment": what.experiment,
        "trace_ids": sorted({trace_id for trace_id, _ in what.traces}),
        "parts": [trace_id + experiment for trace_id, experiment in what.traces],
        "from_ns": what.from_ns,
        "last_ns": what.last_ns,
        "max_rows": _MOST_ROWS,
        "max_bytes": max_bytes,
    }


def _each_span(rows: Reader) -> Iterator[tuple[bytes, export.SpanRow]]:
    before: tuple[bytes, bytes, int] | None = None
    while rows.more:
        trace_id = rows.fixed(16)
        span = export.read_span(rows)
        key = (trace_id, span.span_id, span.start_time_unix_nano)
        if key != before:
            yield trace_id, span
        before = key


def _span_batches(spans: Iterator[tuple[bytes, export.SpanRow]]) -> Iterator[Batch]:
    data: dict[tuple[str, float], TracesData] = {}
    counts: dict[tuple[str, float], int] = {}
    groups: dict[Any, Any] = {}
    for trace_id, span in spans:
        key = (span.experiment, span.adjusted_count)
        outer = (*key, span.resource)
        if outer not in groups:
            whole = data.setdefault(key, TracesData())
            groups[outer] = export.add_resource(whole.resource_spans, span.resource)
        inner = (*outer, span.scope)
        if inner not in groups:
            groups[inner] = export.add_scope(groups[outer].scope_spans, span.scope)
        export.add_span(groups[inner], trace_id, span)
        counts[key] = counts.get(key, 0) + 1
    for key, otlp in data.items():
        yield Batch(key[0], otlp, counts[key], key[1])


def _each_record(rows: Reader) -> Iterator[_Record]:
    before = None
    while rows.more:
        record_id, record = _record(rows)
        if record_id != before:
            yield record
        before = record_id


def _record(row: Reader) -> tuple[int, _Record]:
    """Read a row of `export/log_records`."""
    (
        record_id,
        time_unix_nano,
        observed,
        severity,
        body_type,
        dropped,
        flags,
        scope_dropped,
        resource_dropped,
    ) = row.fields(_RECORD)
    experiment, severity_text, event_name = row.text(), row.text(), row.text()
    body, trace_id, span_id = row.string(), row.string(), row.string()
    attributes = row.attributes()
    resource = ResourceRow(row.attributes(), tuple(row.strings()), resource_dropped, row.text())
    name, version = row.text(), row.text()
    scope = ScopeRow(name, version, tuple(row.strings()), scope_dropped, row.text())
    record = LogRecord(
        time_unix_nano=time_unix_nano,
        observed_time_unix_nano=observed,
        severity_number=severity,
        severity_text=severity_text,
        event_name=event_name,
        dropped_attributes_count=dropped,
        flags=flags,
        trace_id=trace_id,
        span_id=span_id,
    )
    if body_type:
        set_value(record.body, body, body_type)
    attributes.fill(record.attributes)
    return record_id, _Record(experiment, resource, scope, record)


def _record_batches(records: Iterator[_Record]) -> Iterator[Batch]:
    data: dict[str, LogsData] = {}
    counts: dict[str, int] = {}
    groups: dict[Any, Any] = {}
    for experiment, resource, scope, record in records:
        outer = (experiment, resource)
        if outer not in groups:
            whole = data.setdefault(experiment, LogsData())
            groups[outer] = export.add_resource(whole.resource_logs, resource)
        inner = (*outer, scope)
        if inner not in groups:
            groups[inner] = export.add_scope(groups[outer].scope_logs, scope)
        groups[inner].log_records.add().CopyFrom(record)
        counts[experiment] = counts.get(experiment, 0) + 1
    for experiment, otlp in data.items():
        yield Batch(experiment, otlp, counts[experiment])


def found(
    store: Store, what: What, text: str, place: list[Any], *, max_bytes: int, read: Reads
) -> Page:
    """Return a page of the traces that a filter finds; see `spans`.

    Args:
        store: Where to look.
        what: Its times are those of the traces.
        text: In the search language.
        place: As `Page.place` gave it; FOUND_START at first.
        max_bytes: About so many.
        read: `spans` or `log_records`, with where it starts.
    """
    token, inner = place[0], place[1:]
    also: list[str] = []
    # To milliseconds, as the language has it; then to the nanosecond.
    if what.from_ns != EARLIEST_NS:
        also.append(f"timestamp >= {what.from_ns // 1_000_000}")
    if what.last_ns != LATEST_NS:
        also.append(f"timestamp <= {what.last_ns // 1_000_000 + 1}")
    page = trace_search.search(
        store,
        experiment=what.experiment,
        text=_both(text, also),
        page_size=_TRACES,
        page_token=token,
    )
    some = [
        (info.trace_id, info.experiment)
        for info in page.traces
        if what.from_ns <= info.request_time_ns <= what.last_ns
    ]
    batches: list[Batch] = []
    on: list[Any] | None = None
    if some:
        these = _bounded(store, What(experiment=what.experiment, traces=tuple(some)))
        batches, on = read.page(store, these, inner or read.start, max_bytes)
    if on is not None:
        return Page(batches, [token, *on])
    return Page(batches, [page.next_page_token] if page.next_page_token else None)


def chosen(store: Store, experiment: str, text: str, trace_ids: Collection[str]) -> set[str]:
    """Return which of some traces a filter finds."""
    taken: set[str] = set()
    ids = sorted(trace_ids)
    for at in range(0, len(ids), _TRACES):
        some = ", ".join(f"'{trace_id}'" for trace_id in ids[at : at + _TRACES])
        token = ""
        while True:
            page = trace_search.search(
                store,
                experiment=experiment,
                text=_both(text, [f"request_id IN ({some})"]),
                page_token=token,
            )
            taken |= {info.trace_id for info in page.traces}
            if not (token := page.next_page_token):
                break
    return taken


def _both(text: str, also: Sequence[str]) -> str:
    """Join a filter with conditions; what is wrong with it is told by its own columns."""
    if not also:
        return text
    compile_traces(text)
    return " AND ".join([f"({text})", *also])


def _bounded(store: Store, what: What) -> What:
    """Say in which minutes the spans of traces are, so that they are found quickly."""
    ids = sorted({trace_id for trace_id, _ in what.traces})
    known = store.query("export/starts", {"trace_ids": ids})
    if not known:
        return what
    first = min(it["start_ns"] for it in known) // _MINUTE_NS * 60
    last = max(it["end_ns"] for it in known) // _MINUTE_NS * 60
    if first < 0 or last >= _ALL_MINUTES:
        # The key's minutes wrap around outside of these: they may be any.
        return what
    return replace(what, first_minute=first, last_minute=last)
