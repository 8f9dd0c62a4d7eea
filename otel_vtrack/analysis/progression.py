"""Determine how versions move through environments, as from development to production.

The rules, for one service:

- Environments are in the order in which versions enter them. Of two, the one that more versions
  entered first comes first; of all, the one that comes before more of the others (Copeland's rule).
  Ties are broken by well-known names (deployment.environment.name of OpenTelemetry's conventions,
  and usual ones), then by time.
- A version is *stuck* in the last environment it entered if a version that entered that one later
  has moved past it, or if it has been there for longer than a limit without moving on.
- It *skipped* each environment before that one that it did not enter, unless it was already in a
  later environment when the known history of that later one begins.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import groupby, pairwise
from typing import Final, NamedTuple

from otel_vtrack.analysis import rollbacks, statistics, timeline
from otel_vtrack.analysis.statistics import Estimate
from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import progression as reading
from otel_vtrack.query import timeline as activity
from otel_vtrack.query.progression import Facts, Sample
from otel_vtrack.query.timeline import Activities, Instances, Place, Time
from otel_vtrack.store.client import Store

STUCK_AFTER_NS: Final = 7 * 86_400_000_000_000
DEFAULT_VERSIONS: Final = 20
MOST_VERSIONS: Final = 100
LONGEST_NS: Final = 7 * 86_400_000_000_000
"""Longest time of a version in an environment that figures are computed from: the latest part."""

_USUAL: Final = tuple(
    re.compile(each)
    for each in (r"^(dev|local|sandbox)", r"^(test|ci|qa)", r"^(stag|uat|pre)", r"^(prod|live)")
)
# Compared only if both sides report them.
_IDENTITY: Final = frozenset({"git_commit", "git_dirty", "deployment_id"})


class State(IntEnum):
    """How far a version got; numbers as in timeline.proto."""

    COMPLETE = 1
    UNDER_WAY = 2
    STUCK = 3


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a version stands; timeline.proto explains each field."""

    state: State
    skipped: tuple[str, ...]
    overtaken_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A version in an environment; timeline.proto explains each field."""

    environment: str
    entered_ns: int
    main_from_ns: int | None
    live_ns: int
    last_seen_ns: int | None
    still_live: bool
    trace_count: int
    instance_count: int
    error_rate: Estimate | None
    latency_p50: Estimate | None
    latency_p95: Estimate | None
    tokens_per_trace: Estimate | None
    sampled_one_in: int


class Change(NamedTuple):
    """Values of a version that differ between one environment and the next."""

    from_environment: str
    to_environment: str
    what: str
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Progression:
    """A version's way through environments."""

    experiment: str
    service_name: str
    version: str
    standing: Standing
    steps: list[Step]
    changes: list[Change]


@dataclass(frozen=True, slots=True)
class Order:
    """The environments of a service, from first to last."""

    experiment: str
    service_name: str
    environments: tuple[str, ...]
    derived: bool


@dataclass(frozen=True, slots=True)
class Progressions:
    """The order of each service, and versions, the one that began last first."""

    orders: list[Order]
    progressions: list[Progression]


Entries = Mapping[str, Mapping[str, int]]
"""When versions entered environments, in nanoseconds since 1970, by version and environment."""


def order(entries: Entries) -> tuple[str, ...]:
    """Sort environments into the order in which versions enter them."""
    names = {name for entered in entries.values() for name in entered}

    usual = {
        name: next((at for at, each in enumerate(_USUAL) if each.match(name.lower())), 2.5)
        for name in names
    }

    def before(one: str, other: str) -> int:
        both = [each for each in entries.values() if one in each and other in each]
        ahead = sum((each[one] < each[other]) - (each[one] > each[other]) for each in both)
        # A tie decided only at the end would put what shares no version with others between them.
        ahead = ahead or usual[other] - usual[one]
        return (ahead > 0) - (ahead < 0)

    def place(name: str) -> tuple[int, float, int, str]:
        first = min(each[name] for each in entries.values() if name in each)
        return -sum(before(name, other) for other in names - {name}), usual[name], first, name

    return tuple(sorted(names, key=place))


