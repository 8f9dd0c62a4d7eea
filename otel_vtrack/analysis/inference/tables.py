"""Test whether two sides have the same shares of categories.

Sources:

- J. N. K. Rao and A. J. Scott, The analysis of categorical data from complex sample surveys,
  Journal of the American Statistical Association 76 (1981), and On chi-squared tests for multiway
  contingency tables with cell proportions estimated from survey data, Annals of Statistics 12
  (1984): chi-square divided by the mean design effect, with Satterthwaite's degrees of freedom.
- W. Bergsma, A bias-correction for Cramér's V and Tschuprow's T, Journal of the Korean
  Statistical Society 42 (2013): what chance adds. The rest is divided by what chance leaves.
- J. R. Landis, E. R. Heyman and G. G. Koch, Average partial association in three-way contingency
  tables: a review and discussion of alternative tests, International Statistical Review 46 (1978):
  the stratified test, Mantel and Haenszel's for more than two categories.
- D. R. Thomas and J. N. K. Rao, Small-sample comparisons of level and power for simple
  goodness-of-fit statistics under cluster sampling, Journal of the American Statistical
  Association 82 (1987): its F distribution for dependent units.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from otel_vtrack.analysis.inference import contrast as contrasts
from otel_vtrack.analysis.inference import distributions
from otel_vtrack.analysis.inference.contrast import Floats, Ints
from otel_vtrack.analysis.inference.tested import UNTESTED, Tested, named
from otel_vtrack.analysis.statistics import Estimate

_LEAST_EXPECTED: Final = 1.0
"""Levels with a lower expected count on a side are merged."""
_LEAST_GROUPS: Final = 0.99
_MOST_LEVELS: Final = 50
"""Most levels in a stratified test; the rarest are merged."""
_Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Mix:
    """How much the sides differ in their shares of a dimension's levels.

    Attributes:
        p_value: None if a side is empty.
        cramers_v: From 0 (no more than by chance) to 1 (nothing in common); None likewise.
    """

    p_value: float | None
    cramers_v: float | None


@dataclass(frozen=True, slots=True)
class _Design:
    """How clusters affect chi-square.

    Attributes:
        effect: The mean design effect.
        freedom: Satterthwaite's degrees of freedom.
        groups: The number of equal clusters that would estimate the effect as precisely.
        stretch: Factor for the deviation of chi-square from its mean. It varies less than its
            degrees of freedom imply where levels have few clusters each; 0 where they have one,
            which is uninformative.
    """

    effect: float
    freedom: float
    groups: float
    stretch: float


def mix(
    codes: _Array,
    is_candidate: _Array,
    clusters: _Array,
    weights: _Array | None = None,
    *,
    of: contrasts.Units | None = None,
) -> Mix:
    """Test whether both sides have the same mix of levels (routes, models, users)."""
    found = categories(codes, is_candidate, clusters, weights=weights, of=of)
    if found.estimate is None:
        return Mix(None, None)
    return Mix(found.p_value, found.estimate.value)


def categories(
    codes: _Array,
    is_candidate: _Array,
    clusters: _Array,
    strata: _Array | None = None,
    weights: _Array | None = None,
    *,
    of: contrasts.Units | None = None,
) -> Tested:
    """Test whether shares of categories are the same on both sides.

    The estimate is Cramér's V, without bounds: 0 if sides differ no more than by chance, 1 if they
    have nothing in common. The statistic is chi-square divided by the clusters' design effect; with
    strata it sums the differences within them.
    """
    of = of or contrasts.units(is_candidate, clusters, strata, weights)
    if not of.comparable:
        return UNTESTED
    levels, count = contrasts.compact(np.asarray(codes))
    if of.stratum_count > 1:
        return _over_strata(levels, count, of)
    total = len(levels)
    candidates, baselines = float(of.candidates[0]), float(of.baselines[0])
    levels, count = _gathered(levels, count, min(candidates, baselines) / total)
    if count < 2:
        return Tested(Estimate(0.0), None, 0.0, 1.0, None, _name(of))
    side = of.is_candidate
    shares, ones, zeros = (
        np.bincount(levels[which], None if of.weights is None else of.weights[which], count) / size
        for which, size in ((slice(None), total), (side, candidates), (~side, baselines))
    )
    harmonic = candidates * baselines / total
    chi_square = harmonic * float(((ones - zeros) ** 2 / shares).sum())
    design = _Design(1.0, count - 1.0, math.inf, 1.0)
    if not of.independent or of.weights is not None:
        design = _design(levels, shares, of, harmonic)
    statistic = chi_square / design.effect
    cramers_v = _cramers_v(chi_square, design.effect, count, total)
    if design.groups < _LEAST_GROUPS:
        return Tested(Estimate(cramers_v), None, None, None, None, "")
    ratio = max(0.0, 1 + (statistic / (count - 1) - 1) * design.stretch)
    p_value = 1.0
    if design.stretch > 0:
        p_value = distributions.f_above(ratio, design.freedom, design.groups * design.freedom)
    return Tested(
        Estimate(cramers_v),
        None,
        statistic,
        p_value,
        design.freedom,
        _name(of),
    )


def _cramers_v(chi_square: float, effect: float, count: int, total: float) -> float:
    chance = min(1.0, effect * (count - 1) / max(1, total - 1))
    excess = (chi_square / total - chance) / (1 - chance) if chance < 1 else 0.0
    return math.sqrt(min(1.0, max(0.0, excess)))


def _over_strata(levels: Ints, count: int, of: contrasts.Units) -> Tested:
    """Test the sums over strata of observed minus expected counts.

    They and their covariances omit the last level, which follows from the others.
    """
    both = (of.candidates > 0) & (of.baselines > 0)
    shared = both[of.strata]
    weights = np.ones(len(shared)) if of.weights is None else of.weights
    levels, weights, side = levels[shared], weights[shared], of.is_candidate[shared]
    strata, stratum_count = contrasts.compact(of.strata[shared])
    clusters, cluster_count = contrasts.compact(of.clusters[shared])
    candidates, baselines = of.candidates[both], of.baselines[both]
    totals = candidates + baselines
    levels, count = contrasts.compact(levels)
    lesser = float(np.minimum(candidates, baselines).sum()) / float(totals.sum())
    levels, count = _gathered(levels, count, lesser)
    if count > _MOST_LEVELS:
        rank = np.argsort(np.argsort(-np.bincount(levels, minlength=count), kind="stable"))
        levels, count = contrasts.compact(np.minimum(rank, _MOST_LEVELS - 1)[levels])
    name = "generalized Mantel-Haenszel chi-square"
    name = named(name, f"Rao-Scott {name}", of)
    if count < 2:
        return Tested(Estimate(0.0), None, 0.0, 1.0, None, name)
    cells = np.bincount(strata * count + levels, weights, stratum_count * count)
    shares = cells.reshape(stratum_count, count) / totals[:, None]
    pull = weights * (side - (candidates / totals)[strata])
    apart = np.bincount(levels, pull, count)[:-1]
    spread = candidates * baselines / np.maximum(1.0, totals - 1)
    expected = np.diag(spread @ shares) - (shares * spread[:, None]).T @ shares
    inverse = np.linalg.pinv(expected[:-1, :-1], hermitian=True)
    chi_square = float(apart @ inverse @ apart)
    total = float(totals.sum())
    freedom = float(count - 1)
    if of.independent and of.weights is None:
        return Tested(
            Estimate(_cramers_v(chi_square, 1.0, count, total)),
            None,
            chi_square,
            distributions.chi_square_above(chi_square, freedom),
            freedom,
            name,
        )
    sums = np.zeros((cluster_count, count))
    np.add.at(sums, (clusters, levels), pull)
    # Subtract what was expected: the strata's shares times the cluster's pull in each stratum.
    pulls = np.bincount(clusters * stratum_count + strata, pull, cluster_count * stratum_count)
    sums -= pulls.reshape(cluster_count, stratum_count) @ shares
    sums = sums[:, :-1]
    ratios = inverse @ (sums.T @ sums)
    trace, squares = float(np.trace(ratios)), float((ratios * ratios.T).sum())
    parts = np.bincount(clusters, pull * pull, cluster_count)
    parts = parts / float(parts.sum())
    groups = 1 / float((parts * parts).sum()) - 1
    effect = trace / freedom
    if trace <= 0 or squares <= 0 or groups < _LEAST_GROUPS:
        return Tested(Estimate(0.0), None, None, None, None, "")
    freedom = trace * trace / squares
    return Tested(
        Estimate(_cramers_v(chi_square, effect, count, total)),
        None,
        chi_square / effect,
        distributions.f_above(chi_square / trace, freedom, groups * freedom),
        freedom,
        name,
    )


def _name(of: contrasts.Units) -> str:
    return named("chi-square", "Rao-Scott chi-square", of)


def _gathered(levels: Ints, count: int, share: float) -> tuple[Ints, int]:
    """Merge levels whose expected count on the smaller side is too low."""
    rare = np.bincount(levels, minlength=count) * share < _LEAST_EXPECTED
    if not rare.any():
        return levels, count
    return contrasts.compact(np.where(rare, count, np.arange(count))[levels])


def _design(levels: Ints, shares: Floats, of: contrasts.Units, harmonic: float) -> _Design:
    from scipy import sparse  # noqa: PLC0415 - slow to load

    count = len(shares)
    pull = np.where(of.is_candidate, 1 / of.candidates[0], -1 / of.baselines[0])
    squares = np.bincount(of.clusters, contrasts.counted(pull * pull, of), of.cluster_count)
    pull = contrasts.counted(pull, of)
    sums = np.bincount(of.clusters, pull, of.cluster_count)
    # Leverages of the clusters: these in the sides' difference, in `scale` in the pooled shares.
    leverages = np.minimum(1 - 1e-12, squares * harmonic)
    parts = squares * harmonic
    if of.weights is not None:
        parts = np.bincount(of.clusters, pull * pull, of.cluster_count)
        parts = parts / float(parts.sum())
    groups = 1 / float((parts**2 / (1 - leverages)).sum())
    scale = np.sqrt(harmonic / np.maximum(1e-12, 1 - sums * sums / squares / len(levels)))
    # Residuals are indicators minus pooled shares, so their covariance is that of the indicators
    # plus three rank-one terms. Everything is divided by the roots of the pooled shares.
    roots = np.sqrt(shares)
    matrix = sparse.csr_array(
        (pull * scale[of.clusters] / roots[levels], (of.clusters, levels)),
        shape=(of.cluster_count, count),
    )
    matrix.sum_duplicates()
    sums *= scale
    indicators = matrix.T @ matrix
    cross = matrix.T @ sums
    square, along = float((sums * sums).sum()), float(roots @ cross)
    lengths = np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel() - sums * sums
    trace = float(lengths.sum())
    by_roots = indicators @ roots
    squared = (
        float((indicators.data**2).sum())
        + 2 * (float(cross @ cross) + along**2)
        + square**2
        - 4 * square * along
        - 4 * float(by_roots @ cross)
        + 2 * square * float(roots @ by_roots)
    )
    # A cluster's product with itself carries no information on how clusters add up.
    squared -= float((lengths * lengths).sum())
    if trace <= 0 or groups < _LEAST_GROUPS:
        return _Design(1.0, count - 1.0, 0.0, 1.0)
    if squared <= 1e-9 * trace * trace / count:
        # No two clusters have anything in common.
        return _Design(trace / (count - 1), count - 1.0, groups, 0.0)
    share = lengths / trace
    freedom = trace * trace / squared * max(1e-12, 1 - float((share * share).sum()))
    freedom = min(count - 1.0, max(1.0, freedom))
    stretch = trace / math.sqrt(freedom * squared)
    return _Design(trace / (count - 1), freedom, groups, stretch)
