"""The services: each call is one query."""

from collections.abc import Callable
from typing import Any, TypeVar

import grpc

from otel_vtrack.analysis import compare
from otel_vtrack.api import messages
from otel_vtrack.api.status import status_of
from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import traces, versions
from otel_vtrack.store.client import Store
from otel_vtrack.v1 import (
    analysis_pb2,
    analysis_pb2_grpc,
    traces_pb2,
    traces_pb2_grpc,
    versions_pb2,
    versions_pb2_grpc,
)

_Answer = TypeVar("_Answer")


class _Service:
    # Plain functions and not coroutines, since the store blocks: the server runs these in threads.

    def __init__(self, store: Store) -> None:
        self._store = store

    def _run(self, context: Any, answer: Callable[[Store, Any], _Answer], request: Any) -> _Answer:
        left = context.time_remaining()
        if left is not None and left <= 0:
            # Nobody waits any more: it stood in the queue for too long.
            code = grpc.StatusCode.DEADLINE_EXCEEDED
            context.abort(code, "the server was too busy to begin in time; ask again later")
        try:
            return answer(self._store, request)
        except Exception as error:
            context.abort(*status_of(error))
            raise


class VersionService(_Service, versions_pb2_grpc.VersionServiceServicer):
    """Answers questions about versions."""

    def ListVersions(  # noqa: N802 - named by the proto
        self, request: versions_pb2.ListVersionsRequest, context: Any
    ) -> versions_pb2.ListVersionsResponse:
        """List versions."""
        return self._run(context, _list_versions, request)


class TraceService(_Service, traces_pb2_grpc.TraceServiceServicer):
    """Finds and gives traces."""

    def SearchTraces(  # noqa: N802
        self, request: traces_pb2.SearchTracesRequest, context: Any
    ) -> traces_pb2.SearchTracesResponse:
        """Find traces."""
        return self._run(context, _search_traces, request)

    def GetTrace(  # noqa: N802
        self, request: traces_pb2.GetTraceRequest, context: Any
    ) -> traces_pb2.GetTraceResponse:
        """Give one trace whole."""
        return self._run(context, _get_trace, request)


class AnalysisService(_Service, analysis_pb2_grpc.AnalysisServiceServicer):
    """Compares versions."""

    def CompareVersions(  # noqa: N802
        self, request: analysis_pb2.CompareVersionsRequest, context: Any
    ) -> analysis_pb2.CompareVersionsResponse:
        """Compare two versions."""
        return self._run(context, _compare_versions, request)


def _list_versions(
    store: Store, request: versions_pb2.ListVersionsRequest
) -> versions_pb2.ListVersionsResponse:
    page = versions.search(
        store,
        experiment=request.experiment,
        service_name=request.service_name,
        environment=request.environment,
        page_size=request.page_size,
        page_token=request.page_token,
    )
    return versions_pb2.ListVersionsResponse(
        versions=[messages.version(found) for found in page.versions],
        next_page_token=page.next_page_token,
    )


def _search_traces(
    store: Store, request: traces_pb2.SearchTracesRequest
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
        start_time_from_ns=_time(request, "start_time_from"),
        start_time_until_ns=_time(request, "start_time_until"),
        min_duration_ns=messages.nanoseconds(request.min_duration, name="min_duration"),
    )
    page = traces.search(store, where, page_size=request.page_size, page_token=request.page_token)
    return traces_pb2.SearchTracesResponse(
        traces=[messages.trace_info(found) for found in page.traces],
        next_page_token=page.next_page_token,
    )


def _get_trace(store: Store, request: traces_pb2.GetTraceRequest) -> traces_pb2.GetTraceResponse:
    found = traces.get(store, request.trace_id)
    return traces_pb2.GetTraceResponse(
        traces=[messages.trace_info(info) for info in found.infos],
        otlp=found.otlp.SerializeToString(),
    )


def _compare_versions(
    store: Store, request: analysis_pb2.CompareVersionsRequest
) -> analysis_pb2.CompareVersionsResponse:
    known = {int(metric) for metric in compare.Metric}
    if not known.issuperset(request.metrics):
        raise InvalidArgument("metrics has one that is no Metric; leave it out for all of them")
    question = compare.Question(
        baseline_version=request.baseline_version,
        candidate_version=request.candidate_version,
        experiment=request.experiment,
        service_name=request.service_name,
        environment=request.environment,
        start_time_from_ns=_time(request, "start_time_from"),
        start_time_until_ns=_time(request, "start_time_until"),
        metrics=[compare.Metric(metric) for metric in request.metrics],
        max_traces=request.max_traces,
    )
    return analysis_pb2.CompareVersionsResponse(
        comparison=messages.comparison(compare.compare(store, question))
    )


def _time(request: Any, name: str) -> int | None:
    if not request.HasField(name):
        return None
    return messages.nanoseconds(getattr(request, name), name=name)
