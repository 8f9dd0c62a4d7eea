"""The timeline of services in environments: what was live when, and the effect of rollbacks.

`analysis.timeline` has the rules, `analysis.equivalence` the tests; this module queries the store.
"""

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from otel_vtrack.analysis import equivalence, statistics, timeline
from otel_vtrack.analysis.equivalence import Mean, Share
from otel_vtrack.analysis.statistics import Estimate
from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import timeline as activity
from otel_vtrack.query.timeline import Activity, Instances, Place, Time, Window
from otel_vtrack.store.client import Store

ALPHA: Final = 0.05
ERROR_MARGIN: Final = 0.01
"""Error rates that differ by less are equivalent."""
LATENCY_MARGIN: Final = 0.05
"""Durations whose geometric means differ by a smaller share are equivalent."""
ENOUGH: Final = 20
"""Fewest traces before and after needed for a conclusion, as in `analysis.compare`."""
MOST_MEASURED: Final = 50
"""How many of the latest rollbacks to measure."""
LONGEST_NS: Final = 7 * 86_400_000_000_000
"""Longest time before and after a rollback to look at."""


class RecoveryVerdict(IntEnum):
    """Whether a metric returned to its earlier level; numbers as in timeline.proto."""

    RETURNED = 1
    NOT_RETURNED = 2
    INCONCLUSIVE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """Whether a metric returned to its level before; timeline.proto explains each field."""

    before: Estimate | None
    during: Estimate | None
    after: Estimate | None
    verdict: RecoveryVerdict
    equivalence_p_value: float | None
    worse_p_value: float | None


@dataclass(frozen=True, slots=True)
class Measured:
    """What the traces of a rollback show; timeline.proto explains each field."""

    touched: Window
    before_count: int
    after_count: int
    error_rate: Recovery
    latency: Recovery


@dataclass(frozen=True, slots=True)
class PlacedPeriod:
    """A period, its place, and how many instances it had."""

    place: Place
    period: timeline.Period
    instances: Instances


@dataclass(frozen=True, slots=True)
class PlacedRollback:
    """A rollback, its place, and what its traces show; None if it was not measured."""

    place: Place
    rollback: timeline.Rollback
    measured: Measured | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """Periods and rollbacks by place, each in time order, and the activity they derive from."""

    bucket_width_ns: int
    periods: list[PlacedPeriod]
    rollbacks: list[PlacedRollback]
    activity: dict[Place, list[Activity]]


@dataclass(frozen=True, slots=True)
class Margins:
    """The margins below which a difference counts as none.

    Attributes:
        error_rate: For error rates, absolute.
        latency: For geometric means of durations, as a share.

    Raises:
        InvalidArgument: One is out of range.
    """

    error_rate: float = ERROR_MARGIN
    latency: float = LATENCY_MARGIN

    def __post_init__(self) -> None:
        """Reject margins that allow no test."""
        if not 0 < self.error_rate < 1:
            raise InvalidArgument("error_rate_margin is not between 0 and 1: 0.01 is a point")
        if not 0 < self.latency < math.inf:
            raise InvalidArgument("latency_margin is not above 0: 0.05 is 5 %")


def tell(
    store: Store,
    *,
    experiment: str = "",
    service_name: str = "",
    environment: str = "",
    from_ns: int | None = None,
    until_ns: int | None = None,
    margins: Margins | None = None,
    measures: bool = True,
) -> Timeline:
    """Return what was live when; see `query.timeline.activity` for the arguments.

    `margins` define what counts as returned, None for the defaults; `measures` whether to test it.

    Raises:
        InvalidArgument: The result would be too large.
    """
    found = activity.activity(
        store,
        experiment=experiment,
        service_name=service_name,
        environment=environment,
        from_ns=from_ns,
        until_ns=until_ns,
    )
    declared = declarations(store, experiment, service_name, environment, until_ns=until_ns)
    # No window reaches beyond the data.
    until = min(found.last_ns + 1, activity.LATEST_NS if until_ns is None else until_ns)
    periods: list[tuple[Place, timeline.Period]] = []
    rollbacks: list[tuple[Place, timeline.Rollback, list[timeline.Period]]] = []
    for place, rows in found.places.items():
        own, mains = timeline.periods(rows, declared.get(place, ()))
        periods += [(place, each) for each in own]
        rollbacks += [(place, each, own) for each in timeline.rollbacks(mains)]
    counts = activity.instances(
        store,
        [
            Time(place, each.version, each.start_time_ns, _ended(each, until))
            for place, each in periods
        ],
    )
    return Timeline(
        found.width_ns,
        [PlacedPeriod(*each, count) for each, count in zip(periods, counts, strict=True)],
        _measured(store, rollbacks, until, margins or Margins())
        if measures
        else [PlacedRollback(place, each, None) for place, each, _ in rollbacks],
        found.places,
    )


def _ended(period: timeline.Period, until_ns: int) -> int:
    end = until_ns if period.end_time_ns is None else min(period.end_time_ns + 1, until_ns)
    return max(end, period.start_time_ns + 1)


def declarations(
    store: Store, experiment: str, service_name: str, environment: str, *, until_ns: int | None
) -> dict[Place, list[timeline.Declared]]:
    """Load declared deployments; those that were abandoned are left out."""
    found: dict[Place, list[timeline.Declared]] = {}
    for each in activity.declared(
        store,
        experiment=experiment,
        service_name=service_name,
        environment=environment,
        until_ns=until_ns,
    ):
        found.setdefault(each.place, []).append(timeline.Declared(each.start_time_ns, each.version))
    return found


