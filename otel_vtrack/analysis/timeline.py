"""Determine by rules which version was the main one when, and which changes were rollbacks.

The rules, for one service in one environment:

- A version is *gone* once so many traces began without it that, at its previous share, ten of them
  would have been its own: by chance that happens once in e^10. Without traces no version is gone,
  so a night without any ends nothing.
- A version *takes over* in the first bucket of time in which it has four fifths of the traces, if
  it also has four fifths of the 50 traces that begin there: one trace at night shows nothing. If
  the main version is gone, the one with the most traces takes over. Until then the earlier one
  stays the main version, however long both are live side by side.
- A declared version is the main one from the declared time on. The one before takes over again only
  once the declared one has had its four fifths, or has come and gone.
- A change of the main version back to an earlier main version is a *rollback* (Datadog's rule).

Where traces are sampled, shares are of the traces that the stored ones stand for; thresholds on the
number of traces apply to the stored ones.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from otel_vtrack.query.timeline import Activity

TAKES_OVER: Final = 0.8
"""Smallest share of a bucket's traces with which a version becomes the main one."""
ENOUGH: Final = 50
"""Fewest traces that show a share: with 50 at a true half, four fifths occur once in 80,000."""
MISSED: Final = 10
"""A version that would have had this many traces since, and had none, is gone."""


class Declared(NamedTuple):
    """A version declared to be live from a time on; in nanoseconds since 1970."""

    start_time_ns: int
    version: str


@dataclass(frozen=True, slots=True)
class Main:
    """A version while it was the main one; times in nanoseconds since 1970.

    Attributes:
        until_ns: When another took over; None if none did.
        declared: Whether it took over because it was declared.
    """

    version: str
    from_ns: int
    until_ns: int | None
    declared: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A version while it was live; times in nanoseconds since 1970.

    Attributes:
        start_time_ns: When its first trace began, or when it was declared if that is earlier.
        end_time_ns: When its last trace began; None if it is not gone.
        peak_share: Its greatest share of a bucket's traces, or of several buckets with 50 traces
            together where one has fewer.
        last_seen_ns: When its last trace began; None if it was declared and had none.
        came: Whether it is known to have begun then, rather than before the known history.
        took_over: Whether it became the main version; else it is a canary.
        main_from_ns: When it did; None if it did not.
        main_until_ns: When another version took over; None if none did.
        declared: Whether it took over because it was declared.
    """

    version: str
    start_time_ns: int
    end_time_ns: int | None
    trace_count: int
    peak_share: float
    last_seen_ns: int | None
    came: bool
    took_over: bool
    main_from_ns: int | None = None
    main_until_ns: int | None = None
    declared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """A change of the main version back to an earlier one; times in nanoseconds since 1970.

    Attributes:
        time_ns: When the earlier version became the main one again.
        from_main: The version rolled back from, while it was the main one.
        before: The version rolled back to, when it was last the main one.
        after: The same version from `time_ns` on.
        is_return: Whether it undoes a rollback: the version it goes to had been rolled back from.
        came_back_ns: When the version rolled back from became the main one again; None if never.
    """

    time_ns: int
    from_main: Main
    before: Main
    after: Main
    is_return: bool
    came_back_ns: int | None


@dataclass(slots=True)
class _Bucket:
    of: dict[str, Activity] = field(default_factory=dict[str, Activity])
    total: int = 0
    stored: int = 0


@dataclass(frozen=True, slots=True)
class _Run:
    """Where a version was live, by first and last bucket number, both inclusive."""

    first: int
    last: int
    gone: bool


class _Traffic:
    """The buckets that have traces, in order."""

    def __init__(self, activity: Iterable[Activity]) -> None:
        made: dict[int, _Bucket] = {}
        for each in sorted(activity, key=lambda each: (each.bucket_ns, each.version)):
            bucket = made.setdefault(each.bucket_ns, _Bucket())
            bucket.of[each.version] = each
            bucket.total += each.trace_count
            bucket.stored += each.seen_count
        self.buckets = list(made.values())
        self.starts = list(made)
        self.totals, self.stored = [0], [0]
        for bucket in self.buckets:
            self.totals.append(self.totals[-1] + bucket.total)
            self.stored.append(self.stored[-1] + bucket.stored)
        self.seen: dict[str, list[int]] = {}
        for number, bucket in enumerate(self.buckets):
            for version in bucket.of:
                self.seen.setdefault(version, []).append(number)
        self.runs = {version: list(self._runs(version)) for version in self.seen}

    def count(self, version: str, first: int, last: int) -> int:
        """Count the traces of a version in these buckets."""
        return sum(
            found.trace_count
            for bucket in self.buckets[first : last + 1]
            if (found := bucket.of.get(version))
        )

    def total(self, first: int, last: int) -> int:
        """Count the traces of all versions in these buckets."""
        return self.totals[last + 1] - self.totals[first]

    def stored_total(self, first: int, last: int) -> int:
        """Count the stored traces, each as one."""
        return self.stored[last + 1] - self.stored[first]

    def ahead(self, first: int, enough: int, end: int) -> int:
        """Return the last bucket needed for enough traces, but none from `end` on."""
        reached = bisect_left(self.stored, self.stored[first] + enough, first + 1)
        return max(first, min(reached, end) - 1)

    def behind(self, last: int, enough: int) -> int:
        """Return the bucket to start from for enough traces, or the first one."""
        first = last
        while first > 0 and self.stored_total(first, last) < enough:
            first -= 1
        return first

    def share(self, version: str, number: int) -> float:
        """Return a version's share of the traces from a bucket on, of `ENOUGH` if available."""
        last = self.ahead(number, ENOUGH, len(self.buckets))
        # Where the known history ends too soon, include earlier buckets.
        first = min(number, self.behind(last, ENOUGH))
        return self.count(version, first, last) / self.total(first, last)

    def live(self, version: str, number: int) -> bool:
        """Return whether a version is live (not gone) in a bucket."""
        return any(
            run.first <= number and (number <= run.last or not run.gone)
            for run in self.runs.get(version, ())
        )

    def came(self, version: str) -> bool:
        """Return whether a version is known not to have been there before: `gone` in reverse."""
        run = self.runs[version][0]
        share = min(
            self.count(version, run.first, run.last) / self.total(run.first, run.last),
            self.share(version, run.first),
        )
        return share * self.stored[run.first] >= MISSED

    def _runs(self, version: str) -> Iterable[_Run]:
        numbers = self.seen[version]
        first = numbers[0]
        end = len(self.buckets)
        for number, following in zip(numbers, (*numbers[1:], end), strict=True):
            back = self.behind(number, ENOUGH)
            share = min(
                self.count(version, start, number) / self.total(start, number)
                for start in (first, back)
            )
            missed = self.stored_total(number + 1, following - 1) if following > number + 1 else 0
            gone = share * missed >= MISSED
            if gone or following == end:
                yield _Run(first, number, gone)
                first = following


