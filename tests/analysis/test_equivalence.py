import itertools
import math

import pytest
from scipy import stats

from otel_vtrack.analysis import equivalence


def test_means_are_tested_as_scipy_tests_them():
    before, after, margin = (3.0, 0.25, 40), (3.02, 0.5, 55), 0.2
    found = equivalence.means(before, after, margin=margin)

    def p(shift, alternative):
        return stats.ttest_ind_from_stats(
            after[0] + shift, math.sqrt(after[1]), after[2],
            before[0], math.sqrt(before[1]), before[2],
            equal_var=False, alternative=alternative,
        ).pvalue  # fmt: skip

    assert found.equivalence_p_value == pytest.approx(max(p(margin, "greater"), p(-margin, "less")))
    assert found.worse_p_value == pytest.approx(p(0, "two-sided"))
    assert found.difference == pytest.approx(0.02)


def test_shares_are_tested_by_normal_distributions_of_two_more():
    found = equivalence.proportions((2, 400), (3, 500), margin=0.01)
    before, after = 3 / 402, 4 / 502
    error = math.sqrt(before * (1 - before) / 402 + after * (1 - after) / 502)
    expected = max(
        stats.norm.sf((after - before + 0.01) / error),
        stats.norm.cdf((after - before - 0.01) / error),
    )
    assert found.equivalence_p_value == pytest.approx(expected)
    assert found.worse_p_value == pytest.approx(2 * stats.norm.sf((after - before) / error))


@pytest.mark.parametrize("trials", [20, 100, 400])
@pytest.mark.parametrize("rate", [0.001, 0.01, 0.05])
def test_shares_that_differ_by_the_margin_are_seldom_called_equal(trials, rate):
    numbers = range(min(trials, 60) + 1)
    before = stats.binom(trials, rate).pmf(numbers)
    after = stats.binom(trials, rate + 0.01).pmf(numbers)
    wrong = sum(
        before[a] * after[b]
        for a, b in itertools.product(numbers, numbers)
        if equivalence.proportions((a, trials), (b, trials), margin=0.01).equivalence_p_value < 0.05
    )
    # The normal approximation is a little too sure of rates near 0.
    assert wrong <= 0.07


def test_no_errors_in_a_few_traces_prove_nothing_and_in_many_they_do():
    assert equivalence.proportions((0, 20), (0, 20), margin=0.01).equivalence_p_value > 0.4
    assert equivalence.proportions((0, 1000), (0, 1000), margin=0.01).equivalence_p_value < 0.001


def test_less_is_never_worse():
    assert equivalence.proportions((90, 100), (1, 100), margin=0.01).worse_p_value == 1
    assert equivalence.means((2.0, 1.0, 50), (1.0, 1.0, 50), margin=0.1).worse_p_value == 1


def test_values_that_are_all_alike_leave_nothing_to_chance():
    same = equivalence.means((1.0, 0.0, 30), (1.0, 0.0, 30), margin=0.1)
    assert (same.equivalence_p_value, same.worse_p_value) == (0, 1)
    more = equivalence.means((1.0, 0.0, 30), (2.0, 0.0, 30), margin=0.1)
    assert (more.equivalence_p_value, more.worse_p_value) == (1, 0)
