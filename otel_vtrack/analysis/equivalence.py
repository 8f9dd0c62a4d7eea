"""Test whether two samples are equivalent, and whether the later one is worse.

Traces of a session are not independent, so samples are of clusters.

Sources:

- D. J. Schuirmann, A comparison of the two one-sided tests procedure and the power approach for
  assessing the equivalence of average bioavailability, Journal of Pharmacokinetics and
  Biopharmaceutics 15 (1987): samples are equivalent if both one-sided tests reject.
- O. Miettinen and M. Nurminen, Comparative analysis of two rates, Statistics in Medicine 4 (1985);
  C. P. Farrington and G. Manning, Test statistics and sample size formulae for comparative
  binomial trials with null hypothesis of non-zero risk difference or non-unity relative risk,
  Statistics in Medicine 9 (1990): the score test, whose error is that of rates that differ by the
  margin, and the closed form of these rates.
- F. Yates, Contingency tables involving small numbers and the chi-squared test, Supplement to the
  Journal of the Royal Statistical Society 1 (1934): the continuity correction, without which up to
  6 % of rates near 0 that differ by the margin are called equivalent.
- J. N. K. Rao and A. J. Scott, A simple method for the analysis of clustered binary data,
  Biometrics 48 (1992): the effective number of independent trials.
- E. L. Korn and B. I. Graubard, Confidence intervals for proportions with small expected number of
  positive counts estimated from survey data, Survey Methodology 24 (1998): fewer still for few
  clusters.
- B. L. Welch, The generalization of Student's problem when several different population variances
  are involved, Biometrika 34 (1947).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

from otel_vtrack.analysis import statistics
from otel_vtrack.analysis.inference.distributions import student_above, student_quantile


class Share(NamedTuple):
    """Successes among trials; clustered ones as an effective number, which may be fractional."""

    successes: float
    trials: float


class Mean(NamedTuple):
    """A mean, its variance, and the variance's degrees of freedom."""

    value: float
    variance: float
    freedom: float


@dataclass(frozen=True, slots=True)
class Tested:
    """The results of the tests of after minus before.

    Attributes:
        difference: The estimate that is tested.
        equivalence_p_value: Probability of a difference this small if the true one is the margin
            or more; the greater of the two one-sided tests'.
        worse_p_value: Probability of a difference at least this far from 0, on either side, if
            there is none. 1 where the difference is not above 0.
    """

    difference: float
    equivalence_p_value: float
    worse_p_value: float


def variance_of_mean(
    clusters: int, trials: float, total: float, *, nn: float, nt: float, tt: float
) -> float:
    """Return the variance of `total` / `trials`, a ratio of sums over two or more clusters.

    Args:
        clusters: How many.
        trials: The sum of n over clusters.
        total: The sum of t.
        nn: The sum of n * n.
        nt: The sum of n * t.
        tt: The sum of t * t.
    """
    mean = total / trials
    squares = max(tt - 2 * mean * nt + mean * mean * nn, 0.0)
    return clusters / (clusters - 1) * squares / trials**2


def design_effect(variance: float, share: Share) -> float | None:
    """Return how many clustered trials are worth one independent one; None for rates of 0 and 1."""
    rate = share.successes / share.trials
    independent = rate * (1 - rate) / (share.trials - 1) if share.trials > 1 else 0.0
    return max(variance / independent, 1.0) if independent > 0 else None


def independent(share: Share, clusters: int, effect: float) -> Share:
    """Return a share of the effective number of independent trials."""
    trials = 1.0
    if clusters > 1:
        few = student_quantile(share.trials - 1) / student_quantile(clusters - 1)
        trials = share.trials / effect * few**2
    return Share(share.successes / share.trials * trials, trials)


def proportions(before: Share, after: Share, *, margin: float) -> Tested:
    """Test two shares."""
    rates = [each.successes / each.trials for each in (before, after)]
    difference = rates[1] - rates[0]
    return Tested(
        difference,
        max(_below(before, after, margin), _below(after, before, margin)),
        min(2 * _below(after, before, 0.0), 1.0) if difference > 0 else 1.0,
    )


def _below(one: Share, other: Share, margin: float) -> float:
    """Return the p-value that the other's rate is less than the margin above the one's."""
    rates = _rates(one, other, margin)
    trials = (one.trials, other.trials)
    both = sum(trials)
    variance = sum(rate * (1 - rate) / n for rate, n in zip(rates, trials, strict=True))
    error = math.sqrt(variance * both / (both - 1))
    seen = other.successes / other.trials - one.successes / one.trials
    short = seen - margin + sum(0.5 / n for n in trials)
    if error <= 0:
        return float(short >= 0)
    return student_above(-short / error, None)


def _rates(one: Share, other: Share, margin: float) -> tuple[float, float]:
    """Return the maximum likelihood rates with the other's the margin above the one's.

    By the closed form of the cubic equation in Farrington and Manning (1990), appendix.
    """
    theta = one.trials / other.trials
    p, q = other.successes / other.trials, one.successes / one.trials
    a = 1 + theta
    b = -(1 + theta + p + theta * q + margin * (theta + 2))
    c = margin * margin + margin * (2 * p + theta + 1) + p + theta * q
    d = -p * margin * (1 + margin)
    v = (b / (3 * a)) ** 3 - b * c / (6 * a * a) + d / (2 * a)
    u = math.copysign(math.sqrt(max((b / (3 * a)) ** 2 - c / (3 * a), 0.0)), v)
    cosine = v / u**3 if u else 0.0
    w = (math.pi + math.acos(min(max(cosine, -1.0), 1.0))) / 3
    rate = 2 * u * math.cos(w) - b / (3 * a)
    return min(max(rate - margin, 0.0), 1.0), min(max(rate, 0.0), 1.0)


def means(before: Mean, after: Mean, *, margin: float) -> Tested:
    """Test two means."""
    before, after = _alike(before, after)
    error = math.sqrt(before.variance + after.variance)
    freedom = 1.0
    if error > 0:
        freedom = error**4 / sum(each.variance**2 / each.freedom for each in (before, after))
    difference = after.value - before.value
    if error <= 0:
        # All values are equal, which leaves nothing to chance.
        return Tested(difference, float(abs(difference) >= margin), float(difference <= 0))
    return Tested(
        difference,
        max(
            student_above((difference + margin) / error, freedom),
            student_above((margin - difference) / error, freedom),
        ),
        2 * student_above(difference / error, freedom) if difference > 0 else 1.0,
    )


def _alike(before: Mean, after: Mean) -> tuple[Mean, Mean]:
    """Replace variances if a side lacks the rare values that make up the other's."""
    counts = before.freedom + 1, after.freedom + 1
    each = (before.variance * counts[0] ** 2 + after.variance * counts[1] ** 2) / sum(counts)
    together = before._replace(variance=each / counts[0]), after._replace(variance=each / counts[1])
    greater = sum(mean.variance for mean in together)
    own = before.variance + after.variance
    return together if greater > statistics.UNSEEN * own else (before, after)
