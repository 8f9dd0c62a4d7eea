"""Read from the store what is compared: a row for each trace, and a value for each unit.

Everything is in arrays: texts are hashes until they are shown. Sampling is by the hash of the trace
id, by which the table `traces` is sorted, so that the rest is not read.
"""

import difflib
import math
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from otel_vtrack.analysis import compare
from otel_vtrack.analysis.compare import Presence, Question
from otel_vtrack.analysis.metrics import DEFAULT, Direction, Metric, Shape, Unit
from otel_vtrack.analysis.units import FINISHED, Rows, Traces, Units
from otel_vtrack.analysis.usage import Usage
from otel_vtrack.errors import InvalidArgument, NotFound
from otel_vtrack.query import priced
from otel_vtrack.query.filter import CompiledTraces, compile_traces
from otel_vtrack.query.filter.compiler import TRUE
from otel_vtrack.query.filter.costs import WANTED
from otel_vtrack.query.prices import Prices
from otel_vtrack.semconv import VTRACK_FLAG_PREFIX
from otel_vtrack.store.client import Store

DIMENSIONS: Final = ("route", "model", "environment", "service", "user")
FLAG: Final = "flag:"
_MOST_TIMES: Final = 20
"""Most spans to read, as a multiple of the most traces, before the sample is made sparser."""
_GLANCE: Final = 8
"""How much sparser the first sample is where a filter may leave few traces."""
_ENOUGH: Final = 2
"""A sample this many times smaller than allowed is not taken again."""
_AGAIN: Final = 2
"""How often to take a denser sample if the one before left too little."""

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
        ("adjusted_count", "<f4"),
    ]
)
_HASH: Final = np.dtype([("trace_hash", "<u8")])
_SPAN: Final = np.dtype(
    [
        ("trace_hash", "<u8"),
        ("span", "<u8"),
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
    # As the mapping of traces identifies roots: bit 9 of the flags is set if the parent is in
    # another process, and bit 8 if the sender knows.
    "(s.parent_span_id = toFixedString('', 8)"
    " OR if(bitTest(s.flags, 8), bitTest(s.flags, 9), s.kind IN (2, 5)))"
)
_NAMED: Final = "s.name = {name:String}"
_PLACE: Final = "indexOf(s.attributes.keys, {name:String})"
# Values are most of a span's data: keys are read alone first.
_VALUE: Final = f"toFloat64OrNull(s.attributes.values[{_PLACE}])"
_NUMBER: Final = (
    "has(s.attributes.keys, {name:String})"
    f" AND s.attribute_types[{_PLACE}] IN (3, 4) AND isFinite({_VALUE})"
)
_SPANS: Final = {
    "entry_latency": {"which": _ENTRY},
    "span_latency": {"which": _NAMED},
    "span_error_rate": {"which": _NAMED, "value": "toFloat64(s.status_code = 2)"},
    "attribute": {"which": _NUMBER, "value": _VALUE, "prewhere": "1"},
}
_OWN_TIMES: Final = (
    "{0} >= fromUnixTimestamp64Nano("
    "if({1}, {{baseline_from_ns:Int64}}, {{candidate_from_ns:Int64}}), 'UTC')"
    " AND {0} <= fromUnixTimestamp64Nano("
    "if({1}, {{baseline_until_ns:Int64}}, {{candidate_until_ns:Int64}}), 'UTC')"
)
_IS_BASELINE: Final = "version = {baseline_version:String}"
_ASSESSED_TRACES: Final = (
    "cityHash64(trace_id) GLOBAL IN (SELECT cityHash64(a.trace_key) FROM current_assessments AS a"
    " WHERE a.assessment_name = {name:String} AND a.assessment_type = 'feedback' AND a.valid"
    " AND a.session_id = '')"
)

_OF_SAMPLE: Final = (
    "cityHash64({0}.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF,"
    " least({{baseline_one_in:UInt64}}, {{candidate_one_in:UInt64}}))"
    " AND {0}.start_time >= fromUnixTimestamp64Nano({{rows_from_ns:Int64}}, 'UTC')"
    " AND {0}.start_time <= fromUnixTimestamp64Nano({{rows_until_ns:Int64}}, 'UTC')"
    " AND {0}.experiment = {{experiment:String}}"
)
_BEGUN: Final = (
    # As analysis/whole_traces selects traces by default.
    "cityHash64(trace_id) GLOBAL IN (SELECT cityHash64(b.trace_id) FROM traces AS b"  # noqa: S608
    f" WHERE {_OF_SAMPLE.format('b')}"
    " AND b.root.version IN ({baseline_version:String}, {candidate_version:String})"
    " AND cityHash64(b.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF,"
    " if(b.root.version = {baseline_version:String},"
    " {baseline_one_in:UInt64}, {candidate_one_in:UInt64})))"
)
_LIKE_ROW: Final = (
    "cityHash64(trace_id) GLOBAL IN (SELECT cityHash64(t.trace_id) FROM traces AS t"  # noqa: S608
    f" WHERE {_OF_SAMPLE.format('t')} AND {{row}})"
)
_SEVERAL_ROWS: Final = (
    "cityHash64(trace_id) GLOBAL IN (SELECT cityHash64(p.trace_id) FROM traces AS p"  # noqa: S608
    f" WHERE {_OF_SAMPLE.format('p')} GROUP BY p.trace_id HAVING count() > 1)"
)
_THESE: Final = "cityHash64(trace_id) IN {trace_hashes:Array(UInt64)}"
_FEW: Final = 2_000
"""Most hashes that a query names; for more the query selects them itself."""
_SUMS: Final = "_tokens"
"""Marks conditions on sums over a trace's tree, which only the view whole_traces has."""

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


def check_dimensions(names: Iterable[str]) -> None:
    """Reject unknown dimensions.

    Raises:
        InvalidArgument: One is unknown.
    """
    for name in names:
        if name not in DIMENSIONS and not (name.startswith(FLAG) and name != FLAG):
            near = difflib.get_close_matches(name, DIMENSIONS, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]}? " if near else ""
            raise InvalidArgument(
                f"{name or 'an empty text'} is not a dimension: {hint}write"
                f" {', '.join(DIMENSIONS)} or flag:KEY"
            )


