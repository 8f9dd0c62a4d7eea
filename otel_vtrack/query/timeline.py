"""Reads which versions took traces when."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import experiments
from otel_vtrack.store.client import Store

MOST_BUCKETS: Final = 500
"""Into so many buckets a range is divided at most."""
EARLIEST_NS: Final = -(1 << 63)
LATEST_NS: Final = (1 << 63) - 1

_MOST_ROWS: Final = 100_000
_SECOND_NS: Final = 1_000_000_000
_DAY_NS: Final = 86_400 * _SECOND_NS
_WIDTHS: Final = tuple(
    seconds * _SECOND_NS
    for seconds in (
        *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200),
        *(86400, 172800, 604800, 1209600, 2592000, 7776000, 31536000, 315360000),
    )
)


class Place(NamedTuple):
    """Where something is live: a service in an environment, of an experiment."""

    experiment: str
    service_name: str
    environment: str


class Activity(NamedTuple):
    """The traces of a version that began in a bucket of time; times in ns since 1970.

    Attributes:
        bucket_ns: Where the bucket begins.
        trace_count: Exact up to 65,536 and an estimate above.
        first_ns: When the earliest of the traces began.
        last_ns: When the latest did.
    """

    version: str
    bucket_ns: int
    trace_count: int
    first_ns: int
    last_ns: int


@dataclass(frozen=True, slots=True)
class Activities:
    """What took traces, by place; of each in the order of time."""

    width_ns: int
    places: dict[Place, list[Activity]]


@dataclass(frozen=True, slots=True)
class Window:
    """The traces of a version between two times.

    Attributes:
        error_count: Those whose entry span failed.
        session_count: Different sessions that they name.
        user_count: Different users that they name.
        log_mean: Mean of the natural logarithms of their durations in ns.
        log_variance: Of the same; 0 of fewer than two.
    """

    trace_count: int
    error_count: int
    session_count: int
    user_count: int
    log_mean: float
    log_variance: float


def activity(
    store: Store,
    *,
    experiment: str = "",
    service_name: str = "",
    environment: str = "",
    from_ns: int | None = None,
    until_ns: int | None = None,
) -> Activities:
    """Count traces by version and time; what is empty or None does not restrict.

    Traces whose entry span tells no version are left out.

    Args:
        store: Where to look.
        experiment: What telemetry or people call it.
        service_name: Of the entry span.
        environment: Of the entry span.
        from_ns: Traces that began then or later.
        until_ns: Traces that began before.

    Raises:
        InvalidArgument: There is too much to tell.
    """
    where = {
        "experiment": experiments.resolve(store, experiment),
        "service_name": service_name,
        "environment": environment,
        "from_ns": EARLIEST_NS if from_ns is None else from_ns,
        "until_ns": LATEST_NS if until_ns is None else max(until_ns - 1, EARLIEST_NS),
    }
    [extent] = store.query("timeline/extent", where)
    if extent["first_ns"] is None:
        return Activities(_WIDTHS[0], {})
    width = _width(extent["last_ns"] - extent["first_ns"])
    rows = store.query("timeline/activity", {**where, "width_ns": width})
    if len(rows) > _MOST_ROWS:
        raise InvalidArgument(
            "there are too many services, environments and versions for one timeline: say which"
            " service and environment, or a shorter time"
        )
    places: dict[Place, list[Activity]] = {}
    for row in rows:
        place = Place(*(row.pop(name) for name in Place._fields))
        places.setdefault(place, []).append(Activity(**row))
    return Activities(width, places)


def window(store: Store, place: Place, version: str, from_ns: int, until_ns: int) -> Window:
    """Say what happened to the traces of a version from one time until just before another."""
    until_ns = min(until_ns - 1, LATEST_NS)
    [row] = store.query(
        "timeline/window",
        {
            **place._asdict(),
            "version": version,
            "from_ns": from_ns,
            "until_ns": until_ns,
            "rows_from_ns": max(from_ns - _DAY_NS, EARLIEST_NS),
            "rows_until_ns": min(until_ns + _DAY_NS, LATEST_NS),
        },
    )
    return Window(**row)


def _width(length_ns: int) -> int:
    # One bucket more than fits may be begun at either end.
    return next(
        (width for width in _WIDTHS if length_ns <= width * (MOST_BUCKETS - 1)), _WIDTHS[-1]
    )
