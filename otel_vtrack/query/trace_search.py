"""Find and count traces with the search language."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import paging, priced, rare, root_rows, traces
from otel_vtrack.query.filter import CompiledTraces, compile_traces
from otel_vtrack.query.filter.compiler import TRUE
from otel_vtrack.query.filter.costs import WANTED
from otel_vtrack.query.filter.traces import SPAN_BOUNDS, TAIL
from otel_vtrack.query.prices import BUILT_IN, Prices
from otel_vtrack.query.root_rows import Row, Rows
from otel_vtrack.query.traces import Described, TraceInfo
from otel_vtrack.store import sql
from otel_vtrack.store.client import Store

MOST_BUCKETS: Final = 10_000
_FIRST_LOOK: Final = 2
_SECOND_LOOK: Final = 64
"""How many candidates per wanted trace to merge, in the first and second attempt."""

_WINDOWS: Final = (1_000, 32_000)
"""Among how many of the latest traces to search spans, in the first and second attempt."""

_LAST_MINUTE_NS: Final = ((1 << 32) - 60) * 1_000_000_000
_CANDIDATES: Final = (
    "(cityHash64(p.trace_id), p.trace_id) IN"
    " (SELECT cityHash64(each.1), each.1 FROM (SELECT arrayJoin(looked.1) AS each))"
)
"""The traces that traces/find merges."""

_ROWS: Final = (1, 8)
"""How many rows to read per wanted trace, in the first and second attempt."""

_CHARGES: Final = "FROM trace_charges AS p"
"""Where the costs of a few traces are read from."""

_MOST_COSTS: Final = 3
"""How often a part may query the costs of very many traces: each time is a long text."""

_SINCE: Final = "t.root.start_time >= fromUnixTimestamp64Nano({since_ns:Int64}, 'UTC')"
_WITHIN: Final = (
    "s.start_time >= fromUnixTimestamp64Nano({earliest_ns:Int64}, 'UTC')"
    " AND s.start_time <= fromUnixTimestamp64Nano({latest_ns:Int64}, 'UTC')"
    # In terms of the table's key: the engine does not derive this from the conditions above.
    " AND toStartOfMinute(s.start_time)"
    " >= toStartOfMinute(fromUnixTimestamp64Nano({earliest_ns:Int64}, 'UTC'))"
    " AND toStartOfMinute(s.start_time)"
    " <= toStartOfMinute(fromUnixTimestamp64Nano({latest_ns:Int64}, 'UTC'))"
)


_Key: TypeAlias = tuple[str, str]
"""A trace's ID and experiment."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of traces and the token for the next page; empty after the last."""

    traces: list[TraceInfo]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class Bucket:
    """The traces whose root started in a time bucket.

    Attributes:
        start_s: Start of the bucket in seconds since 1970: a multiple of the width.
    """

    start_s: int
    trace_count: int
    error_count: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """Traces by time, the earliest bucket first, without empty buckets.

    Attributes:
        width_s: The width of a bucket in seconds.
    """

    width_s: int
    buckets: list[Bucket]


@dataclass(frozen=True, slots=True)
class _Found:
    """A trace and its place in the order."""

    trace_id: str
    experiment: str
    root_start_ns: int
    place: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class _Shown:
    """A loaded trace and its place in the order; no trace if it was deleted during the search."""

    info: TraceInfo | None
    place: Sequence[str | None]


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
    """Find traces; by default the latest start of the root comes first.

    A page continues where the last one ended, whatever has arrived since.

    Args:
        store: The store to query.
        experiment: Its name in telemetry; empty for any.
        text: The filter.
        order_by: Sort keys, each optionally followed by ASC or DESC.
        page_size: 0 for the default.
        page_token: The token from the previous page.
        table: The prices of tokens.

    Raises:
        InvalidArgument: The filter, order or size is invalid, or the token belongs to another
            query.
    """
    wanted = paging.size(page_size)
    question = {
        "traces": True,
        "experiment": experiment,
        "filter": text,
        "order_by": list(order_by),
    }
    compiled = compile_traces(
        text,
        order_by,
        experiment=experiment,
        priced=lambda: priced.models(store, table),
        mixed=lambda column: _mixed(store, column, experiment),
    )
    after = TRUE
    if page_token:
        after = compiled.order.after(paging.place(page_token, question), compiled.texts)
    looked = rare.look(store, compiled, experiment)
    found = _Search(store, looked, after, wanted + 1, table).find()
    infos = [each.info for each in found[:wanted] if each.info is not None]
    if len(found) <= wanted:
        return Page(infos, "")
    return Page(infos, paging.token(found[wanted - 1].place, question))


