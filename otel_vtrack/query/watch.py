"""Read what the deployment watch examines, and what it found."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import experiments, paging
from otel_vtrack.query.timeline import EARLIEST_NS, LATEST_NS, Place
from otel_vtrack.store.client import Store

MOST_ROUTES: Final = 50
"""How many routes are distinguished, the baseline's most frequent; all others count as one."""
FEWEST_SHARED: Final = 0.05
"""With a smaller share of the candidate's traces on the baseline's routes, all count as one."""

_DAY_NS: Final = 86_400_000_000_000
_WIDTH_NS: Final = 300_000_000_000
_MOST_ROWS: Final = 200_000


class SeenVersion(NamedTuple):
    """A version recently reported by spans of any kind.

    Attributes:
        first_ns: Start of its first span ever, in nanoseconds since 1970.
        deployment_id: Its last deployment; empty if none was reported.
        deployment_count: The number of its recent deployments.
    """

    place: Place
    version: str
    first_ns: int
    deployment_id: str
    deployment_count: int


class DeclaredDeployment(NamedTuple):
    """A declaration that a version is put live at a time; in nanoseconds since 1970."""

    place: Place
    deployment_id: str
    version: str
    start_ns: int


class DeploymentActivity(NamedTuple):
    """What a deployment of a version started in a time bucket; see `Activity`.

    Attributes:
        deployment_id: Empty if unknown or not requested.
    """

    version: str
    deployment_id: str
    bucket_ns: int
    trace_count: int
    first_ns: int
    last_ns: int


