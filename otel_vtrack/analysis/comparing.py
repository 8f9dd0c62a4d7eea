"""Compare two versions: take a sample, test each metric in each group, and give verdicts."""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from otel_vtrack.analysis import compare as answers
from otel_vtrack.analysis import confounding, examine, sample, statistics, words
from otel_vtrack.analysis.compare import (
    ALPHA,
    Category,
    Comparison,
    Group,
    MetricComparison,
    Mix,
    Question,
    Sample,
    Verdict,
)
from otel_vtrack.analysis.confounding import Held
from otel_vtrack.analysis.data import Strata
from otel_vtrack.analysis.inference import compare as tests
from otel_vtrack.analysis.inference import estimate
from otel_vtrack.analysis.metrics import DEFAULT, Direction, MetricQuery, Shape, Unit, parse_all
from otel_vtrack.analysis.sample import Source
from otel_vtrack.analysis.statistics import Estimate
from otel_vtrack.analysis.units import Rows, Traces, Units
from otel_vtrack.errors import NotFound
from otel_vtrack.query.prices import Prices
from otel_vtrack.store.client import Store

MOST_GROUPS: Final = 20
_MOST_CATEGORIES: Final = 20
_READERS: Final = 2


@dataclass(slots=True)
class _Examined:
    """One metric in one group, before its verdict."""

    units: Units
    strata: Strata | None
    found: MetricComparison


def compare(store: Store, question: Question, table: Prices) -> Comparison:
    """Compare two versions; see `analysis.compare`."""
    bound = answers.parameters(question)
    asked = parse_all(question.metrics or map(MetricQuery, DEFAULT))
    sample.check_dimensions(question.group_by)
    sample.check_dimensions(each for each in question.stratify_by if each != confounding.NOTHING)
    there = answers.presence(store, question, bound)
    source = Source(store, question, bound, there, table)
    traces = source.traces()
    baseline, candidate = (
        _sample(traces, side, version)
        for side, version in (
            (1, question.baseline_version),
            (2, question.candidate_version),
        )
    )
    # A filter or a sample may leave nothing; a version may have spans but no roots.
    if not question.filter and all(each.measured is not Unit.SPAN for each in asked):
        for found in (baseline, candidate):
            nothing = not found.trace_count and not found.in_progress_count
            if nothing and found.sampled_one_in == 1:
                raise NotFound(
                    f"version {found.version} began no traces at that time and place: choose a"
                    " wider time range, or, if it only has spans in others' traces, compare it by"
                    " --metric entry_latency, span_latency:NAME or span_error_rate:NAME"
                )
    rows = traces.finished
    # The engine reads the next metrics while this one is tested.
    with ThreadPoolExecutor(_READERS) as pool:
        coming = [pool.submit(source.units, metric, table) for metric in asked]
        mix = confounding.mixes(source, rows, traces.design)
        of_traces = confounding.chosen(mix, question.stratify_by, rows)
        measured: list[tuple[Units, Held]] = []
        wholes: list[_Examined] = []
        for each in coming:
            units, held = each.result(), of_traces
            if units.metric.measured is Unit.SPAN:
                # Their traces may differ: a trace's root may be of another version.
                own = confounding.mixes(source, units.rows, units.design)
                held = confounding.chosen(own, question.stratify_by, units.rows)
                known = {one.dimension for one in mix}
                mix += tuple(one for one in own if one.dimension not in known)
            measured.append((units, held))
            wholes.append(_examined(units, confounding.strata(source, held, units.rows)))
    groups, parts, left_out = _groups(source, question.group_by, rows, measured)
    count = _adjust([*wholes, *(each for part in parts for each in part)])
    say = _Sayer(source, question, mix, count)
    return Comparison(
        experiment=there.experiment,
        service_name=question.service_name,
        environment=question.environment,
        filter=question.filter,
        baseline=baseline,
        candidate=candidate,
        metrics=tuple(say.judged(each) for each in wholes),
        mix=mix,
        groups=tuple(
            replace(group, metrics=tuple(say.judged(each, group) for each in part))
            for group, part in zip(groups, parts, strict=True)
        ),
        groups_left_out=left_out,
    )