def count(store: Store, *, experiment: str = "", text: str = "", table: Prices = BUILT_IN) -> int:
    """Count the matching traces without loading them, once per experiment that they cross.

    Args:
        store: The store to query.
        experiment: Its name in telemetry; empty for any.
        text: The filter.
        table: The prices of tokens.

    Raises:
        InvalidArgument: The filter is invalid.
    """
    compiled = compile_traces(
        text, experiment=experiment, priced=lambda: priced.models(store, table)
    )
    compiled = rare.look(store, compiled, experiment).compiled
    [row] = store.query("traces/count", compiled.parameters, _counting(compiled))
    return int(row["trace_count"])


def histogram(
    store: Store,
    *,
    experiment: str = "",
    text: str = "",
    width_s: int = 0,
    table: Prices = BUILT_IN,
) -> Histogram:
    """Count the matching traces by the start of their root.

    Args:
        store: The store to query.
        experiment: Its name in telemetry; empty for any.
        text: The filter.
        width_s: The width of a bucket in seconds; 0 chooses a round one for about 60 buckets.
        table: The prices of tokens.

    Raises:
        InvalidArgument: The filter is invalid, or there would be too many buckets.
    """
    compiled = compile_traces(
        text, experiment=experiment, priced=lambda: priced.models(store, table)
    )
    compiled = rare.look(store, compiled, experiment).compiled
    rows = store.query(
        "traces/histogram", compiled.parameters | {"width": width_s}, _counting(compiled)
    )
    if len(rows) > MOST_BUCKETS:
        raise InvalidArgument(
            f"there would be more than {MOST_BUCKETS:,} buckets: choose wider ones, or narrow"
            " the filter"
        )
    buckets = [Bucket(row["bucket_start"], row["trace_count"], row["error_count"]) for row in rows]
    return Histogram(int(rows[0]["bucket_width"]) if rows else width_s or 1, buckets)


def _mixed(store: Store, column: str, experiment: str) -> bool:
    bound = {"experiment": experiment}
    [row] = store.query("traces/mixed_sources", bound, {"column": f"s.{column}"})
    return bool(row["mixed"])


def _parts(compiled: CompiledTraces) -> dict[str, str]:
    parts = {"row": compiled.row, "whole": compiled.where}
    if compiled.row == TRUE:
        return parts | {"some": TRUE}  # A set of all traces would only cost time.
    if root_rows.WHOLE_ROOT in compiled.row:
        return parts | {"table": "traces", "row_of_roots": compiled.row}
    return parts | {"row_of_roots": root_rows.narrow({"row": compiled.row})["row"]}


def _counting(compiled: CompiledTraces) -> dict[str, str]:
    """Return the parts for counting; where the root decides, only the root is read."""
    parts = _parts(compiled)
    if not compiled.of_root or SPAN_BOUNDS in compiled.row or root_rows.WHOLE_ROOT in compiled.row:
        return _of_many(parts)
    return {"from": f"({_part('traces/heads', parts)}) AS t", "whole": "t.holds"}


def _of_many(parts: Mapping[str, str]) -> dict[str, str]:
    """Make parts suit very many traces and their costs, by reading all that may match."""
    merged = {"merged": f"({_part('traces/merged', parts)})"}
    charges = f"FROM ({_part('traces/charges', merged)}) AS p"
    told = dict(parts)
    for name, part in parts.items():
        # With more, the statement would exceed the engine's limit, so they stay grouped.
        if part.count(WANTED) <= _MOST_COSTS:
            told[name] = part.replace(_CHARGES, charges)
    wanted = parts.get("some") or (
        f"p.trace_id IN (SELECT t.trace_id FROM {parts.get('table', 'trace_roots')} AS t"  # noqa: S608
        f" WHERE {parts['row_of_roots']})"
    )
    told = {name: part.replace(WANTED, wanted) for name, part in told.items()}
    return told | {"from": f"({_part('traces/wholes', merged)}) AS t"}


