"""TimelineService."""

from collections.abc import Iterable
from itertools import groupby
from time import time_ns
from typing import Any, Final, cast

from google.protobuf.duration_pb2 import Duration

from otel_vtrack.analysis import progression, rollbacks
from otel_vtrack.api import messages
from otel_vtrack.api.service import Backend, Service, moment
from otel_vtrack.v1 import timeline_pb2

_AHEAD_NS: Final = 60_000_000_000
"""Tolerance for senders' clocks that are ahead."""


def _until(request: Any) -> int:
    """Return the end of the range to query; by default, exclude traces that start in the future.

    An instance whose clock is ahead would be alone at the end, and its version the only one there.
    """
    asked = moment(request, "start_time_until")
    return time_ns() + _AHEAD_NS if asked is None else asked


def _get_timeline(
    backend: Backend, request: timeline_pb2.GetTimelineRequest
) -> timeline_pb2.GetTimelineResponse:
    found = rollbacks.tell(
        backend.store,
        experiment=request.experiment,
        service_name=request.service_name,
        environment=request.environment,
        from_ns=moment(request, "start_time_from"),
        until_ns=_until(request),
        margins=rollbacks.Margins(
            request.error_rate_margin
            if request.HasField("error_rate_margin")
            else rollbacks.ERROR_MARGIN,
            request.latency_margin
            if request.HasField("latency_margin")
            else rollbacks.LATENCY_MARGIN,
        ),
        measures=not request.omit_recovery,
    )
    return timeline_pb2.GetTimelineResponse(
        periods=[_period(each) for each in found.periods],
        rollbacks=[_rollback(each) for each in found.rollbacks],
        bucket_width=_duration(found.bucket_width_ns),
        buckets=_buckets(found) if request.include_shares else (),
    )


def _buckets(found: rollbacks.Timeline) -> Iterable[timeline_pb2.TrafficBucket]:
    for place, rows in found.activity.items():
        for bucket_ns, group in groupby(rows, lambda each: each.bucket_ns):
            of = list(group)
            total = sum(each.trace_count for each in of)
            yield timeline_pb2.TrafficBucket(
                **place._asdict(),
                start_time=messages.timestamp(bucket_ns),
                trace_count=total,
                shares=[
                    timeline_pb2.VersionShare(
                        version=each.version,
                        trace_count=each.trace_count,
                        share=each.trace_count / total,
                        instance_count=each.instance_count,
                    )
                    for each in of
                ],
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
        **found.instances._asdict(),
    )
    for name, time in (
        ("end_time", period.end_time_ns),
        ("last_seen", period.last_seen_ns),
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
        message.return_time.CopyFrom(messages.timestamp(told.came_back_ns))
    if (measured := found.measured) is not None:
        message.trace_count = round(measured.touched.trace_count)
        message.error_count = round(measured.touched.error_count)
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


def _list_progressions(
    backend: Backend, request: timeline_pb2.ListProgressionsRequest
) -> timeline_pb2.ListProgressionsResponse:
    found = progression.tell(
        backend.store,
        experiment=request.experiment,
        service_name=request.service_name,
        version=request.version,
        environments=list(request.environments),
        from_ns=moment(request, "start_time_from"),
        until_ns=_until(request),
        stuck_after_ns=request.stuck_after.ToNanoseconds()
        if request.HasField("stuck_after")
        else None,
        max_versions=request.max_versions,
    )
    return timeline_pb2.ListProgressionsResponse(
        orders=[
            timeline_pb2.EnvironmentOrder(
                experiment=each.experiment,
                service_name=each.service_name,
                environments=each.environments,
                derived=each.derived,
            )
            for each in found.orders
        ],
        progressions=[_progression(each) for each in found.progressions],
    )


def _progression(found: progression.Progression) -> timeline_pb2.Progression:
    stands = found.standing
    return timeline_pb2.Progression(
        experiment=found.experiment,
        service_name=found.service_name,
        version=found.version,
        state=cast("timeline_pb2.ProgressionState.ValueType", int(stands.state)),
        steps=[_step(each) for each in found.steps],
        skipped_environments=stands.skipped,
        overtaken_by=stands.overtaken_by,
        changes=[timeline_pb2.ProgressionChange(**each._asdict()) for each in found.changes],
    )


def _step(found: progression.Step) -> timeline_pb2.ProgressionStep:
    message = timeline_pb2.ProgressionStep(
        environment=found.environment,
        entry_time=messages.timestamp(found.entered_ns),
        live_duration=_duration(found.live_ns),
        still_live=found.still_live,
        trace_count=found.trace_count,
        instance_count=found.instance_count,
        error_rate=messages.estimate(found.error_rate),
        latency_p50=messages.estimate(found.latency_p50),
        latency_p95=messages.estimate(found.latency_p95),
        tokens_per_trace=messages.estimate(found.tokens_per_trace),
        sampled_one_in=found.sampled_one_in,
    )
    for name, time in (("main_from", found.main_from_ns), ("last_seen", found.last_seen_ns)):
        if time is not None:
            getattr(message, name).CopyFrom(messages.timestamp(time))
    return message


SERVICE = Service(
    timeline_pb2.DESCRIPTOR,
    "TimelineService",
    {"GetTimeline": _get_timeline, "ListProgressions": _list_progressions},
)
