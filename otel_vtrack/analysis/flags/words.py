"""Describe findings about flags in sentences."""

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from otel_vtrack.analysis.compare import ALPHA, Verdict
from otel_vtrack.analysis.statistics import Estimate
from otel_vtrack.analysis.words import amount, phrases, probability

if TYPE_CHECKING:
    from otel_vtrack.analysis.flags.changes import ChangeMetric, FlagChange
    from otel_vtrack.analysis.flags.interactions import Change, Interaction
    from otel_vtrack.analysis.flags.variants import VariantMetric

# As in analysis.words, except for what reads better of traces of one version.
_NAMES: Final = {"error_rate": "error rate"}
_DEPENDS, _NO_EVIDENCE = 1, 2
_BOTH, _OF_BASELINE = 1, 3


def _name(metric: str) -> str:
    return _NAMES.get(metric) or phrases(metric)[0]


def gap(unit: str, difference: Estimate | None) -> str:
    """Write a difference with its interval, as in `+12 ms [8.1, 16]`; shares in points."""
    if difference is None:
        return "unknown"
    scale = 100 if unit == "share" else 1
    after = {"share": " points", "ms": " ms"}.get(unit, "")
    bounds = [
        "?" if bound is None else _number(bound * scale)
        for bound in (difference.lower, difference.upper)
    ]
    before = "$" if unit == "USD" else ""
    value = _number(difference.value * scale, sign=True)
    return f"{before}{value}{after} [{bounds[0]}, {bounds[1]}]"


def unpriced(count: int, models: Sequence[str]) -> str:
    """Write what was left out because a model has no price; empty if nothing."""
    if not count:
        return ""
    return f"; {count:,} traces without a price excluded ({', '.join(models)})"


def _number(value: float, *, sign: bool = False) -> str:
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"+{text}" if sign and value > 0 else text


def of_variant(found: "VariantMetric", flag: str, version: str, reference: str) -> str:
    """Describe how a variant differs from the reference."""
    name = _name(found.metric)
    where = f"{flag} = {found.variant}"
    figure = found.figures[0]
    if found.verdict == Verdict.NOT_ENOUGH_DATA:
        return (
            f"not enough data on {name} of {version} where {where}: it and {reference} each need"
            " 20 traces with this metric, from several users or sessions where these are recorded"
            f" ({found.variant}: n = {found.count:,} of {found.cluster_count:,})"
        )
    if found.verdict == Verdict.NO_EVIDENCE:
        told = f"no evidence that {name} of {version} where {where} differs from where it is"
    else:
        up = figure.difference is not None and figure.difference.value > 0
        told = f"where {where}, {_than(found.metric, up, version, 'where it is')}"
    return (
        f"{told} {reference}: {_step(found.unit, figure.baseline, figure.candidate)}"
        f" ({gap(found.unit, figure.difference)}), {probability(found.adjusted_p_value)},"
        f" n = {found.count:,}"
    )


def _than(metric: str, up: bool, version: str, other: str) -> str:
    """Write that a version has more of a metric than another, or less."""
    name, more, less = phrases(metric)
    if more:
        return f"{version} {more if up else less} {other}"
    return f"{name} of {version} is {'higher' if up else 'lower'} than {other}"