class Side(NamedTuple):
    """Which traces to compare: those of a version, or of one deployment of it.

    Attributes:
        deployment_id: Empty for all deployments of the version.
    """

    version: str
    deployment_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two sides in one place, and which of their traces to compare; times in ns since 1970.

    Attributes:
        candidate: Its traces since `start_ns`; earlier ones are the baseline's if it matches them.
        start_ns: When the candidate was put live.
        from_ns: Traces that started at or after this time.
        until_ns: Traces that started before this time.
        since_ns: The start of each period of that time range; the first is `from_ns`.
    """

    place: Place
    baseline: Side
    candidate: Side
    start_ns: int
    from_ns: int
    until_ns: int
    since_ns: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SideSums:
    """Sums for one side's traces, adjusted for routes; metrics are in the order of the query.

    Attributes:
        trace_count: All of its traces.
        cluster_count: Clusters with a trace on a route that both versions have.
        compared_count: Traces on such routes.
        route_count: How many such routes there are.
        routes_pooled: Whether all routes count as one because the sides share hardly any.
        effective_count: How many traces would give a plain mean the variance of the weighted one.
        means: Weighted by route.
        squares: Sums of the squares of the clusters' scores.
    """

    trace_count: int
    cluster_count: int
    compared_count: int
    route_count: int
    routes_pooled: bool
    effective_count: float
    means: tuple[float, ...]
    squares: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchEvent:
    """A finding about a deployment; watch.proto explains each field."""

    event_id: str
    event_time_ns: int
    kind: str
    experiment: str
    service_name: str
    environment: str
    version: str
    deployment_id: str
    deployment_kind: str
    deployment_start_time_ns: int
    baseline_version: str
    baseline_deployment_id: str
    metric: str
    baseline: float
    candidate: float
    difference: float
    difference_lower: float
    difference_upper: float
    threshold: float
    baseline_count: int
    candidate_count: int
    routes_pooled: bool
    summary: str


@dataclass(frozen=True, slots=True)
class Page:
    """A page of events and the token for the next page; empty after the last."""

    events: list[WatchEvent]
    next_page_token: str


def versions(store: Store, places: Sequence[Place], since_ns: int, most: int) -> list[SeenVersion]:
    """List the versions in places where something may have been put live since a time.

    Those are places with several versions or deployments, and the given ones. The places with the
    newest version come first.
    """
    bound = _placed(places) | {"since_ns": since_ns, "most": most}
    return [SeenVersion(_place(row), **row) for row in store.query("watch/versions", bound)]


def declared(store: Store, from_ns: int, until_ns: int, most: int) -> list[DeclaredDeployment]:
    """List deployments declared to start in a time range, latest first, without failed ones."""
    bound = {"from_ns": from_ns, "until_ns": until_ns, "most": most}
    return [DeclaredDeployment(_place(row), **row) for row in store.query("watch/declared", bound)]


def activity(
    store: Store,
    places: Sequence[Place],
    from_ns: int,
    told: Sequence[tuple[Place, str]] = (),
) -> dict[Place, list[DeploymentActivity]]:
    """Count the traces of each version since a time, by place, each in the order of time.

    Args:
        store: The store to query.
        places: The places.
        from_ns: Traces that started at or after this time, in nanoseconds since 1970.
        told: Versions in places whose deployments are counted separately.

    Raises:
        InvalidArgument: There are too many rows.
    """
    rows = store.query(
        "watch/activity",
        {
            **_placed(places),
            **{f"told_{k}": v for k, v in _placed([place for place, _ in told]).items()},
            "told_versions": [version for _, version in told],
            "from_ns": from_ns,
            # Wider for more places, to limit the number of rows.
            "width_ns": _WIDTH_NS * -(-len(places) // 50),
        },
    )
    if len(rows) > _MOST_ROWS:
        raise InvalidArgument("there are too many versions in too many places to watch")
    found: dict[Place, list[DeploymentActivity]] = {}
    for row in rows:
        found.setdefault(_place(row), []).append(DeploymentActivity(**row))
    return found


def _place(row: dict[str, Any]) -> Place:
    """Remove the place from a row and return it."""
    return Place(*(row.pop(name) for name in Place._fields))


def _placed(places: Sequence[Place]) -> dict[str, list[str]]:
    return {
        "experiments": [each.experiment for each in places],
        "service_names": [each.service_name for each in places],
        "environments": [each.environment for each in places],
    }


def counts(store: Store, pair: Pair) -> tuple[list[int], list[int]]:
    """Count the traces of the baseline and the candidate in each period."""
    found = ([0] * len(pair.since_ns), [0] * len(pair.since_ns))
    for row in store.query("watch/counts", _bound(pair)):
        found[row["of_candidate"]][row["period"] - 1] = row["trace_count"]
    return found


def sums(
    store: Store, pair: Pair, baseline_one_in: Sequence[int], candidate_one_in: Sequence[int]
) -> tuple[SideSums | None, SideSums | None]:
    """Sum the traces of the baseline and the candidate, sampling each period at its own rate.

    Returns:
        None for a side without traces.
    """
    rows = store.query(
        "watch/sums",
        {
            **_bound(pair),
            "baseline_one_in": list(baseline_one_in),
            "candidate_one_in": list(candidate_one_in),
            "most_routes": MOST_ROUTES,
            "fewest_shared": FEWEST_SHARED,
            # The table is partitioned by day; a trace may have rows in the next partition.
            "rows_from_ns": max(pair.from_ns - _DAY_NS, EARLIEST_NS),
            "rows_until_ns": min(pair.until_ns + _DAY_NS, LATEST_NS),
        },
    )
    sides: list[SideSums | None] = [None, None]
    for row in rows:
        side = row.pop("of_candidate")
        means, squares = (tuple(row.pop(name)) for name in ("means", "squares"))
        sides[side] = SideSums(**row, means=means, squares=squares)
    return sides[0], sides[1]


def _bound(pair: Pair) -> dict[str, Any]:
    return {
        **pair.place._asdict(),
        "baseline_version": pair.baseline.version,
        "baseline_deployment_id": pair.baseline.deployment_id,
        "candidate_version": pair.candidate.version,
        "candidate_deployment_id": pair.candidate.deployment_id,
        "start_ns": pair.start_ns,
        "from_ns": pair.from_ns,
        "until_ns": pair.until_ns - 1,
        "since_ns": list(pair.since_ns),
    }


def known(store: Store, event_ids: Iterable[str]) -> set[str]:
    """Return which of these events are stored."""
    asked = list(event_ids)
    if not asked:
        return set()
    return {row["event_id"] for row in store.query("watch/known", {"event_ids": asked})}


def search(
    store: Store,
    *,
    experiment: str = "",
    service_name: str = "",
    environment: str = "",
    version: str = "",
    from_ns: int | None = None,
    until_ns: int | None = None,
    page_size: int = 0,
    page_token: str = "",
) -> Page:
    """List events, the latest first; empty or None does not restrict.

    Args:
        store: The store to query.
        experiment: Its name in telemetry or its display name.
        service_name: An exact match, like the other arguments.
        environment: Where the version was put live.
        version: What was put live.
        from_ns: Events at or after this time.
        until_ns: Events before this time.
        page_size: 0 for the default.
        page_token: The token from the previous page.

    Raises:
        InvalidArgument: The size is out of range, or the token belongs to another query.
    """
    wanted = paging.size(page_size)
    where = {
        "experiment": experiments.resolve(store, experiment),
        "service_name": service_name,
        "environment": environment,
        "version": version,
        "from_ns": EARLIEST_NS if from_ns is None else from_ns,
        "until_ns": LATEST_NS if until_ns is None else max(until_ns - 1, EARLIEST_NS),
    }
    question: dict[str, Any] = {"watch_events": True, **where}
    after = paging.place(page_token, question) if page_token else None
    found = _list(store, where, after=after, wanted=wanted + 1)
    if len(found) <= wanted:
        return Page(found, "")
    last = found[wanted - 1]
    return Page(found[:wanted], paging.token([last.event_time_ns, last.event_id], question))


def undelivered(store: Store, channel: str, from_ns: int, most: int) -> list[WatchEvent]:
    """List events since a time whose delivery by a channel is still open, latest first."""
    where = {"undelivered_by": channel, "from_ns": from_ns, "until_ns": LATEST_NS}
    return _list(store, where, wanted=most)


def _list(
    store: Store, where: dict[str, Any], *, after: Sequence[Any] | None = None, wanted: int
) -> list[WatchEvent]:
    texts = ("experiment", "service_name", "environment", "version", "undelivered_by")
    time_ns, event_id = after or (0, "")
    rows = store.query(
        "watch/events",
        {
            **dict.fromkeys(texts, ""),
            **where,
            "first_page": int(after is None),
            "after_ns": time_ns,
            "after_id": event_id,
            "wanted": wanted,
        },
    )
    return [WatchEvent(**row) for row in rows]


def columns(event: WatchEvent) -> dict[str, Any]:
    """Return an event as its table's columns, whose times have no unit in their names."""
    return {name.removesuffix("_ns"): value for name, value in asdict(event).items()}
