"""VersionService."""

from otel_vtrack.api import messages
from otel_vtrack.api.service import Backend, Service
from otel_vtrack.query import versions
from otel_vtrack.v1 import versions_pb2


def _list_versions(
    backend: Backend, request: versions_pb2.ListVersionsRequest
) -> versions_pb2.ListVersionsResponse:
    page = versions.search(
        backend.store,
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


SERVICE = Service(versions_pb2.DESCRIPTOR, "VersionService", {"ListVersions": _list_versions})