def _measured(
    store: Store,
    rollbacks: list[tuple[Place, timeline.Rollback, list[timeline.Period]]],
    until_ns: int,
    margins: Margins,
) -> list[PlacedRollback]:
    """Measure the latest rollbacks with a single query."""
    moments = sorted((each.time_ns for _, each, _ in rollbacks), reverse=True)[:MOST_MEASURED]
    latest = [each for each in rollbacks if each[1].time_ns >= moments[-1]]
    times = [time for each in latest for time in _times(*each, until_ns=until_ns)]
    windows = iter(activity.windows(store, times))
    measured = {
        id(found): _compared(before, during, after, margins)
        for (_, found, _), before, during, after in zip(
            latest, windows, windows, windows, strict=True
        )
    }
    return [PlacedRollback(place, each, measured.get(id(each))) for place, each, _ in rollbacks]


def _times(
    place: Place, found: timeline.Rollback, periods: list[timeline.Period], *, until_ns: int
) -> list[Time]:
    """Return the times before, during and after a rollback."""
    left = next(
        each
        for each in periods
        if each.version == found.from_main.version and each.main_from_ns == found.from_main.from_ns
    )
    to_version = found.after.version
    before_until = found.before.until_ns or found.from_main.from_ns
    after_until = until_ns if found.after.until_ns is None else found.after.until_ns
    return [
        Time(place, to_version, max(found.before.from_ns, before_until - LONGEST_NS), before_until),
        Time(place, left.version, left.start_time_ns, _ended(left, until_ns)),
        Time(place, to_version, found.time_ns, min(after_until, found.time_ns + LONGEST_NS)),
    ]


def _compared(before: Window, during: Window, after: Window, margins: Margins) -> Measured:
    return Measured(
        during,
        before.stored_count,
        after.stored_count,
        _error_rate(before, during, after, margins.error_rate),
        _latency(before, during, after, math.log1p(margins.latency)),
    )


def _error_rate(before: Window, during: Window, after: Window, margin: float) -> Recovery:
    sides = (before, during, after)
    # Without failures, how they cluster is unknown: then the other sides' effect applies.
    usual = max((_design_effect(each) or 1.0 for each in sides), default=1.0)
    shares = [_share(each, usual) for each in sides]
    tested = None
    if _enough(before, after) and shares[0] and shares[2]:
        tested = equivalence.proportions(shares[0], shares[2], margin=margin)
    return _recovery([each and statistics.proportion(*each) for each in shares], tested)


def error_rate(found: Window) -> Estimate | None:
    """Estimate the share of traces that fail, clustered by session; None without traces."""
    share = _share(found, 1.0)
    return share and statistics.proportion(*share)


def _share(found: Window, usual: float) -> Share | None:
    if not found.trace_count:
        return None
    effect = _design_effect(found)
    return equivalence.independent(
        _stored_share(found),
        found.cluster_count,
        usual if effect is None else effect,
    )


def _design_effect(found: Window) -> float | None:
    if found.cluster_count < 2:
        return None
    variance = equivalence.variance_of_mean(
        found.cluster_count,
        found.trace_count,
        found.error_count,
        nn=found.nn,
        nt=found.nf,
        tt=found.ff,
    )
    return equivalence.design_effect(variance, _stored_share(found))


def _stored_share(found: Window) -> Share:
    """Return the share that failed, with the number of stored traces as trials."""
    if found.stored_count == found.trace_count:
        return Share(found.error_count, found.stored_count)
    return Share(found.error_count / found.trace_count * found.stored_count, found.stored_count)


def _latency(before: Window, during: Window, after: Window, margin: float) -> Recovery:
    means = [_mean(each) for each in (before, during, after)]
    tested = None
    if _enough(before, after) and means[0] and means[2]:
        tested = equivalence.means(means[0], means[2], margin=margin)
    return _recovery([_geometric(each) for each in (before, during, after)], tested)


def _mean(found: Window) -> Mean | None:
    """Return the mean of the logarithms of durations; None for fewer than two clusters."""
    if found.cluster_count < 2:
        return None
    variance = equivalence.variance_of_mean(
        found.cluster_count,
        found.trace_count,
        found.log_sum,
        nn=found.nn,
        nt=found.nl,
        tt=found.ll,
    )
    return Mean(found.log_sum / found.trace_count, variance, found.cluster_count - 1)


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
    return min(each.stored_count for each in windows) >= ENOUGH and (
        min(each.cluster_count for each in windows) > 1
    )


def _geometric(found: Window) -> Estimate | None:
    """Estimate the geometric mean of durations, in milliseconds."""
    if not found.trace_count:
        return None
    mean, count = _mean(found), found.cluster_count
    deviation = math.sqrt(mean.variance * count) if mean else 0.0
    logs = statistics.mean(found.log_sum / found.trace_count, deviation, count)
    if logs is None:
        return None
    # Intervals of a handful of values can be wide enough to overflow.
    value, lower, upper = (
        None if each is None or each > 700 else math.exp(each)
        for each in (logs.value, logs.lower, logs.upper)
    )
    return Estimate(value or 0.0, lower, upper)
