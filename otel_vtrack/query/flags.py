"""Read which traces saw which feature flag variants, and their outcomes, as numeric columns.

Traces are identified by the hash of their IDs that also selects samples. A trace counts for the
variant that it saw first, according to its tag `vtrack.flag.<flag>`, which users may set.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from otel_vtrack.query import experiments
from otel_vtrack.query.rowbinary import Reader
from otel_vtrack.store.client import Store

MAX_TRACES: Final = 50_000
"""The default limit on the number of traces; above it, a sample is read."""
EARLIEST_NS: Final = -(1 << 63)
LATEST_NS: Final = (1 << 63) - 1

MANY_USERS: Final = 20
"""With at least this many users, traces are clustered by user, otherwise by session."""

_DAY_NS: Final = 86_400_000_000_000
_TOKENS_SHARE: Final = 5
"""Divides the limit for tokens, as in `analysis.usage`: they cost several times all the rest."""

Numbers = npt.NDArray[Any]


class Group(NamedTuple):
    """What traces have in common: where, and in which version, their root ran."""

    experiment: str
    service_name: str
    environment: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Which traces to read, by their root; empty or None does not restrict.

    Attributes:
        experiment: Its name in telemetry or its display name.
        from_ns: Only traces that started at or after this time, in nanoseconds since 1970.
        until_ns: Only traces that started before this time.
    """

    experiment: str = ""
    service_name: str = ""
    environment: str = ""
    versions: Sequence[str] = ()
    from_ns: int | None = None
    until_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Variants:
    """The variants of a flag.

    Attributes:
        names: The variants, most frequent first.
        codes: For each trace the index of the variant that it saw, -1 if none.
    """

    names: list[str]
    codes: Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Finished traces in the order of time; each column has one number per trace.

    Attributes:
        groups: The groups that `group` refers to by index.
        starts_ns: When the root started, in nanoseconds since 1970.
        latencies: In milliseconds.
        failures: Whether the root failed.
        tokens: NaN if none were reported or requested, or if the trace is not in the smaller sample
            for tokens.
        clusters: The same number for traces that depend on each other. Variants are usually
            assigned to users, so traces of the same user do, if there are `MANY_USERS`. If there
            are fewer, or a trace names no user, traces of the same session do.
        flags: By name; only flags that some trace saw.
        switched: Whether a trace saw more than one variant of the requested flag; all false if this
            was not requested.
        ids: The hash of each trace's ID.
        weights: How many traces each one represents: its adjusted count.
        one_in: The sampling ratio: one in so many traces is included, by the hash of its ID.
    """

    groups: list[Group]
    group: Numbers
    starts_ns: Numbers
    latencies: Numbers
    failures: Numbers
    tokens: Numbers
    clusters: Numbers
    flags: Mapping[str, Variants]
    switched: Numbers
    ids: Numbers
    weights: Numbers
    one_in: int

    def __len__(self) -> int:
        return len(self.starts_ns)

    def only(self, chosen: Numbers) -> "Sample":
        """Return the traces for which `chosen` is true."""
        return Sample(
            groups=self.groups,
            group=self.group[chosen],
            starts_ns=self.starts_ns[chosen],
            latencies=self.latencies[chosen],
            failures=self.failures[chosen],
            tokens=self.tokens[chosen],
            clusters=self.clusters[chosen],
            flags={
                name: Variants(each.names, each.codes[chosen]) for name, each in self.flags.items()
            },
            switched=self.switched[chosen],
            ids=self.ids[chosen],
            weights=self.weights[chosen],
            one_in=self.one_in,
        )

    def count(self, chosen: Numbers) -> int:
        """Count the traces that the chosen ones represent, by their sampling weights."""
        return round(float(self.weights[chosen].sum()))

    def of_version(self, version: str) -> Numbers:
        """Return for each trace whether it is of a version."""
        return np.isin(
            self.group, [at for at, each in enumerate(self.groups) if each.version == version]
        )


def sample(
    store: Store,
    where: Where,
    *,
    flag: str = "",
    tokens: bool = False,
    switches: bool = False,
    max_traces: int = 0,
) -> Sample:
    """Read traces, or a sample if there are more than `max_traces`.

    Args:
        store: The store to query.
        where: Which traces.
        flag: Read the variants of this flag alone; empty for every flag.
        tokens: Whether to read tokens, too.
        switches: Whether to look for traces that saw more than one variant of the flag.
        max_traces: 0 for `MAX_TRACES`.
    """
    limit = max_traces or MAX_TRACES
    bound = _bound(store, where)
    [row] = store.query("flags/count", bound)
    one_in = max(1, math.ceil(row["trace_count"] / limit))
    bound["one_in"] = one_in
    sparser = max(1, math.ceil(row["trace_count"] * _TOKENS_SHARE / limit))
    # In parallel: each query keeps only one core busy for most of its time.
    with ThreadPoolExecutor(2) as pool:
        variants = pool.submit(store.binary, "flags/variants", {**bound, "flag": flag})
        used = (
            pool.submit(store.binary, "flags/tokens", {**bound, "one_in": sparser})
            if tokens
            else None
        )
        again = (
            pool.submit(store.binary, "flags/switched", {**bound, "flag": flag})
            if switches
            else None
        )
        columns = _traces(store.binary("flags/traces", bound))
        found = _joined(
            columns, _tokens(used.result()) if used else None, _variants(variants.result()), one_in
        )
        if again is None:
            return found
        ids = np.frombuffer(Reader(again.result()).packed(8), "<u8")
        return replace(found, switched=np.isin(found.ids, ids))


def first_traces(store: Store, where: Where, version: str) -> dict[Group, int]:
    """Return when a version's first trace started in each place, in nanoseconds since 1970."""
    rows = store.query("flags/first", {**_bound(store, where), "version": version})
    return {
        Group(row["experiment"], row["service_name"], row["environment"], version): row["first_ns"]
        for row in rows
    }


