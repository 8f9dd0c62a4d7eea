"""The timeline of services in environments: what was live when, and what came of rollbacks.

`analysis.timeline` has the rules, `analysis.equivalence` the tests; this asks the store.
"""

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from otel_vtrack.analysis import equivalence, statistics, timeline
from otel_vtrack.analysis.statistics import Estimate
from otel_vtrack.query import deployments, paging
from otel_vtrack.query import timeline as activity
from otel_vtrack.query.deployments import DeploymentStatus
from otel_vtrack.query.timeline import Place, Window
from otel_vtrack.store.client import Store

ALPHA: Final = 0.05
ERROR_MARGIN: Final = 0.01
"""Error rates that differ by less than that are as good as equal."""
LATENCY_MARGIN: Final = 0.05
"""Durations whose geometric means differ by less than that share are as good as equal."""
ENOUGH: Final = 20
"""Fewest traces before and after from which anything is concluded, as in `analysis.compare`."""
MOST_MEASURED: Final = 50
"""So many of the latest rollbacks are measured."""
LONGEST_NS: Final = 7 * 86_400_000_000_000
"""Before and after a rollback so much is looked at, at most."""


class RecoveryVerdict(IntEnum):
    """Whether a metric returned to what it was; numbers as in timeline.proto."""

    RETURNED = 1
    NOT_RETURNED = 2
    INCONCLUSIVE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """Whether a metric returned to what it was before; timeline.proto explains each field."""

    before: Estimate | None
    during: Estimate | None
    after: Estimate | None
    verdict: RecoveryVerdict
    equivalence_p_value: float | None
    worse_p_value: float | None


@dataclass(frozen=True, slots=True)
class Measured:
    """What the traces of a rollback say; timeline.proto explains each field."""

    touched: Window
    before_count: int
    after_count: int
    error_rate: Recovery
    latency: Recovery


@dataclass(frozen=True, slots=True)
class PlacedPeriod:
    """A period, and where."""

    place: Place
    period: timeline.Period


@dataclass(frozen=True, slots=True)
class PlacedRollback:
    """A rollback, where, and what its traces say; None if it is not among the latest."""

    place: Place
    rollback: timeline.Rollback
    measured: Measured | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """Periods and rollbacks by place, each in the order of time."""

    bucket_width_ns: int
    periods: list[PlacedPeriod]
    rollbacks: list[PlacedRollback]


def tell(
    store: Store,
    *,
    experiment: str = "",
    service_name: str = "",
    environment: str = "",
    from_ns: int | None = None,
    until_ns: int | None = None,
) -> Timeline:
    """Say what was live when; see `query.timeline.activity` for the arguments.

    Raises:
        InvalidArgument: There is too much to tell.
    """
    found = activity.activity(
        store,
        experiment=experiment,
        service_name=service_name,
        environment=environment,
        from_ns=from_ns,
        until_ns=until_ns,
    )
    declared = _declared(store, experiment, service_name, environment, until_ns=until_ns)
    until = activity.LATEST_NS if until_ns is None else until_ns
    periods: list[PlacedPeriod] = []
    rollbacks: list[tuple[Place, timeline.Rollback, list[timeline.Period]]] = []
    for place, rows in found.places.items():
        own, mains = timeline.periods(rows, declared.get(place, ()))
        periods += [PlacedPeriod(place, each) for each in own]
        rollbacks += [(place, each, own) for each in timeline.rollbacks(mains)]
    times = sorted((each.time_ns for _, each, _ in rollbacks), reverse=True)[:MOST_MEASURED]
    return Timeline(
        found.width_ns,
        periods,
        [
            PlacedRollback(
                place,
                each,
                _measured(store, place, each, own, until) if each.time_ns >= times[-1] else None,
            )
            for place, each, own in rollbacks
        ],
    )


