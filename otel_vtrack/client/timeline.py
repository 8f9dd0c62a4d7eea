"""Questions about what was live when."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from otel_vtrack.client.call import Call, repeatable
from otel_vtrack.client.values import duration, timestamp
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
    """Say which versions were live when, and what was rolled back.

    By traces that began from one time until before another; what is empty does not restrict.
    The answer has `periods` and `rollbacks`, both empty where no trace matches, and `buckets` with
    shares of the traffic over time if asked. Differences below the margins are as good as none:
    one of error rates, such as 0.01, and a share of latencies, such as 0.05. What takes longest to
    tell, which is what rollbacks cost and whether they helped, may be omitted.
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
    """Say how versions went through environments, the one that began last first.

    What is empty does not restrict. Without `environments`, from the first to the last, they are in
    the order in which most versions enter them. The answer has `orders` and `progressions`.
    """
    return repeatable(
        "TimelineService/ListProgressions",
        pb.ListProgressionsRequest(
            version=version,
            experiment=experiment,
            service_name=service_name,
            environments=environments,
            start_time_from=timestamp(start_time_from),
            start_time_until=timestamp(start_time_until),
            stuck_after=duration(stuck_after),
            max_versions=max_versions,
        ),
        pb.ListProgressionsResponse,
        lambda answer: answer,
        timeout,
    )
