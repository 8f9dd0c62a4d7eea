"""Read the properties and outcomes of versions in their environments."""

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from otel_vtrack.query import timeline
from otel_vtrack.query.timeline import Place, Time, Window
from otel_vtrack.store.client import Store

MOST_TRACES: Final = 5_000
"""The most traces examined per time range; above it, a sample is read."""
FEWEST_TRACES: Final = 1_000
"""At least so many are examined per time range, however many ranges there are."""
ALL_TRACES: Final = 50_000
"""The approximate limit for all time ranges together."""
_LIKE_BITS: Final = 3
"""Samples within this power of two share a query, because planning another one has a cost."""
_AT_ONCE: Final = 3
"""Concurrent queries; one of the store's readers stays free for others."""

_SUMS: Final = ("stored_count", "trace_count", "error_count", "cluster_count", "nn", "nf", "ff")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a version in a place; values by name, such as `model` or `flag:KEY`."""

    values: dict[str, frozenset[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Traces of a version in a time range.

    Attributes:
        one_in: How many traces are stored for each one examined.
        trace_count: How many were examined.
        window: Their sums, without durations, sessions and users.
        durations: Of entry spans in ms, as `analysis.statistics.quantiles` takes them.
        is_weighed: Whether adjusted counts differ, so that `durations` has only the quantiles
            chosen by the engine.
        token_trace_count: How many traces report usage.
        token_mean: The mean of their tokens.
        token_deviation: The deviation of their tokens.
    """

    one_in: int = 1
    trace_count: int = 0
    window: Window = field(default_factory=Window)
    durations: Sequence[float] = ()
    is_weighed: bool = False
    models: Collection[str] = field(default=())
    token_trace_count: int = 0
    token_mean: float = 0.0
    token_deviation: float = 0.0


def facts(store: Store, places: Collection[tuple[Place, str]]) -> dict[tuple[Place, str], Facts]:
    """Return what is known of versions in places."""
    if not places:
        return {}
    rows = store.query(
        "progression/facts",
        {
            "experiments": sorted({place.experiment for place, _ in places}),
            "service_names": sorted({place.service_name for place, _ in places}),
            "versions": sorted({version for _, version in places}),
        },
    )
    found: dict[tuple[Place, str], Facts] = {}
    for row in rows:
        values: dict[str, set[str]] = {
            "git_commit": set(row["git_commits"]),
            "git_dirty": set(row["git_dirties"]),
            "deployment_id": set(row["deployment_ids"]),
        }
        for each in row["flags"]:
            values.setdefault(f"flag:{each['flag']}", set()).add(each["variant"])
        place = Place(*(row[name] for name in Place._fields))
        found[place, row["version"]] = Facts(
            {what: frozenset(texts) for what, texts in values.items()}
        )
    return found


def samples(store: Store, times: Sequence[Time], trace_counts: Sequence[int]) -> list[Sample]:
    """Examine traces in some time ranges, about `MOST_TRACES` in each at most.

    With many ranges it is fewer in each, down to `FEWEST_TRACES`.

    Args:
        store: The store to query.
        times: The time ranges.
        trace_counts: The most traces that each may have.
    """
    if not times:
        return []
    most = min(MOST_TRACES, max(FEWEST_TRACES, ALL_TRACES // len(times)))
    ones_in = [max(1, -(-count // most)) for count in trace_counts]

    def ask(name: str, some: Sequence[int]) -> dict[int, dict[str, Any]]:
        asked = timeline.bound([times[at] for at in some])
        rows = store.query(name, {**asked, "ones_in": [ones_in[at] for at in some]})
        return {some[row["number"] - 1]: row for row in rows}

    # Spans are in the order of time, so one query covers all ranges. Traces are in the order of
    # their samples, and a query need not read those outside its largest sample: ranges with similar
    # samples share a query.
    alike: dict[int, list[int]] = {}
    for at, one_in in enumerate(ones_in):
        alike.setdefault(one_in.bit_length() // _LIKE_BITS, []).append(at)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        asked = pool.submit(ask, "progression/spans", range(len(times)))
        some = [pool.submit(ask, "progression/tokens", each) for each in alike.values()]
        spans = asked.result()
        used = {at: row for each in some for at, row in each.result().items()}
    return [
        _sample(one_in, spans.get(at, {}), used.get(at, {})) for at, one_in in enumerate(ones_in)
    ]


def _sample(one_in: int, of: dict[str, Any], used: dict[str, Any]) -> Sample:
    return Sample(
        one_in=one_in,
        trace_count=of.get("stored_count", 0),
        window=Window(**{name: of[name] for name in _SUMS}) if of else Window(),
        durations=of.get("durations", ()),
        is_weighed=bool(of.get("is_weighed")),
        models=of.get("models", ()),
        token_trace_count=used.get("trace_count", 0),
        token_mean=used.get("mean", 0.0),
        token_deviation=used.get("deviation", 0.0),
    )
