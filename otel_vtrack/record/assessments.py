"""Records how people, code and judges assess traces.

Rows are only ever added: see migration 0010. Writers, in this process or another, therefore never
undo each other's changes.
"""

import json
import math
import os
import re
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from otel_vtrack.errors import AlreadyExists, InvalidArgument, NotFound
from otel_vtrack.query import assessments, export
from otel_vtrack.query.assessments import (
    Assessment,
    AssessmentError,
    AssessmentType,
    Operation,
    SourceType,
)
from otel_vtrack.record.clock import now_ns
from otel_vtrack.store.client import Store

SESSION_KEY: Final = "mlflow.trace.session"
"""Metadata key that makes an assessment one of a whole session (MLflow's convention)."""

LONGEST_NAME: Final = 250
"""In characters: of a name, an id, an error code, a metadata key."""

LARGEST_TEXT: Final = 1 << 16
"""In bytes: of a value as JSON, a rationale, an error message, all metadata together."""

LONGEST_STACK_TRACE: Final = 10_000
"""Characters kept of a stack trace: the last ones, which show what was raised."""

DEFAULT_SOURCE_ID: Final = "default"

_TABLE: Final = "assessments"
_COLUMNS: Final = (
    "trace_id",
    "assessment_id",
    "change_time",
    "change_id",
    "operation",
    "experiment",
    "session_id",
    "assessment_name",
    "value",
    "error_code",
    "error_message",
    "stack_trace",
    "rationale",
    "metadata",
    "span_id",
    "assessment_type",
    "source_type",
    "source_id",
    "overrides",
)
# The fields of a row that changes nothing.
_UNCHANGED: Final[dict[str, Any]] = {
    "assessment_name": None,
    "value": None,
    "error_code": "",
    "error_message": "",
    "stack_trace": "",
    "rationale": None,
    "metadata": {},
    "span_id": "",
    "assessment_type": 0,
    "source_type": 0,
    "source_id": "",
    "overrides": "",
}
_ID: Final = re.compile(r"[!-~]{1,250}")
_SPAN_ID: Final = re.compile(r"[0-9a-f]{16}")
_NOTHING: Final[Mapping[str, str]] = {}

# An id given by the caller is checked and taken under a lock; several ids share one lock.
_taking_ids: Final = tuple(threading.Lock() for _ in range(64))


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAssessment:
    """An assessment to record; assessments.proto explains each field.

    Attributes:
        value: JSON; None if there is an error instead.
        assessment_id: Empty to generate one.
        experiment: Its name in telemetry, for a trace that spans several; empty for that of
            the trace's root.
    """

    trace_id: str
    assessment_name: str
    assessment_type: AssessmentType = AssessmentType.FEEDBACK
    value: str | None = None
    error: AssessmentError | None = None
    rationale: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    source_type: SourceType = SourceType.CODE
    source_id: str = ""
    span_id: str = ""
    session_id: str = ""
    overrides: str = ""
    assessment_id: str = ""
    experiment: str = ""


