"""Estimates and tests beside other libraries' on the same data, and at the edges."""

import itertools
import math
import time

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats import contingency_tables, meta_analysis, oneway, power, proportion

from otel_vtrack.analysis import statistics
from otel_vtrack.analysis.inference import compare, contrast, estimate
from otel_vtrack.analysis.inference import power as needs

RNG = np.random.default_rng(7)
BEGIN = RNG.bit_generator.state
UNEVEN = 1 + np.random.default_rng(8).geometric(0.3, 800)


@pytest.fixture(autouse=True)
def the_same_numbers_for_each_test():
    RNG.bit_generator.state = BEGIN


def latencies(sizes, *, candidates, skew=0.8, between=0.6):
    """Draw values of clusters of these sizes, the first of which are the candidate's."""
    clusters = np.repeat(np.arange(len(sizes)), sizes)
    effects = between * RNG.standard_normal(len(sizes))[clusters]
    values = np.exp(skew * (effects + RNG.standard_normal(len(clusters))))
    return values, clusters < candidates, clusters


# Ranks


def test_independent_ranks_are_compared_as_brunner_and_munzel_do():
    values, sides, _ = latencies(np.ones(90, int), candidates=35)
    values = np.round(values, 1)  # with ties
    found = compare.superiority(values, sides, np.arange(90))
    expected = stats.brunnermunzel(values[~sides], values[sides], distribution="t")
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue)
    pairs = stats.mannwhitneyu(values[sides], values[~sides]).statistic / (35 * 55)
    assert found.estimate.value == pytest.approx(pairs)


@pytest.mark.parametrize("both_sides", [False, True])
def test_clustered_ranks_have_obuchowskis_variance(both_sides):
    values, sides, clusters = latencies(np.full(30, 6), candidates=12)
    if both_sides:
        sides = np.arange(180) % 3 == 0
    ones, zeros = values[sides], values[~sides]
    above = (ones[:, None] > zeros[None, :]) + 0.5 * (ones[:, None] == zeros[None, :])
    share = above.mean()

    def sums(placements, own):
        present = np.isin(np.arange(30), own)
        return np.bincount(own, placements - share, 30) / len(own), present.sum()

    one, m = sums(above.mean(axis=1), clusters[sides])
    zero, n = sums(above.mean(axis=0), clusters[~sides])
    variance = m / (m - 1) * one @ one + n / (n - 1) * zero @ zero
    variance += 2 * 30 / 29 * one @ zero
    found = compare.superiority(values, sides, clusters)
    assert found.estimate.value == pytest.approx(share)
    assert found.standard_error == pytest.approx(math.sqrt(variance))


def test_ranks_of_strata_are_weighed_as_van_elteren_does():
    values, _, _ = latencies(np.ones(900, int), candidates=0)
    strata = RNG.integers(0, 3, 900)
    sides = RNG.random(900) < np.array([0.2, 0.5, 0.7])[strata]
    values *= 1 + 5 * strata
    found = compare.superiority(values, sides, np.arange(900), strata)
    statistic = variance = weights = 0.0
    for level in range(3):
        one, zero = (values[(strata == level) & side] for side in (sides, ~sides))
        total, pairs = len(one) + len(zero), len(one) * len(zero)
        statistic += (stats.mannwhitneyu(one, zero).statistic - pairs / 2) / (total + 1)
        variance += pairs / 12 / (total + 1)
        weights += pairs / (total + 1)
    assert found.estimate.value == pytest.approx(0.5 + statistic / weights)
    # His variance is of equal distributions; this one's allows for others.
    assert found.statistic == pytest.approx(statistic / math.sqrt(variance), rel=0.03)


def test_ranks_of_pairs_are_those_of_the_sign_test():
    pairs = np.repeat(np.arange(200), 2)
    sides = np.arange(400) % 2 == 0
    values = RNG.standard_normal(400) + 0.4 * sides + 9 * pairs
    found = compare.superiority(values, sides, np.arange(400), pairs)
    share = np.mean(values[sides] > values[~sides])
    assert found.estimate.value == pytest.approx(share)
    assert found.standard_error == pytest.approx(math.sqrt(share * (1 - share) / 200), rel=0.02)


# Means


