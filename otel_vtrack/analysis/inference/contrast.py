"""The difference of two sides' means and its standard error, for units dependent within clusters.

Most estimates here are such a difference: of values, of successes, of placements among the other
side's values. It is the coefficient of the side in a regression with one intercept per stratum,
which weights strata by n1 n0 / (n1 + n0). Its error allows for any dependence within clusters.
Sources:

- R. M. Bell and D. F. McCaffrey, Bias reduction in standard errors for linear regression with
  multi-stage samples, Survey Methodology 28 (2002): the "CR2" sandwich, which divides each
  cluster's residuals by the root of 1 minus its leverage, and degrees of freedom by
  F. E. Satterthwaite's method. For independent units in one stratum this is Welch's test.
- G. W. Imbens and M. Kolesár, Robust standard errors in small samples: some practical advice,
  Review of Economics and Statistics 98 (2016): the working model of the degrees of freedom, with
  variances within and between clusters estimated from the data.

A cluster's leverage is taken as one number, the Rayleigh quotient of its block of the hat matrix:
exact for clusters within one side or covering both sides evenly, and close otherwise.

Units may have weights: how many members of the population each stands for. Means are then Hájek's,
ratios of weighted sums, and the sandwich is that of weighted least squares, which is their Taylor
linearization: D. A. Binder, On the variances of asymptotically normal estimators from complex
surveys, International Statistical Review 51 (1983). It holds for units sampled independently, each
with probability 1 / weight.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from otel_vtrack.analysis import statistics
from otel_vtrack.analysis.inference import distributions
from otel_vtrack.analysis.statistics import Estimate

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

FEWEST_CLUSTERS: Final = 10
"""Fewest clusters per side with which the tests here keep their level.

With 10 to about 25 clusters of uneven size tests are conservative, those of shares and categories
most of all; with more, the actual level of a 5 % test is 3 to 7 %.
"""
_SKEWNESS_COUNTED: Final = 0.8
"""Share of the skewness that is corrected for when two sides are compared.

For lognormal values, 40 against 600, no correction gives 8.5 % false positives in one direction and
0.5 % in the other, full correction 0.5 % and 2.9 %, and this share 2 % in both.
"""
_NOTHING: Final = 1e-12
"""Numbers below this share of the values' range are rounding errors."""
_WHOLLY: Final = 1 - 1e-9
"""A cluster with higher leverage has no residual to estimate its error from."""
_LEAST_FREEDOM: Final = 0.99
_LARGEST: Final = 1e300


class Pull(NamedTuple):
    """How units contribute to a contrast, whatever was measured.

    Attributes:
        sides: Per unit, 1 for the candidate and 0 for the baseline, minus the stratum's mean.
        pull: Coefficient of each unit's value.
        weighed: What each unit adds to `information`.
        information: Divisor of the sum of values times coefficients.
        leverages: Per cluster, how much of its own residual it explains.
    """

    sides: Floats
    pull: Floats
    weighed: Floats
    information: float
    leverages: Floats


