"""Reads what versions were and did in environments."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from otel_vtrack.query import timeline
from otel_vtrack.query.timeline import Place, Time, Window
from otel_vtrack.store.client import Store

MOST_TRACES: Final = 5_000
"""Traces of a time that are looked at one by one; of more a sample is taken."""
FEWEST_TRACES: Final = 1_000
"""So many are in any case, of however many times."""
ALL_TRACES: Final = 50_000
"""Of all times together, about as many as that."""

_SUMS: Final = ("trace_count", "error_count", "cluster_count", "nn", "nf", "ff")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a version in a place; values by what they say, as `model` or `flag:KEY`."""

    values: dict[str, frozenset[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Traces of a version in a time.

    Attributes:
        one_in: How many there are for each that was looked at.
        trace_count: How many were looked at.
        window: What came of them, without durations, sessions and users.
        durations: Of entry spans in ms, as `analysis.statistics.quantiles` takes them.
        token_trace_count: How many traces report usage.
        token_mean: Of their tokens.
        token_deviation: Likewise.
    """

    one_in: int = 1
    trace_count: int = 0
    window: Window = field(default_factory=Window)
    durations: Sequence[float] = ()
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
    found = [Sample()] * len(times)
    # What is not in the largest sample of a question need not be read for it: those of like
    # samples are asked together.
    for size in {one_in.bit_length() for one_in in ones_in}:
        alike = [at for at, one_in in enumerate(ones_in) if one_in.bit_length() == size]
        some = _samples(store, [times[at] for at in alike], [ones_in[at] for at in alike])
        for at, sample in zip(alike, some, strict=True):
            found[at] = sample
    return found


def _samples(store: Store, times: Sequence[Time], ones_in: Sequence[int]) -> Iterable[Sample]:
    asked = {**timeline.bound(times), "ones_in": ones_in}
    spans = {row["number"]: row for row in store.query("progression/spans", asked)}
    tokens = {row["number"]: row for row in store.query("progression/tokens", asked)}
    for number, one_in in enumerate(ones_in, 1):
        of, used = spans.get(number, {}), tokens.get(number, {})
        yield Sample(
            one_in=one_in,
            trace_count=of.get("trace_count", 0),
            window=Window(**{name: of[name] for name in _SUMS}) if of else Window(),
            durations=of.get("durations", ()),
            models=of.get("models", ()),
            token_trace_count=used.get("trace_count", 0),
            token_mean=used.get("mean", 0.0),
            token_deviation=used.get("deviation", 0.0),
        )
