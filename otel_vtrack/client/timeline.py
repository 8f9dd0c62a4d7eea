"""Questions about what was live when."""

from datetime import datetime

from otel_vtrack.client.call import Call, repeatable
from otel_vtrack.client.values import timestamp
from otel_vtrack.v1 import timeline_pb2 as pb


def get_timeline(
    *,
    experiment: str = "",
    service_name: str = "",
    environment: str = "",
    start_time_from: datetime | None = None,
    start_time_until: datetime | None = None,
    timeout: float | None = None,
) -> Call[pb.GetTimelineResponse]:
    """Say which versions were live when, and what was rolled back.

    By traces that began from one time until before another; what is empty does not restrict.
    The answer has `periods` and `rollbacks`, both empty where no trace matches.
    """
    return repeatable(
        "TimelineService/GetTimeline",
        pb.GetTimelineRequest(
            experiment=experiment,
            service_name=service_name,
            environment=environment,
            start_time_from=timestamp(start_time_from),
            start_time_until=timestamp(start_time_until),
        ),
        pb.GetTimelineResponse,
        lambda answer: answer,
        timeout,
    )