# No slots, for the cached properties: several tests of the same units share them.
@dataclass(frozen=True)
class Units:
    """What a contrast needs to know about units, whatever was measured.

    Attributes:
        clusters: Numbered from 0 without gaps.
        strata: Likewise.
        candidates: Number of the candidate's units in each stratum, by weight.
        baselines: Likewise for the baseline.
        weights: Scaled to a mean of 1; None where they are equal within each side.
        stands_for: How many members of the population a unit stands for on average.
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
        """Stratum and side of each unit as one number; odd for the candidate."""
        return self.strata * 2 + self.is_candidate

    @cached_property
    def cell_counts(self) -> Floats:
        """Number of units in each cell, by weight."""
        counts = np.bincount(self.cells, self.weights, 2 * self.stratum_count)
        return counts.astype(np.float64, copy=False)

    @cached_property
    def by_side(self) -> tuple[tuple[Ints, Ints], tuple[Ints, Ints]]:
        """Indices and clusters of the candidate's units, then of the baseline's."""
        places = np.flatnonzero(self.is_candidate), np.flatnonzero(~self.is_candidate)
        return (places[0], self.clusters[places[0]]), (places[1], self.clusters[places[1]])

    @cached_property
    def pull(self) -> Pull:
        """Contributions where strata have no weights beyond n1 n0 / (n1 + n0)."""
        return _pull(self, np.ones(self.stratum_count))

    @cached_property
    def apart(self) -> "Units":
        """The same units, each in a cluster of its own."""
        count = len(self.is_candidate)
        return replace(self, clusters=np.arange(count), cluster_count=count, independent=True)


@dataclass(frozen=True, slots=True)
class Contrast:
    """Candidate minus baseline.

    Attributes:
        error: The standard error; 0 where values within each side are all equal, None where there
            are too few clusters to estimate it.
        freedom: Degrees of freedom of Student's t; None where the error is 0 or unknown.
        parts: What each cluster adds to the difference; the error is the root of the sum of
            their squares.
        leverages: Per cluster, how much of its own residual it explains.
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
    """Renumber codes from 0 without gaps; return them and how many distinct ones there are."""
    if not len(codes):
        return np.zeros(0, np.int64), 0
    low, high = int(codes.min()), int(codes.max())
    if high - low < 4 * len(codes):
        # Much faster than sorting; most callers' codes are this dense.
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

    Weights that are equal within each side are dropped: they cancel out.
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
    """Return weights scaled to a mean of 1; None if they are equal within each side.

    Args:
        weights: Above 0, one per unit.
        sides: None if there is only one side.
    """
    if weights is None or not len(weights):
        return None
    given = np.asarray(weights, np.float64)
    parts = (given,) if sides is None else (given[sides], given[~sides])
    if all(not len(part) or (part == part[0]).all() for part in parts):
        return None
    return given * (len(given) / float(given.sum()))


def usable(values: Floats) -> bool:
    """Return whether values can be summed without overflow."""
    return bool((np.abs(values) < _LARGEST).all())


def contrast(
    values: Floats,
    of: Units,
    weights: Floats | None = None,
    *,
    skewed: bool = True,
    rare: bool = True,
) -> Contrast | None:
    """Estimate candidate minus baseline; None where no stratum has both sides.

    Args:
        values: One per unit, usable.
        of: The units.
        weights: Of strata, on top of n1 n0 / (n1 + n0).
        skewed: Whether to correct for skewness.
        rare: Whether a side may lack rare values by chance: see `statistics.UNSEEN`.
    """
    if not of.comparable:
        return None
    # Scale, so that squares stay within the range of floats.
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
    # Pairs with equal differences cancel out up to rounding.
    parts[np.abs(parts) <= _NOTHING * float(np.abs(pulled).max())] = 0.0
    parts = parts / np.sqrt(1 - leverages) / information
    if of.independent:
        # A residual's variance is its unit's times 1 minus the leverage.
        residuals = residuals / np.sqrt(1 - leverages)[of.clusters]
    working = _working(residuals, pull, of) / (information * information)
    if rare and (square := float((parts * parts).sum())) > 0:
        alike = _working(residuals, pull, of, together=True) / (information * information)
        if (variance := float(alike.sum())) > statistics.UNSEEN * square:
            parts, working = parts * math.sqrt(variance / square), alike
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
    """Combine clusters' parts into a contrast; the error is unknown if a cluster has no residual.

    Args:
        value: The difference.
        parts: One per cluster.
        leverages: One per cluster.
        working: One per cluster.
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
    """Return the skewness of the difference, and its `imbalance`.

    Shares of the variance are those of values that vary alike on both sides: they depend on the
    numbers of clusters only. Both sides are taken to have the skewness of all values. So a side
    with few clusters borrows it from the other; with equal numbers of clusters it cancels out.
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
    """Return Satterthwaite's degrees of freedom; None if below those of two clusters per side.

    Args:
        working: Variances of the clusters' parts under the working model.
        leverages: Of the clusters; they lower the result from G to G - 1 for G clusters.
    """
    total = float(working.sum())
    if total <= 0 or leverages.max() > _WHOLLY:
        return None
    shares = working / total
    found = 1 / float((shares * shares / (1 - leverages)).sum())
    return found if found >= _LEAST_FREEDOM else None