def _sample(traces: Traces, side: int, version: str) -> Sample:
    began = int(np.count_nonzero(traces.rows["side"] == side))
    # Column by column, since whole rows are long.
    places = traces.design.places[side - 1]
    failed, start_ns, counts = (
        traces.finished[name][places] for name in ("failed", "start_ns", "adjusted_count")
    )
    count = len(places)
    return Sample(
        version,
        count,
        int(np.count_nonzero(failed)),
        began - count,
        int(start_ns.min()) if count else None,
        int(start_ns.max()) if count else None,
        traces.one_in[side - 1],
        round(float(counts.sum(dtype=np.float64))),
    )


def _examined(units: Units, strata: Strata | None) -> _Examined:
    return _Examined(units, strata, examine.examine(units, strata))


def _groups(
    source: Source,
    group_by: Sequence[str],
    rows: Rows,
    measured: Sequence[tuple[Units, Held]],
) -> tuple[list[Group], list[list[_Examined]], int]:
    """Examine every metric within each group; the group's dimensions are constant already."""
    if not group_by:
        return [], [], 0
    of_traces = _values(source, group_by, rows)
    keys, counts = np.unique(of_traces, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MOST_GROUPS]
    texts = [
        source.texts(name, np.unique(keys[order][:, place]), rows)
        for place, name in enumerate(group_by)
    ]
    of_units = [_values(source, group_by, units.rows) for units, _ in measured]
    groups: list[Group] = []
    parts: list[list[_Examined]] = []
    for key in keys[order]:
        sides = rows["side"][(of_traces == key).all(axis=1)]
        groups.append(
            Group(
                {name: texts[n].get(int(key[n]), "") for n, name in enumerate(group_by)},
                int(np.count_nonzero(sides == 1)),
                int(np.count_nonzero(sides == 2)),
                (),
            )
        )
        part: list[_Examined] = []
        for (units, held), values in zip(measured, of_units, strict=True):
            inside = units.where((values == key).all(axis=1))
            alike = confounding.strata(source, held.besides(group_by), inside.rows)
            part.append(_examined(inside, alike))
        parts.append(part)
    return groups, parts, max(0, len(keys) - MOST_GROUPS)


def _values(source: Source, names: Sequence[str], rows: Rows) -> np.ndarray:
    return np.stack([source.hashes(name, rows) for name in names], axis=1)


def _adjust(examined: Sequence[_Examined]) -> int:
    """Adjust the p-values of all deciding tests for their number; return it."""
    bulks = [each for each in examined if each.found.adjusted_p_value is not None]
    tails = [each for each in examined if each.found.tail is not None]
    raw = [each.found.p_value or 0.0 for each in bulks]
    raw += [each.found.tail.p_value for each in tails if each.found.tail]
    adjusted = statistics.adjusted(raw)
    for each, p_value in zip(bulks, adjusted, strict=False):
        each.found = replace(each.found, adjusted_p_value=p_value)
    for each, p_value in zip(tails, adjusted[len(bulks) :], strict=True):
        if each.found.tail:
            tail = replace(each.found.tail, adjusted_p_value=p_value)
            each.found = replace(each.found, tail=tail)
    return len(raw)


@dataclass(frozen=True, slots=True)
class _Sayer:
    """Gives verdicts and describes them.

    Attributes:
        test_count: For how many tests p-values are adjusted.
    """

    source: Source
    question: Question
    mix: Sequence[Mix]
    test_count: int

    def judged(self, each: _Examined, group: Group | None = None) -> MetricComparison:
        """Return a metric with its verdict, examples, categories and summary."""
        found = each.found
        if each.units.metric.shape is Shape.CATEGORY:
            found = replace(found, categories=self._categories(each.units, each.strata))
        found = verdict(found)
        if found.verdict is Verdict.NO_EVIDENCE:
            more = examine.needed(found, each.units, each.strata, self.test_count)
            found = replace(found, more_needed=more)
        if found.verdict in {Verdict.IMPROVED, Verdict.REGRESSED, Verdict.CHANGED}:
            shown = examine.examples(each.units, up=_is_greater(found), strata=each.strata)
            found = replace(found, example_trace_ids=shown)
        said = words.summary(
            found,
            self.question.baseline_version,
            self.question.candidate_version,
            environment=self.question.environment,
            group=group.values if group else {},
            mix=self.mix,
        )
        return replace(found, summary=said)

    def _categories(self, units: Units, strata: Strata | None) -> tuple[Category, ...]:
        if units.codes is None or units.categories is None:
            return ()
        sides, weights = units.is_candidate, units.weights
        held = strata.codes if strata is not None and strata.decides else None
        clusters = units.design.clusters
        counts = [
            np.bincount(units.codes[side], minlength=len(units.categories))
            for side in (~sides, sides)
        ]
        order = np.argsort(-(counts[0] + counts[1]), kind="stable")[:_MOST_CATEGORIES]
        texts = self.source.categories(units.metric, units.categories[order])
        found: list[Category] = []
        for code in order:
            if not counts[0][code] + counts[1][code]:
                continue
            has = (units.codes == code).astype(np.float64)
            before, after = (
                estimate.proportion(
                    has[side], clusters[side], None if weights is None else weights[side]
                )
                for side in (~sides, sides)
            )
            gap = statistics.difference(before, after)
            if held is not None:
                gap = tests.proportions(has, sides, clusters, held, weights).estimate
            found.append(
                Category(
                    texts.get(int(units.categories[code]), ""),
                    int(counts[0][code]),
                    int(counts[1][code]),
                    before,
                    after,
                    gap,
                )
            )
        return tuple(found)


