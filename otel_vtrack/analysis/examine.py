"""Examines one metric of both versions: figures, tests, strata, and what more data it takes.

docs/comparison.md says which test is made of what, and why.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from otel_vtrack.analysis import statistics
from otel_vtrack.analysis.compare import (
    ENOUGH,
    Figure,
    MetricComparison,
    Stratified,
    Stratum,
    Tail,
)
from otel_vtrack.analysis.inference import compare as tests
from otel_vtrack.analysis.inference import estimate, power
from otel_vtrack.analysis.inference.contrast import FEWEST_CLUSTERS
from otel_vtrack.analysis.inference.tested import Tested
from otel_vtrack.analysis.metrics import Shape
from otel_vtrack.analysis.statistics import Estimate
from otel_vtrack.analysis.units import Units

ENOUGH_CLUSTERS: Final = FEWEST_CLUSTERS
"""Fewest sessions, or traces without one, of each version from which anything is concluded.

Of fewer the error that allows for sessions is itself a guess: A. C. Cameron and D. L. Miller, A
practitioner's guide to cluster-robust inference, Journal of Human Resources 50 (2015), VI.
"""
LEVELS: Final = (0.5, 0.9, 0.95, 0.99)
QUANTILES: Final = ("p50", "p90", "p95", "p99")
TAIL: Final = 0.95
_ENOUGH_IN_TAIL: Final = 5
"""Fewest values of each version that are to be expected in the tail, as Cochran's rule has it."""

_MOST_STRATA: Final = 20
_MOST_COMPARED: Final = 200
_LEAST_IN_STRATUM: Final = 5
_EXAMPLES: Final = 3

_BULK: Final = {
    Shape.DURATION: "p50",
    Shape.SUM: "mean",
    Shape.SCORE: "mean",
    Shape.SHARE: "rate",
    Shape.CATEGORY: "",
}
_REASONS: Final = {
    Shape.DURATION: (
        "durations are skewed, so ranks are compared: they assume no distribution and are not"
        " ruled by a few slow ones; the tail is tested by itself"
    ),
    Shape.SUM: "what is paid is the sum, so means are compared",
    Shape.SCORE: "nothing is known of how the numbers are spread, so ranks are compared",
    Shape.SHARE: "shares are compared",
    Shape.CATEGORY: "categories have no order, so the shares of all are compared at once",
}

Floats = NDArray[np.float64]
Labels = Callable[[int], dict[str, str]]
"""Names what is equal within a stratum."""


@dataclass(frozen=True, slots=True)
class Strata:
    """What is to be held equal.

    Attributes:
        dimensions: Which.
        codes: Of each unit, from 0.
        labels: Names a stratum.
        decides: Whether the verdict is by this.
    """

    dimensions: tuple[str, ...]
    codes: NDArray[np.int64]
    labels: Labels
    decides: bool


@dataclass(frozen=True, slots=True)
class Data:
    """The units of a metric as tests take them."""

    values: Floats
    sides: NDArray[np.bool_]
    clusters: NDArray[np.int64]

    def where(self, chosen: NDArray[np.bool_]) -> "Data":
        """Return some of them."""
        return Data(self.values[chosen], self.sides[chosen], self.clusters[chosen])

    @property
    def cluster_counts(self) -> tuple[int, int]:
        """Of the baseline and of the candidate; one with turns of both counts for both."""
        first, second = (
            int(np.count_nonzero(np.bincount(self.clusters[side])))
            for side in (~self.sides, self.sides)
        )
        return first, second

    def test(
        self, how: Callable[..., Tested], strata: NDArray[Any] | None = None, values: Any = None
    ) -> Tested:
        """Run a test over all."""
        given = self.values if values is None else values
        if strata is None:
            return how(given, self.sides, self.clusters)
        return how(given, self.sides, self.clusters, strata)


def data_of(units: Units) -> Data:
    """Number the clusters of units."""
    _, clusters = np.unique(units.rows["cluster"], return_inverse=True)
    return Data(np.ascontiguousarray(units.values), units.is_candidate, clusters.astype(np.int64))