def test_independent_means_are_compared_as_welch_does():
    values, sides, _ = latencies(np.ones(80, int), candidates=40)
    values[sides] *= 2
    found = compare.means(values, sides, np.arange(80))
    expected = stats.ttest_ind(values[sides], values[~sides], equal_var=False)
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.freedom == pytest.approx(expected.df)
    # Of as many on both sides there is no skewness to allow for.
    assert found.p_value == pytest.approx(expected.pvalue)
    bounds = expected.confidence_interval()
    assert (found.estimate.lower, found.estimate.upper) == pytest.approx((bounds.low, bounds.high))


def test_means_of_even_clusters_are_those_of_the_clusters_means():
    values, sides, clusters = latencies(np.full(24, 5), candidates=11)
    middles = values.reshape(24, 5).mean(axis=1)
    found = compare.means(values, sides, clusters)
    expected = stats.ttest_ind(middles[:11], middles[11:], equal_var=False)
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.freedom == pytest.approx(expected.df, rel=0.25)
    one = estimate.mean(values[sides], clusters[sides])
    assert one.value == pytest.approx(middles[:11].mean())


def test_means_of_uneven_clusters_have_bell_and_mccaffreys_error():
    values, sides, clusters = latencies(UNEVEN[:14], candidates=6)
    design = np.column_stack([np.ones(len(values)), sides])
    inverse = np.linalg.inv(design.T @ design)
    residuals = values - design @ (inverse @ design.T @ values)
    middle = np.zeros((2, 2))
    for cluster in range(14):
        rows = design[clusters == cluster]
        roots, vectors = np.linalg.eigh(np.eye(len(rows)) - rows @ inverse @ rows.T)
        score = rows.T @ vectors @ ((vectors.T @ residuals[clusters == cluster]) / np.sqrt(roots))
        middle += np.outer(score, score)
    variance = (inverse @ middle @ inverse)[1, 1]
    found = compare.means(values, sides, clusters)
    assert found.standard_error == pytest.approx(math.sqrt(variance))
    assert 2 < found.freedom < 12


def confounded(count=400):
    sizes = UNEVEN[:count]
    values, _, clusters = latencies(sizes, candidates=0)
    strata = RNG.integers(0, 4, len(values))
    sides = RNG.random(len(values)) < np.array([0.3, 0.4, 0.6, 0.8])[strata]
    return values * (1 + strata), sides, clusters, strata


def dummies(codes):
    return (codes[:, None] == np.unique(codes)[None, :]).astype(float)


def test_means_of_strata_are_those_of_a_regression_with_fixed_effects():
    values, sides, clusters, strata = confounded()
    fit = sm.OLS(values, np.column_stack([sides, dummies(strata)])).fit(
        cov_type="cluster", cov_kwds={"groups": clusters}
    )
    found = compare.means(values, sides, clusters, strata)
    assert found.estimate.value == pytest.approx(fit.params[0])
    assert found.standard_error == pytest.approx(fit.bse[0], rel=0.01)


def test_interaction_is_that_of_a_regression():
    values, sides, clusters, strata = confounded()
    group = RNG.random(len(values)) < 0.3
    cells = strata * 2 + group
    fit = sm.OLS(values, np.column_stack([sides & group, sides & ~group, dummies(cells)])).fit(
        cov_type="cluster", cov_kwds={"groups": clusters}
    )
    expected = fit.t_test([1, -1, *[0] * 8])
    found = compare.interaction(values, sides, group, clusters, strata)
    assert found.estimate.value == pytest.approx(expected.effect[0])
    assert found.standard_error == pytest.approx(expected.sd[0, 0], rel=0.01)


def test_a_ratio_has_the_delta_methods_error():
    values, sides, clusters = latencies(UNEVEN[:300], candidates=150)
    found = compare.ratio_of_means(values, sides, clusters)
    variance = 0.0
    means = []
    for side in (sides, ~sides):
        own = np.unique(clusters[side], return_inverse=True)[1]
        sums, sizes = np.bincount(own, values[side]), np.bincount(own)
        middle = sums.sum() / sizes.sum()
        count = len(sums)
        # Deng, Knoblich and Lu's equation of a ratio of sums, relative to it.
        covariance = np.cov(sums, sizes)
        variance += (
            covariance[0, 0] / sums.mean() ** 2
            + covariance[1, 1] / sizes.mean() ** 2
            - 2 * covariance[0, 1] / sums.mean() / sizes.mean()
        ) / count
        means.append(middle)
    assert found.estimate.value == pytest.approx(means[0] / means[1] - 1)
    assert found.standard_error == pytest.approx(math.sqrt(variance), rel=0.01)


