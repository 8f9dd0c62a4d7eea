"""Sum the tokens and cost of traces, mostly without reading their tree.

Where no span that reports usage is above another one, and none reports a cost, their reports add up
as they are, and are priced by model. For all others `query.tokens` has the rules.
"""

import math
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from otel_vtrack.analysis import compare
from otel_vtrack.analysis.metrics import Metric
from otel_vtrack.analysis.units import Rows, Units
from otel_vtrack.query import partial, prices, tokens
from otel_vtrack.query.prices import Prices
from otel_vtrack.query.rowbinary import Reader

if TYPE_CHECKING:
    from otel_vtrack.analysis.sample import Source

_SHARE: Final = 5
"""Tokens and cost are compared on a fifth of the traces used for other metrics: summing them over
a trace's tree costs several times as much, and they vary less."""
_FEW: Final = 2_000
_EXACT: Final = float(1 << 53)
"""Below this, sums of whole numbers have no rounding errors."""
_TOKENS: Final = np.dtype([("trace_hash", "<u8"), ("tokens", "<f8")])
_SPAN: Final = np.dtype(
    [("trace_hash", "<u8"), ("at_ns", "<i8")]
    + [(name, "<f8") for name in ("input", "output", "total", "cache_read", "cache_creation")]
)
_TRACE: Final = np.dtype(
    [("trace_hash", "<u8"), ("tokens", "<f8"), ("dollars", "<f8"), ("costed", "?")]
)


