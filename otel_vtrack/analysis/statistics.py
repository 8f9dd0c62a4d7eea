"""Intervals and adjustments that the engine has no function for.

Everything is at 95 % confidence. Sources:

- E. B. Wilson, Probable inference, the law of succession, and statistical inference, Journal of
  the American Statistical Association 22 (1927).
- R. G. Newcombe, Interval estimation for the difference between independent proportions,
  Statistics in Medicine 17 (1998), method 10.
- G. Y. Zou and A. Donner, Construction of confidence limits about effect measures, Statistics
  in Medicine 27 (2008): the same idea for any measure that has an interval of its own.
- Y. Benjamini and Y. Hochberg, Controlling the false discovery rate, Journal of the Royal
  Statistical Society B 57 (1995).
- H. A. David and H. N. Nagaraja, Order Statistics, 3rd ed., 7.1: quantile intervals.
- R. J. Hyndman and Y. Fan, Sample quantiles in statistical packages, The American Statistician
  50 (1996), definition 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from otel_vtrack.analysis.inference import distributions, exact

Z: Final = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""
LEVELS: Final = (0.5, 0.95, 0.99)
"""Levels of the quantiles; the query `progression/spans` has the same."""
EXACT_UP_TO: Final = 1000
"""Most values whose quantiles are bounded exactly; that query has the same."""

UNSEEN: Final = 4.0
"""By what factor a variance must grow if both sides' values vary alike, to be replaced by that.

A side of few values may lack the rare ones that make up the other's variance, and its own is then
far too small: of versions with the same 2 % of values that are not 0, 20 against 2,000, two thirds
would differ significantly, by means as well as by ranks. With this factor at most 8 % do in
simulations of 20 to 300 values against 2,000, of which 2 to 30 % are not the same, and skewed
values without such a gap are tested as before.
"""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval; a bound is None where there is too little data for it."""

    value: float
    lower: float | None = None
    upper: float | None = None


def proportion(successes: float, trials: float) -> Estimate | None:
    """Estimate a share with Wilson's interval; None for no trials. Counts may be effective ones."""
    return wilson(successes / trials, trials) if trials else None


def wilson(share: float, count: float) -> Estimate:
    """Estimate a share with Wilson's interval; the count need not be an integer."""
    middle = share + Z * Z / (2 * count)
    half = Z * math.sqrt(max(0.0, share * (1 - share)) / count + Z * Z / (4 * count * count))
    scale = 1 + Z * Z / count
    # At 0 and 1 rounding must not put a bound on the wrong side of the share.
    return Estimate(
        share,
        0.0 if share <= 0 else max(0.0, (middle - half) / scale),
        1.0 if share >= 1 else min(1.0, (middle + half) / scale),
    )


def mean(value: float, deviation: float, count: int) -> Estimate | None:
    """Estimate a mean with a t interval; None for no values, no bounds for one."""
    if not count:
        return None
    if count < 2:
        return Estimate(value)
    half = distributions.student_quantile(count - 1) * deviation / math.sqrt(count)
    return Estimate(value, value - half, value + half)


def quantiles(values: Sequence[float], count: int) -> list[Estimate | None]:
    """Estimate p50, p95 and p99 with distribution-free intervals; None for no values.

    Args:
        values: Up to 1,000: all, sorted. Above that, the nine the engine chose: for each quantile
            its value, lower and upper bound; NaN for no bound.
        count: Number of all values.
    """
    if not count:
        return [None] * len(LEVELS)
    if count > EXACT_UP_TO:
        each = [None if math.isnan(value) else value for value in values]
        return [Estimate(values[at], *each[at + 1 : at + 3]) for at in range(0, 3 * len(LEVELS), 3)]
    return [_quantile(values, level) for level in LEVELS]


def _quantile(values: Sequence[float], level: float) -> Estimate:
    """Bound a quantile by ranks: the number of values below it is binomial."""
    n = len(values)
    lower = distributions.binomial_quantile(0.025, n, level)
    upper = distributions.binomial_quantile(0.975, n, level) + 1
    return Estimate(
        values[math.ceil(round(n * level, 6)) - 1],
        values[lower - 1] if lower else None,
        values[upper - 1] if upper <= n else None,
    )


def difference(baseline: Estimate | None, candidate: Estimate | None) -> Estimate | None:
    """Estimate candidate minus baseline from their intervals.

    For two proportions this is Newcombe's interval, for other measures Zou and Donner's. It makes
    no assumptions about the distribution beyond those of the two intervals.
    """
    if baseline is None or candidate is None:
        return None
    value = candidate.value - baseline.value
    lower = upper = None
    if candidate.lower is not None and baseline.upper is not None:
        lower = value - math.hypot(
            candidate.value - candidate.lower, baseline.upper - baseline.value
        )
    if candidate.upper is not None and baseline.lower is not None:
        upper = value + math.hypot(
            candidate.upper - candidate.value, baseline.value - baseline.lower
        )
    return Estimate(value, lower, upper)


def change(baseline: Estimate | None, candidate: Estimate | None) -> Estimate | None:
    """Estimate the difference as a share of the baseline; None where that is meaningless.

    It uses `difference` of the logarithms, so a bound is omitted where one of its numbers is 0.
    """
    if baseline is None or candidate is None or min(baseline.value, candidate.value) <= 0:
        return None
    ratio = difference(_log(baseline), _log(candidate))
    if ratio is None:
        return None
    return Estimate(math.expm1(ratio.value), expm1(ratio.lower), expm1(ratio.upper))


def _log(estimate: Estimate) -> Estimate:
    bounds = [
        math.log(bound) if bound is not None and bound > 0 else None
        for bound in (estimate.lower, estimate.upper)
    ]
    return Estimate(math.log(estimate.value), *bounds)


def expm1(number: float | None) -> float | None:
    """Return a ratio minus 1 from its logarithm; None for None, or if it would overflow."""
    # Intervals of a handful of values can be that wide.
    return None if number is None or number > 700 else math.expm1(number)


def adjusted(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for multiple testing, by Benjamini and Hochberg; in the same order."""
    count = len(p_values)
    by_size = sorted(range(count), key=lambda index: p_values[index], reverse=True)
    result = [1.0] * count
    least = 1.0
    for rank, index in zip(range(count, 0, -1), by_size, strict=True):
        least = min(least, p_values[index] * count / rank)
        result[index] = least
    return result


def two_proportions(successes: int, trials: int, others: int, other_trials: int) -> float:
    """Return the two-sided p-value for two shares being equal.

    It is from Fisher's exact test or, if no expected count is below 5 (Cochran's rule), from the
    z-test with the pooled share. Both numbers of trials are above 0.
    """
    total, found = trials + other_trials, successes + others
    least = min(trials, other_trials) * min(found, total - found) / total
    if least >= 5:
        pooled = found / total
        deviation = math.sqrt(pooled * (1 - pooled) * (1 / trials + 1 / other_trials))
        return math.erfc(abs(successes / trials - others / other_trials) / deviation / math.sqrt(2))
    table = [[successes], [trials - successes], [others], [other_trials - others]]
    return exact.mantel_haenszel(np.array(table, np.float64))


def cohens_h(baseline: float, candidate: float) -> float:
    """Return the distance of two shares, from -pi to pi; 0.2 is small, 0.5 medium, 0.8 large.

    J. Cohen, Statistical Power Analysis for the Behavioral Sciences, 2nd ed., 6.2.
    """
    return 2 * (math.asin(math.sqrt(candidate)) - math.asin(math.sqrt(baseline)))
