"""AssessmentService."""

import json
from typing import Any, Final, cast

from google.protobuf.struct_pb2 import Value

from otel_vtrack.api import messages
from otel_vtrack.api.service import Backend, Service
from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import assessments as found
from otel_vtrack.query import experiments
from otel_vtrack.record import assessments as record
from otel_vtrack.v1 import assessments_pb2 as pb

# Protobuf parses at most 100 nested messages, and each level of nested structs takes three.
_DEEPEST: Final = 25


def message(assessment: found.Assessment) -> pb.Assessment:
    """Convert an assessment to its message."""
    made = pb.Assessment(
        assessment_id=assessment.assessment_id,
        trace_id=assessment.trace_id,
        span_id=assessment.span_id,
        experiment=assessment.experiment,
        session_id=assessment.session_id,
        assessment_name=assessment.assessment_name,
        assessment_type=cast("pb.AssessmentType.ValueType", int(assessment.assessment_type)),
        rationale=assessment.rationale,
        metadata=assessment.metadata,
        source_type=cast("pb.SourceType.ValueType", int(assessment.source_type)),
        source_id=assessment.source_id,
        create_time=messages.timestamp(assessment.create_time_ns),
        last_update_time=messages.timestamp(assessment.last_update_time_ns),
        overrides=assessment.overrides,
        valid=assessment.valid,
    )
    if assessment.error is not None:
        made.error.CopyFrom(
            pb.AssessmentError(
                error_code=assessment.error.error_code,
                error_message=assessment.error.error_message,
                stack_trace=assessment.error.stack_trace,
            )
        )
    elif assessment.value is not None:
        made.value.CopyFrom(_value(assessment.value))
    return made


def _value(text: str) -> Value:
    value = Value()
    try:
        _fill(value, json.loads(text), _DEEPEST)
    except (ValueError, OverflowError, RecursionError):
        # Too deeply nested: return it as text, to preserve it in full.
        value.string_value = text
    return value


def _fill(value: Value, content: Any, deepest: int) -> None:
    if not deepest:
        raise ValueError("too deep")
    match content:
        case None:
            value.null_value = 0  # pyright: ignore[reportAttributeAccessIssue]
        case bool():
            value.bool_value = content
        case int() if not messages.is_double(content):
            value.string_value = str(content)  # Preserve every digit.
        case int() | float():
            value.number_value = float(content)
        case str():
            value.string_value = content
        case list():
            value.list_value.SetInParent()
            for item in cast("list[Any]", content):
                _fill(value.list_value.values.add(), item, deepest - 1)
        case _:
            value.struct_value.SetInParent()
            for key, item in cast("dict[str, Any]", content).items():
                _fill(value.struct_value.fields[key], item, deepest - 1)


def _text(value: Value) -> str:
    if value.WhichOneof("kind") is None:
        raise InvalidArgument("value is empty: write null for no value")
    return record.json_text(_content(value))


def _content(value: Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "list_value":
        return [_content(item) for item in value.list_value.values]
    if kind == "struct_value":
        return {key: _content(item) for key, item in value.struct_value.fields.items()}
    return None if kind is None or kind == "null_value" else getattr(value, kind)


def _outcome(request: Any) -> tuple[str | None, found.AssessmentError | None]:
    """Read the value and error of a message that may have either."""
    value = _text(request.value) if request.HasField("value") else None
    if not request.HasField("error"):
        return value, None
    given = request.error
    return value, found.AssessmentError(given.error_code, given.error_message, given.stack_trace)


def _create(backend: Backend, request: pb.CreateAssessmentRequest) -> pb.CreateAssessmentResponse:
    given = request.assessment
    if given.assessment_type not in pb.AssessmentType.values():
        raise InvalidArgument("assessment_type is not an AssessmentType: leave it out for feedback")
    if given.source_type not in pb.SourceType.values():
        raise InvalidArgument("source_type is not a SourceType: leave it out for code")
    value, error = _outcome(given)
    made = record.create(
        backend.store,
        record.NewAssessment(
            trace_id=given.trace_id,
            assessment_name=given.assessment_name,
            assessment_type=found.AssessmentType(given.assessment_type or 1),
            value=value,
            error=error,
            rationale=given.rationale,
            metadata=dict(given.metadata),
            source_type=found.SourceType(given.source_type),
            source_id=given.source_id,
            span_id=given.span_id,
            session_id=given.session_id,
            overrides=given.overrides,
            assessment_id=given.assessment_id,
            experiment=experiments.resolve(backend.store, given.experiment),
        ),
    )
    return pb.CreateAssessmentResponse(assessment=message(made))


def _get(backend: Backend, request: pb.GetAssessmentRequest) -> pb.GetAssessmentResponse:
    return pb.GetAssessmentResponse(
        assessment=message(found.get(backend.store, request.assessment_id))
    )


def _search(backend: Backend, request: pb.SearchAssessmentsRequest) -> pb.SearchAssessmentsResponse:
    page = found.search(
        backend.store,
        request.filter,
        request.order_by,
        page_size=request.page_size,
        page_token=request.page_token,
    )
    return pb.SearchAssessmentsResponse(
        assessments=[message(each) for each in page.assessments],
        next_page_token=page.next_page_token,
    )


def _update(backend: Backend, request: pb.UpdateAssessmentRequest) -> pb.UpdateAssessmentResponse:
    value, error = _outcome(request)
    now = record.update(
        backend.store,
        request.assessment_id,
        assessment_name=request.assessment_name if request.HasField("assessment_name") else None,
        value=value,
        error=error,
        rationale=request.rationale if request.HasField("rationale") else None,
        metadata=dict(request.metadata),
    )
    return pb.UpdateAssessmentResponse(assessment=message(now))


def _delete(backend: Backend, request: pb.DeleteAssessmentRequest) -> pb.DeleteAssessmentResponse:
    record.delete(backend.store, request.assessment_id)
    return pb.DeleteAssessmentResponse()


def _changes(
    backend: Backend, request: pb.ListAssessmentChangesRequest
) -> pb.ListAssessmentChangesResponse:
    return pb.ListAssessmentChangesResponse(
        changes=[
            pb.AssessmentChange(
                change_time=messages.timestamp(change.change_time_ns),
                operation=cast("pb.AssessmentOperation.ValueType", int(change.operation)),
                assessment=message(change.assessment),
            )
            for change in found.history(backend.store, request.assessment_id)
        ]
    )


SERVICE = Service(
    pb.DESCRIPTOR,
    "AssessmentService",
    {
        "CreateAssessment": _create,
        "GetAssessment": _get,
        "SearchAssessments": _search,
        "UpdateAssessment": _update,
        "DeleteAssessment": _delete,
        "ListAssessmentChanges": _changes,
    },
)
