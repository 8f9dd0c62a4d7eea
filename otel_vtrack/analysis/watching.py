"""Finds the deployments to watch, and compares each with what it replaced.

A deployment here is a version of a service that an environment never saw before: it becomes the
main version or stays a canary, as in `timeline`. It replaces what was the main version when its
first trace began.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from otel_vtrack.analysis import sequential, timeline
from otel_vtrack.analysis.sequential import Bounded, Sums
from otel_vtrack.analysis.statistics import Estimate
from otel_vtrack.analysis.timeline import Main
from otel_vtrack.query import watch
from otel_vtrack.query.timeline import Activity, Place
from otel_vtrack.query.watch import NewVersion, Pair, Side, WatchEvent
from otel_vtrack.store.client import Store

WATCHED_NS: Final = 86_400_000_000_000
"""So long a deployment is watched, and so far back goes what it is compared with: a day each."""
MOST_DEPLOYMENTS: Final = 500
"""Most that are watched at a time, the newest."""
REGRESSION: Final = "regression"
"""The one kind of event: a metric got worse by more than its threshold."""
MOST_BEFORE: Final = 50_000
"""About so many of the baseline's traces before the deployment are read at most."""
MOST_A_PERIOD: Final = 20_000
"""About so many of each version's traces in each period after that, if traffic does not surge."""

_FIRST_PERIOD_NS: Final = 300_000_000_000
_LARGEST: Final = 700.0  # e to the power of it is still a number


class Metric(NamedTuple):
    """What is watched.

    Attributes:
        name: As in events.
        binary: Whether a trace has it or not.
        threshold: By how much it has to be worse.
        share: The same as a share of the baseline's value; the greater one counts.
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
"""In the order in which `watch/sums.sql` has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedDeployment:
    """A version and the one it replaced; times in nanoseconds since 1970.

    Attributes:
        start_time_ns: When its first trace began.
        end_time_ns: When its last trace began; None if it is not gone.
        trace_count: Its traces so far.
        place_trace_count: Those of all versions there, of the day before the time at which it was
            looked, and the day before that.
    """

    place: Place
    version: str
    deployment_id: str
    start_time_ns: int
    end_time_ns: int | None
    baseline_version: str
    trace_count: int
    place_trace_count: int


