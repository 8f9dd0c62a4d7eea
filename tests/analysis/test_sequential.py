"""Whether the bounds hold however often one looks, by simulation with fixed seeds."""

import math
from typing import NamedTuple

import numpy as np
import pytest

from otel_vtrack.analysis import sequential, watching
from otel_vtrack.analysis.sequential import Sums
from otel_vtrack.query import watch
from otel_vtrack.query.watch import SideSums

BINARY = [metric.binary for metric in watching.METRICS]


class Traces(NamedTuple):
    cluster: np.ndarray
    route: np.ndarray
    failed: np.ndarray
    duration: np.ndarray
    weight: np.ndarray

    def first(self, count):
        return Traces(*(each[:count] for each in self))


def traces(rng, count, *, kept=1.0, **how):
    """So many traces as `all_traces` makes them; of those that did not fail a part was kept."""
    made = all_traces(rng, int(count / kept), **how)
    if kept < 1:
        chosen = made.failed | (rng.random(len(made.failed)) < kept)
        weight = np.where(made.failed, 1.0, 1 / kept)
        made = Traces(*(each[chosen] for each in made._replace(weight=weight)))
    return made.first(count)


def all_traces(
    rng, count, *, session=1.0, failing=0.01, slower=1.0, tail=0.0, mix=(1.0,), alike=False
):
    """Sessions, and of each trace its route, whether it failed and the logarithm of its duration.

    Each of four routes takes 1.6 times as long as the one before, and fails 1.5 times as often.
    Where sessions are alike, all traces of one fail or none.
    """
    sessions = max(1, int(count / session))
    cluster = rng.integers(0, sessions, count)
    route = rng.choice(len(mix), count, p=np.array(mix) / sum(mix))
    spread = 0.3 if session > 1 else 0.0
    duration = rng.normal(math.log(200 * slower), 0.6, count) + math.log(1.6) * (route % 4)
    duration += rng.normal(0, spread, sessions)[cluster]
    duration += 1.5 * (rng.random(count) < tail)
    risk = failing * np.exp(rng.normal(0, 2 * spread, sessions) - 2 * spread**2)[cluster]
    chance = rng.random(sessions)[cluster] if alike else rng.random(count)
    return Traces(cluster, route, chance < risk * 1.5 ** (route % 4), duration, np.ones(count))


def slow_from(baseline, routes):
    """Return by route the least of the slowest twentieth, as the engine's quantileExact."""
    found = np.full(routes, np.inf)
    for route in range(routes):
        own = np.flatnonzero(baseline.route == route)
        if len(own):
            own = own[np.argsort(baseline.duration[own], kind="stable")]
            reached = np.cumsum(baseline.weight[own])
            found[route] = baseline.duration[own[np.argmax(reached > 0.95 * reached[-1])]]
    return found


def looked(baseline, candidate, slow=None):
    """Reduce both sides to sums as `watch/sums.sql` does, and return those of each metric."""
    sides = baseline, candidate
    routes = max(each.route.max() for each in sides) + 1
    slow = slow_from(baseline, routes) if slow is None else slow
    n0, n1 = (np.bincount(each.route, each.weight, minlength=routes) for each in sides)
    weight = n0 * n1 / np.maximum(n0 + n1, 1)
    counts, found = [], [[], [], []]
    parts = [weight / np.maximum(each, 1) / weight.sum() for each in (n0, n1)]
    for part, each in zip(parts, sides, strict=True):
        squares = np.bincount(each.route, each.weight**2, minlength=routes)
        counts.append(1 / (part**2 * squares).sum())
    clusters = [len(np.unique(each.cluster[weight[each.route] > 0])) for each in sides]
    traces = sum(int((weight[each.route] > 0).sum()) for each in sides)
    for number in range(3):
        values = [
            (each.failed, each.duration, each.duration >= slow[each.route])[number]
            for each in sides
        ]
        totals = [
            np.bincount(each.route, weights=each.weight * value, minlength=routes)
            for each, value in zip(sides, values, strict=True)
        ]
        means = [(part * total).sum() for part, total in zip(parts, totals, strict=True)]
        gap = means[1] - means[0]
        level = (sum(totals) - gap * n1) / np.maximum(n0 + n1, 1)
        for side, (each, value) in enumerate(zip(sides, values, strict=True)):
            scores = (
                each.weight * parts[side][each.route] * (value - level[each.route] - side * gap)
            )
            squares = (np.bincount(each.cluster, weights=scores) ** 2).sum()
            told = SideSums(
                trace_count=len(value),
                cluster_count=clusters[side],
                compared_count=0,
                route_count=int((weight > 0).sum()),
                routes_pooled=False,
                effective_count=counts[side],
                means=(means[side],),
                squares=(squares,),
            )
            found[number].append(watching._sums(told, 0, traces))
    return found


def alarms(rng, looks, *, before=5000, thresholds=None, same=None, **candidate):
    """After how many traces each metric is found to be worse; None if it never is."""
    same = same or {}
    baseline = traces(rng, before, **same)
    return alarms_of(baseline, traces(rng, looks[-1], **same | candidate), looks, thresholds)


