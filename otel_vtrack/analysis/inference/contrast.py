"""The difference of two sides' means and its error, where units depend on each other in clusters.

Most of what is estimated here is such a difference: of values, of successes, of placements among
the other side's values. It is the coefficient of the side in a regression with one intercept a
stratum, which weighs strata by n1 n0 / (n1 + n0). Its error allows for any dependence within
clusters. Sources:

- R. M. Bell and D. F. McCaffrey, Bias reduction in standard errors for linear regression with
  multi-stage samples, Survey Methodology 28 (2002): the sandwich "CR2", which divides each
  cluster's residuals by the root of 1 minus its leverage, and degrees of freedom by
  F. E. Satterthwaite's method. Of independent units in one stratum that is Welch's test.
- G. W. Imbens and M. Kolesár, Robust standard errors in small samples: some practical advice,
  Review of Economics and Statistics 98 (2016): that the working model of the degrees of freedom
  has a variance within clusters and one between, from the data.

A cluster's leverage is taken as one number, the Rayleigh quotient of its block of the hat matrix:
exact for clusters within one side or covering both sides evenly, and close otherwise.

Units may have weights: how many of the population each stands for. Then means are Hájek's, ratios
of weighted sums, and the sandwich that of weighted least squares, which is Taylor's linearization
of them: D. A. Binder, On the variances of asymptotically normal estimators from complex surveys,
International Statistical Review 51 (1983). It holds for units that were sampled independently of
each other, each with a chance of 1 / weight.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from otel_vtrack.analysis.inference import distributions
from otel_vtrack.analysis.statistics import Estimate

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

FEWEST_CLUSTERS: Final = 10
"""Fewest clusters of each side from which no test here is wrong more often than it says.

Of 10 to some 25 of uneven size tests are more cautious than they say, of shares and categories the
most; from there on 5 % are 3 to 7 %.
"""
_SKEWNESS_COUNTED: Final = 0.8
"""Share of the skewness that is allowed for where two sides are compared.

Of lognormal values, 40 against 600, none of it leaves 8.5 % of false alarms in one direction and
0.5 % in the other, all of it 0.5 % and 2.9 %, and this share 2 % in both.
"""
_NOTHING: Final = 1e-12
"""Share of the values' range below which a number is a rounding error."""
_WHOLLY: Final = 1 - 1e-9
"""A cluster of more leverage has no residual to tell its error by."""
_LEAST_FREEDOM: Final = 0.99
_LARGEST: Final = 1e300


class Pull(NamedTuple):
    """How units tell on a contrast, whatever was measured of them.

    Attributes:
        sides: Of each unit 1 for the candidate and 0 for the baseline, less its stratum's mean.
        pull: What each unit's value counts.
        weighed: What each unit adds to `information`.
        information: By which the sum of what values count is divided.
        leverages: How much of its own residual each cluster explains.
    """

    sides: Floats
    pull: Floats
    weighed: Floats
    information: float
    leverages: Floats


# Without slots: what several tests of the same units need is worked out once.
@dataclass(frozen=True)
class Units:
    """What a contrast needs to know of units, whatever was measured of them.

    Attributes:
        clusters: From 0 up without gaps.
        strata: Likewise.
        candidates: How many of the candidate each stratum has, by weight.
        baselines: Likewise.
        weights: Of which the mean is 1; None where those of a side are all equal.
        stands_for: How many of the population a unit stands for on average.
    """

    is_candidate: Bools
    clusters: Ints
    strata: Ints
    cluster_count: int
    stratum_count: int
    independent: bool
    candidates: Floats
    baselines: Floats
    weights: Floats | None = None
    stands_for: float = 1.0

    @property
    def comparable(self) -> bool:
        """Whether any stratum has units of both sides."""
        return bool(((self.candidates > 0) & (self.baselines > 0)).any())

    @cached_property
    def cells(self) -> Ints:
        """Of each unit its stratum and side, as one number; odd for the candidate."""
        return self.strata * 2 + self.is_candidate

    @cached_property
    def cell_counts(self) -> Floats:
        """How many each cell has, by weight."""
        counts = np.bincount(self.cells, self.weights, 2 * self.stratum_count)
        return counts.astype(np.float64, copy=False)

    @cached_property
    def by_side(self) -> tuple[tuple[Ints, Ints], tuple[Ints, Ints]]:
        """Where the candidate's are and of which clusters, and where the baseline's are."""
        places = np.flatnonzero(self.is_candidate), np.flatnonzero(~self.is_candidate)
        return (places[0], self.clusters[places[0]]), (places[1], self.clusters[places[1]])

    @cached_property
    def pull(self) -> Pull:
        """How they tell where strata have no weights beyond n1 n0 / (n1 + n0)."""
        return _pull(self, np.ones(self.stratum_count))

    @cached_property
    def apart(self) -> "Units":
        """The same, had each a cluster of its own."""
        count = len(self.is_candidate)
        return replace(self, clusters=np.arange(count), cluster_count=count, independent=True)


