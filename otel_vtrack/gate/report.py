"""Formats a decision as Markdown for a pull request, as JUnit XML, and as an object for programs.

Version names come from whoever sends telemetry, so they are treated as data everywhere: in
Markdown as a code span or block, in which they cannot mention anyone or contain links.
"""

import math
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from xml.etree import ElementTree as ET

from otel_vtrack.analysis import words
from otel_vtrack.gate.decision import Decision, Outcome, Worsening, overall, p_value, shown
from otel_vtrack.v1 import analysis_pb2 as pb

_VERDICTS: Final = {
    Outcome.PASSED: "passed",
    Outcome.REGRESSED: "failed: a regression",
    Outcome.NOT_ENOUGH_DATA: "failed: not enough data",
    Outcome.NO_EVIDENCE: "failed: a regression cannot be ruled out",
}
_LONGEST: Final = 200
_HEADINGS: Final = (
    "metric",
    "outcome",
    "baseline",
    "candidate",
    "worse by",
    "allowed",
    "p (adjusted)",
    "n",
)


@dataclass(frozen=True, slots=True)
class Report:
    """The content of a report.

    Attributes:
        found: The server's response.
        command: The words of the command that repeats the query.
    """

    decisions: Sequence[Decision]
    found: pb.Comparison
    command: Sequence[str]

    @property
    def verdict(self) -> str:
        """The overall verdict in words."""
        return _VERDICTS[overall(self.decisions)]


def printable(text: str, longest: int = _LONGEST) -> str:
    """Make text one line of visible characters, safe in XML and terminals; truncate if longer."""
    shown = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def sampled(found: pb.Comparison) -> str:
    """Describe the random samples that were compared."""
    rates = (f"one in {each.sampled_one_in:,}" for each in (found.baseline, found.candidate))
    return f"Random samples of the traces: {' of the baseline, '.join(rates)} of the candidate"


def stand_for(found: pb.Comparison) -> str:
    """Describe how many traces the stored ones stand for; empty if all were stored."""
    both = (found.baseline, found.candidate)
    if all(each.adjusted_count <= each.trace_count for each in both):
        return ""
    told = (f"{each.trace_count:,} stand for {each.adjusted_count:,}" for each in both)
    return f"Not all traces were stored: {' (baseline), '.join(told)} (candidate)"


def markdown(report: Report) -> str:
    """Format a report for a pull request."""
    found = report.found
    lines = [f"## vtrack gate {report.verdict}", ""]
    lines += [f"Candidate {_code(found.candidate.version)} against {_code(found.baseline.version)}"]
    where = [
        f"{label} {_code(value)}"
        for label, value in (
            ("experiment", found.experiment),
            ("service", found.service_name),
            ("environment", found.environment),
        )
        if value
    ]
    lines[-1] += f"; {', '.join(where)}." if where else "."
    lines += ["", _row(_HEADINGS), _row(["---"] * len(_HEADINGS))]
    lines += [_row(_cells(each)) for each in report.decisions]
    lines += ["", *(f"- {_text(each.metric)}: {_text(_told(each))}" for each in report.decisions)]
    lines += [f"- {_text(_mixed(each))}" for each in found.mix]
    if found.sampled_one_in > 1:
        lines += ["", f"{sampled(found)}."]
    if said := stand_for(found):
        lines += ["", f"{said}."]
    command = " ".join(map(_quoted, report.command))
    fence = "`" * max(3, _backticks(command) + 1)
    lines += ["", "Brackets show 95 % confidence intervals. To repeat this check:", ""]
    lines += [f"{fence}sh", command, fence, ""]
    return "\n".join(lines)


