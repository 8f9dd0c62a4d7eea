"""Find the deployments to watch, and what each of them replaced.

A deployment, in one service and environment, is one of these:

- a version not seen there before, from its first trace on, also as a canary;
- a version that was there before and takes over again, by the rules of `timeline`;
- a version that is declared live while it was a canary;
- the same version again: another `deployment.id` takes over from the previous one, by the same
  rules, or it is declared once more.

So a canary whose traffic comes and goes is one deployment, and so are ids that are live side by
side. Whatever begins within an hour of another deployment of the version is the same one: a
declaration seldom comes in the same second as the first trace.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from otel_vtrack.analysis import timeline
from otel_vtrack.analysis.timeline import Declared, Main, Period
from otel_vtrack.query import watch
from otel_vtrack.query.timeline import Activity, Place
from otel_vtrack.query.watch import DeclaredDeployment, DeploymentActivity, SeenVersion, Side
from otel_vtrack.store.client import Store

WATCHED_NS: Final = 86_400_000_000_000
"""How long a deployment is watched, and how far back its baseline goes: a day each."""
MOST_DEPLOYMENTS: Final = 500
"""Most deployments watched at a time; the newest are kept."""
MOST_IDS: Final = 20
"""If a version has more deployment ids in two days, they name instances, not deployments."""
SAME_NS: Final = 3_600_000_000_000
"""A deployment that begins this close to another one of the version is the same one."""

NEW_VERSION: Final = "new_version"
RETURN: Final = "return"
PROMOTION: Final = "promotion"
REDEPLOYMENT: Final = "redeployment"

_MOST_VERSIONS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedDeployment:
    """A version that was put live and what it replaced; times in nanoseconds since 1970.

    Attributes:
        kind: `NEW_VERSION`, `RETURN`, `PROMOTION` or `REDEPLOYMENT`.
        deployment_id: From spans or the declaration; empty if neither has one.
        start_time_ns: When its first trace began, or it was declared.
        until_ns: When the watch ends: a day later, or when the version's next deployment began.
        end_time_ns: When its last trace began; None if it is not gone.
        baseline: What it replaced.
        candidate: Which of the traces since its start are its own.
        trace_count: Its traces so far, in whole buckets of time.
        place_trace_count: Traces of all versions there, in the two days before the time of the
            look.
    """

    place: Place
    kind: str
    version: str
    deployment_id: str
    start_time_ns: int
    until_ns: int
    end_time_ns: int | None
    baseline: Side
    candidate: Side
    trace_count: int
    place_trace_count: int

    @property
    def identity(self) -> tuple[str, ...]:
        """What does not change however late its traces arrive, except for `moments`.

        A version is new in a place only once, so it includes no time.
        """
        of = (*self.place, self.version)
        return of if self.kind == NEW_VERSION else (*of, self.kind, self.candidate.deployment_id)

    @property
    def moments(self) -> tuple[int, ...]:
        """The half hour in which it began, and the adjacent ones: late traces move the start.

        Other deployments of the version are an hour away, so these match no other. Empty if not
        needed.
        """
        if self.kind == NEW_VERSION:
            return ()
        number = self.start_time_ns // (SAME_NS // 2)
        return number, number - 1, number + 1


class _Begun(NamedTuple):
    """A deployment of a place, before it is matched with others there.

    Attributes:
        periods: All of its version or id, including those before it and of the next one.
        activity: Likewise.
    """

    kind: str
    version: str
    deployment_id: str
    start_ns: int
    baseline: Side
    candidate: Side
    periods: Sequence[Period]
    activity: Sequence[Activity]


def deployments(store: Store, now_ns: int) -> list[WatchedDeployment]:
    """Find the deployments that began less than a day ago, the newest first.

    Those that replaced nothing, such as the first in a place, are left out.

    Args:
        store: Where to look.
        now_ns: The current time.

    Raises:
        InvalidArgument: There are too many.
    """
    since_ns = now_ns - WATCHED_NS
    from_ns = since_ns - WATCHED_NS
    said: dict[Place, list[DeclaredDeployment]] = {}
    for each in watch.declared(store, from_ns, now_ns, MOST_DEPLOYMENTS):
        said.setdefault(each.place, []).append(each)
    seen: dict[Place, list[SeenVersion]] = {}
    for each in watch.versions(store, list(said), from_ns, _MOST_VERSIONS):
        seen.setdefault(each.place, []).append(each)
    told = [
        (place, each.version)
        for place, versions in seen.items()
        for each in versions
        if 1 < each.deployment_count <= MOST_IDS
        or (
            each.deployment_count == 1
            and any(each.version == d.version for d in said.get(place, ()))
        )
    ]
    rows = watch.activity(store, list(seen), from_ns, told) if seen else {}
    found = [
        each
        for place, activity in rows.items()
        for each in of_place(place, seen[place], activity, said.get(place, ()), since_ns)
    ]
    found.sort(key=lambda each: (each.start_time_ns, each.version, each.kind), reverse=True)
    return found[:MOST_DEPLOYMENTS]


def of_place(
    place: Place,
    seen: Iterable[SeenVersion],
    rows: Sequence[DeploymentActivity],
    said: Sequence[DeclaredDeployment],
    since_ns: int,
) -> list[WatchedDeployment]:
    """Find the deployments of one place since a time.

    Args:
        place: The place.
        seen: The versions in spans.
        rows: Their activity since a day before that time.
        said: The declarations since then.
        since_ns: In nanoseconds since 1970.
    """
    activity = _by_version(rows)
    declared = [Declared(each.start_ns, each.version) for each in said]
    periods, mains = timeline.periods(activity, declared)
    of = {each.version: each for each in seen}
    # Include earlier ones: one of them may be the same deployment, detected in another way.
    traffic = _Place(activity, periods, mains, of, since_ns - SAME_NS)
    begun = [*traffic.new_versions(), *traffic.changes()]
    by_id: dict[str, list[DeploymentActivity]] = {}
    for each in rows:
        if each.deployment_id:
            by_id.setdefault(each.version, []).append(each)
    for version, own in by_id.items():
        begun += traffic.new_ids(version, own, [each for each in said if each.version == version])
    begun += traffic.declared_again(said, by_id)
    total = sum(each.trace_count for each in activity)
    kept = _apart(begun)
    return [_watched(place, each, kept, total) for each in kept if each.start_ns >= since_ns]


def _by_version(rows: Sequence[DeploymentActivity]) -> list[Activity]:
    """Merge the deployments of each version."""
    found: dict[tuple[int, str], Activity] = {}
    for each in rows:
        key = each.bucket_ns, each.version
        other = found.get(key)
        found[key] = Activity(
            each.version,
            each.bucket_ns,
            each.trace_count + (other.trace_count if other else 0),
            min(each.first_ns, other.first_ns) if other else each.first_ns,
            max(each.last_ns, other.last_ns) if other else each.last_ns,
        )
    return list(found.values())


class _Place(NamedTuple):
    activity: Sequence[Activity]
    periods: Sequence[Period]
    mains: Sequence[Main]
    seen: Mapping[str, SeenVersion]
    since_ns: int

    def own(self, version: str) -> list[Period]:
        return [each for each in self.periods if each.version == version]

    def is_new(self, version: str) -> bool:
        return version in self.seen and self.seen[version].first_ns >= self.since_ns

    def new_versions(self) -> Iterable[_Begun]:
        """Find versions not seen before."""
        for version, seen in self.seen.items():
            own = self.own(version)
            if own and self.is_new(version):
                yield from self._version(NEW_VERSION, version, own[0].start_time_ns, seen)

    def changes(self) -> Iterable[_Begun]:
        """Find versions that were there before, and took over or were declared live."""
        for main in self.mains[1:]:
            own = self.own(main.version)
            period = next(each for each in own if each.main_from_ns == main.from_ns)
            seen = self.seen.get(main.version)
            # Declared but not seen yet; or the first time of a new version, found above.
            if seen is None or (self.is_new(main.version) and period is own[0]):
                continue
            if period.start_time_ns >= self.since_ns and period.came:
                yield from self._version(RETURN, main.version, period.start_time_ns, seen)
            elif main.declared and main.from_ns - period.start_time_ns >= WATCHED_NS:
                # A younger canary is being watched anyway.
                yield from self._version(PROMOTION, main.version, main.from_ns, seen)

    def _version(
        self, kind: str, version: str, start_ns: int, seen: SeenVersion
    ) -> Iterable[_Begun]:
        baseline = _replaced(self.activity, self.mains, version, start_ns)
        if baseline and start_ns >= self.since_ns:
            yield _Begun(
                kind,
                version,
                seen.deployment_id,
                start_ns,
                Side(baseline),
                Side(version),
                self.own(version),
                [each for each in self.activity if each.version == version],
            )

    def new_ids(
        self, version: str, rows: Sequence[DeploymentActivity], said: Sequence[DeclaredDeployment]
    ) -> Iterable[_Begun]:
        """Find deployment ids of a version that took over from its other ids."""
        ids = [Activity(each.deployment_id, *each[2:]) for each in rows]
        known = {each.version for each in ids}
        declared = [
            Declared(each.start_ns, each.deployment_id)
            for each in said
            if each.deployment_id in known
        ]
        periods, mains = timeline.periods(ids, declared)
        for main in mains[1:]:
            period = next(
                each
                for each in periods
                if each.version == main.version and each.main_from_ns == main.from_ns
            )
            start_ns = period.start_time_ns
            before = _replaced(ids, mains, main.version, start_ns)
            if start_ns < self.since_ns or not period.came:
                continue
            if not self._was_live_with(version, before, ids, start_ns):
                continue
            yield _Begun(
                REDEPLOYMENT,
                version,
                main.version,
                start_ns,
                Side(version, before),
                Side(version, main.version),
                [each for each in periods if each.version == main.version],
                [each for each in ids if each.version == main.version],
            )

    def _was_live_with(
        self, version: str, before: str, ids: Sequence[Activity], start_ns: int
    ) -> bool:
        """Return whether an id was active in its version's period that contains a time.

        If not, the version itself is new or came back, and that is the deployment.
        """
        began_ns = max(
            (each.start_time_ns for each in self.own(version) if each.start_time_ns <= start_ns),
            default=start_ns,
        )
        return any(
            each.version == before and each.first_ns < start_ns and each.last_ns >= began_ns
            for each in ids
        )

    def declared_again(
        self, said: Sequence[DeclaredDeployment], by_id: Mapping[str, Sequence[DeploymentActivity]]
    ) -> Iterable[_Begun]:
        """Find the main version declared once more, with an id that no span has."""
        for each in said:
            ids = {row.deployment_id for row in by_id.get(each.version, ())}
            main = next((m for m in reversed(self.mains) if m.from_ns < each.start_ns), None)
            if (
                each.start_ns >= self.since_ns
                and each.deployment_id not in ids
                and main is not None
                and main.version == each.version
                and any(
                    row.version == each.version and row.first_ns < each.start_ns
                    for row in self.activity
                )
            ):
                side = Side(each.version)
                yield _Begun(
                    REDEPLOYMENT,
                    each.version,
                    each.deployment_id,
                    each.start_ns,
                    side,
                    side,
                    self.own(each.version),
                    [row for row in self.activity if row.version == each.version],
                )


def _replaced(
    activity: Sequence[Activity], mains: Sequence[Main], version: str, start_ns: int
) -> str:
    """Return the version that was the main one just before a time; empty if there was none."""
    before = [main.version for main in mains if main.from_ns < start_ns and main.version != version]
    if before:
        return before[-1]
    # If both were live in one bucket, it is the one that had the most traces in a bucket so far.
    had = [each for each in activity if each.first_ns < start_ns and each.version != version]
    return max(had, key=lambda each: (each.trace_count, each.version)).version if had else ""


_KINDS: Final = (NEW_VERSION, RETURN, PROMOTION, REDEPLOYMENT)


def _apart(begun: Iterable[_Begun]) -> list[_Begun]:
    """Drop duplicates: the same deployment detected in another way."""
    kept: list[_Begun] = []
    for each in sorted(begun, key=lambda each: (_KINDS.index(each.kind), each.start_ns)):
        if not any(
            each.version == other.version and abs(each.start_ns - other.start_ns) < SAME_NS
            for other in kept
        ):
            kept.append(each)
    return kept


def _watched(
    place: Place, begun: _Begun, others: Sequence[_Begun], total: int
) -> WatchedDeployment:
    start_ns = begun.start_ns
    # A deployment of the version ends the one before, a deployment of an id only that id's.
    next_ns = min(
        (
            each.start_ns
            for each in others
            if each.version == begun.version
            and each.start_ns > start_ns
            and each.candidate.deployment_id in {"", begun.candidate.deployment_id}
        ),
        default=None,
    )
    until_ns = start_ns + WATCHED_NS
    if next_ns is not None:
        until_ns = min(until_ns, next_ns)
    periods = [each for each in begun.periods if each.start_time_ns < until_ns]
    end_ns = periods[-1].end_time_ns if periods else None
    if next_ns is not None:
        end_ns = next_ns if end_ns is None else min(end_ns, next_ns)
    return WatchedDeployment(
        place=place,
        kind=begun.kind,
        version=begun.version,
        deployment_id=begun.deployment_id,
        start_time_ns=start_ns,
        until_ns=until_ns,
        end_time_ns=end_ns,
        baseline=begun.baseline,
        candidate=begun.candidate,
        trace_count=sum(
            each.trace_count
            for each in begun.activity
            if each.last_ns >= start_ns and each.first_ns < until_ns
        ),
        place_trace_count=total,
    )
