"""Estimates and tests of units that stand for more than themselves."""

import math
from collections import Counter

import numpy as np
import pytest
import statsmodels.api as sm

from otel_vtrack.analysis.inference import compare, estimate, power

LEVELS = (0.5, 0.9, 0.95)


def drawn(seed=11, count=400):
    rng = np.random.default_rng(seed)
    clusters = np.repeat(np.arange(count), 1 + rng.geometric(0.5, count))
    effects = 0.5 * rng.standard_normal(count)[clusters]
    strata = rng.integers(0, 3, len(clusters))
    sides = rng.random(len(clusters)) < np.array([0.3, 0.5, 0.7])[strata]
    values = np.round(np.exp(effects + rng.standard_normal(len(clusters)) + 0.2 * strata), 1)
    weights = rng.choice([1.0, 2.0, 7.0], len(clusters))
    return values, sides, clusters, strata, weights


def every(values, sides, clusters, strata, weights):
    """Run all that takes weights."""
    hits = values > 2
    codes = np.minimum(values, 5).astype(int)
    for held in (None, strata):
        of = (sides, clusters, held, weights)
        yield "superiority", compare.superiority(values, *of)
        yield "means", compare.means(values, *of)
        yield "ratio", compare.ratio_of_means(values, *of)
        yield "shares", compare.proportions(hits, *of)
        yield "rare", compare.proportions(values > 12, *of)
        yield "interaction", compare.interaction(values, sides, hits, clusters, held, weights)
        yield "categories", compare.categories(codes, *of)
        yield "quantiles", estimate.quantiles(values, clusters, LEVELS, weights, held)
    yield "mean", estimate.mean(values, clusters, weights)
    yield "share", estimate.proportion(hits, clusters, weights)
    yield "needed", power.needed(values, sides, clusters, 0.1, weights)


@pytest.mark.parametrize("alone", [False, True])
def test_as_many_for_each_is_as_none_at_all(alone):
    values, sides, clusters, strata, _ = drawn()
    if alone:
        clusters = np.arange(len(values))
    none = list(every(values, sides, clusters, strata, None))
    for weights in (np.ones(len(values)), np.where(sides, 4.0, 9.0)):
        for (name, told), (_, expected) in zip(
            every(values, sides, clusters, strata, weights), none, strict=True
        ):
            if name in {"quantiles", "mean", "share"} and weights[0] != weights[-1]:
                continue  # Of one side, which has one weight.
            assert told == expected or name == "interaction", name


def test_estimates_are_those_of_a_population_in_which_each_is_as_often():
    values, sides, clusters, strata, weights = drawn()
    times = weights.astype(int)
    many = [np.repeat(each, times) for each in (values, sides, clusters, strata)]
    for (name, told), (_, expected) in zip(
        every(values, sides, clusters, strata, weights), every(*many, None), strict=True
    ):
        if name == "needed":
            continue
        if name == "quantiles":
            assert [each.value for each in told] == [each.value for each in expected]
            continue
        one, other = (getattr(each, "estimate", each) for each in (told, expected))
        assert one.value == pytest.approx(other.value, rel=0.02, abs=0.004), name
        if one.lower is not None and name not in {"rare", "interaction"}:
            # As sure as the clusters are, however often each unit is there.
            assert one.upper - one.lower == pytest.approx(other.upper - other.lower, rel=0.15), name


def test_a_gap_of_equal_shares_is_as_sure_as_that_of_the_means():
    values, sides, clusters, _, weights = drawn(count=4_000)
    hits = values * 1e3 % 2 < 1
    gap, mean = (
        test(hits, sides, clusters, None, weights) for test in (compare.proportions, compare.means)
    )
    assert abs(gap.estimate.value) < 0.03
    assert gap.standard_error == pytest.approx(mean.standard_error, rel=0.02)


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("alone", [False, True])
def test_means_are_those_of_weighted_least_squares(held, alone):
    values, sides, clusters, strata, weights = drawn()
    clusters = np.arange(len(values)) if alone else clusters
    levels = strata if held else np.zeros(len(values), int)
    dummies = (levels[:, None] == np.unique(levels)[None, :]).astype(float)
    fit = sm.WLS(values, np.column_stack([sides, dummies]), weights=weights).fit(
        cov_type="cluster", cov_kwds={"groups": clusters}
    )
    found = compare.means(values, sides, clusters, strata if held else None, weights)
    assert found.estimate.value == pytest.approx(fit.params[0])
    assert found.standard_error == pytest.approx(fit.bse[0], rel=0.01)


