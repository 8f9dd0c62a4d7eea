"""Read which versions were active when, and the outcomes of their traces."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Final, NamedTuple

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import experiments
from otel_vtrack.store.client import Store

MOST_BUCKETS: Final = 500
"""The most buckets that a range is divided into."""
MOST_BY_SECONDS: Final = 50_000
"""Above this many traces, minutes hold enough of them, and counting by seconds costs too much."""
EARLIEST_NS: Final = -(1 << 63)
LATEST_NS: Final = (1 << 63) - 1

_MOST_ROWS: Final = 100_000
_MOST_DAYS: Final = 4_000
# A server receives parameters in its URL, which is limited to a megabyte.
_MOST_TIMES: Final = 500
_LIKELY_HOURS: Final = 3
_ALL_HOURS: Final = 20_000
_SECOND_NS: Final = 1_000_000_000
_MINUTE_NS: Final = 60 * _SECOND_NS
_HOUR_NS: Final = 60 * _MINUTE_NS
_DAY_NS: Final = 86_400 * _SECOND_NS
# Parts of `activity`: joining a second set of counts takes as long as counting.
_UNWEIGHED: Final = {
    "traces": "uniqMerge(u.traces)",
    "counted": "c.traces AS trace_count, 0 AS next_count",
}
_WIDTHS: Final = tuple(
    seconds * _SECOND_NS
    for seconds in (
        *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200),
        *(86400, 172800, 604800, 1209600, 2592000, 7776000, 31536000, 315360000),
    )
)


class Place(NamedTuple):
    """Where a version is live: a service in an environment of an experiment."""

    experiment: str
    service_name: str
    environment: str


class Activity(NamedTuple):
    """The traces that a version started in a time bucket; times in ns since 1970.

    Attributes:
        bucket_ns: Where the bucket starts.
        trace_count: Traces with an entry span of the version, each counted as many times as it
            represents; exact up to 65,536, an estimate above.
        first_ns: Start of the earliest of these spans.
        last_ns: Start of the latest.
        instance_count: Instances that they came from; 0 if unknown.
        stored_count: Traces stored; 0 if that equals `trace_count`.
    """

    version: str
    bucket_ns: int
    trace_count: int
    first_ns: int
    last_ns: int
    instance_count: int = 0
    stored_count: int = 0

    @property
    def seen_count(self) -> int:
        """Return the number of stored traces."""
        return self.stored_count or self.trace_count


@dataclass(frozen=True, slots=True)
class Activities:
    """The activity of versions by place, each in the order of time.

    Attributes:
        width_ns: The width of a bucket.
        last_ns: The latest start of all; 0 if there is none.
    """

    width_ns: int
    last_ns: int
    places: dict[Place, list[Activity]]


class Time(NamedTuple):
    """A time range of a version in a place; its end is exclusive."""

    place: Place
    version: str
    from_ns: int
    until_ns: int


class Declaration(NamedTuple):
    """A declaration that a version is put live in a place; in nanoseconds since 1970."""

    place: Place
    version: str
    start_time_ns: int


class Instances(NamedTuple):
    """How many instances of a service ran a version: in total, and at most in one minute."""

    instance_count: int = 0
    peak_instance_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The traces of a version in a time range; a cluster is a session, else a trace.

    A trace counts as many times as it represents, in sums as well.

    Attributes:
        stored_count: The number of stored traces, each counted once.
        error_count: Traces whose entry span failed.
        session_count: Distinct sessions that they name.
        user_count: Distinct users that they name.
        log_sum: Sum of the natural logarithms of the entry spans' durations in ms.
        nn: Sum over clusters of the square of their traces.
        nf: Sum of traces times failures.
        ff: Sum of the square of failures.
        nl: Sum of traces times the cluster's part of `log_sum`.
        ll: Sum of the square of that part.
    """

    stored_count: int = 0
    trace_count: float = 0.0
    error_count: float = 0.0
    cluster_count: int = 0
    session_count: int = 0
    user_count: int = 0
    log_sum: float = 0.0
    nn: float = 0.0
    nf: float = 0.0
    ff: float = 0.0
    nl: float = 0.0
    ll: float = 0.0


