"""Compares two versions: latency, errors, tokens, and whether a difference is more than chance.

The tests run in the engine: the rank test of Mann and Whitney for latency and tokens, which
assumes no distribution, and for errors Fisher's exact test, or where no cell of the table is
expected below 5 (Cochran's rule) the z-test of two proportions.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Final

from otel_vtrack.analysis import statistics, words
from otel_vtrack.analysis.statistics import Estimate
from otel_vtrack.errors import InvalidArgument, NotFound
from otel_vtrack.store.client import Store

ALPHA: Final = 0.05
ENOUGH: Final = 20
"""Fewest traces of each version from which anything is concluded.

The rank test's normal approximation is good from there on (Mann and Whitney found it so from 8),
and fewer could show nothing but the coarsest difference.
"""
MAX_TRACES: Final = 50_000
_TOKENS_SHARE: Final = 5
"""Tokens are compared by a fifth of the traces that other metrics are: summing them over a
trace's tree costs several times as much, and they vary less."""

_EARLIEST_NS: Final = -(1 << 63)
_LATEST_NS: Final = (1 << 63) - 1
_DAY_NS: Final = 86_400_000_000_000
_QUANTILES: Final = ("p50", "p95", "p99")


class Metric(IntEnum):
    """What to compare by; numbers as in analysis.proto."""

    LATENCY = 1
    ERROR_RATE = 2
    TOKENS = 3


class Verdict(IntEnum):
    """What may be said of a metric; numbers as in analysis.proto."""

    IMPROVED = 1
    REGRESSED = 2
    NO_EVIDENCE = 3
    NOT_ENOUGH_DATA = 4


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
    metrics: Sequence[Metric] = ()
    max_traces: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """The traces of one version; times are None when no trace is finished."""

    version: str
    trace_count: int
    error_count: int
    in_progress_count: int
    first_seen_ns: int | None
    last_seen_ns: int | None


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of both versions."""

    figure: str
    baseline: Estimate | None
    candidate: Estimate | None
    difference: Estimate | None
    change: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricComparison:
    """One metric of both versions.

    Attributes:
        candidate_is_greater: Which way the test points; None if neither.
        effect_size: As analysis.proto explains; None if a version has no traces.
    """

    metric: Metric
    baseline_count: int
    candidate_count: int
    figures: tuple[Figure, ...]
    test: str
    p_value: float | None
    candidate_is_greater: bool | None
    effect_size: float | None
    adjusted_p_value: float | None = None
    verdict: Verdict = Verdict.NOT_ENOUGH_DATA
    more_needed: int = 0
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two versions side by side."""

    experiment: str
    service_name: str
    environment: str
    baseline: Sample
    candidate: Sample
    metrics: tuple[MetricComparison, ...]
    sampled_one_in: int


def compare(store: Store, question: Question) -> Comparison:
    """Compare two versions by the finished traces whose root they made.

    Raises:
        InvalidArgument: A version is missing, both are the same, or they are in more than one
            experiment and none was named.
        NotFound: A version has no traces there.
    """
    bound = parameters(question)
    experiment, expected = known(store, question, bound)
    limit = question.max_traces or MAX_TRACES
    if expected > limit and (question.start_time_from_ns, question.start_time_until_ns) != (
        None,
        None,
    ):
        [row] = store.query("analysis/count", bound)
        expected = row["trace_count"]
    one_in = max(1, math.ceil(expected / limit))
    wanted = sorted(set(question.metrics)) or list(Metric)
    row, tokens = _asked(
        store,
        bound | {"one_in": one_in},
        # A sparser sample; see _TOKENS_SHARE.
        bound | {"one_in": max(1, math.ceil(expected * _TOKENS_SHARE / limit))}
        if Metric.TOKENS in wanted
        else None,
    )
    found: list[MetricComparison] = []
    if Metric.LATENCY in wanted:
        found.append(_latency(row))
    if Metric.ERROR_RATE in wanted:
        found.append(_errors(row))
    if tokens is not None:
        found.append(_tokens(tokens))
    baseline, candidate = (
        _sample(row, name, version)
        for name, version in (
            ("baseline", question.baseline_version),
            ("candidate", question.candidate_version),
        )
    )
    for sample in (baseline, candidate):
        if not sample.trace_count and not sample.in_progress_count and one_in == 1:
            raise _unknown(sample.version)
    where = question.environment
    judged = _judged(found)
    said = [
        replace(
            each,
            summary=words.summary(each, baseline.version, candidate.version, environment=where),
        )
        for each in judged
    ]
    return Comparison(
        experiment,
        question.service_name,
        question.environment,
        baseline,
        candidate,
        tuple(said),
        one_in,
    )


