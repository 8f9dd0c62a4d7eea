"""Describe in sentences what a comparison found."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from otel_vtrack.analysis.statistics import Estimate

if TYPE_CHECKING:
    from otel_vtrack.analysis.compare import MetricComparison, Mix
    from otel_vtrack.v1 import analysis_pb2 as pb

# For each metric its name, and phrases for more and for less of it.
_SAID: Final = {
    "latency": ("latency", "is slower than", "is faster than"),
    "error_rate": ("the error rate", "fails more often than", "fails less often than"),
    "tokens": ("tokens per trace", "uses more tokens than", "uses fewer tokens than"),
    "cost": ("cost per trace", "costs more than", "costs less than"),
    "entry_latency": (
        "latency of entry spans",
        "responds more slowly than",
        "responds faster than",
    ),
    "span_latency": (
        "latency of {0} spans",
        "is slower in {0} spans than",
        "is faster in {0} spans than",
    ),
    "span_error_rate": (
        "the error rate of {0} spans",
        "fails more often in {0} spans than",
        "fails less often in {0} spans than",
    ),
    "attribute": ("attribute {0}", "", ""),
    "assessment": ("assessment {0}", "", ""),
}
_IMPROVED, _REGRESSED, _NO_EVIDENCE, _EQUIVALENT, _CHANGED = 1, 2, 3, 5, 6
_ALPHA: Final = 0.05


def summary(
    found: "MetricComparison",
    baseline: str,
    candidate: str,
    *,
    environment: str = "",
    group: Mapping[str, str] | None = None,
    mix: "Sequence[Mix]" = (),
) -> str:
    """Describe which version is better, by how much, and how certain that is.

    Args:
        found: The metric.
        baseline: The baseline's version.
        candidate: The candidate's version.
        environment: The environment it was restricted to.
        group: What the traces have in common.
        mix: The dimensions in which the versions' traces differ.
    """
    where = f" in {environment}" if environment else ""
    if group:
        where += " where " + " and ".join(
            f"{name} is {value or 'unknown'}" for name, value in group.items()
        )
    name, more, less = phrases(found.metric)
    counts = f"n = {found.baseline_count:,} / {found.candidate_count:,}"
    alike = _alike(found, mix)
    if found.verdict in {_IMPROVED, _REGRESSED, _CHANGED}:
        up = _is_up(found)
        if up is None:
            said = f"{name} differs between {baseline} and {candidate}{where}"
        elif _of_tail_alone(found):
            direction = "slower" if up else "faster"
            what = name.removeprefix("latency of ") if name != "latency" else "traces"
            said = f"{candidate}'s slowest {what} are {direction} than {baseline}'s{where}"
        elif more:
            said = f"{candidate} {more if up else less} {baseline}{where}"
        else:
            than = f"{'higher' if up else 'lower'} in {candidate} than in {baseline}{where}"
            said = f"{name} is {than}{_judged(found)}"
    elif found.verdict == _EQUIVALENT:
        said = (
            f"any difference in {name} between {baseline} and {candidate}{where} is less than"
            f" {smallest(found)}"
        )
    elif found.verdict == _NO_EVIDENCE:
        said = f"no evidence that {name} differs between {baseline} and {candidate}{where}"
        if (found.adjusted_p_value or 0.0) < _ALPHA:
            said += f" by {smallest(found)}, except perhaps in the tail"
    else:
        return _not_enough(found, f"{name}{where}", counts, alike)
    told = [each for each in (_figures(found), _p_value(found), counts) if each]
    return f"{said}: {', '.join(told)}{_contrary(found)}{alike}{_more(found)}{_unpriced(found)}"


def phrases(metric: str) -> tuple[str, str, str]:
    """Return a metric's name, and phrases for a version with more of it and with less."""
    kind, _, name = metric.partition(":")
    texts = _SAID.get(kind, (metric, "", ""))
    return texts[0].format(name), texts[1].format(name), texts[2].format(name)


def _judged(found: "MetricComparison") -> str:
    """Write whether that is good, where the phrase does not."""
    if found.verdict == _CHANGED:
        return ""
    return ", which is worse" if found.verdict == _REGRESSED else ", which is better"


def _of_tail(found: "MetricComparison") -> bool:
    return found.deciding_figure == "p95"