@dataclass(frozen=True, slots=True)
class Contrast:
    """Candidate minus baseline.

    Attributes:
        error: The standard error; 0 where values within each side are alike, None where there
            are too few clusters to know it.
        freedom: Of Student's distribution; None where the error is 0 or unknown.
        parts: What each cluster adds to the difference; the error is the root of the sum of
            their squares.
        leverages: How much of its own residual each cluster explains.
        working: Variances of the parts under the working model.
        skewness: Of the difference's distribution.
        imbalance: The candidate's share of the variance minus the baseline's.
    """

    value: float
    error: float | None
    freedom: float | None
    parts: Floats
    leverages: Floats
    working: Floats
    skewness: float = 0.0
    imbalance: float = 0.0


def compact(codes: npt.NDArray[Any]) -> tuple[Ints, int]:
    """Number codes from 0 up without gaps."""
    if not len(codes):
        return np.zeros(0, np.int64), 0
    low, high = int(codes.min()), int(codes.max())
    if high - low < 4 * len(codes):
        # Much faster than sorting, and how most callers number.
        shifted = np.asarray(codes, np.int64) - low
        seen = np.zeros(high - low + 1, np.int64)
        seen[shifted] = 1
        ranks = np.cumsum(seen)
        return ranks[shifted] - 1, int(ranks[-1])
    distinct, numbered = np.unique(codes, return_inverse=True)
    return numbered.astype(np.int64, copy=False), len(distinct)


def units(
    is_candidate: npt.NDArray[Any],
    clusters: npt.NDArray[Any],
    strata: npt.NDArray[Any] | None = None,
    weights: npt.NDArray[Any] | None = None,
) -> Units:
    """Number clusters and strata, and count the sides of each stratum.

    Weights that are equal for all of a side are as good as none: they cancel out.
    """
    sides = np.asarray(is_candidate, np.bool_)
    numbered, cluster_count = compact(np.asarray(clusters))
    if strata is None:
        levels, stratum_count = np.zeros(len(sides), np.int64), int(len(sides) > 0)
    else:
        levels, stratum_count = compact(np.asarray(strata))
    given = telling(weights, sides)
    if given is None:
        candidates = np.bincount(levels[sides], minlength=stratum_count)
        baselines = np.bincount(levels, minlength=stratum_count) - candidates
    else:
        candidates = np.bincount(levels[sides], given[sides], stratum_count)
        baselines = np.bincount(levels[~sides], given[~sides], stratum_count)
    return Units(
        sides,
        numbered,
        levels,
        cluster_count,
        stratum_count,
        cluster_count == len(sides),
        candidates.astype(np.float64),
        baselines.astype(np.float64),
        given,
        1.0 if given is None or weights is None else float(np.mean(weights)),
    )


def telling(
    weights: npt.NDArray[Any] | None, sides: npt.NDArray[np.bool_] | None = None
) -> Floats | None:
    """Return weights with a mean of 1; None where all of a side have the same.

    Args:
        weights: Above 0, one a unit.
        sides: None is one side of all.
    """
    if weights is None or not len(weights):
        return None
    given = np.asarray(weights, np.float64)
    parts = (given,) if sides is None else (given[sides], given[~sides])
    if all(not len(part) or (part == part[0]).all() for part in parts):
        return None
    return given * (len(given) / float(given.sum()))


def usable(values: Floats) -> bool:
    """Say whether values can be added up."""
    return bool((np.abs(values) < _LARGEST).all())


def contrast(
    values: Floats, of: Units, weights: Floats | None = None, *, skewed: bool = True
) -> Contrast | None:
    """Estimate candidate minus baseline; None where no stratum has both sides.

    Args:
        values: One a unit, usable.
        of: The units.
        weights: Of strata, beyond n1 n0 / (n1 + n0).
        skewed: Whether to allow for skewness.
    """
    if not of.comparable:
        return None
    # Squares of any size of values stay within what numbers can hold.
    size = float(np.abs(values).max())
    scaled = values / size if size > 0 else values
    scaled = scaled - scaled[0]
    limit = _NOTHING * float(np.abs(scaled).max())
    sides, pull, weighed, information, leverages = (
        of.pull if weights is None else _pull(of, weights)
    )
    value = float((pull * scaled).sum()) / information
    if abs(value) <= limit:
        value = 0.0
    totals = of.candidates + of.baselines
    middles = np.bincount(of.strata, counted(scaled, of), of.stratum_count) / totals
    residuals = scaled - middles[of.strata] - value * sides
    residuals[np.abs(residuals) <= limit] = 0.0
    pulled = pull * residuals
    parts = _sums(pulled, of)
    # Pairs that all differ by the same cancel out but for rounding.
    parts[np.abs(parts) <= _NOTHING * float(np.abs(pulled).max())] = 0.0
    parts = parts / np.sqrt(1 - leverages) / information
    if of.independent:
        # A residual's variance is less than its unit's by the leverage.
        residuals = residuals / np.sqrt(1 - leverages)[of.clusters]
    working = _working(residuals, pull, of) / (information * information)
    found = summed(value * size, parts * size, leverages, working, known=limit == 0)
    if not found.error or not skewed:
        return found
    skewness, imbalance = _skewness(pulled, weighed, of)
    return replace(found, skewness=skewness, imbalance=imbalance)


