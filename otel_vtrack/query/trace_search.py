"""Finds and counts traces by the search language."""

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
"""How many candidates are put together at first, and then, for each trace wanted."""

_WINDOWS: Final = (1_000, 32_000)
"""Among how many of the last traces a search through spans looks first, and then."""

_LAST_MINUTE_NS: Final = ((1 << 32) - 60) * 1_000_000_000
_CANDIDATES: Final = (
    "(cityHash64(p.trace_id), p.trace_id) IN"
    " (SELECT cityHash64(each.1), each.1 FROM (SELECT arrayJoin(looked.1) AS each))"
)
"""Those that traces/find puts together."""

_ROWS: Final = (1, 8)
"""How many rows are read for each trace wanted: at first, and then, to go through them."""

_CHARGES: Final = "FROM trace_charges AS p"
"""Where the costs of few traces are made of."""

_MOST_COSTS: Final = 3
"""How often a part may ask for costs of very many traces: each time is a long text."""

_SINCE: Final = "t.root.start_time >= fromUnixTimestamp64Nano({since_ns:Int64}, 'UTC')"
_WITHIN: Final = (
    "s.start_time >= fromUnixTimestamp64Nano({earliest_ns:Int64}, 'UTC')"
    " AND s.start_time <= fromUnixTimestamp64Nano({latest_ns:Int64}, 'UTC')"
    # As the key has it: the engine does not conclude this from the above.
    " AND toStartOfMinute(s.start_time)"
    " >= toStartOfMinute(fromUnixTimestamp64Nano({earliest_ns:Int64}, 'UTC'))"
    " AND toStartOfMinute(s.start_time)"
    " <= toStartOfMinute(fromUnixTimestamp64Nano({latest_ns:Int64}, 'UTC'))"
)


_Key: TypeAlias = tuple[str, str]
"""A trace's id and experiment."""


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


@dataclass(frozen=True, slots=True)
class _Shown:
    """A trace, and where it stands in the order; no trace if it went while it was looked for."""

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
    """Count the traces that match, without loading them; one that crosses experiments in each.

    Args:
        store: Where to look.
        experiment: As telemetry calls it; empty for any.
        text: The filter.
        table: What tokens cost.

    Raises:
        InvalidArgument: The filter is none.
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
    """Count the traces that match by the time at which their root began.

    Args:
        store: Where to look.
        experiment: As telemetry calls it; empty for any.
        text: The filter.
        width_s: Of a bucket, in seconds; 0 chooses a round one that makes some 60 of them.
        table: What tokens cost.

    Raises:
        InvalidArgument: The filter is none, or there would be too many buckets.
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
            f"there would be more than {MOST_BUCKETS:,} buckets: ask for wider ones, or narrow"
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
        return parts | {"some": TRUE}  # A set of all there are would only cost time.
    if root_rows.WHOLE_ROOT in compiled.row:
        return parts | {"table": "traces", "row_of_roots": compiled.row}
    return parts | {"row_of_roots": root_rows.narrow({"row": compiled.row})["row"]}


def _counting(compiled: CompiledTraces) -> dict[str, str]:
    """Return what counts take: where the root decides, no more of traces than that."""
    parts = _parts(compiled)
    if not compiled.of_root or SPAN_BOUNDS in compiled.row or root_rows.WHOLE_ROOT in compiled.row:
        return _of_many(parts)
    return {"from": f"({_part('traces/heads', parts)}) AS t", "whole": "t.holds"}


def _of_many(parts: Mapping[str, str]) -> dict[str, str]:
    """Let parts of a query tell very many traces, and what these cost: all that may match."""
    merged = {"merged": f"({_part('traces/merged', parts)})"}
    charges = f"FROM ({_part('traces/charges', merged)}) AS p"
    told = dict(parts)
    for name, part in parts.items():
        # Beyond, the statement would be longer than the engine takes: then they are grouped.
        if part.count(WANTED) <= _MOST_COSTS:
            told[name] = part.replace(_CHARGES, charges)
    wanted = parts.get("some") or (
        f"p.trace_id IN (SELECT t.trace_id FROM {parts.get('table', 'trace_roots')} AS t"  # noqa: S608
        f" WHERE {parts['row_of_roots']})"
    )
    told = {name: part.replace(WANTED, wanted) for name, part in told.items()}
    return told | {"from": f"({_part('traces/wholes', merged)}) AS t"}


