"""Values in a trace's spans that the table `traces` does not keep; its metadata and tags."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from otel_vtrack.query.partial import Whole
from otel_vtrack.query.tokens import Cost, TokenUsage
from otel_vtrack.store.client import Store
from otel_vtrack.wire.attributes import Attributes

# As named by MLflow, OpenInference, the GenAI conventions, Traceloop, Langfuse and Laminar, in
# MLflow's order. After them comes the last numbered one, gen_ai.prompt.N.content.
_ASKED: Final = (
    "mlflow.spanInputs",
    "input.value",
    "gen_ai.input.messages",
    "gen_ai.tool.call.arguments",
    "traceloop.entity.input",
    "gen_ai.prompt",
    "langfuse.observation.input",
    "lmnr.span.input",
)
_ANSWERED: Final = (
    "mlflow.spanOutputs",
    "output.value",
    "gen_ai.output.messages",
    "gen_ai.tool.call.result",
    "traceloop.entity.output",
    "gen_ai.completion",
    "langfuse.observation.output",
    "lmnr.span.output",
)
_NUMBERED_ASKED: Final = "gen_ai.prompt."
_NUMBERED_ANSWERED: Final = "gen_ai.completion."
_NUMBERED_END: Final = ".content"
_SAYING: Final = frozenset({*_ASKED, *_ANSWERED})
SOURCE_NAMES: Final = (
    "mlflow.source.name",
    "process.command",
    "process.command_line",
    "process.executable.name",
    "process.executable.path",
)
SOURCE_TYPE: Final = "mlflow.source.type"
PIPELINE_RUN: Final = "cicd.pipeline.run.id"
_OF_SOURCES: Final = frozenset({*SOURCE_NAMES, SOURCE_TYPE, PIPELINE_RUN})
_MINUTE_NS: Final = 60_000_000_000
_MOST_MINUTES: Final = 240
_EARLIEST_NS: Final = -(1 << 63)
LONGEST_SAID: Final = 200_000
"""The most bytes of a text that are read for a preview."""

LONGEST_METADATA: Final = 250
"""The most characters of a metadata value, as in MLflow."""

LONGEST_TAG: Final = 4_096
"""The most characters of a tag's value, as in MLflow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Values found in a trace's spans; an empty text means unknown.

    Attributes:
        asked: Kind and text of the attribute with the trace's input.
        answered: Kind and text of the attribute with its output.
    """

    git_commit: str = ""
    git_branch: str = ""
    git_dirty: str = ""
    repository_url: str = ""
    source_name: str = ""
    source_type: str = ""
    pipeline_run: str = ""
    asked: tuple[int, bytes] = (0, b"")
    answered: tuple[int, bytes] = (0, b"")


def of_traces(store: Store, traces: Sequence[Whole]) -> dict[tuple[str, str], Facts]:
    """Query the facts of a page of traces at once.

    Args:
        store: The store to query.
        traces: The traces.

    Returns:
        The facts of each trace, by trace ID and experiment.
    """
    found = {(trace.trace_id, trace.experiment): Facts() for trace in traces}
    for row in store.query("traces/root_facts", _where_the_spans_are(traces)):
        fields = dict(row)
        key = (fields.pop("trace_id"), fields.pop("experiment"))
        for name in ("asked", "answered"):
            kind, text = fields[name]
            fields[name] = (kind, bytes.fromhex(text))
        found[key] = Facts(**fields)
    return found


class Span(Protocol):
    """What this module reads of a loaded span."""

    @property
    def span_id(self) -> bytes:
        """The span's ID."""
        ...

    @property
    def start_time_unix_nano(self) -> int:
        """When it started."""
        ...

    @property
    def duration_ns(self) -> int:
        """How long it took."""
        ...

    @property
    def git_commit(self) -> str:
        """Git commit of the code that ran."""
        ...

    @property
    def git_branch(self) -> str:
        """Git branch of that code."""
        ...

    @property
    def git_dirty(self) -> str:
        """Whether that code had uncommitted changes."""
        ...

    @property
    def repository_url(self) -> str:
        """Repository of that code."""
        ...

    @property
    def resource_attributes(self) -> Attributes:
        """Attributes of its resource."""
        ...

    @property
    def resource_names(self) -> Sequence[str]:
        """Names of its resource's attributes."""
        ...

    @property
    def attribute_names(self) -> Sequence[str]:
        """Names of its own attributes."""
        ...

    @property
    def attributes(self) -> Attributes:
        """Its own attributes."""
        ...