def of_interaction(found: "Interaction", baseline: str, candidate: str) -> str:
    """Describe how a change depends on a variant."""
    name = _name(found.metric)
    own, other = found.change, found.reference_change
    counts = ", ".join(
        f"{each.baseline_count:,} / {each.candidate_count:,}" for each in (own, other)
    )
    verb = "was" if found.basis == _OF_BASELINE else "is"
    variant = f"{found.flag} {'=' if verb == 'is' else verb} {found.variant}"
    has, lacks = (baseline, candidate) if verb == "was" else (candidate, baseline)
    if found.verdict not in (_DEPENDS, _NO_EVIDENCE):
        needed = "each version needs 20 traces of each with this metric"
        if found.basis != _BOTH:
            needed = f"{has} needs 20 traces of each with this metric, and {lacks} 20 of one"
        return (
            f"not enough data on {name} where {variant} or {found.reference_variant}: {needed},"
            f" from several users or sessions where these are recorded (n = {counts})"
        )
    tail = (
        f"difference of the changes {gap(found.unit, found.difference)},"
        f" {probability(found.adjusted_p_value)}, n = {counts}"
    )
    if found.basis != _BOTH:
        missing, stand_in = "either", "all of its traces"
        if found.shared_variant:
            pair = [found.variant, found.reference_variant]
            pair.remove(found.shared_variant)
            missing, stand_in = pair[0], f"its traces of {found.shared_variant}"
        tail += (
            f"; {lacks} has too few traces of {missing}, so both are compared with {stand_in},"
            f" which tests the variants of {has} against each other"
        )
    if found.verdict == _NO_EVIDENCE:
        return (
            f"no evidence that the change of {name} from {baseline} to {candidate} depends on"
            f" whether {variant} or {found.reference_variant}: {tail}"
        )
    direction = _direction(own)
    if not direction:
        return (
            f"{name} changed differently from {baseline} to {candidate} where {variant}"
            f" ({gap(found.unit, own.difference)}) than where it {verb} {found.reference_variant}"
            f" ({gap(found.unit, other.difference)}): {tail}"
        )
    apart = "no evidence of that"
    if _direction(other) == direction:
        apart = "less so" if _value(own) * direction > _value(other) * direction else "more so"
    elif _direction(other):
        apart = "the other way round"
    return (
        f"{_than(found.metric, direction > 0, candidate, baseline)} where {variant}:"
        f" {_step(found.unit, own.baseline, own.candidate)}"
        f" ({gap(found.unit, own.difference)}); {apart} where it {verb} {found.reference_variant}"
        f" ({gap(found.unit, other.difference)}); {tail}"
    )


def of_change(found: "FlagChange", *, started: bool, stopped: bool) -> str:
    """Describe when and how a flag changed, and what metrics did."""
    place = " in ".join(each for each in (found.service_name, found.environment) if each)
    time = datetime.fromtimestamp(found.time_ns // 1_000_000_000, timezone.utc)
    shifts = ", ".join(
        f"{each.variant} {each.before.value * 100:.3g} % -> {each.after.value * 100:.3g} %"
        for each in found.shifts[:4]
    )
    what = (
        "began to be evaluated" if started else "stopped being evaluated" if stopped else "changed"
    )
    with_ = "without a deployment"
    if found.version_time_ns is not None:
        later = (found.time_ns - found.version_time_ns) / 1e9
        when = f"{abs(later):.0f} s {'after' if later > 0 else 'before'}"
        if abs(later) < 1:
            when = "when"
        with_ = f"{when} {found.version} got more of the traffic"
    measured = [_measured(each) for each in found.metrics if each.verdict in _SAID]
    unsaid = [_name(each.metric) for each in found.metrics if each.verdict == Verdict.NO_EVIDENCE]
    if unsaid:
        measured.append(f"no evidence that {' or '.join(unsaid)} changed")
    head = (
        f"{found.flag} {what} in {place or 'traces without a service'} at"
        f" {time:%Y-%m-%d %H:%M:%S} UTC, {with_}: {shifts}"
    )
    return "; ".join([head, *measured])


_SAID: Final = (Verdict.REGRESSED, Verdict.IMPROVED)


def _measured(found: "ChangeMetric") -> str:
    verb = "rose" if found.verdict == Verdict.REGRESSED else "fell"
    change = found.change
    return (
        f"{_name(found.metric)} {verb}: {_step(found.unit, change.baseline, change.candidate)}"
        f" ({gap(found.unit, change.difference)}), {probability(found.adjusted_p_value)}"
    )


def _step(unit: str, before: Estimate | None, after: Estimate | None) -> str:
    if before is None or after is None:
        return "no figures"
    return f"{amount(unit, before.value)} -> {amount(unit, after.value)}"


def _direction(change: "Change") -> int:
    """Return 1 or -1 for the direction of a significant change, else 0."""
    if change.difference is None or change.p_value is None or change.p_value >= ALPHA:
        return 0
    return 1 if change.difference.value > 0 else -1


def _value(change: "Change") -> float:
    return change.difference.value if change.difference else 0.0
