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
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from otel_vtrack.analysis import statistics
from otel_vtrack.analysis.inference import contrast as contrasts
from otel_vtrack.analysis.inference import distributions
from otel_vtrack.analysis.inference.contrast import Contrast, Floats, Ints
from otel_vtrack.analysis.inference.shares import wilson
from otel_vtrack.analysis.statistics import Estimate

_Array = npt.NDArray[Any]


def mean(values: _Array, clusters: _Array) -> Estimate | None:
    """Estimate a mean by Student's interval; without bounds of one cluster.

    None of no values, or infinite ones.
    """
    values = np.asarray(values, np.float64)
    if not len(values) or not contrasts.usable(values):
        return None
    numbered, count = contrasts.compact(np.asarray(clusters))
    found = mean_of(values, numbered, count)
    return contrasts.interval(found.value, found)


def proportion(successes: _Array, clusters: _Array) -> Estimate | None:
    """Estimate a share by Wilson's interval, of as many independent units as would be as sure."""
    values = np.asarray(successes, np.float64)
    if not len(values):
        return None
    numbered, count = contrasts.compact(np.asarray(clusters))
    size = effective(values, float(values.mean()), numbered, count)
    return wilson(float(values.mean()), size)


def quantiles(
    values: _Array, clusters: _Array, levels: Sequence[float] = statistics.LEVELS
) -> list[Estimate | None]:
    """Estimate quantiles by ranks, which assumes no distribution; None of no values.

    How many of n values lie below a quantile is binomial, and of values in clusters as of fewer
    that are independent. A bound is None where there are too few values beyond.
    """
    values = np.asarray(values, np.float64)
    total = len(values)
    if not total:
        return [None] * len(levels)
    numbered, count = contrasts.compact(np.asarray(clusters))
    ordered = np.sort(values)
    found: list[Estimate | None] = []
    for level in levels:
        middle = float(ordered[max(0, math.ceil(round(total * level, 6)) - 1)])
        size = total
        if count < total:
            below = (values <= middle).astype(np.float64)
            size = max(1, math.floor(effective(below, level, numbered, count)))
        lower = distributions.binomial_quantile(0.025, size, level)
        upper = distributions.binomial_quantile(0.975, size, level) + 1
        lowest = math.floor(lower * total / size + 1e-9)
        highest = total + 1 if upper > size else math.ceil(upper * total / size - 1e-9)
        found.append(
            Estimate(
                middle,
                float(ordered[lowest - 1]) if lowest else None,
                float(ordered[highest - 1]) if highest <= total else None,
            )
        )
    return found


def mean_of(values: Floats, clusters: Ints, count: int) -> Contrast:
    """Return a mean as the contrast of one side with nothing."""
    total = len(values)
    # As in a contrast: of any size, and without rounding errors where all are equal.
    size = float(np.abs(values).max()) or 1.0
    first = float(values[0]) / size
    scaled = values / size - first
    limit = 1e-12 * float(np.abs(scaled).max())
    middle = float(scaled.mean())
    residuals = scaled - middle
    residuals[np.abs(residuals) <= limit] = 0.0
    sizes = np.bincount(clusters, minlength=count).astype(np.float64)
    leverages = np.minimum(1 - 1e-12, sizes / total)
    sums = np.bincount(clusters, residuals, count)
    between = contrasts.share_between(residuals, clusters, count) if count < total else 0.0
    found = contrasts.summed(
        (first + middle) * size,
        sums / np.sqrt(1 - leverages) * (size / total),
        leverages,
        between * sizes * sizes + (1 - between) * sizes,
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
    total = len(successes)
    if count == total:
        return float(total)
    found = mean_of(successes, clusters, count)
    if found.error is None:
        return 1.0
    if found.freedom is None:
        return float(count)
    variance = share * (1 - share) / total
    ratio = max(1.0, found.error**2 / variance) if variance > 0 else 1.0
    narrower = (distributions.student_quantile(found.freedom) / statistics.Z) ** 2
    return max(1.0, total / ratio / narrower)
