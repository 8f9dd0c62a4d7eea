"""Applies a policy to a comparison.

A metric is regressed if the comparison's verdict says so, and if the estimated worsening of the
figure behind that verdict is at least the smallest change that counts. The comparison determines
which figure decides, whether the tail grew, and whether like was compared with like.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from otel_vtrack.analysis import words
from otel_vtrack.gate.policy import MetricPolicy, Policy
from otel_vtrack.v1 import analysis_pb2 as pb

# A hundredth computed from floating-point shares can be slightly less than a hundredth.
_ROUNDING: Final = 1e-9
_TESTED: Final = (
    pb.VERDICT_IMPROVED,
    pb.VERDICT_REGRESSED,
    pb.VERDICT_NO_EVIDENCE,
    pb.VERDICT_EQUIVALENT,
    pb.VERDICT_CHANGED,
)


class Outcome(str, Enum):
    """The outcome for one metric or overall; programs see the values."""

    PASSED = "passed"
    REGRESSED = "regressed"
    NOT_ENOUGH_DATA = "not_enough_data"
    NO_EVIDENCE = "no_evidence"


@dataclass(frozen=True, slots=True)
class Worsening:
    """How much worse the candidate is, in the unit of the smallest change; negative if better.

    Attributes:
        value: The estimate; infinite if it is worse than a baseline of 0.
        lower: Lower end of the 95 % confidence interval; None if there is none.
        upper: Upper end, likewise.
    """

    value: float
    lower: float | None
    upper: float | None


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision on one metric.

    Attributes:
        metric: Its name.
        outcome: The finding. NO_EVIDENCE: a worsening that counts is neither shown nor ruled
            out.
        failed: Whether it stops the release, as determined by the policy.
        reason: The explanation, without any version names.
        worsening: None if there is no data.
    """

    metric: str
    rule: MetricPolicy
    found: pb.MetricComparison
    outcome: Outcome
    failed: bool
    reason: str
    worsening: Worsening | None


def decide(policy: Policy, found: pb.Comparison) -> tuple[Decision, ...]:
    """Decide on every metric of the policy, in the policy's order."""
    there = {metric.metric: metric for metric in found.metrics}
    return tuple(
        _decided(name, rule, there.get(name, pb.MetricComparison(metric=name)))
        for name, rule in policy.gated.items()
    )


def overall(decisions: Sequence[Decision]) -> Outcome:
    """Return what stops the release, a regression before missing data; PASSED if nothing does."""
    failed = {each.outcome for each in decisions if each.failed}
    order = (Outcome.REGRESSED, Outcome.NOT_ENOUGH_DATA, Outcome.NO_EVIDENCE)
    return next((each for each in order if each in failed), Outcome.PASSED)


def has_enough_data(policy: Policy, found: pb.Comparison) -> bool:
    """Return whether every metric has its minimum of data; looks only at counts."""
    there = {metric.metric: metric for metric in found.metrics}
    return all(
        name in there and _fewest(there[name]) >= rule.minimum_count
        for name, rule in policy.gated.items()
    )


def _fewest(found: pb.MetricComparison) -> int:
    return min(found.baseline_count, found.candidate_count)


def _decided(name: str, rule: MetricPolicy, found: pb.MetricComparison) -> Decision:
    worsening = _worsening(found)
    outcome, reason = _judged(rule, found, worsening)
    failed = (
        outcome is Outcome.REGRESSED
        or (outcome is Outcome.NOT_ENOUGH_DATA and rule.on_not_enough_data == "fail")
        or (outcome is Outcome.NO_EVIDENCE and rule.on_no_evidence == "fail")
    )
    return Decision(name, rule, found, outcome, failed, reason, worsening)


def _judged(
    rule: MetricPolicy, found: pb.MetricComparison, worsening: Worsening | None
) -> tuple[Outcome, str]:
    counts = f"n = {found.baseline_count:,} / {found.candidate_count:,}"
    # An unknown verdict, from a newer server, proves nothing.
    if _fewest(found) < rule.minimum_count or found.verdict not in _TESTED:
        what = f"{found.unit_of_analysis or 'trace'}s"
        few = f"{rule.minimum_count:,} {what} of each version"
        if _fewest(found) >= rule.minimum_count:
            few = "more sessions, or more comparable data"
        return Outcome.NOT_ENOUGH_DATA, f"not enough data: {_wants(few)} ({counts})"
    smallest = shown(found, _smallest(found))
    told = [described(found, worsening) if worsening else "", _p_value(found), counts]
    figures = ", ".join(each for each in told if each) + _alike(found)
    if found.verdict == pb.VERDICT_CHANGED:
        return Outcome.NO_EVIDENCE, f"differs, but neither direction counts as better: {figures}"
    if worsening is None:
        return Outcome.NO_EVIDENCE, f"no evidence of a difference: {figures}"
    is_worse = found.verdict == pb.VERDICT_REGRESSED
    if is_worse and worsening.value >= _smallest(found) - _ROUNDING:
        return (
            Outcome.REGRESSED,
            f"worse by {smallest} or more, and by more than chance: {figures}",
        )
    if is_worse:
        said = f"worse by more than chance, but estimated at less than {smallest}"
    elif found.verdict == pb.VERDICT_IMPROVED:
        said = "better by more than chance"
    else:
        said = "no evidence of a difference that matters"
    if not _rules_out(found, worsening):
        what = "a worsening of"
    elif (other := _other(found)) and not _rules_out(found, other[1]):
        what = f"that {other[0]} worsened by"
    else:
        return (
            Outcome.PASSED,
            f"{said}; the interval rules out a worsening of more than {smallest}: {figures}",
        )
    return (
        Outcome.NO_EVIDENCE,
        f"{said}; cannot rule out {what} more than {smallest}: {figures}",
    )


