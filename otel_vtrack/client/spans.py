"""Questions about spans."""

from collections.abc import Iterable

from otel_vtrack.client.call import Pages
from otel_vtrack.v1 import spans_pb2 as pb


def search_spans(
    filter: str = "",  # noqa: A002 - as in the protos
    *,
    experiment: str = "",
    order_by: Iterable[str] = (),
    omit_otlp: bool = False,
    limit: int | None = None,
    page_size: int = 0,
    timeout: float | None = None,
) -> Pages[pb.Span]:
    """Find spans, newest first unless asked otherwise; with `omit_otlp` without attributes."""
    return Pages(
        method="SpanService/SearchSpans",
        request=pb.SearchSpansRequest(
            filter=filter,
            experiment=experiment,
            order_by=order_by,
            omit_otlp=omit_otlp,
            page_size=page_size,
        ),
        response=pb.SearchSpansResponse,
        item=pb.Span,
        field="spans",
        limit=limit,
        timeout=timeout,
    )
