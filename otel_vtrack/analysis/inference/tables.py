"""Tests whether two sides have the same shares of categories.

Sources:

- J. N. K. Rao and A. J. Scott, The analysis of categorical data from complex sample surveys,
  Journal of the American Statistical Association 76 (1981), and On chi-squared tests for multiway
  contingency tables with cell proportions estimated from survey data, Annals of Statistics 12
  (1984): chi-square divided by the mean design effect, with Satterthwaite's degrees of freedom.
- W. Bergsma, A bias-correction for Cramér's V and Tschuprow's T, Journal of the Korean
  Statistical Society 42 (2013): what chance adds. The rest is taken as a share of what is left.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from otel_vtrack.analysis.inference import contrast as contrasts
from otel_vtrack.analysis.inference import distributions
from otel_vtrack.analysis.inference.contrast import Floats, Ints
from otel_vtrack.analysis.inference.tested import UNTESTED, Tested
from otel_vtrack.analysis.statistics import Estimate

_LEAST_EXPECTED: Final = 1.0
"""Levels of which fewer are expected on a side are taken together."""
_LEAST_GROUPS: Final = 0.99
_Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Mix:
    """How far apart the sides' shares of a dimension's levels are.

    Attributes:
        p_value: None if a side is empty.
        cramers_v: From 0 (no farther apart than by chance) to 1 (nothing in common); None likewise.
    """

    p_value: float | None
    cramers_v: float | None


@dataclass(frozen=True, slots=True)
class _Design:
    """What clusters do to chi-square.

    Attributes:
        effect: The mean design effect.
        freedom: Satterthwaite's.
        groups: How many clusters the effect is as sure of as it would be of as many even ones.
        stretch: By how much chi-square varies less about its mean than its freedom says, as it
            does where levels have few clusters each; 0 where they have one, which tells nothing.
    """

    effect: float
    freedom: float
    groups: float
    stretch: float


def mix(codes: _Array, is_candidate: _Array, clusters: _Array) -> Mix:
    """Test whether both sides saw the same mix of levels (routes, models, users)."""
    found = categories(codes, is_candidate, clusters)
    if found.estimate is None:
        return Mix(None, None)
    return Mix(found.p_value, found.estimate.value)


def categories(codes: _Array, is_candidate: _Array, clusters: _Array) -> Tested:
    """Test whether shares of categories are the same on both sides.

    The estimate is Cramér's V, without bounds: 0 if no farther apart than chance alone would put
    them, 1 if they have nothing in common. The statistic is chi-square divided by the design effect
    of the clusters.
    """
    of = contrasts.units(is_candidate, clusters)
    if not of.comparable:
        return UNTESTED
    levels, count = contrasts.compact(np.asarray(codes))
    total = len(levels)
    candidates, baselines = float(of.candidates[0]), float(of.baselines[0])
    levels, count = _gathered(levels, count, min(candidates, baselines) / total)
    if count < 2:
        return Tested(Estimate(0.0), None, 0.0, 1.0, None, _name(independent=of.independent))
    shares = np.bincount(levels, minlength=count) / total
    ones = np.bincount(levels[of.is_candidate], minlength=count) / candidates
    zeros = np.bincount(levels[~of.is_candidate], minlength=count) / baselines
    harmonic = candidates * baselines / total
    chi_square = harmonic * float(((ones - zeros) ** 2 / shares).sum())
    design = _Design(1.0, count - 1.0, math.inf, 1.0)
    if not of.independent:
        design = _design(levels, shares, of, harmonic)
    statistic = chi_square / design.effect
    chance = min(1.0, design.effect * (count - 1) / max(1, total - 1))
    excess = (chi_square / total - chance) / (1 - chance) if chance < 1 else 0.0
    cramers_v = math.sqrt(min(1.0, max(0.0, excess)))
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
        _name(independent=of.independent),
    )


def _name(*, independent: bool) -> str:
    return "chi-square" if independent else "Rao-Scott chi-square"


def _gathered(levels: Ints, count: int, share: float) -> tuple[Ints, int]:
    """Make one level of those that are too rare, by what is expected of them on the lesser side."""
    rare = np.bincount(levels, minlength=count) * share < _LEAST_EXPECTED
    if not rare.any():
        return levels, count
    return contrasts.compact(np.where(rare, count, np.arange(count))[levels])


def _design(levels: Ints, shares: Floats, of: contrasts.Units, harmonic: float) -> _Design:
    from scipy import sparse  # noqa: PLC0415 - slow to load

    count = len(shares)
    pull = np.where(of.is_candidate, 1 / of.candidates[0], -1 / of.baselines[0])
    sums = np.bincount(of.clusters, pull, of.cluster_count)
    squares = np.bincount(of.clusters, pull * pull, of.cluster_count)
    # Of the clusters in the difference of the sides, and in the pooled shares.
    leverages = np.minimum(1 - 1e-12, squares * harmonic)
    groups = 1 / float(((squares * harmonic) ** 2 / (1 - leverages)).sum())
    scale = np.sqrt(harmonic / np.maximum(1e-12, 1 - sums * sums / squares / len(levels)))
    # Residuals are indicators less pooled shares, so that their covariance is that of the
    # indicators and three terms of rank one. Everything is in units of the pooled shares' roots.
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
    # A cluster's product with itself says nothing of how all of them may add up.
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
