"""Calculate how much more data is needed to detect the smallest change that matters.

Source: J. Cohen, Statistical Power Analysis for the Behavioral Sciences, 2nd ed., 2.4: a test at
level alpha detects a change of z(1 - alpha / 2) + z(power) standard errors with the wanted power.
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
    """Return how many more units the smaller side needs to detect a difference of means.

    Values 0 and 1 are shares. None where it cannot be calculated: a side has fewer than two
    clusters, values are infinite, or `smallest` is 0 or too small.

    Args:
        values: What was measured so far.
        is_candidate: The side of each value.
        clusters: The cluster of each value.
        smallest: The difference to detect, in the values' unit; its sign does not matter.
        weights: How many members of the population each value stands for.
        alpha: The level of the test.
        power: The probability of detecting it.
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
    """Return the error of values that are all equal; of shares, with a success and a failure added.

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
    """Return how many more the smaller side needs, given the errors of both sides' estimates.

    Where the other side's error alone is too large, both are assumed to grow alike. Counts may be
    of units or of clusters; the result is in the same terms.
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