def _asked(
    store: Store, of_all: dict[str, Any], of_tokens: dict[str, Any] | None
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Run the two queries side by side: each keeps but one core busy for most of its time."""
    with ThreadPoolExecutor(1) as pool:
        tokens = pool.submit(store.query, "analysis/tokens", of_tokens) if of_tokens else None
        [row] = store.query("analysis/compare", of_all)
        return row, tokens.result()[0] if tokens else None


def parameters(question: Question) -> dict[str, Any]:
    """Return what is bound in the queries of a question.

    Raises:
        InvalidArgument: A version is missing, or both are the same.
    """
    if not question.baseline_version or not question.candidate_version:
        raise InvalidArgument("name two versions to compare; `vtrack versions list` has them")
    if question.baseline_version == question.candidate_version:
        raise InvalidArgument("name two different versions to compare")
    start, until = question.start_time_from_ns, question.start_time_until_ns
    return {
        "baseline_version": question.baseline_version,
        "candidate_version": question.candidate_version,
        "experiment": question.experiment,
        "service_name": question.service_name,
        "environment": question.environment,
        "from_ns": _EARLIEST_NS if start is None else start,
        "until_ns": _LATEST_NS if until is None else until - 1,
        # Days are how the table is divided; a trace may have rows in the next one.
        "rows_from_ns": _EARLIEST_NS if start is None else max(_EARLIEST_NS, start - _DAY_NS),
        "rows_until_ns": _LATEST_NS if until is None else min(_LATEST_NS, until + _DAY_NS),
    }


def known(store: Store, question: Question, bound: dict[str, Any]) -> tuple[str, int]:
    """Return the experiment that is meant, and about how many traces there are to compare.

    Raises:
        InvalidArgument: The versions are in more than one experiment and none was named.
        NotFound: A version is unknown there.
    """
    rows = store.query("analysis/known", bound)
    for version in (question.baseline_version, question.candidate_version):
        if all(row["version"] != version for row in rows):
            raise _unknown(version)
    experiments = sorted({row["experiment"] for row in rows})
    if len(experiments) > 1:
        shown = ", ".join(experiments[:5])
        raise InvalidArgument(
            f"these versions are in more than one experiment ({shown}): choose one, as in"
            f" --experiment {experiments[0]}"
        )
    return experiments[0], sum(row["trace_count"] for row in rows)


def _unknown(version: str) -> NotFound:
    return NotFound(
        f"version {version} has no traces here: `vtrack versions list` shows which versions are"
        " known, and where; a wider time range or no --environment may help"
    )


def _sample(row: dict[str, Any], name: str, version: str) -> Sample:
    count = row[f"{name}_count"]
    return Sample(
        version,
        count,
        row[f"{name}_errors"],
        row[f"{name}_in_progress"],
        row[f"{name}_first_ns"] if count else None,
        row[f"{name}_last_ns"] if count else None,
    )


def _figure(name: str, baseline: Estimate | None, candidate: Estimate | None) -> Figure:
    return Figure(
        name,
        baseline,
        candidate,
        statistics.difference(baseline, candidate),
        statistics.change(baseline, candidate),
    )


def _quantiles(row: dict[str, Any], name: str) -> list[Figure]:
    baseline, candidate = (
        statistics.quantiles(row[f"{version}_{name}"], row[f"{version}_count"])
        for version in ("baseline", "candidate")
    )
    return [_figure(*each) for each in zip(_QUANTILES, baseline, candidate, strict=True)]


def _p_value(number: float, *, known: bool) -> float | None:
    """Return a test's answer; where all values are equal the engine has NaN, which means 1."""
    if not known:
        return None
    return 1.0 if math.isnan(number) else min(1.0, number)


def _points_up(row: dict[str, Any]) -> bool | None:
    """Say whether the candidate's values rank higher: U counts pairs where they rank lower."""
    pairs = row["baseline_count"] * row["candidate_count"]
    if not pairs or row["u_statistic"] * 2 == pairs:
        return None
    return row["u_statistic"] * 2 < pairs


def _superiority(row: dict[str, Any]) -> float | None:
    """Return the share of pairs in which the candidate's value is greater, ties counted half.

    A. Vargha and H. D. Delaney, A critique and improvement of the CL common language effect size
    statistics of McGraw and Wong, Journal of Educational and Behavioral Statistics 25 (2000).
    """
    pairs = row["baseline_count"] * row["candidate_count"]
    return 1 - row["u_statistic"] / pairs if pairs else None


def _latency(row: dict[str, Any]) -> MetricComparison:
    known = bool(row["baseline_count"] and row["candidate_count"])
    return MetricComparison(
        metric=Metric.LATENCY,
        baseline_count=row["baseline_count"],
        candidate_count=row["candidate_count"],
        figures=tuple(_quantiles(row, "latency")),
        test="Mann-Whitney U" if known else "",
        p_value=_p_value(row["latency_p_value"], known=known),
        candidate_is_greater=_points_up(row),
        effect_size=_superiority(row),
    )


def _errors(row: dict[str, Any]) -> MetricComparison:
    counts = row["baseline_count"], row["candidate_count"]
    known = all(counts)
    baseline = statistics.proportion(row["baseline_errors"], counts[0])
    candidate = statistics.proportion(row["candidate_errors"], counts[1])
    exact = bool(row["small_counts"])
    figure = _figure("rate", baseline, candidate)
    gap = figure.difference.value if figure.difference else 0.0
    return MetricComparison(
        metric=Metric.ERROR_RATE,
        baseline_count=counts[0],
        candidate_count=counts[1],
        figures=(figure,),
        test="" if not known else "Fisher exact" if exact else "two-proportion z",
        p_value=_p_value(
            row["errors_exact_p_value"] if exact else row["errors_z_p_value"], known=known
        ),
        candidate_is_greater=None if not gap else gap > 0,
        effect_size=statistics.cohens_h(baseline.value, candidate.value)
        if baseline and candidate
        else None,
    )


def _tokens(row: dict[str, Any]) -> MetricComparison:
    known = bool(row["baseline_count"] and row["candidate_count"])
    means = [
        statistics.mean(row[f"{name}_mean"], row[f"{name}_deviation"], row[f"{name}_count"])
        for name in ("baseline", "candidate")
    ]
    return MetricComparison(
        metric=Metric.TOKENS,
        baseline_count=row["baseline_count"],
        candidate_count=row["candidate_count"],
        figures=(_figure("mean", *means), *_quantiles(row, "tokens")),
        test="Mann-Whitney U" if known else "",
        p_value=_p_value(row["p_value"], known=known),
        candidate_is_greater=_points_up(row),
        effect_size=_superiority(row),
    )


def _judged(found: list[MetricComparison]) -> list[MetricComparison]:
    """Adjust the p-values of the metrics that have enough data, and say what follows."""
    counts = [min(each.baseline_count, each.candidate_count) for each in found]
    tested = [
        index
        for index, each in enumerate(found)
        if counts[index] >= ENOUGH and each.p_value is not None
    ]
    adjusted = statistics.adjusted([found[index].p_value or 0.0 for index in tested])
    judged = [
        replace(each, more_needed=max(0, ENOUGH - count))
        for each, count in zip(found, counts, strict=True)
    ]
    for index, p_value in zip(tested, adjusted, strict=True):
        each = judged[index]
        verdict = Verdict.NO_EVIDENCE
        if p_value < ALPHA and each.candidate_is_greater is not None:
            verdict = Verdict.REGRESSED if each.candidate_is_greater else Verdict.IMPROVED
        judged[index] = replace(each, adjusted_p_value=p_value, verdict=verdict)
    return judged
