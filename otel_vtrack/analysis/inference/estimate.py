"""Estimates for one side: means, shares and quantiles of clustered units.

Sources, beyond those of `contrast`:

- E. B. Wilson, Probable inference, the law of succession, and statistical inference, Journal of
  the American Statistical Association 22 (1927).
- E. L. Korn and B. I. Graubard, Confidence intervals for proportions with small expected number
  of positive counts estimated from survey data, Survey Methodology 24 (1998): effective sizes.
- H. A. David and H. N. Nagaraja, Order Statistics, 3rd ed., 7.1: ranks that bound a quantile.
- R. S. Woodruff, Confidence intervals for medians and other position measures, Journal of the
  American Statistical Association 47 (1952): the same for clusters.
- R. J. Hyndman and Y. Fan, Sample quantiles in statistical packages, The American Statistician
  50 (1996), definition 1.
- R. Valliant, Poststratification and conditional variance estimation, Journal of the American
  Statistical Association 88 (1993): the variance comes from deviations within strata.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from otel_vtrack.analysis import statistics
from otel_vtrack.analysis.inference import contrast as contrasts
from otel_vtrack.analysis.inference import distributions
from otel_vtrack.analysis.inference.contrast import Contrast, Floats, Ints
from otel_vtrack.analysis.statistics import Estimate

_LEAST_SPREAD: Final = 0.01
"""Lower limit for the share of the variance within strata; a lower estimate is unreliable."""
_Array = npt.NDArray[Any]


def mean(values: _Array, clusters: _Array, weights: _Array | None = None) -> Estimate | None:
    """Estimate a mean with a t interval, without bounds if there is only one cluster.

    Return None for no values or infinite ones.
    """
    values = np.asarray(values, np.float64)
    if not len(values) or not contrasts.usable(values):
        return None
    numbered, count = contrasts.compact(np.asarray(clusters))
    found = mean_of(values, numbered, count, contrasts.telling(weights))
    return contrasts.interval(found.value, found)


def proportion(
    successes: _Array, clusters: _Array, weights: _Array | None = None
) -> Estimate | None:
    """Estimate a share with Wilson's interval, using the effective sample size."""
    values = np.asarray(successes, np.float64)
    if not len(values):
        return None
    numbered, count = contrasts.compact(np.asarray(clusters))
    given = contrasts.telling(weights)
    share = float(values.mean()) if given is None else float((values * given).mean())
    return statistics.wilson(
        share, _size(values, share, numbered, count, given=given, weights=weights)
    )


def quantiles(
    values: _Array,
    clusters: _Array,
    levels: Sequence[float] = statistics.LEVELS,
    weights: _Array | None = None,
    strata: _Array | None = None,
) -> list[Estimate | None]:
    """Estimate quantiles by ranks, without assuming a distribution; None for no values.

    The number of n values below a quantile is binomial; clustered values count as fewer independent
    ones. A bound is None where too few values lie beyond it.

    Args:
        values: What was measured.
        clusters: The cluster of each value.
        levels: The levels of the quantiles.
        weights: How many members of the population each value stands for.
        strata: The stratum of each value; the weights are taken to fix the strata's sizes.
    """
    values = np.asarray(values, np.float64)
    total = len(values)
    if not total:
        return [None] * len(levels)
    numbered, count = contrasts.compact(np.asarray(clusters))
    given = contrasts.telling(weights)
    if given is None and strata is None:
        ordered, up_to = np.sort(values), None
    else:
        given = np.ones(total) if given is None else given
        order = np.argsort(values, kind="stable")
        ordered, up_to = values[order], np.cumsum(given[order])

    def at(rank: float) -> float:
        """Return the smallest value whose cumulative weight reaches the rank."""
        if up_to is None:
            return float(ordered[max(0, math.ceil(rank - 1e-9) - 1)])
        place = int(np.searchsorted(up_to, rank - 1e-6))
        return float(ordered[min(place, total - 1)])

    found: list[Estimate | None] = []
    for level in levels:
        middle = at(round(total * level, 6))
        size = float(total)
        if count < total or up_to is not None:
            below = (values <= middle).astype(np.float64)
            size = math.floor(
                _size(below, level, numbered, count, given=given, weights=weights, strata=strata)
            )
        lower = distributions.binomial_quantile(0.025, int(size), level)
        upper = distributions.binomial_quantile(0.975, int(size), level) + 1
        lowest, highest = lower * total / size, upper * total / size
        if up_to is None:
            lowest, highest = math.floor(lowest + 1e-9), math.ceil(highest - 1e-9)
        found.append(
            Estimate(
                middle,
                at(lowest) if lowest > 0 else None,
                at(highest) if upper <= size else None,
            )
        )
    return found