class Usage:
    """What the traces of a source used; read on demand, once."""

    def __init__(self, source: "Source") -> None:
        self._source = source
        self._reading = Lock()
        self._read: tuple[Rows, Rows] | None = None
        self._unknown_models: tuple[str, ...] = ()

    def tokens(self, metric: Metric, table: Prices, *, with_cost: bool) -> Units:
        """Return the tokens of traces.

        Args:
            metric: The metric.
            table: Token prices.
            with_cost: Whether cost is compared too: the data for it includes tokens.
        """
        if with_cost:
            used, rows = self._used(table)
            told = np.isfinite(used["tokens"])
            return Units(metric, used["tokens"][told], rows[told])
        found = self._source.array("analysis/tokens", _TOKENS, self._bound(), self._source.parts)
        traces = self._source.traces()
        at, there = traces.find(found["trace_hash"])
        return Units(metric, found["tokens"][there], traces.rows[at[there]])

    def costs(self, metric: Metric, table: Prices) -> Units:
        """Return the costs of traces."""
        used, rows = self._used(table)
        used, rows = used[used["costed"]], rows[used["costed"]]
        priced = np.isfinite(used["dollars"])
        return Units(
            metric,
            used["dollars"][priced],
            rows[priced],
            unpriced=(rows["side"][~priced], self._unknown_models),
        )

    def _bound(self) -> dict[str, Any]:
        traces = self._source.traces()
        most = max(1, self._source.limit // _SHARE)
        counts = [int(np.count_nonzero(traces.rows["side"] == side)) for side in (1, 2)]
        further = compare.rates((counts[0], counts[1]), most)
        return self._source.bound | {
            "baseline_one_in": traces.one_in[0] * further[0],
            "candidate_one_in": traces.one_in[1] * further[1],
        }

    def _used(self, table: Prices) -> tuple[Rows, Rows]:
        """Return the sums, computed once; concurrent callers wait."""
        with self._reading:
            if self._read is None:
                self._read = self._sum(table)
            return self._read

    def _sum(self, table: Prices) -> tuple[Rows, Rows]:
        bound, traces = self._bound(), self._source.traces()
        models: set[str] = set()
        reader = Reader(self._source.store.binary("analysis/used", bound, self._source.row_parts))
        apart = [np.zeros(0, _SPAN)]
        spent = [np.zeros(0)]
        others = [traces.partial]
        while reader.more:
            alone, model, provider = reader.fixed(1) != b"\0", reader.text(), reader.text()
            spans = _spans(reader)
            if not alone:
                others.append(spans["trace_hash"])
                continue
            dollars = _dollars(spans, model, provider, table)
            if np.isnan(dollars).any():
                models.add(model or tokens.NO_MODEL)
            apart.append(spans)
            spent.append(dollars)
        spans, dollars = np.concatenate(apart), np.concatenate(spent)
        # A row of a trace with several is only a part: none of them counts.
        left = np.unique(np.concatenate(others))
        if len(left):
            kept = np.flatnonzero(~np.isin(spans["trace_hash"], left))
            spans, dollars = spans[kept], dollars[kept]
        found = _by_trace(spans, dollars)
        left = left[traces.find(left)[1]]
        if len(left):
            walked, unknown = self._walk(left, bound, table)
            found = np.concatenate([found, walked])
            models |= unknown
        found = found[np.argsort(found["trace_hash"], kind="stable")]
        at, there = traces.find(found["trace_hash"])
        found = found[there]
        if not np.isnan(found["dollars"][found["costed"]]).any():
            models = set()
        self._unknown_models = tuple(sorted(models))
        return found, traces.rows[at[there]]

    def _walk(
        self, hashes: NDArray[np.uint64], bound: dict[str, Any], table: Prices
    ) -> tuple[Rows, set[str]]:
        """Sum the usage of traces whose tree has to be read."""
        parts = dict(self._source.parts)
        if len(hashes) <= _FEW:
            parts["these"] = "cityHash64(trace_id) IN {trace_hashes:Array(UInt64)}"
            bound = bound | {"trace_hashes": [int(each) for each in hashes]}
        reader = Reader(self._source.store.binary("analysis/billing", bound, parts))
        wanted = {int(each) for each in hashes}
        found: list[tuple[int, float, float, bool]] = []
        models: set[str] = set()
        while reader.more:
            trace_hash, at_ns = reader.uint64(), reader.uint64()
            edges = reader.numbers("Q")
            reported, billing = partial.usage(reader), partial.billing(reader)
            if trace_hash not in wanted:
                continue
            usage = tokens.usage(reported, edges)
            cost = tokens.cost(reported, edges, billing, table, _signed(at_ns))
            known = cost is not None and not cost.unknown_models
            found.append(
                (
                    trace_hash,
                    math.nan if usage is None else usage.total_tokens,
                    cost.total_cost if cost is not None and known else math.nan,
                    cost is not None,
                )
            )
            models.update(cost.unknown_models if cost is not None else ())
        return np.array(found, _TRACE), models


def _spans(reader: Reader) -> Rows:
    """Read a model's arrays, one element per span."""
    columns = [
        np.frombuffer(reader.packed(8), "<i8" if name == "at_ns" else "<u8")
        for name in _SPAN.names or ()
    ]
    spans = np.empty(len(columns[0]), _SPAN)
    for name, column in zip(_SPAN.names or (), columns, strict=True):
        spans[name] = column
    return spans


def _dollars(spans: Rows, model: str, provider: str, table: Prices) -> NDArray[np.float64]:
    """Return the cost of a model's spans; NaN where it is unknown."""
    # A total alone does not determine the cost.
    unknown = (spans["total"] > 0) & (spans["input"] == 0) & (spans["output"] == 0)
    if not model:
        return np.full(len(spans), math.nan)
    rate = table.rate(model, provider)
    if rate is not None:
        cached = spans["cache_read"] + spans["cache_creation"]
        # As in `Prices.charge`: some report cached tokens separately from the input.
        taken = np.where(cached > spans["input"], spans["input"] + cached, spans["input"])
        # Declared for single numbers, but its arithmetic works on arrays as well.
        charge = rate.charge(
            prices.Tokens(taken, spans["output"], spans["cache_read"], spans["cache_creation"])  # pyright: ignore[reportArgumentType]
        )
        return np.where(unknown, math.nan, charge.input + charge.output)
    found = np.full(len(spans), math.nan)
    for place in np.flatnonzero(~unknown):
        span = spans[place]
        counts = (int(span[name]) for name in ("input", "output", "cache_read", "cache_creation"))
        charge = table.charge(model, provider, prices.Tokens(*counts), int(span["at_ns"]))
        if charge is not None:
            found[place] = charge.input + charge.output
    return found


def _by_trace(spans: Rows, dollars: NDArray[np.float64]) -> Rows:
    """Sum spans by trace, in a fixed order, as the last digit of sums depends on it."""
    totals = spans["total"]
    # Whole numbers add up to the same in any order, and so do equal ones.
    exact = float(totals.sum()) < _EXACT
    order = np.argsort(dollars) if exact else np.lexsort((totals, dollars))
    hashes, numbers = np.unique(spans["trace_hash"][order], return_inverse=True)
    found = np.empty(len(hashes), _TRACE)
    found["trace_hash"] = hashes
    found["tokens"] = np.bincount(numbers, totals[order], len(hashes))
    found["dollars"] = np.bincount(numbers, dollars[order], len(hashes))
    found["costed"] = True
    return found


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number
