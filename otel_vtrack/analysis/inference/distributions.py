"""Quantiles and tails of distributions: scipy's, which is loaded when the first one is needed.

Loading it takes as long as half of the server's start, and many servers never compare. What
`scipy.stats` has beyond `scipy.special` would take three times that again.
"""

import math
from typing import Any


def special() -> Any:
    """Return `scipy.special`."""
    from scipy import special  # noqa: PLC0415 - slow to load

    return special


def student_quantile(freedom: float | None, level: float = 0.975) -> float:
    """Return what `level` of Student's distribution lies below; of the normal one for None."""
    if freedom is None:
        return float(special().ndtri(level))
    return float(special().stdtrit(freedom, level))


def student_above(t: float, freedom: float | None) -> float:
    """Return which share of Student's distribution lies above `t`; of the normal one for None."""
    return float(special().ndtr(-t) if freedom is None else special().stdtr(freedom, -t))


def student_both(t: float, freedom: float | None) -> float:
    """Return which share lies farther from 0 than `t`: a two-sided p-value."""
    return min(1.0, 2 * student_above(abs(t), freedom))


def chi_square_above(statistic: float, freedom: float) -> float:
    """Return which share of the chi-square distribution lies above."""
    return float(special().chdtrc(freedom, statistic))


def f_above(statistic: float, numerator: float, denominator: float) -> float:
    """Return which share of the F distribution lies above; an infinite denominator is allowed."""
    if math.isinf(denominator):
        return chi_square_above(statistic * numerator, numerator)
    return float(special().fdtrc(numerator, denominator, statistic))


def binomial_quantile(level: float, trials: int, chance: float) -> int:
    """Return the least count of successes that `level` of the distribution does not exceed."""
    count = max(0, math.ceil(float(special().bdtrik(level, trials, chance)) - 1e-9))
    while count and special().bdtr(count - 1, trials, chance) >= level:
        count -= 1
    while special().bdtr(count, trials, chance) < level:
        count += 1
    return count
