"""The policy of a gate: which metrics count, from which change on, and by how much data.

docs/gate.md is its reference. Numbers have a unit, because 5 and 0.05 are both what somebody
means by five per cent.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from otel_vtrack.analysis import metrics
from otel_vtrack.analysis.metrics import Direction, MetricQuery
from otel_vtrack.errors import InvalidArgument, SettingsError

MINIMUM_COUNT: Final = 20
"""The server tests nothing with fewer of a version; a test holds it to the server's."""

_MAX_BYTES: Final = 65_536
_SHOWN: Final = 40
_NUMBER: Final = r"(\d{1,6}(?:\.\d{1,6})?)"
_CHANGE: Final = re.compile(_NUMBER + r"\s*(%|points?|ms|tokens|USD|)")
# What constructing the plain types of YAML raises for a text that claims to be one.
_UNREADABLE: Final = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)

_Lines = Mapping[tuple[str, ...], int]


class Change(NamedTuple):
    """The least worsening that counts, as a share of the baseline's figure or in the unit."""

    relative: float | None
    absolute: float | None


def _change(value: Any) -> Any:
    """Read `5 %`, `1 point`, `20 ms`, or a number; the metric says later which it may be."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("write it with its unit, such as 5 %")  # noqa: TRY004 - of what somebody wrote
    return str(value)


def _empty(value: Any) -> Any:
    # `latency:` and nothing behind it asks for the defaults, not for nothing.
    return {} if value is None else value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class MetricPolicy(_Strict):
    """What is asked of one metric.

    Attributes:
        smallest_change: Least worsening that counts, with its unit; None as the server has it.
        direction: Whether less or more of it is better; None as the server has it.
        minimum_count: Fewest of each version from which anything is concluded: traces, spans or
            assessments, whatever the metric is of.
        on_not_enough_data: What to do with fewer.
        on_no_evidence: What to do where a worsening of more than `smallest_change` is neither
            shown nor ruled out.
    """

    smallest_change: Annotated[str | None, BeforeValidator(_change)] = None
    direction: Literal["less", "more"] | None = None
    minimum_count: Annotated[int, Field(strict=True, ge=MINIMUM_COUNT, le=10_000_000)] = (
        MINIMUM_COUNT
    )
    on_not_enough_data: Literal["pass", "fail"] = "fail"
    on_no_evidence: Literal["pass", "fail"] = "pass"

    def query(self, name: str) -> MetricQuery:
        """Return what to ask of the server.

        Raises:
            ValueError: The metric is none, or the change or the direction does not go with it.
        """
        change = _read_change(name, self.smallest_change)
        direction = Direction[(self.direction or "unspecified").upper()]
        try:
            metric = metrics.parse(MetricQuery(name, direction, *change))
        except InvalidArgument as error:
            raise ValueError(str(error)) from None
        if metric.direction is Direction.UNSPECIFIED:
            raise ValueError("say which is better: write direction: less, or more")
        return MetricQuery(name, direction, *change)


def _read_change(name: str, text: str | None) -> Change:
    if text is None:
        return Change(None, None)
    kind = name.partition(":")[0]
    found = _CHANGE.fullmatch(text.strip())
    units = _UNITS.get(kind, ("%", "points", ""))
    unit = "points" if found and found[2] == "point" else found[2] if found else None
    if not found or unit not in units or not float(found[1]):
        raise ValueError(f"write it with its unit, such as {_EXAMPLES[units[0]]}")
    number = float(found[1])
    if unit == "%":
        return Change(number / 100, None)
    if unit == "points":
        if number > 100:
            raise ValueError("write 100 points at most: of a rate there are no more")
        return Change(None, number / 100)
    return Change(None, number)


_UNITS: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(("latency", "entry_latency", "span_latency"), ("%", "ms")),
    **dict.fromkeys(("error_rate", "span_error_rate"), ("points",)),
    "tokens": ("%", "tokens"),
    "cost": ("%", "USD"),
    "attribute": ("%", ""),
}
_EXAMPLES: Final = {"%": "5 %", "points": "1 point or 0.5 points"}


class Policy(_Strict):
    """A whole file."""

    metrics: dict[str, Annotated[MetricPolicy, BeforeValidator(_empty)]]

    @property
    def gated(self) -> dict[str, MetricPolicy]:
        """The metrics that count, by name; never empty."""
        return self.metrics

    @property
    def queries(self) -> list[MetricQuery]:
        """What to ask of the server."""
        return [rule.query(name) for name, rule in self.metrics.items()]


def load(path: Path) -> Policy:
    """Read a policy.

    Raises:
        SettingsError: There is no such file, or something in it makes no sense; each mistake is
            said, with its line and what would be right.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise SettingsError(f"{path} is no policy: it has more than {_MAX_BYTES:,} bytes")
        return parse(content.decode(), str(path))
    except OSError as error:
        raise SettingsError(f"the policy {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is no policy: write it in UTF-8") from None


