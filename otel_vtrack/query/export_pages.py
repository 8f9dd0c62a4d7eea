"""Export all telemetry page by page, in storage order.

A page continues after a key rather than after a number of rows, so every page costs the same and
new rows do not shift it. Rows that arrive after the export's current place are included, those that
arrive before it are not.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final, NamedTuple

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import trace_search
from otel_vtrack.query.export_messages import Batch, Row, batches, rows
from otel_vtrack.query.filter import compile_traces
from otel_vtrack.query.prices import BUILT_IN, Prices
from otel_vtrack.query.rowbinary import Reader
from otel_vtrack.store.client import Store

DEFAULT_BYTES: Final = 4 << 20
MOST_BYTES: Final = 32 << 20
_FEWEST_ROWS: Final = 1_000
_MOST_ROWS: Final = 200_000
_TRACES: Final = 100
_MINUTE_NS: Final = 60_000_000_000

EARLIEST_NS: Final = -(1 << 63)
LATEST_NS: Final = (1 << 63) - 1
_ALL_MINUTES: Final = (1 << 32) - 1
# Where the engine writes them in a span: its first fields, of fixed length.
_TRACE_ID: Final = slice(2, 18)
_SPAN_ID: Final = slice(20, 28)


@dataclass(frozen=True, slots=True, kw_only=True)
class What:
    """Which telemetry to export.

    Attributes:
        experiment: Its name in telemetry; empty for all.
        traces: Trace ID and experiment of each trace; empty for all. Log records of these traces
            are exported from any experiment.
        first_minute: No span of these traces starts before it, in seconds since 1970.
        last_minute: None starts in a later minute.
        from_ns: Only what started or was logged at or after this, in nanoseconds since 1970.
        last_ns: Only what started or was logged at or before this.
    """

    experiment: str = ""
    traces: tuple[tuple[str, str], ...] = ()
    first_minute: int = 0
    last_minute: int = _ALL_MINUTES
    from_ns: int = EARLIEST_NS
    last_ns: int = LATEST_NS


class Page(NamedTuple):
    """A page and the key of its last row; None if there are no more."""

    batches: list[Batch]
    place: list[Any] | None


class Reads(NamedTuple):
    """How to read a kind of telemetry.

    Attributes:
        page: `spans` or `log_records`.
        start: Its first key.
    """

    page: Callable[[Store, What, list[Any], int], Page]
    start: list[Any]


FOUND_START: Final[list[Any]] = [""]
# The key is followed by the approximate number of rows on a page.
SPANS_START: Final = [0, "0" * 32, EARLIEST_NS, "0" * 16, 16 * _FEWEST_ROWS]
LOG_RECORDS_START: Final = ["", 0, 0, 16 * _FEWEST_ROWS]


def size(asked: int) -> int:
    """Return the size of a page in bytes; 0 stands for the default.

    Raises:
        InvalidArgument: It is out of range.
    """
    if not 0 <= asked <= MOST_BYTES:
        raise InvalidArgument(f"max_bytes must be from 1 to {MOST_BYTES}, or 0 for {DEFAULT_BYTES}")
    return asked or DEFAULT_BYTES


def spans(store: Store, what: What, after: list[Any], max_bytes: int) -> Page:
    """Return the page of spans after a key: a `Page.place` or SPANS_START."""
    minute, trace_id, start_ns, span_id, count = after
    parameters: dict[str, Any] = {
        "after_minute": max(minute, what.first_minute),
        "after_trace_id": trace_id,
        "after_ns": start_ns,
        "after_span_id": span_id,
        "last_minute": what.last_minute,
        **_common(what, count),
    }

    def around(hashes: list[str]) -> Reader:
        return Reader(store.binary("export/span_groups", parameters | {"hashes": hashes}))

    # Without a last minute, the engine would read the first rows of every part, whatever their
    # time.
    for window in store.query("export/spans_window", parameters):
        parameters |= window
        read = store.messages("export/spans", parameters, "Span", most_bytes=max_bytes)
        # There are none if every row of the window has just been deleted.
        if found := rows(read, max_bytes):
            last = found[-1]
            place = [
                last.minute,
                last.otlp[_TRACE_ID].hex(),
                _signed(last.number),
                last.otlp[_SPAN_ID].hex(),
                _next_count(count, found, max_bytes),
            ]
            return Page(list(batches(_each_span(found), around)), place)
    return Page([], None)


def _next_count(count: int, found: list[Row], max_bytes: int) -> int:
    """Return the approximate number of rows for the next page."""
    if sum(len(row.otlp) for row in found) >= max_bytes:
        return min(max(len(found), _FEWEST_ROWS), _MOST_ROWS)
    return min(max(2 * len(found), count), _MOST_ROWS)


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


def _each_span(found: Iterable[Row]) -> Iterator[Row]:
    """Drop duplicate spans, which are adjacent."""
    before = (b"", 0)
    for row in found:
        key = (row.otlp[: _SPAN_ID.stop], row.number)
        if key != before:
            yield row
        before = key


def log_records(store: Store, what: What, after: list[Any], max_bytes: int) -> Page:
    """Return the page of log records after a key, or LOG_RECORDS_START; see `spans`."""
    event_name, minute, record_id, count = after
    parameters: dict[str, Any] = {
        "after_event_name": event_name,
        "after_minute": minute,
        "after_record_id": record_id,
        **_common(what, count),
    }

    def around(hashes: list[str]) -> Reader:
        return Reader(store.binary("export/log_record_groups", parameters | {"hashes": hashes}))

    for window in store.query("export/log_records_window", parameters):
        parameters |= {name: window[name] for name in ("last_event_name", "last_minute")}
        read = store.messages("export/log_records", parameters, "LogRecord", most_bytes=max_bytes)
        if found := rows(read, max_bytes):
            last = found[-1]
            place = [
                LogRecord.FromString(last.otlp).event_name,
                last.minute,
                last.number,
                _next_count(count, found, max_bytes),
            ]
            return Page(list(batches(_each_record(found), around)), place)
    return Page([], None)


def _each_record(found: Iterable[Row]) -> Iterator[Row]:
    before = None
    for row in found:
        if row.number != before:
            yield row
        before = row.number


def _common(what: What, count: int) -> dict[str, Any]:
    return {
        "experiment": what.experiment,
        "trace_ids": sorted({trace_id for trace_id, _ in what.traces}),
        "parts": [trace_id + experiment for trace_id, experiment in what.traces],
        "from_ns": what.from_ns,
        "last_ns": what.last_ns,
        "max_rows": count,
    }


def found(
    store: Store,
    what: What,
    text: str,
    place: list[Any],
    *,
    max_bytes: int,
    read: Reads,
    table: Prices = BUILT_IN,
) -> Page:
    """Return a page of the traces that match a filter; see `spans`.

    Args:
        store: The store to query.
        what: What to export; its times apply to the starts of the traces' roots.
        text: A filter in the search language.
        place: A `Page.place`; FOUND_START for the first page.
        max_bytes: The approximate size of the page.
        read: `spans` or `log_records`, with its first key.
        table: The prices of tokens.
    """
    token, inner = place[0], place[1:]
    also: list[str] = []
    if what.from_ns != EARLIEST_NS:
        also.append(f"timestamp >= {_milliseconds(what.from_ns)}")
    if what.last_ns != LATEST_NS:
        also.append(f"timestamp <= {_milliseconds(what.last_ns)}")
    page = trace_search.search(
        store,
        experiment=what.experiment,
        text=_both(text, also),
        page_size=_TRACES,
        page_token=token,
        table=table,
    )
    some = [(info.trace_id, info.experiment) for info in page.traces]
    read_now: list[Batch] = []
    on: list[Any] | None = None
    if some:
        these = _bounded(store, What(experiment=what.experiment, traces=tuple(some)))
        read_now, on = read.page(store, these, inner or read.start, max_bytes)
    if on is not None:
        return Page(read_now, [token, *on])
    return Page(read_now, [page.next_page_token] if page.next_page_token else None)


def chosen(
    store: Store,
    experiment: str,
    text: str,
    trace_ids: Collection[str],
    table: Prices = BUILT_IN,
) -> set[str]:
    """Return which of the given traces match a filter, with the given token prices."""
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
                table=table,
            )
            taken |= {info.trace_id for info in page.traces}
            if not (token := page.next_page_token):
                break
    return taken


def _milliseconds(time_ns: int) -> str:
    """Write a time in the search language, exact to the nanosecond."""
    return f"{Decimal(time_ns).scaleb(-6):f}"


def _both(text: str, also: Sequence[str]) -> str:
    """Join a filter with conditions; check it first, so that errors refer to its own columns."""
    if not also:
        return text
    compile_traces(text, priced=list)
    return " AND ".join([f"({text})", *also])


def _bounded(store: Store, what: What) -> What:
    """Add the range of minutes that contains the spans of the traces, to find them quickly."""
    ids = sorted({trace_id for trace_id, _ in what.traces})
    known = store.query("export/starts", {"trace_ids": ids})
    if not known:
        return what
    first = min(it["start_ns"] for it in known) // _MINUTE_NS * 60
    last = max(it["end_ns"] for it in known) // _MINUTE_NS * 60
    if first < 0 or last >= _ALL_MINUTES:
        # Outside this range the key's minutes wrap around, so search them all.
        return what
    return replace(what, first_minute=first, last_minute=last)