def test_an_interval_ends_where_the_test_would_no_longer_find_a_difference():
    values, sides, clusters = latencies(UNEVEN[:120], candidates=20, skew=1.2)
    found = compare.means(values, sides, clusters).estimate
    change = compare.ratio_of_means(values, sides, clusters).estimate
    assert found.upper - found.value > 1.1 * (found.value - found.lower)
    for bound in (found.lower, found.upper):
        shifted = compare.means(values - bound * sides, sides, clusters)
        assert shifted.p_value == pytest.approx(0.05)
    for bound in (change.lower, change.upper):
        scaled = compare.ratio_of_means(values / (1 + bound * sides), sides, clusters)
        assert scaled.p_value == pytest.approx(0.05)


# Shares


def table_of(hits, sides):
    return np.array(
        [[np.sum(hits & side), np.sum(~hits & side)] for side in (sides, ~sides)], float
    )


def test_shares_have_pearsons_chi_square_and_newcombes_interval():
    hits, sides = RNG.random(500) < 0.2, np.arange(500) < 180
    found = compare.proportions(hits, sides, np.arange(500))
    table = table_of(hits, sides)
    expected = stats.chi2_contingency(table, correction=False)
    assert found.statistic**2 == pytest.approx(expected.statistic * 499 / 500)
    (ones, _), (zeros, _) = table
    bounds = proportion.confint_proportions_2indep(ones, 180, zeros, 320, method="newcomb")
    assert (found.estimate.lower, found.estimate.upper) == pytest.approx(bounds)
    assert found.test == "two-proportion z"


@pytest.mark.parametrize(
    ("counts", "size"), [((0, 6), 100), ((4, 1), 100), ((3, 3), 9), ((1, 0), 1)]
)
def test_rare_shares_are_tested_as_fisher_does(counts, size):
    sides = np.arange(300) < size
    hits = np.zeros(300, bool)
    hits[: counts[0]] = hits[size : size + counts[1]] = True
    found = compare.proportions(hits, sides, np.arange(300))
    assert found.test == "Fisher exact"
    assert found.p_value == pytest.approx(stats.fisher_exact(table_of(hits, sides)).pvalue)


def test_shares_of_strata_are_those_of_mantel_and_haenszel():
    strata = RNG.integers(0, 5, 1500)
    sides = RNG.random(1500) < 0.2 + 0.1 * strata
    hits = RNG.random(1500) < 0.05 + 0.1 * strata
    found = compare.proportions(hits, sides, np.arange(1500), strata)
    tables = [table_of(hits[strata == h], sides[strata == h]) for h in range(5)]
    expected = contingency_tables.StratifiedTable(tables).test_null_odds()
    assert found.statistic**2 == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue)


def test_rare_shares_of_strata_are_tested_by_all_tables():
    tables = [(3, 17, 0, 30), (2, 8, 1, 19)]
    rows = [
        (hit, side, stratum)
        for stratum, cells in enumerate(tables)
        for (side, hit), count in zip([(1, 1), (1, 0), (0, 1), (0, 0)], cells, strict=True)
        for _ in range(count)
    ]
    hits, sides, strata = np.array(rows).T
    found = compare.proportions(hits == 1, sides == 1, np.arange(len(rows)), strata)
    laws = [stats.hypergeom(50, 3, 20), stats.hypergeom(30, 3, 10)]
    chances = np.zeros(7)
    for counts in itertools.product(range(4), range(4)):
        chances[sum(counts)] += laws[0].pmf(counts[0]) * laws[1].pmf(counts[1])
    assert found.test == "exact Mantel-Haenszel"
    assert found.p_value == pytest.approx(chances[chances <= chances[5] * (1 + 1e-9)].sum())


