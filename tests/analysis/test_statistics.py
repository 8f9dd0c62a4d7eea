import math

import numpy as np
import pytest
from scipy import stats

from otel_vtrack.analysis import statistics
from otel_vtrack.analysis.statistics import Estimate


@pytest.mark.parametrize(("hits", "trials"), [(0, 5), (5, 5), (1, 30), (17, 400), (99, 100)])
def test_a_share_has_wilson_s_interval(hits, trials):
    found = statistics.proportion(hits, trials)
    expected = stats.binomtest(hits, trials).proportion_ci(method="wilson")
    assert (found.lower, found.upper) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert found.value == hits / trials


def test_the_difference_of_shares_has_newcombe_s_interval():
    """The first example of his paper: 56/70 and 48/80."""
    found = statistics.difference(statistics.proportion(48, 80), statistics.proportion(56, 70))
    assert (found.lower, found.upper) == pytest.approx((0.0524, 0.3339), abs=1e-4)


@pytest.mark.parametrize("count", [2, 20, 50_000])
def test_a_mean_has_student_s_interval(count):
    found = statistics.mean(10.0, 3.0, count)
    expected = stats.t.interval(0.95, count - 1, 10.0, 3.0 / math.sqrt(count))
    assert (found.lower, found.upper) == pytest.approx(expected)


def test_p_values_are_adjusted_by_benjamini_and_hochberg():
    values = [0.01, 0.04, 0.03, 0.2, 0.9]
    assert statistics.adjusted(values) == pytest.approx(stats.false_discovery_control(values))
    assert statistics.adjusted([]) == []
    assert statistics.adjusted([0.02]) == [0.02]


def test_a_change_is_the_difference_as_a_share_of_the_baseline():
    found = statistics.change(Estimate(412, 400, 425), Estimate(655, 620, 690))
    assert found.value == pytest.approx(655 / 412 - 1)
    assert found.lower < found.value < found.upper


def test_intervals_of_differences_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        a, b = rng.normal(5, 1, 20), rng.normal(6, 3, 20)
        one, two = (statistics.mean(x.mean(), x.std(ddof=1), 20) for x in (a, b))
        gap = statistics.difference(one, two)
        held += gap.lower <= 1 <= gap.upper
    assert 0.92 <= held / 400 <= 0.99


@pytest.mark.parametrize(
    ("baseline", "candidate"),
    [(None, Estimate(1)), (Estimate(1), None), (Estimate(0, 0, 1), Estimate(1, 0, 2))],
)
def test_a_change_from_nothing_or_zero_has_no_meaning(baseline, candidate):
    assert statistics.change(baseline, candidate) is None


def test_a_bound_that_is_missing_stays_missing():
    found = statistics.difference(Estimate(1, 0, None), Estimate(3, 2, 4))
    assert found.lower is None
    assert found.upper == pytest.approx(2 + math.hypot(1, 1))
