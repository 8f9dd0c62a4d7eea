"""AnalysisService."""

from otel_vtrack.analysis import compare
from otel_vtrack.api import messages
from otel_vtrack.api.service import Backend, Service, moment
from otel_vtrack.errors import InvalidArgument
from otel_vtrack.v1 import analysis_pb2


def _compare_versions(
    backend: Backend, request: analysis_pb2.CompareVersionsRequest
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
        start_time_from_ns=moment(request, "start_time_from"),
        start_time_until_ns=moment(request, "start_time_until"),
        metrics=[compare.Metric(metric) for metric in request.metrics],
        max_traces=request.max_traces,
    )
    return analysis_pb2.CompareVersionsResponse(
        comparison=messages.comparison(compare.compare(backend.store, question))
    )


SERVICE = Service(
    analysis_pb2.DESCRIPTOR, "AnalysisService", {"CompareVersions": _compare_versions}
)