def standing(
    version: str,
    entries: Entries,
    environments: Sequence[str],
    *,
    now_ns: int,
    stuck_after_ns: int,
    came: Collection[str],
) -> Standing:
    """Determine where a version stands that entered at least one of these environments.

    Args:
        version: The version.
        entries: Of all versions.
        environments: From first to last.
        now_ns: The end of the known history.
        stuck_after_ns: The limit after which a version is stuck.
        came: Environments where it is known not to have been before.
    """
    entered = entries[version]
    last = max(at for at, name in enumerate(environments) if name in entered)
    skipped = tuple(
        name
        for at, name in enumerate(environments[:last])
        if name not in entered
        and all(each in came for each in environments[at + 1 :] if each in entered)
    )
    if last == len(environments) - 1:
        return Standing(State.COMPLETE, skipped, "")
    here, beyond = environments[last], environments[last + 1 :]
    past = [
        (min(times[name] for name in beyond if name in times), other)
        for other, times in entries.items()
        if times.get(here, -1) > entered[here] and any(name in times for name in beyond)
    ]
    if past:
        return Standing(State.STUCK, skipped, min(past)[1])
    waits = now_ns - entered[here] > stuck_after_ns
    return Standing(State.STUCK if waits else State.UNDER_WAY, skipped, "")


def changes(steps: Sequence[tuple[str, Mapping[str, frozenset[str]]]]) -> list[Change]:
    """List what differs from one environment to the next."""
    found: list[Change] = []
    for (one, before), (other, after) in pairwise(steps):
        for what in sorted({*before, *after}):
            values = [tuple(sorted(each.get(what, ()))) for each in (before, after)]
            if values[0] != values[1] and (what not in _IDENTITY or all(values)):
                found.append(Change(one, other, what, *values))
    return found


class _Live(NamedTuple):
    """A version's time in a place."""

    place: Place
    version: str
    periods: list[timeline.Period]

    @property
    def entered_ns(self) -> int:
        return min(each.start_time_ns for each in self.periods)

    @property
    def came(self) -> bool:
        """Whether it is known not to have been there before."""
        return all(each.came for each in self.periods)


def tell(
    store: Store,
    *,
    experiment: str = "",
    service_name: str = "",
    version: str = "",
    environments: Sequence[str] = (),
    from_ns: int | None = None,
    until_ns: int | None = None,
    stuck_after_ns: int | None = None,
    max_versions: int = 0,
) -> Progressions:
    """Return how versions moved through environments; empty or None does not restrict.

    Args:
        store: Where to look.
        experiment: Its name, from telemetry or given by people.
        service_name: Exact.
        version: Exact.
        environments: From first to last; empty to derive the order.
        from_ns: Traces that began then or later.
        until_ns: Traces that began before.
        stuck_after_ns: None for seven days.
        max_versions: 0 for the default.

    Raises:
        InvalidArgument: The result would be too large, or an argument is out of range.
    """
    if max_versions > MOST_VERSIONS:
        raise InvalidArgument(f"max_versions is {max_versions}: the limit is {MOST_VERSIONS}")
    if len(set(environments)) < len(environments):
        raise InvalidArgument("environments names one twice: name each once, first to last")
    if stuck_after_ns is not None and stuck_after_ns < 0:
        raise InvalidArgument("stuck_after is below 0: say how long is too long")
    found = activity.activity(
        store,
        experiment=experiment,
        service_name=service_name,
        from_ns=from_ns,
        until_ns=until_ns,
    )
    declared = rollbacks.declarations(store, experiment, service_name, "", until_ns=until_ns)
    now = min(found.last_ns, activity.LATEST_NS if until_ns is None else until_ns)
    lives = sorted(
        _Live(place, name, list(periods))
        for place, rows in found.places.items()
        if place.environment and (not environments or place.environment in environments)
        for name, periods in _by_version(timeline.periods(rows, declared.get(place, ()))[0])
    )
    orders: list[Order] = []
    chosen: list[tuple[Order, Standing, list[_Live]]] = []
    for (owner, service), group in groupby(lives, lambda each: each.place[:2]):
        of: dict[str, list[_Live]] = {}
        for each in group:
            of.setdefault(each.version, []).append(each)
        entries = {
            name: {each.place.environment: each.entered_ns for each in own}
            for name, own in of.items()
        }
        orders.append(
            Order(owner, service, tuple(environments) or order(entries), not environments)
        )
        sequence = orders[-1].environments
        for name, own in of.items():
            if version in {"", name}:
                stands = standing(
                    name,
                    entries,
                    sequence,
                    now_ns=now,
                    stuck_after_ns=STUCK_AFTER_NS if stuck_after_ns is None else stuck_after_ns,
                    came={each.place.environment for each in own if each.came},
                )
                own.sort(key=lambda each: sequence.index(each.place.environment))
                chosen.append((orders[-1], stands, own))
    chosen.sort(key=lambda each: min(live.entered_ns for live in each[2]), reverse=True)
    return Progressions(
        orders, _progressions(store, found, chosen[: max_versions or DEFAULT_VERSIONS], now)
    )


