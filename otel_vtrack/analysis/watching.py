"""Compare each watched deployment with what it replaced; `deployed` finds them."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from otel_vtrack.analysis import sequential
from otel_vtrack.analysis.deployed import (
    NEW_VERSION,
    PROMOTION,
    REDEPLOYMENT,
    RETURN,
    WATCHED_NS,
    WatchedDeployment,
)
from otel_vtrack.analysis.sequential import Bounded, Sums
from otel_vtrack.analysis.statistics import Estimate
from otel_vtrack.query import watch
from otel_vtrack.query.watch import Pair, SideSums, WatchEvent
from otel_vtrack.store.client import Store

REGRESSION: Final = "regression"
"""The only kind of event: a metric got worse by more than its threshold."""
POOLED_PART: Final = 0.1
"""Part of the probability of a false alarm reserved for looks that pool all routes: pooling may
change from one look to the next, and both kinds of looks together must keep the level."""
MOST_BEFORE: Final = 50_000
"""About how many of the baseline's traces before the deployment are read at most."""
MOST_A_PERIOD: Final = 20_000
"""About how many of each version's traces are read in each later period, unless traffic surges."""

_FIRST_PERIOD_NS: Final = 300_000_000_000
_LARGEST: Final = 700.0  # e to this power does not overflow


class Metric(NamedTuple):
    """A watched metric.

    Attributes:
        name: As in events.
        binary: Whether each trace has a yes or no.
        threshold: By how much it has to be worse.
        share: The same as a share of the baseline's value; the greater one applies.
    """

    name: str
    binary: bool
    threshold: float
    share: float = 0.0


METRICS: Final = (
    Metric("error_rate", binary=True, threshold=0.001, share=0.1),
    Metric("latency", binary=False, threshold=0.05),
    Metric("slow_rate", binary=True, threshold=0.01),
)
"""In the order in which the arrays of `watch/sums.sql` have them."""


