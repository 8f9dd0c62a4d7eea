"""Examine one metric of both versions: figures, tests, strata, and how much more data it needs.

docs/comparison.md explains which test is used for what, and why.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from otel_vtrack.analysis import alike, statistics
from otel_vtrack.analysis.compare import (
    ALPHA,
    ENOUGH,
    Figure,
    MetricComparison,
    Stratified,
    Tail,
)
from otel_vtrack.analysis.data import Data, Strata, data_of
from otel_vtrack.analysis.inference import compare as tests
from otel_vtrack.analysis.inference import estimate, power
from otel_vtrack.analysis.inference.contrast import FEWEST_CLUSTERS
from otel_vtrack.analysis.inference.tested import Tested
from otel_vtrack.analysis.metrics import Shape
from otel_vtrack.analysis.statistics import Estimate
from otel_vtrack.analysis.units import Design, Units

ENOUGH_CLUSTERS: Final = FEWEST_CLUSTERS
"""Fewest users, or sessions, or traces without one, of each version needed for a conclusion.

With fewer, the error that allows for them is itself unreliable: A. C. Cameron and D. L. Miller, A
practitioner's guide to cluster-robust inference, Journal of Human Resources 50 (2015), VI.
"""
LEVELS: Final = (0.5, 0.9, 0.95, 0.99)
QUANTILES: Final = ("p50", "p90", "p95", "p99")
TAIL: Final = 0.95
_ENOUGH_IN_TAIL: Final = 5
"""Fewest expected values of each version in the tail, by Cochran's rule."""

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
        " dominated by a few slow ones; the tail is tested separately"
    ),
    Shape.SUM: "the total is what is paid, so means are compared",
    Shape.SCORE: "the distribution is unknown, so ranks are compared",
    Shape.SHARE: "shares are compared",
    Shape.CATEGORY: "categories have no order, so all shares are compared at once",
}


def examine(units: Units, strata: Strata | None) -> MetricComparison:
    """Compare one metric, without its verdict and adjusted p-values yet."""
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
        return _of_categories(units, data, known, strata)
    figures = _figures(data, shape)
    if not all(counts):
        return MetricComparison(**known, figures=figures, more_needed=_to_begin(counts, clusters))
    bulk = next(each for each in figures if each.figure == _BULK[shape])
    crude = alike.main(data, shape)
    like = alike.stratified(data, shape, strata, crude) if strata else None
    decisive = strata.codes if strata and like and like.decides else None
    deciding, effect = crude, _effect(data, shape, crude, None)
    change = bulk.change if relative is not None else bulk.difference
    if like and decisive is not None:
        shared = alike.in_both(data, decisive)
        within = data.where(shared)
        deciding = alike.main(within, shape, decisive[shared])
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
        test_reason=_reason(shape, deciding, like) + _population(data),
        p_value=deciding.p_value,
        candidate_is_greater=_points_up(deciding, shape),
        effect_size=effect,
        deciding_change=change,
        tail=tail,
        stratified=like,
        more_needed=begin,
        # Too little data for any conclusion differs from too little to find what matters.
        adjusted_p_value=None if begin or deciding.p_value is None else 1.0,
    )


def _to_begin(counts: Sequence[int], clusters: Sequence[int]) -> int:
    """Return how many more are needed for any conclusion."""
    missing = max(0, *(ENOUGH - count for count in counts))
    for count, own in zip(counts, clusters, strict=True):
        if own < ENOUGH_CLUSTERS and count:
            missing = max(missing, math.ceil((ENOUGH_CLUSTERS - own) * count / own))
    return missing


# Figures