def activity(
    store: Store,
    *,
    experiment: str = "",
    service_name: str = "",
    environment: str = "",
    from_ns: int | None = None,
    until_ns: int | None = None,
) -> Activities:
    """Count traces by version and time; empty or None does not restrict.

    Counts the entry spans of services, without those that name no version. Where buckets are whole
    minutes, the minutes at the ends of the range are counted in full.

    Args:
        store: The store to query.
        experiment: Its name in telemetry or its display name.
        service_name: The entry span's service.
        environment: The entry span's environment.
        from_ns: Spans that started at or after this time.
        until_ns: Spans that started before this time.

    Raises:
        InvalidArgument: There are too many rows.
    """
    where: dict[str, Any] = {
        "experiment": experiments.resolve(store, experiment),
        "service_name": service_name,
        "environment": environment,
    }
    since_ns = EARLIEST_NS if from_ns is None else from_ns
    to_ns = LATEST_NS if until_ns is None else max(until_ns - 1, EARLIEST_NS)
    [extent] = store.query("timeline/extent", where | _range(since_ns, to_ns, by_hours=True))
    if extent["first_ns"] is None:
        return Activities(_WIDTHS[0], 0, {})
    first_ns = max(extent["first_ns"], since_ns)
    last_ns = min(extent["last_ns"], to_ns)
    exact = where | {"from_ns": first_ns, "until_ns": last_ns}
    width = _width(last_ns - first_ns, extent["hours"])
    if width < _MINUTE_NS:
        [count] = store.query("timeline/count", exact)
        if count["trace_count"] > MOST_BY_SECONDS:
            width = _MINUTE_NS
    if width < _MINUTE_NS:
        rows = store.query("timeline/seconds", {**exact, "width_ns": width})
    else:
        minutes = _range(since_ns, to_ns, by_hours=width >= _HOUR_NS)
        rows = store.query(
            "timeline/activity",
            where | minutes | {"width_ns": width},
            {} if extent["is_weighed"] else _UNWEIGHED,
        )
    if len(rows) > _MOST_ROWS:
        raise InvalidArgument(
            "there are too many services, environments and versions for one timeline: choose a"
            " service and environment, or a shorter time range"
        )
    places: dict[Place, list[Activity]] = {}
    for row in rows:
        place = Place(*(row.pop(name) for name in Place._fields))
        places.setdefault(place, []).append(Activity(**row))
    return Activities(width, extent["last_ns"], places)


def declared(
    store: Store,
    *,
    experiment: str = "",
    service_name: str = "",
    environment: str = "",
    until_ns: int | None = None,
) -> list[Declaration]:
    """List declarations in the order of time; see `activity` for the arguments.

    Failed deployments are left out.
    """
    if not store.query("timeline/was_declared"):
        return []
    rows = store.query(
        "timeline/declared",
        {
            "experiment": experiments.resolve(store, experiment),
            "service_name": service_name,
            "environment": environment,
            "until_ns": LATEST_NS if until_ns is None else max(until_ns - 1, EARLIEST_NS),
        },
    )
    return [
        Declaration(
            Place(*(row[name] for name in Place._fields)), row["version"], row["start_time_ns"]
        )
        for row in rows
    ]


def instances(store: Store, times: Sequence[Time]) -> list[Instances]:
    """Count the instances seen in each of some time ranges, by whole minutes.

    Hourly counts give the total and bound the number per minute: only the minutes of the hours with
    the most instances are read, unless they leave the peak open.
    """
    counts = [Instances()] * len(times)
    open_: list[int] = []
    bounds: dict[int, int] = {}
    likely: list[tuple[int, Time]] = []
    for at, row in _asked(store, "timeline/instance_hours", times):
        if row["is_cut"]:
            open_.append(at)
            continue
        hours = [(count, hour * _HOUR_NS) for count, hour in row["hours"]]
        # At most one known instance in any hour: the peak per minute is the same.
        counts[at] = Instances(row["instance_count"], min(hours[0][0], 1))
        if hours[0][0] > 1:
            *asked, (bounds[at], _) = hours if len(hours) > _LIKELY_HOURS else [*hours, (0, 0)]
            likely += [
                (at, times[at]._replace(from_ns=hour, until_ns=hour + _HOUR_NS))
                for _, hour in asked
            ]
    for number, row in _asked(store, "timeline/instances", [time for _, time in likely]):
        at = likely[number][0]
        peak = max(counts[at].peak_instance_count, row["peak_instance_count"])
        counts[at] = counts[at]._replace(peak_instance_count=peak)
    open_ += [at for at, bound in bounds.items() if counts[at].peak_instance_count < bound]
    for number, row in _asked(store, "timeline/instances", [times[at] for at in open_]):
        counts[open_[number]] = Instances(**row)
    return counts


