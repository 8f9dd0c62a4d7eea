"""Find spans with the search language."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from otel_vtrack.query import export, paging, priced
from otel_vtrack.query.filter import Compiled, compile_spans
from otel_vtrack.query.filter.compiler import TRUE
from otel_vtrack.query.filter.order import Key
from otel_vtrack.query.prices import BUILT_IN, Prices
from otel_vtrack.query.rowbinary import Reader
from otel_vtrack.query.rows import read_span
from otel_vtrack.store.client import Store

_ID: Final = struct.Struct("<16s")
_NO_PARENT: Final = bytes(8)
_MINUTE: Final = "toStartOfMinute"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A span and its version; spans.proto explains each field.

    Attributes:
        parent_span_id: Empty for a root.
        start_time_ns: In nanoseconds since 1970.
        duration_ns: Negative if it ended before it started.
        otlp: A serialized TracesData with this span alone; empty if omitted.
    """

    trace_id: str
    span_id: str
    parent_span_id: str
    experiment: str
    name: str
    type: str
    kind: str
    status: int
    status_message: str
    start_time_ns: int
    duration_ns: int
    service_name: str
    version: str
    environment: str
    deployment_id: str
    otlp: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """A page of spans and the token for the next page; empty after the last."""

    spans: list[Span]
    next_page_token: str


def search(
    store: Store,
    *,
    experiment: str = "",
    text: str = "",
    order_by: Sequence[str] = (),
    page_size: int = 0,
    page_token: str = "",
    omit_otlp: bool = False,
    table: Prices = BUILT_IN,
) -> Page:
    """Find spans, each once; by default the latest start comes first.

    A page continues where the last one ended, whatever has arrived since.

    Args:
        store: The store to query.
        experiment: Its name in telemetry; empty for any.
        text: The filter.
        order_by: Sort keys, each optionally followed by ASC or DESC.
        page_size: 0 for the default.
        page_token: The token from the previous page.
        omit_otlp: Whether to leave out the OTLP.
        table: The prices of tokens.

    Raises:
        InvalidArgument: The filter, order or size is invalid, or the token belongs to another
            query.
    """
    wanted = paging.size(page_size)
    question = {
        "spans": True,
        "experiment": experiment,
        "filter": text,
        "order_by": list(order_by),
        "omit_otlp": omit_otlp,
    }
    compiled = compile_spans(
        text, order_by, experiment=experiment, priced=lambda: priced.models(store, table)
    )
    after = TRUE
    if page_token:
        after = compiled.order.after(paging.place(page_token, question), compiled.texts)
        after += _minutes(compiled, paging.place(page_token, question)[0])
    rows = store.query(
        "spans/search",
        {**compiled.parameters, "wanted": wanted + 1},
        {
            "where": compiled.where,
            "after": after,
            "place": compiled.order.place,
            "first": _first(compiled),
            "order": compiled.order.sql,
        },
    )
    places = [(row["start_ns"], row["id"].hex(), row["span"].hex()) for row in rows[:wanted]]
    spans = _fetch(store, places, omit_otlp=omit_otlp)
    if len(rows) <= wanted:
        return Page(spans, "")
    return Page(spans, paging.token(rows[wanted - 1]["place"], question))


def _by_time(compiled: Compiled) -> Key | None:
    first = compiled.order.keys[0]
    return first if first.sql == "s.start_time" else None


def _first(compiled: Compiled) -> str:
    """Sort by minute before time: the order is the same, and it is that of the table."""
    first = _by_time(compiled)
    if first is None:
        return ""
    return f"{_MINUTE}({first.sql}) {'DESC' if first.descending else 'ASC'},"


def _minutes(compiled: Compiled, start: str | None) -> str:
    """Repeat a place's bound on time for minutes: the engine does not derive it."""
    first = _by_time(compiled)
    if first is None or start is None:
        return ""
    bound = compiled.texts.text(start)
    sign = "<=" if first.descending else ">="
    moment = f"fromUnixTimestamp64Nano(toInt64OrZero({bound}), 'UTC')"
    return f" AND {_MINUTE}({first.sql}) {sign} {_MINUTE}({moment})"


def _fetch(store: Store, places: Sequence[tuple[int, str, str]], *, omit_otlp: bool) -> list[Span]:
    """Load spans in the given order."""
    if not places:
        return []
    starts, trace_ids, span_ids = zip(*places, strict=True)
    reader = Reader(
        store.binary(
            "spans/fetch",
            {"start_ns": list(starts), "trace_ids": list(trace_ids), "span_ids": list(span_ids)},
        )
    )
    found: dict[tuple[str, str], Span] = {}
    while reader.more:
        span = _span(reader, omit_otlp=omit_otlp)
        found[span.trace_id, span.span_id] = span
    return [found[trace_id, span_id] for _, trace_id, span_id in places]


def _span(reader: Reader, *, omit_otlp: bool) -> Span:
    (trace_id,) = reader.fields(_ID)
    type_, service_name, version, environment, deployment_id = (reader.text() for _ in range(5))
    row = read_span(reader)
    digits = trace_id.hex()
    kind = (
        OtlpSpan.SpanKind.Name(OtlpSpan.SpanKind.ValueType(row.kind)).removeprefix("SPAN_KIND_")
        if row.kind in OtlpSpan.SpanKind.values()
        else ""
    )
    return Span(
        trace_id=digits,
        span_id=row.span_id.hex(),
        parent_span_id="" if row.parent_span_id == _NO_PARENT else row.parent_span_id.hex(),
        experiment=row.experiment,
        name=row.name,
        type=type_,
        kind="" if kind == "UNSPECIFIED" else kind,
        status=row.status_code,
        status_message=row.status_message,
        start_time_ns=row.start_time_unix_nano,
        duration_ns=row.duration_ns,
        service_name=service_name,
        version=version,
        environment=environment,
        deployment_id=deployment_id,
        otlp=b"" if omit_otlp else export.traces_data(digits, [row]).SerializeToString(),
    )
