"""Reads the spans of a trace in two halves of their columns, side by side.

A trace is read in a few milliseconds, of which each column takes its part: of those that can be
concluded from others none is read, and the events only of a trace that has any.
"""

import struct
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from otel_vtrack.query import beside, conclusions, rows
from otel_vtrack.query.conclusions import Said
from otel_vtrack.query.rowbinary import Reader
from otel_vtrack.query.rows import Event, ResourceRow, ScopeRow, SpanRow
from otel_vtrack.store.client import Store
from otel_vtrack.wire.attributes import Attributes

_OUTLINE: Final = struct.Struct("<8sIiqqif")
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


class _Contents(NamedTuple):
    attributes: Attributes
    events: list[Event]


class _Origin(NamedTuple):
    """What spans of one resource and scope have in common.

    Attributes:
        told: What the resource says of each.
    """

    experiment: str
    resource: ResourceRow
    scope: ScopeRow
    told: conclusions.Told


_Outlines: TypeAlias = dict[bytes, tuple[_Origin, tuple[Any, ...]]]


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
    other = beside.POOL.submit(_contents, store, asked)
    outlines = _outlines(store, asked)
    contents = other.result()
    if outlines is None or contents is None or outlines.keys() != contents.keys():
        return None
    found: list[tuple[SpanRow, Said]] = []
    for span_id, (origin, outline) in outlines.items():
        span = _joined(span_id, origin, outline, contents[span_id])
        if span is None:
            return None
        found.append(span)
    return found


def _outlines(store: Store, asked: _Asked) -> _Outlines | None:
    row = asked.of(store, "spans/outlines")
    found: _Outlines = {}
    before, origin = b"", None
    while row.more:
        span_id = row.fixed(_SPAN_ID_BYTES)
        outline = (*row.fields(_OUTLINE), row.text(), row.string())
        if origin is None or not row.repeats(before):
            at = row.at
            origin = _origin(row)
            before = row.since(at)
        both = origin, outline
        if found.setdefault(span_id, both) != both:
            return None
    return found


def _origin(row: Reader) -> _Origin:
    experiment = row.text()
    resource = ResourceRow(row.attributes(), (), 0, row.text())
    name, version, schema_url = row.text(), row.text(), row.text()
    scope = ScopeRow(name, version, (), 0, schema_url)
    return _Origin(experiment, resource, scope, conclusions.told_by(resource.attributes))


def _contents(store: Store, asked: _Asked) -> dict[bytes, _Contents] | None:
    row = asked.of(store, "spans/contents")
    found: dict[bytes, tuple[Attributes, int]] = {}
    while row.more:
        span_id = row.fixed(_SPAN_ID_BYTES)
        both = row.attributes(), row.uint64()
        if found.setdefault(span_id, both) != both:
            return None
    counts = {span_id: count for span_id, (_, count) in found.items() if count}
    events = _events(store, asked) if counts else {}
    if events is None or counts != {span_id: len(each) for span_id, each in events.items()}:
        return None
    return {
        span_id: _Contents(attributes, events.get(span_id, []))
        for span_id, (attributes, _) in found.items()
    }


def _events(store: Store, asked: _Asked) -> dict[bytes, list[Event]] | None:
    row = asked.of(store, "spans/events")
    found: dict[bytes, list[Event]] = {}
    while row.more:
        span_id, events = row.fixed(_SPAN_ID_BYTES), rows.read_events(row)
        if found.setdefault(span_id, events) != events:
            return None
    return {span_id: events for span_id, events in found.items() if events}


def _joined(
    span_id: bytes, origin: _Origin, outline: tuple[Any, ...], contents: _Contents
) -> tuple[SpanRow, Said] | None:
    concluded = conclusions.of_span(contents.attributes, origin.told)
    if concluded is None:
        return None
    said, *git = concluded
    *fixed, adjusted_count, name, rare_data = outline
    parent_span_id, flags, kind, start, duration_ns, status_code = fixed
    rare = rows.read_rare(rare_data)
    *dropped, scope_dropped, resource_dropped = rare.dropped
    resource, scope = origin.resource, origin.scope
    if rare_data:
        resource = resource._replace(
            entity_refs=rare.entity_refs, dropped_attributes_count=resource_dropped
        )
        scope = scope._replace(
            attributes=rare.scope_attributes, dropped_attributes_count=scope_dropped
        )
    span = SpanRow._make(
        (
            span_id,
            parent_span_id,
            flags,
            kind,
            start,
            duration_ns,
            status_code,
            *dropped,
            rare.trace_state,
            name,
            rare.status_message,
            origin.experiment,
            *git,
            resource,
            scope,
            *contents,
            rare.links,
            adjusted_count,
        )
    )
    return span, said
