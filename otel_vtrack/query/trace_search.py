"""Finds and counts traces by the search language."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import paging, traces
from otel_vtrack.query.filter import CompiledTraces, compile_traces
from otel_vtrack.query.filter.compiler import TRUE
from otel_vtrack.query.prices import BUILT_IN, Prices
from otel_vtrack.query.traces import TraceInfo
from otel_vtrack.store.client import Store

MOST_BUCKETS: Final = 10_000
_FIRST_LOOK: Final = 2
_SECOND_LOOK: Final = 64
"""How many candidates are put together at first, and then, for each trace wanted."""


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
    parameters: dict[str, Any] = {**compiled.parameters, "wanted": wanted}
    if order.on_row:
        for look in (_FIRST_LOOK, _SECOND_LOOK):
            candidates = look * wanted
            [row] = store.query("traces/find", parameters | {"candidates": candidates}, parts)
            found = [_Found(*each) for each in row["found"]]
            if row["looked_at"] < candidates:
                return found
            last = row["last_place"]
            # What lies behind the last candidate may have others before it.
            found = [each for each in found if not order.behind(each.place, last)]
            if len(found) >= wanted:
                return found
    rows = store.query("traces/sort", parameters, parts | {"joins": order.joins})
    return [_Found(row["id"], row["named"], row["root_start_ns"], row["place"]) for row in rows]