def test_one_share_has_wilsons_interval_and_of_twins_that_of_half_as_many():
    hits = np.arange(150) < 12
    low, high = proportion.proportion_confint(12, 150, method="wilson")
    found = estimate.proportion(hits, np.arange(150))
    assert (found.lower, found.upper) == pytest.approx((low, high))
    twins = estimate.proportion(np.repeat(hits, 2), np.repeat(np.arange(150), 2))
    # Less the little that is to be paid for not knowing that they are twins.
    assert (twins.lower, twins.upper) == pytest.approx((low, high), rel=0.02)


# Quantiles


def test_quantiles_are_bounded_by_binomial_ranks():
    values = RNG.lognormal(size=240)
    ordered = np.sort(values)
    found = estimate.quantiles(values, np.arange(240), [0.5, 0.9, 0.99])
    for level, each in zip([0.5, 0.9], found, strict=False):
        low, high = stats.binom.ppf([0.025, 0.975], 240, level).astype(int)
        assert (each.lower, each.upper) == (ordered[low - 1], ordered[high])
    assert found[2].upper is None
    assert found[0].value == ordered[119]
    small = statistics.quantiles(list(ordered), 240)
    assert estimate.quantiles(values, np.arange(240)) == small


def test_the_ends_of_eight_values_bound_their_median_and_of_five_nothing_does():
    # All are on one side of it with a probability of 2 / 2^8, below 5 %; of five it is 2 / 2^5.
    [of_eight] = estimate.quantiles(np.arange(8.0), np.arange(8), [0.5])
    assert (of_eight.lower, of_eight.upper) == (0, 7)
    [of_five] = estimate.quantiles(np.arange(5.0), np.arange(5), [0.5])
    assert (of_five.lower, of_five.value, of_five.upper) == (None, 2, None)


def test_quantiles_of_copies_are_as_sure_as_those_of_the_originals():
    values = RNG.lognormal(size=240)
    [alone] = estimate.quantiles(values, np.arange(240), [0.9])
    [copied] = estimate.quantiles(np.repeat(values, 5), np.repeat(np.arange(240), 5), [0.9])
    assert copied.lower <= alone.lower < alone.upper <= copied.upper
    assert copied.upper - copied.lower < 1.3 * (alone.upper - alone.lower)


# Categories, and whether effects differ


def test_categories_have_pearsons_chi_square_and_of_copies_the_same():
    sides, codes = np.arange(300) < 120, RNG.integers(0, 5, 300)
    found = compare.categories(codes, sides, np.arange(300))
    table = np.array([np.bincount(codes[side]) for side in (sides, ~sides)])
    expected = stats.chi2_contingency(table)
    assert (found.statistic, found.p_value) == pytest.approx((expected.statistic, expected.pvalue))
    copies = compare.categories(np.repeat(codes, 4), np.repeat(sides, 4), np.repeat(range(300), 4))
    assert copies.statistic == pytest.approx(found.statistic, rel=0.02)
    assert copies.p_value == pytest.approx(found.p_value, abs=0.03)
    assert copies.test == "Rao-Scott chi-square"


def test_categories_of_strata_have_the_generalized_chi_square_of_mantel_and_haenszel():
    rng = np.random.default_rng(3)
    strata, codes = rng.integers(0, 3, 600), rng.integers(0, 3, 600)
    sides = rng.random(600) < np.array([0.3, 0.5, 0.7])[strata] + 0.1 * (codes == 1)
    apart, spread = np.zeros(3), np.zeros((3, 3))
    for own in (strata == each for each in range(3)):
        count, candidates = own.sum(), (own & sides).sum()
        shares = np.bincount(codes[own], minlength=3) / count
        apart += np.bincount(codes[own & sides], minlength=3) - candidates * shares
        margins = candidates * (count - candidates) / (count - 1)
        spread += margins * (np.diag(shares) - np.outer(shares, shares))
    expected = apart[:2] @ np.linalg.inv(spread[:2, :2]) @ apart[:2]
    found = compare.categories(codes, sides, np.arange(600), strata)
    assert found.statistic == pytest.approx(expected)
    assert found.p_value == pytest.approx(stats.chi2.sf(expected, 2))


def test_cramers_v_is_0_of_equal_mixes_and_1_of_those_with_nothing_in_common():
    sides = np.arange(40) < 20
    assert compare.mix(np.arange(40) % 2, sides, np.arange(40)).cramers_v == 0
    assert compare.mix(sides, sides, np.arange(40)).cramers_v == pytest.approx(1)