class _Says(NamedTuple):
    """Positions of the attributes with inputs and outputs, in order of preference."""

    asked: tuple[int, ...]
    answered: tuple[int, ...]


_NOTHING: Final = _Says((), ())

Shapes: TypeAlias = dict[tuple[str, ...], _Says]
"""The positions found for lists of attribute names; many spans share the same list."""


def from_spans(spans: Sequence[Span], root_span_id: bytes, shapes: Shapes | None = None) -> Facts:
    """Derive the same facts from loaded spans.

    Args:
        spans: All spans of one experiment, earliest first.
        root_span_id: The ID of the trace's root.
        shapes: The shapes found in other traces of the page; new ones are added.
    """
    root = next((span for span in spans if span.span_id == root_span_id), None)
    if root is None:
        return Facts()
    shapes = {} if shapes is None else shapes
    asking: list[tuple[Span, tuple[int, ...]]] = []
    answering: list[tuple[Span, tuple[int, ...]]] = []
    for span in spans:
        names = tuple(span.attribute_names)
        says = shapes.get(names)
        if says is None:
            says = shapes[names] = _says(names)
        if says.asked:
            asking.append((span, says.asked))
        if says.answered:
            answering.append((span, says.answered))
    answering.sort(key=_end, reverse=True)
    source_name, source_type, pipeline_run = _source(root)
    return Facts(
        git_commit=root.git_commit,
        git_branch=root.git_branch,
        git_dirty=root.git_dirty,
        repository_url=root.repository_url,
        source_name=source_name,
        source_type=source_type,
        pipeline_run=pipeline_run,
        asked=_first_said(root, asking),
        answered=_first_said(root, answering),
    )


def metadata(
    facts: Facts,
    *,
    session_id: str,
    user_id: str,
    usage: TokenUsage | None,
    cost: Cost | None,
) -> dict[str, str]:
    """Assemble the metadata under MLflow's names, sorted, without unknown values."""
    source_type = facts.source_type
    if not source_type and facts.pipeline_run:
        source_type = "JOB"
    elif not source_type and facts.source_name:
        source_type = "LOCAL"
    told = {
        "mlflow.source.git.commit": facts.git_commit,
        "mlflow.source.git.branch": facts.git_branch,
        "mlflow.source.git.dirty": facts.git_dirty,
        "mlflow.source.git.repoURL": facts.repository_url,
        "mlflow.source.name": facts.source_name,
        "mlflow.source.type": source_type,
        "mlflow.trace.session": session_id,
        "mlflow.trace.tokenUsage": _as_mlflow_writes_usage(usage) if usage else "",
        "mlflow.trace.user": user_id,
    }
    if cost and not cost.unknown_models:
        dollars = {
            name: getattr(cost, name) for name in ("input_cost", "output_cost", "total_cost")
        }
        told["mlflow.trace.cost"] = _as_json(dollars)
    return {name: text[:LONGEST_METADATA] for name, text in sorted(told.items()) if text}


def tags(
    known: Mapping[str, str | None],
    *,
    name: str,
    version: str,
    environment: str,
    deployment_id: str,
) -> dict[str, str]:
    """Assemble the tags of a trace, sorted, without unknown values.

    Args:
        known: The result of query.tags; overrides the values derived from the other arguments.
        name: The trace's name.
        version: The trace's version.
        environment: The trace's environment.
        deployment_id: The trace's deployment.
    """
    concluded = {
        "app_version": version,
        "deployment_id": deployment_id,
        "environment": environment,
        "mlflow.traceName": name,
    }
    every = {key: text[:LONGEST_TAG] or None for key, text in concluded.items()} | dict(known)
    return {key: text for key, text in sorted(every.items()) if text is not None}


