"""Quantiles and tail probabilities of distributions, from scipy, imported on first use.

Importing it takes half as long as starting the server, and many servers never compare. Importing
`scipy.stats` in addition to `scipy.special` would take three times as long again.
"""

import math
from typing import Any


def special() -> Any:
    """Return `scipy.special`."""
    from scipy import special  # noqa: PLC0415 - slow to load

    return special


def student_quantile(freedom: float | None, level: float = 0.975) -> float:
    """Return the `level` quantile of Student's t distribution; of the normal one if None."""
    if freedom is None:
        return float(special().ndtri(level))
    return float(special().stdtrit(freedom, level))


def student_above(t: float, freedom: float | None) -> float:
    """Return the probability above `t` under Student's t distribution; the normal one if None."""
    return float(special().ndtr(-t) if freedom is None else special().stdtr(freedom, -t))


def student_both(t: float, freedom: float | None) -> float:
    """Return the probability of being farther from 0 than `t`: a two-sided p-value."""
    return min(1.0, 2 * student_above(abs(t), freedom))


def chi_square_above(statistic: float, freedom: float) -> float:
    """Return the probability above `statistic` under the chi-square distribution."""
    return float(special().chdtrc(freedom, statistic))


def f_above(statistic: float, numerator: float, denominator: float) -> float:
    """Return the probability above `statistic` under F; `denominator` may be infinite."""
    if math.isinf(denominator):
        return chi_square_above(statistic * numerator, numerator)
    return float(special().fdtrc(numerator, denominator, statistic))


def binomial_quantile(level: float, trials: int, chance: float) -> int:
    """Return the `level` quantile: the smallest count whose cumulative probability reaches it."""
    count = max(0, math.ceil(float(special().bdtrik(level, trials, chance)) - 1e-9))
    while count and special().bdtr(count - 1, trials, chance) >= level:
        count -= 1
    while special().bdtr(count, trials, chance) < level:
        count += 1
    return count