def _pull(of: Units, weights: Floats) -> Pull:
    sides = of.is_candidate - (of.candidates / (of.candidates + of.baselines))[of.strata]
    pull = weights[of.strata] * sides
    if of.weights is not None:
        pull = pull * of.weights
    weighed = pull * sides
    information = float(weighed.sum())
    shares = _sums(weighed, of)
    explained = _explained(pull / np.sqrt(weights)[of.strata], shares, of)
    leverages = np.minimum(1 - _NOTHING, explained + shares / information)
    return Pull(sides, pull, weighed, information, leverages)


def summed(
    value: float, parts: Floats, leverages: Floats, working: Floats, *, known: bool = False
) -> Contrast:
    """Sum up what the clusters say; of no error if a cluster has no residual to tell it by.

    Args:
        value: The difference.
        parts: Of the clusters.
        leverages: Of the clusters.
        working: Of the clusters.
        known: Whether the error is 0 whatever the leverages.
    """
    error, free = None, None
    if known or leverages.max() <= _WHOLLY:
        largest = float(np.abs(parts).max())
        error = largest * float(np.sqrt(((parts / largest) ** 2).sum())) if largest > 0 else 0.0
        free = freedom(working, leverages) if error else None
    if error and free is None:
        error = None
    return Contrast(value, error, free, parts, leverages, working)


def _skewness(pulled: Floats, weighed: Floats, of: Units) -> tuple[float, float]:
    """Return the skewness of the difference, and by how much the candidate's share is greater.

    Shares of the variance, as they are where both sides' values vary alike: by the numbers of
    clusters. Both sides' values are taken to be as skewed as all of them. So the skewness of a
    side of few clusters is known from the other, and sides of as many clusters cancel out.
    """
    halves = of.clusters * 2 + of.is_candidate
    sums = np.bincount(halves, pulled, 2 * of.cluster_count)
    present = np.bincount(halves, weighed, 2 * of.cluster_count) > 0
    zeros, ones = -sums[0::2], sums[1::2]
    counts = int(np.count_nonzero(present[1::2])), int(np.count_nonzero(present[0::2]))
    skewed = 0.0
    for count, side in zip(counts, (ones, zeros), strict=True):
        squares = side * side
        square = float(squares.sum())
        if square > 0:
            skewed += count**1.5 * float((squares * side).sum()) / square**1.5
    total = sum(counts)
    candidate, baseline = counts[1] / total, counts[0] / total
    skewness = _SKEWNESS_COUNTED * skewed / total
    skewness *= candidate**1.5 / counts[0] ** 0.5 - baseline**1.5 / counts[1] ** 0.5
    return skewness, candidate - baseline


def freedom(working: Floats, leverages: Floats) -> float | None:
    """Return Satterthwaite's degrees of freedom; None if below those of two clusters a side.

    Args:
        working: Variances of the clusters' parts under the working model.
        leverages: Of the clusters; what they take away makes G clusters worth G - 1.
    """
    total = float(working.sum())
    if total <= 0 or leverages.max() > _WHOLLY:
        return None
    shares = working / total
    found = 1 / float((shares * shares / (1 - leverages)).sum())
    return found if found >= _LEAST_FREEDOM else None


def combined(one: Contrast, other: Contrast) -> Contrast:
    """Return one contrast minus the other; both of the same clusters."""
    working = one.working + other.working
    total = np.where(working > 0, working, 1.0)
    leverages = (one.leverages * one.working + other.leverages * other.working) / total
    value = one.value - other.value
    if abs(value) <= _NOTHING * max(abs(one.value), abs(other.value)):
        value = 0.0
    found = summed(value, one.parts - other.parts, leverages, working)
    if one.error is None or other.error is None:
        return replace(found, error=None, freedom=None)
    return found


def interval(value: float, found: Contrast, bend: float | None = None) -> Estimate:
    """Estimate by Student's interval, skewness allowed for; without bounds of an unknown error.

    Args:
        value: The estimate.
        found: Its error.
        bend: As `straightened` has it.
    """
    if found.error is None:
        return Estimate(value)
    if found.freedom is None:
        return Estimate(value, value, value)
    reach = distributions.student_quantile(found.freedom)
    lower, upper = (_bent(each, found.skewness, bend) * found.error for each in (reach, -reach))
    return Estimate(value, value - lower, value - upper)


