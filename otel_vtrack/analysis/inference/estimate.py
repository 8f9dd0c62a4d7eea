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
from typing import Any

import numpy as np
import numpy.typing as npt

from otel_vtrack.analysis import statistics
from otel_vtrack.analysis.inference import contrast as contrasts
from otel_vtrack.analysis.inference import distributions
from otel_vtrack.analysis.inference.contrast import Floats, Ints
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
    middle, error, freedom = mean_error(values, numbered, count)
    if error is None:
        return Estimate(middle)
    half = distributions.student_quantile(freedom) * error if error else 0.0
    return Estimate(middle, middle - half, middle + half)


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


def mean_error(
    values: Floats, clusters: Ints, count: int
) -> tuple[float, float | None, float | None]:
    """Return a mean, its standard error and that one's degrees of freedom.

    The error is None of one cluster, the freedom where the error is None or 0.
    """
    total = len(values)
    size = float(np.abs(values).max()) or 1.0
    first = float(values[0])
    scaled = values / size - first / size
    middle = float(scaled.mean())
    residuals = scaled - middle
    residuals[np.abs(residuals) <= 1e-12 * float(np.abs(scaled).max())] = 0.0
    middle = first + middle * size
    if count < 2:
        return middle, None, None
    squares = float((residuals * residuals).sum())
    if squares <= 0:
        return middle, 0.0, None
    if count == total:
        return middle, math.sqrt(squares / (total - 1) / total) * size, total - 1.0
    sizes = np.bincount(clusters, minlength=count).astype(np.float64)
    leverages = sizes / total
    sums = np.bincount(clusters, residuals, count)
    parts = sums / np.sqrt(1 - leverages) / total
    excess = float((sizes * sizes).sum()) - total
    between = min(max(0.0, (float((sums * sums).sum()) - squares) / excess), squares / total)
    working = between * sizes * sizes + (squares / total - between) * sizes
    freedom = contrasts.freedom(working, leverages)
    if freedom is None:
        return middle, None, None
    return middle, math.sqrt(float((parts * parts).sum())) * size, freedom


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
    _, error, freedom = mean_error(successes, clusters, count)
    if error is None:
        return 1.0
    if freedom is None:
        return float(count)
    ratio = max(1.0, error * error / (share * (1 - share) / total)) if 0 < share < 1 else 1.0
    narrower = (distributions.student_quantile(freedom) / statistics.Z) ** 2
    return max(1.0, total / ratio / narrower)