@dataclass(frozen=True, slots=True)
class WatchedMetric:
    """What is known of one metric.

    Attributes:
        baseline: Mean of the baseline's traces, routes held equal: a rate, or a geometric mean in
            ms.
        candidate: The same of the deployment's.
        difference: Between rates, candidate minus baseline; of latency the relative change. None
            while there are too few traces for it.
        threshold: What the lower bound exceeds where it is worse.
    """

    metric: str
    baseline: float
    candidate: float
    difference: Estimate | None
    threshold: float

    @property
    def is_worse(self) -> bool:
        """Whether it is worse by more than the threshold, whatever looks there were before."""
        lower = self.difference.lower if self.difference else None
        return lower is not None and lower > self.threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look at a deployment saw.

    Attributes:
        baseline_count: Traces looked at, which may be a sample.
        candidate_count: The same of the deployment.
        baseline_cluster_count: Sessions in these on routes that both have, or single traces where
            no session is told.
        candidate_cluster_count: The same of the deployment.
        metrics: Empty where there is no route of which both have traces.
        alarmed: Metrics of which an event is stored.
    """

    deployment: WatchedDeployment
    baseline_count: int = 0
    candidate_count: int = 0
    baseline_cluster_count: int = 0
    candidate_cluster_count: int = 0
    metrics: tuple[WatchedMetric, ...] = ()
    alarmed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Board:
    """What is under watch.

    Attributes:
        looked_at_ns: When the watch looked last; None if it never did.
        looks: The last look at each deployment, the newest deployment first.
    """

    looked_at_ns: int | None = None
    looks: tuple[Look, ...] = ()


def deployments(store: Store, now_ns: int) -> list[WatchedDeployment]:
    """Find the deployments that began less than a day ago, the newest first.

    One that replaced nothing, as the first in its place, is left out.

    Args:
        store: Where to look.
        now_ns: What time it is.

    Raises:
        InvalidArgument: There are too many.
    """
    since_ns = now_ns - WATCHED_NS
    fresh = watch.new_versions(store, since_ns, MOST_DEPLOYMENTS)
    places = sorted({each.place for each in fresh})
    seen = watch.activity(store, places, since_ns - WATCHED_NS) if places else {}
    found: list[WatchedDeployment] = []
    for place, activity in seen.items():
        versions = [each for each in fresh if each.place == place]
        found += _of_place(place, versions, activity, since_ns)
    return sorted(found, key=lambda each: (each.start_time_ns, each.version), reverse=True)


def _of_place(
    place: Place, versions: Sequence[NewVersion], activity: Sequence[Activity], since_ns: int
) -> list[WatchedDeployment]:
    periods, mains = timeline.periods(activity)
    found: list[WatchedDeployment] = []
    for each in versions:
        own = [period for period in periods if period.version == each.version]
        if not own:
            continue
        start_ns = own[0].start_time_ns
        baseline = _replaced(activity, mains, each.version, start_ns)
        if baseline and start_ns >= since_ns:
            found.append(
                WatchedDeployment(
                    place=place,
                    version=each.version,
                    deployment_id=each.deployment_id,
                    start_time_ns=start_ns,
                    end_time_ns=own[-1].end_time_ns,
                    baseline_version=baseline,
                    trace_count=sum(period.trace_count for period in own),
                    place_trace_count=sum(period.trace_count for period in periods),
                )
            )
    return found


def _replaced(
    activity: Sequence[Activity], mains: Sequence[Main], version: str, start_ns: int
) -> str:
    """Return which version was the main one just before a time; empty if there was none."""
    before = [main.version for main in mains if main.from_ns < start_ns and main.version != version]
    if before:
        return before[-1]
    # Where one follows the other within a bucket, it is the one that had most until then.
    had = [each for each in activity if each.first_ns < start_ns and each.version != version]
    return max(had, key=lambda each: (each.trace_count, each.version)).version if had else ""


def look(store: Store, deployment: WatchedDeployment) -> Look:
    """Compare a deployment's traces so far with those of what it replaced.

    Those are the baseline's traces of the day before the deployment, and those since. A sample of
    them is looked at where there are many; how many of a period is told by the period before, so
    that what is seen later does not change what was seen earlier.
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
        metrics=_metrics(baseline, candidate),
    )


def _pair(deployment: WatchedDeployment) -> Pair:
    start_ns = deployment.start_time_ns
    from_ns, until_ns = start_ns - WATCHED_NS, start_ns + WATCHED_NS
    since = [from_ns, start_ns]
    length = _FIRST_PERIOD_NS
    while start_ns + length < until_ns:
        since.append(start_ns + length)
        length *= 2
    return Pair(
        place=deployment.place,
        baseline_version=deployment.baseline_version,
        candidate_version=deployment.version,
        from_ns=from_ns,
        until_ns=until_ns,
        since_ns=since,
    )


def _sampling(
    store: Store, deployment: WatchedDeployment, pair: Pair
) -> tuple[list[int], list[int]]:
    if 2 * deployment.place_trace_count <= MOST_A_PERIOD:
        # Whatever the counts are, it is all of them.
        return [1] * len(pair.since_ns), [1] * len(pair.since_ns)
    return sampling(*watch.counts(store, pair))


