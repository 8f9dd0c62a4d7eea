"""AnalysisService."""

from otel_vtrack.analysis import compare
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
    baseline, candidate = (
        versions.named_by(
            backend.store,
            text,
            experiment=request.experiment,
            service_name=request.service_name,
        )
        for text in (request.baseline_version, request.candidate_version)
    )
    question = compare.Question(
        baseline_version=baseline.version,
        candidate_version=candidate.version,
        # An alias says whose it is.
        experiment=baseline.experiment or candidate.experiment,
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