def mains(activity: Sequence[Activity], declared: Sequence[Declared] = ()) -> list[Main]:
    """Return which version was the main one when, in time order.

    Args:
        activity: Of one service in one environment, in any order.
        declared: Likewise; declarations before the first bucket are ignored.
    """
    traffic = _Traffic(activity)
    return _mains(traffic, declared)


def _mains(traffic: _Traffic, declared: Sequence[Declared]) -> list[Main]:
    changes: list[tuple[str, int, bool]] = []
    waiting = sorted(each for each in declared if traffic.starts and each[0] >= traffic.starts[0])
    main, held_since = "", -1
    count = len(traffic.buckets)
    for number, bucket in enumerate(traffic.buckets):
        ends = traffic.starts[number + 1] if number + 1 < count else None
        said = [each for each in waiting if ends is None or each.start_time_ns < ends]
        # A version that takes over in this bucket did so before the declaration.
        if not said:
            if held_since >= 0 and _settled(traffic, main, held_since, number):
                held_since = -1
            version = "" if held_since >= 0 else _taking_over(traffic, main, number)
            if version and version != main:
                changes.append((version, bucket.of[version].first_ns, False))
                main = version
        for each in said:
            waiting.remove(each)
            if not changes and (version := _taking_over(traffic, main, number)):
                found = bucket.of[version]
                if version != each.version and found.first_ns < each.start_time_ns:
                    changes.append((version, found.first_ns, False))
                    main = version
            if each.version != main:
                changes.append((each.version, each.start_time_ns, True))
                main = each.version
                held_since = number
    untils = [*(each[1] for each in changes), None][1:]
    return [
        Main(version, since, until, by)
        for (version, since, by), until in zip(changes, untils, strict=True)
    ]


def _settled(traffic: _Traffic, main: str, since: int, number: int) -> bool:
    """Return whether a declared version has had its share, or has come and gone."""
    bucket = traffic.buckets[number]
    found = bucket.of.get(main)
    if found and found.trace_count >= TAKES_OVER * bucket.total:
        return True
    came = any(since <= seen <= number for seen in traffic.seen.get(main, ()))
    return came and not traffic.live(main, number)