def verdict(found: MetricComparison) -> MetricComparison:
    """Return a metric with the verdict from its adjusted p-values and the smallest change.

    A finding is a significant difference whose interval is not wholly within the smallest change
    that matters: one shown to be too small does not count, however certain it is. Both bulk and
    tail may differ: the verdict goes by the worse one or, if both are worse, by the one that is
    worse by more, or a slow route that few traces take would pass for its small effect on p50.
    """
    if found.adjusted_p_value is None:
        return replace(found, verdict=Verdict.NOT_ENOUGH_DATA)
    smallest = found.smallest_relative_change or found.smallest_absolute_change or 0.0
    bulk_within = _within(found.deciding_change, smallest)
    tail_within = found.tail is None or _within(found.tail.change, smallest)
    ways: dict[str, bool | None] = {}
    somewhere = found.candidate_is_greater is not None or found.categories
    if found.adjusted_p_value < ALPHA and not bulk_within and somewhere:
        ways["bulk"] = found.candidate_is_greater
    tail = found.tail
    if (
        tail is not None
        and tail.adjusted_p_value < ALPHA
        and tail.candidate_is_greater is not None
        and not tail_within
    ):
        ways["tail"] = tail.candidate_is_greater
    if not ways:
        same = bulk_within and tail_within
        return replace(found, verdict=Verdict.EQUIVALENT if same else Verdict.NO_EVIDENCE)
    if found.direction is Direction.UNSPECIFIED or None in ways.values():
        said, part = Verdict.CHANGED, next(iter(ways))
    else:
        bad = found.direction is Direction.LESS
        worse = [each for each, up in ways.items() if up is bad]
        said = Verdict.REGRESSED if worse else Verdict.IMPROVED
        changes = {"bulk": found.deciding_change, "tail": tail.change if tail else None}
        part = max(worse or list(ways)[:1], key=lambda each: _size(changes[each], up=bad))
    figures = {"bulk": found.deciding_figure, "tail": "p95"}
    findings = tuple(figures[each] for each in ways)
    found = replace(found, verdict=said, findings=findings)
    if part == "bulk" or tail is None:
        return found
    return replace(found, deciding_figure="p95", deciding_change=tail.change)


def _size(change: Estimate | None, *, up: bool) -> float:
    """Return how far a change goes one way; an unknown one, from zero, ranks above all others."""
    if change is None:
        return math.inf
    return change.value if up else -change.value


def _is_greater(found: MetricComparison) -> bool | None:
    if found.deciding_figure == "p95" and found.tail:
        return found.tail.candidate_is_greater
    return found.candidate_is_greater


def _within(change: Estimate | None, smallest: float) -> bool:
    """Return whether an interval lies wholly within the smallest change that matters.

    Two one-sided tests at 2.5 %: D. J. Schuirmann, A comparison of the two one-sided tests
    procedure and the power approach for assessing the equivalence of average bioavailability,
    Journal of Pharmacokinetics and Biopharmaceutics 15 (1987).
    """
    if change is None or change.lower is None or change.upper is None:
        return False
    return -smallest < change.lower and change.upper < smallest
