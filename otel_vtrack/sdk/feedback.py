"""`otel_vtrack.log_feedback` and `log_expectation`: assessments of a trace, logged by the app.

Sent as the standard event `gen_ai.evaluation.result`, so that other backends understand it too;
fields that it lacks are in attributes of our own.
"""

import json
import math
import os
import traceback
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, Literal, TypeAlias

from opentelemetry import trace

from otel_vtrack import semconv
from otel_vtrack.sdk import events, guest
from otel_vtrack.sdk.values import clean, clean_all

SourceType: TypeAlias = Literal["HUMAN", "LLM_JUDGE", "CODE"]

LONGEST_STACK_TRACE: Final = 10_000
"""Characters; the end is kept, as it names the exception."""

_FEEDBACK: Final = "feedback"
_EXPECTATION: Final = "expectation"
_SESSION_KEY: Final = "mlflow.trace.session"
"""Metadata key that makes an assessment apply to a whole session (MLflow's convention)."""


def log_feedback(
    name: str,
    value: object = None,
    *,
    error: BaseException | str | None = None,
    rationale: str | None = None,
    metadata: Mapping[str, object] | None = None,
    source_type: SourceType = "CODE",
    source_id: str | None = None,
    span: trace.Span | trace.SpanContext | None = None,
    trace_id: str | int | None = None,
    span_id: str | int | None = None,
    whole_trace: bool = False,
    session: str | None = None,
    overrides: str | None = None,
    assessment_id: str | None = None,
) -> str:
    """Log feedback on something that this application did.

        otel_vtrack.log_feedback("relevance", 0.8, rationale="cites the right page")
        otel_vtrack.log_feedback("thumbs", True, source_type="HUMAN", trace_id=the_trace)

    Applies to the current span by default. Never raises and never blocks: it goes where the
    process's logs go, or becomes a span event if no logs are exported. With neither, nothing
    happens.

    Args:
        name: What is assessed.
        value: A number, a boolean, text, a list or a mapping.
        error: Why there is no value; an exception adds its message and stack trace.
        rationale: Why this value.
        metadata: Further data to keep with it; values become text.
        source_type: Kind of assessor.
        source_id: Which person, model or program made the assessment.
        span: The span it is about.
        trace_id: The trace it is about, in hexadecimal digits or as a number; the trace as a whole
            unless `span_id` is given too. For feedback that arrives later, such as a user's.
        span_id: A span of that trace.
        whole_trace: Whether it is about the span's whole trace rather than the span.
        session: Session id, if it is about the whole session.
        overrides: Id of an earlier assessment that this one replaces.
        assessment_id: An id of your own, so that an assessment sent twice counts once.

    Returns:
        The assessment's id, to override or update it later.
    """
    return _log(
        _FEEDBACK,
        name,
        value,
        error=error,
        rationale=rationale,
        metadata=metadata,
        source_type=source_type,
        source_id=source_id,
        target=_Target(span, trace_id, span_id, whole_trace),
        session=session,
        overrides=overrides,
        assessment_id=assessment_id,
    )


def log_expectation(
    name: str,
    value: object,
    *,
    rationale: str | None = None,
    metadata: Mapping[str, object] | None = None,
    source_type: SourceType = "HUMAN",
    source_id: str | None = None,
    span: trace.Span | trace.SpanContext | None = None,
    trace_id: str | int | None = None,
    span_id: str | int | None = None,
    whole_trace: bool = False,
    session: str | None = None,
    overrides: str | None = None,
    assessment_id: str | None = None,
) -> str:
    """Log the expected result: ground truth. See `log_feedback`."""
    return _log(
        _EXPECTATION,
        name,
        value,
        error=None,
        rationale=rationale,
        metadata=metadata,
        source_type=source_type,
        source_id=source_id,
        target=_Target(span, trace_id, span_id, whole_trace),
        session=session,
        overrides=overrides,
        assessment_id=assessment_id,
    )


class _Target:
    """What an assessment is about, as the caller specified it."""

    def __init__(
        self,
        span: trace.Span | trace.SpanContext | None,
        trace_id: str | int | None,
        span_id: str | int | None,
        whole_trace: bool,
    ) -> None:
        self._span = span
        self._trace_id = trace_id
        self._span_id = span_id
        self._whole_trace = whole_trace

    def resolve(self) -> tuple[trace.SpanContext, trace.Span | None]:
        """Return the ids for a log record, and the span to fall back to, if any.

        Raises:
            ValueError: An id is invalid, or that of the trace is missing.
        """
        current = trace.get_current_span()
        if self._trace_id is None and self._span_id is not None:
            raise ValueError("a span_id needs the trace_id of its trace")
        if self._trace_id is not None:
            about = trace.SpanContext(
                _id(self._trace_id, 32),
                0 if self._whole_trace else _id(self._span_id, 16),
                is_remote=False,
                # A caller that has the id has seen the trace, so it was sampled.
                trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
            )
            here = current.get_span_context()
            # A span event can describe only the trace of its own span.
            same = about.trace_id == here.trace_id and about.span_id in {0, here.span_id}
            return about, current if same else None
        given = current if self._span is None else self._span
        span = given if isinstance(given, trace.Span) else None
        about = given.get_span_context() if isinstance(given, trace.Span) else given
        if self._whole_trace:
            about = trace.SpanContext(
                about.trace_id, 0, is_remote=about.is_remote, trace_flags=about.trace_flags
            )
        return about, span


