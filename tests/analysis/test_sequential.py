"""Whether the bounds hold however often one looks, by simulation with fixed seeds."""

import math

import numpy as np
import pytest

from otel_vtrack.analysis import sequential, watching
from otel_vtrack.analysis.sequential import Sums

BINARY = [metric.binary for metric in watching.METRICS]


def sums(values, clusters):
    count = np.bincount(clusters).astype(float)
    total = np.bincount(clusters, weights=values)
    there = count > 0
    count, total = count[there], total[there]
    return Sums(
        len(count),
        count.sum(),
        total.sum(),
        (total**2).sum(),
        (total * count).sum(),
        (count**2).sum(),
    )


def traces(rng, count, *, session=1.0, error_rate=0.01, slower=1.0, tail=0.0):
    """Sessions, and of each trace whether it failed and the logarithm of its duration."""
    sessions = max(1, int(count / session))
    clusters = rng.integers(0, sessions, count)
    spread = 0.3 if session > 1 else 0.0
    durations = rng.normal(math.log(200 * slower), 0.6, count)
    durations += rng.normal(0, spread, sessions)[clusters]
    durations += 1.5 * (rng.random(count) < tail)
    risk = error_rate * np.exp(rng.normal(0, 2 * spread, sessions) - 2 * spread**2)[clusters]
    return clusters, rng.random(count) < risk, durations


def alarms(rng, looks, *, before=5000, thresholds=None, session=1.0, failing=0.01, **candidate):
    """After how many traces each metric is found to be worse; None if it never is."""
    same = {"session": session, "error_rate": failing}
    old, failed, durations = traces(rng, before, **same)
    slow = np.quantile(durations, 0.95)
    baseline = [sums(each, old) for each in (failed, durations, durations > slow)]
    new, failed, durations = traces(rng, looks[-1], **same | candidate)
    found = [None, None, None]
    for count in looks:
        for number, values in enumerate((failed, durations, durations > slow)):
            if found[number] is None:
                seen = sequential.compare(
                    baseline[number],
                    sums(values[:count], new[:count]),
                    binary=BINARY[number],
                    comparisons=len(BINARY),
                )
                if seen and seen.lower > (thresholds or (0, 0, 0))[number]:
                    found[number] = count
    return found


def uneven(rng, count, most):
    """Traces there are at each look, as they come in: hardly any, then many at once."""
    came = rng.poisson(rng.lognormal(math.log(most / count), 1.0, count)) + 1
    return np.unique(np.minimum(np.cumsum(came), most))


def share_alarmed(rng, deployments, looks, most, **how):
    found = [alarms(rng, uneven(rng, looks, most), **how) for _ in range(deployments)]
    return sum(any(each) for each in found) / deployments


@pytest.mark.parametrize(
    "how",
    [{"session": 5.0}, {"before": 300, "failing": 0.002}],
    ids=["sessions", "little before"],
)
def test_of_200_deployments_without_a_change_few_are_ever_alarmed(how):
    # No thresholds: every difference would count, however small.
    rng = np.random.default_rng(1)
    assert share_alarmed(rng, 200, 25, 2500, **how) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3, 4])
@pytest.mark.parametrize("session", [1.0, 5.0])
def test_of_deployments_without_a_change_few_are_alarmed_at_120_looks(seed, session):
    rng = np.random.default_rng(seed)
    assert share_alarmed(rng, 200, 120, 6000, session=session) <= 0.05


def test_to_test_again_and_again_at_5_percent_would_alarm_most_of_them():
    # What the bound is for; by the same simulation.
    rng = np.random.default_rng(5)
    wrong = 0
    for _ in range(60):
        old, _, before = traces(rng, 2000)
        new, _, after = traces(rng, 2000)
        baseline = sums(before, old)
        for count in range(50, 2000, 50):
            candidate = sums(after[:count], new[:count])
            variance = sum(e.variance_of_mean(binary=False) for e in (baseline, candidate))
            if (candidate.mean - baseline.mean) / math.sqrt(variance) > 1.645:
                wrong += 1
                break
    assert wrong > 9


@pytest.mark.parametrize(
    ("change", "metric", "within"),
    [
        ({"error_rate": 0.03}, 0, 2500),
        ({"slower": 1.2}, 1, 1000),
        ({"tail": 0.05}, 2, 3500),
    ],
    ids=["errors of 1 % to 3 %", "20 % slower", "one in 20 is 4.5 times as slow"],
)
def test_a_planted_regression_is_found_within_so_many_traces(change, metric, within):
    rng = np.random.default_rng(6)
    thresholds = (0.001, math.log(1.05), 0.01)
    looks = range(100, within + 1, 100)
    found = [alarms(rng, looks, thresholds=thresholds, **change)[metric] for _ in range(20)]
    assert sum(each is not None for each in found) >= 18, found


def test_sums_give_what_the_whole_data_give():
    rng = np.random.default_rng(7)
    clusters, _, durations = traces(rng, 1000, session=4.0)
    found = sums(durations, clusters)
    mean = durations.mean()
    assert found.mean == pytest.approx(mean)
    scores = np.bincount(clusters, weights=durations - mean)
    factor = found.clusters / (found.clusters - 1)
    expected = (scores**2).sum() / 1000**2 * factor
    assert found.variance_of_mean(binary=False) == pytest.approx(expected)


def test_the_bound_is_a_mixture_that_reaches_its_limit_with_probability_alpha():
    # A mixture of likelihood ratios with a half-normal drift, at the bound: no less than 1 / alpha.
    for alpha in (0.05, 0.05 / 3, 0.001):
        log_term = -2 * math.log(2 * alpha)
        rho = 1 / (log_term + math.log(log_term) + 1)
        for information in (0.01, 0.1, 1.0, 10.0, 100.0):
            width = sequential.boundary(information, 1.0, alpha)
            scaled = width * math.sqrt(information / (information + rho))
            normal = 0.5 * math.erfc(-scaled / math.sqrt(2))
            mixture = 2 * math.sqrt(rho / (information + rho)) * math.exp(scaled**2 / 2) * normal
            assert 1 / alpha <= mixture <= 1.2 / alpha


def test_nothing_is_said_of_too_few_sessions_or_of_values_that_are_all_the_same():
    rng = np.random.default_rng(8)
    clusters, _, durations = traces(rng, 1000)
    enough = sums(durations, clusters)
    few = sums(durations[:49], np.arange(49))
    assert sequential.compare(enough, few, binary=False) is None
    assert sequential.compare(few, enough, binary=False) is None
    same = sums(np.ones(100), np.arange(100))
    assert sequential.compare(same, same, binary=False) is None
    none = sums(np.zeros(100), np.arange(100))
    one = sums(np.eye(1, 100)[0], np.arange(100))
    assert sequential.compare(none, one, binary=True).lower < 0