def junit(report: Report) -> bytes:
    """Format a report as JUnit XML: a test case per metric, skipped if it lacks data."""
    decisions = report.decisions
    skipped = [
        each for each in decisions if each.outcome is Outcome.NOT_ENOUGH_DATA and not each.failed
    ]
    counts = {
        "tests": str(len(decisions)),
        "failures": str(sum(each.failed for each in decisions)),
        "errors": "0",
        "skipped": str(len(skipped)),
    }
    root = ET.Element("testsuites", {"name": "vtrack gate", **counts})
    suite = ET.SubElement(root, "testsuite", {"name": "vtrack gate", **counts})
    properties = ET.SubElement(suite, "properties")
    for name, value in (
        ("baseline", report.found.baseline.version),
        ("candidate", report.found.candidate.version),
        ("experiment", report.found.experiment),
        ("service", report.found.service_name),
        ("environment", report.found.environment),
    ):
        ET.SubElement(properties, "property", {"name": name, "value": printable(value)})
    for each in decisions:
        case = ET.SubElement(
            suite, "testcase", {"classname": "vtrack.gate", "name": each.metric, "time": "0"}
        )
        if each.failed:
            told = {"type": each.outcome.value, "message": each.reason}
            ET.SubElement(case, "failure", told).text = each.reason
        elif each in skipped:
            ET.SubElement(case, "skipped", {"message": each.reason})
        else:
            ET.SubElement(case, "system-out").text = each.reason
    ET.indent(root)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def as_object(report: Report, comparison: dict[str, Any]) -> dict[str, Any]:
    """Return a report for programs, including the comparison it is based on."""
    outcome = overall(report.decisions)
    return {
        "passed": outcome is Outcome.PASSED,
        "outcome": outcome.value,
        "metrics": [
            {
                "metric": each.metric,
                "outcome": each.outcome.value,
                "failed": each.failed,
                "reason": each.reason,
                "figure": each.found.deciding_figure,
                "worsening": _numbers(each.worsening) if each.worsening else None,
                "policy": each.rule.model_dump(),
            }
            for each in report.decisions
        ],
        "comparison": comparison,
    }


def _numbers(worsening: Worsening) -> dict[str, float | None]:
    # JSON cannot represent infinity.
    value = worsening.value if math.isfinite(worsening.value) else None
    return {"value": value, "lower": worsening.lower, "upper": worsening.upper}


def _cells(each: Decision) -> list[str]:
    found = each.found
    figure = next(
        (one for one in found.figures if one.figure == found.deciding_figure),
        pb.FigureComparison(),
    )
    worsening, bounds = "", ""
    if each.worsening:
        low, high = each.worsening.lower, each.worsening.upper
        if low is not None or high is not None:
            bounds = f" [{', '.join('?' if n is None else shown(found, n) for n in (low, high))}]"
        worsening = shown(found, each.worsening.value) + bounds
    said = each.outcome.value.replace("_", " ")
    figured = f" ({found.deciding_figure})" if found.deciding_figure else ""
    smallest = (
        found.smallest_relative_change
        if found.HasField("smallest_relative_change")
        else found.smallest_absolute_change
    )
    return [
        f"{_text(each.metric.replace('|', chr(92) + '|'))}{figured}",
        f"**{said}**" if each.failed else said if said == "passed" else f"passed: {said}",
        *(
            words.estimate(found.unit, getattr(figure, side)) if figure.HasField(side) else ""
            for side in ("baseline", "candidate")
        ),
        worsening,
        f"less than {shown(found, smallest)}" if smallest else "",
        words.probability(p_value(found)),
        f"{found.baseline_count:,} / {found.candidate_count:,}",
    ]


def _told(each: Decision) -> str:
    examples = ", ".join(each.found.example_trace_ids) if each.failed else ""
    return f"{each.reason}; for example {examples}" if examples else each.reason


def _mixed(each: pb.MixDifference) -> str:
    return (
        f"the versions saw a different mix of {each.dimension}s"
        f" (Cramer's V {each.cramers_v:.2f}, {words.probability(each.p_value)})"
    )


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(text: str) -> str:
    return text.replace("<", "&lt;")


def _backticks(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def _code(text: str) -> str:
    """Format a code span; CommonMark strips one space on each side from its content."""
    inside = printable(text) or "?"
    fence = "`" * (_backticks(inside) + 1)
    return f"{fence} {inside} {fence}"


def _quoted(word: str) -> str:
    """Quote a word for a shell, as one line of visible characters."""
    if word.isprintable():
        return shlex.quote(word)
    inside = "".join(
        f"\\{each}" if each in "\\'" else each if each.isprintable() else f"\\U{ord(each):08x}"
        for each in word
    )
    return f"$'{inside}'"