def _part(name: str, parts: Mapping[str, str]) -> str:
    """Return a query for use as part of another."""
    return sql.filled(sql.text("queries", name), parts).strip().removesuffix(";")


class _Search:
    """Finds and loads one page."""

    def __init__(
        self, store: Store, looked: rare.Looked, after: str, wanted: int, table: Prices
    ) -> None:
        compiled = looked.compiled
        self._store, self._compiled, self._table = store, compiled, table
        self._looked, self._after, self._wanted = looked, after, wanted
        self._rows_of = Rows(compiled, after)
        order = compiled.order
        self._parts = _parts(compiled) | {"after": after, "place": order.place, "order": order.sql}
        self._parameters: dict[str, Any] = {**compiled.parameters, "wanted": wanted}
        self._known: dict[_Key, Described | None] = {}

    def find(self) -> "list[_Shown]":
        """Return as many traces as wanted, or all there are."""
        shown = self._few()
        if shown is None:
            shown = self._among_the_last()
        order, row = self._compiled.order, self._compiled.row
        if shown is None and order.on_row:
            shown = self._by_rows(row, self._parameters)
            # Searching spans again takes longer than sorting all matching traces.
            for look in (_FIRST_LOOK, _SECOND_LOOK)[: 1 if SPAN_BOUNDS in row else 2]:
                if shown is None:
                    candidates = look * self._wanted
                    looked = self._parameters | {"candidates": candidates}
                    parts = self._parts | self._rows_of.parts(row)
                    found, complete = _look(self._store, self._compiled, looked, parts)
                    if complete or len(found) >= self._wanted:
                        shown = self._shown(found)
        if shown is not None:
            return shown
        parts = _of_many(self._parts | {"joins": order.joins})
        rows = self._store.query("traces/sort", self._parameters, parts)
        return self._shown(
            [_Found(row["id"], row["named"], row["root_start_ns"], row["place"]) for row in rows]
        )

    def _few(self) -> "list[_Shown] | None":
        """Load the traces known to match, if they are few.

        Returns:
            None if there are too many, or if their order depends on values not known here.
        """
        only = self._looked.only
        if only is None or len(only) > self._wanted or self._after != TRUE:
            return None
        if self._compiled.order.keys != TAIL:
            return None
        described = traces.describe(self._store, only, self._table)
        shown: list[_Shown] = []
        for place, trace in zip(only, described, strict=True):
            if trace is not None:
                key = (str(trace.root.start_time_ns), place.trace_id, place.experiment)
                shown.append(_Shown(trace.info, key))
        shown.sort(key=lambda each: (-int(each.place[0] or 0), *each.place[1:]))
        return shown

    def _among_the_last(self) -> "list[_Shown] | None":
        """Find matches among the latest traces, searching only their spans.

        Returns:
            None if this is not promising, or if there are too few matches.
        """
        compiled = self._compiled
        if SPAN_BOUNDS not in compiled.row or compiled.order.keys[0] != TAIL[0]:
            return None
        if not self._looked.frequent:
            return None
        for candidates in _WINDOWS:
            looked = self._parameters | {"candidates": candidates}
            bounds = _window(self._store, looked, compiled, self._rows_of)
            if bounds is None:
                return None
            row, whole = (
                f"({condition.replace(SPAN_BOUNDS, _WITHIN)}) AND {_SINCE}"
                for condition in (compiled.row, compiled.where)
            )
            shown = self._by_rows(row, looked | bounds)
            if shown is None:
                parts = self._parts | self._rows_of.parts(row) | {"whole": whole}
                found, _ = _look(self._store, compiled, looked | bounds, parts)
                shown = self._shown(found) if len(found) >= self._wanted else []
            if len(shown) >= self._wanted:
                return shown
        return None

    def _shown(self, found: "Sequence[_Found]") -> "list[_Shown]":
        """Load the traces found."""
        places = [(each.root_start_ns, each.trace_id, each.experiment) for each in found]
        described = traces.describe(self._store, places, self._table)
        return [
            _Shown(trace.info if trace else None, each.place)
            for each, trace in zip(found, described, strict=True)
        ]

    def _by_rows(self, row: str, parameters: Mapping[str, Any]) -> "list[_Shown] | None":
        """Find traces by rows of `trace_roots` alone, if these have all that is needed.

        A row represents its trace if the trace has exactly the root in the row; other rows come
        from inserts that knew a different one. So the rows are visited in order, loading as many of
        their traces as are wanted. Where each trace arrived at once, that is one row each.

        Returns:
            None if too few of the rows represent their traces, or if that cannot be decided.
        """
        if not (self._compiled.of_root and self._compiled.order.on_row) or self._rows_of.whole_root:
            return None
        parts = self._rows_of.parts(row) | self._rows_of.sorting(row)
        # Searching spans again takes longer than reading more rows.
        for look in _ROWS[1 if SPAN_BOUNDS in self._compiled.row else 0 :]:
            candidates = look * self._wanted
            rows = self._rows_of.read(self._store, parameters, parts, candidates)
            if "since_ns" in parameters and len(rows) < self._wanted:
                return []  # There are too few, whether or not they represent their traces.
            shown = self._standing(rows)
            if shown is None or len(shown) >= self._wanted or len(rows) < candidates:
                return shown
        return None

    def _standing(self, rows: Sequence[Row]) -> "list[_Shown] | None":
        """Return the first traces that rows represent; None if that cannot be decided."""
        stand: dict[_Key, _Shown] = {}
        doubtful: set[_Key] = set()
        for at, row in enumerate(rows):
            key = row.trace_id, row.experiment
            if len(stand) >= self._wanted:
                break
            if key not in self._known:
                self._load(rows[at:], self._wanted - len(stand))
            trace = self._known[key]
            if trace is not None and row.root_start_ns == trace.root.start_time_ns:
                if row.said == root_rows.said(trace.root):
                    stand.setdefault(key, _Shown(trace.info, row.place))
                else:
                    doubtful.add(key)
        # If two spans started at the same time, the table may have kept the other one's row.
        return None if doubtful - stand.keys() else list(stand.values())

    def _load(self, rows: Sequence[Row], most: int) -> None:
        """Load the first traces that are not loaded yet."""
        starts = {(row.trace_id, row.experiment): row.root_start_ns for row in reversed(rows)}
        keys = dict.fromkeys((row.trace_id, row.experiment) for row in rows)
        fresh = [key for key in keys if key not in self._known][:most]
        places = [(starts[key], *key) for key in fresh]
        described = traces.describe(self._store, places, self._table)
        self._known.update(zip(fresh, described, strict=True))


