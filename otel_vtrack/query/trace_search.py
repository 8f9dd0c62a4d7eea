"""Finds and counts traces by the search language."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import paging, traces
from otel_vtrack.query.filter import CompiledTraces, compile_traces
from otel_vtrack.query.filter.compiler import TRUE
from otel_vtrack.query.filter.traces import SPAN_BOUNDS, TAIL
from otel_vtrack.query.prices import BUILT_IN, Prices
from otel_vtrack.query.traces import TraceInfo
from otel_vtrack.store.client import Store

MOST_BUCKETS: Final = 10_000
_FIRST_LOOK: Final = 2
_SECOND_LOOK: Final = 64
"""How many candidates are put together at first, and then, for each trace wanted."""

_WINDOWS: Final = (1_000, 32_000)
"""Among how many of the last traces a search through spans looks first, and then."""

_LAST_MINUTE_NS: Final = ((1 << 32) - 60) * 1_000_000_000
_LOOKED_THROUGH: Final = re.compile(
    rf"s\.trace_id, s\.experiment FROM spans AS s WHERE (.*?) AND {re.escape(SPAN_BOUNDS)}",
    re.DOTALL,
)
_FEW_SPANS: Final = 1_500_000
_WITHIN: Final = (
    "s.start_time >= fromUnixTimestamp64Nano({earliest_ns:Int64}, 'UTC')"
    " AND s.start_time <= fromUnixTimestamp64Nano({latest_ns:Int64}, 'UTC')"
    # As the key has it: the engine does not conclude this from the above.
    " AND toStartOfMinute(s.start_time)"
    " >= toStartOfMinute(fromUnixTimestamp64Nano({earliest_ns:Int64}, 'UTC'))"
    " AND toStartOfMinute(s.start_time)"
    " <= toStartOfMinute(fromUnixTimestamp64Nano({latest_ns:Int64}, 'UTC'))"
)


@dataclass(frozen=True, slots=True)
class Page:
    """Some traces, and the token for the next ones; no token after the last."""

    traces: list[TraceInfo]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class Bucket:
    """The traces whose root began in a span of time.

    Attributes:
        start_s: When it begins, in seconds since 1970: a multiple of the width.
    """

    start_s: int
    trace_count: int
    error_count: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """Traces by time, the earliest bucket first, without empty ones.

    Attributes:
        width_s: Of a bucket, in seconds.
    """

    width_s: int
    buckets: list[Bucket]


@dataclass(frozen=True, slots=True)
class _Found:
    """Where a trace is, and where it stands in the order."""

    trace_id: str
    experiment: str
    root_start_ns: int
    place: tuple[str | None, ...]


def search(
    store: Store,
    *,
    experiment: str = "",
    text: str = "",
    order_by: Sequence[str] = (),
    page_size: int = 0,
    page_token: str = "",
    table: Prices = BUILT_IN,
) -> Page:
    """Find traces, newest first by the start of their root unless asked otherwise.

    A page goes on where the last one ended, whatever has arrived since.

    Args:
        store: Where to look.
        experiment: As telemetry calls it; empty for any.
        text: The filter.
        order_by: Keys to sort by, each perhaps with ASC or DESC.
        page_size: 0 for as many as usual.
        page_token: Of the page before.
        table: What tokens cost.

    Raises:
        InvalidArgument: The filter, order or size is none, or the token is of another question.
    """
    wanted = paging.size(page_size)
    question = {
        "traces": True,
        "experiment": experiment,
        "filter": text,
        "order_by": list(order_by),
    }
    compiled = compile_traces(text, order_by, experiment=experiment)
    after = TRUE
    if page_token:
        after = compiled.order.after(paging.place(page_token, question), compiled.texts)
    found = _find(store, compiled, after, wanted + 1)
    infos = traces.describe(
        store,
        [(each.root_start_ns, each.trace_id, each.experiment) for each in found[:wanted]],
        table,
    )
    if len(found) <= wanted:
        return Page(infos, "")
    return Page(infos, paging.token(found[wanted - 1].place, question))


def count(store: Store, *, experiment: str = "", text: str = "") -> int:
    """Count the traces that match, without loading them; one that crosses experiments in each.

    Raises:
        InvalidArgument: The filter is none.
    """
    compiled = compile_traces(text, experiment=experiment)
    [row] = store.query("traces/count", compiled.parameters, _parts(compiled))
    return int(row["trace_count"])


def histogram(store: Store, *, experiment: str = "", text: str = "", width_s: int = 0) -> Histogram:
    """Count the traces that match by the time at which their root began.

    Args:
        store: Where to look.
        experiment: As telemetry calls it; empty for any.
        text: The filter.
        width_s: Of a bucket, in seconds; 0 chooses a round one that makes some 60 of them.

    Raises:
        InvalidArgument: The filter is none, or there would be too many buckets.
    """
    compiled = compile_traces(text, experiment=experiment)
    rows = store.query(
        "traces/histogram", compiled.parameters | {"width": width_s}, _parts(compiled)
    )
    if len(rows) > MOST_BUCKETS:
        raise InvalidArgument(
            f"there would be more than {MOST_BUCKETS:,} buckets: ask for wider ones, or narrow"
            " the filter"
        )
    buckets = [Bucket(row["bucket_start"], row["trace_count"], row["error_count"]) for row in rows]
    return Histogram(int(rows[0]["bucket_width"]) if rows else width_s or 1, buckets)


def _parts(compiled: CompiledTraces) -> dict[str, str]:
    parts = {"row": compiled.row, "whole": compiled.where}
    # A set of all there are would only cost time.
    return parts | {"some": TRUE} if compiled.row == TRUE else parts


def _find(store: Store, compiled: CompiledTraces, after: str, wanted: int) -> list[_Found]:
    order = compiled.order
    parts = _parts(compiled) | {"after": after, "place": order.place, "order": order.sql}
    rows_of = _Rows(compiled, after)
    parameters: dict[str, Any] = {**compiled.parameters, "wanted": wanted}
    if SPAN_BOUNDS in compiled.row and order.keys[0] == TAIL[0] and _reads_much(store, compiled):
        for candidates in _WINDOWS:
            looked = parameters | {"candidates": candidates}
            found = _find_within(store, compiled, looked, parts, rows_of)
            if found is not None and len(found) >= wanted:
                return found
    if order.on_row:
        for look in (_FIRST_LOOK, _SECOND_LOOK):
            candidates = look * wanted
            looked = parameters | {"candidates": candidates}
            found, complete = _look(store, compiled, looked, parts | rows_of.parts(compiled.row))
            if complete or len(found) >= wanted:
                return found
            if SPAN_BOUNDS in compiled.row:
                break  # To look through spans again takes longer than to sort all traces found.
    rows = store.query("traces/sort", parameters, parts | {"joins": order.joins})
    return [_Found(row["id"], row["named"], row["root_start_ns"], row["place"]) for row in rows]


class _Rows:
    """Where rows that know a part are read: the smaller table, if it has all that is asked."""

    def __init__(self, compiled: CompiledTraces, after: str) -> None:
        order = compiled.order
        self._after, self._place, self._order = after, order.place, order.sql
        asked = (compiled.row, after, order.place, order.sql)
        self._whole_root = any("t.root.span_id" in each for each in asked)

    def parts(self, row: str) -> dict[str, str]:
        """Return what to fill in for a condition on rows."""
        filled = {
            "row": row,
            "row_after": self._after,
            "row_place": self._place,
            "row_order": self._order,
        }
        if self._whole_root:
            return filled | {"table": "traces", "start": "t.root.start_time"}
        return {
            name: each.replace("t.root.start_time", "t.start_time") for name, each in filled.items()
        }


def _look(
    store: Store, compiled: CompiledTraces, parameters: dict[str, Any], parts: dict[str, str]
) -> tuple[list[_Found], bool]:
    """Put the first candidates together; say whether there are no more."""
    [row] = store.query("traces/find", parameters, parts)
    found = [_Found(*each) for each in row["found"]]
    if row["looked_at"] < parameters["candidates"]:
        return found, True
    # What lies behind the last candidate may have others before it.
    last = row["last_place"]
    return [each for each in found if not compiled.order.behind(each.place, last)], False


def _reads_much(store: Store, compiled: CompiledTraces) -> bool:
    """Whether more spans would be read than take no time: the index leaves too many."""
    rows = [
        row
        for condition in _LOOKED_THROUGH.findall(compiled.row)
        for row in store.select(
            f"EXPLAIN ESTIMATE SELECT s.trace_id FROM spans AS s WHERE {condition}",  # noqa: S608
            compiled.parameters,
        )
    ]
    return not rows or sum(int(row["rows"]) for row in rows) > _FEW_SPANS


def _find_within(
    store: Store,
    compiled: CompiledTraces,
    parameters: dict[str, Any],
    parts: dict[str, str],
    rows_of: "_Rows",
) -> list[_Found] | None:
    """Find what matches among the last traces, looking through no spans but theirs.

    Returns:
        None if those are all there are.
    """
    [window] = store.query("traces/window", parameters, rows_of.parts(compiled.row_only))
    if window["looked_at"] < parameters["candidates"]:
        return None
    if window["earliest_ns"] < 0 or window["latest_ns"] >= _LAST_MINUTE_NS:
        return None  # The key's minutes wrap around there.
    bounds = {name: window[name] for name in ("since_ns", "earliest_ns", "latest_ns")}
    since = "t.root.start_time >= fromUnixTimestamp64Nano({since_ns:Int64}, 'UTC')"
    row, whole = (
        f"({condition.replace(SPAN_BOUNDS, _WITHIN)}) AND {since}"
        for condition in (compiled.row, compiled.where)
    )
    narrowed = parts | rows_of.parts(row) | {"whole": whole}
    found, _ = _look(store, compiled, parameters | bounds, narrowed)
    return found
