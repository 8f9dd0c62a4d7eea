"""Takes from the store what is compared: a row for each trace, and a value for each unit.

Everything comes as arrays: texts are hashes until they are shown. A sample is taken by the hash
of the trace id, by which the table `traces` is sorted, so that the rest is not read.
"""

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from otel_vtrack.analysis import compare
from otel_vtrack.analysis.compare import Presence, Question
from otel_vtrack.analysis.metrics import DEFAULT, Direction, Metric, Shape, Unit
from otel_vtrack.errors import InvalidArgument, NotFound
from otel_vtrack.query import partial, tokens
from otel_vtrack.query.filter import CompiledTraces, compile_traces
from otel_vtrack.query.filter.compiler import TRUE
from otel_vtrack.query.prices import Prices
from otel_vtrack.query.rowbinary import Reader
from otel_vtrack.semconv import VTRACK_FLAG_PREFIX
from otel_vtrack.store.client import Store

DIMENSIONS: Final = ("route", "model", "environment", "service", "user")
FLAG: Final = "flag:"
_TOKENS_SHARE: Final = 5
"""Tokens and cost are compared by a fifth of the traces that other metrics are: summing them over
a trace's tree costs several times as much, and they vary less."""

FINISHED: Final = 2
_AGAIN: Final = 3
"""How often to take a denser sample where a filter left too little of the one before."""

_TRACE: Final = np.dtype(
    [
        ("trace_id", "V16"),
        ("trace_hash", "<u8"),
        ("rank", "u1"),
        ("side", "u1"),
        ("failed", "u1"),
        ("start_ns", "<i8"),
        ("ms", "<f8"),
        ("cluster", "<u8"),
        ("route", "<u8"),
        ("service", "<u8"),
        ("environment", "<u8"),
        ("model", "<u8"),
        ("user", "<u8"),
    ]
)
_TOKENS: Final = np.dtype([("trace_hash", "<u8"), ("tokens", "<f8")])
_SPAN: Final = np.dtype(
    [
        ("trace_hash", "<u8"),
        ("side", "u1"),
        ("value", "<f8"),
        ("service", "<u8"),
        ("environment", "<u8"),
    ]
)
_ASSESSED: Final = np.dtype(
    [("trace_hash", "<u8"), ("value_hash", "<u8"), ("number", "<f8"), ("is_number", "u1")]
)
_FLAGGED: Final = np.dtype([("trace_hash", "<u8"), ("value_hash", "<u8")])

_ENTRY: Final = (
    # As the mapping of traces tells roots: bit 9 of the flags says that the parent is in another
    # process, where the sender knows, which bit 8 says.
    "(s.parent_span_id = toFixedString('', 8)"
    " OR if(bitTest(s.flags, 8), bitTest(s.flags, 9), s.kind IN (2, 5)))"
)
_NAMED: Final = "s.name = {name:String}"
_NUMBER: Final = (
    "mapContains(s.attributes, {name:String})"
    " AND s.attribute_types[indexOf(mapKeys(s.attributes), {name:String})] IN (3, 4)"
    " AND isFinite(toFloat64OrNull(s.attributes[{name:String}]))"
)
_SPANS: Final = {
    "entry_latency": {"which": _ENTRY},
    "span_latency": {"which": _NAMED},
    "span_error_rate": {"which": _NAMED, "value": "toFloat64(s.status_code = 2)"},
    "attribute": {"which": _NUMBER, "value": "toFloat64OrNull(s.attributes[{name:String}])"},
}
_ASSESSED_TRACES: Final = (
    "cityHash64(trace_id) GLOBAL IN (SELECT cityHash64(a.trace_key) FROM current_assessments AS a"
    " WHERE a.assessment_name = {name:String} AND a.assessment_type = 'feedback' AND a.valid"
    " AND a.session_id = '')"
)