def create(store: Store, new: NewAssessment) -> Assessment:
    """Record an assessment and return it with its id and times.

    Raises:
        InvalidArgument: A field is invalid or too long; the message says which.
        NotFound: The trace is not stored, or the assessment to override does not exist.
        AlreadyExists: The id is taken, possibly by a deleted assessment.
    """
    trace_id = export.trace_id_from_text(new.trace_id)
    span_id = new.span_id.lower()
    if span_id and (not _SPAN_ID.fullmatch(span_id) or not span_id.strip("0")):
        raise InvalidArgument("span_id must be 16 hexadecimal digits, or empty for the whole trace")
    _require_name(new.assessment_name)
    _require_outcome(new.assessment_type, new.value, new.error)
    if new.value is None and new.error is None:
        raise InvalidArgument("an assessment needs a value or an error")
    _require_small("rationale", new.rationale)
    _require_metadata(new.metadata)
    for what, text in (
        ("source_id", new.source_id),
        ("session_id", new.session_id),
        ("overrides", new.overrides),
    ):
        if len(text) > LONGEST_NAME:
            raise InvalidArgument(f"{what} is longer than {LONGEST_NAME} characters: shorten it")
    if new.assessment_id and not _ID.fullmatch(new.assessment_id):
        raise InvalidArgument(
            f"assessment_id must be up to {LONGEST_NAME} ASCII letters, digits and signs without"
            " spaces, or empty for a generated one"
        )
    told = new.metadata.get(SESSION_KEY, "")
    if new.session_id and told and told != new.session_id:
        raise InvalidArgument(
            f"session_id and {SESSION_KEY} of the metadata differ: give one of them"
        )
    row: dict[str, Any] = {
        "trace_id": trace_id,
        "assessment_id": new.assessment_id or f"a-{os.urandom(16).hex()}",
        "operation": Operation.CREATE,
        "session_id": new.session_id or told,
        "assessment_name": new.assessment_name,
        **_outcome(new.value, new.error),
        "rationale": new.rationale,
        "metadata": dict(new.metadata),
        "span_id": span_id,
        "assessment_type": new.assessment_type,
        "source_type": new.source_type or SourceType.CODE,
        "source_id": new.source_id or DEFAULT_SOURCE_ID,
        "overrides": new.overrides,
    }
    if new.assessment_id:
        with _taking_ids[hash(new.assessment_id) % len(_taking_ids)]:
            _place(store, row, new.experiment)
            _add(store, row)
    else:
        _place(store, row, new.experiment)
        _add(store, row)
    return assessments.get(store, row["assessment_id"])


def update(
    store: Store,
    assessment_id: str,
    *,
    assessment_name: str | None = None,
    value: str | None = None,
    error: AssessmentError | None = None,
    rationale: str | None = None,
    metadata: Mapping[str, str] = _NOTHING,
) -> Assessment:
    """Change an assessment and return the result; fields that are None stay unchanged.

    Metadata is merged into what is there. A value replaces an error, and an error replaces a
    value.

    Raises:
        InvalidArgument: A field is invalid or too long, or there is nothing to change.
        NotFound: No such assessment exists, or it was deleted.
    """
    if assessment_name is None and value is None and error is None and rationale is None:
        if not metadata:
            raise InvalidArgument(
                "there is nothing to change: give a name, a value, an error, a rationale or"
                " metadata"
            )
    elif assessment_name is not None:
        _require_name(assessment_name)
    _require_small("rationale", rationale or "")
    _require_metadata(metadata)
    now = assessments.get(store, assessment_id)
    _require_outcome(now.assessment_type, value, error)
    if metadata.get(SESSION_KEY, now.session_id) != now.session_id:
        raise InvalidArgument(f"the session cannot be changed: leave {SESSION_KEY} as it is")
    _add(
        store,
        _of(now, Operation.UPDATE)
        | {
            "assessment_name": assessment_name,
            **_outcome(value, error),
            "rationale": rationale,
            "metadata": dict(metadata),
        },
    )
    return assessments.get(store, assessment_id)


def delete(store: Store, assessment_id: str) -> None:
    """Delete an assessment; what it overrode is valid again. Unknown ids are ignored.

    Its history is kept, and its id is never reused.
    """
    try:
        now = assessments.get(store, assessment_id)
    except NotFound:
        return
    _add(store, _of(now, Operation.DELETE))