def straightened(statistic: float, skewness: float, bend: float | None = None) -> float:
    """Return what of a statistic's distribution is left when its skewness is taken away.

    P. Hall, On the removal of skewness by transformation, Journal of the Royal Statistical Society
    B 54 (1992), whose cubic grows everywhere.

    Args:
        statistic: An estimate by its standard error.
        skewness: Of the estimate's distribution.
        bend: How much the square of the statistic counts; a third of the skewness where the
            estimate is a sum.
    """
    bend = skewness / 3 if bend is None else bend
    square = statistic * statistic
    return statistic + bend * square + bend * bend * square * statistic / 3 + skewness / 6


def _bent(straight: float, skewness: float, bend: float | None) -> float:
    """Return the statistic that is straightened to this."""
    bend = skewness / 3 if bend is None else bend
    straight -= skewness / 6
    if abs(bend) < 1e-6:
        return straight - bend * straight * straight
    return (float(np.cbrt(1 + 3 * bend * straight)) - 1) / bend


def _sums(numbers: Floats, of: Units) -> Floats:
    if of.independent:
        sums = np.empty(of.cluster_count)
        sums[of.clusters] = numbers
        return sums
    return np.bincount(of.clusters, numbers, of.cluster_count).astype(np.float64, copy=False)


def counted(numbers: Floats, of: Units) -> Floats:
    """Return what numbers add to sums over the population."""
    return numbers if of.weights is None else numbers * of.weights


def _explained(sides: Floats, shares: Floats, of: Units) -> Floats:
    """Return how much of each cluster's own residual the intercepts of its strata explain."""
    totals = of.candidates + of.baselines
    if of.independent:
        # Of one unit the quotient does not depend on its side.
        return _sums(counted(1 / totals[of.strata], of), of) * (shares > 0)
    if of.stratum_count == 1:
        explained = _sums(sides, of) ** 2 / totals[0]
    else:
        cells, count = compact(of.clusters * of.stratum_count + of.strata)
        sums = np.bincount(cells, sides, count)
        which = np.zeros((2, count), np.int64)
        which[0, cells], which[1, cells] = of.clusters, of.strata
        explained = np.bincount(which[0], sums * sums / totals[which[1]], of.cluster_count)
    squares = sides * sides
    if of.weights is not None:
        squares = squares / of.weights
    squares = _sums(squares, of)
    return np.divide(explained, squares, out=np.zeros_like(explained), where=squares > 0)


def _working(residuals: Floats, pull: Floats, of: Units) -> Floats:
    """Return each cluster's variance if units share a variance between and one within clusters.

    Of each side separately, as Welch does, and in proportion to what residuals of a stratum's side
    are; by the method of moments.
    """
    counts = of.cell_counts
    squares = np.bincount(of.cells, counted(residuals * residuals, of), 2 * of.stratum_count)
    sizes = np.sqrt(squares / np.where(counts > 0, counts, 1))[of.cells]
    scaled = pull * sizes
    if of.independent:
        return _sums(scaled * scaled, of)
    alike = np.divide(residuals, sizes, out=np.zeros_like(sizes), where=sizes > 0)
    variances = np.zeros(of.cluster_count)
    for side, clusters in of.by_side:
        own, pulls, found = clusters, scaled[side], alike[side]
        known = pulls != 0
        if not known.all():
            own, pulls, found = own[known], pulls[known], found[known]
        if not len(own):
            continue
        between = share_between(found, own, of.cluster_count)
        variances += (1 - between) * np.bincount(own, pulls * pulls, of.cluster_count)
        variances += between * np.bincount(own, pulls, of.cluster_count) ** 2
    return variances


def share_between(
    residuals: Floats, clusters: Ints, count: int, sums: npt.NDArray[Any] | None = None
) -> float:
    """Return which share of the residuals' variance is between clusters, from 0 to 1.

    Args:
        residuals: One a unit.
        clusters: From 0 up.
        count: Of clusters.
        sums: Of the clusters' residuals, where they are known.
    """
    sizes = np.bincount(clusters, minlength=count)
    pairs = float((sizes * sizes).sum()) - len(clusters)
    # Not `@`: of as many numbers BLAS starts threads, and waits for them longer than it adds up.
    squares = float((residuals * residuals).sum())
    if pairs <= 0 or squares <= 0:
        return 0.0
    known = np.bincount(clusters, residuals, count) if sums is None else sums
    alike = (float((known * known).sum()) - squares) / pairs
    return min(1.0, max(0.0, alike / (squares / len(clusters))))
