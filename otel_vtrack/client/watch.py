"""Calls that report what watching deployments found."""

from datetime import datetime

from otel_vtrack.client.call import Call, Pages, repeatable
from otel_vtrack.client.values import timestamp
from otel_vtrack.v1 import watch_pb2 as pb


def list_watch_events(
    *,
    experiment: str = "",
    service_name: str = "",
    environment: str = "",
    version: str = "",
    event_time_from: datetime | None = None,
    event_time_until: datetime | None = None,
    limit: int | None = None,
    page_size: int = 0,
    timeout: float | None = None,
) -> Pages[pb.WatchEvent]:
    """List events, each of a deployment that made a metric worse, newest first.

    Empty conditions do not filter; the two times apply to when it was found.
    """
    return Pages(
        method="WatchService/ListWatchEvents",
        request=pb.ListWatchEventsRequest(
            experiment=experiment,
            service_name=service_name,
            environment=environment,
            version=version,
            event_time_from=timestamp(event_time_from),
            event_time_until=timestamp(event_time_until),
            page_size=page_size,
        ),
        response=pb.ListWatchEventsResponse,
        item=pb.WatchEvent,
        field="events",
        limit=limit,
        timeout=timeout,
    )


def list_watched_deployments(
    *,
    experiment: str = "",
    service_name: str = "",
    environment: str = "",
    timeout: float | None = None,
) -> Call[pb.ListWatchedDeploymentsResponse]:
    """List deployments under watch; empty conditions do not filter.

    The response has `deployments`, newest first, and `look_time`, the time of the server's last
    check, absent before the first one or if watching is disabled.
    """
    return repeatable(
        "WatchService/ListWatchedDeployments",
        pb.ListWatchedDeploymentsRequest(
            experiment=experiment, service_name=service_name, environment=environment
        ),
        pb.ListWatchedDeploymentsResponse,
        lambda answer: answer,
        timeout,
    )
