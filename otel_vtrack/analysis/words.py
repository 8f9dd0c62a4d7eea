"""Says what a comparison found, in a sentence."""

from typing import TYPE_CHECKING, Final

from otel_vtrack.analysis.statistics import Estimate

if TYPE_CHECKING:
    from otel_vtrack.analysis.compare import MetricComparison

_NAMES: Final = {1: "latency", 2: "error rate", 3: "tokens per trace"}
_WORSE: Final = {1: "is slower than", 2: "fails more often than", 3: "uses more tokens than"}
_BETTER: Final = {1: "is faster than", 2: "fails less often than", 3: "uses fewer tokens than"}
# Of latency the median: the rank test behind the verdict speaks of the bulk, not of the tail.
_SHOWN: Final = {1: "p50", 2: "rate", 3: "mean"}
_IMPROVED, _REGRESSED, _NO_EVIDENCE = 1, 2, 3


def summary(found: "MetricComparison", baseline: str, candidate: str, *, environment: str) -> str:
    """Say which version is better, by how much, and how sure that is."""
    where = f" in {environment}" if environment else ""
    counts = f"n = {found.baseline_count:,} / {found.candidate_count:,}"
    name = _NAMES[found.metric]
    if found.verdict == _REGRESSED:
        said = f"{candidate} {_WORSE[found.metric]} {baseline}{where}"
    elif found.verdict == _IMPROVED:
        said = f"{candidate} {_BETTER[found.metric]} {baseline}{where}"
    elif found.verdict == _NO_EVIDENCE:
        said = f"no evidence that {name} differs between {baseline} and {candidate}{where}"
    else:
        return (
            f"not enough data on {name}{where}: the version with fewer traces needs"
            f" {found.more_needed} more ({counts})"
        )
    return f"{said}: {_figures(found)}, {probability(found.adjusted_p_value)}, {counts}"


def _figures(found: "MetricComparison") -> str:
    shown = _SHOWN[found.metric]
    figure = next(each for each in found.figures if each.figure == shown)
    if figure.baseline is None or figure.candidate is None:
        return "no figures"
    values = [amount(found.metric, each.value) for each in (figure.baseline, figure.candidate)]
    # Of shares, points say more than a share of a share.
    gap = figure.difference if shown == "rate" else figure.change
    unit = " points" if shown == "rate" else " %"
    by = f" ({percent(gap)}{unit}{interval(gap)})" if gap else ""
    label = "" if shown == "rate" else f"{shown} "
    return f"{label}{values[0]} -> {values[1]}{by}"


def amount(metric: int, value: float) -> str:
    """Write a figure of a metric with its unit."""
    if metric == 1:
        if value >= 10_000:
            return f"{value / 1000:.1f} s"
        return f"{value:.0f} ms" if value >= 100 else f"{value:.3g} ms"
    if metric == 2:
        return f"{value * 100:.3g} %"
    return f"{value:,.0f}"


def percent(estimate: Estimate) -> str:
    """Write a change as signed hundredths, without the sign for them."""
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
    return f"+{text}" if sign and number > 0 else text


def probability(p_value: float | None) -> str:
    """Write a p-value."""
    if p_value is None:
        return "not tested"
    return "p < 0.0001" if p_value < 0.0001 else f"p = {p_value:.2g}"