def _bound(store: Store, where: Where) -> dict[str, Any]:
    start, until = where.from_ns, where.until_ns
    return {
        "experiment": experiments.resolve(store, where.experiment),
        "service_name": where.service_name,
        "environment": where.environment,
        "versions": list(where.versions),
        "from_ns": EARLIEST_NS if start is None else start,
        "until_ns": LATEST_NS if until is None else max(until - 1, EARLIEST_NS),
        # The table is partitioned by day; a trace may have rows in the next partition.
        "rows_from_ns": EARLIEST_NS if start is None else max(EARLIEST_NS, start - _DAY_NS),
        "rows_until_ns": LATEST_NS if until is None else min(LATEST_NS, until + _DAY_NS),
    }


class _Columns(NamedTuple):
    groups: list[Group]
    group: Numbers
    ids: Numbers
    starts_ns: Numbers
    latencies: Numbers
    failures: Numbers
    sessions: Numbers
    users: Numbers
    weights: Numbers


def _traces(data: bytes) -> _Columns:
    rows = Reader(data)
    groups: list[Group] = []
    columns: list[list[Numbers]] = [[] for _ in range(8)]
    while rows.more:
        groups.append(Group(*(rows.text() for _ in Group._fields)))
        ids = np.frombuffer(rows.packed(8), "<u8")
        columns[0].append(np.full(len(ids), len(groups) - 1, np.int64))
        columns[1].append(ids)
        columns[2].append(np.frombuffer(rows.packed(8), "<i8"))
        columns[3].append(np.frombuffer(rows.packed(8), "<f8"))
        columns[4].append(np.frombuffer(rows.packed(1), np.uint8).astype(bool))
        columns[5].append(np.frombuffer(rows.packed(8), "<u8"))
        columns[6].append(np.frombuffer(rows.packed(8), "<u8"))
        columns[7].append(np.frombuffer(rows.packed(8), "<f8"))
    if not groups:
        whole = [np.zeros(0, kind) for kind in ("i8", "u8", "i8", "f8", "?", "u8", "u8", "f8")]
    else:
        whole = [np.concatenate(each) for each in columns]
    order = np.lexsort((whole[1], whole[2]))
    return _Columns(groups, *(each[order] for each in whole))


def _tokens(data: bytes) -> tuple[Numbers, Numbers]:
    rows = Reader(data)
    return np.frombuffer(rows.packed(8), "<u8"), np.frombuffer(rows.packed(8), "<f8")


def _variants(data: bytes) -> Iterable[tuple[str, str, Numbers]]:
    rows = Reader(data)
    while rows.more:
        yield rows.text(), rows.text(), np.frombuffer(rows.packed(8), "<u8")


def _joined(
    columns: _Columns,
    tokens: tuple[Numbers, Numbers] | None,
    variants: Iterable[tuple[str, str, Numbers]],
    one_in: int,
) -> Sample:
    """Join the values found by trace ID to the traces."""
    # A trace that crosses experiments occurs more than once.
    known, at = np.unique(columns.ids, return_inverse=True)
    flags: dict[str, Variants] = {}
    for flag, variant, ids in variants:
        places = _places(known, ids)[0]
        if not len(places):
            continue
        found = flags.setdefault(flag, Variants([], np.full(len(known), -1, np.int64)))
        found.codes[places] = len(found.names)
        found.names.append(variant)
    used = np.full(len(known), np.nan)
    if tokens is not None:
        places, told = _places(known, tokens[0])
        used[places] = tokens[1][told]
    together = columns.sessions
    if len(np.unique(columns.users[columns.users != 0])) >= MANY_USERS:
        together = np.where(columns.users != 0, columns.users, together)
    # Small numbers instead of hashes, which may exceed a signed integer.
    clusters = np.unique(together, return_inverse=True)[1]
    return Sample(
        groups=columns.groups,
        group=columns.group,
        starts_ns=columns.starts_ns,
        latencies=columns.latencies,
        failures=columns.failures,
        tokens=used[at],
        clusters=clusters,
        flags={name: Variants(each.names, each.codes[at]) for name, each in flags.items()},
        switched=np.zeros(len(at), bool),
        ids=columns.ids,
        weights=columns.weights,
        one_in=one_in,
    )


def _places(known: Numbers, ids: Numbers) -> tuple[Numbers, Numbers]:
    """Return the positions of IDs in a sorted array, and which of the IDs are in it."""
    if not len(known):
        return np.zeros(0, np.int64), np.zeros(0, bool)
    places = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    found = known[places] == ids
    return places[found], found