def test_a_mix_without_anything_in_common_is_known_for_one():
    sessions = np.arange(400)
    users = sessions // 4
    apart = compare.mix(np.repeat(users, 3), np.repeat(users < 50, 3), np.repeat(sessions, 3))
    assert apart.p_value < 1e-6
    assert apart.cramers_v > 0.9
    # One session a user can't tell whether users are on one side by more than chance.
    alone = compare.mix(np.repeat(sessions, 3), np.repeat(users < 50, 3), np.repeat(sessions, 3))
    assert alone.p_value > 0.3
    assert alone.cramers_v == 0


def test_differences_are_alike_or_not_as_in_a_meta_analysis():
    gaps, errors = [0.1, 0.3, -0.2, 0.5], [0.1, 0.2, 0.15, 0.2]
    expected = meta_analysis.combine_effects(np.array(gaps), np.array(errors) ** 2)
    assert compare.heterogeneity(gaps, errors) == pytest.approx(expected.test_homogeneity().pvalue)
    groups = [RNG.normal(0.2 * size, size, 8) for size in (1, 2, 3, 4, 5)]
    welch = oneway.anova_oneway(groups, use_var="unequal", welch_correction=True)
    found = compare.heterogeneity(
        [group.mean() for group in groups], [stats.sem(group) for group in groups], [7] * 5
    )
    assert found == pytest.approx(welch.pvalue)


# What is needed


def test_what_is_needed_is_what_a_power_analysis_says():
    values, sides, _ = latencies(np.ones(300, int), candidates=60)
    values = (values - values[sides].mean()) / values[sides].std(ddof=1)
    values[~sides] /= values[~sides].std(ddof=1)
    found = needs.needed(values, sides, np.arange(300), 0.3)
    expected = power.NormalIndPower().solve_power(0.3, nobs1=240, alpha=0.05, power=0.8, ratio=None)
    assert found == math.ceil(expected * 240 - 60)
    # The baseline's 240 alone can't show so little, so both have to grow.
    small = needs.needed(values, sides, np.arange(300), 0.1)
    both = power.NormalIndPower().solve_power(0.1, alpha=0.05, power=0.8, ratio=4)
    assert small == math.ceil(both - 60)
    assert needs.needed(values, sides, np.arange(300), 1.0) == 0
    assert needs.needed(values, sides, np.arange(300), 0.0) is None


def test_no_errors_in_a_few_traces_are_not_enough():
    sides, hits = np.arange(60) < 30, np.zeros(60, bool)
    assert 100 < needs.needed(hits, sides, np.arange(60), 0.02) < 2000
    assert needs.needed(np.full(60, 3.3), sides, np.arange(60), 0.02) == 0


# What holds of all


TESTS = [compare.superiority, compare.means, compare.ratio_of_means, compare.proportions]


def mirrored(test, found):
    value, lower, upper = found.estimate.value, found.estimate.lower, found.estimate.upper
    if test is compare.superiority:
        return 1 - value, 1 - upper, 1 - lower
    if test is compare.ratio_of_means:
        return 1 / (1 + value) - 1, 1 / (1 + upper) - 1, 1 / (1 + lower) - 1
    return -value, -upper, -lower


@pytest.mark.parametrize("stratified", [False, True])
@pytest.mark.parametrize("test", TESTS)
def test_sides_may_be_swapped_and_units_come_in_any_order(test, stratified):
    values, sides, clusters, strata = confounded(60)
    values = values > 2 if test is compare.proportions else values
    strata = strata if stratified else None
    found = test(values, sides, clusters, strata)
    swapped = test(values, ~sides, clusters, strata)
    bounds = (found.estimate.value, found.estimate.lower, found.estimate.upper)
    assert mirrored(test, swapped) == pytest.approx(bounds)
    assert swapped.p_value == pytest.approx(found.p_value)
    order = RNG.permutation(len(values))
    shuffled = test(
        values[order],
        sides[order],
        -3 * clusters[order],
        None if strata is None else 100 - 7 * strata[order],
    )
    assert shuffled.p_value == pytest.approx(found.p_value)


