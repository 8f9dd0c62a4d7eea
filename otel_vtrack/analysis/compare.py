"""Compare two versions, and decide whether a difference is more than chance.

docs/comparison.md explains what is done and why. This module has the question, the answer, and what
both need from the store; `analysis.comparing` does the work, with the libraries it needs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, NamedTuple

from otel_vtrack.analysis.metrics import Direction, MetricQuery, Unit
from otel_vtrack.analysis.statistics import Estimate
from otel_vtrack.errors import InvalidArgument, NotFound
from otel_vtrack.query.prices import BUILT_IN, Prices
from otel_vtrack.store.client import Store

ALPHA: Final = 0.05
ENOUGH: Final = 20
"""Fewest values of each version needed for a conclusion.

The rank test's normal approximation is good from there on (Mann and Whitney found it so from 8),
and fewer values could only show the coarsest difference.
"""
MAX_TRACES: Final = 50_000

_EARLIEST_NS: Final = -(1 << 63)
_LATEST_NS: Final = (1 << 63) - 1
_DAY_NS: Final = 86_400_000_000_000


class Verdict(IntEnum):
    """What can be concluded about a metric; numbers as in analysis.proto."""

    IMPROVED = 1
    REGRESSED = 2
    NO_EVIDENCE = 3
    NOT_ENOUGH_DATA = 4
    EQUIVALENT = 5
    CHANGED = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Which versions to compare, and by which traces; analysis.proto explains each field."""

    baseline_version: str
    candidate_version: str
    experiment: str = ""
    service_name: str = ""
    environment: str = ""
    start_time_from_ns: int | None = None
    start_time_until_ns: int | None = None
    metrics: Sequence[MetricQuery] = ()
    max_traces: int = 0
    filter: str = ""
    group_by: Sequence[str] = ()
    stratify_by: Sequence[str] = ()
    baseline_start_time_from_ns: int | None = None
    baseline_start_time_until_ns: int | None = None

    @property
    def own_times(self) -> bool:
        """Whether the baseline has a time range of its own."""
        own = self.baseline_start_time_from_ns, self.baseline_start_time_until_ns
        return own != (None, None)


@dataclass(frozen=True, slots=True)
class Sample:
    """The traces of one version; times are None if no trace is finished.

    Attributes:
        adjusted_count: How many finished traces these stand for, as some were not stored.
    """

    version: str
    trace_count: int
    error_count: int
    in_progress_count: int
    first_seen_ns: int | None
    last_seen_ns: int | None
    sampled_one_in: int
    adjusted_count: int = 0


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of both versions."""

    figure: str
    baseline: Estimate | None
    candidate: Estimate | None
    difference: Estimate | None
    change: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """The test of whether the largest values differ.

    Attributes:
        change: Of p95, relative or absolute like the smallest change; within strata if they decide.
    """

    threshold: float
    baseline: Estimate
    candidate: Estimate
    test: str
    p_value: float
    candidate_is_greater: bool | None
    change: Estimate | None
    adjusted_p_value: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """Values that agree in all dimensions held constant."""

    values: Mapping[str, str]
    baseline_count: int
    candidate_count: int
    baseline: float | None
    candidate: float | None
    difference: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratified:
    """The comparison of like with like."""

    dimensions: tuple[str, ...]
    strata_count: int
    overlap: float
    difference: Estimate | None
    change: Estimate | None
    test: str
    p_value: float | None
    crude_p_value: float | None
    heterogeneity_p_value: float | None
    decides: bool
    strata: tuple[Stratum, ...]


@dataclass(frozen=True, slots=True)
class Category:
    """One category of both versions."""

    category: str
    baseline_count: int
    candidate_count: int
    baseline: Estimate | None
    candidate: Estimate | None
    difference: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricComparison:
    """One metric of both versions; analysis.proto explains each field.

    Attributes:
        candidate_is_greater: The direction of the test's result; None if neither.
        findings: The figures whose tests show a difference that may matter, the bulk's first.
    """

    metric: str
    unit: str
    measured: Unit
    direction: Direction
    smallest_relative_change: float | None
    smallest_absolute_change: float | None
    baseline_count: int
    candidate_count: int
    baseline_cluster_count: int = 0
    candidate_cluster_count: int = 0
    figures: tuple[Figure, ...] = ()
    categories: tuple[Category, ...] = ()
    test: str = ""
    test_reason: str = ""
    p_value: float | None = None
    adjusted_p_value: float | None = None
    candidate_is_greater: bool | None = None
    effect_size: float | None = None
    deciding_figure: str = ""
    deciding_change: Estimate | None = None
    findings: tuple[str, ...] = ()
    tail: Tail | None = None
    stratified: Stratified | None = None
    verdict: Verdict = Verdict.NOT_ENOUGH_DATA
    more_needed: int = 0
    summary: str = ""
    example_trace_ids: tuple[str, ...] = ()
    unpriced_count: int = 0
    unpriced_models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Level:
    """A value of a dimension."""

    value: str
    baseline_count: int
    candidate_count: int


@dataclass(frozen=True, slots=True)
class Mix:
    """A dimension whose mix differs between the versions."""

    dimension: str
    p_value: float
    cramers_v: float
    levels: tuple[Level, ...]
    level_count: int
    baseline_count: int
    candidate_count: int


@dataclass(frozen=True, slots=True)
class Group:
    """A part of the traces."""

    values: Mapping[str, str]
    baseline_count: int
    candidate_count: int
    metrics: tuple[MetricComparison, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two versions side by side."""

    experiment: str
    service_name: str
    environment: str
    filter: str
    baseline: Sample
    candidate: Sample
    metrics: tuple[MetricComparison, ...]
    mix: tuple[Mix, ...] = ()
    groups: tuple[Group, ...] = field(default=())
    groups_left_out: int = 0

    @property
    def sampled_one_in(self) -> int:
        """The n of the 1-in-n sample, of the version sampled more sparsely."""
        return max(self.baseline.sampled_one_in, self.candidate.sampled_one_in)


