"""Questions about assessments, and how to make and change them."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import uuid4

from google.protobuf.message import Message

from otel_vtrack.client import filters
from otel_vtrack.client.call import Call, Pages, nothing, once, repeatable
from otel_vtrack.client.results import Records
from otel_vtrack.client.values import UNSET, choice, to_value
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

    Retries are safe: it is recorded once, however often the network makes the client send it.

    Args:
        trace_id: The trace, with or without `tr-` before it.
        assessment_name: What is assessed, as in `relevance`.
        value: Number, boolean, string, None, list or mapping. Left out if there is an error.
        assessment_type: `feedback` or `expectation`.
        error: Why there is no value; an exception will do.
        rationale: Why this value.
        metadata: Whatever else to store with it.
        source_type: `human`, `llm_judge` or `code`; `code` by default.
        source_id: Which person, model or program.
        span_id: The span it is about, if not the whole trace.
        session_id: The session, if it is about a whole session.
        overrides: Id of the assessment it replaces.
        assessment_id: Its id; made up if left out. An id that is taken is refused.
        timeout: Seconds for all attempts; None for the client's own.
    """
    assessment = pb.Assessment(
        # Made here, so that the server knows a repeated call from a second assessment.
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
        # An id of the caller's may be taken by another assessment, which a repeated call would
        # not be told from.
        repeatable=not assessment_id,
        timeout=timeout,
        if_exists=None if assessment_id else get_assessment(assessment.assessment_id),
    )


def get_assessment(assessment_id: str, *, timeout: float | None = None) -> Call[pb.Assessment]:
    """Return one assessment."""
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
    """Find assessments, newest first unless asked otherwise.

    The filter, in the search language, and all other conditions must hold.
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
            filter=composed, order_by=order_by, page_size=page_size
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
    """Change an assessment; only what is given changes, and metadata is added to."""
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
