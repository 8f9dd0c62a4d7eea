"""Compare a version with the one it replaced as data arrives, valid however often one looks.

The difference of two means, divided by its variance, is a Brownian motion with drift in information
time (1 / variance), even if one sample is complete from the start: Jennison and Turnbull. So a
bound that holds for a Brownian motion at all times at once holds for the difference at all looks at
once, whenever and however many they are:

- H. Robbins, Statistical methods related to the law of the iterated logarithm, Annals of
  Mathematical Statistics 41 (1970): the normal mixture.
- S. R. Howard, A. Ramdas, J. McAuliffe and J. Sekhon, Time-uniform, nonparametric, nonasymptotic
  confidence sequences, Annals of Statistics 49 (2021): its one-sided form, and the choice of `rho`.
- I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy and A. Ramdas, Time-uniform central limit
  theory and asymptotic confidence sequences, Annals of Statistics 52 (2024): variances may be
  estimated, asymptotically.
- C. Jennison and B. W. Turnbull, Group sequential analysis incorporating covariate information,
  Journal of the American Statistical Association 92 (1997): the canonical joint distribution.
- O. E. Barndorff-Nielsen and D. R. Cox, Inference and Asymptotics (1994): the signed root of the
  likelihood ratio, which is closer to normal than a difference divided by its standard error where
  rates are rare or one is high.
- O. Miettinen and M. Nurminen, Comparative analysis of two rates, Statistics in Medicine 4 (1985):
  the maximum likelihood rates with a given difference, in closed form.
- J. N. K. Rao and A. J. Scott, A simple method for the analysis of clustered binary data,
  Biometrics 48 (1992): clustered rates as if from fewer independent values.
- J. D. Angrist, Estimating the labor market impact of voluntary military service using social
  security data on military applicants, Econometrica 66 (1998): least squares with an intercept for
  each group weights groups by n0 n1 / (n0 + n1).
- K.-Y. Liang and S. L. Zeger, Longitudinal data analysis using generalized linear models,
  Biometrika 73 (1986): its variance from the scores of clusters.

Units are clusters, such as sessions, whose traces are not independent. A cluster that grows between
looks makes the looks more alike than the bound assumes, which makes it conservative.
"""

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

ALPHA: Final = 0.05
"""Largest share of unchanged deployments that raise an alarm, over all metrics and looks."""
FEWEST: Final = 50
"""Clusters and values each side needs before there is a result; fewer are too uncertain."""
TIGHTEST_AT: Final = 500
"""Number of the candidate's clusters at which the bound is tightest."""

_HALVINGS: Final = 40
_SMALLEST: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Sums:
    """Summary statistics of one side's values.

    Attributes:
        clusters: How many.
        count: Number of unweighted values whose mean would vary as much, if all were independent.
        mean: Weighted, so that both sides have the same mix of routes.
        variance: Of the mean, from independent clusters.
    """

    clusters: int
    count: float
    mean: float
    variance: float

    @property
    def design_effect(self) -> float:
        """Variance of a rate relative to that of independent values; at least 1."""
        alone = self.mean * (1 - self.mean)
        return max(1.0, self.variance * self.count / alone) if alone > _SMALLEST else 1.0

    def independent_count(self, effect: float) -> float:
        """Return the effective number of independent 0/1 values, given a design effect."""
        if self.mean * (1 - self.mean) <= _SMALLEST:
            # All are equal, so the data does not show whether clusters fail together: assume so.
            effect = max(effect, self.count / self.clusters)
        return self.count / effect


class Bounded(NamedTuple):
    """A difference, candidate minus baseline, with bounds for all looks at once.

    Each bound holds with the requested confidence.
    """

    difference: float
    lower: float
    upper: float


def boundary(information: float, tightest_at: float, alpha: float) -> float:
    """Return how many standard errors bound a difference on one side at all times at once.

    The one-sided normal mixture: `2 sqrt(rho / (v + rho)) exp(x^2 / 2) Phi(x)`, with `x` the motion
    divided by `sqrt(v + rho)`, is a martingale. By Ville's inequality the probability that it ever
    reaches 1 / alpha is at most alpha. `Phi(x) >= 1 - exp(-x^2 / 2) / 2` gives a closed form, wider
    by less than a hundredth where alpha is small.

    Args:
        information: 1 / variance of the difference.
        tightest_at: The information at which the bound is tightest; fixed in advance.
        alpha: Probability that a difference without drift is ever beyond the bound.
    """
    # Waudby-Smith et al. (2024), appendix B.2, for a two-sided bound with twice the error.
    log_term = -2 * math.log(2 * alpha)
    rho = tightest_at / (log_term + math.log(log_term) + 1)
    ratio = (information + rho) / rho
    grown = math.log(0.5 + math.sqrt(ratio) / (2 * alpha))
    return math.sqrt(2 * grown * (information + rho) / information)


