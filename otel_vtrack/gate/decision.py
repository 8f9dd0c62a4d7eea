"""What a comparison means by a policy.

A metric is regressed when the comparison's test says that the candidate is worse (adjusted
p < 0.05) and the estimated worsening is at least the smallest change that counts. The test looks
at latency and tokens by rank, and the estimate is of the median latency, the mean of tokens and
the difference of error rates.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from otel_vtrack.analysis import words
from otel_vtrack.gate.policy import MetricPolicy, Policy, shown
from otel_vtrack.v1 import analysis_pb2 as pb

METRICS: Final = {
    "latency": pb.METRIC_LATENCY,
    "error_rate": pb.METRIC_ERROR_RATE,
    "tokens": pb.METRIC_TOKENS,
}
FIGURES: Final = {"latency": "p50", "error_rate": "rate", "tokens": "mean"}
"""Of each metric the figure whose worsening counts; see `analysis.words`."""

# One of a hundred more, taken from floating point shares, is a hair less than one of a hundred.
_ROUNDING: Final = 1e-9
_TESTED: Final = (pb.VERDICT_IMPROVED, pb.VERDICT_REGRESSED, pb.VERDICT_NO_EVIDENCE)


class Outcome(str, Enum):
    """What became of a metric, or of all; the values are what programs are told."""

    PASSED = "passed"
    REGRESSED = "regressed"
    NOT_ENOUGH_DATA = "not_enough_data"
    NO_EVIDENCE = "no_evidence"


@dataclass(frozen=True, slots=True)
class Worsening:
    """By how much the candidate is worse, as a share; negative where it is better.

    Attributes:
        value: The estimate; infinite if there was nothing before.
        lower: Lower end of the 95 % confidence interval; None if there is none.
        upper: Upper end, likewise.
    """

    value: float
    lower: float | None
    upper: float | None


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided of one metric.

    Attributes:
        metric: `latency`, `error_rate` or `tokens`.
        outcome: What was found. NO_EVIDENCE: a worsening that counts is neither shown nor ruled
            out.
        failed: Whether it stops the release, which the policy decides.
        reason: Why, in words without any name of a version.
        worsening: None without data.
    """

    metric: str
    rule: MetricPolicy
    found: pb.MetricComparison
    outcome: Outcome
    failed: bool
    reason: str
    worsening: Worsening | None


def decide(policy: Policy, found: pb.Comparison) -> tuple[Decision, ...]:
    """Decide every metric of the policy, in the policy's order of metrics."""
    there = {metric.metric: metric for metric in found.metrics}
    return tuple(
        _decided(name, rule, there.get(METRICS[name], pb.MetricComparison()))
        for name, rule in policy.gated.items()
    )


def overall(decisions: Sequence[Decision]) -> Outcome:
    """Say what stops the release: a regression before missing data; PASSED if nothing does."""
    failed = {each.outcome for each in decisions if each.failed}
    order = (Outcome.REGRESSED, Outcome.NOT_ENOUGH_DATA, Outcome.NO_EVIDENCE)
    return next((each for each in order if each in failed), Outcome.PASSED)


def has_enough_data(policy: Policy, found: pb.Comparison) -> bool:
    """Say whether every metric has its minimum; looks at nothing but counts."""
    there = {metric.metric: metric for metric in found.metrics}
    return all(
        METRICS[name] in there and _fewest(there[METRICS[name]]) >= rule.minimum_traces
        for name, rule in policy.gated.items()
    )


def _fewest(found: pb.MetricComparison) -> int:
    return min(found.baseline_count, found.candidate_count)


def _decided(name: str, rule: MetricPolicy, found: pb.MetricComparison) -> Decision:
    worsening = _worsening(name, rule, found)
    outcome, reason = _judged(name, rule, found, worsening)
    failed = (
        outcome is Outcome.REGRESSED
        or (outcome is Outcome.NOT_ENOUGH_DATA and rule.on_not_enough_data == "fail")
        or (outcome is Outcome.NO_EVIDENCE and rule.on_no_evidence == "fail")
    )
    return Decision(name, rule, found, outcome, failed, reason, worsening)


def _judged(
    name: str, rule: MetricPolicy, found: pb.MetricComparison, worsening: Worsening | None
) -> tuple[Outcome, str]:
    counts = f"n = {found.baseline_count:,} / {found.candidate_count:,}"
    smallest = shown(name, rule.smallest_change)
    # A verdict that this release does not know proves nothing.
    if _fewest(found) < rule.minimum_traces or found.verdict not in _TESTED or worsening is None:
        wanted = f"{rule.minimum_traces:,} traces of each version"
        return Outcome.NOT_ENOUGH_DATA, f"not enough data: the policy wants {wanted} ({counts})"
    worse = pb.VERDICT_REGRESSED if rule.direction == "less" else pb.VERDICT_IMPROVED
    p_value = found.adjusted_p_value if found.HasField("adjusted_p_value") else None
    figures = f"{described(name, worsening)}, {words.probability(p_value)}, {counts}"
    is_worse = found.verdict == worse
    if is_worse and worsening.value >= rule.smallest_change - _ROUNDING:
        return (
            Outcome.REGRESSED,
            f"worse by {smallest} or more, and by more than chance: {figures}",
        )
    if is_worse:
        said = f"worse by more than chance, but estimated at less than {smallest}"
    elif found.verdict == pb.VERDICT_NO_EVIDENCE:
        said = "no evidence of a difference"
    else:
        said = "better by more than chance"
    if worsening.upper is not None and worsening.upper <= rule.smallest_change + _ROUNDING:
        return (
            Outcome.PASSED,
            f"{said}; the interval rules out a worsening of more than {smallest}: {figures}",
        )
    return (
        Outcome.NO_EVIDENCE,
        f"{said}; cannot rule out a worsening of more than {smallest}: {figures}",
    )


def _worsening(name: str, rule: MetricPolicy, found: pb.MetricComparison) -> Worsening | None:
    figure = next((each for each in found.figures if each.figure == FIGURES[name]), None)
    if figure is None or not figure.HasField("difference"):
        return None
    sign = 1.0 if rule.direction == "less" else -1.0
    if name == "error_rate":
        return _signed(figure.difference, sign)
    if figure.HasField("change"):
        return _signed(figure.change, sign)
    # The baseline is 0, of which nothing is a share.
    return Worsening(math.inf if figure.difference.value * sign > 0 else 0.0, None, None)


def _signed(estimate: pb.Estimate, sign: float) -> Worsening:
    lower = estimate.lower * sign if estimate.HasField("lower") else None
    upper = estimate.upper * sign if estimate.HasField("upper") else None
    if sign < 0:
        lower, upper = upper, lower
    return Worsening(estimate.value * sign, lower, upper)


def described(name: str, worsening: Worsening) -> str:
    """Write a worsening with its interval, as in `38 % worse [30 %, 47 %]`."""
    value = worsening.value
    said = f"{shown(name, abs(value))} {'better' if value < 0 else 'worse'}"
    if worsening.lower is None and worsening.upper is None:
        return f"{FIGURES[name]} {said}"
    bounds = ", ".join(
        "?" if each is None else shown(name, each) for each in (worsening.lower, worsening.upper)
    )
    return f"{FIGURES[name]} {said} [{bounds}]"