def _asked(store: Store, name: str, times: Sequence[Time]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Query times in chunks; yield each row with the index of its time, from 0."""
    for start in range(0, len(times), _MOST_TIMES):
        some = times[start : start + _MOST_TIMES]
        asked = bound(some)
        if name == "timeline/instances":
            asked["hours"] = _hours(some)
        for row in store.query(name, asked):
            yield start + row.pop("number") - 1, row


def windows(store: Store, times: Sequence[Time]) -> list[Window]:
    """Sum up the traces of each time range, in one query."""
    found = [Window()] * len(times)
    if times:
        for row in store.query("timeline/windows", bound(times)):
            number = row.pop("number")
            found[number - 1] = Window(**row)
    return found


def bound(times: Sequence[Time]) -> dict[str, Any]:
    """Return the query parameters for some times: arrays, and the days to read."""
    return {
        "experiments": [each.place.experiment for each in times],
        "service_names": [each.place.service_name for each in times],
        "environments": [each.place.environment for each in times],
        "versions": [each.version for each in times],
        "froms_ns": [each.from_ns for each in times],
        "untils_ns": [each.until_ns for each in times],
        "days": _days(times),
    }


def _range(from_ns: int, to_ns: int, *, by_hours: bool) -> dict[str, int]:
    """Return the query parameters for a range in whole minutes, both ends included.

    The hours are those to read by the hour: all that lie fully in the range, or none.
    """
    # The engine's division rounds towards zero.
    first, last = (abs(each) // _MINUTE_NS * (1 if each > 0 else -1) for each in (from_ns, to_ns))
    hours = (-(-first // 60), (last + 1) // 60) if by_hours else (0, 0)
    return {
        "first_minute": first,
        "end_minute": last + 1,
        "first_hour": hours[0],
        "end_hour": max(hours),
    }


def _hours(times: Sequence[Time]) -> list[int]:
    """List the hours that the times are; empty, which means all, if any is not a whole hour."""
    hours = {each.from_ns // _HOUR_NS for each in times}
    whole = all(
        each.from_ns % _HOUR_NS == 0 and each.until_ns - each.from_ns == _HOUR_NS for each in times
    )
    return sorted(hours) if whole else []


def _days(times: Sequence[Time]) -> list[str]:
    """List the days that the times touch; empty, which means all, if there are too many."""
    days: set[int] = set()
    for each in times:
        first, last = each.from_ns // _DAY_NS, (each.until_ns - 1) // _DAY_NS
        if last - first > _MOST_DAYS or len(days) > _MOST_DAYS:
            return []
        days.update(range(first, last + 1))
    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
    return [(epoch + timedelta(days=each)).date().isoformat() for each in sorted(days)]


def _width(length_ns: int, hours: Sequence[int]) -> int:
    """Choose the bucket width, so that not too many buckets have activity.

    A few distant hours need few buckets: one trace from a clock that is wrong by years, or a long
    pause, does not widen the buckets.
    """
    # A range may touch one bucket more, because both ends may lie within a bucket.
    most = MOST_BUCKETS - 1
    for width in _WIDTHS:
        if length_ns <= width * most:
            return width
        if len(hours) < _ALL_HOURS:
            filled = hours if width < _HOUR_NS else {hour * _HOUR_NS // width for hour in hours}
            if len(filled) * max(_HOUR_NS // width, 1) <= most:
                return width
    return _WIDTHS[-1]
