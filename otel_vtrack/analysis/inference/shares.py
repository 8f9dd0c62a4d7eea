"""Test the difference of two shares, including rare and clustered successes.

Sources, beyond those of `contrast`:

- J. N. K. Rao and A. J. Scott, A simple method for the analysis of clustered binary data,
  Biometrics 48 (1992): counts divided by the design effect can be treated as independent ones.
- E. L. Korn and B. I. Graubard, Confidence intervals for proportions with small expected number
  of positive counts estimated from survey data, Survey Methodology 24 (1998): the same for
  intervals, with the degrees of freedom of the error.
- N. Mantel and W. Haenszel, Statistical aspects of the analysis of data from retrospective
  studies of disease, Journal of the National Cancer Institute 22 (1959): the stratified test; with
  one stratum, E. S. Pearson's chi-square with N - 1 (I. Campbell, Statistics in Medicine 26, 2007).
- R. G. Newcombe, Interval estimation for the difference between independent proportions,
  Statistics in Medicine 17 (1998), method 10.
- W. G. Cochran, Some methods for strengthening the common chi-square tests, Biometrics 10 (1954):
  no normal approximation where an expected count is below 5.
"""

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from otel_vtrack.analysis import statistics
from otel_vtrack.analysis.inference import contrast as contrasts
from otel_vtrack.analysis.inference import distributions, exact
from otel_vtrack.analysis.inference.contrast import Floats, Units
from otel_vtrack.analysis.inference.tested import UNTESTED, Tested, named
from otel_vtrack.analysis.statistics import Estimate

_LEAST_EXPECTED: Final = 5
_Array = npt.NDArray[Any]


def proportions(
    successes: _Array,
    is_candidate: _Array,
    clusters: _Array,
    strata: _Array | None = None,
    weights: _Array | None = None,
    *,
    of: Units | None = None,
) -> Tested:
    """Test the difference of two shares; stratum weights are n1 n0 / (n1 + n0)."""
    values = np.asarray(successes, np.float64)
    of = of or contrasts.units(is_candidate, clusters, strata, weights)
    found = contrasts.contrast(values, of, skewed=False, rare=False)
    if found is None:
        return UNTESTED
    if found.error is None and not of.independent:
        return Tested(Estimate(found.value), None, None, None, None, "")
    hits = np.bincount(of.cells, contrasts.counted(values, of), 2 * of.stratum_count)
    both = (of.candidates > 0) & (of.baselines > 0)
    ones, zeros = hits[1::2][both], hits[0::2][both]
    candidates, baselines = of.candidates[both], of.baselines[both]
    totals = candidates + baselines
    shares = candidates * baselines / totals
    shares = shares / shares.sum()
    pooled = (ones + zeros) / totals
    variances = shares**2 * pooled * (1 - pooled)
    # Given its margins, a table varies slightly more; weighted margins are not counts.
    margins = totals / (totals - 1) if of.weights is None else 1.0
    variance = float((variances * (1 / candidates + 1 / baselines) * margins).sum())
    effect, freedom = _design(values, of, found)
    if of.weights is not None:
        apart = (np.array([ones, zeros], np.float64), np.array([candidates, baselines]), shares)
        effect, freedom = _weighted_design(of, found, apart)
    stratified = len(totals) > 1
    table = np.array([ones, candidates - ones, zeros, baselines - zeros], np.float64)
    expected = float(np.minimum(candidates, baselines) @ (np.minimum(pooled, 1 - pooled)))
    few = variance <= 0 or expected / effect < _LEAST_EXPECTED
    is_exact = few and of.weights is None
    name = named("", "cluster-robust ", of) + _names(stratified, exact=is_exact)
    error = math.sqrt(variance * effect)
    if variance <= 0:
        # All failed or none did.
        statistic, p_value, freedom = 0.0, 1.0, None
    elif is_exact:
        chance = exact.mantel_haenszel(table)
        statistic, p_value = _deflated(chance, found.value, effect, freedom)
    else:
        if few:
            # No exact test is known for weights. With the error of equal shares, one failure too
            # many would often be significant; with that of the found ones, one too few.
            error = max(error, found.error or 0.0)
        statistic = found.value / error
        p_value = distributions.student_both(statistic, freedom)
    estimate = _interval(
        (float(shares @ (ones / candidates)), float(shares @ (zeros / baselines))),
        (
            _effective(shares, pooled, candidates) / effect,
            _effective(shares, pooled, baselines) / effect,
        ),
        freedom,
    )
    return Tested(
        Estimate(found.value, estimate.lower, estimate.upper),
        error,
        statistic,
        p_value,
        freedom,
        name,
    )


