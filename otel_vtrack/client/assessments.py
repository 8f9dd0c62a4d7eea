"""Calls that find, record and change assessments."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import uuid4

from google.protobuf.message import Message

from otel_vtrack.client import filters
from otel_vtrack.client.call import Call, Pages, nothing, once, repeatable
from otel_vtrack.client.results import Records
from otel_vtrack.client.values import UNSET, choice, listed, to_value
from otel_vtrack.v1 import assessments_pb2 as pb


def create_assessment(
    trace_id: str,
    assessment_name: str,
    value: Any = UNSET,
    *,
    assessment_type: "str | pb.AssessmentType.ValueType" = "feedback",
    error: "pb.AssessmentError | Exception | None" = None,
    rationale: str = "",
    metadata: Mapping[str, str] | None = None,
    source_type: "str | pb.SourceType.ValueType | None" = None,
    source_id: str = "",
    span_id: str = "",
    session_id: str = "",
    overrides: str = "",
    assessment_id: str = "",
    timeout: float | None = None,
) -> Call[pb.Assessment]:
    """Record a judgement of a trace, or what was expected of it.

    Retries are safe: however often the client has to send it, it is recorded once.

    Args:
        trace_id: The trace, with or without the prefix `tr-`.
        assessment_name: What is assessed, such as `relevance`.
        value: Number, boolean, string, None, list or mapping. Omit it if there is an error.
        assessment_type: `feedback` or `expectation`.
        error: Why there is no value; may be an exception.
        rationale: Why this value.
        metadata: Additional data to store.
        source_type: `human`, `llm_judge` or `code`; `code` by default.
        source_id: Which person, model or program.
        span_id: The assessed span, if not the whole trace.
        session_id: The session, if the assessment is about a whole session.
        overrides: ID of the assessment it replaces.
        assessment_id: Its ID; generated if omitted. An ID that is taken is rejected.
        timeout: Seconds for all attempts; None for the client's default.
    """
    assessment = pb.Assessment(
        # Generated here, so that the server can tell a retry from a second assessment.
        assessment_id=assessment_id or f"a-{uuid4().hex}",
        trace_id=trace_id,
        span_id=span_id,
        session_id=session_id,
        assessment_name=assessment_name,
        assessment_type=choice(pb.AssessmentType, assessment_type),
        value=None if value is UNSET else to_value(value),
        error=_error(error),
        rationale=rationale,
        metadata=metadata,
        source_type=choice(pb.SourceType, source_type),
        source_id=source_id,
        overrides=overrides,
    )
    return Call(
        method="AssessmentService/CreateAssessment",
        request=pb.CreateAssessmentRequest(assessment=assessment),
        response=pb.CreateAssessmentResponse,
        read=_assessment,
        # An ID chosen by the caller may belong to another assessment. After a retry,
        # ALREADY_EXISTS could mean either that or that the first attempt succeeded.
        repeatable=not assessment_id,
        timeout=timeout,
        if_exists=None if assessment_id else get_assessment(assessment.assessment_id),
    )


def get_assessment(assessment_id: str, *, timeout: float | None = None) -> Call[pb.Assessment]:
    """Return an assessment."""
    return repeatable(
        "AssessmentService/GetAssessment",
        pb.GetAssessmentRequest(assessment_id=assessment_id),
        pb.GetAssessmentResponse,
        _assessment,
        timeout,
    )


def search_assessments(
    filter: str = "",  # noqa: A002 - as in the protos
    *,
    trace_id: str = "",
    assessment_name: str = "",
    assessment_type: str = "",
    source_type: str = "",
    source_id: str = "",
    session_id: str = "",
    order_by: Iterable[str] = (),
    limit: int | None = None,
    page_size: int = 0,
    timeout: float | None = None,
) -> Pages[pb.Assessment]:
    """Find assessments, newest first unless `order_by` is given.

    The filter, in the search language, and all other conditions must hold; empty ones do not
    filter. `assessment_type` is `feedback` or `expectation`, `source_type` is `human`, `llm_judge`
    or `code`, and `session_id` finds assessments of the session as a whole.
    """
    composed = filters.composed(
        filter,
        {
            "trace_id": trace_id,
            "assessment_name": assessment_name,
            "assessment_type": assessment_type.upper(),
            "source_type": source_type.upper(),
            "source_id": source_id,
            "session_id": session_id,
        },
    )
    return Pages(
        method="AssessmentService/SearchAssessments",
        request=pb.SearchAssessmentsRequest(
            filter=composed, order_by=listed(order_by), page_size=page_size
        ),
        response=pb.SearchAssessmentsResponse,
        item=pb.Assessment,
        field="assessments",
        limit=limit,
        timeout=timeout,
    )


def update_assessment(
    assessment_id: str,
    *,
    assessment_name: str | None = None,
    value: Any = UNSET,
    error: "pb.AssessmentError | Exception | None" = None,
    rationale: str | None = None,
    metadata: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> Call[pb.Assessment]:
    """Change an assessment; omitted fields stay unchanged, and metadata is merged."""
    return once(
        "AssessmentService/UpdateAssessment",
        pb.UpdateAssessmentRequest(
            assessment_id=assessment_id,
            assessment_name=assessment_name,
            value=None if value is UNSET else to_value(value),
            error=_error(error),
            rationale=rationale,
            metadata=metadata,
        ),
        pb.UpdateAssessmentResponse,
        _assessment,
        timeout,
    )


def delete_assessment(assessment_id: str, *, timeout: float | None = None) -> Call[None]:
    """Delete an assessment, if it exists; what it overrode becomes valid again."""
    return repeatable(
        "AssessmentService/DeleteAssessment",
        pb.DeleteAssessmentRequest(assessment_id=assessment_id),
        pb.DeleteAssessmentResponse,
        nothing,
        timeout,
    )


def list_assessment_changes(
    assessment_id: str, *, timeout: float | None = None
) -> Call[Records[pb.AssessmentChange]]:
    """List every change of an assessment, even a deleted one, oldest first."""
    return repeatable(
        "AssessmentService/ListAssessmentChanges",
        pb.ListAssessmentChangesRequest(assessment_id=assessment_id),
        pb.ListAssessmentChangesResponse,
        lambda answer: Records(pb.AssessmentChange, answer.changes),
        timeout,
    )


def _assessment(answer: Message) -> pb.Assessment:
    return answer.assessment  # pyright: ignore[reportAttributeAccessIssue]


def _error(error: "pb.AssessmentError | Exception | None") -> pb.AssessmentError | None:
    if isinstance(error, Exception):
        return pb.AssessmentError(error_code=type(error).__name__, error_message=str(error))
    return error
