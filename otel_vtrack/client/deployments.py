"""Calls that find, declare and change deployments."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from otel_vtrack.client.call import Call, Pages, nothing, once, repeatable
from otel_vtrack.client.values import choice, listed, timestamp
from otel_vtrack.v1 import deployments_pb2 as pb


def create_deployment(
    service_name: str,
    environment: str,
    version: str,
    *,
    deployment_id: str = "",
    experiment: str = "",
    status: "str | pb.DeploymentStatus.ValueType | None" = None,
    start_time: datetime | None = None,
    end_time: datetime | None = None,
    description: str = "",
    tags: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> Call[pb.Deployment]:
    """Declare that a version of a service went live in an environment.

    `deployment_id` defaults to a generated ID, `experiment` to the service's own, and `start_time`
    to now. `status` is `in_progress`, `succeeded` or `failed`.
    """
    deployment = pb.Deployment(
        experiment=experiment,
        service_name=service_name,
        environment=environment,
        deployment_id=deployment_id,
        version=version,
        status=choice(pb.DeploymentStatus, status),
        start_time=timestamp(start_time),
        end_time=timestamp(end_time),
        description=description,
        tags=tags,
    )
    return once(
        "DeploymentService/CreateDeployment",
        pb.CreateDeploymentRequest(deployment=deployment),
        pb.CreateDeploymentResponse,
        lambda answer: answer.deployment,
        timeout,
    )


def get_deployment(
    deployment_id: str,
    *,
    service_name: str = "",
    environment: str = "",
    timeout: float | None = None,
) -> Call[pb.Deployment]:
    """Return a deployment; service and environment are required if several use the ID."""
    return repeatable(
        "DeploymentService/GetDeployment",
        pb.GetDeploymentRequest(
            deployment_id=deployment_id, service_name=service_name, environment=environment
        ),
        pb.GetDeploymentResponse,
        lambda answer: answer.deployment,
        timeout,
    )


def search_deployments(
    *,
    experiment: str = "",
    service_name: str = "",
    environment: str = "",
    version: str = "",
    limit: int | None = None,
    page_size: int = 0,
    timeout: float | None = None,
) -> Pages[pb.Deployment]:
    """List deployments, most recently started first; empty conditions do not filter."""
    return Pages(
        method="DeploymentService/SearchDeployments",
        request=pb.SearchDeploymentsRequest(
            experiment=experiment,
            service_name=service_name,
            environment=environment,
            version=version,
            page_size=page_size,
        ),
        response=pb.SearchDeploymentsResponse,
        item=pb.Deployment,
        field="deployments",
        limit=limit,
        timeout=timeout,
    )


def update_deployment(
    deployment_id: str,
    *,
    service_name: str = "",
    environment: str = "",
    status: "str | pb.DeploymentStatus.ValueType | None" = None,
    start_time: datetime | None = None,
    end_time: datetime | None = None,
    description: str | None = None,
    set_tags: Mapping[str, str] | None = None,
    delete_tags: Iterable[str] = (),
    timeout: float | None = None,
) -> Call[pb.Deployment]:
    """Change a declaration, or add one to a deployment reported by spans.

    Service and environment are required if several use the ID. What is omitted stays unchanged;
    `status` is `in_progress`, `succeeded` or `failed`, and `set_tags` adds to the tags.
    """
    return once(
        "DeploymentService/UpdateDeployment",
        pb.UpdateDeploymentRequest(
            deployment_id=deployment_id,
            service_name=service_name,
            environment=environment,
            status=None if status is None else choice(pb.DeploymentStatus, status),
            start_time=timestamp(start_time),
            end_time=timestamp(end_time),
            description=description,
            set_tags=set_tags,
            delete_tags=listed(delete_tags),
        ),
        pb.UpdateDeploymentResponse,
        lambda answer: answer.deployment,
        timeout,
    )


def delete_deployment(
    deployment_id: str,
    *,
    service_name: str = "",
    environment: str = "",
    timeout: float | None = None,
) -> Call[None]:
    """Withdraw a declaration, if there is one; what spans report stays.

    Service and environment are required if several use the ID.
    """
    return once(
        "DeploymentService/DeleteDeployment",
        pb.DeleteDeploymentRequest(
            deployment_id=deployment_id, service_name=service_name, environment=environment
        ),
        pb.DeleteDeploymentResponse,
        nothing,
        timeout,
    )