def _of_tail_alone(found: "MetricComparison") -> bool:
    """Return whether the verdict is by the tail, and the bulk does not point the same way."""
    if not _of_tail(found) or found.tail is None:
        return False
    both = len(found.findings) > 1
    return not (both and found.candidate_is_greater is found.tail.candidate_is_greater)


def _is_up(found: "MetricComparison") -> bool | None:
    if _of_tail(found) and found.tail is not None:
        return found.tail.candidate_is_greater
    return found.candidate_is_greater


def _contrary(found: "MetricComparison") -> str:
    """Write that the figure that is shown points the other way than the ranks, where it does."""
    up, change = _is_up(found), found.deciding_change
    if found.verdict not in {_IMPROVED, _REGRESSED, _CHANGED} or change is None:
        return ""
    if up is None or not change.value or (change.value > 0) is up:
        return ""
    most, figure = "higher" if up else "lower", found.deciding_figure
    return f"; more values are {most}, but the {figure} is not"


def _not_enough(found: "MetricComparison", name: str, counts: str, alike: str) -> str:
    like = found.stratified
    if like is not None and like.decides and not like.strata_count:
        return f"not enough data on {name}: the versions have no comparable traces{alike}"
    few = min(found.baseline_cluster_count, found.candidate_cluster_count)
    of_sessions = few < min(found.baseline_count, found.candidate_count)
    sessions = f", in {few:,} sessions" if of_sessions else ""
    return (
        f"not enough data on {name}: the version with fewer {found.measured.value}s needs"
        f" {found.more_needed:,} more ({counts}{sessions}){alike}{_unpriced(found)}"
    )


def _alike(found: "MetricComparison", mix: "Sequence[Mix]") -> str:
    """Write whether like was compared with like, and the result without that."""
    like = found.stratified
    if like is None:
        return ""
    what = " and ".join(f"{each}s" for each in like.dimensions)
    by = " and ".join(like.dimensions)
    saw = {each.dimension for each in mix}
    different = saw.issuperset(like.dimensions)
    if not like.decides:
        change = _like_change(found)
        return (
            f"; the versions saw a different mix of {what}; {by} by {by} {change}" if change else ""
        )
    if not like.strata_count:
        return f" (they saw different {what}; `--stratify-by none` compares them anyway)"
    crude = _crude(found)
    said = (
        f"; the versions saw a different mix of {what}, so compared" if different else "; compared"
    )
    return f"{said} {by} by {by}{crude}"


def _like_change(found: "MetricComparison") -> str:
    like = found.stratified
    change = None if like is None else _by(found, like.difference, like.change)
    return f"the difference is {change}" if change else ""


def _crude(found: "MetricComparison") -> str:
    """Write the change of all traces together."""
    shown = next((each for each in found.figures if each.figure == _bulk(found)), None)
    change = None if shown is None else _by(found, shown.difference, shown.change)
    return f" (overall {change})" if change else ""


def _bulk(found: "MetricComparison") -> str:
    names = [each.figure for each in found.figures]
    if "rate" in names:
        return "rate"
    return "p50" if found.tail is not None or found.unit == "ms" else "mean"


def _figures(found: "MetricComparison") -> str:
    if found.categories:
        return _categories(found)
    # Where bulk and tail differ, either alone would be half the result.
    named = found.findings if len(found.findings) > 1 else (found.deciding_figure,)
    told = ", ".join(filter(None, (_figure(found, each) for each in named)))
    like = found.stratified
    return f"{told} like for like" if told and like is not None and like.decides else told


def _figure(found: "MetricComparison", name: str) -> str:
    shown = next((each for each in found.figures if each.figure == name), None)
    if shown is None or shown.baseline is None or shown.candidate is None:
        return ""
    like = found.stratified
    if like is not None and like.decides:
        if name == "p95" and found.tail is not None:
            return f"p95 {_of_p95(found, found.tail.change)}"
        return _by(found, like.difference, like.change)
    values = [amount(found.unit, each.value) for each in (shown.baseline, shown.candidate)]
    change = _by(found, shown.difference, shown.change)
    label = "" if shown.figure == "rate" else f"{shown.figure} "
    return f"{label}{values[0]} -> {values[1]}" + (f" ({change})" if change else "")


def _of_p95(found: "MetricComparison", change: Estimate | None) -> str:
    if change is None:
        return "?"
    relative = found.smallest_relative_change is not None
    return _by(found, None if relative else change, change if relative else None)