@pytest.mark.parametrize("test", TESTS)
def test_copies_within_a_cluster_make_nothing_surer(test):
    values, sides, clusters = latencies(np.ones(120, int), candidates=50)
    values[sides] *= 2
    values = values > 1 if test is compare.proportions else values
    alone = test(values, sides, clusters)
    copied = test(*(np.repeat(each, 5) for each in (values, sides, clusters)))
    assert copied.standard_error == pytest.approx(alone.standard_error, rel=0.02)
    assert copied.p_value == pytest.approx(alone.p_value, rel=0.15, abs=0.002)
    trusted = test(np.repeat(values, 5), np.repeat(sides, 5), np.arange(600))
    assert trusted.p_value < alone.p_value / 5


def test_a_gap_of_shares_is_as_sure_as_its_clusters_are_many():
    hits, sides, each = np.arange(60) % 5 < 2, np.arange(60) < 25, np.arange(60)
    alone = compare.proportions(hits, sides, each).estimate
    twins = compare.proportions(*np.repeat((hits, sides, each), 2, axis=1)).estimate
    # A little is to be paid for not knowing that they are twins.
    assert twins.lower < alone.lower < alone.upper < twins.upper
    assert twins.upper - twins.lower < 1.1 * (alone.upper - alone.lower)
    # If all are equal, none of it shows, so a cluster counts as one.
    none = compare.proportions(np.zeros(60), sides, each).estimate
    fours = compare.proportions(np.zeros(240), np.repeat(sides, 4), np.repeat(each, 4)).estimate
    assert (fours.lower, fours.upper) == pytest.approx((none.lower, none.upper))


def test_strata_undo_a_mix_that_differs():
    """Simpson's paradox: faster on each route, slower in all, for the slow route's share."""
    slow = RNG.random(4000) < np.where(np.arange(4000) < 2000, 0.8, 0.2)
    sides = np.arange(4000) < 2000
    values = np.exp(1.5 * slow - 0.2 * sides + 0.3 * RNG.standard_normal(4000))
    for test, nothing in (
        (compare.superiority, 0.5),
        (compare.means, 0),
        (compare.ratio_of_means, 0),
    ):
        assert test(values, sides, np.arange(4000)).estimate.lower > nothing
        assert test(values, sides, np.arange(4000), slow).estimate.upper < nothing


def array(*values):
    return np.array(values)


EDGES = {
    "nothing": ([], [], []),
    "one side": ([1, 2, 3], [1, 1, 1], [0, 1, 2]),
    "all equal": ([3.3] * 6, [1, 1, 1, 0, 0, 0], range(6)),
    "all equal in clusters": ([3.3] * 6, [1, 1, 1, 0, 0, 0], [0, 0, 1, 2, 3, 3]),
    "apart": ([1, 2, 3, 7, 8, 9], [1, 1, 1, 0, 0, 0], range(6)),
    "alike within": ([0.1] * 3 + [0.3] * 3, [1, 1, 1, 0, 0, 0], range(6)),
    "one cluster": ([1, 2, 3, 4], [1, 0, 1, 0], [5, 5, 5, 5]),
    "one a side": ([1, 2, 3, 4], [1, 1, 0, 0], [5, 5, 6, 6]),
    "one of one": ([1, 2, 3, 4, 5, 6], [1, 0, 0, 0, 0, 0], range(6)),
    "two": ([1, 2], [1, 0], range(2)),
    "infinite": ([1, math.inf, 2, -math.inf, 3, 4, math.inf], [1, 1, 1, 0, 0, 0, 0], range(7)),
    "huge": ([1e308, 1e308, -1e308] * 2, [1, 1, 1, 0, 0, 0], range(6)),
    "tiny": ([1e-310, 2e-310, 3e-310] * 2, [1, 1, 1, 0, 0, 0], range(6)),
    "pairs": ([1, 2, 3, 4, 5, 6, 7, 8], [1, 0] * 4, [0, 0, 1, 1, 2, 2, 3, 3]),
    "negative": ([-1, -2, -3, -4], [1, 1, 0, 0], range(4)),
    "zero": ([0, 0, 0, 0], [1, 1, 0, 0], range(4)),
}  # fmt: skip


