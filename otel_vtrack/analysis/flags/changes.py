"""Find when a flag changed: the shares of its variants, or whether it is evaluated at all.

The time need not be given: `breaks` finds it, in each place separately. Metrics before and after it
are compared, but something else may have changed at the same time; whether another version got more
of the traffic then is reported.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final, NamedTuple

import numpy as np

from otel_vtrack.analysis import statistics
from otel_vtrack.analysis.compare import Verdict
from otel_vtrack.analysis.flags import breaks, measures, shares, words
from otel_vtrack.analysis.flags.interactions import Change, change
from otel_vtrack.analysis.flags.measures import Measured
from otel_vtrack.analysis.flags.variants import verdict
from otel_vtrack.analysis.statistics import Estimate
from otel_vtrack.errors import InvalidArgument, NotFound
from otel_vtrack.query import flags
from otel_vtrack.query.flags import Numbers, Sample, Where
from otel_vtrack.store.client import Store

WINDOW_NS: Final = 3_600_000_000_000
"""How long before and after a change metrics are compared by default."""
NEAR_NS: Final = 300_000_000_000
"""A version that gets more of the traffic this close to a change came with it."""
MOST_PLACES: Final = 20
_AROUND: Final = 6
"""How many windows on each side of a given time to look at, to place what changed."""


class FlagChangeKind(IntEnum):
    """How a flag changed; numbers as in flags.proto."""

    VARIANTS = 1
    STARTED = 2
    STOPPED = 3


class Shift(NamedTuple):
    """The share of a variant before and after; flags.proto explains each field."""

    variant: str
    before: Estimate
    after: Estimate
    difference: Estimate | None


@dataclass(frozen=True, slots=True)
class ChangeMetric:
    """A metric before and after; flags.proto explains each field."""

    metric: str
    unit: str
    change: Change
    adjusted_p_value: float | None = None
    verdict: Verdict = Verdict.NOT_ENOUGH_DATA


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagChange:
    """A flag's change in a place; flags.proto explains each field."""

    flag: str
    kind: FlagChangeKind
    experiment: str
    service_name: str
    environment: str
    time_ns: int
    shifts: tuple[Shift, ...]
    adjusted_p_value: float
    version: str
    version_time_ns: int | None
    metrics: tuple[ChangeMetric, ...]
    summary: str = ""


@dataclass(frozen=True, slots=True)
class FlagChanges:
    """What changed; flags.proto explains each field."""

    changes: list[FlagChange]
    sampled_one_in: int
    tested_count: int


class _Place(NamedTuple):
    experiment: str
    service_name: str
    environment: str


def find(
    store: Store,
    where: Where,
    *,
    flag: str = "",
    time_ns: int | None = None,
    version: str = "",
    window_ns: int = 0,
    metrics: Sequence[str] = (),
    max_traces: int = 0,
) -> FlagChanges:
    """List when flags changed.

    Args:
        store: Where to look.
        where: Which traces, of any version.
        flag: Its key; empty for every flag.
        time_ns: Only changes around this time, the closest first.
        version: Only changes around its first trace in each place.
        window_ns: How close to that time, and how long before and after metrics are compared.
        metrics: Empty for all.
        max_traces: 0 for `query.flags.MAX_TRACES`; for each place if a version is given.

    Raises:
        InvalidArgument: A metric is unknown, both a time and a version are given, or the version
            is in too many places.
        NotFound: The version has no traces there.
    """
    if version and time_ns is not None:
        raise InvalidArgument("give either a time or a version to look around")
    wanted = measures.of_any_version(metrics)
    window = window_ns or WINDOW_NS
    where = replace(where, versions=())
    looked = [
        (
            flags.sample(
                store, each, flag=flag, tokens=measures.asks_tokens(wanted), max_traces=max_traces
            ),
            moment,
        )
        for each, moment in _questions(store, where, time_ns, version, window)
    ]
    tests = sum(len(sample.flags) for sample, _ in looked for _ in _places(sample))
    found: list[FlagChange] = []
    moments: dict[_Place, int] = {}
    for sample, moment in looked:
        for place, own in _places(sample):
            if moment is not None:
                moments[place] = moment
            # Two sequences per flag: whether it is evaluated, and with which variant.
            only = sample.only(own)
            columns = measures.of_sample(only, wanted, every=bool(metrics))
            found += _of_place(only, place, columns, tests=2 * tests, window=window)
    if moments:
        found = [each for each in found if abs(each.time_ns - moments[_place(each)]) <= window]
    found.sort(
        key=lambda each: (
            abs(each.time_ns - moments[_place(each)]) if moments else each.time_ns,
            each.flag,
            _place(each),
        )
    )
    return FlagChanges(
        _judged(found), max((sample.one_in for sample, _ in looked), default=1), tests
    )