def mean_of(
    values: Floats,
    clusters: Ints,
    count: int,
    weights: Floats | None = None,
    strata: _Array | None = None,
) -> Contrast:
    """Return a mean as a contrast with one side only.

    Args:
        values: What was measured.
        clusters: Numbered from 0 without gaps.
        count: Number of clusters.
        weights: Scaled to a mean of 1.
        strata: The stratum of each value.
    """
    total = len(values)
    given = np.ones(total) if weights is None else weights
    # As in a contrast: squares must not overflow, and equal values must leave no rounding error.
    size = float(np.abs(values).max()) or 1.0
    first = float(values[0]) / size
    scaled = values / size - first
    limit = 1e-12 * float(np.abs(scaled).max())
    middle = float(scaled.mean()) if weights is None else float((scaled * given).mean())
    residuals = scaled - middle
    if strata is not None:
        levels, level_count = contrasts.compact(strata)
        sums = np.bincount(levels, scaled * given, level_count)
        residuals = scaled - (sums / np.bincount(levels, given, level_count))[levels]
    residuals[np.abs(residuals) <= limit] = 0.0
    sizes = np.bincount(clusters, weights, count).astype(np.float64, copy=False)
    squared = sizes if weights is None else np.bincount(clusters, given * given, count)
    leverages = np.minimum(1 - 1e-12, sizes / total)
    sums = np.bincount(clusters, residuals if weights is None else residuals * given, count)
    between = 0.0
    if count < total:
        plain = sums if weights is None else None
        between = contrasts.share_between(residuals, clusters, count, plain)
    found = contrasts.summed(
        (first + middle) * size,
        sums / np.sqrt(1 - leverages) * (size / total),
        leverages,
        between * sizes * sizes + (1 - between) * squared,
        known=limit == 0 and count > 1,
    )
    squares = sums * sums
    square = float(squares.sum())
    return replace(found, skewness=float((squares * sums).sum()) / square**1.5 if square else 0.0)


def effective(successes: Floats, share: float, clusters: Ints, count: int) -> float:
    """Return the effective sample size of a share of clustered units.

    Args:
        successes: 0 or 1 each.
        share: The share from which the variance of independent units is computed.
        clusters: Numbered from 0 without gaps.
        count: Number of clusters.
    """
    return _size(successes, share, clusters, count, given=None, weights=None)


def _size(
    successes: Floats,
    share: float,
    clusters: Ints,
    count: int,
    *,
    given: Floats | None,
    weights: _Array | None,
    strata: _Array | None = None,
) -> float:
    """Return the effective sample size of a share of these units.

    With weights it may exceed the number of units, as when every rare one was kept, but not the
    population they stand for. If all are alike, it is by L. Kish, Survey Sampling (1965), 11.7.
    """
    total = len(successes)
    if count == total and given is None and strata is None:
        return float(total)
    found = mean_of(successes, clusters, count, given, strata)
    if found.error is None:
        return 1.0
    if found.freedom is None:
        if given is None:
            return float(count)
        sums = np.bincount(clusters, given, count)
        return total * total / float((sums * sums).sum())
    variance = share * (1 - share) / total
    least = 1.0
    if strata is not None:
        least = _LEAST_SPREAD
    elif given is not None and weights is not None:
        least = 1 / max(1.0, float(np.mean(weights)))
    ratio = max(least, found.error**2 / variance) if variance > 0 else 1.0
    narrower = (distributions.student_quantile(found.freedom) / statistics.Z) ** 2
    return max(1.0, total / ratio / narrower)
