"""AnalysisService."""

from typing import Any

from otel_vtrack.analysis import compare, differences
from otel_vtrack.api import messages
from otel_vtrack.api.service import Backend, Service, moment
from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import versions
from otel_vtrack.v1 import analysis_pb2


def _compare_versions(
    backend: Backend, request: analysis_pb2.CompareVersionsRequest
) -> analysis_pb2.CompareVersionsResponse:
    known = {int(metric) for metric in compare.Metric}
    if not known.issuperset(request.metrics):
        raise InvalidArgument("metrics has one that is no Metric; leave it out for all of them")
    metrics = [compare.Metric(metric) for metric in request.metrics]
    found = compare.compare(backend.store, _question(backend, request, metrics=metrics))
    return analysis_pb2.CompareVersionsResponse(comparison=messages.comparison(found))


def _list_differences(
    backend: Backend, request: analysis_pb2.ListDifferencesRequest
) -> analysis_pb2.ListDifferencesResponse:
    known = {int(kind) for kind in differences.Kind}
    if not known.issuperset(request.kinds):
        raise InvalidArgument("kinds has one that is no DifferenceKind; leave it out for all")
    kinds = [differences.Kind(kind) for kind in request.kinds]
    found = differences.find(backend.store, _question(backend, request), kinds)
    return analysis_pb2.ListDifferencesResponse(
        experiment=found.experiment,
        baseline_trace_count=found.baseline_trace_count,
        candidate_trace_count=found.candidate_trace_count,
        differences=[messages.difference(each) for each in found.differences],
        sampled_one_in=found.sampled_one_in,
        tested_count=found.tested_count,
    )


def _question(
    backend: Backend, request: Any, *, metrics: list[compare.Metric] | None = None
) -> compare.Question:
    """Read what both requests have in common."""
    baseline, candidate = (
        versions.named_by(
            backend.store,
            text,
            experiment=request.experiment,
            service_name=request.service_name,
        )
        for text in (request.baseline_version, request.candidate_version)
    )
    return compare.Question(
        baseline_version=baseline.version,
        candidate_version=candidate.version,
        # An alias says whose it is.
        experiment=baseline.experiment or candidate.experiment,
        service_name=request.service_name,
        environment=request.environment,
        start_time_from_ns=moment(request, "start_time_from"),
        start_time_until_ns=moment(request, "start_time_until"),
        metrics=metrics or [],
        max_traces=request.max_traces,
    )


SERVICE = Service(
    analysis_pb2.DESCRIPTOR,
    "AnalysisService",
    {"CompareVersions": _compare_versions, "ListDifferences": _list_differences},
)