def _figures(data: Data, shape: Shape) -> tuple[Figure, ...]:
    baseline, candidate = data.by_side
    if shape is Shape.SHARE:
        before, after = (
            estimate.proportion(side.values, side.clusters, side.weights) for side in data.by_side
        )
        gap = data.test(tests.proportions).estimate
        return (Figure("rate", before, after, gap, statistics.change(before, after)),)
    ratio = data.test(tests.ratio_of_means).estimate
    figures = [
        Figure(
            "mean",
            estimate.mean(baseline.values, baseline.clusters, baseline.weights),
            estimate.mean(candidate.values, candidate.clusters, candidate.weights),
            data.test(tests.means).estimate,
            ratio,
        )
    ]
    quantiles = [
        estimate.quantiles(side.values, side.clusters, LEVELS, side.weights)
        for side in (baseline, candidate)
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


def _points_up(tested: Tested, shape: Shape) -> bool | None:
    if tested.estimate is None:
        return None
    neither = 0.5 if shape in {Shape.DURATION, Shape.SCORE} else 0.0
    value = tested.estimate.value
    return None if value == neither else value > neither


def _effect(data: Data, shape: Shape, tested: Tested, strata: NDArray[Any] | None) -> float | None:
    if shape is Shape.SHARE:
        if strata is not None:
            weights = alike.weights(data, strata)
            shares = [
                float(np.average(data.values[side], weights=weights[side]))
                for side in (~data.sides, data.sides)
                if side.any()
            ]
        else:
            shares = [side.mean() for side in data.by_side if len(side.values)]
        return statistics.cohens_h(*shares) if len(shares) == 2 else None
    found = tested if shape is not Shape.SUM else data.test(tests.superiority, strata)
    return found.estimate.value if found.estimate else None


def _reason(shape: Shape, tested: Tested, like: Stratified | None) -> str:
    if not tested.test:
        return ""
    said = _REASONS[shape]
    if "exact" in tested.test.lower():
        said += ", exactly, as fewer than 5 of one kind are expected"
    if "cluster" in tested.test or "Obuchowski" in tested.test:
        said += (
            "; values of one user or session are not independent, so standard errors account for"
            " users or sessions"
        )
    if like and like.decides:
        said += f"; within {' and '.join(like.dimensions)}, as the versions saw a different mix"
    return said


def _population(data: Data) -> str:
    """Write how many values there are and what they stand for; empty where all were stored."""
    if data.weights is None:
        return ""
    (first, whole), (second, other) = (
        (len(side.values), 0.0 if side.weights is None else float(side.weights.sum()))
        for side in data.by_side
    )
    return (
        f"; {first:,} and {second:,} that were stored stand for {whole:,.0f} and {other:,.0f},"
        " and are weighted accordingly"
    )


def _tail(data: Data, strata: NDArray[Any] | None, p95: Figure, *, relative: bool) -> Tail | None:
    """Compare the shares of values above the pooled p95.

    The quantile test: R. A. Johnson, S. Verrill and D. H. Moore, Two-sample rank tests for
    detecting changes that occur in a small proportion of the treated population, Biometrics 43
    (1987); Mood's median test does the same for p50.
    """
    fewest = min(np.count_nonzero(data.sides), np.count_nonzero(~data.sides))
    if fewest * (1 - TAIL) < _ENOUGH_IN_TAIL:
        return None
    change = p95.change if relative else p95.difference
    if strata is not None:
        shared = alike.in_both(data, strata)
        data, strata = data.where(shared), strata[shared]
        change = _change_of_tail(data, strata, relative=relative)
    threshold = float(np.quantile(data.values, TAIL, method="inverted_cdf", weights=data.weights))
    above = (data.values > threshold).astype(np.float64)
    if not above.any():
        return None
    tested = data.test(tests.proportions, strata, above)
    exceeding = Data(above, data.design)
    shares = [
        estimate.proportion(side.values, side.clusters, side.weights) for side in exceeding.by_side
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
    """Return how far p95 of the sides is apart, had both had the same mix.

    Each is the quantile of its side's distribution, weighted to the common mix, with Woodruff's
    interval.
    """
    weights = alike.weights(data, strata)
    found = [
        estimate.quantiles(
            data.values[side], data.clusters[side], (TAIL,), weights[side], strata[side]
        )[0]
        for side in (~data.sides, data.sides)
    ]
    return (statistics.change if relative else statistics.difference)(*found)


# Categories


def _of_categories(
    units: Units, data: Data, known: dict[str, Any], strata: Strata | None
) -> MetricComparison:
    codes = units.codes if units.codes is not None else np.zeros(0, np.intp)
    counts = known["baseline_count"], known["candidate_count"]
    clusters = known["baseline_cluster_count"], known["candidate_cluster_count"]
    begin = _to_begin(counts, clusters)
    if not all(counts):
        return MetricComparison(**known, more_needed=begin)
    tested = data.test(tests.categories, None, codes)
    like = alike.categories(codes, data, strata, tested) if strata else None
    if strata and like and like.decides:
        shared = alike.in_both(data, strata.codes)
        within = data.where(shared)
        tested = within.test(tests.categories, strata.codes[shared], codes[shared])
        sizes = int(np.count_nonzero(~within.sides)), int(np.count_nonzero(within.sides))
        begin = _to_begin(sizes, within.cluster_counts)
    return MetricComparison(
        **known,
        test=tested.test,
        test_reason=_reason(Shape.CATEGORY, tested, like) + _population(data),
        p_value=tested.p_value,
        # Categories have no order, so a difference has no direction.
        candidate_is_greater=None,
        effect_size=tested.estimate.value if tested.estimate else None,
        stratified=like,
        more_needed=begin,
        adjusted_p_value=None if begin or tested.p_value is None else 1.0,
    )


# More


def needed(found: MetricComparison, units: Units, strata: Strata | None, tests: int) -> int:
    """Return how many more are needed for the smallest change that matters; 0 for none.

    With so many that the change would be found even if nothing else has changed, where Benjamini
    and Hochberg's adjustment is the strictest.

    Args:
        found: The metric.
        units: What was compared.
        strata: What was held constant.
        tests: For how many tests p-values are adjusted.
    """
    bulk = next((each for each in found.figures if each.figure == found.deciding_figure), None)
    if bulk is None or bulk.baseline is None or bulk.candidate is None:
        return 0
    data, alpha = data_of(units), ALPHA / tests
    relative, absolute = found.smallest_relative_change, found.smallest_absolute_change
    if units.metric.shape is Shape.SHARE:
        smallest = absolute or (relative or 0.0) * bulk.baseline.value
        return _needed_of_shares(data, bulk.baseline, bulk.candidate, smallest, alpha)
    values, smallest = data.values, absolute
    if relative is not None:
        if units.metric.shape is Shape.DURATION and float(values.min()) > 0:
            # On the log scale, where a few slow values do not dominate the spread.
            values, smallest = np.log(values), math.log1p(relative)
        else:
            smallest = relative * abs(data.by_side[0].mean())
    if not smallest:
        return 0
    if strata is not None and strata.decides:
        # What differs between strata is no part of the error.
        shared = alike.in_both(data, strata.codes)
        data, codes = data.where(shared), strata.codes[shared]
        counts = np.bincount(codes, data.weights)
        sums = np.bincount(codes, values[shared] * (1.0 if data.weights is None else data.weights))
        values = values[shared] - (sums / np.where(counts > 0, counts, 1))[codes]
    more = power.needed(values, data.sides, data.clusters, smallest, data.weights, alpha=alpha)
    return more or 0


def _needed_of_shares(
    data: Data, before: Estimate, after: Estimate, smallest: float, alpha: float
) -> int:
    """Return the same for shares, by Wilson's intervals: the first failure may still come."""
    errors: list[float] = []
    for share in (before, after):
        if share.lower is None or share.upper is None:
            return 0
        errors.append((share.upper - share.lower) / (2 * statistics.Z))
    counts = int(np.count_nonzero(~data.sides)), int(np.count_nonzero(data.sides))
    return power.more((errors[0], errors[1]), counts, smallest, alpha=alpha) or 0


def examples(units: Units, *, up: bool | None, strata: Strata | None) -> tuple[str, ...]:
    """Return traces of the candidate that show a finding: near its p95 or p5, or failed.

    Args:
        units: What was compared.
        up: Whether the candidate's values are greater; None for categories, where the one that
            grew most is shown.
        strata: If they decide, the traces are of the stratum with the largest difference.
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
    places = np.flatnonzero(chosen)
    values, trace_ids = units.values[places], units.rows["trace_id"][places]
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
        found[trace_ids[index].tobytes().hex()] = None
        if len(found) == _EXAMPLES:
            break
    return tuple(found)


def _worst(units: Units, strata: Strata, *, up: bool) -> int:
    data = Data(units.values, Design(units.is_candidate, np.zeros(0, np.int64)))
    first, second = alike.sides_of(data, strata.codes)
    sums = [
        np.bincount(strata.codes[side], units.values[side], minlength=len(first))
        for side in (~data.sides, data.sides)
    ]
    gaps = sums[1] / np.maximum(second, 1) - sums[0] / np.maximum(first, 1)
    weights = first * second / np.maximum(first + second, 1)
    return int(np.argmax((gaps if up else -gaps) * weights))