def parse(text: str, name: str = "policy") -> Policy:
    """Make a policy of a text; `name` stands in front of the mistakes. Raises as `load` does."""
    lines, content = _read(text, name)
    if not isinstance(content, dict):
        raise SettingsError(f"{name} is no policy: begin with `metrics:`, see docs/gate.md")
    try:
        found = Policy.model_validate(content)
    except ValidationError as error:
        said = "; ".join(_mistake(each, lines) for each in error.errors(include_url=False))
        raise SettingsError(f"{name}: {said}") from None
    if not found.gated:
        raise SettingsError(
            f"{name}: {_at(('metrics',), lines)}metrics has none: name at least one of"
            f" {', '.join(metrics.FORMS)}"
        )
    if wrong := next(filter(None, (_wrong(*each, lines) for each in found.gated.items())), None):
        raise SettingsError(f"{name}: {wrong}")
    return found


def _wrong(metric: str, rule: MetricPolicy, lines: _Lines) -> str:
    """Say what of a metric does not go together; empty if all does."""
    try:
        rule.query(metric)
    except ValueError as error:
        path = ("metrics", metric)
        if str(error).startswith("write "):
            path = (*path, "smallest_change")
        return f"{_at(path, lines)}{'.'.join(map(_cut, path))}: {error}"
    return ""


def _read(text: str, name: str) -> tuple[_Lines, Any]:
    try:
        # The nodes know their lines; only the second reading makes values.
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        lines = dict(_lines(node, (), set())) if node else {}
        return lines, yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise SettingsError(f"{name}: {where}this is no YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        said = " ".join(str(error).split())
        raise SettingsError(f"{name} is no YAML that can be read: {said}") from None
    except SettingsError as error:
        raise SettingsError(f"{name}: {error}") from None
    except RecursionError:
        raise SettingsError(f"{name} is no policy: it is nested too deeply") from None
    except _UNREADABLE:
        raise SettingsError(f"{name} has a value that is not of the type it claims") from None


def _lines(
    node: yaml.Node, path: tuple[str, ...], seen: set[int]
) -> Iterator[tuple[tuple[str, ...], int]]:
    """Find the line of each key, and refuse what a reader of the file would take differently."""
    line = node.start_mark.line + 1
    if id(node) in seen:
        raise SettingsError(f"line {line}: write it out: a policy has no aliases (`*name`)")
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for each in node.value:
            yield from _lines(each, (*path, "-"), seen)
    if not isinstance(node, yaml.MappingNode):
        return
    keys: set[str] = set()
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
            raise SettingsError(f"line {line}: a key is a word, such as latency")
        if key.value in keys:
            raise SettingsError(f"line {line}: {_cut(key.value)} is there twice: leave one out")
        keys.add(key.value)
        yield (*path, key.value), line
        yield from _lines(value, (*path, key.value), seen)


def _at(path: tuple[str, ...], lines: _Lines) -> str:
    while path and path not in lines:
        path = path[:-1]
    return f"line {lines[path]}: " if path else ""


def _cut(text: str) -> str:
    shown = "".join(each if each.isprintable() else "?" for each in text)
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"


def _mistake(error: Any, lines: _Lines) -> str:
    path = tuple(str(each) for each in error["loc"])
    named = ".".join(map(_cut, path)) or "policy"
    return _at(path, lines) + _explained(error, path, named)


def _explained(error: Any, path: tuple[str, ...], named: str) -> str:
    context: dict[str, Any] = error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            said = f" is not known: {_near(path)}"
        case "missing":
            said = f" is missing: write `{path[-1]}:`"
        case "literal_error":
            said = f": write {context['expected'].replace(chr(39), '')}"
        case "model_type" | "model_attributes_type" | "dict_type":
            said = f": write keys under it: {', '.join(_keys((*path, '')))}"
        case "int_type":
            said = f": write a whole number, such as {MINIMUM_COUNT}"
        case "greater_than_equal":
            said = f": write {context['ge']} or more: the server tests nothing with fewer"
        case "less_than_equal":
            said = f": write {context['le']:,} at most".replace(",", "")
        case "value_error":
            said = f": {context['error']}"
        case _:
            said = f": {error['msg']}"
    return f"{named}{said}"


def _keys(path: tuple[str, ...]) -> list[str]:
    if len(path) == 2:
        return list(metrics.FORMS)
    return list((Policy if len(path) < 2 else MetricPolicy).model_fields)


def _near(path: tuple[str, ...]) -> str:
    keys = _keys(path)
    if near := difflib.get_close_matches(path[-1].lower(), keys, n=1, cutoff=0.5):
        return f"did you mean {near[0]}?"
    return f"write one of {', '.join(keys)}"