def _taking_over(traffic: _Traffic, main: str, number: int) -> str:
    """Return the version that takes over in a bucket; empty if none does."""
    bucket = traffic.buckets[number]
    count = len(traffic.buckets)
    last = traffic.ahead(number, ENOUGH, count)
    total = traffic.total(number, last)
    if traffic.stored_total(number, last) >= ENOUGH:
        for version, found in bucket.of.items():
            if (
                found.trace_count >= TAKES_OVER * bucket.total
                and traffic.count(version, number, last) >= TAKES_OVER * total
            ):
                return version
    if main and traffic.live(main, number):
        return ""
    # Ignore what comes after the main version's return.
    back = next((seen for seen in traffic.seen.get(main, ()) if seen > number), count)
    last = traffic.ahead(number, MISSED, back)
    version = max(
        traffic.seen, key=lambda each: (traffic.count(each, number, last), each in bucket.of, each)
    )
    return version if version in bucket.of else ""


def periods(
    activity: Sequence[Activity], declared: Sequence[Declared] = ()
) -> tuple[list[Period], list[Main]]:
    """Return when each version was live, ordered by start, and which was the main one when.

    See `mains` for the arguments. A version that was gone in between, or was the main one more
    than once, has one period for each time.
    """
    traffic = _Traffic(activity)
    main = _mains(traffic, declared)
    found: list[Period] = []
    for version in {*traffic.seen, *(each.version for each in main)}:
        own = [each for each in main if each.version == version]
        found += _periods(traffic, version, own)
    return sorted(found, key=lambda each: (each.start_time_ns, each.version)), main


def _periods(traffic: _Traffic, version: str, own: list[Main]) -> Iterable[Period]:
    """Split a version's time where it was gone, and where it became the main one again."""
    pieces: list[tuple[list[int], bool, Main | None]] = []
    left = list(own)
    for run in traffic.runs.get(version, ()):
        numbers = [each for each in traffic.seen[version] if run.first <= each <= run.last]
        until = traffic.buckets[run.last].of[version].last_ns
        inside: list[Main] = []
        while left and left[0].from_ns <= until:
            inside.append(left.pop(0))
        if not inside:
            pieces.append((numbers, run.gone, None))
            continue
        for each, following in zip(inside, (*inside[1:], None), strict=True):
            mine = [
                number
                for number in numbers
                if following is None
                or traffic.buckets[number].of[version].first_ns < following.from_ns
            ]
            numbers = numbers[len(mine) :]
            pieces.append((mine, run.gone or following is not None, each))
    # Declared, and not seen since.
    pieces += [([], each.until_ns is not None, each) for each in left]
    for numbers, gone, each in pieces:
        yield _period(traffic, version, numbers, gone=gone, main=each)


def _period(
    traffic: _Traffic, version: str, numbers: list[int], *, gone: bool, main: Main | None
) -> Period:
    of = [traffic.buckets[number].of[version] for number in numbers]
    starts = [each.first_ns for each in of[:1]] + ([main.from_ns] if main else [])
    ends = [each.last_ns for each in of[-1:]] or [main.until_ns if main else None]
    first = of[0].first_ns if of else None
    return Period(
        version=version,
        start_time_ns=min(starts),
        end_time_ns=ends[0] if gone else None,
        trace_count=sum(each.trace_count for each in of),
        peak_share=max((traffic.share(version, number) for number in numbers), default=0.0),
        last_seen_ns=of[-1].last_ns if of else None,
        came=(
            first is None
            or min(starts) < first
            or numbers[0] > traffic.seen[version][0]
            or traffic.came(version)
        ),
        took_over=main is not None,
        main_from_ns=main.from_ns if main else None,
        main_until_ns=main.until_ns if main else None,
        declared=main.declared if main else False,
    )


def rollbacks(main: Sequence[Main]) -> list[Rollback]:
    """Find the rollbacks among the changes of the main version, in time order."""
    found: list[Rollback] = []
    for number, after in enumerate(main):
        earlier = [each for each in main[: max(number - 1, 0)] if each.version == after.version]
        if not earlier:
            continue
        left = main[number - 1]
        undone = found[-1] if found and found[-1].time_ns == left.from_ns else None
        found.append(
            Rollback(
                time_ns=after.from_ns,
                from_main=left,
                before=earlier[-1],
                after=after,
                is_return=undone is not None and undone.from_main.version == after.version,
                came_back_ns=next(
                    (each.from_ns for each in main[number:] if each.version == left.version), None
                ),
            )
        )
    return found
