"""Reads what versions were and did in environments."""

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from otel_vtrack.query import timeline
from otel_vtrack.query.timeline import Place, Time, Window
from otel_vtrack.store.client import Store

MOST_TRACES: Final = 5_000
"""Traces of a time that are looked at one by one; of more a sample is taken."""
FEWEST_TRACES: Final = 1_000
"""So many are in any case, of however many times."""
ALL_TRACES: Final = 50_000
"""Of all times together, about as many as that."""
_LIKE_BITS: Final = 3
"""Alike are samples within that power of two: to plan one more question costs, too."""
_AT_ONCE: Final = 3
"""Questions to the store; one of its readers is left to others."""

_SUMS: Final = ("stored_count", "trace_count", "error_count", "cluster_count", "nn", "nf", "ff")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a version in a place; values by what they say, as `model` or `flag:KEY`."""

    values: dict[str, frozenset[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Traces of a version in a time.

    Attributes:
        one_in: How many are stored for each that was looked at.
        trace_count: How many were looked at.
        window: What came of them, without durations, sessions and users.
        durations: Of entry spans in ms, as `analysis.statistics.quantiles` takes them.
        is_weighed: Whether traces stand for different numbers, and `durations` are those that the
            engine chose of however many.
        token_trace_count: How many traces report usage.
        token_mean: Of their tokens.
        token_deviation: Likewise.
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
    """Say what is known of versions in places."""
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
    """Look at traces of some times, of each about as many as `MOST_TRACES` at most.

    Fewer of each where there are many times, down to `FEWEST_TRACES`.

    Args:
        store: Where to look.
        times: Which.
        trace_counts: How many traces each has at most.
    """
    if not times:
        return []
    most = min(MOST_TRACES, max(FEWEST_TRACES, ALL_TRACES // len(times)))
    ones_in = [max(1, -(-count // most)) for count in trace_counts]

    def ask(name: str, some: Sequence[int]) -> dict[int, dict[str, Any]]:
        asked = timeline.bound([times[at] for at in some])
        rows = store.query(name, {**asked, "ones_in": [ones_in[at] for at in some]})
        return {some[row["number"] - 1]: row for row in rows}

    # Spans are in the order of time, so that all are asked at once. Traces are in that of their
    # samples, and what is not in the largest of a question need not be read for it: those of
    # like samples are asked together.
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