@dataclass(frozen=True, slots=True)
class WatchedMetric:
    """The current result for one metric.

    Attributes:
        baseline: Mean of the baseline's traces with the routes' mix held constant: a rate, or a
            geometric mean in ms.
        candidate: The same of the deployment's.
        difference: Candidate minus baseline for rates, the relative change for latency. None
            while there are too few traces.
        threshold: It is worse if the lower bound exceeds this.
    """

    metric: str
    baseline: float
    candidate: float
    difference: Estimate | None
    threshold: float

    @property
    def is_worse(self) -> bool:
        """Whether it is worse by more than the threshold, valid over all looks so far."""
        lower = self.difference.lower if self.difference else None
        return lower is not None and lower > self.threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The result of one look at a deployment.

    Attributes:
        baseline_count: Traces looked at, which may be a sample.
        candidate_count: The same of the deployment.
        baseline_cluster_count: Sessions among these on routes that both have, or single traces
            where the session is unknown.
        candidate_cluster_count: The same of the deployment.
        routes_pooled: Whether all routes are compared as one, since the versions share hardly any.
        metrics: Empty if there is nothing that both have traces of.
        alarmed: Metrics with a stored event.
    """

    deployment: WatchedDeployment
    baseline_count: int = 0
    candidate_count: int = 0
    baseline_cluster_count: int = 0
    candidate_cluster_count: int = 0
    routes_pooled: bool = False
    metrics: tuple[WatchedMetric, ...] = ()
    alarmed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Board:
    """What is being watched.

    Attributes:
        looked_at_ns: Time of the last look; None if there was none.
        looks: The last look at each deployment, the newest deployment first.
    """

    looked_at_ns: int | None = None
    looks: tuple[Look, ...] = ()


def look(store: Store, deployment: WatchedDeployment) -> Look:
    """Compare a deployment's traces so far with those of what it replaced.

    Those are the baseline's traces from the day before the deployment, and since. If there are
    many, a sample is used; each period's sampling rate depends on the period before, so that later
    data does not change earlier results.
    """
    pair = _pair(deployment)
    if deployment.trace_count < sequential.FEWEST:
        return Look(deployment=deployment, candidate_count=deployment.trace_count)
    baseline, candidate = watch.sums(store, pair, *_sampling(store, deployment, pair))
    if baseline is None or candidate is None:
        return Look(deployment=deployment)
    return Look(
        deployment=deployment,
        baseline_count=baseline.trace_count,
        candidate_count=candidate.trace_count,
        baseline_cluster_count=baseline.cluster_count,
        candidate_cluster_count=candidate.cluster_count,
        routes_pooled=candidate.routes_pooled,
        metrics=_metrics(baseline, candidate),
    )


def _pair(deployment: WatchedDeployment) -> Pair:
    start_ns = deployment.start_time_ns
    from_ns, until_ns = start_ns - WATCHED_NS, deployment.until_ns
    since = [from_ns, start_ns]
    length = _FIRST_PERIOD_NS
    while start_ns + length < until_ns:
        since.append(start_ns + length)
        length *= 2
    return Pair(
        place=deployment.place,
        baseline=deployment.baseline,
        candidate=deployment.candidate,
        start_ns=start_ns,
        from_ns=from_ns,
        until_ns=until_ns,
        since_ns=since,
    )


def _sampling(
    store: Store, deployment: WatchedDeployment, pair: Pair
) -> tuple[list[int], list[int]]:
    if 2 * deployment.place_trace_count <= MOST_A_PERIOD:
        # Whatever the counts are, all traces are read.
        return [1] * len(pair.since_ns), [1] * len(pair.since_ns)
    return sampling(*watch.counts(store, pair))


def sampling(baseline: Sequence[int], candidate: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the n of each period's 1-in-n sample, for both sides.

    Args:
        baseline: Traces in each period, the first of which is the day before the deployment.
        candidate: The same of the deployment.
    """
    # The first minutes are expected to have traces at the same rate as before.
    expected = baseline[0] * _FIRST_PERIOD_NS // WATCHED_NS
    first = [_one_in(baseline[0], MOST_BEFORE), _one_in(expected, MOST_A_PERIOD)]
    # A period is twice as long as the one before.
    later = [
        [_one_in(2 * count, MOST_A_PERIOD) for count in counts[1:-1]]
        for counts in (baseline, candidate)
    ]
    return first + later[0], first + later[1]


def _one_in(count: int, most: int) -> int:
    # Powers of two, so that late traces seldom change the rate.
    return 1 << max(0, math.ceil(math.log2(max(count, 1) / most)))


def _metrics(baseline: SideSums, candidate: SideSums) -> tuple[WatchedMetric, ...]:
    if not baseline.route_count:
        return ()
    compared = baseline.compared_count + candidate.compared_count
    alpha = sequential.ALPHA * (POOLED_PART if baseline.routes_pooled else 1 - POOLED_PART)
    return tuple(
        _metric(
            metric, *(_sums(side, number, compared) for side in (baseline, candidate)), alpha=alpha
        )
        for number, metric in enumerate(METRICS)
    )


def _sums(side: SideSums, number: int, compared_count: int) -> Sums:
    # Liang and Zeger's variance, slightly increased for the estimated parameters: one level for
    # each route, and the difference.
    left = max(1, compared_count - side.route_count - 1)
    factor = side.cluster_count / max(1, side.cluster_count - 1) * compared_count / left
    return Sums(
        clusters=side.cluster_count,
        count=side.effective_count,
        mean=side.means[number],
        variance=side.squares[number] * factor,
    )


def _metric(metric: Metric, baseline: Sums, candidate: Sums, *, alpha: float) -> WatchedMetric:
    found = sequential.compare(
        baseline, candidate, binary=metric.binary, comparisons=len(METRICS), alpha=alpha
    )
    means = baseline.mean, candidate.mean
    threshold = max(metric.threshold, metric.share * baseline.mean)
    if not metric.binary:
        # Means and bounds are of logarithms.
        means = math.exp(means[0]), math.exp(means[1])
        found = found and Bounded(*(math.expm1(min(each, _LARGEST)) for each in found))
    return WatchedMetric(metric.name, *means, Estimate(*found) if found else None, threshold)


