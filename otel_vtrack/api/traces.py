"""TraceService."""

from otel_vtrack.api import assessments, messages
from otel_vtrack.api.service import Backend, Service, moment, nanoseconds
from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import traces
from otel_vtrack.v1 import traces_pb2


def _search_traces(
    backend: Backend, request: traces_pb2.SearchTracesRequest
) -> traces_pb2.SearchTracesResponse:
    if request.state not in traces_pb2.TraceState.values():
        raise InvalidArgument("state is none of TraceState; leave it out for any")
    where = traces.Filter(
        experiment=request.experiment,
        service_name=request.service_name,
        version=request.version,
        environment=request.environment,
        deployment_id=request.deployment_id,
        state=int(request.state),
        session_id=request.session_id,
        user_id=request.user_id,
        name=request.name,
        start_time_from_ns=moment(request, "start_time_from"),
        start_time_until_ns=moment(request, "start_time_until"),
        min_duration_ns=nanoseconds(request.min_duration, name="min_duration"),
    )
    page = traces.search(
        backend.store, where, page_size=request.page_size, page_token=request.page_token
    )
    return traces_pb2.SearchTracesResponse(
        traces=[_info(found) for found in page.traces],
        next_page_token=page.next_page_token,
    )


def _get_trace(
    backend: Backend, request: traces_pb2.GetTraceRequest
) -> traces_pb2.GetTraceResponse:
    found = traces.get(backend.store, request.trace_id)
    return traces_pb2.GetTraceResponse(
        traces=[_info(info) for info in found.infos],
        otlp=found.otlp.SerializeToString(),
    )


def _info(found: traces.TraceInfo) -> traces_pb2.TraceInfo:
    message = messages.trace_info(found)
    message.assessments.extend(assessments.message(each) for each in found.assessments)
    return message


SERVICE = Service(
    traces_pb2.DESCRIPTOR,
    "TraceService",
    {"SearchTraces": _search_traces, "GetTrace": _get_trace},
)
