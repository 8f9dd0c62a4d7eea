"""Find what distinguishes two versions: what is new, vanished, more frequent or less frequent.

A thing (an error message, an exception type, a span's name, a model, a flag's variant, an
attribute's value) is in a trace or not, so each gives a 2 x 2 table: traces with and without it, in
the baseline and in the candidate. A measured attribute, such as tokens, has nearly as many values
as there are traces: its means are compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from otel_vtrack.analysis import compare
from otel_vtrack.analysis.statistics import Estimate
from otel_vtrack.errors import NotFound
from otel_vtrack.store.client import Store

MAX_TRACES: Final = 10_000
"""Most traces to look at, half of each version: among a thousand things, one that is new in 1 of
250 traces is then found four times in five."""


class Kind(IntEnum):
    """What kind of thing; numbers as in analysis.proto."""

    ERROR_MESSAGE = 1
    EXCEPTION_TYPE = 2
    SPAN_NAME = 3
    MODEL = 4
    FLAG = 5
    ATTRIBUTE = 6
    NUMBER = 7


class Change(IntEnum):
    """How it changed; numbers as in analysis.proto."""

    NEW = 1
    VANISHED = 2
    MORE = 3
    LESS = 4


@dataclass(frozen=True, slots=True)
class Averages:
    """Averages of a measured attribute; analysis.proto explains each field."""

    baseline_mean: float
    candidate_mean: float
    baseline_median: float
    candidate_median: float
    relative_difference: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Something that distinguishes two versions; analysis.proto explains each field."""

    kind: Kind
    key: str
    value: str
    change: Change
    baseline_count: int
    candidate_count: int
    difference: Estimate
    p_value: float
    adjusted_p_value: float
    example_trace_id: str
    route: str
    route_share: float
    same_route_difference: float | None
    averages: Averages | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """All differences found, the most significant first; analysis.proto explains each field."""

    experiment: str
    baseline_trace_count: int
    candidate_trace_count: int
    differences: tuple[Difference, ...]
    sampled_one_in: int
    tested_count: int


def find(store: Store, question: compare.Question, kinds: Sequence[Kind] = ()) -> Differences:
    """List what occurs in a greater share of one version's traces than of the other's.

    Args:
        store: Where to look.
        question: Which versions and traces; its metrics are ignored.
        kinds: What to look for; empty for everything.

    Raises:
        InvalidArgument: A version is missing, both are the same, or they are in more than one
            experiment and none was named.
        NotFound: A version has no traces there.
    """
    # They import numpy, which a server that never gets this query does without.
    from otel_vtrack.analysis import apart, windows  # noqa: PLC0415

    bound = compare.parameters(question)
    experiment, _ = compare.known(store, question, bound)
    bound |= {"experiment": experiment}
    by_root, when = _when(store, question, bound)
    chosen = [
        windows.choose(
            each["minutes"],
            each["trace_counts"],
            each["total_counts"],
            max(1, (question.max_traces or MAX_TRACES) // 2),
        )
        for each in when
    ]
    for name, each in zip(("baseline", "candidate"), chosen, strict=True):
        bound |= {f"{name}_{part}": getattr(each, part) for part in ("width", "windows", "share")}
    rows = apart.rows(store.binary("analysis/differences", bound | {"by_root": by_root}))
    sample = apart.Sample.of(rows, [each.width if each.is_sample else 1 for each in chosen])
    if sample is None:
        raise _nothing(question.candidate_version)
    tested_count, found = sample.told_apart(apart.things(rows, set(kinds or Kind)))
    found.sort(
        key=lambda each: (
            each.adjusted_p_value,
            -_size(each),
            each.kind,
            each.key,
            each.value,
        )
    )
    one_in = 1
    if any(each.is_sample for each in chosen):
        there = sum(sum(each["trace_counts"]) for each in when)
        one_in = max(2, round(there / len(sample.is_candidate)))
    return Differences(
        experiment=experiment,
        baseline_trace_count=int(sample.totals[0]),
        candidate_trace_count=int(sample.totals[1]),
        differences=tuple(found),
        sampled_one_in=one_in,
        tested_count=tested_count,
    )


def _size(found: Difference) -> float:
    """Return the size of a difference of shares, or of a relative one of means."""
    if found.averages is None:
        return abs(found.difference.value)
    change = found.averages.relative_difference
    return 0.0 if change is None else abs(change.value)


def _when(
    store: Store, question: compare.Question, bound: dict[str, Any]
) -> tuple[bool, list[dict[str, Any]]]:
    """Return whether to select by entry spans, and both versions' minutes.

    Raises:
        NotFound: A version has no traces there.
    """
    known = {row["is_candidate"]: row for row in store.query("analysis/differences_known", bound)}
    versions = (question.baseline_version, question.candidate_version)
    for side, version in enumerate(versions):
        if side not in known:
            raise _nothing(version)
    bound |= {
        "live_from_ns": min(row["first_ns"] for row in known.values()),
        "live_until_ns": max(row["last_ns"] for row in known.values()),
    }
    for by_root in (True, False):
        rows = store.query("analysis/differences_when", bound | {"by_root": by_root})
        when = {row["is_candidate"]: row for row in rows}
        # Where most of a version's traces were begun by others, its entry spans are too few.
        if by_root and any(
            side not in when or 2 * when[side]["ever_count"] < known[side]["trace_count"]
            for side in known
        ):
            continue
        for side, version in enumerate(versions):
            if side not in when or not when[side]["minutes"]:
                raise _nothing(version)
        return by_root, [when[0], when[1]]
    raise AssertionError("one of two ways was taken")


def _nothing(version: str) -> NotFound:
    return NotFound(
        f"version {version} has no spans here: `vtrack versions list` shows which versions are"
        " known, and where; a wider time range or no --environment may help"
    )
