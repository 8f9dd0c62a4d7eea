"""Compares a version with what it replaced as data arrives, valid however often one looks.

The difference of two means, divided by its variance, is a Brownian motion with drift in information
time (one by the variance), also where one sample is all there from the start: Jennison and
Turnbull. So whatever bounds a Brownian motion at all times at once bounds the difference at all
looks at once, whenever they are and however many:

- H. Robbins, Statistical methods related to the law of the iterated logarithm, Annals of
  Mathematical Statistics 41 (1970): the normal mixture.
- S. R. Howard, A. Ramdas, J. McAuliffe and J. Sekhon, Time-uniform, nonparametric, nonasymptotic
  confidence sequences, Annals of Statistics 49 (2021): its one-sided form, and the choice of `rho`.
- I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy and A. Ramdas, Time-uniform central limit
  theory and asymptotic confidence sequences, Annals of Statistics 52 (2024): that variances may be
  estimated, asymptotically.
- C. Jennison and B. W. Turnbull, Group sequential analysis incorporating covariate information,
  Journal of the American Statistical Association 92 (1997): the canonical joint distribution.
- A. Agresti and B. Caffo, Simple and effective confidence intervals for proportions, American
  Statistician 54 (2000): a success and a failure more, so that no errors in few traces are no
  proof.

Units are clusters, as sessions are: traces of one are not independent. A cluster that grows between
looks makes the looks more alike than the bound supposes, which errs on the side of silence.
"""

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

ALPHA: Final = 0.05
"""Of deployments without a change so many are alarmed at most, by whatever metric and look."""
FEWEST_CLUSTERS: Final = 50
"""Of each side, before anything is said: a variance of fewer is too uncertain."""
TIGHTEST_AT: Final = 500
"""With so many clusters of the candidate the bound is at its tightest."""


@dataclass(frozen=True, slots=True)
class Sums:
    """What is to be known of one side's values, cluster by cluster.

    Attributes:
        clusters: How many.
        count: Values in all.
        total: Their sum.
        squares: Sum of the squares of the clusters' totals.
        products: Sum of the products of the clusters' totals and counts.
        count_squares: Sum of the squares of the clusters' counts.
    """

    clusters: int
    count: float
    total: float
    squares: float
    products: float
    count_squares: float

    @property
    def mean(self) -> float:
        """Mean of the values."""
        return self.total / self.count if self.count else 0.0

    def variance_of_mean(self, *, binary: bool) -> float:
        """Return the variance of the mean, a ratio of sums, linearised; 0 if unknown.

        Args:
            binary: Whether values are 0 or 1: it is then no less than that of independent values
                with a success and a failure more.
        """
        if self.clusters < 2:
            return 0.0
        mean = self.mean
        spread = self.squares - 2 * mean * self.products + mean * mean * self.count_squares
        found = max(spread, 0.0) / self.count**2 * self.clusters / (self.clusters - 1)
        if binary:
            rate = (self.total + 1) / (self.count + 2)
            found = max(found, rate * (1 - rate) / self.count)
        return found


class Bounded(NamedTuple):
    """A difference, candidate minus baseline, and what bounds it at all looks at once.

    Each bound holds with the confidence that was asked for.
    """

    difference: float
    lower: float
    upper: float


def boundary(information: float, tightest_at: float, alpha: float) -> float:
    """Return how many standard errors bound a difference on one side at all times at once.

    The one-sided normal mixture: `2 sqrt(rho / (v + rho)) exp(x^2 / 2) Phi(x)` with `x` the motion
    by `sqrt(v + rho)` is a martingale, which by Ville's inequality ever reaches 1 / alpha with
    probability alpha at most. `Phi(x) >= 1 - exp(-x^2 / 2) / 2` gives it a closed form, which is
    wider by less than a hundredth where alpha is small.

    Args:
        information: One by the variance of the difference.
        tightest_at: The information at which the bound is to be tightest; fixed beforehand.
        alpha: Probability that a difference without a drift ever is beyond the bound.
    """
    # Waudby-Smith et al. (2024), appendix B.2, of a two-sided bound with twice the error.
    log_term = -2 * math.log(2 * alpha)
    rho = tightest_at / (log_term + math.log(log_term) + 1)
    ratio = (information + rho) / rho
    grown = math.log(0.5 + math.sqrt(ratio) / (2 * alpha))
    return math.sqrt(2 * grown * (information + rho) / information)


def compare(
    baseline: Sums, candidate: Sums, *, binary: bool, comparisons: int = 1, alpha: float = ALPHA
) -> Bounded | None:
    """Bound the difference of two means; None while there is too little to say anything.

    Args:
        baseline: Of the version that was replaced.
        candidate: Of the one that replaces it.
        binary: Whether values are 0 or 1.
        comparisons: How many metrics are watched: each gets an equal part of `alpha`, so that all
            of them together err no more often (Bonferroni).
        alpha: Probability that a bound ever does not hold, of any of the metrics.
    """
    if min(baseline.clusters, candidate.clusters) < FEWEST_CLUSTERS:
        return None
    of_baseline = baseline.variance_of_mean(binary=binary)
    variance = of_baseline + candidate.variance_of_mean(binary=binary)
    if variance <= 0.0:
        return None
    tightest = of_baseline * (1 + baseline.clusters / TIGHTEST_AT) or variance
    width = boundary(1 / variance, 1 / tightest, alpha / comparisons) * math.sqrt(variance)
    difference = candidate.mean - baseline.mean
    return Bounded(difference, difference - width, difference + width)