def examine(units: Units, strata: Strata | None) -> MetricComparison:
    """Compare one metric; neither its verdict nor adjusted p-values are in it yet."""
    data = data_of(units)
    shape = units.metric.shape
    counts = int(np.count_nonzero(~data.sides)), int(np.count_nonzero(data.sides))
    clusters = data.cluster_counts
    relative, absolute = units.metric.smallest(shape)
    of_side = np.bincount(units.unpriced[0], minlength=3)
    known: dict[str, Any] = {
        "metric": units.metric.text,
        "unit": units.metric.unit,
        "measured": units.metric.measured,
        "direction": units.metric.direction,
        "smallest_relative_change": relative,
        "smallest_absolute_change": absolute,
        "baseline_count": counts[0],
        "candidate_count": counts[1],
        "baseline_cluster_count": clusters[0],
        "candidate_cluster_count": clusters[1],
        "unpriced_count": int(of_side.sum()),
        "unpriced_models": units.unpriced[1][:10],
        "deciding_figure": _BULK[shape],
    }
    if shape is Shape.CATEGORY:
        return _of_categories(units, data, known)
    figures = _figures(data, shape)
    if not all(counts):
        return MetricComparison(**known, figures=figures, more_needed=_to_begin(counts, clusters))
    bulk = next(each for each in figures if each.figure == _BULK[shape])
    crude = _main(data, shape)
    like = _stratified(data, shape, strata, crude) if strata else None
    decisive = strata.codes if strata and like and like.decides else None
    deciding, effect = crude, _effect(data, shape, crude, None)
    change = bulk.change if relative is not None else bulk.difference
    if like and decisive is not None:
        shared = _shared(data, decisive)
        within = data.where(shared)
        deciding = _main(within, shape, decisive[shared])
        effect = _effect(within, shape, deciding, decisive[shared])
        change = like.change if relative is not None else like.difference
        counts = (
            int(np.count_nonzero(~within.sides)),
            int(np.count_nonzero(within.sides)),
        )
        clusters = within.cluster_counts
    begin = _to_begin(counts, clusters)
    tail = None
    if shape is Shape.DURATION and not begin:
        p95 = next(each for each in figures if each.figure == "p95")
        tail = _tail(data, decisive, p95, relative=relative is not None)
    return MetricComparison(
        **known,
        figures=figures,
        test=deciding.test,
        test_reason=_reason(shape, deciding, like),
        p_value=deciding.p_value,
        candidate_is_greater=_points_up(deciding, shape),
        effect_size=effect,
        deciding_change=change,
        tail=tail,
        stratified=like,
        more_needed=begin or _needed(data, shape, bulk, relative, absolute),
        # Not enough to say anything at all is told from not enough to find what matters.
        adjusted_p_value=None if begin or deciding.p_value is None else 1.0,
    )


def _to_begin(counts: Sequence[int], clusters: Sequence[int]) -> int:
    """Return how many more are needed before anything is concluded."""
    missing = max(0, *(ENOUGH - count for count in counts))
    for count, own in zip(counts, clusters, strict=True):
        if own < ENOUGH_CLUSTERS and count:
            missing = max(missing, math.ceil((ENOUGH_CLUSTERS - own) * count / own))
    return missing


# Figures


def _figures(data: Data, shape: Shape) -> tuple[Figure, ...]:
    baseline, candidate = data.where(~data.sides), data.where(data.sides)
    if shape is Shape.SHARE:
        before = estimate.proportion(baseline.values, baseline.clusters)
        after = estimate.proportion(candidate.values, candidate.clusters)
        gap = data.test(tests.proportions).estimate
        return (Figure("rate", before, after, gap, statistics.change(before, after)),)
    ratio = data.test(tests.ratio_of_means).estimate
    figures = [
        Figure(
            "mean",
            estimate.mean(baseline.values, baseline.clusters),
            estimate.mean(candidate.values, candidate.clusters),
            data.test(tests.means).estimate,
            ratio,
        )
    ]
    quantiles = [
        estimate.quantiles(side.values, side.clusters, LEVELS) for side in (baseline, candidate)
    ]
    for name, first, second in zip(QUANTILES, *quantiles, strict=True):
        figures.append(
            Figure(
                name,
                first,
                second,
                statistics.difference(first, second),
                statistics.change(first, second),
            )
        )
    return tuple(figures)


# Tests


def _main(data: Data, shape: Shape, strata: NDArray[Any] | None = None) -> Tested:
    how = {
        Shape.DURATION: tests.superiority,
        Shape.SCORE: tests.superiority,
        Shape.SUM: tests.means,
        Shape.SHARE: tests.proportions,
    }[shape]
    return data.test(how, strata)


