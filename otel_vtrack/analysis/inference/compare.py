"""Tests of two sides: ranks, means, ratios, shares, categories, and whether effects differ.

A caller that runs several tests on the same units passes them as `of`, which replaces the columns
that `contrast.units` builds it from.

Sources, beyond those of `contrast`:

- A. Vargha and H. D. Delaney, A critique and improvement of the CL common language effect size
  statistics of McGraw and Wong, Journal of Educational and Behavioral Statistics 25 (2000): the
  effect size of `superiority`.
- E. Brunner and U. Munzel, The nonparametric Behrens-Fisher problem: asymptotic theory and a
  small-sample approximation, Biometrical Journal 42 (2000): its test for independent units.
- N. A. Obuchowski, Nonparametric analysis of clustered ROC curve data, Biometrics 53 (1997): its
  standard error for clustered units.
- P. van Elteren, On the combination of independent two-sample tests of Wilcoxon, Bulletin of the
  International Statistical Institute 37 (1960): its stratum weights.
- A. Deng, U. Knoblich and J. Lu, Applying the delta method in metric analytics, KDD 2018: the
  standard error of a relative change.
- W. G. Cochran, The combination of estimates from different experiments, Biometrics 10 (1954),
  and B. L. Welch, On the comparison of several mean values, Biometrika 38 (1951): the tests of
  `heterogeneity`.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from otel_vtrack.analysis import statistics
from otel_vtrack.analysis.inference import contrast as contrasts
from otel_vtrack.analysis.inference import distributions
from otel_vtrack.analysis.inference.contrast import Contrast, Floats, Units
from otel_vtrack.analysis.inference.ranks import placements
from otel_vtrack.analysis.inference.shares import proportions
from otel_vtrack.analysis.inference.tables import Mix, categories, mix
from otel_vtrack.analysis.inference.tested import UNTESTED, Tested, named, student
from otel_vtrack.analysis.inference.tested import clusters as clusters_of
from otel_vtrack.analysis.statistics import Estimate

__all__ = [
    "Mix",
    "Tested",
    "categories",
    "heterogeneity",
    "interaction",
    "means",
    "mix",
    "proportions",
    "ratio_of_means",
    "superiority",
]

_Array = npt.NDArray[Any]


def superiority(
    values: _Array,
    is_candidate: _Array,
    clusters: _Array,
    strata: _Array | None = None,
    weights: _Array | None = None,
    *,
    of: Units | None = None,
) -> Tested:
    """Test whether the candidate's values rank higher, whatever their distribution.

    The estimate is the share of pairs in which the candidate's value is greater, with ties counted
    as half. The null hypothesis is that it is 0.5, not that the distributions are equal.
    """
    values = np.asarray(values, np.float64)
    of = of or contrasts.units(is_candidate, clusters, strata, weights)
    if not of.comparable:
        return UNTESTED
    placed = placements(values, of)
    # The placements of each side contain the whole effect, so the difference of the sides' means
    # would count it twice. Subtracting half of each cell's mean leaves it once.
    cells, counts = of.cells, of.cell_counts
    sums = np.bincount(cells, contrasts.counted(placed, of), 2 * of.stratum_count)
    middles = sums / np.where(counts > 0, counts, 1)
    totals = of.candidates + of.baselines
    found = contrasts.contrast(placed - middles[cells] / 2, of, totals / (totals + 1), skewed=False)
    if found is None:
        return UNTESTED
    share = min(1.0, max(0.0, round(found.value + 0.5, 12)))
    statistic, p_value = student(found.value, found, [of])
    return Tested(
        _share(share, found, of),
        found.error,
        statistic,
        p_value,
        found.freedom,
        _named("Brunner-Munzel", "Obuchowski", "van Elteren", of),
    )


def means(
    values: _Array,
    is_candidate: _Array,
    clusters: _Array,
    strata: _Array | None = None,
    weights: _Array | None = None,
    *,
    of: Units | None = None,
) -> Tested:
    """Test the difference of means; with strata, each has its own intercept (fixed effects)."""
    values = np.asarray(values, np.float64)
    of = of or contrasts.units(is_candidate, clusters, strata, weights)
    found = contrasts.contrast(values, of) if contrasts.usable(values) else None
    if found is None:
        return UNTESTED
    return _tested(found, of, _named("Welch t", "cluster-robust t", "fixed effects t", of))


def ratio_of_means(
    values: _Array,
    is_candidate: _Array,
    clusters: _Array,
    strata: _Array | None = None,
    weights: _Array | None = None,
    *,
    of: Units | None = None,
) -> Tested:
    """Test the candidate's mean relative to the baseline's; the estimate is the ratio minus 1.

    The error, the statistic and the interval are computed on the log scale; the interval is then
    transformed back. With strata, both means use stratum weights n1 n0 / (n1 + n0). Untested unless
    both means are above 0.
    """
    values = np.asarray(values, np.float64)
    if not contrasts.usable(values):
        return UNTESTED
    of = of or contrasts.units(is_candidate, clusters, strata, weights)
    if not of.comparable:
        return UNTESTED
    candidate, baseline = weighed_means(values, of)
    if not (0 < candidate < math.inf and 0 < baseline < math.inf):
        return UNTESTED
    relative = values / np.where(of.is_candidate, candidate, baseline)
    found = contrasts.contrast(relative, of) if contrasts.usable(relative) else None
    if found is None:
        return UNTESTED
    if not found.error and min(clusters_of(of)) < 2 and (values != values[0]).any():
        found = replace(found, error=None)
    log = math.log(candidate) - math.log(baseline)
    log = 0.0 if abs(log) < 1e-12 else log
    bend = found.skewness / 3
    if found.error:
        bend -= found.imbalance * found.error / 2
    statistic, p_value = student(log, found, [of], bend)
    bounds = contrasts.interval(log, found, bend)
    return Tested(
        Estimate(math.expm1(log), statistics.expm1(bounds.lower), statistics.expm1(bounds.upper)),
        found.error,
        statistic,
        p_value,
        found.freedom,
        _named("ratio t", "cluster-robust ratio t", "stratified ratio t", of),
    )


def interaction(  # noqa: PLR0917 - the columns that all tests take, and one
    values: _Array,
    is_candidate: _Array,
    group: _Array,
    clusters: _Array,
    strata: _Array | None = None,
    weights: _Array | None = None,
) -> Tested:
    """Test whether the difference of means in the group differs from the one outside it.

    The estimate is the difference inside minus the one outside.
    """
    inside = np.asarray(group, np.bool_)
    values = np.asarray(values, np.float64)
    if not contrasts.usable(values):
        return UNTESTED
    numbered, cluster_count = contrasts.compact(np.asarray(clusters))
    sides = np.asarray(is_candidate, np.bool_)
    found: list[Contrast] = []
    ofs: list[Units] = []
    for which in (inside, ~inside):
        if not which.any():
            return UNTESTED
        of = contrasts.units(
            sides[which],
            numbered[which],
            None if strata is None else strata[which],
            None if weights is None else weights[which],
        )
        part = contrasts.contrast(values[which], of)
        if part is None:
            return UNTESTED
        ofs.append(of)
        found.append(_spread(part, numbered[which], cluster_count))
    both = contrasts.combined(*found)
    statistic, p_value = student(both.value, both, ofs)
    return Tested(
        contrasts.interval(both.value, both),
        both.error,
        statistic,
        p_value,
        both.freedom,
        "interaction t",
    )


def heterogeneity(
    differences: Sequence[float] | Floats,
    standard_errors: Sequence[float] | Floats,
    freedoms: Sequence[float | None] | None = None,
) -> float | None:
    """Return the p-value for all differences being the same; None for fewer than two.

    The test is Cochran's Q or, if the errors' degrees of freedom are given, Welch's, which also
    holds for strata with few clusters. Differences without an error are left out.
    """
    given = [None] * len(differences) if freedoms is None else freedoms
    kept = [
        (difference, error, freedom)
        for difference, error, freedom in zip(differences, standard_errors, given, strict=True)
        if math.isfinite(difference) and math.isfinite(error) and error > 0
    ]
    if len(kept) < 2:
        return None
    weights = np.array([error for _, error, _ in kept]) ** -2.0
    found = np.array([difference for difference, _, _ in kept])
    total = float(weights.sum())
    if not 0 < total < math.inf:
        return None
    middle = float((weights * found).sum()) / total
    freedom = len(kept) - 1
    statistic = float((weights * (found - middle) ** 2).sum())
    free = np.array([math.inf if each is None else each for _, _, each in kept])
    spread = float(((1 - weights / total) ** 2 / free).sum())
    squared = len(kept) ** 2 - 1
    statistic /= freedom * (1 + 2 * (len(kept) - 2) / squared * spread)
    return distributions.f_above(
        statistic, freedom, squared / (3 * spread) if spread > 0 else math.inf
    )


def weighed_means(values: Floats, of: Units) -> tuple[float, float]:
    """Return the candidate's and baseline's means, with stratum weights n1 n0 / (n1 + n0)."""
    sums = np.bincount(of.cells, contrasts.counted(values, of), 2 * of.stratum_count)
    weights = of.candidates * of.baselines / (of.candidates + of.baselines)
    total = float(weights.sum())
    candidates, baselines = (np.where(each > 0, each, 1) for each in (of.candidates, of.baselines))
    return (
        float((weights * sums[1::2] / candidates).sum()) / total,
        float((weights * sums[0::2] / baselines).sum()) / total,
    )


def _tested(found: Contrast, of: Units, name: str) -> Tested:
    statistic, p_value = student(found.value, found, [of])
    return Tested(
        contrasts.interval(found.value, found),
        found.error,
        statistic,
        p_value,
        found.freedom,
        name,
    )


def _share(share: float, found: Contrast, of: Units) -> Estimate:
    """Bound a share of pairs by a t interval of its logit, which stays between 0 and 1."""
    if found.error is None or (found.error == 0 and found.value == 0):
        return contrasts.interval(share, found)
    if found.freedom is None or not 0 < share < 1:
        # Complete separation: Wilson's bound for a share of 1 or 0, with clusters as trials.
        far = 1 / (1 + statistics.Z**2 / min(clusters_of(of)))
        return Estimate(share, far, 1.0) if share > 0.5 else Estimate(share, 0.0, 1 - far)
    logit = math.log(share / (1 - share))
    half = distributions.student_quantile(found.freedom) * found.error / (share * (1 - share))
    return Estimate(share, _expit(logit - half), _expit(logit + half))


def _expit(logit: float) -> float:
    return 1 / (1 + math.exp(min(700.0, -logit)))


def _spread(part: Contrast, clusters: npt.NDArray[np.int64], count: int) -> Contrast:
    """Renumber the clusters of a contrast on a subset of units as in the full set."""
    present = np.unique(clusters)
    parts, leverages, working = np.zeros(count), np.zeros(count), np.zeros(count)
    parts[present], leverages[present] = part.parts, part.leverages
    working[present] = part.working
    return replace(part, parts=parts, leverages=leverages, working=working)


def _named(independent: str, clustered: str, stratified: str, of: Units) -> str:
    if of.stratum_count > 1:
        return named(stratified, f"cluster-robust {stratified}", of)
    return named(independent, clustered, of)
