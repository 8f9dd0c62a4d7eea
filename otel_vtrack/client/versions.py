"""Calls that find and annotate versions."""

from collections.abc import Sequence

from otel_vtrack.client.call import Call, Pages, nothing, repeatable
from otel_vtrack.client.filters import composed
from otel_vtrack.client.values import listed
from otel_vtrack.v1 import versions_pb2 as pb


def get_version(
    version: str,
    *,
    experiment: str = "",
    service_name: str = "",
    include_usage: bool = False,
    timeout: float | None = None,
) -> Call[pb.Version]:
    """Return a version, named directly or by `@alias`.

    Experiment and service are required if several have such a version. `include_usage` sums up
    tokens and cost of its traces.
    """
    return repeatable(
        "VersionService/GetVersion",
        pb.GetVersionRequest(
            experiment=experiment,
            service_name=service_name,
            version=version,
            include_usage=include_usage,
        ),
        pb.GetVersionResponse,
        lambda answer: answer.version,
        timeout,
    )


def search_versions(
    filter: str = "",  # noqa: A002 - as in the proto
    *,
    experiment: str = "",
    service_name: str = "",
    version: str = "",
    environment: str = "",
    deployment_id: str = "",
    order_by: Sequence[str] = (),
    include_usage: bool = False,
    limit: int | None = None,
    page_size: int = 0,
    timeout: float | None = None,
) -> Pages[pb.Version]:
    """Find versions, most recently seen first unless `order_by` is given.

    The filter, in the search language, and all other conditions must hold; empty ones do not
    filter. With an environment or deployment, figures cover only that one.
    """
    equal = {
        "service_name": service_name,
        "version": version,
        "environment": environment,
        "deployment_id": deployment_id,
    }
    return Pages(
        method="VersionService/SearchVersions",
        request=pb.SearchVersionsRequest(
            experiment=experiment,
            filter=composed(filter, equal),
            order_by=listed(order_by),
            include_usage=include_usage,
            page_size=page_size,
        ),
        response=pb.SearchVersionsResponse,
        item=pb.Version,
        field="versions",
        limit=limit,
        timeout=timeout,
    )


def update_version(
    version: str,
    *,
    note: str | None = None,
    experiment: str = "",
    service_name: str = "",
    timeout: float | None = None,
) -> Call[pb.Version]:
    """Set the note of a version, named directly or by `@alias`, and return the version.

    Experiment and service are required if several have it.
    """
    return repeatable(
        "VersionService/UpdateVersion",
        pb.UpdateVersionRequest(
            experiment=experiment, service_name=service_name, version=version, note=note
        ),
        pb.UpdateVersionResponse,
        lambda answer: answer.version,
        timeout,
    )


def set_version_alias(
    version: str,
    alias: str,
    *,
    experiment: str = "",
    service_name: str = "",
    timeout: float | None = None,
) -> Call[pb.Version]:
    """Point an alias to this version, and to no other version of the service.

    Experiment and service are required if several have it.
    """
    return repeatable(
        "VersionService/SetVersionAlias",
        pb.SetVersionAliasRequest(
            experiment=experiment, service_name=service_name, version=version, alias=alias
        ),
        pb.SetVersionAliasResponse,
        lambda answer: answer.version,
        timeout,
    )


def delete_version_alias(
    alias: str,
    *,
    experiment: str = "",
    service_name: str = "",
    timeout: float | None = None,
) -> Call[None]:
    """Delete an alias, if it exists.

    Experiment and service are required if several have it.
    """
    return repeatable(
        "VersionService/DeleteVersionAlias",
        pb.DeleteVersionAliasRequest(experiment=experiment, service_name=service_name, alias=alias),
        pb.DeleteVersionAliasResponse,
        nothing,
        timeout,
    )