def compare(
    baseline: Sums, candidate: Sums, *, binary: bool, comparisons: int = 1, alpha: float = ALPHA
) -> Bounded | None:
    """Bound the difference of two means; None while there is too little data.

    Args:
        baseline: The version that was replaced.
        candidate: The one that replaces it.
        binary: Whether values are 0 or 1.
        comparisons: Number of watched metrics: each gets an equal part of `alpha`, so that `alpha`
            holds for all of them together (Bonferroni).
        alpha: Probability that a bound of any metric ever fails to hold.
    """
    if min(each for side in (baseline, candidate) for each in (side.clusters, side.count)) < FEWEST:
        return None
    counts = baseline.count, candidate.count
    # As if values varied alike: the side of few values may lack the rare ones that make up the
    # other's variance, and its own would then be far too small.
    alike = (baseline.variance * counts[0] ** 2 + candidate.variance * counts[1] ** 2) / sum(counts)
    variances = (
        max(baseline.variance, alike / counts[0]),
        max(candidate.variance, alike / counts[1]),
    )
    if binary:
        # As if rates were equal: a high rate varies more and would widen its own bound. Few errors
        # do not show how they cluster, so the larger design effect applies to both sides.
        effect = max(baseline.design_effect, candidate.design_effect)
        counts = baseline.independent_count(effect), candidate.independent_count(effect)
        variances = 1 / counts[0], 1 / counts[1]
    variance = sum(variances)
    if variance <= 0.0:
        return None
    tightest = variances[0] + variances[1] * candidate.clusters / TIGHTEST_AT
    errors = boundary(1 / variance, 1 / tightest, alpha / comparisons)
    difference = candidate.mean - baseline.mean
    if binary:
        rates = Rates(counts, (baseline.mean, candidate.mean))
        return Bounded(difference, rates.apart(errors), rates.apart(-errors))
    width = errors * math.sqrt(variance)
    return Bounded(difference, difference - width, difference + width)


class Rates(NamedTuple):
    """The rates of two sides, the baseline's first.

    Attributes:
        counts: Effective numbers of independent values.
        found: The observed rates.
    """

    counts: tuple[float, float]
    found: tuple[float, float]

    def apart(self, errors: float) -> float:
        """Return the true difference for which the observed one is this many errors too large."""
        inner, outer = self.found[1] - self.found[0], -math.copysign(1.0, errors)
        for _ in range(_HALVINGS):
            middle = (inner + outer) / 2
            if self.signed_root(middle) / errors < 1:
                inner = middle
            else:
                outer = middle
        return outer

    def signed_root(self, difference: float) -> float:
        """Return how many standard errors too large the observed difference is if this is true.

        It is the signed root of twice the log likelihood ratio of the observed rates to the
        likeliest rates with this difference.
        """
        first = self._likeliest(difference)
        log_ratio = sum(
            count * (_loss(rate, likeliest) - _loss(rate, rate))
            for count, rate, likeliest in zip(
                self.counts, self.found, (first, first + difference), strict=True
            )
        )
        beyond = self.found[1] - self.found[0] - difference
        return math.copysign(math.sqrt(max(0.0, 2 * log_ratio)), beyond)

    def _likeliest(self, difference: float) -> float:
        """Return the baseline's maximum likelihood rate if the candidate's is higher by this.

        Miettinen and Nurminen (1985), appendix: a root of a cubic polynomial.
        """
        # Divided by the total count, so that numbers stay near 1.
        share = self.counts[0] / sum(self.counts)
        had = self.found[0] * share
        events = had + self.found[1] * (1 - share)
        square = (1 + share) * difference - 1 - events
        linear = (share * difference - 1 - 2 * had) * difference + events
        constant = had * difference * (1 - difference)
        third = square / 3
        cubic = third**3 - square * linear / 6 + constant / 2
        root = math.copysign(math.sqrt(max(0.0, third**2 - linear / 3)), cubic)
        cosine = cubic / root**3 if root else 0.0
        angle = (math.pi + math.acos(min(1.0, max(-1.0, cosine)))) / 3
        likeliest = 2 * root * math.cos(angle) - third
        return min(1.0, 1.0 - difference, max(0.0, -difference, likeliest))


def _loss(share: float, rate: float) -> float:
    """Return minus the mean log likelihood of a share under a rate."""
    rate = min(max(rate, _SMALLEST), 1 - _SMALLEST)
    return -share * math.log(rate) - (1 - share) * math.log1p(-rate)
