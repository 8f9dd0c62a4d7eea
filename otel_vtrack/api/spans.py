"""SpanService."""

from typing import Final, cast

from google.protobuf.duration_pb2 import Duration

from otel_vtrack.api.messages import timestamp
from otel_vtrack.api.service import Backend, Service
from otel_vtrack.query import experiments, spans
from otel_vtrack.v1 import spans_pb2

_SECOND: Final = 1_000_000_000


def span(found: spans.Span) -> spans_pb2.Span:
    """Convert a span to its message."""
    sign = -1 if found.duration_ns < 0 else 1
    seconds, nanos = divmod(abs(found.duration_ns), _SECOND)
    status = found.status if found.status in spans_pb2.SpanStatus.values() else 0
    return spans_pb2.Span(
        trace_id=found.trace_id,
        span_id=found.span_id,
        parent_span_id=found.parent_span_id,
        experiment=found.experiment,
        name=found.name,
        type=found.type,
        kind=found.kind,
        status=cast("spans_pb2.SpanStatus.ValueType", status),
        status_message=found.status_message,
        start_time=timestamp(found.start_time_ns),
        duration=Duration(seconds=sign * seconds, nanos=sign * nanos),
        service_name=found.service_name,
        version=found.version,
        environment=found.environment,
        deployment_id=found.deployment_id,
        otlp=found.otlp,
    )


def _search_spans(
    backend: Backend, request: spans_pb2.SearchSpansRequest
) -> spans_pb2.SearchSpansResponse:
    page = spans.search(
        backend.store,
        experiment=experiments.resolve(backend.store, request.experiment),
        text=request.filter,
        order_by=list(request.order_by),
        page_size=request.page_size,
        page_token=request.page_token,
        omit_otlp=request.omit_otlp,
        table=backend.prices,
    )
    return spans_pb2.SearchSpansResponse(
        spans=[span(found) for found in page.spans], next_page_token=page.next_page_token
    )


SERVICE = Service(spans_pb2.DESCRIPTOR, "SpanService", {"SearchSpans": _search_spans})
