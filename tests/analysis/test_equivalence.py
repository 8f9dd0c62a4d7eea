import itertools
import math

import pytest
from scipy import optimize, stats

from otel_vtrack.analysis import equivalence
from otel_vtrack.analysis.equivalence import Mean, Share


def wholly(values, margin):
    """Test rows of (failures, traces)."""
    return equivalence.proportions(*(Share(*each) for each in values), margin=margin)


def test_means_are_tested_as_scipy_tests_them():
    before, after, margin = (3.0, 0.25, 40), (3.02, 0.5, 55), 0.2
    found = equivalence.means(
        *(Mean(mean, variance / count, count - 1) for mean, variance, count in (before, after)),
        margin=margin,
    )

    def p(shift, alternative):
        return stats.ttest_ind_from_stats(
            after[0] + shift, math.sqrt(after[1]), after[2],
            before[0], math.sqrt(before[1]), before[2],
            equal_var=False, alternative=alternative,
        ).pvalue  # fmt: skip

    assert found.equivalence_p_value == pytest.approx(max(p(margin, "greater"), p(-margin, "less")))
    assert found.worse_p_value == pytest.approx(p(0, "two-sided"))
    assert found.difference == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("before", "after", "margin"),
    [((2, 400), (3, 500), 0.01), ((0, 300), (0, 200), 0.01), ((50, 90), (40, 80), 0.1)],
)
def test_the_rates_behind_the_score_test_are_the_likeliest_that_differ_by_the_margin(
    before, after, margin
):
    def unlikelihood(rate):
        return -(
            stats.binom(before[1], rate).logpmf(before[0])
            + stats.binom(after[1], rate + margin).logpmf(after[0])
        )

    best = optimize.minimize_scalar(unlikelihood, bounds=(0, 1 - margin), method="bounded").x
    found = equivalence._rates(Share(*before), Share(*after), margin)
    assert found == pytest.approx((best, best + margin), abs=1e-4)


def test_without_a_margin_it_is_the_chi_squared_test_with_yates_correction():
    table = [[20, 180], [35, 165]]
    found = wholly([(20, 200), (35, 200)], 0.05).worse_p_value
    chi2 = stats.chi2_contingency(table, correction=True).statistic * 399 / 400
    assert found == pytest.approx(stats.chi2(1).sf(chi2))


@pytest.mark.parametrize(
    ("trials", "rate"),
    [
        *itertools.product([(20, 20), (100, 100), (400, 400)], [0.001, 0.01, 0.05]),
        # Where the score test without a correction errs most, or one by half a trace.
        ((450, 450), 0.0),
        ((700, 4000), 0.003),
        ((1000, 4000), 0.003),
        ((3000, 3000), 0.001),
    ],
)
def test_shares_that_differ_by_the_margin_are_seldom_called_equal(trials, rate):
    numbers = [range(int(n * (rate + 0.01) + 8 * math.sqrt(n * (rate + 0.01))) + 5) for n in trials]
    before = stats.binom(trials[0], rate).pmf(numbers[0])
    after = stats.binom(trials[1], rate + 0.01).pmf(numbers[1])
    wrong = sum(
        before[a] * after[b]
        for a, b in itertools.product(*numbers)
        if before[a] * after[b] > 1e-7
        and wholly([(a, trials[0]), (b, trials[1])], 0.01).equivalence_p_value < 0.05
    )
    assert wrong <= 0.05


def test_no_errors_in_a_few_traces_prove_nothing_and_in_many_they_do():
    assert wholly([(0, 20), (0, 20)], 0.01).equivalence_p_value > 0.4
    assert wholly([(0, 1000), (0, 1000)], 0.01).equivalence_p_value < 0.01


def test_less_is_never_worse():
    assert wholly([(90, 100), (1, 100)], 0.01).worse_p_value == 1
    found = equivalence.means(Mean(2.0, 0.02, 49), Mean(1.0, 0.02, 49), margin=0.1)
    assert found.worse_p_value == 1


def test_values_that_are_all_alike_leave_nothing_to_chance():
    one, more = Mean(1.0, 0.0, 29), Mean(2.0, 0.0, 29)
    same = equivalence.means(one, one, margin=0.1)
    assert (same.equivalence_p_value, same.worse_p_value) == (0, 1)
    other = equivalence.means(one, more, margin=0.1)
    assert (other.equivalence_p_value, other.worse_p_value) == (1, 0)


def test_traces_that_fail_by_session_tell_as_much_as_the_sessions():
    # Ten sessions of twenty traces, of which whole sessions fail: 40 of 200 traces, 2 of 10.
    sums = {"nn": 10 * 400.0, "nt": 2 * 400.0, "tt": 2 * 400.0}
    variance = equivalence.variance_of_mean(10, 200, 40, **sums)
    assert variance == pytest.approx(0.2 * 0.8 / 9)
    effect = equivalence.design_effect(variance, Share(40, 200))
    assert effect == pytest.approx(199 / 9)
    told = equivalence.independent(Share(40, 200), 10, effect)
    few = (stats.t(199).ppf(0.975) / stats.t(9).ppf(0.975)) ** 2
    assert told.trials == pytest.approx(200 * 9 / 199 * few)
    assert told.successes / told.trials == pytest.approx(0.2)


def test_traces_each_of_their_own_are_as_they_are():
    sums = {"nn": 200.0, "nt": 40.0, "tt": 40.0}
    effect = equivalence.design_effect(
        equivalence.variance_of_mean(200, 200, 40, **sums), Share(40, 200)
    )
    assert equivalence.independent(Share(40, 200), 200, effect) == pytest.approx((40, 200))


def test_a_few_values_that_lack_the_rare_ones_are_not_worse_for_that():
    far, spread = -math.log(10), 0.05**2
    before = Mean(0.02 * far, (spread + 0.02 * far**2) / 5000, 4999)
    after = Mean(0.0, spread / 20, 19)
    found = equivalence.means(before, after, margin=math.log1p(0.05))
    assert found.worse_p_value > 0.05
    assert found.equivalence_p_value > 0.05