def _rules_out(found: pb.MetricComparison, worsening: Worsening) -> bool:
    """Return whether an interval rules out a worsening that counts."""
    return worsening.upper is not None and worsening.upper <= _smallest(found) + _ROUNDING


def _other(found: pb.MetricComparison) -> tuple[str, Worsening] | None:
    """Return which figure was tested besides the deciding one, and its worsening."""
    if not found.HasField("tail"):
        return None
    name, of = "p95", found.tail
    if found.deciding_figure == "p95":
        name, of = "p50", next((each for each in found.figures if each.figure == "p50"), None)
        if found.HasField("stratified") and found.stratified.decides:
            name, of = "the bulk", found.stratified
    estimate = None
    if isinstance(of, pb.TailTest) or (of and found.HasField("smallest_relative_change")):
        estimate = of.change if of.HasField("change") else None
    elif of is not None:
        estimate = of.difference if of.HasField("difference") else None
    return name, _signed(estimate, _sign(found)) if estimate else Worsening(0.0, None, None)


def _wants(few: str) -> str:
    return f"the policy wants {few}" if few[0].isdigit() else f"this needs {few}"


def _smallest(found: pb.MetricComparison) -> float:
    if found.HasField("smallest_relative_change"):
        return found.smallest_relative_change
    return found.smallest_absolute_change


def _p_value(found: pb.MetricComparison) -> str:
    return words.probability(p_value(found))


def p_value(found: pb.MetricComparison) -> float | None:
    """Return the adjusted p-value on which the verdict is based."""
    if found.deciding_figure == "p95" and found.HasField("tail"):
        return found.tail.adjusted_p_value
    return found.adjusted_p_value if found.HasField("adjusted_p_value") else None


def _alike(found: pb.MetricComparison) -> str:
    if not (found.HasField("stratified") and found.stratified.decides):
        return ""
    by = " and ".join(found.stratified.dimensions)
    return f"; like compared with like, {by} by {by}"


def _worsening(found: pb.MetricComparison) -> Worsening | None:
    sign = _sign(found)
    if found.HasField("deciding_change"):
        return _signed(found.deciding_change, sign)
    figure = next((each for each in found.figures if each.figure == found.deciding_figure), None)
    if figure is None or not figure.HasField("difference"):
        return None
    # The baseline is 0, so there is no relative change.
    return Worsening(math.inf if figure.difference.value * sign > 0 else 0.0, None, None)


def _sign(found: pb.MetricComparison) -> float:
    return -1.0 if found.direction == pb.DIRECTION_MORE else 1.0


def _signed(estimate: pb.Estimate, sign: float) -> Worsening:
    lower = estimate.lower * sign if estimate.HasField("lower") else None
    upper = estimate.upper * sign if estimate.HasField("upper") else None
    if sign < 0:
        lower, upper = upper, lower
    return Worsening(estimate.value * sign, lower, upper)


def described(found: pb.MetricComparison, worsening: Worsening) -> str:
    """Format a worsening with its interval, as in `p50 38 % worse [30 %, 47 %]`."""
    value = worsening.value
    said = f"{shown(found, abs(value))} {'better' if value < 0 else 'worse'}"
    named = f"{found.deciding_figure} {said}" if found.deciding_figure else said
    if worsening.lower is None and worsening.upper is None:
        return named
    bounds = ", ".join(
        "?" if each is None else shown(found, each) for each in (worsening.lower, worsening.upper)
    )
    return f"{named} [{bounds}]"


def shown(found: pb.MetricComparison, change: float) -> str:
    """Format a change in the unit of the smallest change: `5 %`, `1 point` or `20 ms`."""
    if found.HasField("smallest_relative_change"):
        if math.isinf(change):
            return "infinitely"
        return f"{_rounded(change * 100)} %"
    if found.unit != "share":
        return words.amount(found.unit, change)
    said = _rounded(change * 100)
    return f"{said} {'point' if said == '1' else 'points'}"


def _rounded(number: float) -> str:
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"