def _deflated(
    p_value: float, value: float, effect: float, freedom: float | None
) -> tuple[float | None, float]:
    """Return an exact test's statistic and p-value as if counts were divided by the design effect.

    The p-value's normal deviate is divided by the root of the design effect, as the statistic of a
    normal test would be.
    """
    if effect <= 1 and freedom is None:
        return None, p_value
    deviate = -float(distributions.special().ndtri(max(1e-300, p_value / 2)))
    statistic = deviate / math.sqrt(effect)
    return math.copysign(statistic, value), distributions.student_both(statistic, freedom)


def _names(stratified: bool, *, exact: bool) -> str:
    if stratified:
        return "exact Mantel-Haenszel" if exact else "Mantel-Haenszel"
    return "Fisher exact" if exact else "two-proportion z"


def _design(values: Floats, of: Units, found: contrasts.Contrast) -> tuple[float, float | None]:
    """Return the design effect of clustering and its degrees of freedom."""
    if of.independent:
        return 1.0, None
    alone = contrasts.contrast(values, of.apart, skewed=False, rare=False)
    if alone is None or not alone.error or not found.error:
        # All succeeded or all failed: assume the worst, that units of a cluster always agree.
        return len(values) / of.cluster_count, found.freedom
    return max(1.0, (found.error / alone.error) ** 2), found.freedom


def _weighted_design(
    of: Units, found: contrasts.Contrast, table: tuple[Floats, Floats, Floats]
) -> tuple[float, float | None]:
    """Return the design effect of weights and clusters, and its degrees of freedom.

    It is below 1 where rare outcomes were sampled more densely, but never so low that the effective
    sample exceeds the population. If all succeeded or all failed, it is by L. Kish, Survey Sampling
    (1965), 11.7.

    Args:
        of: The units.
        found: Their contrast.
        table: Successes and sizes per stratum, the candidate's first, and the strata's shares.
    """
    hits, sizes, shares = table
    rates = hits / sizes
    alone = float((shares**2 * (rates * (1 - rates) / sizes).sum(axis=0)).sum())
    total = len(of.is_candidate)
    if alone <= 0 or not found.error:
        sums = np.bincount(of.clusters, of.weights, of.cluster_count)
        return max(1.0, float((sums * sums).sum()) / total), found.freedom
    return max(1 / of.stands_for, found.error**2 / alone), found.freedom


def _effective(shares: Floats, pooled: Floats, counts: Floats) -> float:
    """Return the effective sample size of a stratum-weighted share."""
    variance = float((shares**2 * pooled * (1 - pooled) / counts).sum())
    middle = float(shares @ pooled)
    if variance <= 0:
        return 1 / float((shares**2 / counts).sum())
    return middle * (1 - middle) / variance


def _interval(
    shares: tuple[float, float], counts: tuple[float, float], freedom: float | None
) -> Estimate:
    scale = 1.0
    if freedom is not None:
        scale = (statistics.Z / distributions.student_quantile(freedom)) ** 2
    candidate, baseline = (
        statistics.wilson(share, count * scale) for share, count in zip(shares, counts, strict=True)
    )
    return statistics.difference(baseline, candidate) or Estimate(0.0)