_OF_SPANS: Final = (
    "cityHash64(trace_id) GLOBAL IN (SELECT cityHash64(s.trace_id) FROM spans AS s"
    " WHERE s.version IN ({{baseline_version:String}}, {{candidate_version:String}})"
    " AND s.experiment = {{experiment:String}}"
    " AND toStartOfMinute(s.start_time)"
    " >= toStartOfMinute(fromUnixTimestamp64Nano({{from_ns:Int64}}, 'UTC'))"
    " AND toStartOfMinute(s.start_time)"
    " <= toStartOfMinute(fromUnixTimestamp64Nano({{until_ns:Int64}}, 'UTC'))"
    " AND cityHash64(s.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF,"
    " if(s.version = {{baseline_version:String}},"
    " {{baseline_one_in:UInt64}}, {{candidate_one_in:UInt64}})) AND {0})"
)

Rows = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Traces:
    """Traces by their hash, sorted.

    Attributes:
        rows: Of the columns of `analysis/traces`.
        one_in: One of how many was taken of each version.
    """

    rows: Rows
    one_in: tuple[int, int]

    def find(self, hashes: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return where traces are, and which are there."""
        known = self.rows["trace_hash"]
        if not len(known):
            return np.zeros(len(hashes), np.intp), np.zeros(len(hashes), np.bool_)
        at = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
        return at, known[at] == hashes


@dataclass(frozen=True, slots=True)
class Units:
    """What is compared by a metric.

    Attributes:
        metric: With its true shape.
        values: Numbers; of shares 0 and 1, of categories their hashes as `codes` has them.
        rows: Of each value the trace it belongs to; of spans with their own version and place.
        codes: Of categories, as numbers from 0.
        categories: Their hashes.
        unpriced: Traces left out because a model has no price, and these models.
    """

    metric: Metric
    values: NDArray[np.float64]
    rows: Rows
    codes: NDArray[np.intp] | None = None
    categories: NDArray[np.uint64] | None = None
    unpriced: tuple[NDArray[np.uint8], tuple[str, ...]] = (np.zeros(0, np.uint8), ())

    @property
    def is_candidate(self) -> NDArray[np.bool_]:
        """Which are the candidate's."""
        return self.rows["side"] == 2

    def where(self, chosen: NDArray[np.bool_]) -> "Units":
        """Return some of them."""
        return replace(
            self,
            values=self.values[chosen],
            rows=self.rows[chosen],
            codes=None if self.codes is None else self.codes[chosen],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Used:
    """What traces used.

    Attributes:
        rows: The traces.
        tokens: Of each; NaN where none are reported.
        dollars: Likewise; NaN where a model has no price.
        costed: Of which a cost can be asked.
        unknown_models: The models without a price.
    """

    rows: Rows
    tokens: NDArray[np.float64]
    dollars: NDArray[np.float64]
    costed: NDArray[np.bool_]
    unknown_models: tuple[str, ...]


def check_dimensions(names: Iterable[str]) -> None:
    """Refuse what is no dimension.

    Raises:
        InvalidArgument: One is none.
    """
    for name in names:
        if name not in DIMENSIONS and not (name.startswith(FLAG) and name != FLAG):
            near = difflib.get_close_matches(name, DIMENSIONS, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]}? " if near else ""
            raise InvalidArgument(
                f"{name or 'an empty text'} is no dimension: {hint}write"
                f" {', '.join(DIMENSIONS)} or flag:KEY"
            )


class Source:
    """What there is of two versions, read once for each way to read it."""

    def __init__(
        self, store: Store, question: Question, bound: dict[str, Any], there: Presence
    ) -> None:
        self._store = store
        self._question = question
        self._limit = question.max_traces or compare.MAX_TRACES
        self._compiled = compile_traces(question.filter)
        self._parts = _parts(self._compiled)
        self._bound = {**there.narrowed(bound), **self._compiled.parameters}
        self._there = there
        self._counts = self._count()
        self._flags: dict[str, tuple[int, Rows]] = {}
        self._texts: dict[str, dict[int, str]] = {}
        self._densest = max(compare.rates(self._counts, self._limit))
        self._traces: Traces | None = None
        self._used: _Used | None = None
        self._using = Lock()

    def _count(self) -> tuple[int, int]:
        """Count what there is in the time asked for, unless that is few in any case."""
        everything = sum(self._there.counts) <= self._limit
        asked = self._question.start_time_from_ns, self._question.start_time_until_ns
        if everything or asked == (None, None):
            return self._there.counts
        [row] = self._store.query("analysis/count", self._bound)
        return row["baseline_count"], row["candidate_count"]

    def traces(self) -> Traces:
        """Return the traces of both versions, those without a finished root among them."""
        if self._traces is None:
            one_in = compare.rates(self._counts, self._limit)
            found = self._read_traces(one_in, self._parts)
            for _ in range(_AGAIN - 1):
                wanted = min(self._limit, sum(self._counts)) / 2
                denser = max(wanted, 1) / max(len(found.rows), 1)
                if not self._question.filter or max(one_in) == 1 or denser <= 1:
                    break
                one_in = max(1, int(one_in[0] / denser)), max(1, int(one_in[1] / denser))
                found = self._read_traces(one_in, self._parts)
            self._traces = found
        return self._traces

    def _read_traces(
        self, one_in: tuple[int, int], parts: Mapping[str, str], **more: Any
    ) -> Traces:
        self._densest = min(self._densest, *one_in)
        bound = self._bound | _one_in(one_in) | {"any_version": 0} | more
        rows = self._array("analysis/traces", _TRACE, bound, parts)
        return Traces(rows, one_in)

    def _array(
        self,
        name: str,
        kind: np.dtype[Any],
        bound: Mapping[str, Any],
        parts: Mapping[str, str] | None = None,
    ) -> Rows:
        data = self._store.binary(name, bound, parts)
        if not data:
            return np.zeros(0, kind)
        rows = np.frombuffer(data, kind)
        # Always in one order: sums differ in their last digit by that, and with them answers.
        value = next(
            (each for each in ("value", "value_hash") if each in (rows.dtype.names or ())), ""
        )
        keys = (rows[value], rows["trace_hash"]) if value else (rows["trace_hash"],)
        return rows[np.lexsort(keys)]

    def units(self, metric: Metric, table: Prices) -> Units:
        """Return what a metric measures.

        Raises:
            NotFound: Nothing has the name that the metric has.
        """
        if metric.measured is Unit.SPAN:
            return self._spans(metric)
        if metric.measured is Unit.ASSESSMENT:
            return self._assessments(metric)
        if metric.kind == "tokens":
            return self._tokens(metric, table)
        if metric.kind == "cost":
            return self._costs(metric, table)
        rows = self.traces().rows
        rows = rows[rows["rank"] < FINISHED]
        values = rows["ms"] if metric.kind == "latency" else rows["failed"].astype(np.float64)
        return Units(metric, values, rows)

    # Tokens and cost

    def _sparse(self) -> tuple[int, int]:
        """Return one in how many traces to walk over, so many as tokens take."""
        one_in = self.traces().one_in
        rows = self.traces().rows
        most = max(1, self._limit // _TOKENS_SHARE)
        counts = [int(np.count_nonzero(rows["side"] == side)) for side in (1, 2)]
        further = compare.rates((counts[0], counts[1]), most)
        return one_in[0] * further[0], one_in[1] * further[1]

    def _tokens(self, metric: Metric, table: Prices) -> Units:
        asked = [each.metric for each in self._question.metrics] or DEFAULT
        if "cost" in asked:
            # What the cost is made of has the tokens in it.
            used = self._use(table)
            told = np.isfinite(used.tokens)
            return Units(metric, used.tokens[told], used.rows[told])
        bound = self._bound | _one_in(self._sparse())
        found = self._array("analysis/tokens", _TOKENS, bound, self._parts)
        at, there = self.traces().find(found["trace_hash"])
        return Units(metric, found["tokens"][there], self.traces().rows[at[there]])

    def _costs(self, metric: Metric, table: Prices) -> Units:
        used = self._use(table)
        rows, values = used.rows[used.costed], used.dollars[used.costed]
        priced = np.isfinite(values)
        return Units(
            metric,
            values[priced],
            rows[priced],
            unpriced=(rows["side"][~priced], used.unknown_models),
        )

    def _use(self, table: Prices) -> "_Used":
        """Sum what traces used, once: whoever asks meanwhile waits."""
        with self._using:
            if self._used is None:
                self._used = self._read_used(table)
            return self._used

    def _read_used(self, table: Prices) -> "_Used":
        bound = self._bound | _one_in(self._sparse())
        reader = Reader(self._store.binary("analysis/billing", bound, self._parts))
        hashes: list[int] = []
        counts: list[float] = []
        dollars: list[float] = []
        costed: list[bool] = []
        models: set[str] = set()
        while reader.more:
            trace_hash, at_ns = reader.uint64(), reader.uint64()
            edges = reader.numbers("Q")
            reported, billing = partial.usage(reader), partial.billing(reader)
            usage = tokens.usage(reported, edges)
            cost = tokens.cost(reported, edges, billing, table, _signed(at_ns))
            hashes.append(trace_hash)
            counts.append(math.nan if usage is None else usage.total_tokens)
            costed.append(cost is not None)
            known = cost is not None and not cost.unknown_models
            dollars.append(cost.total_cost if cost is not None and known else math.nan)
            models.update(cost.unknown_models if cost is not None else ())
        order = np.argsort(np.array(hashes, np.uint64))
        at, there = self.traces().find(np.array(hashes, np.uint64)[order])
        order = order[there]
        return _Used(
            rows=self.traces().rows[at[there]],
            tokens=np.array(counts, np.float64)[order],
            dollars=np.array(dollars, np.float64)[order],
            costed=np.array(costed, np.bool_)[order],
            unknown_models=tuple(sorted(models)),
        )

    # Spans

    def _spans(self, metric: Metric) -> Units:
        parts = _SPANS[metric.kind]
        bound = self._bound | {"name": metric.name}
        counts = self._counts
        by_attribute = metric.kind == "attribute"
        if not by_attribute:
            [row] = self._store.query("analysis/span_count", bound, parts)
            counts = row["baseline_count"], row["candidate_count"]
        one_in = compare.rates(counts, self._limit)
        found = self._array("analysis/spans", _SPAN, bound | _one_in(one_in), parts)
        found = _thinned(found, self._limit // 2)
        if not len(found) and metric.name:
            self._refuse_spans(metric, bound)
        # Which traces these are of, whoever began them.
        traces = self._read_traces(
            one_in,
            # An attribute is dear to look at, and which traces have none does not matter.
            self._parts | {"chosen": _OF_SPANS.format(TRUE if by_attribute else parts["which"])},
            any_version=1,
            name=metric.name,
        )
        at, there = traces.find(found["trace_hash"])
        found, rows = found[there], traces.rows[at[there]].copy()
        for column in ("side", "service", "environment"):
            rows[column] = found[column]
        return Units(metric, found["value"], rows)

    def _refuse_spans(self, metric: Metric, bound: Mapping[str, Any]) -> None:
        """Say what there is instead, where nothing has the name of a metric."""
        of_attributes = metric.kind == "attribute"
        query = "analysis/attribute_names" if of_attributes else "analysis/span_names"
        near = self._store.query(query, bound)
        shown = ", ".join(row["name"] for row in near) or "none"
        what = "numeric attribute" if of_attributes else "span"
        raise NotFound(
            f"{metric.text}: no {what} of these versions has the name {metric.name}; the most"
            f" like it: {shown}"
        )

    # Assessments

    def _assessments(self, metric: Metric) -> Units:
        there = {
            row["name"]: row["assessment_count"]
            for row in self._store.query("analysis/assessment_names", self._bound)
        }
        if metric.name not in there:
            near = difflib.get_close_matches(metric.name, list(there), n=5, cutoff=0.5)
            names = ", ".join(near or list(there)[:10]) or "none"
            hint = "the most like it" if near else "there are"
            raise NotFound(
                f"{metric.text}: no feedback on traces of {self._there.experiment} has the name"
                f" {metric.name}; {hint}: {names}"
            )
        one_in = max(1, math.ceil(there[metric.name] / self._limit))
        bound = self._bound | {"name": metric.name, "one_in": one_in}
        found = self._array("analysis/assessed", _ASSESSED, bound)
        traces = self._read_traces(
            (one_in, one_in), self._parts | {"also": _ASSESSED_TRACES}, name=metric.name
        )
        at, known = traces.find(found["trace_hash"])
        found, rows = found[known], traces.rows[at[known]]
        finished = rows["rank"] < FINISHED
        found, rows = found[finished], rows[finished]
        numbers = found["number"]
        if not len(found) or np.isfinite(numbers).all():
            plain = bool(np.isin(numbers, (0.0, 1.0)).all()) and len(found) > 0
            shape = Shape.SHARE if plain else Shape.SCORE
            unit = "share" if plain else ""
            return Units(replace(metric, shape=shape, unit=unit), numbers, rows)
        hashes, codes = np.unique(found["value_hash"], return_inverse=True)
        return Units(
            replace(metric, shape=Shape.CATEGORY, unit="share", direction=Direction.UNSPECIFIED),
            codes.astype(np.float64),
            rows,
            codes.astype(np.intp),
            hashes,
        )

    def categories(self, metric: Metric, hashes: Iterable[int]) -> dict[int, str]:
        """Return the values behind hashes."""
        bound = {"name": metric.name, "value_hashes": [int(each) for each in hashes]}
        rows = self._store.query("analysis/categories", bound)
        return {row["value_hash"]: row["category"] for row in rows}

    # Dimensions

    def hashes(self, dimension: str, rows: Rows) -> NDArray[np.uint64]:
        """Return the value that each trace has in a dimension, as a hash; 0 for none."""
        if not dimension.startswith(FLAG):
            return rows[dimension]
        densest = self._densest
        one_in, flagged = self._flags.get(dimension, (0, np.zeros(0, _FLAGGED)))
        if not one_in or one_in > densest:
            key = VTRACK_FLAG_PREFIX + dimension.removeprefix(FLAG)
            flagged = self._array("analysis/flags", _FLAGGED, {"key": key, "one_in": densest})
            self._flags[dimension] = densest, flagged
        at, there = Traces(flagged, (1, 1)).find(rows["trace_hash"])
        if not len(flagged):
            return np.zeros(len(rows), np.uint64)
        return np.where(there, flagged["value_hash"][at], np.uint64(0))

    def texts(self, dimension: str, hashes: NDArray[np.uint64], rows: Rows) -> dict[int, str]:
        """Return the values behind the hashes of some traces; of none it is empty.

        Args:
            dimension: Which.
            hashes: Which.
            rows: Traces that have them.
        """
        known = self._texts.setdefault(dimension, {0: ""})
        wanted = [int(each) for each in np.unique(hashes) if int(each) not in known]
        if wanted:
            known |= self._read_texts(dimension, wanted, rows)
        return known

    def _read_texts(self, dimension: str, wanted: list[int], rows: Rows) -> dict[int, str]:
        if dimension.startswith(FLAG):
            key = VTRACK_FLAG_PREFIX + dimension.removeprefix(FLAG)
            bound = {"key": key, "value_hashes": wanted}
            read = self._store.query("analysis/variants", bound)
            return {row["value_hash"]: row["value"] for row in read}
        if dimension in {"service", "environment"}:
            # Of spans these are their own, which no trace needs to have.
            places = self._store.query("analysis/places", self._bound)
            return {row[f"{dimension}_hash"]: row[dimension] for row in places}
        values = rows[dimension]
        order = np.argsort(values, kind="stable")
        at = order[np.searchsorted(values[order], np.array(wanted, np.uint64))]
        bound = {
            "trace_hashes": [int(each) for each in rows["trace_hash"][at]],
            "experiment": self._there.experiment,
        }
        by_trace = {
            row["trace_hash"]: row[dimension] for row in self._store.query("analysis/levels", bound)
        }
        named = zip(wanted, bound["trace_hashes"], strict=True)
        return {value: by_trace.get(trace, "") for value, trace in named}


def _thinned(rows: Rows, most: int) -> Rows:
    """Take no more of a version than so many, by the hash of the trace."""
    kept = np.ones(len(rows), np.bool_)
    for side in (1, 2):
        own = rows["side"] == side
        hashes = rows["trace_hash"][own]
        if len(hashes) > 2 * most:
            kept &= ~own | (rows["trace_hash"] <= np.partition(hashes, most)[most])
    return rows[kept]


def _parts(compiled: CompiledTraces) -> dict[str, str]:
    if compiled.row == TRUE and compiled.where == TRUE:
        return {"some": TRUE}
    return {"row": compiled.row, "whole": compiled.where}


def _one_in(rates: tuple[int, int]) -> dict[str, int]:
    return {"baseline_one_in": rates[0], "candidate_one_in": rates[1]}


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number