class Source:
    """The data of two versions, each part read once."""

    def __init__(
        self,
        store: Store,
        question: Question,
        bound: dict[str, Any],
        there: Presence,
        table: Prices,
    ) -> None:
        self.store = store
        self._question = question
        self.limit = question.max_traces or compare.MAX_TRACES
        self._compiled = compile_traces(question.filter, priced=lambda: priced.models(store, table))
        self._asked = _parts(self._compiled)
        self.parts: Final = _costing(self._asked, _BEGUN)
        self.bound = {**there.narrowed(bound), **self._compiled.parameters}
        self._there = there
        self._counts = self._count()
        self._flags: dict[str, tuple[int, Rows]] = {}
        self._texts: dict[str, dict[int, str]] = {}
        self._densest = max(compare.rates(self._counts, self.limit))
        self._traces: Traces | None = None
        self.row_parts: Final = {"row": self._compiled.row}
        self.usage: Final = Usage(self)

    def _count(self) -> tuple[int, int]:
        """Count the traces in the requested time range, unless there are few in any case."""
        everything = sum(self._there.counts) <= self.limit
        asked = self._question.start_time_from_ns, self._question.start_time_until_ns
        if everything or (asked == (None, None) and not self._question.own_times):
            return self._there.counts
        [row] = self.store.query("analysis/count", self.bound, self._times("roots"))
        return row["baseline_count"], row["candidate_count"]

    def _times(self, what: str) -> dict[str, str]:
        """Return the part of a query that limits each version to its own time range."""
        if not self._question.own_times:
            return {}
        time, baseline = {
            "roots": ("start_time", f"root.{_IS_BASELINE}"),
            "traces": ("t.root.start_time", f"t.root.{_IS_BASELINE}"),
            "whole": ("r.2", "r.4 = 1"),
            "spans": ("s.start_time", f"s.{_IS_BASELINE}"),
        }[what]
        return {"own_times": _OWN_TIMES.format(time, baseline)}

    def traces(self) -> Traces:
        """Return the traces of both versions, including those without a finished root."""
        if self._traces is None:
            one_in = compare.rates(self._counts, self.limit)
            filtered = bool(self._question.filter) and max(one_in) > 1
            # A sparse first sample shows how few traces a filter leaves.
            glance = _GLANCE if filtered else 1
            found = self._read_traces((one_in[0] * glance, one_in[1] * glance))
            for _ in range(_AGAIN if filtered else 0):
                denser = self.limit / max(len(found.rows), 1)
                if max(found.one_in) == 1 or denser <= _ENOUGH:
                    break
                first, second = (max(1, math.ceil(each / denser)) for each in found.one_in)
                found = self._read_traces((first, second))
            self._traces = found
        return self._traces

    def _read_traces(self, one_in: tuple[int, int], **more: Any) -> Traces:
        """Read traces with one row as they are, and assemble the others."""
        self._densest = min(self._densest, *one_in)
        bound = self.bound | _one_in_of(one_in) | {"any_version": 0} | more
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(self.array, "analysis/partial_traces", _HASH, bound)
            if _SUMS in self._compiled.where:
                return Traces(self._whole_traces(bound), one_in, coming.result()["trace_hash"])
            rows = self.array("analysis/traces", _TRACE, bound, self.parts | self._times("traces"))
            partial = coming.result()["trace_hash"]
        theirs = np.isin(rows["trace_hash"], partial)
        # A trace may match although none of its rows does.
        if theirs.any() or (len(partial) and self._compiled.where != TRUE):
            several = self._whole_traces(bound, chosen=_SEVERAL_ROWS)
            rows = np.concatenate([rows[~theirs], several])
            rows = rows[np.argsort(rows["trace_hash"], kind="stable")]
        return Traces(rows, one_in, partial)

    def _whole_traces(self, bound: Mapping[str, Any], **parts: str) -> Rows:
        """Assemble traces from all their rows."""
        chosen = [parts.get("chosen", _BEGUN), *([parts["also"]] if "also" in parts else [])]
        given = _costing(self._asked, *chosen) | self._times("whole") | parts
        return self.array("analysis/whole_traces", _TRACE, bound, given)

    def array(
        self,
        name: str,
        kind: np.dtype[Any],
        bound: Mapping[str, Any],
        parts: Mapping[str, str] | None = None,
    ) -> Rows:
        """Read a query's result as rows, in a fixed order."""
        data = self.store.binary(name, bound, parts)
        if not data:
            return np.zeros(0, kind)
        rows = np.frombuffer(data, kind)
        # Always in the same order: sums depend on it in their last digit, and so do results.
        value = next(
            (each for each in ("value", "value_hash") if each in (rows.dtype.names or ())), ""
        )
        hashes = rows["trace_hash"]
        if value:
            return rows[np.lexsort((rows[value], hashes))]
        # The order in which the engine reads them, unless from several parts.
        in_order = bool((hashes[1:] >= hashes[:-1]).all())
        return rows if in_order else rows[np.argsort(hashes, kind="stable")]

    def units(self, metric: Metric, table: Prices) -> Units:
        """Return what a metric measures.

        Raises:
            NotFound: Nothing has the metric's name.
        """
        if metric.measured is Unit.SPAN:
            return self._spans(metric)
        if metric.measured is Unit.ASSESSMENT:
            return self._assessments(metric)
        if metric.kind == "tokens":
            asked = [each.metric for each in self._question.metrics] or DEFAULT
            return self.usage.tokens(metric, table, with_cost="cost" in asked)
        if metric.kind == "cost":
            return self.usage.costs(metric, table)
        traces = self.traces()
        rows = traces.finished
        values = rows["ms"] if metric.kind == "latency" else rows["failed"].astype(np.float64)
        return Units(metric, values, rows, known_design=traces.design)

    # Spans

    def _spans(self, metric: Metric) -> Units:
        parts = _SPANS[metric.kind] | self._times("spans")
        bound = self.bound | {"name": metric.name}
        one_in = compare.rates(self._counts, self.limit)
        most = self.limit * _MOST_TIMES
        bound |= {"most": most}
        found = self.array("analysis/spans", _SPAN, bound | _one_in_of(one_in), parts)
        for _ in range(_AGAIN):
            # Not every trace has such a span, so take more; or fewer, if each has very many.
            denser = self.limit / 2 / max(len(found), 1)
            if len(found) < most and (max(one_in) == 1 or denser <= 1):
                break
            one_in = max(1, int(one_in[0] / denser)), max(1, int(one_in[1] / denser))
            found = self.array("analysis/spans", _SPAN, bound | _one_in_of(one_in), parts)
        found = _thinned(_once(found), self.limit // 2)
        if not len(found) and metric.name:
            self._refuse_spans(metric, bound)
        traces = self._traces_of(np.unique(found["trace_hash"]), metric, one_in)
        at, there = traces.find(found["trace_hash"])
        found, rows = found[there], traces.rows[at[there]].copy()
        for column in ("side", "service", "environment"):
            rows[column] = found[column]
        return Units(metric, found["value"], rows)

    def _traces_of(
        self, hashes: NDArray[np.uint64], metric: Metric, one_in: tuple[int, int]
    ) -> Traces:
        """Return the traces of spans, whatever version began them: mostly one of the two."""
        densest = min(one_in)
        known = self._read_traces((densest, densest), any_version=1)
        missing = np.setdiff1d(hashes, known.rows["trace_hash"], assume_unique=True)
        if not len(missing):
            return known
        bound = self.bound | _one_in_of((densest, densest))
        bound |= {"any_version": 1, "name": metric.name}
        if len(missing) <= _FEW:
            bound["trace_hashes"] = [int(each) for each in missing]
            others = self._whole_traces(bound, chosen=_THESE)
        else:
            # Attributes are expensive to read, and traces without one do no harm here.
            which = TRUE if metric.kind == "attribute" else _SPANS[metric.kind]["which"]
            others = self._whole_traces(bound | _one_in_of(one_in), chosen=_OF_SPANS.format(which))
            others = others[np.isin(others["trace_hash"], missing)]
        rows = np.concatenate([known.rows, others])
        return Traces(rows[np.argsort(rows["trace_hash"], kind="stable")], one_in)

    def _refuse_spans(self, metric: Metric, bound: Mapping[str, Any]) -> None:
        """Reject a metric whose name nothing has, and list similar names."""
        of_attributes = metric.kind == "attribute"
        query = "analysis/attribute_names" if of_attributes else "analysis/span_names"
        near = self.store.query(query, bound)
        shown = ", ".join(row["name"] for row in near) or "none"
        what = "numeric attribute" if of_attributes else "span"
        raise NotFound(
            f"{metric.text}: no {what} of these versions has the name {metric.name}; the most"
            f" similar: {shown}"
        )

    # Assessments

    def _assessments(self, metric: Metric) -> Units:
        there = {
            row["name"]: row["assessment_count"]
            for row in self.store.query("analysis/assessment_names", self.bound)
        }
        if metric.name not in there:
            near = difflib.get_close_matches(metric.name, list(there), n=5, cutoff=0.5)
            names = ", ".join(near or list(there)[:10]) or "none"
            hint = "the most similar" if near else "there are"
            raise NotFound(
                f"{metric.text}: no feedback on traces of {self._there.experiment} has the name"
                f" {metric.name}; {hint}: {names}"
            )
        one_in = max(1, math.ceil(there[metric.name] / self.limit))
        bound = self.bound | {"name": metric.name, "one_in": one_in}
        found = self.array("analysis/assessed", _ASSESSED, bound)
        self._densest = min(self._densest, one_in)
        bound = self.bound | _one_in_of((one_in, one_in)) | {"any_version": 0, "name": metric.name}
        found_traces = self._whole_traces(bound, also=_ASSESSED_TRACES)
        traces = Traces(found_traces, (one_in, one_in))
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
        rows = self.store.query("analysis/categories", bound)
        return {row["value_hash"]: row["category"] for row in rows}

    # Dimensions

    def hashes(self, dimension: str, rows: Rows) -> NDArray[np.uint64]:
        """Return each trace's value in a dimension, as a hash; 0 for none."""
        if not dimension.startswith(FLAG):
            return rows[dimension]
        densest = self._densest
        one_in, flagged = self._flags.get(dimension, (0, np.zeros(0, _FLAGGED)))
        if not one_in or one_in > densest:
            key = VTRACK_FLAG_PREFIX + dimension.removeprefix(FLAG)
            flagged = self.array("analysis/flags", _FLAGGED, {"key": key, "one_in": densest})
            self._flags[dimension] = densest, flagged
        at, there = Traces(flagged, (1, 1)).find(rows["trace_hash"])
        if not len(flagged):
            return np.zeros(len(rows), np.uint64)
        return np.where(there, flagged["value_hash"][at], np.uint64(0))

    def texts(self, dimension: str, hashes: NDArray[np.uint64], rows: Rows) -> dict[int, str]:
        """Return the values behind the hashes of some traces; the hash 0 is an empty value.

        Args:
            dimension: The dimension's name.
            hashes: The hashes to look up.
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
            read = self.store.query("analysis/variants", bound)
            return {row["value_hash"]: row["value"] for row in read}
        if dimension in {"service", "environment"}:
            # Spans have their own, which need not be any trace's.
            places = self.store.query("analysis/places", self.bound)
            return {row[f"{dimension}_hash"]: row[dimension] for row in places}
        values = rows[dimension]
        order = np.argsort(values, kind="stable")
        at = order[np.searchsorted(values[order], np.array(wanted, np.uint64))]
        bound = {
            "trace_hashes": [int(each) for each in rows["trace_hash"][at]],
            "experiment": self._there.experiment,
        }
        by_trace = {
            row["trace_hash"]: row[dimension] for row in self.store.query("analysis/levels", bound)
        }
        named = zip(wanted, bound["trace_hashes"], strict=True)
        return {value: by_trace.get(trace, "") for value, trace in named}


def _once(spans: Rows) -> Rows:
    """Drop duplicates of spans, which exist until their rows are merged."""
    order = np.lexsort((spans["span"], spans["trace_hash"]))
    spans = spans[order]
    same = (spans["span"][1:] == spans["span"][:-1]) & (
        spans["trace_hash"][1:] == spans["trace_hash"][:-1]
    )
    spans = spans[np.concatenate([[True], ~same])] if len(spans) else spans
    return spans[np.lexsort((spans["value"], spans["trace_hash"]))]


def _thinned(rows: Rows, most: int) -> Rows:
    """Cut a version with more than twice `most` rows to about `most`, by the trace's hash."""
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


def _costing(parts: dict[str, str], *chosen: str) -> dict[str, str]:
    """Insert into a query's parts for which traces to compute the cost: those that may match."""
    if WANTED not in parts.get("whole", ""):
        return parts
    row = parts["row"]
    some = [] if row == TRUE else [_LIKE_ROW.replace("{row}", row)]
    return parts | {"whole": parts["whole"].replace(WANTED, " AND ".join([*chosen, *some]))}


def _one_in_of(rates: tuple[int, int]) -> dict[str, int]:
    return {"baseline_one_in": rates[0], "candidate_one_in": rates[1]}
