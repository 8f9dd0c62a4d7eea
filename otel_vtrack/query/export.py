"""Gives back the OTLP that came in.

What OTLP tells apart and the store does not: a field that is absent from one that is present
and empty (a Resource, a Scope or a Status without content, the value of an attribute), and
how spans of one resource and scope were spread over messages. The export has one
ResourceSpans for each resource and in it one ScopeSpans for each scope.
"""

from typing import Any, Final, NamedTuple

from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, TracesData

from otel_vtrack.errors import InvalidArgument, NotFound
from otel_vtrack.query.rowbinary import Reader
from otel_vtrack.store.client import Store
from otel_vtrack.wire.attributes import Attributes

_NO_BOUNDS: Final = {"earliest_ns": 1, "latest_ns": 0}
_NO_PARENT: Final = "0" * 16
_UINT64: Final = 1 << 64


class ResourceRow(NamedTuple):
    """What the spans of one ResourceSpans have in common."""

    attributes: Attributes
    entity_refs: tuple[bytes, ...]
    dropped_attributes_count: int
    schema_url: str


class ScopeRow(NamedTuple):
    """What the spans of one ScopeSpans have in common; each attribute is a KeyValue's bytes."""

    name: str
    version: str
    attributes: tuple[bytes, ...]
    dropped_attributes_count: int
    schema_url: str


class Event(NamedTuple):
    """An event of a span."""

    time_unix_nano: int
    name: str
    attributes: Attributes
    dropped_attributes_count: int


class SpanRow(NamedTuple):
    """A span as the store has it.

    Attributes:
        plain: The columns that need no reading.
        resource: Where it comes from.
        scope: What made it.
        attributes: Its own.
        events: In the order sent.
        links: Each the bytes of a Span.Link.
    """

    plain: dict[str, Any]
    resource: ResourceRow
    scope: ScopeRow
    attributes: Attributes
    events: list[Event]
    links: list[bytes]


def trace_id_from_text(text: str) -> str:
    """Check a trace id of 32 hex digits and return it in lower case.

    An id as MLflow writes it, with `tr-` before the digits, is understood.

    Raises:
        InvalidArgument: It is none.
    """
    digits = text.strip().removeprefix("tr-").lower()
    if len(digits) != 32 or not set(digits) <= set("0123456789abcdef"):
        raise InvalidArgument(f"{text[:64]!r} is no trace id: give its 32 hexadecimal digits")
    return digits


def trace(store: Store, trace_id: str) -> TracesData:
    """Return every span of a trace, equal to what was sent; earliest first, each span once.

    Args:
        store: Where to look.
        trace_id: 32 hex digits.

    Raises:
        InvalidArgument: `trace_id` is none.
        NotFound: No span of it is stored.
    """
    digits = trace_id_from_text(trace_id)
    [bounds] = store.query("traces/bounds", {"trace_id": digits})
    if not bounds["span_count"]:
        raise missing(digits)
    return traces_data(spans(store, digits, **bounds))


def missing(trace_id: str) -> NotFound:
    """Say that a trace is not there."""
    return NotFound(
        f"no trace {trace_id} is stored: look it up with `vtrack traces search`; what was sent a"
        " moment ago may still be on its way"
    )


def spans(
    store: Store, trace_id: str, *, earliest_ns: int, latest_ns: int, span_count: int
) -> list[SpanRow]:
    """Return the spans of a trace, earliest first, each once.

    Args:
        store: Where to look.
        trace_id: 32 hex digits in lower case.
        earliest_ns: No span starts before.
        latest_ns: No span ends after, by what `traces` has.
        span_count: How many spans there are, by what `traces` has.
    """
    bounds = {"earliest_ns": earliest_ns, "latest_ns": latest_ns}
    found = store.query("spans/list", {"trace_id": trace_id, **bounds})
    if len(found) < span_count:
        # Times so absurd that they wrap around put spans outside of the trace's own bounds.
        found = store.query("spans/list", {"trace_id": trace_id, **_NO_BOUNDS})
    return [span_from_row(row) for row in found]


def span_from_row(row: dict[str, Any]) -> SpanRow:
    """Read a row of `spans/list`."""
    packed = Reader(bytes.fromhex(row["packed"]))
    resource = ResourceRow(
        packed.attributes(),
        tuple(packed.strings()),
        row["resource_dropped_attributes_count"],
        row["resource_schema_url"],
    )
    scope = ScopeRow(
        row["scope_name"],
        row["scope_version"],
        tuple(packed.strings()),
        row["scope_dropped_attributes_count"],
        row["scope_schema_url"],
    )
    attributes = packed.attributes()
    events = [
        Event(packed.uint64(), packed.string().decode(), packed.key_values(), packed.uint32())
        for _ in range(packed.length())
    ]
    return SpanRow(row, resource, scope, attributes, events, packed.strings())


def traces_data(spans: list[SpanRow]) -> TracesData:
    """Build the message, its groups in order of their first span."""
    data = TracesData()
    resources: dict[ResourceRow, ResourceSpans] = {}
    scopes: dict[tuple[ResourceRow, ScopeRow], ScopeSpans] = {}
    for span in spans:
        place = (span.resource, span.scope)
        if span.resource not in resources:
            resources[span.resource] = _add_resource(data, span.resource)
        if place not in scopes:
            scopes[place] = _add_scope(resources[span.resource], span.scope)
        _add_span(scopes[place], span)
    return data


# In the next three, a field that is left alone stays absent; assigning it even its default
# would make the message it is in present.


def _add_resource(data: TracesData, row: ResourceRow) -> ResourceSpans:
    group = data.resource_spans.add(schema_url=row.schema_url)
    if row.attributes.names:
        row.attributes.fill(group.resource.attributes)
    if row.dropped_attributes_count:
        group.resource.dropped_attributes_count = row.dropped_attributes_count
    for reference in row.entity_refs:
        group.resource.entity_refs.add().MergeFromString(reference)
    return group


def _add_scope(group: ResourceSpans, row: ScopeRow) -> ScopeSpans:
    scoped = group.scope_spans.add(schema_url=row.schema_url)
    if row.name:
        scoped.scope.name = row.name
    if row.version:
        scoped.scope.version = row.version
    for pair in row.attributes:
        scoped.scope.attributes.add().MergeFromString(pair)
    if row.dropped_attributes_count:
        scoped.scope.dropped_attributes_count = row.dropped_attributes_count
    return scoped


def _add_span(scoped: ScopeSpans, row: SpanRow) -> None:
    plain = row.plain
    start, parent = plain["start_time_unix_nano"], plain["parent_span_id"]
    span = scoped.spans.add(
        trace_id=bytes.fromhex(plain["trace_id"]),
        span_id=bytes.fromhex(plain["span_id"]),
        parent_span_id=b"" if parent == _NO_PARENT else bytes.fromhex(parent),
        trace_state=plain["trace_state"],
        flags=plain["flags"],
        name=plain["name"],
        kind=plain["kind"],
        # Unsigned in OTLP, signed in the engine, 64 bits in both.
        start_time_unix_nano=start % _UINT64,
        end_time_unix_nano=(start + plain["duration_ns"]) % _UINT64,
        dropped_attributes_count=plain["dropped_attributes_count"],
        dropped_events_count=plain["dropped_events_count"],
        dropped_links_count=plain["dropped_links_count"],
    )
    if plain["status_code"] or plain["status_message"]:
        span.status.code = plain["status_code"]
        span.status.message = plain["status_message"]
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