def _points_up(tested: Tested, shape: Shape) -> bool | None:
    if tested.estimate is None:
        return None
    neither = 0.5 if shape in {Shape.DURATION, Shape.SCORE} else 0.0
    value = tested.estimate.value
    return None if value == neither else value > neither


def _effect(data: Data, shape: Shape, tested: Tested, strata: NDArray[Any] | None) -> float | None:
    if shape is Shape.SHARE:
        if strata is not None:
            weights = _weights(data, strata)
            shares = [
                float(np.average(data.values[side], weights=weights[side]))
                for side in (~data.sides, data.sides)
                if side.any()
            ]
        else:
            shares = [
                float(data.values[side].mean()) for side in (~data.sides, data.sides) if side.any()
            ]
        return statistics.cohens_h(*shares) if len(shares) == 2 else None
    found = tested if shape is not Shape.SUM else data.test(tests.superiority, strata)
    return found.estimate.value if found.estimate else None


def _reason(shape: Shape, tested: Tested, like: Stratified | None) -> str:
    if not tested.test:
        return ""
    said = _REASONS[shape]
    if "exact" in tested.test.lower():
        said += ", exactly, as fewer than 5 are expected of one kind"
    if "cluster" in tested.test or "Obuchowski" in tested.test:
        said += "; what lies in one session is not independent, so errors are those of sessions"
    if like and like.decides:
        said += f"; within {' and '.join(like.dimensions)}, of which the versions saw another mix"
    return said


def _tail(data: Data, strata: NDArray[Any] | None, p95: Figure, *, relative: bool) -> Tail | None:
    """Compare how many values lie above p95 of all.

    The quantile test: R. A. Johnson, S. Verrill and D. H. Moore, Two-sample rank tests for
    detecting changes that occur in a small proportion of the treated population, Biometrics 43
    (1987), as Mood's median test does for p50.
    """
    fewest = min(np.count_nonzero(data.sides), np.count_nonzero(~data.sides))
    if fewest * (1 - TAIL) < _ENOUGH_IN_TAIL:
        return None
    change = p95.change if relative else p95.difference
    if strata is not None:
        shared = _shared(data, strata)
        data, strata = data.where(shared), strata[shared]
        change = _change_of_tail(data, strata, relative=relative)
    threshold = float(np.quantile(data.values, TAIL, method="inverted_cdf"))
    above = (data.values > threshold).astype(np.float64)
    if not above.any():
        return None
    tested = data.test(tests.proportions, strata, above)
    shares = [
        estimate.proportion(above[side], data.clusters[side]) for side in (~data.sides, data.sides)
    ]
    if tested.p_value is None or shares[0] is None or shares[1] is None:
        return None
    gap = tested.estimate.value if tested.estimate else 0.0
    return Tail(
        threshold=threshold,
        baseline=shares[0],
        candidate=shares[1],
        test=tested.test,
        p_value=tested.p_value,
        candidate_is_greater=None if not gap else gap > 0,
        change=change,
    )


def _change_of_tail(data: Data, strata: NDArray[Any], *, relative: bool) -> Estimate | None:
    """Return how far p95 of both sides is apart, had both seen the same mix."""
    weights = _weights(data, strata)
    first, second = (
        float(np.quantile(data.values[side], TAIL, method="inverted_cdf", weights=weights[side]))
        for side in (~data.sides, data.sides)
    )
    if not relative:
        return Estimate(second - first)
    return Estimate(second / first - 1) if first > 0 else None


# Strata


