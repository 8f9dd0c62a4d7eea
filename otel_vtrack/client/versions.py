"""Questions about versions."""

from otel_vtrack.client.call import Pages
from otel_vtrack.v1 import versions_pb2 as pb


def list_versions(
    *,
    experiment: str = "",
    service_name: str = "",
    environment: str = "",
    limit: int | None = None,
    page_size: int = 0,
    timeout: float | None = None,
) -> Pages[pb.Version]:
    """List versions, the one seen last first; empty filters do not restrict."""
    return Pages(
        method="VersionService/ListVersions",
        request=pb.ListVersionsRequest(
            experiment=experiment,
            service_name=service_name,
            environment=environment,
            page_size=page_size,
        ),
        response=pb.ListVersionsResponse,
        item=pb.Version,
        field="versions",
        limit=limit,
        timeout=timeout,
    )
