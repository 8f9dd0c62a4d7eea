"""Tests whether two samples are as good as equal, and whether the later one is worse.

Sources:

- D. J. Schuirmann, A comparison of the two one-sided tests procedure and the power approach for
  assessing the equivalence of average bioavailability, Journal of Pharmacokinetics and
  Biopharmaceutics 15 (1987): equal within a margin is what both one-sided tests show.
- A. Agresti and B. Caffo, Simple and effective confidence intervals for proportions and
  differences of proportions, The American Statistician 54 (2000): a success and a failure more in
  each sample, without which no errors in five traces would be proof.
- B. L. Welch, The generalization of Student's problem when several different population variances
  are involved, Biometrika 34 (1947).
- W. H. Press et al., Numerical Recipes, 3rd ed., 6.4: the incomplete beta function.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_TINY: Final = 1e-300
_STEPS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Tested:
    """What the tests say of after minus before.

    Attributes:
        difference: The estimate that the tests go by.
        equivalence_p_value: How likely a difference as small is, if the true one is the margin
            or more; the greater of the two one-sided tests'.
        worse_p_value: How likely a difference as far above 0 or farther on either side is, if
            there is none. 1 where the difference is not above 0.
    """

    difference: float
    equivalence_p_value: float
    worse_p_value: float


def proportions(before: tuple[int, int], after: tuple[int, int], *, margin: float) -> Tested:
    """Test two shares, each given as successes and trials."""
    shares = [(successes + 1) / (trials + 2) for successes, trials in (before, after)]
    error = math.sqrt(
        sum(
            share * (1 - share) / (trials + 2)
            for share, (_, trials) in zip(shares, (before, after), strict=True)
        )
    )
    return _tested(shares[1] - shares[0], error, margin, _normal_above)


def means(
    before: tuple[float, float, int], after: tuple[float, float, int], *, margin: float
) -> Tested:
    """Test two means, each given as mean, variance and count, of two or more values."""
    parts = [variance / count for _, variance, count in (before, after)]
    error = math.sqrt(sum(parts))
    freedom = 1.0
    if error > 0:
        freedom = sum(parts) ** 2 / sum(
            part * part / (count - 1)
            for part, (_, _, count) in zip(parts, (before, after), strict=True)
        )
    return _tested(after[0] - before[0], error, margin, lambda t: student_above(t, freedom))


def _tested(
    difference: float, error: float, margin: float, above: Callable[[float], float]
) -> Tested:
    if error <= 0:
        # All values are alike, which leaves nothing to chance.
        return Tested(difference, float(abs(difference) >= margin), float(difference <= 0))
    return Tested(
        difference,
        max(above((difference + margin) / error), above((margin - difference) / error)),
        2 * above(difference / error) if difference > 0 else 1.0,
    )


def _normal_above(z: float) -> float:
    return math.erfc(z / math.sqrt(2)) / 2


def student_above(t: float, freedom: float) -> float:
    """Return which share of Student's distribution lies above `t`."""
    tail = _beta(freedom / 2, 0.5, freedom / (freedom + t * t)) / 2
    return tail if t > 0 else 1 - tail


def _beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, 1 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    """Return the continued fraction of the beta function, by Lentz's method."""
    c, d = 1.0, 1 / _kept(1 - (a + b) * x / (a + 1))
    result = d
    for m in range(1, _STEPS):
        for factor in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _kept(1 + factor * d)
            c = _kept(1 + factor / c)
            result *= d * c
        if abs(d * c - 1) < 1e-14:
            break
    return result


def _kept(number: float) -> float:
    return number if abs(number) > _TINY else _TINY