def _part(name: str, parts: Mapping[str, str]) -> str:
    """Return a query that is a part of another."""
    return sql.filled(sql.text("queries", name), parts).strip().removesuffix(";")


class _Search:
    """One page to find, and to load."""

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
        """Return as many as are wanted, or all there are."""
        shown = self._few()
        if shown is None:
            shown = self._among_the_last()
        order, row = self._compiled.order, self._compiled.row
        if shown is None and order.on_row:
            shown = self._by_rows(row, self._parameters)
            # To look through spans again takes longer than to sort all traces found.
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
        """Load the traces that are known to match, where these are not many.

        Returns:
            None if they are, or have to be sorted by what is not known of them.
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
        """Find what matches among the last traces, looking through no spans but theirs.

        Returns:
            None if that is nothing to hope for, or there are too few.
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
        """Load what was found."""
        places = [(each.root_start_ns, each.trace_id, each.experiment) for each in found]
        described = traces.describe(self._store, places, self._table)
        return [
            _Shown(trace.info if trace else None, each.place)
            for each, trace in zip(found, described, strict=True)
        ]

    def _by_rows(self, row: str, parameters: Mapping[str, Any]) -> "list[_Shown] | None":
        """Find traces by rows of `trace_roots` alone, where these say all that is asked.

        A row stands for its trace if the trace has just the root that the row tells of; other
        rows are of inserts that knew another. So the rows are gone through in order, and as many
        of their traces loaded as are wanted. Where each trace came at once, that is a row each.

        Returns:
            None if too few of the rows stand for their traces, or nobody can tell.
        """
        if not (self._compiled.of_root and self._compiled.order.on_row) or self._rows_of.whole_root:
            return None
        parts = self._rows_of.parts(row) | self._rows_of.sorting(row)
        # To look through spans again takes longer than to read more rows.
        for look in _ROWS[1 if SPAN_BOUNDS in self._compiled.row else 0 :]:
            candidates = look * self._wanted
            rows = self._rows_of.read(self._store, parameters, parts, candidates)
            if "since_ns" in parameters and len(rows) < self._wanted:
                return []  # There are too few, whether they stand for their traces or not.
            shown = self._standing(rows)
            if shown is None or len(shown) >= self._wanted or len(rows) < candidates:
                return shown
        return None

    def _standing(self, rows: Sequence[Row]) -> "list[_Shown] | None":
        """Return the first traces that rows stand for; None if nobody can tell."""
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
        # Of two spans that began at once, the table may have kept the other one's row.
        return None if doubtful - stand.keys() else list(stand.values())

    def _load(self, rows: Sequence[Row], most: int) -> None:
        """Load the first traces that are not yet."""
        starts = {(row.trace_id, row.experiment): row.root_start_ns for row in reversed(rows)}
        keys = dict.fromkeys((row.trace_id, row.experiment) for row in rows)
        fresh = [key for key in keys if key not in self._known][:most]
        places = [(starts[key], *key) for key in fresh]
        described = traces.describe(self._store, places, self._table)
        self._known.update(zip(fresh, described, strict=True))


def _look(
    store: Store, compiled: CompiledTraces, parameters: dict[str, Any], parts: dict[str, str]
) -> tuple[list[_Found], bool]:
    """Put the first candidates together; say whether there are no more."""
    parts = parts | {"whole": parts["whole"].replace(WANTED, _CANDIDATES)}
    [row] = store.query("traces/find", parameters, parts)
    found = [_Found(*each) for each in row["found"]]
    if row["looked_at"] < parameters["candidates"]:
        return found, True
    # What lies behind the last candidate may have others before it.
    last = row["last_place"]
    return [each for each in found if not compiled.order.behind(each.place, last)], False


def _window(
    store: Store, parameters: Mapping[str, Any], compiled: CompiledTraces, rows_of: Rows
) -> dict[str, int] | None:
    """Say since when the last traces began, and between which times their spans lie.

    Returns:
        None if those are all there are.
    """
    [window] = store.query("traces/window", parameters, rows_of.parts(compiled.row_only))
    if window["looked_at"] < parameters["candidates"]:
        return None
    if window["earliest_ns"] < 0 or window["latest_ns"] >= _LAST_MINUTE_NS:
        return None  # The key's minutes wrap around there.
    return {name: window[name] for name in ("since_ns", "earliest_ns", "latest_ns")}
