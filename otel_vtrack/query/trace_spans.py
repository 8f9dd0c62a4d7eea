"""Read the spans of a trace from as few columns as possible.

Reading a trace takes a few milliseconds, and each column adds to that. So columns that can be
derived from others are not read, those that many spans share are read as one, and events are read
only if the trace has any.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from otel_vtrack.query import conclusions, rows
from otel_vtrack.query.conclusions import Said
from otel_vtrack.query.rowbinary import Reader
from otel_vtrack.query.rows import Event, ResourceRow, SpanRow
from otel_vtrack.query.shared import Shared, read_shared
from otel_vtrack.store.client import Store
from otel_vtrack.wire.attributes import Attributes

_FIXED: Final = struct.Struct("<8s8sqq")
_SPAN_ID_BYTES: Final = 8

OF_ONE_MINUTE: Final = {"in": "= {minute:UInt32}"}
"""Parts of the queries for a trace within one minute, as most are: faster to plan than a list."""


class _Stored(NamedTuple):
    """A row of spans/of_trace.

    Attributes:
        parent_span_id: All zero if it has none.
        rare: Bytes of the column `rare`.
        told: What the resource reports, as in `conclusions.told_by`.
    """

    parent_span_id: bytes
    start_time_unix_nano: int
    duration_ns: int
    rare: bytes
    shared: Shared
    resource: ResourceRow
    told: conclusions.Told
    attributes: Attributes


def read(store: Store, trace_id: str, minutes: Sequence[int]) -> list[tuple[SpanRow, Said]] | None:
    """Read each span of a trace once, unordered.

    Args:
        store: The store to query.
        trace_id: 32 hex digits in lower case.
        minutes: The minutes in which the spans started, in seconds since 1970; only a few.

    Returns:
        None if a span was sent twice with different content, if rows came or went meanwhile, or if
        only the engine can derive some value.
    """
    stored = _stored(_asked(store, "spans/of_trace", trace_id, minutes))
    if stored is None:
        return None
    has_events = any(row.shared.event_count for row in stored.values())
    events = _events(_asked(store, "spans/events", trace_id, minutes)) if has_events else {}
    if events is None:
        return None
    found: list[tuple[SpanRow, Said]] = []
    for span_id, row in stored.items():
        span = _told(span_id, row, events.get(span_id, []))
        if span is None:
            return None
        found.append(span)
    return found


def _asked(store: Store, name: str, trace_id: str, minutes: Sequence[int]) -> Reader:
    if len(minutes) > 1:
        return Reader(store.binary(name, {"trace_id": trace_id, "minutes": list(minutes)}))
    return Reader(store.binary(name, {"trace_id": trace_id, "minute": minutes[0]}, OF_ONE_MINUTE))


def _stored(row: Reader) -> Mapping[bytes, _Stored] | None:
    found: dict[bytes, _Stored] = {}
    before, of_resource = b"", Attributes((), (), b"")
    told: conclusions.Told = {}
    while row.more:
        span_id, *fixed = row.fields(_FIXED)
        rare, data = row.string(), row.string()
        shared = read_shared(data)
        kinds = shared.resource_kinds
        # Spans of the same resource are mostly adjacent.
        if not before or kinds != of_resource.kinds or not row.repeats(before):
            at = row.at
            of_resource = Attributes(*row.pairs(), kinds)
            if len(of_resource.names) != len(kinds):
                return None
            told = conclusions.told_by(of_resource)
            before = row.since(at)
        resource = ResourceRow(of_resource, (), 0, shared.resource_schema_url)
        attributes = Attributes(*row.pairs(), shared.attribute_kinds)
        stored = _Stored._make((*fixed, rare, shared, resource, told, attributes))
        if found.setdefault(span_id, stored) != stored:
            return None
    return found


def _events(row: Reader) -> Mapping[bytes, list[Event]] | None:
    found: dict[bytes, list[Event]] = {}
    while row.more:
        span_id, events = row.fixed(_SPAN_ID_BYTES), rows.read_events(row)
        if found.setdefault(span_id, events) != events:
            return None
    return found


def _told(span_id: bytes, row: _Stored, events: list[Event]) -> tuple[SpanRow, Said] | None:
    shared, resource, scope, attributes = row.shared, row.resource, row.shared.scope, row.attributes
    fits = len(attributes.names) == len(attributes.kinds) and len(events) == shared.event_count
    concluded = conclusions.of_span(attributes, row.told) if fits else None
    if concluded is None:
        return None
    said, *git = concluded
    rare = rows.read_rare(row.rare)
    *dropped, scope_dropped, resource_dropped = rare.dropped
    if row.rare:
        resource = resource._replace(
            entity_refs=rare.entity_refs, dropped_attributes_count=resource_dropped
        )
        scope = scope._replace(
            attributes=rare.scope_attributes, dropped_attributes_count=scope_dropped
        )
    span = SpanRow._make(
        (
            span_id,
            row.parent_span_id,
            shared.flags,
            shared.kind,
            row.start_time_unix_nano,
            row.duration_ns,
            shared.status_code,
            *dropped,
            rare.trace_state,
            shared.name,
            rare.status_message,
            shared.experiment,
            *git,
            resource,
            scope,
            attributes,
            events,
            rare.links,
            shared.adjusted_count,
        )
    )
    return span, said