def _questions(
    store: Store, where: Where, time_ns: int | None, version: str, window: int
) -> Iterable[tuple[Where, int | None]]:
    """Return which traces to look at, and around which time."""
    if not version:
        return [(_around(where, time_ns, window), time_ns)]
    firsts = flags.first_traces(store, where, version)
    if not firsts:
        raise NotFound(
            f"version {version} has no traces here: `vtrack versions list` shows which versions"
            " are known, and where; a wider time range or no --environment may help"
        )
    if len(firsts) > MOST_PLACES:
        raise InvalidArgument(
            f"version {version} is in more than {MOST_PLACES} places: choose an experiment,"
            " service or environment"
        )
    return [
        (
            _around(
                replace(
                    where,
                    experiment=group.experiment,
                    service_name=group.service_name,
                    environment=group.environment,
                ),
                first,
                window,
            ),
            first,
        )
        for group, first in firsts.items()
    ]


def _around(where: Where, moment: int | None, window: int) -> Where:
    if moment is None:
        return where
    start, until = moment - _AROUND * window, moment + _AROUND * window
    return replace(
        where,
        from_ns=max(start, flags.EARLIEST_NS) if where.from_ns is None else where.from_ns,
        until_ns=min(until, flags.LATEST_NS) if where.until_ns is None else where.until_ns,
    )


def _places(sample: Sample) -> Iterable[tuple[_Place, Numbers]]:
    places = [_Place(*each[:3]) for each in sample.groups]
    for place in sorted(set(places)):
        yield place, np.isin(sample.group, [at for at, each in enumerate(places) if each == place])


def _place(found: FlagChange) -> _Place:
    return _Place(found.experiment, found.service_name, found.environment)


class _Move(NamedTuple):
    """A version's gain in share of the traffic."""

    time_ns: int
    version: str


def _of_place(
    sample: Sample, place: _Place, columns: Sequence[Measured], *, tests: int, window: int
) -> Iterable[FlagChange]:
    moves: list[_Move] | None = None
    for name, seen in sample.flags.items():
        evaluated = seen.codes >= 0
        if not evaluated.any():
            continue
        for kind, at, edges, chosen, p_value in _moments(sample, seen.codes, evaluated, tests):
            if moves is None:
                moves = list(_moves(sample))
            starts = sample.starts_ns[chosen]
            time = int(starts[at])
            move = _closest(moves, time)
            sides = slice(edges[0], at), slice(at, edges[1])
            neighbours = (
                int(starts[edges[0]]),
                int(starts[edges[1]]) if edges[1] < len(starts) else flags.LATEST_NS,
            )
            start, end = _compared(starts, time, neighbours, moves, window)
            before = chosen & _between(sample, start, time)
            after = chosen & _between(sample, time, end)
            yield FlagChange(
                flag=name,
                kind=kind,
                **place._asdict(),
                time_ns=time,
                shifts=tuple(_shifts(sample.only(chosen), name, *sides)),
                adjusted_p_value=p_value,
                version=move.version if move else "",
                version_time_ns=move.time_ns if move else None,
                metrics=tuple(
                    ChangeMetric(
                        each.metric.text,
                        each.metric.unit,
                        change(each, before, after, sample.clusters),
                    )
                    for each in columns
                ),
            )


class _Moment(NamedTuple):
    """A break of a sequence: its position, the edges of its parts, and the chosen traces."""

    kind: FlagChangeKind
    at: int
    edges: tuple[int, int]
    chosen: Numbers
    p_value: float


def _moments(sample: Sample, codes: Numbers, evaluated: Numbers, tests: int) -> Iterable[_Moment]:
    every = np.ones(len(codes), bool)
    for chosen, sequence in ((every, evaluated.astype(np.int64)), (evaluated, codes[evaluated])):
        found = breaks.find(sequence, sample.clusters[chosen], tests=tests)
        ends = [0, *(each.at for each in found), len(sequence)]
        for number, each in enumerate(found):
            edges = ends[number], ends[number + 2]
            kind: FlagChangeKind | None = FlagChangeKind.VARIANTS
            if chosen is every:
                kind = _begun_or_ceased(sequence, each.at, edges)
            if kind is not None:
                yield _Moment(kind, each.at, edges, chosen, each.p_value)


