"""Reads the spans of a trace in two halves of their columns, side by side.

A trace is read in a few milliseconds, of which each column takes its part: of those that can be
concluded from others none is read, of those that many spans share one for all, and the events
only of a trace that has any.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from otel_vtrack.query import beside, conclusions, rows
from otel_vtrack.query.conclusions import Said
from otel_vtrack.query.rowbinary import Reader
from otel_vtrack.query.rows import Event, ResourceRow, SpanRow
from otel_vtrack.query.shared import Shared, read_shared
from otel_vtrack.store.client import Store
from otel_vtrack.wire.attributes import Attributes

_OUTLINE: Final = struct.Struct("<8s8sqq")
_SPAN_ID_BYTES: Final = 8

OF_ONE_MINUTE: Final = {"in": "= {minute:UInt32}"}
"""Parts of the queries for a trace of one minute, as most are: less to plan than a list."""


class _Asked(NamedTuple):
    trace_id: str
    minutes: Sequence[int]

    def of(self, store: Store, name: str) -> Reader:
        if len(self.minutes) > 1:
            asked = {"trace_id": self.trace_id, "minutes": list(self.minutes)}
            return Reader(store.binary(name, asked))
        asked = {"trace_id": self.trace_id, "minute": self.minutes[0]}
        return Reader(store.binary(name, asked, OF_ONE_MINUTE))


class _Outline(NamedTuple):
    """What there is of a span, apart from its contents.

    Attributes:
        parent_span_id: All zero: it has none.
        rare: Bytes of the column of that name.
        told: What the resource says of the span.
    """

    parent_span_id: bytes
    start_time_unix_nano: int
    duration_ns: int
    rare: bytes
    shared: Shared
    resource: ResourceRow
    told: conclusions.Told


_Contents: TypeAlias = tuple[tuple[str, ...], tuple[bytes, ...]]
"""Names of attributes, and their values as texts."""


def read(store: Store, trace_id: str, minutes: Sequence[int]) -> list[tuple[SpanRow, Said]] | None:
    """Read each span of a trace once, in no order.

    Args:
        store: Where to look.
        trace_id: 32 hex digits in lower case.
        minutes: In which the spans started, in seconds since 1970; few.

    Returns:
        None where the halves do not fit, as rows came or went between them, or a span was sent
        twice and changed; or where it takes the engine to conclude something.
    """
    asked = _Asked(trace_id, minutes)
    other = beside.POOL.submit(_outlined, store, asked)
    contents = _contents(store, asked)
    outlined = other.result()
    if outlined is None or contents is None:
        return None
    outlines, events = outlined
    if outlines.keys() != contents.keys():
        return None
    found: list[tuple[SpanRow, Said]] = []
    for span_id, outline in outlines.items():
        span = _joined(span_id, outline, contents[span_id], events.get(span_id, []))
        if span is None:
            return None
        found.append(span)
    return found


def _outlined(
    store: Store, asked: _Asked
) -> tuple[Mapping[bytes, _Outline], Mapping[bytes, list[Event]]] | None:
    outlines = _outlines(store, asked)
    if outlines is None:
        return None
    has_events = any(outline.shared.event_count for outline in outlines.values())
    events = _events(store, asked) if has_events else {}
    return None if events is None else (outlines, events)


def _outlines(store: Store, asked: _Asked) -> dict[bytes, _Outline] | None:
    row = asked.of(store, "spans/outlines")
    found: dict[bytes, _Outline] = {}
    before, pairs = b"", ((), ())
    told: conclusions.Told = {}
    while row.more:
        span_id, *fixed = row.fields(_OUTLINE)
        rare, data = row.string(), row.string()
        shared = read_shared(data)
        # Spans of one resource mostly stand together.
        if not before or not row.repeats(before):
            at = row.at
            pairs = row.pairs()
            told = conclusions.told_by(Attributes(*pairs, b""))
            before = row.since(at)
        attributes = Attributes(*pairs, shared.resource_kinds)
        resource = ResourceRow(attributes, (), 0, shared.resource_schema_url)
        outline = _Outline._make((*fixed, rare, shared, resource, told))
        if found.setdefault(span_id, outline) != outline:
            return None
    return found


def _contents(store: Store, asked: _Asked) -> dict[bytes, _Contents] | None:
    row = asked.of(store, "spans/contents")
    found: dict[bytes, _Contents] = {}
    while row.more:
        span_id, pairs = row.fixed(_SPAN_ID_BYTES), row.pairs()
        if found.setdefault(span_id, pairs) != pairs:
            return None
    return found


def _events(store: Store, asked: _Asked) -> dict[bytes, list[Event]] | None:
    row = asked.of(store, "spans/events")
    found: dict[bytes, list[Event]] = {}
    while row.more:
        span_id, events = row.fixed(_SPAN_ID_BYTES), rows.read_events(row)
        if found.setdefault(span_id, events) != events:
            return None
    return found


def _joined(
    span_id: bytes, outline: _Outline, contents: _Contents, events: list[Event]
) -> tuple[SpanRow, Said] | None:
    shared, resource, scope = outline.shared, outline.resource, outline.shared.scope
    attributes = Attributes(*contents, shared.attribute_kinds)
    fits = len(attributes.names) == len(attributes.kinds) and len(events) == shared.event_count
    concluded = conclusions.of_span(attributes, outline.told) if fits else None
    if concluded is None:
        return None
    said, *git = concluded
    rare = rows.read_rare(outline.rare)
    *dropped, scope_dropped, resource_dropped = rare.dropped
    if outline.rare:
        resource = resource._replace(
            entity_refs=rare.entity_refs, dropped_attributes_count=resource_dropped
        )
        scope = scope._replace(
            attributes=rare.scope_attributes, dropped_attributes_count=scope_dropped
        )
    span = SpanRow._make(
        (
            span_id,
            outline.parent_span_id,
            shared.flags,
            shared.kind,
            outline.start_time_unix_nano,
            outline.duration_ns,
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