def everything(values, sides, clusters):
    strata = (None, np.arange(len(values)) // 2, sides, np.arange(len(values)), 0 * clusters)
    hits = np.arange(len(values)) % 2 == 0
    for levels in strata:
        yield compare.superiority(values, sides, clusters, levels)
        yield compare.means(values, sides, clusters, levels)
        yield compare.ratio_of_means(values, sides, clusters, levels)
        for some in (hits, hits & False, hits | True):
            yield compare.proportions(some, sides, clusters, levels)
        for group in (hits, sides, hits & False):
            yield compare.interaction(values, sides, group, clusters, levels)
    for codes in (hits.astype(int), clusters, np.arange(len(values)), 0 * clusters):
        yield compare.categories(codes, sides, clusters)


@pytest.mark.parametrize("edge", EDGES)
def test_no_data_makes_it_stumble(edge):
    """Warnings are errors here."""
    values, sides, clusters = (array(*each) for each in EDGES[edge])
    sides, clusters = sides.astype(bool), clusters.astype(int)
    values = values.astype(float)
    for found in everything(values, sides, clusters):
        numbers = [found.p_value, found.standard_error]
        if found.estimate is not None:
            numbers += [found.estimate.value, found.estimate.lower, found.estimate.upper]
        assert all(number is None or math.isfinite(number) for number in numbers)
        assert found.p_value is None or 0 <= found.p_value <= 1
        assert (found.test == "") <= (found.p_value is None)
    for smallest in (0, 0.1, math.inf):
        needs.needed(values, sides, clusters, smallest)
    estimate.mean(values, clusters)
    estimate.proportion(values > 1, clusters)
    estimate.quantiles(values, clusters, [0.01, 0.5, 0.99])


def test_an_empty_side_is_not_tested_and_equal_values_are_no_evidence():
    values, sides = np.full(6, 3.3), np.arange(6) < 3
    for test in TESTS:
        none = test(values > 0, sides | True, np.arange(6))
        assert (none.estimate, none.p_value, none.test) == (None, None, "")
        assert test(values > 0, sides, np.arange(6)).p_value == 1
    for test in (compare.superiority, compare.means, compare.ratio_of_means):
        assert test(values, sides, np.arange(6) // 2).p_value == 1
    # Three clusters a side that are wholly apart: 2 of 20 ways to deal them.
    apart = compare.superiority(np.arange(6), sides, np.arange(6))
    assert apart.p_value == pytest.approx(0.1)
    # And one a side is too few to know.
    one = compare.means(np.arange(6), sides, sides)
    assert (one.estimate.value, one.estimate.lower, one.p_value) == (-3, None, None)
    assert estimate.mean(np.arange(3), np.zeros(3, int)) == statistics.Estimate(1.0)


def test_strata_of_one_side_have_no_say():
    values, sides, clusters, strata = confounded(60)
    alone = strata == 3
    found = compare.means(values[~alone], sides[~alone], clusters[~alone], strata[~alone])
    more = compare.means(values, sides | alone, clusters, strata)
    assert more.estimate.value == pytest.approx(found.estimate.value)
    assert more.standard_error == pytest.approx(found.standard_error)


def test_a_version_of_many_traces_is_compared_in_tens_of_milliseconds():
    """The limit is for machines that do other things besides."""
    count = 50_000
    values, strata = RNG.lognormal(size=count), RNG.integers(0, 50, count)
    clusters, sides = RNG.integers(0, 12_000, count), RNG.random(count) < 0.5
    for test in (compare.superiority, compare.means, compare.ratio_of_means):
        started = time.process_time()
        test(values, sides, clusters, strata)
        assert time.process_time() - started < 0.5
    for each in (
        lambda: compare.proportions(values > 5, sides, clusters, strata),
        lambda: compare.interaction(values, sides, strata > 20, clusters, strata),
        lambda: compare.mix(clusters // 3, sides, clusters),
        lambda: estimate.quantiles(values, clusters, [0.5, 0.9, 0.95, 0.99]),
    ):
        started = time.process_time()
        each()
        assert time.process_time() - started < 0.5


def test_clusters_are_numbered_whatever_their_numbers():
    numbers, count = contrast.compact(np.array([2**62, -5, 2**62, 7]))
    assert (numbers.tolist(), count) == ([2, 0, 2, 1], 3)
    numbers, count = contrast.compact(np.array([9, 5, 9, 7]))
    assert (numbers.tolist(), count) == ([2, 0, 2, 1], 3)