def _begun_or_ceased(evaluated: Numbers, at: int, edges: tuple[int, int]) -> FlagChangeKind | None:
    """Return the kind; None if it only became more or less frequent, as when traffic changes."""
    before, after = evaluated[edges[0] : at].mean(), evaluated[at : edges[1]].mean()
    if before < breaks.RARE <= after:
        return FlagChangeKind.STARTED
    if after < breaks.RARE <= before:
        return FlagChangeKind.STOPPED
    return None


def _shifts(sample: Sample, flag: str, before: slice, after: slice) -> Iterable[Shift]:
    names, codes = sample.flags[flag].names, sample.flags[flag].codes
    weights = sample.weights
    effects = [
        shares.design_effect(sample.clusters[side], weights[side]) for side in (before, after)
    ]
    found: list[Shift] = []
    present: list[int] = np.unique(codes[codes >= 0]).tolist()
    for code in present:
        own = [
            shares.share(weights[side][codes[side] == code].sum(), weights[side].sum(), effect)
            for side, effect in zip((before, after), effects, strict=True)
        ]
        if own[0].value or own[1].value:
            found.append(Shift(names[code], own[0], own[1], statistics.difference(*own)))
    return sorted(found, key=lambda each: -abs(each.after.value - each.before.value))


def _compared(
    starts: Numbers,
    time: int,
    neighbours: tuple[int, int],
    moves: Sequence[_Move],
    window: int,
) -> tuple[int, int]:
    """Return the times between which metrics are compared: other changes are excluded.

    A version's gain in traffic bounds them only if enough traces lie in between.
    """
    start, end = max(time - window, neighbours[0]), min(time + window, neighbours[1])
    at = int(np.searchsorted(starts, time))
    for move in moves:
        apart = int(np.searchsorted(starts, move.time_ns)) - at
        if apart <= -measures.ENOUGH:
            start = max(start, move.time_ns)
        elif apart >= measures.ENOUGH:
            end = min(end, move.time_ns)
    return start, end


def _between(sample: Sample, from_ns: int, until_ns: int) -> Numbers:
    return (sample.starts_ns >= from_ns) & (sample.starts_ns < until_ns)


def _moves(sample: Sample) -> Iterable[_Move]:
    """Find when versions got more of the traffic of a place."""
    found = breaks.find(sample.group, sample.clusters)
    ends = [0, *(each.at for each in found), len(sample)]
    for number, each in enumerate(found):
        before, after = (
            np.bincount(sample.group[start:end], minlength=len(sample.groups)) / (end - start)
            for start, end in ((ends[number], each.at), (each.at, ends[number + 2]))
        )
        risen = int(np.argmax(after - before))
        yield _Move(int(sample.starts_ns[each.at]), sample.groups[risen].version)


def _closest(moves: Sequence[_Move], time_ns: int) -> _Move | None:
    found = min(moves, key=lambda each: abs(each.time_ns - time_ns), default=None)
    return found if found and abs(found.time_ns - time_ns) <= NEAR_NS else None


def _judged(found: list[FlagChange]) -> list[FlagChange]:
    """Adjust the p-values of all metrics of all changes, and set verdicts and summaries."""
    p_values = [
        each.change.p_value
        for one in found
        for each in one.metrics
        if each.change.p_value is not None
    ]
    adjusted = iter(statistics.adjusted(p_values))

    def judged(metric: ChangeMetric) -> ChangeMetric:
        if metric.change.p_value is None:
            return metric
        p_value = next(adjusted)
        gap = metric.change.difference
        return replace(
            metric,
            adjusted_p_value=p_value,
            verdict=verdict(p_value, gap.value if gap else 0.0),
        )

    whole = [replace(one, metrics=tuple(judged(each) for each in one.metrics)) for one in found]
    return [
        replace(
            one,
            summary=words.of_change(
                one,
                started=one.kind == FlagChangeKind.STARTED,
                stopped=one.kind == FlagChangeKind.STOPPED,
            ),
        )
        for one in whole
    ]