def _sides_of(data: Data, codes: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    count = int(codes.max()) + 1 if len(codes) else 0
    return (
        np.bincount(codes[~data.sides], minlength=count),
        np.bincount(codes[data.sides], minlength=count),
    )


def _shared(data: Data, codes: NDArray[Any]) -> NDArray[np.bool_]:
    """Say which units lie in a stratum that both versions have."""
    first, second = _sides_of(data, codes)
    return ((first > 0) & (second > 0))[codes]


def _weights(data: Data, codes: NDArray[Any]) -> Floats:
    """Return what each unit counts, so that both sides have the same mix.

    Overlap weights: F. Li, K. L. Morgan and A. M. Zaslavsky, Balancing covariates via propensity
    score weighting, Journal of the American Statistical Association 113 (2018). The difference of
    weighted means is that of the regression with an intercept for each stratum.
    """
    first, second = _sides_of(data, codes)
    total = np.maximum(first + second, 1)
    return np.where(data.sides, (first / total)[codes], (second / total)[codes])


def _stratified(data: Data, shape: Shape, strata: Strata, crude: Tested) -> Stratified:
    first, second = _sides_of(data, strata.codes)
    both = (first > 0) & (second > 0)
    shared = both[strata.codes]
    overlap = float(shared.mean()) if len(shared) else 0.0
    within, codes = data.where(shared), strata.codes[shared]
    empty = not len(codes)
    tested = crude if empty else _main(within, shape, codes)
    difference = None if empty else _gap(within, shape, codes)
    strata_found, heterogeneity = _each(data, shape, strata, first + second, both)
    return Stratified(
        dimensions=strata.dimensions,
        strata_count=int(both.sum()),
        overlap=overlap,
        difference=difference,
        change=None if empty else _relative(within, shape, codes, difference),
        test="" if empty else tested.test,
        p_value=None if empty else tested.p_value,
        crude_p_value=crude.p_value,
        heterogeneity_p_value=heterogeneity,
        decides=strata.decides,
        strata=strata_found,
    )


def _gap(data: Data, shape: Shape, strata: NDArray[Any] | None) -> Estimate | None:
    how = tests.proportions if shape is Shape.SHARE else tests.means
    return data.test(how, strata).estimate


def _relative(
    data: Data, shape: Shape, strata: NDArray[Any], difference: Estimate | None
) -> Estimate | None:
    """Return the change within strata: of durations of the geometric means, else of the means."""
    if shape is Shape.DURATION and len(data.values) and float(data.values.min()) > 0:
        found = data.test(tests.means, strata, np.log(data.values)).estimate
        return _exponential(found)
    del difference
    return data.test(tests.ratio_of_means, strata).estimate


def _exponential(found: Estimate | None) -> Estimate | None:
    if found is None:
        return None
    bounds = [
        None if bound is None or bound > 700 else math.expm1(bound)
        for bound in (found.lower, found.upper)
    ]
    return Estimate(math.expm1(found.value), *bounds)


def _each(
    data: Data,
    shape: Shape,
    strata: Strata,
    totals: NDArray[np.int64],
    both: NDArray[np.bool_],
) -> tuple[tuple[Stratum, ...], float | None]:
    """Compare within each stratum, and test whether it comes out the same in all."""
    by_size = np.argsort(-totals, kind="stable")
    by_size = by_size[totals[by_size] > 0][:_MOST_COMPARED]
    positive = shape is Shape.DURATION and bool(len(data.values)) and data.values.min() > 0
    order = np.argsort(strata.codes, kind="stable")
    starts = np.searchsorted(strata.codes[order], np.arange(len(totals) + 1))
    shown: list[Stratum] = []
    gaps: list[float] = []
    errors: list[float] = []
    freedoms: list[float | None] = []
    for place, code in enumerate(by_size):
        at = order[starts[code] : starts[code + 1]]
        part = Data(data.values[at], data.sides[at], data.clusters[at])
        counts = int(np.count_nonzero(~part.sides)), int(np.count_nonzero(part.sides))
        if both[code] and min(counts) >= _LEAST_IN_STRATUM:
            # Of durations by their logarithms: what is slower is so by a share of its time.
            tested = part.test(tests.means, None, np.log(part.values) if positive else None)
            if tested.estimate is not None and tested.standard_error:
                gaps.append(tested.estimate.value)
                errors.append(tested.standard_error)
                freedoms.append(tested.freedom)
        if place < _MOST_STRATA:
            middles = [
                float(part.values[side].mean()) if side.any() else None
                for side in (~part.sides, part.sides)
            ]
            shown.append(
                Stratum(
                    values=strata.labels(int(code)),
                    baseline_count=counts[0],
                    candidate_count=counts[1],
                    baseline=middles[0],
                    candidate=middles[1],
                    difference=_gap(part, shape, None) if both[code] else None,
                )
            )
    return tuple(shown), tests.heterogeneity(gaps, errors, freedoms) if gaps else None


# Categories


def _of_categories(units: Units, data: Data, known: dict[str, Any]) -> MetricComparison:
    codes = units.codes if units.codes is not None else np.zeros(0, np.intp)
    counts = known["baseline_count"], known["candidate_count"]
    clusters = known["baseline_cluster_count"], known["candidate_cluster_count"]
    begin = _to_begin(counts, clusters)
    if not all(counts):
        return MetricComparison(**known, more_needed=begin)
    tested = tests.categories(codes, data.sides, data.clusters)
    return MetricComparison(
        **known,
        test=tested.test,
        test_reason=_reason(Shape.CATEGORY, tested, None),
        p_value=tested.p_value,
        # Categories have no order: whatever differs points somewhere.
        candidate_is_greater=None,
        effect_size=tested.estimate.value if tested.estimate else None,
        more_needed=begin,
        adjusted_p_value=None if begin or tested.p_value is None else 1.0,
    )


# More


def _needed(
    data: Data, shape: Shape, bulk: Figure, relative: float | None, absolute: float | None
) -> int:
    """Return how many more are needed for the smallest change that matters; 0 for none."""
    if shape is Shape.SHARE:
        smallest = absolute or (relative or 0.0) * (bulk.baseline.value if bulk.baseline else 0.0)
        return _needed_of_shares(data, bulk, smallest)
    values, smallest = data.values, absolute
    if relative is not None:
        if shape is Shape.DURATION and float(values.min()) > 0:
            # Of logarithms, whose spread is that of the ranks and not of a few slow ones.
            values, smallest = np.log(values), math.log1p(relative)
        elif bulk.baseline is not None:
            smallest = relative * abs(float(values[~data.sides].mean()))
    if not smallest:
        return 0
    return power.needed(values, data.sides, data.clusters, smallest) or 0


def _needed_of_shares(data: Data, bulk: Figure, smallest: float) -> int:
    """Do so by Wilson's intervals: where nothing failed yet, the next may."""
    errors: list[float] = []
    for share in (bulk.baseline, bulk.candidate):
        if share is None or share.lower is None or share.upper is None:
            return 0
        errors.append((share.upper - share.lower) / (2 * statistics.Z))
    counts = int(np.count_nonzero(~data.sides)), int(np.count_nonzero(data.sides))
    return power.more((errors[0], errors[1]), counts, smallest) or 0


def examples(units: Units, *, up: bool | None, strata: Strata | None) -> tuple[str, ...]:
    """Return traces of the candidate that show a finding: about its p95 or p5, or failed.

    Args:
        units: What was compared.
        up: Whether the candidate's values are greater; None of categories, of which the one that
            grew most is shown.
        strata: Where these decided, they are of the one in which most differs.
    """
    chosen = units.is_candidate
    if units.codes is not None:
        first, second = (
            np.bincount(units.codes[side], minlength=int(units.codes.max()) + 1) / side.sum()
            for side in (~chosen, chosen)
        )
        chosen &= units.codes == int(np.argmax(second - first))
    elif strata is not None and strata.decides:
        chosen &= strata.codes == _worst(units, strata, up=bool(up))
    values, rows = units.values[chosen], units.rows[chosen]
    if not len(values):
        return ()
    if units.metric.shape is Shape.SHARE:
        at = np.flatnonzero(values == (1.0 if up else 0.0))
    else:
        level = TAIL if up else 1 - TAIL
        wanted = np.quantile(values, level, method="inverted_cdf")
        at = np.argsort(np.abs(values - wanted), kind="stable")
    found: dict[str, None] = {}
    for index in at[: 50 * _EXAMPLES]:
        found[rows["trace_id"][index].tobytes().hex()] = None
        if len(found) == _EXAMPLES:
            break
    return tuple(found)


def _worst(units: Units, strata: Strata, *, up: bool) -> int:
    data = Data(units.values, units.is_candidate, np.zeros(0, np.int64))
    first, second = _sides_of(data, strata.codes)
    sums = [
        np.bincount(strata.codes[side], units.values[side], minlength=len(first))
        for side in (~data.sides, data.sides)
    ]
    gaps = sums[1] / np.maximum(second, 1) - sums[0] / np.maximum(first, 1)
    weights = first * second / np.maximum(first + second, 1)
    return int(np.argmax((gaps if up else -gaps) * weights))