def alarms_of(baseline, new, looks, thresholds=None):
    """The same of traces that are given."""
    by_route = baseline, slow_from(baseline, 60)
    together = baseline._replace(route=np.zeros_like(baseline.route))
    pooled = together, slow_from(together, 1)
    found = [None, None, None]
    for count in looks:
        seen = new.first(count)
        shared = np.isin(seen.route, baseline.route).mean() >= watch.FEWEST_SHARED
        against, slow = by_route if shared else pooled
        if not shared:
            seen = seen._replace(route=np.zeros_like(seen.route))
        part = 1 - watching.POOLED_PART if shared else watching.POOLED_PART
        for number, sides in enumerate(looked(against, seen, slow)):
            difference = sides[1].mean - sides[0].mean
            # A bound is never above what was found, and half of these need none.
            if found[number] is None and difference > (thresholds or (0, 0, 0))[number]:
                told = sequential.compare(
                    *sides, binary=BINARY[number], comparisons=len(BINARY), alpha=0.05 * part
                )
                if told and told.lower > (thresholds or (0, 0, 0))[number]:
                    found[number] = count
    return found


def uneven(rng, count, most):
    """Traces there are at each look, as they come in: hardly any, then many at once."""
    came = rng.poisson(rng.lognormal(math.log(most / count), 1.0, count)) + 1
    return np.unique(np.minimum(np.cumsum(came), most))


def share_alarmed(rng, deployments, looks, most, **how):
    found = [alarms(rng, uneven(rng, looks, most), **how) for _ in range(deployments)]
    return sum(any(each) for each in found) / deployments


SESSIONS = {"session": 5.0}
MIX = {"same": {"mix": (8, 4, 2, 1)}, "mix": (1, 2, 4, 8)}
RARE = {"before": 300, "same": {"failing": 0.002, "mix": [1] * 51}}


@pytest.mark.parametrize("how", [MIX, RARE], ids=["another mix", "rare, and many routes"])
def test_of_100_deployments_without_a_change_few_are_ever_alarmed(how):
    # No thresholds: every difference would count, however small.
    rng = np.random.default_rng(1)
    assert share_alarmed(rng, 100, 16, 2000, **how) <= 0.05


def released(rng, services, looks, most, **how):
    """The share of deployments that are alarmed where none changes anything.

    Of each service a release, a rollback from it, its return and a redeployment, each compared with
    the traces of the one before, which were compared themselves. The release renames its routes,
    and an old one is asked again when half of its traces are there.
    """
    alarmed = []
    for _ in range(services):
        before = traces(rng, 2 * most, **how)
        for kind in ("new_version", "return", "return", "redeployment"):
            seen = uneven(rng, looks, most)
            after = traces(rng, seen[-1], **how)
            if kind == "new_version":
                renamed = np.arange(len(after.route)) < len(after.route) / 2
                after = after._replace(route=after.route + 8 * renamed)
            alarmed.append(any(alarms_of(before, after, seen)))
            before = after
    return sum(alarmed) / len(alarmed)


def test_releases_returns_and_redeployments_without_a_change_are_seldom_alarmed():
    rng = np.random.default_rng(11)
    assert released(rng, 6, 12, 1000, session=2.0, mix=(4, 3, 2, 1)) <= 0.05


@pytest.mark.slow
def test_of_200_releases_returns_and_redeployments_5_percent_are_alarmed_at_most_in_all():
    rng = np.random.default_rng(12)
    assert released(rng, 50, 40, 3000, session=2.0, mix=(4, 3, 2, 1)) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [
        {"same": SESSIONS},
        {"same": {"failing": 0.001}},
        {"before": 1000, "same": {"session": 10.0, "alike": True}},
        {"same": {"failing": 0.2} | SESSIONS},
        {"same": {"failing": 0.03, "kept": 0.2} | SESSIONS},
        {"same": MIX["same"] | SESSIONS, "mix": MIX["mix"]},
    ],
    ids=[
        "sessions",
        "0.1 % errors",
        "sessions fail",
        "20 % errors in sessions",
        "a fifth kept of what did not fail",
        "another mix in sessions",
    ],
)
def test_of_deployments_without_a_change_few_are_alarmed_at_40_looks(how):
    rng = np.random.default_rng(2)
    assert share_alarmed(rng, 100, 40, 3000, **how) <= 0.05


def test_to_test_again_and_again_at_5_percent_would_alarm_most_of_them():
    # What the bound is for; by the same simulation.
    rng = np.random.default_rng(5)
    wrong = 0
    for _ in range(60):
        before, after = traces(rng, 2000), traces(rng, 2000)
        for count in range(50, 2000, 50):
            baseline, candidate = looked(before, after.first(count))[1]
            variance = baseline.variance + candidate.variance
            if (candidate.mean - baseline.mean) / math.sqrt(variance) > 1.645:
                wrong += 1
                break
    assert wrong > 9


