"""The gate policy: which metrics count, from what change on, and with how much data.

See docs/gate.md for the reference. Numbers need a unit, because people write both 5 and 0.05 for
five per cent.
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
"""The server tests nothing with fewer per version; a test keeps this equal to its limit."""

_MAX_BYTES: Final = 65_536
_SHOWN: Final = 40
_NUMBER: Final = r"(\d{1,6}(?:\.\d{1,6})?)"
_CHANGE: Final = re.compile(_NUMBER + r"\s*(%|points?|ms|tokens|USD|)")
# What the YAML constructors raise for a text that does not match its type tag.
_UNREADABLE: Final = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)

_Lines = Mapping[tuple[str, ...], int]


class Change(NamedTuple):
    """The smallest worsening that counts, relative to the baseline's figure or in the unit."""

    relative: float | None
    absolute: float | None


def _change(value: Any) -> Any:
    """Accept `5 %`, `1 point`, `20 ms`, or a number; which may be used depends on the metric."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("write it with its unit, such as 5 %")  # noqa: TRY004 - pydantic handles it
    return str(value)


def _empty(value: Any) -> Any:
    # `latency:` with nothing after it means the defaults, not nothing.
    return {} if value is None else value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class MetricPolicy(_Strict):
    """The policy for one metric.

    Attributes:
        smallest_change: The smallest worsening that counts, with its unit; None for the server's.
        direction: Whether less or more is better; None for the server's default.
        minimum_count: Minimum per version for any conclusion: traces, spans or assessments,
            whichever the metric counts.
        on_not_enough_data: What to do with fewer.
        on_no_evidence: What to do if a worsening of more than `smallest_change` is neither
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
        """Return the query to send to the server.

        Raises:
            ValueError: The metric is unknown, or the change or direction does not suit it.
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
    if not found or unit not in units:
        raise ValueError(f"write it with its unit, such as {_EXAMPLES[units[0]]}")
    number = float(found[1])
    if not number:
        raise ValueError("write more than 0: any difference at all would count")
    if unit == "%":
        return Change(number / 100, None)
    if unit == "points":
        if number > 100:
            raise ValueError("write 100 points at most: a rate has no more")
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
    """A complete policy file."""

    metrics: dict[str, Annotated[MetricPolicy, BeforeValidator(_empty)]]

    @property
    def gated(self) -> dict[str, MetricPolicy]:
        """The metrics to check, by name; never empty after `parse`."""
        return self.metrics

    @property
    def queries(self) -> list[MetricQuery]:
        """The queries to send to the server."""
        return [rule.query(name) for name, rule in self.metrics.items()]


def load(path: Path) -> Policy:
    """Load a policy.

    Raises:
        SettingsError: The file cannot be read or is invalid; the message gives the line of each
            mistake and what to write instead.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise SettingsError(f"{path} is not a policy: it has more than {_MAX_BYTES:,} bytes")
        return parse(content.decode(), str(path))
    except OSError as error:
        raise SettingsError(f"the policy {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not a policy: write it in UTF-8") from None


def parse(text: str, name: str = "policy") -> Policy:
    """Parse a policy; `name` precedes the mistakes in messages. Raises the same as `load`."""
    lines, content = _read(text, name)
    if not isinstance(content, dict):
        raise SettingsError(f"{name} is not a policy: begin with `metrics:`, see docs/gate.md")
    try:
        found = Policy.model_validate(content)
    except ValidationError as error:
        said = "; ".join(_mistake(each, lines) for each in error.errors(include_url=False))
        raise SettingsError(f"{name}: {said}") from None
    if not found.gated:
        raise SettingsError(
            f"{name}: {_at(('metrics',), lines)}metrics is empty: name at least one of"
            f" {', '.join(metrics.FORMS)}"
        )
    if wrong := next(filter(None, (_wrong(*each, lines) for each in found.gated.items())), None):
        raise SettingsError(f"{name}: {wrong}")
    return found


def _wrong(metric: str, rule: MetricPolicy, lines: _Lines) -> str:
    """Return what is inconsistent in a metric's policy; empty if nothing is."""
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
        # Nodes carry line numbers; only the second parse constructs values.
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        lines = dict(_lines(node, (), set())) if node else {}
        return lines, yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise SettingsError(f"{name}: {where}this is not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        said = " ".join(str(error).split())
        raise SettingsError(f"{name} is not valid YAML: {said}") from None
    except SettingsError as error:
        raise SettingsError(f"{name}: {error}") from None
    except RecursionError:
        raise SettingsError(f"{name} is not a policy: it is nested too deeply") from None
    except _UNREADABLE:
        raise SettingsError(f"{name} has a value that is not of its declared type") from None


def _lines(
    node: yaml.Node, path: tuple[str, ...], seen: set[int]
) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield the line of each key, and reject what human readers would interpret differently."""
    line = node.start_mark.line + 1
    if id(node) in seen:
        raise SettingsError(f"line {line}: a policy has no aliases (`*name`): write it out")
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
            raise SettingsError(f"line {line}: a key must be a word, such as latency")
        if key.value in keys:
            raise SettingsError(f"line {line}: {_cut(key.value)} appears twice: leave one out")
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
            said = f": write {context['ge']} or more: the server does not test fewer"
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
