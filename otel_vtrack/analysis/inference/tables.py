"""Tests whether two sides have the same shares of categories.

Sources:

- J. N. K. Rao and A. J. Scott, The analysis of categorical data from complex sample surveys,
  Journal of the American Statistical Association 76 (1981), and On chi-squared tests for multiway
  contingency tables with cell proportions estimated from survey data, Annals of Statistics 12
  (1984): chi-square divided by the mean design effect, with Satterthwaite's degrees of freedom.
- W. Bergsma, A bias-correction for Cramér's V and Tschuprow's T, Journal of the Korean
  Statistical Society 42 (2013).
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
_Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Mix:
    """How far apart the sides' shares of a dimension's levels are.

    Attributes:
        p_value: None if a side is empty.
        cramers_v: From 0 (the same) to 1 (nothing in common), less what chance alone would give;
            None likewise.
    """

    p_value: float | None
    cramers_v: float | None


def mix(codes: _Array, is_candidate: _Array, clusters: _Array) -> Mix:
    """Test whether both sides saw the same mix of levels (routes, models, users)."""
    found = categories(codes, is_candidate, clusters)
    if found.estimate is None:
        return Mix(None, None)
    return Mix(found.p_value, found.estimate.value)


def categories(codes: _Array, is_candidate: _Array, clusters: _Array) -> Tested:
    """Test whether shares of categories are the same on both sides.

    The estimate is Cramér's V, less what chance alone would give, without bounds; the statistic is
    chi-square divided by the design effect of the clusters.
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
    effect, freedom, groups = 1.0, count - 1.0, math.inf
    if not of.independent:
        effect, freedom, groups = _design(levels, shares, of, harmonic)
    statistic = chi_square / effect
    excess = max(0.0, chi_square / total - effect * (count - 1) / max(1, total - 1))
    cramers_v = min(1.0, math.sqrt(excess))
    if groups < 1:
        return Tested(Estimate(cramers_v), None, None, None, None, "")
    p_value = distributions.f_above(statistic / (count - 1), freedom, groups * freedom)
    return Tested(
        Estimate(cramers_v),
        None,
        statistic,
        p_value,
        freedom,
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


def _design(
    levels: Ints, shares: Floats, of: contrasts.Units, harmonic: float
) -> tuple[float, float, float]:
    """Return the mean design effect, Satterthwaite's freedom and the freedom of the error."""
    from scipy import sparse  # noqa: PLC0415 - slow to load

    count = len(shares)
    pull = np.where(of.is_candidate, 1 / of.candidates[0], -1 / of.baselines[0])
    matrix = sparse.csr_array((pull, (of.clusters, levels)), shape=(of.cluster_count, count))
    matrix.sum_duplicates()
    sums = np.bincount(of.clusters, pull, of.cluster_count)
    sizes = np.bincount(of.clusters, pull * pull, of.cluster_count)
    leverages = np.minimum(1 - 1e-12, sizes * harmonic)
    effective = 1 / float(((sizes * harmonic) ** 2 / (1 - leverages)).sum())
    scaled = sparse.diags_array(1 / np.sqrt(1 - leverages)) @ matrix
    sums = sums / np.sqrt(1 - leverages)
    # Residuals are indicators less pooled shares, so that their covariance is that of the
    # indicators and three terms of rank one.
    roots = np.sqrt(shares)
    indicators = (scaled.T @ scaled) * harmonic
    indicators = sparse.diags_array(1 / roots) @ indicators @ sparse.diags_array(1 / roots)
    cross = (scaled.T @ sums) * harmonic / roots
    square = float(sums @ sums) * harmonic
    trace = float(indicators.diagonal().sum()) - 2 * float(roots @ cross) + square
    by_roots = indicators @ roots
    low_rank = (
        2 * (float(cross @ cross) + float(roots @ cross) ** 2)
        + square**2
        - 4 * square * float(roots @ cross)
    )
    both = -2 * float(by_roots @ cross) + square * float(roots @ by_roots)
    squares = float((indicators.data**2).sum()) + low_rank + 2 * both
    if trace <= 0 or squares <= 0:
        return 1.0, count - 1.0, 0.0
    return trace / (count - 1), trace * trace / squares, effective
