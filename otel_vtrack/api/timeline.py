"""TimelineService."""

from typing import cast

from google.protobuf.duration_pb2 import Duration

from otel_vtrack.analysis import rollbacks
from otel_vtrack.api import messages
from otel_vtrack.api.service import Backend, Service, moment
from otel_vtrack.v1 import timeline_pb2


def _get_timeline(
    backend: Backend, request: timeline_pb2.GetTimelineRequest
) -> timeline_pb2.GetTimelineResponse:
    found = rollbacks.tell(
        backend.store,
        experiment=request.experiment,
        service_name=request.service_name,
        environment=request.environment,
        from_ns=moment(request, "start_time_from"),
        until_ns=moment(request, "start_time_until"),
    )
    return timeline_pb2.GetTimelineResponse(
        periods=[_period(each) for each in found.periods],
        rollbacks=[_rollback(each) for each in found.rollbacks],
        bucket_width=_duration(found.bucket_width_ns),
    )


def _period(found: rollbacks.PlacedPeriod) -> timeline_pb2.LivePeriod:
    period = found.period
    message = timeline_pb2.LivePeriod(
        **found.place._asdict(),
        version=period.version,
        start_time=messages.timestamp(period.start_time_ns),
        trace_count=period.trace_count,
        peak_share=period.peak_share,
        took_over=period.took_over,
        declared=period.declared,
    )
    for name, time in (
        ("end_time", period.end_time_ns),
        ("main_from", period.main_from_ns),
        ("main_until", period.main_until_ns),
    ):
        if time is not None:
            getattr(message, name).CopyFrom(messages.timestamp(time))
    return message


def _rollback(found: rollbacks.PlacedRollback) -> timeline_pb2.Rollback:
    told = found.rollback
    message = timeline_pb2.Rollback(
        **found.place._asdict(),
        time=messages.timestamp(told.time_ns),
        from_version=told.from_main.version,
        to_version=told.after.version,
        live_duration=_duration(told.time_ns - told.from_main.from_ns),
        is_return=told.is_return,
    )
    if told.came_back_ns is not None:
        message.came_back_at.CopyFrom(messages.timestamp(told.came_back_ns))
    if (measured := found.measured) is not None:
        message.trace_count = measured.touched.trace_count
        message.error_count = measured.touched.error_count
        message.session_count = measured.touched.session_count
        message.user_count = measured.touched.user_count
        message.before_trace_count = measured.before_count
        message.after_trace_count = measured.after_count
        message.error_rate.CopyFrom(_recovery(measured.error_rate))
        message.latency.CopyFrom(_recovery(measured.latency))
    return message


def _recovery(found: rollbacks.Recovery) -> timeline_pb2.Recovery:
    return timeline_pb2.Recovery(
        before=messages.estimate(found.before),
        during=messages.estimate(found.during),
        after=messages.estimate(found.after),
        verdict=cast("timeline_pb2.RecoveryVerdict.ValueType", int(found.verdict)),
        equivalence_p_value=found.equivalence_p_value,
        worse_p_value=found.worse_p_value,
    )


def _duration(nanoseconds: int) -> Duration:
    seconds, nanos = divmod(nanoseconds, 1_000_000_000)
    return Duration(seconds=seconds, nanos=nanos)


SERVICE = Service(timeline_pb2.DESCRIPTOR, "TimelineService", {"GetTimeline": _get_timeline})
