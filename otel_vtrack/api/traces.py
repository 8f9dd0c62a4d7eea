"""TraceService."""

from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from otel_vtrack.api import assessments, messages
from otel_vtrack.api.service import Backend, Service, moment, nanoseconds
from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import experiments, trace_search, traces
from otel_vtrack.record import deletion, trace_tags
from otel_vtrack.v1 import traces_pb2

_SECOND: Final = 1_000_000_000


def _search_traces(
    backend: Backend, request: traces_pb2.SearchTracesRequest
) -> traces_pb2.SearchTracesResponse:
    page = trace_search.search(
        backend.store,
        experiment=experiments.resolve(backend.store, request.experiment),
        text=request.filter,
        order_by=list(request.order_by),
        page_size=request.page_size,
        page_token=request.page_token,
        table=backend.prices,
    )
    return traces_pb2.SearchTracesResponse(
        traces=[_info(found) for found in page.traces],
        next_page_token=page.next_page_token,
    )


def _count_traces(
    backend: Backend, request: traces_pb2.CountTracesRequest
) -> traces_pb2.CountTracesResponse:
    experiment = experiments.resolve(backend.store, request.experiment)
    return traces_pb2.CountTracesResponse(
        trace_count=trace_search.count(
            backend.store, experiment=experiment, text=request.filter, table=backend.prices
        )
    )


def _get_trace_histogram(
    backend: Backend, request: traces_pb2.GetTraceHistogramRequest
) -> traces_pb2.GetTraceHistogramResponse:
    width = nanoseconds(request.width, name="width")
    if width % _SECOND or width < 0:
        raise InvalidArgument("width must be in whole seconds, from 1 up, or 0 for a suitable one")
    found = trace_search.histogram(
        backend.store,
        experiment=experiments.resolve(backend.store, request.experiment),
        text=request.filter,
        width_s=width // _SECOND,
        table=backend.prices,
    )
    return traces_pb2.GetTraceHistogramResponse(
        width=Duration(seconds=found.width_s),
        buckets=[
            traces_pb2.TraceHistogramBucket(
                start_time=Timestamp(seconds=each.start_s),
                trace_count=each.trace_count,
                error_count=each.error_count,
            )
            for each in found.buckets
        ],
    )


def _get_trace(
    backend: Backend, request: traces_pb2.GetTraceRequest
) -> traces_pb2.GetTraceResponse:
    found = traces.get(backend.store, request.trace_id, backend.prices, backend.minute_of)
    return traces_pb2.GetTraceResponse(
        traces=[_info(info) for info in found.infos],
        otlp=found.otlp.SerializeToString(),
    )


def _info(found: traces.TraceInfo) -> traces_pb2.TraceInfo:
    message = messages.trace_info(found)
    message.assessments.extend(assessments.message(each) for each in found.assessments)
    return message


def _set_trace_tag(
    backend: Backend, request: traces_pb2.SetTraceTagRequest
) -> traces_pb2.SetTraceTagResponse:
    trace_tags.set_tag(backend.store, request.trace_id, request.key, request.value)
    return traces_pb2.SetTraceTagResponse()


def _delete_trace_tag(
    backend: Backend, request: traces_pb2.DeleteTraceTagRequest
) -> traces_pb2.DeleteTraceTagResponse:
    trace_tags.delete_tag(backend.store, request.trace_id, request.key)
    return traces_pb2.DeleteTraceTagResponse()


def _delete_traces(
    backend: Backend, request: traces_pb2.DeleteTracesRequest
) -> traces_pb2.DeleteTracesResponse:
    until = moment(request, "start_time_until")
    if request.trace_ids:
        if request.experiment or until is not None:
            raise InvalidArgument(
                "traces are deleted by trace_ids, or by experiment and start_time_until: leave"
                " one out"
            )
        count = deletion.delete_traces(backend.store, request.trace_ids, dry_run=request.dry_run)
    elif until is None:
        raise InvalidArgument(
            "say which traces to delete: by trace_ids, or by experiment and start_time_until"
        )
    else:
        count = deletion.delete_traces_before(
            backend.store, request.experiment, until, dry_run=request.dry_run
        )
    return traces_pb2.DeleteTracesResponse(trace_count=count)


SERVICE = Service(
    traces_pb2.DESCRIPTOR,
    "TraceService",
    {
        "SearchTraces": _search_traces,
        "CountTraces": _count_traces,
        "GetTraceHistogram": _get_trace_histogram,
        "GetTrace": _get_trace,
        "SetTraceTag": _set_trace_tag,
        "DeleteTraceTag": _delete_trace_tag,
        "DeleteTraces": _delete_traces,
    },
)