def _by_version(
    periods: Iterable[timeline.Period],
) -> Iterable[tuple[str, Iterable[timeline.Period]]]:
    version: Callable[[timeline.Period], str] = lambda each: each.version  # noqa: E731
    return groupby(sorted(periods, key=version), version)


def _progressions(
    store: Store,
    known_of: Activities,
    chosen: Sequence[tuple[Order, Standing, list[_Live]]],
    now_ns: int,
) -> list[Progression]:
    """Query the activity and the facts of the versions, of all of them at once."""
    lives = [live for _, _, own in chosen for live in own]
    ends = [max(_ended(each, now_ns) for each in live.periods) for live in lives]
    whole = [
        Time(live.place, live.version, live.entered_ns, end)
        for live, end in zip(lives, ends, strict=True)
    ]
    late = [each._replace(from_ns=max(each.from_ns, each.until_ns - LONGEST_NS)) for each in whole]
    counts = [_count(known_of, each) for each in late]
    seen = dict(
        zip(
            [(live.place, live.version) for live in lives],
            zip(
                lives,
                activity.instances(store, whole),
                reading.samples(store, late, counts),
                strict=True,
            ),
            strict=True,
        )
    )
    known = reading.facts(store, seen)
    found: list[Progression] = []
    for of, stands, own in chosen:
        keys = [(live.place, live.version) for live in own]
        found.append(
            Progression(
                of.experiment,
                of.service_name,
                own[0].version,
                stands,
                [_step(*seen[key], now_ns) for key in keys],
                changes(
                    [(key[0].environment, _values(known.get(key), seen[key][2])) for key in keys]
                ),
            )
        )
    return found


def _count(found: Activities, time: Time) -> int:
    """Count the stored traces of a time, by the buckets it overlaps."""
    return sum(
        each.seen_count
        for each in found.places[time.place]
        if each.version == time.version
        and each.bucket_ns + found.width_ns > time.from_ns
        and each.bucket_ns < time.until_ns
    )


def _ended(period: timeline.Period, now_ns: int) -> int:
    ends = (period.end_time_ns, period.last_seen_ns, now_ns)
    return max(next(each for each in ends if each is not None), period.start_time_ns) + 1


def _values(known: Facts | None, sample: Sample) -> dict[str, frozenset[str]]:
    values = dict(known.values) if known else {}
    return values | {"model": frozenset(sample.models)}


def _step(live: _Live, instances: Instances, sample: Sample, now_ns: int) -> Step:
    mains = [each.main_from_ns for each in live.periods if each.main_from_ns is not None]
    seen = [each.last_seen_ns for each in live.periods if each.last_seen_ns is not None]
    count = statistics.EXACT_UP_TO + 1 if sample.is_weighed else sample.trace_count
    median, most, _ = statistics.quantiles(sample.durations, count)
    return Step(
        environment=live.place.environment,
        entered_ns=live.entered_ns,
        main_from_ns=min(mains, default=None),
        last_seen_ns=max(seen, default=None),
        live_ns=sum(_ended(each, now_ns) - 1 - each.start_time_ns for each in live.periods),
        still_live=any(each.end_time_ns is None for each in live.periods),
        trace_count=sum(each.trace_count for each in live.periods),
        instance_count=instances.instance_count,
        error_rate=rollbacks.error_rate(sample.window),
        latency_p50=median,
        latency_p95=most,
        tokens_per_trace=statistics.mean(
            sample.token_mean, sample.token_deviation, sample.token_trace_count
        ),
        sampled_one_in=sample.one_in,
    )