@pytest.mark.parametrize(
    ("change", "metric", "within"),
    [
        ({"failing": 0.03}, 0, 1200),
        ({"slower": 1.2}, 1, 1000),
        ({"tail": 0.05}, 2, 2500),
    ],
    ids=["errors of 1 % to 3 %", "20 % slower", "one in 20 is 4.5 times as slow"],
)
def test_a_planted_regression_is_found_within_so_many_traces(change, metric, within):
    rng = np.random.default_rng(6)
    thresholds = (0.001, math.log(1.05), 0.01)
    looks = range(100, within + 1, 100)
    found = [alarms(rng, looks, thresholds=thresholds, **change)[metric] for _ in range(20)]
    assert sum(each is not None for each in found) >= 18, found


def rate(errors, count):
    share = errors / count
    return Sums(count, count, share, share * (1 - share) / count)


def test_a_canary_that_fails_fifteen_times_as_often_is_found_in_150_traces():
    found = sequential.compare(rate(41, 3745), rate(25, 151), binary=True, comparisons=3)
    assert found.difference == pytest.approx(0.1546, abs=1e-4)
    assert 0.05 < found.lower < found.difference < found.upper < 0.3


def test_no_bound_is_beyond_what_was_found():
    """So the simulations ask for none where nothing worse was found."""
    rng = np.random.default_rng(13)
    for _ in range(60):
        counts = rng.integers(50, 3000, 2)
        sides = [rate(rng.binomial(count, rng.random() ** 3), int(count)) for count in counts]
        for binary in (True, False):
            if found := sequential.compare(*sides, binary=binary):
                assert found.lower <= found.difference <= found.upper


def test_the_bounds_of_rates_are_where_the_ratio_of_likelihoods_is_as_great_as_allowed():
    def log_likelihood(side, p):
        p = np.clip(p, 1e-12, 1 - 1e-12)
        return side.count * (side.mean * np.log(p) + (1 - side.mean) * np.log1p(-p))

    shares = np.linspace(0, 1, 400_001)
    for baseline, candidate in (
        (rate(41, 3745), rate(25, 151)),
        (rate(0, 400), rate(3, 90)),
        (rate(60, 200), rate(0, 100)),
    ):
        found = sequential.compare(baseline, candidate, binary=True)
        tightest = 1 / (1 / baseline.count + 1 / sequential.TIGHTEST_AT)
        information = 1 / (1 / baseline.count + 1 / candidate.count)
        errors = sequential.boundary(information, tightest, 0.05)
        most = sum(log_likelihood(each, each.mean) for each in (baseline, candidate))
        for difference in found[1:]:
            both = (shares + difference >= 0) & (shares + difference <= 1)
            constrained = log_likelihood(baseline, shares[both])
            constrained += log_likelihood(candidate, shares[both] + difference)
            assert 2 * (most - constrained.max()) == pytest.approx(errors**2, rel=1e-3)


@pytest.mark.parametrize("rates", [(0.1, 0.2), (0.0, 0.1), (0.0, 0.0)])
def test_twins_bound_a_rate_as_half_as_many_values_do(rates):
    alone = [Sums(400, 400.0, rate, rate * (1 - rate) / 400) for rate in rates]
    twins = [Sums(400, 800.0, each.mean, each.variance) for each in alone]
    bounds = sequential.compare(*alone, binary=True)
    assert sequential.compare(*twins, binary=True) == pytest.approx(bounds)
    # Sessions that differ less than chance would have it make nothing surer.
    even = [Sums(400, 400.0, each.mean, each.variance / 9) for each in alone]
    assert sequential.compare(*even, binary=True) == pytest.approx(bounds)


def test_several_metrics_share_the_alarms_that_one_would_be_allowed():
    sides = Sums(400, 400.0, 5.0, 0.01), Sums(300, 300.0, 6.0, 0.02)
    one_of_four = sequential.compare(*sides, binary=False, comparisons=4)
    assert one_of_four == sequential.compare(*sides, binary=False, alpha=sequential.ALPHA / 4)
    assert one_of_four.lower < sequential.compare(*sides, binary=False).lower


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
    both = looked(traces(rng, 1000), traces(rng, 49))
    assert [sequential.compare(*each, binary=False) for each in both] == [None] * 3
    assert sequential.compare(*reversed(both[1]), binary=False) is None
    same = Sums(100, 100.0, 1.0, 0.0)
    assert sequential.compare(same, same, binary=False) is None
    # Many clusters, of which hardly any weighs something.
    assert sequential.compare(rate(9, 900), Sums(900, 12.0, 0.9, 0.01), binary=True) is None
    assert sequential.compare(rate(0, 100), rate(1, 100), binary=True).lower < 0


@pytest.mark.parametrize("counts", [(5000, 50), (50, 5000)])
def test_a_side_without_any_of_the_rare_values_is_not_worse_for_that(counts):
    """Of one in 50, 50 values have none in a third of all cases."""
    rare, spread = 0.02, 0.05**2
    far = math.log(10) if counts[1] > counts[0] else -math.log(10)
    whole = Sums(5000, 5000, rare * far, (spread + rare * far**2) / 5000)
    lacking = Sums(50, 50, 0.0, spread / 50)
    sides = (whole, lacking) if counts[0] > counts[1] else (lacking, whole)
    found = sequential.compare(*sides, binary=False, comparisons=3)
    assert found.lower < 0 < found.difference
