"""Reads what the watch of deployments looks at, and what it found."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import experiments, paging
from otel_vtrack.query.timeline import EARLIEST_NS, LATEST_NS, Place
from otel_vtrack.store.client import Store

MOST_ROUTES: Final = 50
"""So many routes are told apart, the most frequent of the baseline; the others are one."""
FEWEST_SHARED: Final = 0.05
"""Where less of the candidate's traces is on routes that the baseline has, all routes are one."""

_DAY_NS: Final = 86_400_000_000_000
_WIDTH_NS: Final = 300_000_000_000
_MOST_ROWS: Final = 200_000


class SeenVersion(NamedTuple):
    """A version that some span told of lately, in any kind of span.

    Attributes:
        first_ns: When the first one began, ever; in nanoseconds since 1970.
        deployment_id: The last one of it; empty if none was told.
        deployment_count: Different ones of it, lately.
    """

    place: Place
    version: str
    first_ns: int
    deployment_id: str
    deployment_count: int


class DeclaredDeployment(NamedTuple):
    """Someone said that this version is put live then; in nanoseconds since 1970."""

    place: Place
    deployment_id: str
    version: str
    start_ns: int


class DeploymentActivity(NamedTuple):
    """What a deployment of a version began in a bucket of time; see `Activity`.

    Attributes:
        deployment_id: Empty where it is not told, or was not asked for.
    """

    version: str
    deployment_id: str
    bucket_ns: int
    trace_count: int
    first_ns: int
    last_ns: int


class Side(NamedTuple):
    """Which traces are compared: of a version, or of one deployment of it.

    Attributes:
        deployment_id: Empty for all of the version's.
    """

    version: str
    deployment_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two sides in one place, and the traces by which to compare them; times in ns since 1970.

    Attributes:
        candidate: Its traces since `start_ns`; those before are the baseline's if it has them.
        start_ns: When the candidate was put live.
        from_ns: Traces that began then or later.
        until_ns: Traces that began before.
        since_ns: When each period begins into which that time is divided; the first at `from_ns`.
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
    """One side's traces, routes held equal; of each metric in the order of the query.

    Attributes:
        trace_count: All of its traces.
        cluster_count: Clusters with a trace on a route that both versions have.
        compared_count: Traces on such routes.
        route_count: How many such routes there are.
        routes_pooled: Whether all routes count as one, since hardly any is of both sides.
        effective_count: Of how many traces a plain mean would vary as much as the weighted one.
        means: With the weights of routes.
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
    """Something that was found of a deployment; watch.proto explains each field."""

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
    """Some events, and the token for the next ones; no token after the last."""

    events: list[WatchEvent]
    next_page_token: str


def versions(store: Store, places: Sequence[Place], since_ns: int, most: int) -> list[SeenVersion]:
    """List the versions of the places where something may have been put live since a time.

    Those are places of several versions or deployments, and the ones given. The places in which
    something was new last come first.
    """
    bound = _placed(places) | {"since_ns": since_ns, "most": most}
    return [SeenVersion(_place(row), **row) for row in store.query("watch/versions", bound)]


def declared(store: Store, from_ns: int, until_ns: int, most: int) -> list[DeclaredDeployment]:
    """List the deployments declared to begin in a time, the latest first; none that failed."""
    bound = {"from_ns": from_ns, "until_ns": until_ns, "most": most}
    return [DeclaredDeployment(_place(row), **row) for row in store.query("watch/declared", bound)]


def activity(
    store: Store,
    places: Sequence[Place],
    from_ns: int,
    told: Sequence[tuple[Place, str]] = (),
) -> dict[Place, list[DeploymentActivity]]:
    """Count the traces of each version since a time, by place; of each in the order of time.

    Args:
        store: Where to look.
        places: Which.
        from_ns: Traces that began then or later, in nanoseconds since 1970.
        told: Versions in their places of which deployments are told apart.

    Raises:
        InvalidArgument: There is too much to tell.
    """
    rows = store.query(
        "watch/activity",
        {
            **_placed(places),
            **{f"told_{k}": v for k, v in _placed([place for place, _ in told]).items()},
            "told_versions": [version for _, version in told],
            "from_ns": from_ns,
            # So that there are not more rows where there are more places.
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
    """Take the place out of a row."""
    return Place(*(row.pop(name) for name in Place._fields))


def _placed(places: Sequence[Place]) -> dict[str, list[str]]:
    return {
        "experiments": [each.experiment for each in places],
        "service_names": [each.service_name for each in places],
        "environments": [each.environment for each in places],
    }


def counts(store: Store, pair: Pair) -> tuple[list[int], list[int]]:
    """Count the traces of the baseline and of the candidate in each period."""
    found = ([0] * len(pair.since_ns), [0] * len(pair.since_ns))
    for row in store.query("watch/counts", _bound(pair)):
        found[row["of_candidate"]][row["period"] - 1] = row["trace_count"]
    return found


def sums(
    store: Store, pair: Pair, baseline_one_in: Sequence[int], candidate_one_in: Sequence[int]
) -> tuple[SideSums | None, SideSums | None]:
    """Add up the traces of the baseline and of the candidate: of each period one in so many.

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
            # Days are how the table is divided; a trace may have rows in the next one.
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
    """Say which of these events are stored."""
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
    """List events, the last one first; what is empty or None does not restrict.

    Args:
        store: Where to look.
        experiment: What telemetry or people call it.
        service_name: Exact, as the others.
        environment: Where the version was put live.
        version: What was put live.
        from_ns: Events of then or later.
        until_ns: Events before.
        page_size: 0 for as many as usual.
        page_token: Where the last page ended.

    Raises:
        InvalidArgument: The size is out of range, or the token of another question.
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
    """List the events since a time of which a channel knows no end, the last one first."""
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
    """Return an event as its table has it: times without the unit in their name."""
    return {name.removesuffix("_ns"): value for name, value in asdict(event).items()}
