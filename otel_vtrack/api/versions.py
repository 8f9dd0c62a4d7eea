"""VersionService."""

from otel_vtrack.api import messages
from otel_vtrack.api.service import Backend, Service
from otel_vtrack.query import versions
from otel_vtrack.record import versions as changes
from otel_vtrack.v1 import versions_pb2


def _message(found: versions.Version) -> versions_pb2.Version:
    message = versions_pb2.Version(
        experiment=found.experiment,
        service_name=found.service_name,
        version=found.version,
        places=[_place(each) for each in found.places],
        git_commit=found.git_commit,
        git_branch=found.git_branch,
        git_dirty=found.git_dirty,
        repository_url=found.repository_url,
        first_seen=messages.timestamp(found.first_seen_ns),
        last_seen=messages.timestamp(found.last_seen_ns),
        trace_count=found.trace_count,
        error_trace_count=found.error_trace_count,
        session_count=found.session_count,
        user_count=found.user_count,
        flags=[versions_pb2.VersionFlag(**each._asdict()) for each in found.flags],
        aliases=found.aliases,
        note=found.note,
    )
    if found.usage is not None:
        message.usage.tokens.CopyFrom(messages.token_usage(found.usage.tokens))
        message.usage.cost.CopyFrom(messages.cost(found.usage.cost))
        message.usage.sampled_one_in = found.usage.sampled_one_in
    return message


def _place(found: versions.Place) -> versions_pb2.VersionPlace:
    return versions_pb2.VersionPlace(
        environment=found.environment,
        deployment_id=found.deployment_id,
        first_seen=messages.timestamp(found.first_seen_ns),
        last_seen=messages.timestamp(found.last_seen_ns),
        trace_count=found.trace_count,
        error_trace_count=found.error_trace_count,
        session_count=found.session_count,
        user_count=found.user_count,
    )


def _get_version(
    backend: Backend, request: versions_pb2.GetVersionRequest
) -> versions_pb2.GetVersionResponse:
    found = versions.get(
        backend.store,
        request.version,
        experiment=request.experiment,
        service_name=request.service_name,
        usage_by=backend.prices if request.include_usage else None,
    )
    return versions_pb2.GetVersionResponse(version=_message(found))


def _search_versions(
    backend: Backend, request: versions_pb2.SearchVersionsRequest
) -> versions_pb2.SearchVersionsResponse:
    page = versions.search(
        backend.store,
        experiment=request.experiment,
        filter_=request.filter,
        order_by=request.order_by,
        page_size=request.page_size,
        page_token=request.page_token,
        usage_by=backend.prices if request.include_usage else None,
        table=backend.prices,
    )
    return versions_pb2.SearchVersionsResponse(
        versions=[_message(found) for found in page.versions],
        next_page_token=page.next_page_token,
    )


def _update_version(
    backend: Backend, request: versions_pb2.UpdateVersionRequest
) -> versions_pb2.UpdateVersionResponse:
    changed = changes.update(
        backend.store,
        request.version,
        experiment=request.experiment,
        service_name=request.service_name,
        note=request.note if request.HasField("note") else None,
    )
    return versions_pb2.UpdateVersionResponse(version=_message(changed))


def _set_version_alias(
    backend: Backend, request: versions_pb2.SetVersionAliasRequest
) -> versions_pb2.SetVersionAliasResponse:
    changed = changes.set_alias(
        backend.store,
        request.version,
        request.alias,
        experiment=request.experiment,
        service_name=request.service_name,
    )
    return versions_pb2.SetVersionAliasResponse(version=_message(changed))


def _delete_version_alias(
    backend: Backend, request: versions_pb2.DeleteVersionAliasRequest
) -> versions_pb2.DeleteVersionAliasResponse:
    changes.delete_alias(
        backend.store,
        request.alias,
        experiment=request.experiment,
        service_name=request.service_name,
    )
    return versions_pb2.DeleteVersionAliasResponse()


SERVICE = Service(
    versions_pb2.DESCRIPTOR,
    "VersionService",
    {
        "GetVersion": _get_version,
        "SearchVersions": _search_versions,
        "UpdateVersion": _update_version,
        "SetVersionAlias": _set_version_alias,
        "DeleteVersionAlias": _delete_version_alias,
    },
)
