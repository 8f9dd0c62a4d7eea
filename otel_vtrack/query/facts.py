"""What a trace's spans say that the table `traces` does not keep: tags, question and answer."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from otel_vtrack.query.export import SpanRow
from otel_vtrack.query.partial import Whole
from otel_vtrack.semconv import VTRACK_FLAG_PREFIX, VTRACK_TAG_PREFIX
from otel_vtrack.store.client import Store
from otel_vtrack.wire.attributes import Attributes

# By MLflow, OpenInference, the GenAI conventions, Traceloop, Langfuse and Laminar, in MLflow's
# order. After them comes what has a number in its name: gen_ai.prompt.N.content, the last one.
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
_NUMBERED_ASKED: Final = re.compile(r"gen_ai\.prompt\..*\.content")
_NUMBERED_ANSWERED: Final = re.compile(r"gen_ai\.completion\..*\.content")
_SOURCE_NAMES: Final = (
    "mlflow.source.name",
    "process.command",
    "process.command_line",
    "process.executable.name",
    "process.executable.path",
)
_MINUTE_NS: Final = 60_000_000_000
_MOST_MINUTES: Final = 240
_EARLIEST_NS: Final = -(1 << 63)
_LONGEST: Final = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What spans say; texts are empty where they say nothing.

    Attributes:
        asked: Kind and text of the attribute that holds what was asked.
        answered: Kind and text of the attribute that holds what came back.
        tags: Attributes of the root that are tags, by their full names.
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
    tags: tuple[tuple[str, str], ...] = ()


def of_traces(store: Store, traces: Sequence[Whole]) -> dict[tuple[str, str], Facts]:
    """Ask the store for a page of traces at once.

    Args:
        store: Where to look.
        traces: Which.

    Returns:
        One for each, by trace id and experiment.
    """
    found = {(trace.trace_id, trace.experiment): Facts() for trace in traces}
    for row in store.query("traces/root_facts", _where_the_spans_are(traces)):
        fields = dict(row)
        key = (fields.pop("trace_id"), fields.pop("experiment"))
        for name in ("asked", "answered"):
            kind, text = fields[name]
            fields[name] = (kind, bytes.fromhex(text))
        fields["tags"] = tuple((name, text) for name, text, _ in fields["tags"])
        found[key] = Facts(**fields)
    return found


def from_spans(spans: Sequence[SpanRow], root_span_id: bytes) -> Facts:
    """Find the same in spans that are loaded; earliest first, all of one experiment."""
    root = next((span for span in spans if span.span_id == root_span_id), None)
    if root is None:
        return Facts()
    asking = [root, *spans]
    answering = [root, *sorted(spans, key=_end, reverse=True)]
    own, resource = root.attributes, root.resource.attributes
    return Facts(
        git_commit=root.git_commit,
        git_branch=root.git_branch,
        git_dirty=root.git_dirty,
        repository_url=root.repository_url,
        source_name=_first_text(own, resource, _SOURCE_NAMES),
        source_type=_first_text(own, resource, ("mlflow.source.type",)),
        pipeline_run=_text(resource, "cicd.pipeline.run.id"),
        asked=_first_said(asking, _ASKED, _NUMBERED_ASKED),
        answered=_first_said(answering, _ANSWERED, _NUMBERED_ANSWERED),
        tags=tuple(
            (name, text.decode())
            for name, text, kind in zip(own.names, own.texts, own.kinds, strict=True)
            if 1 <= kind <= 4 and name.startswith((VTRACK_TAG_PREFIX, VTRACK_FLAG_PREFIX))
        ),
    )


def tags(
    facts: Facts,
    *,
    session_id: str,
    user_id: str,
    version: str,
    environment: str,
    deployment_id: str,
) -> dict[str, str]:
    """Put together the tags of all three kinds, sorted; what is unknown is left out."""
    source_type = facts.source_type
    if not source_type and facts.pipeline_run:
        source_type = "JOB"
    elif not source_type and facts.source_name:
        source_type = "LOCAL"
    concluded = {
        "mlflow.source.git.commit": facts.git_commit,
        "mlflow.source.git.branch": facts.git_branch,
        "mlflow.source.git.dirty": facts.git_dirty,
        "mlflow.source.git.repoURL": facts.repository_url,
        "mlflow.source.name": facts.source_name,
        "mlflow.source.type": source_type,
        "mlflow.trace.session": session_id,
        "mlflow.trace.user": user_id,
        "app_version": version,
        "environment": environment,
        "deployment_id": deployment_id,
    }
    # What the application says of itself wins over what was concluded.
    said = {name.removeprefix(VTRACK_TAG_PREFIX): text for name, text in facts.tags}
    return dict(sorted(({name: text for name, text in concluded.items() if text} | said).items()))


def _where_the_spans_are(traces: Sequence[Whole]) -> dict[str, Any]:
    """List the minutes in which each trace has spans; of a very long one the first and last."""
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
        "source_names": list(_SOURCE_NAMES),
        "longest": _LONGEST,
    }


def _end(span: SpanRow) -> tuple[int, bytes]:
    return span.start_time_unix_nano + span.duration_ns, span.span_id


def _text(attributes: Attributes, name: str) -> str:
    return attributes.get(name)[1].decode(errors="replace")


def _first_text(own: Attributes, resource: Attributes, names: Sequence[str]) -> str:
    texts = (_text(own, name) or _text(resource, name) for name in names)
    return next((text for text in texts if text), "")


def _first_said(
    spans: Sequence[SpanRow], names: Sequence[str], numbered: re.Pattern[str]
) -> tuple[int, bytes]:
    for span in spans:
        last = [name for name in span.attributes.names if numbered.fullmatch(name)][-1:]
        for name in (*names, *last):
            kind, text = span.attributes.get(name)
            if text:
                return kind, text if kind > 4 else text[:_LONGEST]
    return 0, b""