def _look(
    store: Store, compiled: CompiledTraces, parameters: dict[str, Any], parts: dict[str, str]
) -> tuple[list[_Found], bool]:
    """Merge the first candidates; also return whether there are no more."""
    parts = parts | {"whole": parts["whole"].replace(WANTED, _CANDIDATES)}
    [row] = store.query("traces/find", parameters, parts)
    found = [_Found(*each) for each in row["found"]]
    if row["looked_at"] < parameters["candidates"]:
        return found, True
    # Traces after the last candidate may be preceded by ones that were not candidates.
    last = row["last_place"]
    return [each for each in found if not compiled.order.behind(each.place, last)], False


def _window(
    store: Store, parameters: Mapping[str, Any], compiled: CompiledTraces, rows_of: Rows
) -> dict[str, int] | None:
    """Return since when the latest traces started, and the time range of their spans.

    Returns:
        None if there are no other traces.
    """
    [window] = store.query("traces/window", parameters, rows_of.parts(compiled.row_only))
    if window["looked_at"] < parameters["candidates"]:
        return None
    if window["earliest_ns"] < 0 or window["latest_ns"] >= _LAST_MINUTE_NS:
        return None  # The key's minutes wrap around there.
    return {name: window[name] for name in ("since_ns", "earliest_ns", "latest_ns")}