def _declared(
    store: Store, experiment: str, service_name: str, environment: str, *, until_ns: int | None
) -> dict[Place, list[timeline.Declared]]:
    """Load what was declared; a deployment that was given up says nothing."""
    found: dict[Place, list[timeline.Declared]] = {}
    token = ""
    while True:
        page = deployments.search(
            store,
            experiment=experiment,
            service_name=service_name,
            environment=environment,
            page_size=paging.LARGEST_SIZE,
            page_token=token,
        )
        for each in page.deployments:
            if (
                each.declared
                and each.version
                and each.status != DeploymentStatus.FAILED
                and (until_ns is None or each.start_time_ns < until_ns)
            ):
                place = Place(each.experiment, each.service_name, each.environment)
                found.setdefault(place, []).append(
                    timeline.Declared(each.start_time_ns, each.version)
                )
        token = page.next_page_token
        if not token:
            return found


def _measured(
    store: Store,
    place: Place,
    found: timeline.Rollback,
    periods: list[timeline.Period],
    until_ns: int,
) -> Measured:
    left = next(
        each
        for each in periods
        if each.version == found.from_main.version and each.main_from_ns == found.from_main.from_ns
    )
    ended = until_ns if left.end_time_ns is None else min(left.end_time_ns + 1, until_ns)
    touched = activity.window(store, place, left.version, left.start_time_ns, ended)
    to_version = found.after.version
    before_until = found.before.until_ns or found.from_main.from_ns
    before = activity.window(
        store,
        place,
        to_version,
        max(found.before.from_ns, before_until - LONGEST_NS),
        before_until,
    )
    after_until = until_ns if found.after.until_ns is None else found.after.until_ns
    after = activity.window(
        store, place, to_version, found.time_ns, min(after_until, found.time_ns + LONGEST_NS)
    )
    return Measured(
        touched,
        before.trace_count,
        after.trace_count,
        _error_rate(before, touched, after),
        _latency(before, touched, after),
    )


def _error_rate(before: Window, during: Window, after: Window) -> Recovery:
    tested = equivalence.proportions(
        (before.error_count, before.trace_count),
        (after.error_count, after.trace_count),
        margin=ERROR_MARGIN,
    )
    rates = [
        statistics.proportion(each.error_count, each.trace_count)
        for each in (before, during, after)
    ]
    return _recovery(rates, tested if _enough(before, after) else None)


def _latency(before: Window, during: Window, after: Window) -> Recovery:
    tested = None
    if _enough(before, after):
        tested = equivalence.means(
            (before.log_mean, before.log_variance, before.trace_count),
            (after.log_mean, after.log_variance, after.trace_count),
            margin=math.log1p(LATENCY_MARGIN),
        )
    return _recovery([_geometric(each) for each in (before, during, after)], tested)


def _recovery(rates: list[Estimate | None], tested: equivalence.Tested | None) -> Recovery:
    verdict = RecoveryVerdict.INCONCLUSIVE
    if tested and tested.equivalence_p_value < ALPHA:
        verdict = RecoveryVerdict.RETURNED
    elif tested and tested.worse_p_value < ALPHA:
        verdict = RecoveryVerdict.NOT_RETURNED
    return Recovery(
        before=rates[0],
        during=rates[1],
        after=rates[2],
        verdict=verdict,
        equivalence_p_value=tested.equivalence_p_value if tested else None,
        worse_p_value=tested.worse_p_value if tested else None,
    )


def _enough(*windows: Window) -> bool:
    return min(each.trace_count for each in windows) >= ENOUGH


def _geometric(found: Window) -> Estimate | None:
    """Estimate the geometric mean of durations, in milliseconds."""
    logs = statistics.mean(found.log_mean, math.sqrt(found.log_variance), found.trace_count)
    if logs is None:
        return None
    # Intervals of a handful of values may be as wide as numbers go.
    value, lower, upper = (
        None if each is None or each > 700 else math.exp(each) / 1e6
        for each in (logs.value, logs.lower, logs.upper)
    )
    return Estimate(value or 0.0, lower, upper)
