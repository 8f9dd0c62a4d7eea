"""Estimates of one side: means, shares and quantiles of units in clusters.

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
  Statistical Association 88 (1993): what varies is how units differ from those of their stratum.
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
from otel_vtrack.analysis.inference.shares import wilson
from otel_vtrack.analysis.statistics import Estimate

_LEAST_SPREAD: Final = 0.01
"""Share of the variance that may be within strata; less is a guess."""
_Array = npt.NDArray[Any]


def mean(values: _Array, clusters: _Array, weights: _Array | None = None) -> Estimate | None:
    """Estimate a mean by Student's interval; without bounds of one cluster.

    None of no values, or infinite ones.
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
    """Estimate a share by Wilson's interval, of as many independent units as would be as sure."""
    values = np.asarray(successes, np.float64)
    if not len(values):
        return None
    numbered, count = contrasts.compact(np.asarray(clusters))
    given = contrasts.telling(weights)
    share = float(values.mean()) if given is None else float((values * given).mean())
    return wilson(share, _size(values, share, numbered, count, given=given, weights=weights))


def quantiles(
    values: _Array,
    clusters: _Array,
    levels: Sequence[float] = statistics.LEVELS,
    weights: _Array | None = None,
    strata: _Array | None = None,
) -> list[Estimate | None]:
    """Estimate quantiles by ranks, which assumes no distribution; None of no values.

    How many of n values lie below a quantile is binomial, and of values in clusters as of fewer
    that are independent. A bound is None where there are too few values beyond.

    Args:
        values: What was measured.
        clusters: Of which cluster.
        levels: Which quantiles.
        weights: How many of the population each stands for.
        strata: What is alike; how much of each there is is taken to be fixed by the weights.
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
        """Return the least value that is not below so many."""
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
            size = _size(below, level, numbered, count, given=given, weights=weights, strata=strata)
            size = max(1, math.floor(size))
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
    """Return a mean as the contrast of one side with nothing.

    Args:
        values: What was measured.
        clusters: From 0 up without gaps.
        count: Of clusters.
        weights: With a mean of 1.
        strata: What is alike.
    """
    total = len(values)
    given = np.ones(total) if weights is None else weights
    # As in a contrast: of any size, and without rounding errors where all are equal.
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
    """Return of how many independent units a share of clustered ones is as sure.

    Args:
        successes: 0 or 1 each.
        share: Of which variance independent units would have.
        clusters: From 0 up without gaps.
        count: Of clusters.
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
    """Return of how many independent units a share of these is as sure.

    Of weighted ones perhaps of more than there are, as where all that is rare was kept, but of no
    more than they stand for; and where all are alike, by L. Kish, Survey Sampling (1965), 11.7.
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