def combined(one: Contrast, other: Contrast) -> Contrast:
    """Return one contrast minus the other; both must number the same clusters."""
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
    """Estimate with a t interval, corrected for skewness; no bounds if the error is unknown.

    Args:
        value: The estimate.
        found: Its error.
        bend: As in `straightened`.
    """
    if found.error is None:
        return Estimate(value)
    if found.freedom is None:
        return Estimate(value, value, value)
    reach = distributions.student_quantile(found.freedom)
    lower, upper = (_bent(each, found.skewness, bend) * found.error for each in (reach, -reach))
    return Estimate(value, value - lower, value - upper)


def straightened(statistic: float, skewness: float, bend: float | None = None) -> float:
    """Transform a statistic to remove its skewness.

    P. Hall, On the removal of skewness by transformation, Journal of the Royal Statistical Society
    B 54 (1992), whose cubic increases everywhere.

    Args:
        statistic: An estimate divided by its standard error.
        skewness: Of the estimate's distribution.
        bend: Coefficient of the squared statistic; a third of the skewness where the estimate is
            a sum.
    """
    bend = skewness / 3 if bend is None else bend
    square = statistic * statistic
    return statistic + bend * square + bend * bend * square * statistic / 3 + skewness / 6


def _bent(straight: float, skewness: float, bend: float | None) -> float:
    """Return the statistic that `straightened` maps to this value."""
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
    """Return what units contribute to sums over the population."""
    return numbers if of.weights is None else numbers * of.weights


def _explained(sides: Floats, shares: Floats, of: Units) -> Floats:
    """Return how much of each cluster's own residual the intercepts of its strata explain."""
    totals = of.candidates + of.baselines
    if of.independent:
        # For a single unit the quotient does not depend on its side.
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


def _working(residuals: Floats, pull: Floats, of: Units, *, together: bool = False) -> Floats:
    """Return each cluster's variance under a model with variances between and within clusters.

    They are estimated by the method of moments, in proportion to the residuals of each stratum and
    side: for each side separately, as Welch does, or for both together, as if they varied alike.
    """
    cells = of.strata if together else of.cells
    counts = np.bincount(cells, of.weights, 2 * of.stratum_count)
    squares = np.bincount(cells, counted(residuals * residuals, of), 2 * of.stratum_count)
    sizes = np.sqrt(squares / np.where(counts > 0, counts, 1))[cells]
    scaled = pull * sizes
    if of.independent:
        return _sums(scaled * scaled, of)
    alike = np.divide(residuals, sizes, out=np.zeros_like(sizes), where=sizes > 0)
    variances = np.zeros(of.cluster_count)
    for places, clusters in ((slice(None), of.clusters),) if together else of.by_side:
        own, pulls, found = clusters, scaled[places], alike[places]
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
    """Return the share of the residuals' variance that lies between clusters, from 0 to 1.

    Args:
        residuals: One per unit.
        clusters: Numbered from 0.
        count: Number of clusters.
        sums: Sums of the residuals per cluster, if already computed.
    """
    sizes = np.bincount(clusters, minlength=count)
    pairs = float((sizes * sizes).sum()) - len(clusters)
    # Not `@`: for arrays this long BLAS starts threads, and waiting for them takes longer.
    squares = float((residuals * residuals).sum())
    if pairs <= 0 or squares <= 0:
        return 0.0
    known = np.bincount(clusters, residuals, count) if sums is None else sums
    alike = (float((known * known).sum()) - squares) / pairs
    return min(1.0, max(0.0, alike / (squares / len(clusters))))