def compare(store: Store, question: Question, table: Prices = BUILT_IN) -> Comparison:
    """Compare two versions by the finished traces whose root they made, or by their spans.

    Args:
        store: Where to look.
        question: What to compare.
        table: Token prices.

    Raises:
        InvalidArgument: A version is missing, both are the same, or they are in more than one
            experiment and none was named; or there is no such metric, filter or dimension.
        NotFound: A version has no traces there, or nothing has the name of a metric.
    """
    # A server that never compares loads neither numpy nor scipy.
    from otel_vtrack.analysis import comparing  # noqa: PLC0415

    return comparing.compare(store, question, table)


def parameters(question: Question) -> dict[str, Any]:
    """Return the parameters of a question's queries.

    Raises:
        InvalidArgument: A version is missing, or both are the same.
    """
    if not question.baseline_version or not question.candidate_version:
        raise InvalidArgument("name two versions to compare: `vtrack versions list` shows them")
    if question.baseline_version == question.candidate_version:
        raise InvalidArgument("name two different versions to compare")
    return bound(question)


def bound(question: Question) -> dict[str, Any]:
    """Return the parameters without checking the versions."""
    times = candidate = _range(question.start_time_from_ns, question.start_time_until_ns)
    if question.own_times:
        times = _range(question.baseline_start_time_from_ns, question.baseline_start_time_until_ns)
    first, last = min(times[0], candidate[0]), max(times[1], candidate[1])
    return {
        "baseline_version": question.baseline_version,
        "candidate_version": question.candidate_version,
        "experiment": question.experiment,
        "service_name": question.service_name,
        "environment": question.environment,
        "from_ns": first,
        "until_ns": last,
        "baseline_from_ns": times[0],
        "baseline_until_ns": times[1],
        "candidate_from_ns": candidate[0],
        "candidate_until_ns": candidate[1],
        # The table is partitioned by day; a trace may have rows in an adjacent one.
        "rows_from_ns": max(_EARLIEST_NS, first - _DAY_NS),
        "rows_until_ns": min(_LATEST_NS, last + _DAY_NS),
    }


def _range(start: int | None, until: int | None) -> tuple[int, int]:
    """Return the first and the last nanosecond of a time range."""
    return (
        _EARLIEST_NS if start is None else start,
        _LATEST_NS if until is None else until - 1,
    )


class Presence(NamedTuple):
    """Where two versions are.

    Attributes:
        counts: About how many traces have spans of each.
        seen_ns: Start of the first span of either version, and of the last.
    """

    experiment: str
    counts: tuple[int, int]
    seen_ns: tuple[int, int]

    def narrowed(self, bound: Mapping[str, Any]) -> dict[str, Any]:
        """Set the experiment, and limit the times to when the versions were seen."""
        first, last = self.seen_ns
        return {
            **bound,
            "experiment": self.experiment,
            "from_ns": max(bound["from_ns"], first),
            "until_ns": min(bound["until_ns"], last),
            "rows_from_ns": max(bound["rows_from_ns"], first - _DAY_NS),
            "rows_until_ns": min(bound["rows_until_ns"], last + _DAY_NS),
        }


def presence(store: Store, question: Question, bound: dict[str, Any]) -> Presence:
    """Find the experiment in question, and about how many traces there are to compare.

    Raises:
        InvalidArgument: The versions are in more than one experiment and none was named.
        NotFound: A version is unknown there.
    """
    rows = store.query("analysis/known", bound)
    versions = question.baseline_version, question.candidate_version
    for version in versions:
        if all(row["version"] != version for row in rows):
            raise unknown(version)
    experiments = sorted({row["experiment"] for row in rows})
    if len(experiments) > 1:
        shown = ", ".join(experiments[:5])
        raise InvalidArgument(
            f"these versions are in more than one experiment ({shown}): choose one, as in"
            f" --experiment {experiments[0]}"
        )
    counts = [
        sum(row["trace_count"] for row in rows if row["version"] == version) for version in versions
    ]
    seen = min(row["first_ns"] for row in rows), max(row["last_ns"] for row in rows)
    return Presence(experiments[0], (counts[0], counts[1]), seen)


def known(store: Store, question: Question, bound: dict[str, Any]) -> tuple[str, int]:
    """Return the experiment in question, and about how many traces there are to compare.

    Raises what `presence` raises.
    """
    found = presence(store, question, bound)
    return found.experiment, sum(found.counts)


def rates(counts: tuple[int, int], limit: int) -> tuple[int, int]:
    """Return the n of a 1-in-n sample of each version, for at most `limit` traces in all.

    The smaller version gets as many as possible, since it limits the precision.
    """
    half = limit / 2

    def one_in(count: int, other: int) -> int:
        return max(1, math.ceil(count / max(half, limit - other)))

    return one_in(*counts), one_in(*counts[::-1])


def unknown(version: str) -> NotFound:
    """Create the error for a version without traces."""
    return NotFound(
        f"version {version} has no traces here: `vtrack versions list` shows which versions are"
        " known, and where; a wider time range or no --environment may help"
    )