def _categories(found: "MetricComparison") -> str:
    far = sorted(
        (each for each in found.categories if each.difference),
        key=lambda each: -abs(each.difference.value) if each.difference else 0.0,
    )[:2]
    return ", ".join(
        f"{each.category} {percent_of(each.baseline)} -> {percent_of(each.candidate)}"
        for each in far
    )


def percent_of(share: Estimate | None) -> str:
    """Write a share."""
    return "?" if share is None else amount("share", share.value)


def _by(found: "MetricComparison", difference: Estimate | None, change: Estimate | None) -> str:
    """Write a change; of shares in points, as a share of a share is less clear."""
    if found.unit == "share":
        if difference is None:
            return ""
        return f"{percent(difference)} points{interval(difference)}"
    if change is not None:
        return f"{percent(change)} %{interval(change)}"
    if difference is None:
        return ""
    bounds = [
        "?" if bound is None else amount(found.unit, bound)
        for bound in (difference.lower, difference.upper)
    ]
    sign = "+" if difference.value > 0 else ""
    return f"{sign}{amount(found.unit, difference.value)} [{', '.join(bounds)}]"


def _p_value(found: "MetricComparison") -> str:
    if _of_tail(found) and found.tail is not None:
        return probability(found.tail.adjusted_p_value)
    return probability(found.adjusted_p_value)


def _more(found: "MetricComparison") -> str:
    if found.verdict != _NO_EVIDENCE or not found.more_needed:
        return ""
    return (
        f"; to detect a change of {smallest(found)}, the version with fewer"
        f" {found.measured.value}s needs {found.more_needed:,} more"
    )


def _unpriced(found: "MetricComparison") -> str:
    if not found.unpriced_count:
        return ""
    models = ", ".join(found.unpriced_models)
    return f"; {found.unpriced_count:,} traces without a price excluded ({models})"


def smallest(found: "MetricComparison") -> str:
    """Write the smallest change that matters."""
    if found.smallest_relative_change is not None:
        return f"{found.smallest_relative_change * 100:.3g} %"
    absolute = found.smallest_absolute_change or 0.0
    if found.unit == "share":
        points = f"{absolute * 100:.3g}"
        return f"{points} {'point' if points == '1' else 'points'}"
    return amount(found.unit, absolute)


def amount(unit: str, value: float) -> str:
    """Write a figure of a metric with its unit."""
    size = abs(value)
    if unit == "ms":
        if size >= 10_000:
            return f"{value / 1000:.1f} s"
        return f"{value:.0f} ms" if size >= 100 else f"{value:.3g} ms"
    if unit == "share":
        return f"{value * 100:.3g} %"
    if unit == "USD":
        places = 2 if size >= 1 or not size else min(9, 2 - math.floor(math.log10(size)))
        return f"{'-' if value < 0 else ''}${size:,.{places}f}"
    if unit == "tokens":
        # Not "-0".
        return f"{round(value):,}"
    return f"{value:,.0f}" if size >= 10_000 else f"{value:.4g}"


def estimate(unit: str, found: "pb.Estimate") -> str:
    """Write a figure of a metric and its confidence interval, with `?` for an unknown bound."""
    if not (found.HasField("lower") or found.HasField("upper")):
        return amount(unit, found.value)
    bounds = [
        amount(unit, getattr(found, field)) if found.HasField(field) else "?"
        for field in ("lower", "upper")
    ]
    return f"{amount(unit, found.value)} [{bounds[0]}, {bounds[1]}]"


def percent(estimate: Estimate) -> str:
    """Write a change as a signed percentage, without the percent sign."""
    return _hundredths(estimate.value)


def interval(estimate: Estimate) -> str:
    """Write the bounds of a change, as in ` [48, 71]`; empty where there are none."""
    if estimate.lower is None and estimate.upper is None:
        return ""
    lower = "?" if estimate.lower is None else _hundredths(estimate.lower, sign=False)
    upper = "?" if estimate.upper is None else _hundredths(estimate.upper, sign=False)
    return f" [{lower}, {upper}]"


def _hundredths(share: float, *, sign: bool = True) -> str:
    number = share * 100
    text = f"{number:.0f}" if abs(number) >= 10 else f"{number:.1f}"
    text = "0.0" if text == "-0.0" else text
    return f"+{text}" if sign and number > 0 else text


def probability(p_value: float | None) -> str:
    """Write a p-value."""
    if p_value is None:
        return "not tested"
    return "p < 0.0001" if p_value < 0.0001 else f"p = {p_value:.2g}"
