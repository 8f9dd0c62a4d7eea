"""Spans as stored, and how to read their columns."""

import struct
from typing import Final, NamedTuple

from otel_vtrack.query.rowbinary import Reader
from otel_vtrack.wire.attributes import Attributes

_FIXED: Final = struct.Struct("<8s8sIiqqif")
_DROPPED: Final = struct.Struct("<IIIII")


class ResourceRow(NamedTuple):
    """What the spans of a ResourceSpans have in common."""

    attributes: Attributes
    entity_refs: tuple[bytes, ...]
    dropped_attributes_count: int
    schema_url: str


class ScopeRow(NamedTuple):
    """What the spans of a ScopeSpans have in common; each attribute is an encoded KeyValue."""

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
    """A span as stored, in one experiment.

    Attributes:
        parent_span_id: All zero if it has none.
        start_time_unix_nano: Signed, unlike in OTLP.
        resource: Its resource.
        scope: Its instrumentation scope.
        attributes: Its own attributes.
        events: In the order sent.
        links: Each an encoded Span.Link.
        adjusted_count: How many spans it represents.
    """

    span_id: bytes
    parent_span_id: bytes
    flags: int
    kind: int
    start_time_unix_nano: int
    duration_ns: int
    status_code: int
    dropped_attributes_count: int
    dropped_events_count: int
    dropped_links_count: int
    trace_state: str
    name: str
    status_message: str
    experiment: str
    git_commit: str
    git_branch: str
    git_dirty: str
    repository_url: str
    resource: ResourceRow
    scope: ScopeRow
    attributes: Attributes
    events: list[Event]
    links: tuple[bytes, ...]
    adjusted_count: float

    @property
    def resource_attributes(self) -> Attributes:
        """Attributes of its resource."""
        return self.resource.attributes

    @property
    def resource_names(self) -> tuple[str, ...]:
        """Names of its resource's attributes."""
        return self.resource.attributes.names

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """Names of its own attributes."""
        return self.attributes.names


def read_span(row: Reader) -> SpanRow:
    """Read the OTLP part of a row of `spans/list`."""
    *fixed, adjusted_count = row.fields(_FIXED)
    texts = [row.text() for _ in range(6)]
    resource_attributes, resource_schema_url = row.attributes(), row.text()
    scope_texts = [row.text() for _ in range(3)]
    attributes = row.attributes()
    events = read_events(row)
    rare = read_rare(row.string())
    *dropped, scope_dropped, resource_dropped = rare.dropped
    name, version, scope_schema_url = scope_texts
    return SpanRow._make(
        (
            *fixed,
            *dropped,
            rare.trace_state,
            texts[0],
            rare.status_message,
            *texts[1:],
            ResourceRow(
                resource_attributes, rare.entity_refs, resource_dropped, resource_schema_url
            ),
            ScopeRow(name, version, rare.scope_attributes, scope_dropped, scope_schema_url),
            attributes,
            events,
            rare.links,
            adjusted_count,
        )
    )


def read_events(row: Reader) -> list[Event]:
    """Read the column `events`."""
    return [
        Event(row.uint64(), row.text(), row.key_values(), row.uint32()) for _ in range(row.length())
    ]


class Rare(NamedTuple):
    """What few spans have; see the column `rare`."""

    dropped: tuple[int, ...] = (0, 0, 0, 0, 0)
    trace_state: str = ""
    status_message: str = ""
    scope_attributes: tuple[bytes, ...] = ()
    entity_refs: tuple[bytes, ...] = ()
    links: tuple[bytes, ...] = ()


_NOTHING_RARE: Final = Rare()


def read_rare(data: bytes) -> Rare:
    """Decode a value of the column `rare`."""
    if not data:
        return _NOTHING_RARE
    # Some rows were stored without a newline at the end; for the others, it is an extra byte.
    row = Reader(data + b"\n")
    lists = row.fields(_DROPPED), row.text(), row.text()
    return Rare(*lists, *(tuple(row.strings()) for _ in range(3)))
