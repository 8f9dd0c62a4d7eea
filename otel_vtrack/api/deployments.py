"""DeploymentService."""

from typing import cast

from otel_vtrack.api import messages
from otel_vtrack.api.service import Backend, Service, moment
from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import deployments
from otel_vtrack.query.deployments import DeploymentStatus
from otel_vtrack.record import deployments as changes
from otel_vtrack.v1 import deployments_pb2


def _message(found: deployments.Deployment) -> deployments_pb2.Deployment:
    message = deployments_pb2.Deployment(
        experiment=found.experiment,
        service_name=found.service_name,
        environment=found.environment,
        deployment_id=found.deployment_id,
        version=found.version,
        status=cast("deployments_pb2.DeploymentStatus.ValueType", int(found.status)),
        start_time=messages.timestamp(found.start_time_ns),
        description=found.description,
        tags=found.tags,
        declared=found.declared,
        trace_count=found.trace_count,
    )
    for name, time in (
        ("end_time", found.end_time_ns),
        ("first_seen", found.first_seen_ns),
        ("last_seen", found.last_seen_ns),
    ):
        if time is not None:
            getattr(message, name).CopyFrom(messages.timestamp(time))
    return message


def _status(number: int) -> DeploymentStatus:
    try:
        return DeploymentStatus(number)
    except ValueError:
        raise InvalidArgument("status is not a DeploymentStatus") from None


def _create_deployment(
    backend: Backend, request: deployments_pb2.CreateDeploymentRequest
) -> deployments_pb2.CreateDeploymentResponse:
    given = request.deployment
    created = changes.create(
        backend.store,
        experiment=given.experiment,
        service_name=given.service_name,
        environment=given.environment,
        version=given.version,
        deployment_id=given.deployment_id,
        status=_status(given.status),
        start_time_ns=moment(given, "start_time"),
        end_time_ns=moment(given, "end_time"),
        description=given.description,
        set_tags=given.tags,
    )
    return deployments_pb2.CreateDeploymentResponse(deployment=_message(created))


def _get_deployment(
    backend: Backend, request: deployments_pb2.GetDeploymentRequest
) -> deployments_pb2.GetDeploymentResponse:
    found = deployments.get(
        backend.store,
        request.deployment_id,
        service_name=request.service_name,
        environment=request.environment,
    )
    return deployments_pb2.GetDeploymentResponse(deployment=_message(found))


def _search_deployments(
    backend: Backend, request: deployments_pb2.SearchDeploymentsRequest
) -> deployments_pb2.SearchDeploymentsResponse:
    page = deployments.search(
        backend.store,
        experiment=request.experiment,
        service_name=request.service_name,
        environment=request.environment,
        version=request.version,
        page_size=request.page_size,
        page_token=request.page_token,
    )
    return deployments_pb2.SearchDeploymentsResponse(
        deployments=[_message(found) for found in page.deployments],
        next_page_token=page.next_page_token,
    )


def _update_deployment(
    backend: Backend, request: deployments_pb2.UpdateDeploymentRequest
) -> deployments_pb2.UpdateDeploymentResponse:
    updated = changes.update(
        backend.store,
        request.deployment_id,
        service_name=request.service_name,
        environment=request.environment,
        status=_status(request.status) if request.HasField("status") else None,
        start_time_ns=moment(request, "start_time"),
        end_time_ns=moment(request, "end_time"),
        description=request.description if request.HasField("description") else None,
        set_tags=request.set_tags,
        delete_tags=request.delete_tags,
    )
    return deployments_pb2.UpdateDeploymentResponse(deployment=_message(updated))


def _delete_deployment(
    backend: Backend, request: deployments_pb2.DeleteDeploymentRequest
) -> deployments_pb2.DeleteDeploymentResponse:
    changes.delete(
        backend.store,
        request.deployment_id,
        service_name=request.service_name,
        environment=request.environment,
    )
    return deployments_pb2.DeleteDeploymentResponse()


SERVICE = Service(
    deployments_pb2.DESCRIPTOR,
    "DeploymentService",
    {
        "CreateDeployment": _create_deployment,
        "GetDeployment": _get_deployment,
        "SearchDeployments": _search_deployments,
        "UpdateDeployment": _update_deployment,
        "DeleteDeployment": _delete_deployment,
    },
)
