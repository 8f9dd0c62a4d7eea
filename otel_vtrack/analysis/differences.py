"""Finds what tells two versions apart: what is new, what vanished, what became more or less.

A thing (an error message, an exception type, the name of a span, a model, a variant of a flag, the
value of an attribute) is in a trace or not, so that each is a table of two by two: traces with and
without it, in the baseline and in the candidate. Traces count as independent of each other.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from otel_vtrack.analysis import compare, statistics
from otel_vtrack.analysis.statistics import Estimate
from otel_vtrack.errors import NotFound
from otel_vtrack.store.client import Store

MAX_TRACES: Final = 20_000
"""Most traces to look at; in so many of both versions what is in 1 of 1,000 is found."""


class Kind(IntEnum):
    """What kind of thing; numbers as in analysis.proto."""

    ERROR_MESSAGE = 1
    EXCEPTION_TYPE = 2
    SPAN_NAME = 3
    MODEL = 4
    FLAG = 5
    ATTRIBUTE = 6


class Change(IntEnum):
    """How it changed; numbers as in analysis.proto."""

    NEW = 1
    VANISHED = 2
    MORE = 3
    LESS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Something that tells two versions apart; analysis.proto explains each field."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """All that was found, the surest first; analysis.proto explains each field."""

    experiment: str
    baseline_trace_count: int
    candidate_trace_count: int
    differences: tuple[Difference, ...]
    sampled_one_in: int
    tested_count: int


def find(store: Store, question: compare.Question, kinds: Sequence[Kind] = ()) -> Differences:
    """List what is in a greater share of one version's traces than of the other's.

    Args:
        store: Where to look.
        question: Which versions, and by which spans; its metrics do not matter.
        kinds: What to look for; empty for everything.

    Raises:
        InvalidArgument: A version is missing, both are the same, or they are in more than one
            experiment and none was named.
        NotFound: A version has no spans there.
    """
    parameters = compare.parameters(question)
    experiment, expected = compare.known(store, question, parameters)
    one_in = max(1, math.ceil(expected / (question.max_traces or MAX_TRACES)))
    rows = store.query(
        "analysis/differences", parameters | {"experiment": experiment, "one_in": one_in}
    )
    whole = next((row for row in rows if not row["kind"]), None)
    totals = (whole["baseline_count"], whole["candidate_count"]) if whole else (0, 0)
    if not all(totals):
        version = question.candidate_version if totals[0] else question.baseline_version
        raise NotFound(
            f"version {version} has no spans here: `vtrack versions list` shows which versions"
            " are known, and where; a wider time range or no --environment may help"
        )
    wanted = {kind.name for kind in kinds or Kind}
    things = [row for row in rows if row["kind"] in wanted]
    raw = [_p_value(row, totals) for row in things]
    adjusted = statistics.adjusted(raw)
    found = [
        _difference(row, totals, p_value, sure)
        for row, p_value, sure in zip(things, raw, adjusted, strict=True)
        if sure < compare.ALPHA
    ]
    found.sort(
        key=lambda each: (
            each.adjusted_p_value,
            -abs(each.difference.value),
            each.kind,
            each.key,
            each.value,
        )
    )
    return Differences(
        experiment=experiment,
        baseline_trace_count=totals[0],
        candidate_trace_count=totals[1],
        differences=tuple(found),
        sampled_one_in=one_in,
        tested_count=len(things),
    )


def _p_value(row: dict[str, Any], totals: tuple[int, int]) -> float:
    return statistics.two_proportions(
        row["baseline_count"], totals[0], row["candidate_count"], totals[1]
    )


def _difference(
    row: dict[str, Any], totals: tuple[int, int], p_value: float, adjusted: float
) -> Difference:
    counts = row["baseline_count"], row["candidate_count"]
    shares = [
        statistics.proportion(count, total) for count, total in zip(counts, totals, strict=True)
    ]
    gap = statistics.difference(*shares) or Estimate(0.0)
    if not counts[0]:
        change = Change.NEW
    elif not counts[1]:
        change = Change.VANISHED
    else:
        change = Change.MORE if gap.value > 0 else Change.LESS
    return Difference(
        kind=Kind[row["kind"]],
        key=row["key"],
        value=row["value"],
        change=change,
        baseline_count=counts[0],
        candidate_count=counts[1],
        difference=gap,
        p_value=p_value,
        adjusted_p_value=adjusted,
        example_trace_id=row["example_trace_id"],
    )