def sampling(baseline: Sequence[int], candidate: Sequence[int]) -> tuple[list[int], list[int]]:
    """Say of which part of the traces to look at in each period: one in so many.

    Args:
        baseline: Traces in each period, the first of which is the day before the deployment.
        candidate: The same of the deployment.
    """
    # The first minutes are expected to have as many traces as there were before.
    expected = baseline[0] * _FIRST_PERIOD_NS // WATCHED_NS
    first = [_one_in(baseline[0], MOST_BEFORE), _one_in(expected, MOST_A_PERIOD)]
    # A period is twice as long as the one before.
    later = [
        [_one_in(2 * count, MOST_A_PERIOD) for count in counts[1:-1]]
        for counts in (baseline, candidate)
    ]
    return first + later[0], first + later[1]


def _one_in(count: int, most: int) -> int:
    # Powers of two, so that late traces seldom change it.
    return 1 << max(0, math.ceil(math.log2(max(count, 1) / most)))


def _metrics(baseline: Side, candidate: Side) -> tuple[WatchedMetric, ...]:
    if not baseline.route_count:
        return ()
    compared = baseline.compared_count + candidate.compared_count
    return tuple(
        _metric(metric, *(_sums(side, number, compared) for side in (baseline, candidate)))
        for number, metric in enumerate(METRICS)
    )


def _sums(side: Side, number: int, compared_count: int) -> Sums:
    # Liang and Zeger's variance, a little larger for what was estimated: a level for each route,
    # and the difference.
    left = max(1, compared_count - side.route_count - 1)
    factor = side.cluster_count / max(1, side.cluster_count - 1) * compared_count / left
    return Sums(
        clusters=side.cluster_count,
        count=side.effective_count,
        mean=side.means[number],
        variance=side.squares[number] * factor,
    )


def _metric(metric: Metric, baseline: Sums, candidate: Sums) -> WatchedMetric:
    found = sequential.compare(baseline, candidate, binary=metric.binary, comparisons=len(METRICS))
    means = baseline.mean, candidate.mean
    threshold = max(metric.threshold, metric.share * baseline.mean)
    if not metric.binary:
        # They are of logarithms.
        means = math.exp(means[0]), math.exp(means[1])
        found = found and Bounded(*(math.expm1(min(each, _LARGEST)) for each in found))
    return WatchedMetric(metric.name, *means, Estimate(*found) if found else None, threshold)


def events(look: Look, now_ns: int) -> list[WatchEvent]:
    """Make the events that follow from a look, whether or not they are stored already.

    Args:
        look: What was seen.
        now_ns: What time it is.
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
                deployment_start_time_ns=deployment.start_time_ns,
                baseline_version=deployment.baseline_version,
                metric=each.metric,
                baseline=each.baseline,
                candidate=each.candidate,
                difference=each.difference.value,
                difference_lower=each.difference.lower or 0.0,
                difference_upper=each.difference.upper or 0.0,
                threshold=each.threshold,
                baseline_count=look.baseline_count,
                candidate_count=look.candidate_count,
                summary=_summary(deployment, each, each.difference),
            )
        )
    return found


def event_id(deployment: WatchedDeployment, metric: str, kind: str) -> str:
    """Make the id that an event has whoever finds it, and how often.

    It has no time in it: a version is watched once in a place, and the time of its first trace
    changes when an earlier one arrives late.
    """
    said = [*deployment.place, deployment.version, metric, kind]
    return "evt_" + hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]


def _summary(deployment: WatchedDeployment, metric: WatchedMetric, change: Estimate) -> str:
    place = deployment.place
    where = f" in {place.environment}" if place.environment else ""
    scale, unit, of = (1.0, " ms", "%") if metric.metric == "latency" else (100.0, " %", "points")
    what = {
        "error_rate": "more traces fail",
        "latency": "traces take longer",
        "slow_rate": "more traces are slower than 95 % of those before on their route",
    }[metric.metric]
    lower, upper = (100 * (each or 0.0) for each in (change.lower, change.upper))
    return (
        f"{place.service_name} {deployment.version}{where}: {what} than with"
        f" {deployment.baseline_version}: {metric.candidate * scale:.3g}{unit} instead of"
        f" {metric.baseline * scale:.3g}{unit}, {lower:+.3g} to {upper:+.3g} {of}"
    )
