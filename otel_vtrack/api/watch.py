"""WatchService."""

from otel_vtrack.analysis.watching import Look, WatchedMetric
from otel_vtrack.api import messages
from otel_vtrack.api.service import Backend, Service, moment
from otel_vtrack.query import experiments, watch
from otel_vtrack.v1 import analysis_pb2, watch_pb2


def _list_watch_events(
    backend: Backend, request: watch_pb2.ListWatchEventsRequest
) -> watch_pb2.ListWatchEventsResponse:
    page = watch.search(
        backend.store,
        experiment=request.experiment,
        service_name=request.service_name,
        environment=request.environment,
        version=request.version,
        from_ns=moment(request, "event_time_from"),
        until_ns=moment(request, "event_time_until"),
        page_size=request.page_size,
        page_token=request.page_token,
    )
    return watch_pb2.ListWatchEventsResponse(
        events=[_event(each) for each in page.events], next_page_token=page.next_page_token
    )


def _list_watched_deployments(
    backend: Backend, request: watch_pb2.ListWatchedDeploymentsRequest
) -> watch_pb2.ListWatchedDeploymentsResponse:
    board = backend.watched()
    wanted = {
        "experiment": experiments.resolve(backend.store, request.experiment),
        "service_name": request.service_name,
        "environment": request.environment,
    }
    response = watch_pb2.ListWatchedDeploymentsResponse(
        deployments=[
            _watched(each)
            for each in board.looks
            if all(
                text in {"", getattr(each.deployment.place, name)} for name, text in wanted.items()
            )
        ]
    )
    if board.looked_at_ns is not None:
        response.look_time.CopyFrom(messages.timestamp(board.looked_at_ns))
    return response


def _event(found: watch.WatchEvent) -> watch_pb2.WatchEvent:
    return watch_pb2.WatchEvent(
        event_id=found.event_id,
        event_time=messages.timestamp(found.event_time_ns),
        kind=found.kind,
        experiment=found.experiment,
        service_name=found.service_name,
        environment=found.environment,
        version=found.version,
        deployment_id=found.deployment_id,
        deployment_start_time=messages.timestamp(found.deployment_start_time_ns),
        deployment_kind=found.deployment_kind,
        baseline_version=found.baseline_version,
        baseline_deployment_id=found.baseline_deployment_id,
        routes_pooled=found.routes_pooled,
        metric=found.metric,
        baseline=found.baseline,
        candidate=found.candidate,
        difference=analysis_pb2.Estimate(
            value=found.difference, lower=found.difference_lower, upper=found.difference_upper
        ),
        threshold=found.threshold,
        baseline_count=found.baseline_count,
        candidate_count=found.candidate_count,
        summary=found.summary,
    )


def _watched(found: Look) -> watch_pb2.WatchedDeployment:
    deployment = found.deployment
    message = watch_pb2.WatchedDeployment(
        **deployment.place._asdict(),
        version=deployment.version,
        deployment_id=deployment.deployment_id,
        start_time=messages.timestamp(deployment.start_time_ns),
        deployment_kind=deployment.kind,
        baseline_version=deployment.baseline.version,
        baseline_deployment_id=deployment.baseline.deployment_id,
        routes_pooled=found.routes_pooled,
        baseline_count=found.baseline_count,
        candidate_count=found.candidate_count,
        baseline_cluster_count=found.baseline_cluster_count,
        candidate_cluster_count=found.candidate_cluster_count,
        metrics=[_metric(each, alarmed=each.metric in found.alarmed) for each in found.metrics],
    )
    if deployment.end_time_ns is not None:
        message.end_time.CopyFrom(messages.timestamp(deployment.end_time_ns))
    return message


def _metric(found: WatchedMetric, *, alarmed: bool) -> watch_pb2.WatchedMetric:
    return watch_pb2.WatchedMetric(
        metric=found.metric,
        baseline=found.baseline,
        candidate=found.candidate,
        difference=messages.estimate(found.difference),
        threshold=found.threshold,
        alarmed=alarmed,
    )


SERVICE = Service(
    watch_pb2.DESCRIPTOR,
    "WatchService",
    {
        "ListWatchEvents": _list_watch_events,
        "ListWatchedDeployments": _list_watched_deployments,
    },
)