class Sampled:
    """A population whose failed and slow units are all kept, and of whose others one in ten is."""

    def __init__(self, seed, *, clustered):
        self.rng, self.clustered = np.random.default_rng(seed), clustered

    def draw(self, count=4000, shift=0.0):
        rng = self.rng
        clusters = np.arange(count)
        normal = rng.standard_normal(count)
        if self.clustered:
            clusters = np.repeat(np.arange(count // 4), 4)
            normal = 0.8 * normal + 0.6 * rng.standard_normal(count // 4)[clusters]
        values = np.exp(0.6 * normal + shift)
        failed = rng.random(count) < 0.03
        kept = failed | (values > math.exp(0.6 * 1.5))
        chosen = rng.random(count) < 0.1
        if self.clustered:
            # Some sampled sessions, not traces, and so would depend on each other.
            chosen = (rng.random(count // 4) < 0.1)[clusters]
        stored = kept | chosen
        return values[stored], failed[stored], clusters[stored], np.where(kept, 1.0, 10.0)[stored]


TRUTHS = {
    "mean": math.exp(0.18),
    "rate": 0.03,
    **{
        f"p{100 * level:.0f}": math.exp(0.6 * z)
        for level, z in zip(LEVELS, (0.0, 1.2815515655, 1.6448536270), strict=True)
    },
}


def of_one_side(sample):
    values, failed, clusters, weights = sample
    yield "mean", estimate.mean(values, clusters, weights)
    yield "rate", estimate.proportion(failed, clusters, weights)
    for level, found in zip(
        LEVELS, estimate.quantiles(values, clusters, LEVELS, weights), strict=True
    ):
        yield f"p{100 * level:.0f}", found


@pytest.mark.parametrize("clustered", [False, True])
def test_what_is_true_of_all_is_told_by_what_was_kept(clustered):
    of = Sampled(3, clustered=clustered)
    told = {name: [] for name in TRUTHS}
    for _ in range(40):
        for name, found in of_one_side(of.draw()):
            told[name].append(found.value)
    for name, truth in TRUTHS.items():
        middle = np.mean(told[name])
        error = np.std(told[name]) / math.sqrt(40)
        assert abs(middle - truth) < 4 * error + 0.002 * truth, name
    # What was kept alone would say something else.
    values, failed, *_ = of.draw()
    assert np.median(values) > 1.2
    assert failed.mean() > 0.06


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("clustered", [False, True])
def test_intervals_of_a_sample_hold_the_truth_and_its_tests_find_nothing(clustered):
    of, times = Sampled(5, clustered=clustered), 500
    held, alarms = Counter(), Counter()
    for _ in range(times):
        one, other = of.draw(), of.draw()
        for name, found in of_one_side(one):
            held[name] += found.lower <= TRUTHS[name] <= found.upper
        values, failed, clusters, weights = (
            np.concatenate([each, also + (place == 2) * 10_000])
            for place, (each, also) in enumerate(zip(one, other, strict=True))
        )
        sides = np.arange(len(values)) >= len(one[0])
        # Each half of the clusters in another stratum, which the sides saw alike.
        strata = clusters % 2
        codes = np.digitize(values, [0.5, 1.0, 2.0])
        for level in (None, strata):
            for name, found in (
                ("superiority", compare.superiority(values, sides, clusters, level, weights)),
                ("means", compare.means(values, sides, clusters, level, weights)),
                ("ratio", compare.ratio_of_means(values, sides, clusters, level, weights)),
                ("shares", compare.proportions(failed, sides, clusters, level, weights)),
                ("categories", compare.categories(codes, sides, clusters, level, weights)),
            ):
                alarms[name, level is not None] += found.p_value < 0.05
    for name in TRUTHS:
        assert 93 <= 100 * held[name] / times <= 97.5, (name, held[name] / times)
    for name, count in alarms.items():
        assert 3 <= 100 * count / times <= 7, (name, count / times)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("clustered", [False, True])
def test_quantiles_of_strata_hold_the_truth_and_categories_find_nothing(clustered):
    """Of like with like: weighed so that both sides have the same mix."""
    rng, times = np.random.default_rng(9), 600
    held, alarms = 0, 0
    for _ in range(times):
        count = 1600
        clusters = np.arange(count)
        normal = rng.standard_normal(count)
        if clustered:
            clusters = np.repeat(np.arange(count // 4), 4)
            normal = 0.8 * normal + 0.6 * rng.standard_normal(count // 4)[clusters]
        sides = clusters % 2 == 0
        strata = (rng.random(count) < np.where(sides, 0.7, 0.3)).astype(int)
        values = np.exp(0.5 * normal + strata)
        first, second = (np.bincount(strata[side]) for side in (~sides, sides))
        weights = np.where(sides, first[strata], second[strata]) / (first + second)[strata]
        before, after = (
            estimate.quantiles(values[side], clusters[side], (0.95,), weights[side], strata[side])[
                0
            ]
            for side in (~sides, sides)
        )
        gap = estimate.statistics.change(before, after)
        held += gap.lower <= 0 <= gap.upper
        codes = np.digitize(normal + strata, [-0.5, 0.3, 1.0, 1.8])
        alarms += compare.categories(codes, sides, clusters, strata).p_value < 0.05
    assert 93 <= 100 * held / times <= 97.5, held / times
    assert 3 <= 100 * alarms / times <= 7, alarms / times


def test_one_failure_among_few_is_no_evidence_where_each_failure_is_kept():
    """One in 200 against 12 in 20,000 comes by chance once in nine times."""
    failed = np.repeat([1.0, 0.0, 1.0, 0.0], [12, 6663, 1, 66])
    candidate = np.arange(len(failed)) >= 12 + 6663
    found = compare.proportions(
        failed, candidate, np.arange(len(failed)), weights=np.where(failed, 1.0, 3.0)
    )
    assert found.test == "weighted two-proportion z"
    assert found.p_value > 0.05