def _as_mlflow_writes_usage(usage: TokenUsage) -> str:
    counts = usage._asdict()
    for name in ("cache_read_input_tokens", "cache_creation_input_tokens"):
        if not counts[name]:
            del counts[name]
    return _as_json(counts)


def _as_json(numbers: Mapping[str, float]) -> str:
    """Encode like json.dumps, but faster."""
    if not all(map(math.isfinite, numbers.values())):
        return json.dumps(numbers)
    return "{" + ", ".join([f'"{name}": {number!r}' for name, number in numbers.items()]) + "}"


def _where_the_spans_are(traces: Sequence[Whole]) -> dict[str, Any]:
    """List the minutes that contain each trace's spans; only the first and last of a long one."""
    minutes: list[int] = []
    ids: list[str] = []
    half = _MOST_MINUTES // 2
    for trace in traces:
        first, last = trace.start_time_ns // _MINUTE_NS, trace.end_time_ns // _MINUTE_NS
        near = {*range(first, min(last, first + half) + 1), trace.root.start_time_ns // _MINUTE_NS}
        near.update(range(max(first, last - half), last + 1))
        minutes += [max(minute * _MINUTE_NS, _EARLIEST_NS) for minute in near]
        ids += [trace.trace_id] * len(near)
    return {
        "minute_ns": minutes,
        "minute_trace_ids": ids,
        "root_trace_ids": [trace.trace_id for trace in traces],
        "root_span_ids": [trace.root.span_id.hex() for trace in traces],
        "asked_names": list(_ASKED),
        "answered_names": list(_ANSWERED),
        "source_names": list(SOURCE_NAMES),
        "longest": LONGEST_SAID,
    }


def _source(root: Span) -> tuple[str, str, str]:
    if _OF_SOURCES.isdisjoint(root.attribute_names) and _OF_SOURCES.isdisjoint(root.resource_names):
        return "", "", ""
    own, resource = root.attributes, root.resource_attributes
    known = {*own.names, *resource.names}
    names = [name for name in SOURCE_NAMES if name in known]
    source_type = _first_text(own, resource, [SOURCE_TYPE])
    return _first_text(own, resource, names), source_type, _text(resource, PIPELINE_RUN)


def _end(found: tuple[Span, object]) -> tuple[int, bytes]:
    span, _ = found
    return span.start_time_unix_nano + span.duration_ns, span.span_id


def _text(attributes: Attributes, name: str) -> str:
    _, text = attributes.get(name)
    return text.decode(errors="replace") if text else ""


def _first_text(own: Attributes, resource: Attributes, names: Sequence[str]) -> str:
    for name in names:
        if text := _text(own, name) or _text(resource, name):
            return text
    return ""


def _says(names: tuple[str, ...]) -> _Says:
    # Most spans have neither, so check that quickly.
    together = "\n".join(names)
    if (
        _SAYING.isdisjoint(names)
        and _NUMBERED_ASKED not in together
        and _NUMBERED_ANSWERED not in together
    ):
        return _NOTHING
    return _Says(
        _places(names, _ASKED, _NUMBERED_ASKED), _places(names, _ANSWERED, _NUMBERED_ANSWERED)
    )


def _places(names: tuple[str, ...], wanted: Sequence[str], numbered: str) -> tuple[int, ...]:
    last = [name for name in names if _is_content(name, numbered)][-1:]
    return tuple(names.index(name) for name in (*wanted, *last) if name in names)


def _is_content(name: str, numbered: str) -> bool:
    return name.startswith(numbered) and name[len(numbered) :].endswith(_NUMBERED_END)


def _first_said(root: Span, saying: Sequence[tuple[Span, tuple[int, ...]]]) -> tuple[int, bytes]:
    """Return kind and text of the first attribute that is not empty, the root's first."""
    # Most roots have none.
    if any(span is root for span, _ in saying):
        saying = sorted(saying, key=lambda found: found[0] is not root)
    for span, places in saying:
        attributes = span.attributes
        for at in places:
            kind, text = attributes.kinds[at], attributes.texts[at]
            if text:
                return kind, text if kind > 4 else text[:LONGEST_SAID]
    return 0, b""