def _log(
    kind: str,
    name: str,
    value: object,
    *,
    error: BaseException | str | None,
    rationale: str | None,
    metadata: Mapping[str, object] | None,
    source_type: str,
    source_id: str | None,
    target: _Target,
    session: str | None,
    overrides: str | None,
    assessment_id: str | None,
) -> str:
    made = assessment_id or "a-" + os.urandom(16).hex()
    with guest.shield(f"logging {kind}"):
        about, span = target.resolve()
        if not about.trace_id:
            guest.debug("no span is open for the %s %r", kind, name)
            return made
        if error is None and value is None:
            raise ValueError(f"the {kind} {name!r} needs a value or an error")
        kept = dict(metadata or {})
        if session:
            kept[_SESSION_KEY] = session
        attributes: dict[str, object] = {
            semconv.GEN_AI_EVALUATION_NAME: name,
            semconv.VTRACK_ASSESSMENT_ID: made,
            semconv.VTRACK_ASSESSMENT_TYPE: kind,
            **(_value(value) if error is None else _error(error)),
            semconv.GEN_AI_EVALUATION_EXPLANATION: rationale,
            semconv.VTRACK_ASSESSMENT_SOURCE_TYPE: source_type,
            semconv.VTRACK_ASSESSMENT_SOURCE_ID: source_id,
            semconv.VTRACK_ASSESSMENT_OVERRIDES: overrides,
            semconv.VTRACK_ASSESSMENT_METADATA: json.dumps(
                {str(key): text(item) for key, item in kept.items() if item is not None}
            )
            if kept
            else None,
        }
        events.emit(semconv.GEN_AI_EVALUATION_RESULT, clean_all(attributes), about, span)
    return made


def _value(value: Any) -> dict[str, object]:
    """Encode a value by the conventions where they apply, and exactly in our own attribute."""
    if isinstance(value, Enum):
        value = value.value
    # NumPy and tensor scalars are not Python numbers, and arrays of them not lists.
    if not isinstance(value, Mapping):
        plain = getattr(value, "tolist", None) or getattr(value, "item", None)
        value = plain() if plain else value
    told: dict[str, object] = {}
    if isinstance(value, bool):
        told[semconv.GEN_AI_EVALUATION_SCORE_VALUE] = 1.0 if value else 0.0
        told[semconv.GEN_AI_EVALUATION_SCORE_LABEL] = "pass" if value else "fail"
    elif isinstance(value, int | float):
        told[semconv.GEN_AI_EVALUATION_SCORE_VALUE] = float(value)
        if not math.isfinite(value):
            return told  # JSON cannot represent it
    elif isinstance(value, str):
        told[semconv.GEN_AI_EVALUATION_SCORE_LABEL] = value
    elif isinstance(value, set | frozenset):
        value = sorted(value, key=str)
    elif isinstance(value, Mapping):
        value = dict(value)
    told[semconv.VTRACK_ASSESSMENT_VALUE] = json.dumps(value, default=str, allow_nan=False)
    return told


def _error(error: BaseException | str) -> dict[str, object]:
    if isinstance(error, str):
        return {semconv.ERROR_TYPE: error}
    stack = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return {
        semconv.ERROR_TYPE: type(error).__name__,
        semconv.VTRACK_ASSESSMENT_ERROR_MESSAGE: str(error),
        semconv.VTRACK_ASSESSMENT_STACK_TRACE: stack[-LONGEST_STACK_TRACE:],
    }


def _id(value: str | int | None, digits: int) -> int:
    """Parse an id; accepts MLflow's trace ids, `tr-` and digits, too."""
    if value is None:
        return 0
    number = value if isinstance(value, int) else int(value.strip().removeprefix("tr-"), 16)
    if not 0 < number < 1 << (4 * digits):
        raise ValueError(f"{value!r} is not an id of {digits} hexadecimal digits")
    return number


def text(value: object) -> str:
    """Format a value as MLflow stores metadata and tag values."""
    cleaned = clean(value)
    if isinstance(cleaned, bool):
        return "true" if cleaned else "false"
    return json.dumps(cleaned) if isinstance(cleaned, tuple) else str(cleaned)
