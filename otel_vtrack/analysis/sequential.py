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
- O. E. Barndorff-Nielsen and D. R. Cox, Inference and Asymptotics (1994): the signed root of the
  likelihood ratio, which is closer to a normal value than a difference by its standard error is,
  where rates are rare or one is high.
- O. Miettinen and M. Nurminen, Comparative analysis of two rates, Statistics in Medicine 4 (1985):
  the likeliest two rates that are so far apart, in closed form.
- J. N. K. Rao and A. J. Scott, A simple method for the analysis of clustered binary data,
  Biometrics 48 (1992): rates of clusters as if of fewer independent values.
- J. D. Angrist, Estimating the labor market impact of voluntary military service using social
  security data on military applicants, Econometrica 66 (1998): that least squares with a level for
  each group weighs groups by n0 n1 / (n0 + n1).
- K.-Y. Liang and S. L. Zeger, Longitudinal data analysis using generalized linear models,
  Biometrika 73 (1986): its variance by the scores of clusters.

Units are clusters, as sessions are: traces of one are not independent. A cluster that grows between
looks makes the looks more alike than the bound supposes, which errs on the side of silence.
"""

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

ALPHA: Final = 0.05
"""Of deployments without a change so many are alarmed at most, by whatever metric and look."""
FEWEST: Final = 50
"""Clusters and values of each side, before anything is said: of fewer nothing is certain."""
TIGHTEST_AT: Final = 500
"""With so many clusters of the candidate the bound is at its tightest."""

_HALVINGS: Final = 40
_SMALLEST: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Sums:
    """What is to be known of one side's values.

    Attributes:
        clusters: How many.
        count: Of how many values a plain mean would vary as much, were they independent.
        mean: Weighted, so that both sides' routes are alike.
        variance: Of the mean, of clusters that are independent.
    """

    clusters: int
    count: float
    mean: float
    variance: float

    @property
    def design_effect(self) -> float:
        """How many times as much a rate varies as one of independent values; 1 at least."""
        alone = self.mean * (1 - self.mean)
        return max(1.0, self.variance * self.count / alone) if alone > _SMALLEST else 1.0

    def independent_count(self, effect: float) -> float:
        """Return how many independent values of 0 or 1 tell as much, by a design effect."""
        if self.mean * (1 - self.mean) <= _SMALLEST:
            # None failed: it does not show whether those of a cluster would fail together.
            effect = max(effect, self.count / self.clusters)
        return self.count / effect


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
    if min(each for side in (baseline, candidate) for each in (side.clusters, side.count)) < FEWEST:
        return None
    variances = baseline.variance, candidate.variance
    counts = baseline.count, candidate.count
    if binary:
        # As if rates were equal: one that is high would widen its own bound by varying more. Few
        # errors do not show whether they come together, so the greater effect holds for both.
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
        counts: Independent values that tell as much.
        found: The rates.
    """

    counts: tuple[float, float]
    found: tuple[float, float]

    def apart(self, errors: float) -> float:
        """Return the difference of which the one found is so many standard errors too large."""
        inner, outer = self.found[1] - self.found[0], -math.copysign(1.0, errors)
        for _ in range(_HALVINGS):
            middle = (inner + outer) / 2
            if self.signed_root(middle) / errors < 1:
                inner = middle
            else:
                outer = middle
        return outer

    def signed_root(self, difference: float) -> float:
        """Return how many standard errors too large the difference found is, were it this one.

        The root of twice the logarithm of how much likelier the rates found make what was found
        than the likeliest rates that are so far apart.
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
        """Return the likeliest rate of the baseline, if that of the candidate is so much more.

        Miettinen and Nurminen (1985), appendix: a root of a polynomial of the third degree.
        """
        # Divided by how many there are, so that numbers stay near 1.
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
    """Return how unlikely a share is by a rate: minus the mean logarithm of its likelihood."""
    rate = min(max(rate, _SMALLEST), 1 - _SMALLEST)
    return -share * math.log(rate) - (1 - share) * math.log1p(-rate)