def json_text(value: object) -> str:
    """Serialize a value to the JSON that is stored: whole numbers as integers, keys sorted.

    Raises:
        InvalidArgument: JSON cannot represent it, for example NaN.
    """
    try:
        return json.dumps(
            _whole(value),
            ensure_ascii=False,
            allow_nan=False,
            sort_keys=True,
            separators=(",", ":"),
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(
            "a value must be a finite number, a boolean, text, a list or a struct of these"
        ) from error


def _whole(value: Any) -> Any:
    # protobuf's Value only has doubles. Above 2**53 they may not be the integer that was meant.
    if isinstance(value, float) and value.is_integer() and abs(value) <= 1 << 53:
        return value if math.copysign(1, value) < 0 and not value else int(value)
    if isinstance(value, Mapping):
        return {str(key): _whole(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_whole(item) for item in value]
    return value


def _place(store: Store, row: dict[str, Any], experiment: str) -> None:
    """Check what a new assessment refers to, and fill in the fields derived from it."""
    [found] = store.query(
        "assessments/place",
        {name: row[name] for name in ("trace_id", "assessment_id", "overrides")},
    )
    if not found["experiments"]:
        raise export.missing(row["trace_id"])
    if experiment and experiment not in found["experiments"]:
        raise InvalidArgument(
            "the trace is not in this experiment: leave the experiment out, the trace determines it"
        )
    row["experiment"] = experiment or found["experiments"][0]
    if found["id_taken"]:
        raise AlreadyExists(
            f"there is, or was, an assessment {row['assessment_id']}: choose another assessment_id,"
            " or update that one"
        )
    if row["overrides"]:
        created, deleted, session_id = found["overridden"]
        if not created or deleted:
            raise NotFound(
                f"trace {row['trace_id']} has no assessment {row['overrides'][:LONGEST_NAME]} that"
                " can be overridden: take the id from the assessments of the trace"
            )
        row["session_id"] = row["session_id"] or session_id
        if row["session_id"] != session_id:
            raise InvalidArgument(
                "an assessment of a session can override only one of the same session"
            )
    if row["session_id"]:
        row["metadata"][SESSION_KEY] = row["session_id"]


def _of(now: Assessment, operation: Operation) -> dict[str, Any]:
    """Start the row of a change, with the fields shared by all rows of its assessment."""
    return {
        "trace_id": now.trace_id,
        "assessment_id": now.assessment_id,
        "operation": operation,
        "experiment": now.experiment,
        "session_id": now.session_id,
    }


def _outcome(value: str | None, error: AssessmentError | None) -> dict[str, str | None]:
    if error is not None:
        return {
            "value": "",
            "error_code": error.error_code,
            "error_message": error.error_message,
            "stack_trace": error.stack_trace[-LONGEST_STACK_TRACE:],
        }
    return {"value": value}


def _add(store: Store, row: Mapping[str, Any]) -> None:
    whole = _UNCHANGED | dict(row)
    whole["trace_id"] = bytes.fromhex(row["trace_id"] or "0" * 32)
    whole["span_id"] = bytes.fromhex(whole["span_id"] or "0" * 16)
    whole["change_time"] = now_ns()
    whole["change_id"] = uuid.uuid4()
    store.insert(_TABLE, [[whole[name] for name in _COLUMNS]], _COLUMNS)


def _require_name(name: str) -> None:
    if not 0 < len(name) <= LONGEST_NAME:
        raise InvalidArgument(f"assessment_name must have from 1 to {LONGEST_NAME} characters")


def _require_small(what: str, text: str) -> None:
    size = len(text.encode())
    if size > LARGEST_TEXT:
        raise InvalidArgument(f"{what} has {size} bytes: shorten it to {LARGEST_TEXT}")


def _require_metadata(metadata: Mapping[str, str]) -> None:
    if any(not 0 < len(key) <= LONGEST_NAME for key in metadata):
        raise InvalidArgument(f"a key of metadata must have from 1 to {LONGEST_NAME} characters")
    size = sum(len(key.encode()) + len(text.encode()) for key, text in metadata.items())
    if size > LARGEST_TEXT:
        raise InvalidArgument(f"metadata has {size} bytes: shorten it to {LARGEST_TEXT}")


def _require_outcome(
    kind: AssessmentType, value: str | None, error: AssessmentError | None
) -> None:
    if value is not None:
        _require_small("value", value)
    if error is None:
        return
    if value is not None:
        raise InvalidArgument("both a value and an error are given: give one of them")
    if kind is not AssessmentType.FEEDBACK:
        raise InvalidArgument("only feedback can have an error: give the value that was expected")
    if not 0 < len(error.error_code) <= LONGEST_NAME:
        raise InvalidArgument(f"error_code must have from 1 to {LONGEST_NAME} characters")
    _require_small("error_message", error.error_message)
