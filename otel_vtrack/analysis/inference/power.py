"""Tells how much more data would find the smallest change that matters.

Source: J. Cohen, Statistical Power Analysis for the Behavioral Sciences, 2nd ed., 2.4: a test at
level alpha finds with the wanted power what is z(1 - alpha / 2) + z(power) standard errors from
nothing.
"""

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from otel_vtrack.analysis.inference import contrast as contrasts
from otel_vtrack.analysis.inference import distributions, estimate

ALPHA: Final = 0.05
POWER: Final = 0.8
_Array = npt.NDArray[Any]


def needed(
    values: _Array,
    is_candidate: _Array,
    clusters: _Array,
    smallest: float,
    weights: _Array | None = None,
    *,
    alpha: float = ALPHA,
    power: float = POWER,
) -> int | None:
    """Return how many more units of the side with fewer would find a difference of means.

    Of shares too (values 0 and 1). None where that can't be told: a side has fewer than two
    clusters, values are infinite, or no difference is small enough.

    Args:
        values: What was measured so far.
        is_candidate: Of which side.
        clusters: Of which cluster.
        smallest: The difference to find, in the values' unit; its sign does not matter.
        weights: How many of the population each stands for.
        alpha: The level of the test.
        power: How often it is to be found.
    """
    values = np.asarray(values, np.float64)
    sides = np.asarray(is_candidate, np.bool_)
    numbered = np.asarray(clusters)
    if not contrasts.usable(values):
        return None
    errors: list[float] = []
    counts: list[int] = []
    for side in (~sides, sides):
        own, count = contrasts.compact(numbered[side])
        if count < 2:
            return None
        given = contrasts.telling(None if weights is None else weights[side])
        found = estimate.mean_of(values[side], own, count, given)
        if found.error is None:
            return None
        errors.append(found.error or _least_error(values[side]))
        counts.append(len(own))
    return more((errors[0], errors[1]), (counts[0], counts[1]), smallest, alpha=alpha, power=power)


def _least_error(values: npt.NDArray[np.float64]) -> float:
    """Return the error of values that are all equal: of shares, as if one more were otherwise.

    A. Agresti and B. Caffo, Simple and effective confidence intervals for proportions and
    differences of proportions, The American Statistician 54 (2000).
    """
    first = float(values[0])
    if first not in (0.0, 1.0):
        return 0.0
    count = len(values) + 2
    return math.sqrt((count - 1) / count / count / count)


def more(
    errors: tuple[float, float],
    counts: tuple[int, int],
    smallest: float,
    *,
    alpha: float = ALPHA,
    power: float = POWER,
) -> int | None:
    """Return how many more of the side with fewer are needed, by the errors of both sides' figures.

    Where the other side's error alone is too large, both are taken to grow alike. Counts may be of
    units or of clusters; the answer is in what they are.
    """
    if not abs(smallest) > 0 or min(counts) < 1:
        return None
    ndtri = distributions.special().ndtri
    wanted = (abs(smallest) / float(ndtri(1 - alpha / 2) + ndtri(power))) ** 2
    (lesser, lesser_count), (greater, _) = sorted(
        zip((error * error for error in errors), counts, strict=True), key=lambda each: each[1]
    )
    room = wanted - greater
    growth = lesser / room if room > wanted / 10 else (lesser + greater) / wanted
    if not math.isfinite(growth):
        return None
    return max(0, math.ceil(lesser_count * (growth - 1) - 1e-9))
