"""Calls that find spans."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from otel_vtrack.client import filters
from otel_vtrack.client.call import Pages
from otel_vtrack.client.values import listed
from otel_vtrack.v1 import spans_pb2 as pb


def search_spans(
    filter: str = "",  # noqa: A002 - as in the protos
    *,
    experiment: str = "",
    trace_id: str = "",
    name: str = "",
    type: str = "",  # noqa: A002 - as in the protos
    status: str = "",
    service_name: str = "",
    version: str = "",
    environment: str = "",
    start_time_from: datetime | None = None,
    start_time_until: datetime | None = None,
    min_duration: timedelta | None = None,
    order_by: Iterable[str] = (),
    omit_otlp: bool = False,
    limit: int | None = None,
    page_size: int = 0,
    timeout: float | None = None,
) -> Pages[pb.Span]:
    """Find spans, newest first unless `order_by` is given.

    The filter, in the search language, and all other conditions must hold for the span itself;
    empty ones do not filter. `type` is such as `CHAT_MODEL` or `TOOL`, `status` is `ok`, `error` or
    `unset`, and the two times apply to when it started. With `omit_otlp`, spans come without
    attributes.
    """
    composed = filters.composed(
        filter,
        {
            "trace_id": trace_id,
            "name": name,
            "type": type,
            "status": status.upper(),
            "service_name": service_name,
            "version": version,
            "environment": environment,
        },
        *filters.range_of("timestamp", start_time_from, start_time_until),
        filters.at_least("duration", min_duration),
    )
    return Pages(
        method="SpanService/SearchSpans",
        request=pb.SearchSpansRequest(
            filter=composed,
            experiment=experiment,
            order_by=listed(order_by),
            omit_otlp=omit_otlp,
            page_size=page_size,
        ),
        response=pb.SearchSpansResponse,
        item=pb.Span,
        field="spans",
        limit=limit,
        timeout=timeout,
    )
