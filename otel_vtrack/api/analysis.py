"""AnalysisService."""

from dataclasses import replace
from typing import Any

from otel_vtrack.analysis import compare, differences
from otel_vtrack.analysis.metrics import Direction, MetricQuery
from otel_vtrack.api import messages
from otel_vtrack.api.service import Backend, Service, moment
from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import versions
from otel_vtrack.v1 import analysis_pb2


def _compare_versions(
    backend: Backend, request: analysis_pb2.CompareVersionsRequest
) -> analysis_pb2.CompareVersionsResponse:
    known = {int(direction) for direction in Direction}
    if any(each.direction not in known for each in request.metrics):
        raise InvalidArgument("metrics has an unknown direction: write LESS or MORE")
    question = replace(
        _question(backend, request),
        metrics=[_metric(each) for each in request.metrics],
        filter=request.filter,
        group_by=list(request.group_by),
        stratify_by=list(request.stratify_by),
        baseline_start_time_from_ns=moment(request, "baseline_start_time_from"),
        baseline_start_time_until_ns=moment(request, "baseline_start_time_until"),
    )
    found = compare.compare(backend.store, question, backend.prices)
    return analysis_pb2.CompareVersionsResponse(comparison=messages.comparison(found))


def _list_differences(
    backend: Backend, request: analysis_pb2.ListDifferencesRequest
) -> analysis_pb2.ListDifferencesResponse:
    known = {int(kind) for kind in differences.Kind}
    if not known.issuperset(request.kinds):
        raise InvalidArgument("kinds has an unknown DifferenceKind: leave kinds out for all")
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


def _metric(asked: analysis_pb2.MetricQuery) -> MetricQuery:
    changes = [
        getattr(asked, name) if asked.HasField(name) else None
        for name in ("smallest_relative_change", "smallest_absolute_change")
    ]
    return MetricQuery(asked.metric, Direction(asked.direction), *changes)


def _question(backend: Backend, request: Any) -> compare.Question:
    """Read the fields that both requests share."""
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
        # An alias determines the experiment.
        experiment=baseline.experiment or candidate.experiment,
        service_name=request.service_name,
        environment=request.environment,
        start_time_from_ns=moment(request, "start_time_from"),
        start_time_until_ns=moment(request, "start_time_until"),
        max_traces=request.max_traces,
    )


SERVICE = Service(
    analysis_pb2.DESCRIPTOR,
    "AnalysisService",
    {"CompareVersions": _compare_versions, "ListDifferences": _list_differences},
)