def events(look: Look, now_ns: int) -> list[WatchEvent]:
    """Return the events that follow from a look, whether or not they are already stored.

    Args:
        look: The look.
        now_ns: The current time.
    """
    deployment = look.deployment
    place = deployment.place
    found: list[WatchEvent] = []
    for each in look.metrics:
        if not each.is_worse or each.difference is None:
            continue
        found.append(
            WatchEvent(
                event_id=event_id(deployment, each.metric, REGRESSION),
                event_time_ns=now_ns,
                kind=REGRESSION,
                **place._asdict(),
                version=deployment.version,
                deployment_id=deployment.deployment_id,
                deployment_kind=deployment.kind,
                deployment_start_time_ns=deployment.start_time_ns,
                baseline_version=deployment.baseline.version,
                baseline_deployment_id=deployment.baseline.deployment_id,
                metric=each.metric,
                baseline=each.baseline,
                candidate=each.candidate,
                difference=each.difference.value,
                difference_lower=each.difference.lower or 0.0,
                difference_upper=each.difference.upper or 0.0,
                threshold=each.threshold,
                baseline_count=look.baseline_count,
                candidate_count=look.candidate_count,
                routes_pooled=look.routes_pooled,
                summary=_summary(look, each, each.difference),
            )
        )
    return found


def event_id(deployment: WatchedDeployment, metric: str, kind: str) -> str:
    """Return the id of an event, the same no matter who finds it and how often."""
    return event_ids(deployment, metric, kind)[0]


def event_ids(deployment: WatchedDeployment, metric: str, kind: str) -> tuple[str, ...]:
    """Return the ids that an event may have been stored under, its own first.

    The time of its first trace changes when an earlier one arrives late.
    """
    said = (*deployment.identity, metric, kind)
    return tuple(
        "evt_" + hashlib.sha256(json.dumps(each).encode()).hexdigest()[:32]
        for each in ([(*said, number) for number in deployment.moments] or [said])
    )


def _summary(look: Look, metric: WatchedMetric, change: Estimate) -> str:
    deployment = look.deployment
    place = deployment.place
    where = f" in {place.environment}" if place.environment else ""
    scale, unit, of = (1.0, " ms", "%") if metric.metric == "latency" else (100.0, " %", "points")
    what = {
        "error_rate": "more traces fail",
        "latency": "traces take longer",
        "slow_rate": "more traces are slower than 95 % of earlier ones on their route",
    }[metric.metric]
    if look.routes_pooled:
        what = what.replace(" on their route", "")
    lower, upper = (100 * (each or 0.0) for each in (change.lower, change.upper))
    pooled = "; all routes combined, as they share hardly any" if look.routes_pooled else ""
    return (
        f"{place.service_name} {_candidate(deployment)}{where}: {what} than with"
        f" {_baseline(deployment)}: {metric.candidate * scale:.3g}{unit} instead of"
        f" {metric.baseline * scale:.3g}{unit}, {lower:+.3g} to {upper:+.3g} {of}{pooled}"
    )


def _candidate(deployment: WatchedDeployment) -> str:
    how = {
        NEW_VERSION: "",
        RETURN: "back",
        PROMOTION: "promoted",
        REDEPLOYMENT: f"as {deployment.deployment_id}" if deployment.deployment_id else "again",
    }[deployment.kind]
    return f"{deployment.version} {how}".rstrip()


def _baseline(deployment: WatchedDeployment) -> str:
    baseline = deployment.baseline
    if baseline.deployment_id:
        return f"{baseline.version} as {baseline.deployment_id}"
    return f"{baseline.version} before" if deployment.kind == REDEPLOYMENT else baseline.version
