"""Calls that find, tag and delete traces."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypedDict

from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otel_vtrack.client import filters
from otel_vtrack.client.call import Call, Pages, nothing, once, repeatable
from otel_vtrack.client.results import Histogram, Records, Trace
from otel_vtrack.client.values import choice, duration, listed, timestamp
from otel_vtrack.v1 import traces_pb2 as pb

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Conditions(TypedDict, total=False):
    """Conditions that `search_traces` accepts besides a filter; empty values do not filter."""

    service_name: str
    version: str
    environment: str
    deployment_id: str
    state: "str | pb.TraceState.ValueType | None"
    session_id: str
    user_id: str
    name: str
    start_time_from: datetime | None
    start_time_until: datetime | None
    min_duration: timedelta | None


def search_traces(
    filter: str = "",  # noqa: A002 - as in the protos
    *,
    experiment: str = "",
    service_name: str = "",
    version: str = "",
    environment: str = "",
    deployment_id: str = "",
    state: "str | pb.TraceState.ValueType | None" = None,
    session_id: str = "",
    user_id: str = "",
    name: str = "",
    start_time_from: datetime | None = None,
    start_time_until: datetime | None = None,
    min_duration: timedelta | None = None,
    order_by: Iterable[str] = (),
    limit: int | None = None,
    page_size: int = 0,
    timeout: float | None = None,
) -> Pages[pb.TraceInfo]:
    """Find traces, newest first unless `order_by` is given.

    Args:
        filter: Filter in the search language.
        experiment: Identifier in telemetry, or display name.
        service_name: Exact service of the root.
        version: Exact version of the root.
        environment: Exact environment of the root.
        deployment_id: Exact deployment of the root.
        state: `ok`, `error` or `in_progress`.
        session_id: Exact session.
        user_id: Exact user.
        name: Exact name of the root span.
        start_time_from: Only traces that started at or after this time.
        start_time_until: Only traces that started before this time.
        min_duration: Only traces that took at least this long.
        order_by: Keys, each optionally followed by ` ASC` or ` DESC`.
        limit: Maximum number of traces; None for all.
        page_size: Number to fetch at a time, up to 1000; 0 for the default.
        timeout: Seconds for each page; None for the client's default.
    """
    composed = trace_filter(
        filter,
        service_name=service_name,
        version=version,
        environment=environment,
        deployment_id=deployment_id,
        state=state,
        session_id=session_id,
        user_id=user_id,
        name=name,
        start_time_from=start_time_from,
        start_time_until=start_time_until,
        min_duration=min_duration,
    )
    request = pb.SearchTracesRequest(
        experiment=experiment, filter=composed, order_by=listed(order_by), page_size=page_size
    )
    return Pages(
        method="TraceService/SearchTraces",
        request=request,
        response=pb.SearchTracesResponse,
        item=pb.TraceInfo,
        field="traces",
        limit=limit,
        timeout=timeout,
    )


def trace_filter(
    filter: str = "",  # noqa: A002 - as in the protos
    *,
    service_name: str = "",
    version: str = "",
    environment: str = "",
    deployment_id: str = "",
    state: "str | pb.TraceState.ValueType | None" = None,
    session_id: str = "",
    user_id: str = "",
    name: str = "",
    start_time_from: datetime | None = None,
    start_time_until: datetime | None = None,
    min_duration: timedelta | None = None,
) -> str:
    """Build a trace filter from conditions of `search_traces`."""
    number = choice(pb.TraceState, state)
    return filters.composed(
        filter,
        {
            "service_name": service_name,
            "version": version,
            "environment": environment,
            "deployment_id": deployment_id,
            "status": pb.TraceState.Name(number).removeprefix("TRACE_STATE_") if number else None,
            "session_id": session_id,
            "user_id": user_id,
            "name": name,
        },
        *filters.range_of("timestamp", start_time_from, start_time_until),
        filters.at_least("execution_time", min_duration),
    )


def count_traces(
    filter: str = "",  # noqa: A002 - as in the protos
    *,
    experiment: str = "",
    timeout: float | None = None,
    **conditions: "Unpack[Conditions]",
) -> Call[int]:
    """Count traces that match conditions of `search_traces`."""
    return repeatable(
        "TraceService/CountTraces",
        pb.CountTracesRequest(experiment=experiment, filter=trace_filter(filter, **conditions)),
        pb.CountTracesResponse,
        lambda answer: answer.trace_count,
        timeout,
    )


def get_trace_histogram(
    filter: str = "",  # noqa: A002 - as in the protos
    *,
    experiment: str = "",
    width: timedelta | None = None,
    timeout: float | None = None,
    **conditions: "Unpack[Conditions]",
) -> Call[Histogram]:
    """Count traces by start time, in buckets of `width`; None for about 60 buckets.

    Conditions are those of `search_traces`.
    """
    return repeatable(
        "TraceService/GetTraceHistogram",
        pb.GetTraceHistogramRequest(
            experiment=experiment,
            filter=trace_filter(filter, **conditions),
            width=duration(width),
        ),
        pb.GetTraceHistogramResponse,
        Histogram,
        timeout,
    )


def get_trace(trace_id: str, *, timeout: float | None = None) -> Call[Trace]:
    """Return a trace's summaries and its spans as they were sent, earliest first.

    The result can be unpacked, as in `infos, otlp = client.get_trace(...)`.
    """
    return repeatable(
        "TraceService/GetTrace",
        pb.GetTraceRequest(trace_id=trace_id),
        pb.GetTraceResponse,
        lambda answer: Trace(
            Records(pb.TraceInfo, answer.traces), TracesData.FromString(answer.otlp)
        ),
        timeout,
    )


def set_trace_tag(
    trace_id: str, key: str, value: str, *, timeout: float | None = None
) -> Call[None]:
    """Set a tag on a trace, replacing an existing value."""
    return repeatable(
        "TraceService/SetTraceTag",
        pb.SetTraceTagRequest(trace_id=trace_id, key=key, value=value),
        pb.SetTraceTagResponse,
        nothing,
        timeout,
    )


def delete_trace_tag(trace_id: str, key: str, *, timeout: float | None = None) -> Call[None]:
    """Delete a tag of a trace, if it exists."""
    return repeatable(
        "TraceService/DeleteTraceTag",
        pb.DeleteTraceTagRequest(trace_id=trace_id, key=key),
        pb.DeleteTraceTagResponse,
        nothing,
        timeout,
    )


def delete_traces(
    trace_ids: Iterable[str] = (),
    *,
    experiment: str = "",
    start_time_until: datetime | None = None,
    dry_run: bool = False,
    timeout: float | None = None,
) -> Call[int]:
    """Delete traces by ID, or an experiment's traces that started before a time.

    Returns how many were deleted or, with `dry_run`, would be deleted.
    """
    describe = repeatable if dry_run else once
    return describe(
        "TraceService/DeleteTraces",
        pb.DeleteTracesRequest(
            trace_ids=listed(trace_ids),
            experiment=experiment,
            start_time_until=timestamp(start_time_until),
            dry_run=dry_run,
        ),
        pb.DeleteTracesResponse,
        lambda answer: answer.trace_count,
        timeout,
    )
