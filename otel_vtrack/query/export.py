"""Reconstruct the OTLP that was received.

The store does not keep the difference between an absent field and one that is present but empty (a
Resource, a Scope or a Status without content, the value of an attribute), nor how the spans of a
resource and scope were split over messages. The export has one ResourceSpans per resource, with one
ScopeSpans per scope.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Any, Final

from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, TracesData

from otel_vtrack.errors import InvalidArgument, NotFound
from otel_vtrack.query import beside, trace_spans
from otel_vtrack.query.conclusions import Said
from otel_vtrack.query.rowbinary import Reader
from otel_vtrack.query.rows import ResourceRow, ScopeRow, SpanRow, read_span
from otel_vtrack.store.client import Store

NO_PARENT: Final = bytes(8)
_MINUTE_NS: Final = 60_000_000_000
_LATEST_MINUTE: Final = ((1 << 32) - 1) // 60 * 60
_MOST_MINUTES: Final = 60
_BOUNDS: Final = struct.Struct("<qq")
_UINT64: Final = 1 << 64


def trace_id_from_text(text: str) -> str:
    """Validate a trace ID of 32 hex digits and return it in lower case.

    MLflow's form, with `tr-` before the digits, is accepted.

    Raises:
        InvalidArgument: It is not a trace ID.
    """
    digits = text.strip().removeprefix("tr-").lower()
    if len(digits) != 32 or not set(digits) <= set("0123456789abcdef"):
        raise InvalidArgument(f"{text[:64]!r} is not a trace id: give its 32 hexadecimal digits")
    return digits


def trace(store: Store, trace_id: str) -> TracesData:
    """Return every span of a trace as it was sent, once each, earliest first.

    Args:
        store: The store to query.
        trace_id: 32 hex digits.

    Raises:
        InvalidArgument: `trace_id` is not a trace ID.
        NotFound: None of its spans is stored.
    """
    digits = trace_id_from_text(trace_id)
    found = spans(store, digits)
    if not found:
        raise missing(digits)
    return traces_data(digits, [span for span, _ in found])


def missing(trace_id: str) -> NotFound:
    """Make the error for a missing trace."""
    return NotFound(
        f"no trace {trace_id} is stored: look it up with `vtrack traces search`; if it was just"
        " sent, it may not be stored yet"
    )


def spans(store: Store, trace_id: str, minute: int | None = None) -> list[tuple[SpanRow, Said]]:
    """Return the spans of a trace, earliest first; empty if there are none.

    A span that was sent repeatedly may occur repeatedly.

    Args:
        store: The store to query.
        trace_id: 32 hex digits in lower case.
        minute: A minute in which its spans may have started, in seconds since 1970. Those are then
            read while the store is asked in which minutes they did.
    """
    if minute is None:
        minutes = _minutes(store, trace_id)
        found = _read(store, trace_id, minutes)
    else:
        other = beside.POOL.submit(_read_others, store, trace_id, minute)
        found = trace_spans.read(store, trace_id, [minute])
        minutes, more = other.result()
        found = _joined(found, more)
    if not minutes:
        return []
    if found is None:
        found = whole(store, trace_id, minutes.start, minutes.stop - 1)
    return sorted(found, key=_start)


def _minutes(store: Store, trace_id: str) -> range:
    """Return the minutes in which the spans of a trace started; empty if it is not stored."""
    bounds = Reader(store.binary("traces/bounds", {"trace_id": trace_id}))
    times: list[int] = []
    while bounds.more:
        times += bounds.fields(_BOUNDS)
    if not times:
        return range(0)
    first, last = (edge // _MINUTE_NS * 60 for edge in (min(times), max(times)))
    if first < 0 or last > _LATEST_MINUTE:
        # Outside this range the key's minutes wrap around or saturate, so search them all.
        first, last = 0, (1 << 32) - 1
    return range(first, last + 1, 60)


def _read(store: Store, trace_id: str, minutes: Sequence[int]) -> list[tuple[SpanRow, Said]] | None:
    if not minutes:
        return []
    return trace_spans.read(store, trace_id, minutes) if len(minutes) <= _MOST_MINUTES else None


def _read_others(
    store: Store, trace_id: str, minute: int
) -> tuple[range, list[tuple[SpanRow, Said]] | None]:
    """Return the minutes of a trace, and its spans in all of them but one."""
    minutes = _minutes(store, trace_id)
    if len(minutes) > _MOST_MINUTES:
        return minutes, None
    return minutes, _read(store, trace_id, [each for each in minutes if each != minute])


def _joined(
    some: list[tuple[SpanRow, Said]] | None, more: list[tuple[SpanRow, Said]] | None
) -> list[tuple[SpanRow, Said]] | None:
    """Return both; None if either is, or if a span is in both, sent with different start times."""
    if some is None or more is None:
        return None
    if more and {span.span_id for span, _ in some}.intersection(span.span_id for span, _ in more):
        return None
    return some + more


def whole(
    store: Store, trace_id: str, first_minute: int, last_minute: int
) -> list[tuple[SpanRow, Said]]:
    """Read each span with all of its columns at once."""
    rows = Reader(
        store.binary(
            "spans/list",
            {"trace_id": trace_id, "first_minute": first_minute, "last_minute": last_minute},
        )
    )
    found: list[tuple[SpanRow, Said]] = []
    while rows.more:
        said = _read_said(rows)
        found.append((read_span(rows), said))
    return found


def _start(found: tuple[SpanRow, Said]) -> tuple[int, bytes]:
    span, _ = found
    return span.start_time_unix_nano, span.span_id


def _read_said(row: Reader) -> Said:
    names = [row.string() for _ in range(5)]
    texts = [row.text() for _ in range(3)]
    return Said._make((*names, *texts, *(row.optional_uint64() for _ in range(5))))


def traces_data(trace_id: str, spans: Iterable[SpanRow]) -> TracesData:
    """Build the message, with each span once and groups in the order of their first span."""
    data = TracesData()
    identity = bytes.fromhex(trace_id)
    resources: dict[ResourceRow, ResourceSpans] = {}
    scopes: dict[tuple[ResourceRow, ScopeRow], ScopeSpans] = {}
    seen: set[bytes] = set()
    for span in spans:
        if span.span_id in seen:
            continue
        seen.add(span.span_id)
        place = (span.resource, span.scope)
        if span.resource not in resources:
            resources[span.resource] = add_resource(data.resource_spans, span.resource)
        if place not in scopes:
            scopes[place] = add_scope(resources[span.resource].scope_spans, span.scope)
        add_span(scopes[place], identity, span)
    return data


# In the next three functions, a field that is not assigned stays absent; assigning even its default
# value would make the enclosing message present.


def add_resource(groups: Any, row: ResourceRow) -> Any:
    """Append a ResourceSpans or ResourceLogs and return it."""
    group = groups.add(schema_url=row.schema_url)
    if row.attributes.names:
        row.attributes.fill(group.resource.attributes)
    if row.dropped_attributes_count:
        group.resource.dropped_attributes_count = row.dropped_attributes_count
    for reference in row.entity_refs:
        group.resource.entity_refs.add().MergeFromString(reference)
    return group


def add_scope(groups: Any, row: ScopeRow) -> Any:
    """Append a ScopeSpans or ScopeLogs and return it."""
    scoped = groups.add(schema_url=row.schema_url)
    if row.name:
        scoped.scope.name = row.name
    if row.version:
        scoped.scope.version = row.version
    for pair in row.attributes:
        scoped.scope.attributes.add().MergeFromString(pair)
    if row.dropped_attributes_count:
        scoped.scope.dropped_attributes_count = row.dropped_attributes_count
    return scoped


def add_span(scoped: ScopeSpans, trace_id: bytes, row: SpanRow) -> None:
    """Append a span."""
    start = row.start_time_unix_nano
    span = scoped.spans.add(
        trace_id=trace_id,
        span_id=row.span_id,
        parent_span_id=b"" if row.parent_span_id == NO_PARENT else row.parent_span_id,
        trace_state=row.trace_state,
        flags=row.flags,
        name=row.name,
        kind=row.kind,  # pyright: ignore[reportArgumentType] - any number is a kind
        # Unsigned in OTLP, signed in the engine; 64 bits in both.
        start_time_unix_nano=start % _UINT64,
        end_time_unix_nano=(start + row.duration_ns) % _UINT64,
        dropped_attributes_count=row.dropped_attributes_count,
        dropped_events_count=row.dropped_events_count,
        dropped_links_count=row.dropped_links_count,
    )
    if row.status_code or row.status_message:
        span.status.code = row.status_code  # pyright: ignore[reportAttributeAccessIssue]
        span.status.message = row.status_message
    row.attributes.fill(span.attributes)
    for event in row.events:
        sent = span.events.add(
            time_unix_nano=event.time_unix_nano,
            name=event.name,
            dropped_attributes_count=event.dropped_attributes_count,
        )
        event.attributes.fill(sent.attributes)
    for link in row.links:
        span.links.add().MergeFromString(link)
