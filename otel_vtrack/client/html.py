"""Render results as HTML for notebooks, with all text escaped."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

from google.protobuf.message import Message

from otel_vtrack.client import columns

ROWS: Final = 10
"""Maximum number of results shown."""

_LONGEST: Final = 120
_COLUMNS: Final[Mapping[str, Sequence[str]]] = {
    "Experiment": ("name", "trace_count", "service_names", "first_seen", "last_seen", "tags"),
    "TraceInfo": (
        "trace_id",
        "request_time",
        "name",
        "state",
        "execution_duration",
        "span_count",
        "token_usage.total_tokens",
        "version",
        "environment",
        "request_preview",
        "response_preview",
    ),
    "Span": (
        "trace_id",
        "span_id",
        "start_time",
        "name",
        "type",
        "status",
        "duration",
        "service_name",
        "version",
        "environment",
    ),
    "Assessment": (
        "assessment_id",
        "trace_id",
        "assessment_name",
        "value",
        "error.error_code",
        "rationale",
        "source_type",
        "source_id",
        "create_time",
        "valid",
    ),
    "Deployment": (
        "deployment_id",
        "service_name",
        "environment",
        "version",
        "status",
        "start_time",
        "end_time",
        "trace_count",
    ),
    "Version": (
        "version",
        "aliases",
        "places",
        "service_name",
        "git_commit",
        "git_branch",
        "trace_count",
        "error_trace_count",
        "first_seen",
        "last_seen",
        "note",
    ),
}
"""Columns shown, by message type; other types show every column."""


def table(heads: Iterable[str], rows: Iterable[Sequence[str]], note: str = "") -> str:
    """Render a table of strings."""
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{_cell(each)}</td>" for each in row) + "</tr>" for row in rows
    )
    told = f"<p>{escape(note)}</p>" if note else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{told}"


def preformatted(text: str) -> str:
    """Render text with its line breaks and spaces preserved."""
    return f"<pre>{escape(text)}</pre>"


def messages(kind: type[Message], found: Sequence[Any], note: str = "") -> str:
    """Render the first `ROWS` messages as a table."""
    known = columns.of(kind.DESCRIPTOR)
    names = _COLUMNS.get(kind.DESCRIPTOR.name)
    if names:
        by_name = {column.name: column for column in known}
        known = [by_name[name] for name in names if name in by_name]
    rows = [
        [columns.shown(column, column.read(message)) for column in known]
        for message in found[:ROWS]
    ]
    return table([column.name for column in known], rows, note)


def message(one: Message) -> str:
    """Render a message as a table with one row per non-empty field."""
    rows: list[list[str]] = []
    for column in columns.of(one.DESCRIPTOR):
        written = columns.shown(column, column.read(one))
        if written:
            rows.append([column.name, written])
    return table((one.DESCRIPTOR.name, ""), rows)


def _cell(text: str) -> str:
    return escape(text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…")
