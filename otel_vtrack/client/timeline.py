"""Calls that report which versions were live when."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from otel_vtrack.client.call import Call, repeatable
from otel_vtrack.client.values import duration, listed, timestamp
from otel_vtrack.v1 import timeline_pb2 as pb


def get_timeline(
    *,
    experiment: str = "",
    service_name: str = "",
    environment: str = "",
    start_time_from: datetime | None = None,
    start_time_until: datetime | None = None,
    include_shares: bool = False,
    error_rate_margin: float | None = None,
    latency_margin: float | None = None,
    omit_recovery: bool = False,
    timeout: float | None = None,
) -> Call[pb.GetTimelineResponse]:
    """Return which versions were live when, and what was rolled back.

    Only traces that started in the time range count; empty conditions do not filter. The response
    has `periods` and `rollbacks`, both empty if no trace matches, and, with `include_shares`,
    `buckets` with shares of the traffic over time. Differences below the margins count as none: for
    error rates a difference such as 0.01, for latencies a fraction such as 0.05. `omit_recovery`
    omits what rollbacks cost and whether they helped, which takes longest to compute.
    """
    return repeatable(
        "TimelineService/GetTimeline",
        pb.GetTimelineRequest(
            experiment=experiment,
            service_name=service_name,
            environment=environment,
            start_time_from=timestamp(start_time_from),
            start_time_until=timestamp(start_time_until),
            include_shares=include_shares,
            error_rate_margin=error_rate_margin,
            latency_margin=latency_margin,
            omit_recovery=omit_recovery,
        ),
        pb.GetTimelineResponse,
        lambda answer: answer,
        timeout,
    )


def list_progressions(
    version: str = "",
    *,
    experiment: str = "",
    service_name: str = "",
    environments: Sequence[str] = (),
    start_time_from: datetime | None = None,
    start_time_until: datetime | None = None,
    stuck_after: timedelta | None = None,
    max_versions: int = 0,
    timeout: float | None = None,
) -> Call[pb.ListProgressionsResponse]:
    """List how versions moved through environments, most recently started first.

    Empty conditions do not filter. `environments` lists environments from first to last; if empty,
    their order is that in which most versions enter them. A version is stuck after `stuck_after` in
    an environment; None means a week. At most `max_versions` are listed; 0 means 20. The response
    has `orders` and `progressions`.
    """
    return repeatable(
        "TimelineService/ListProgressions",
        pb.ListProgressionsRequest(
            version=version,
            experiment=experiment,
            service_name=service_name,
            environments=listed(environments),
            start_time_from=timestamp(start_time_from),
            start_time_until=timestamp(start_time_until),
            stuck_after=duration(stuck_after),
            max_versions=max_versions,
        ),
        pb.ListProgressionsResponse,
        lambda answer: answer,
        timeout,
    )
