"""Gives back the OTLP that came in.

What OTLP tells apart and the store does not: a field that is absent from one that is present
and empty (a Resource, a Scope or a Status without content, the value of an attribute), and
how spans of one resource and scope were spread over messages. The export has one
ResourceSpans for each resource and in it one ScopeSpans for each scope.
"""

import struct
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, TracesData

from otel_vtrack.errors import InvalidArgument, NotFound
from otel_vtrack.query import conclusions
from otel_vtrack.query.conclusions import Said, Told
from otel_vtrack.query.rowbinary import Reader
from otel_vtrack.store.client import Store
from otel_vtrack.wire.attributes import Attributes

NO_PARENT: Final = bytes(8)
_MINUTE_NS: Final = 60_000_000_000
_LATEST_MINUTE: Final = ((1 << 32) - 1) // 60 * 60
_MOST_MINUTES: Final = 60
_BOUNDS: Final = struct.Struct("<qq")
_KEY: Final = struct.Struct("<8sq")
_OUTLINE: Final = struct.Struct("<8sIiqif")
_FIXED: Final = struct.Struct("<8s8sIiqqif")
_DROPPED: Final = struct.Struct("<IIIII")
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
    """A span as the store has it, in one experiment.

    Attributes:
        parent_span_id: All zero: it has none.
        start_time_unix_nano: Signed, other than in OTLP.
        resource: Where it comes from.
        scope: What made it.
        attributes: Its own.
        events: In the order sent.
        links: Each the bytes of a Span.Link.
        adjusted_count: How many spans it stands for.
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
    found = spans(store, digits)
    if not found:
        raise missing(digits)
    return traces_data(digits, [span for span, _ in found])


def missing(trace_id: str) -> NotFound:
    """Say that a trace is not there."""
    return NotFound(
        f"no trace {trace_id} is stored: look it up with `vtrack traces search`; what was sent a"
        " moment ago may still be on its way"
    )


def spans(store: Store, trace_id: str) -> list[tuple[SpanRow, Said]]:
    """Return the spans of a trace, earliest first; none if there are none.

    One that was sent more than once may be there more than once.

    Args:
        store: Where to look.
        trace_id: 32 hex digits in lower case.
    """
    bounds = Reader(store.binary("traces/bounds", {"trace_id": trace_id}))
    times: list[int] = []
    while bounds.more:
        times += bounds.fields(_BOUNDS)
    if not times:
        return []
    first, last = (edge // _MINUTE_NS * 60 for edge in (min(times), max(times)))
    if first < 0 or last > _LATEST_MINUTE:
        # The minutes of the key wrap around or stick outside of these: they may be any.
        first, last = 0, (1 << 32) - 1
    minutes = range(first, last + 1, 60)
    found = _in_halves(store, trace_id, minutes) if len(minutes) <= _MOST_MINUTES else None
    if found is None:
        found = _whole(store, trace_id, first, last)
    return sorted(found, key=_start)


def _whole(
    store: Store, trace_id: str, first_minute: int, last_minute: int
) -> list[tuple[SpanRow, Said]]:
    """Read all columns of each span at once."""
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


class _Origin(NamedTuple):
    """What spans of one resource and scope have in common.

    Attributes:
        told: What the resource says of each.
    """

    experiment: str
    resource: ResourceRow
    scope: ScopeRow
    told: Told


class _Contents(NamedTuple):
    """A row of `spans/contents`."""

    attributes: Attributes
    events: list[Event]


def _in_halves(
    store: Store, trace_id: str, minutes: Sequence[int]
) -> list[tuple[SpanRow, Said]] | None:
    """Read half of the columns of each span beside the other half, and conclude the rest.

    Returns:
        None where the halves do not fit, as rows came or went between, or a span was sent twice
        and changed; or where it takes the engine to conclude something.
    """
    asked = {"trace_id": trace_id, "minutes": list(minutes)}
    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(store.binary, "spans/contents", asked)
        outlines = Reader(store.binary("spans/outlines", asked))
        rows = Reader(beside.result())
    contents: dict[tuple[bytes, int], _Contents] = {}
    while rows.more:
        key = rows.fields(_KEY)
        content = _Contents(rows.attributes(), _read_events(rows))
        if contents.setdefault(key, content) != content:
            return None
    found: dict[tuple[bytes, int], tuple[SpanRow, Said]] = {}
    before, origin = b"", None
    while outlines.more:
        key = outlines.fields(_KEY)
        outline = (*outlines.fields(_OUTLINE), outlines.text(), outlines.string())
        if origin is None or not outlines.repeats(before):
            at = outlines.at
            origin = _read_origin(outlines)
            before = outlines.since(at)
        if key not in contents:
            return None
        span = _joined(key, outline, origin, contents[key])
        if span is None or found.setdefault(key, span) != span:
            return None
    return list(found.values()) if len(found) == len(contents) else None


def _joined(
    key: tuple[bytes, int],
    outline: tuple[Any, ...],
    origin: _Origin,
    contents: _Contents,
) -> tuple[SpanRow, Said] | None:
    concluded = conclusions.of_span(contents.attributes, origin.told)
    if concluded is None:
        return None
    said, *git = concluded
    span_id, start = key
    parent_span_id, flags, kind, duration_ns, status_code, adjusted_count, name, rare_data = outline
    rare = _read_rare(rare_data)
    *dropped, scope_dropped, resource_dropped = rare.dropped
    resource, scope = origin.resource, origin.scope
    if rare is not _NOTHING_RARE:
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


def _read_origin(row: Reader) -> _Origin:
    experiment = row.text()
    resource = ResourceRow(row.attributes(), (), 0, row.text())
    name, version, schema_url = row.text(), row.text(), row.text()
    scope = ScopeRow(name, version, (), 0, schema_url)
    return _Origin(experiment, resource, scope, conclusions.told_by(resource.attributes))


def _start(found: tuple[SpanRow, Said]) -> tuple[int, bytes]:
    span, _ = found
    return span.start_time_unix_nano, span.span_id


def _read_said(row: Reader) -> Said:
    names = [row.string() for _ in range(5)]
    texts = [row.text() for _ in range(3)]
    return Said._make((*names, *texts, *(row.optional_uint64() for _ in range(5))))


def read_span(row: Reader) -> SpanRow:
    """Read what was sent of a row of `spans/list`."""
    *fixed, adjusted_count = row.fields(_FIXED)
    texts = [row.text() for _ in range(6)]
    resource_attributes, resource_schema_url = row.attributes(), row.text()
    scope_texts = [row.text() for _ in range(3)]
    attributes = row.attributes()
    events = _read_events(row)
    rare = _read_rare(row.string())
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


def _read_events(row: Reader) -> list[Event]:
    return [
        Event(row.uint64(), row.text(), row.key_values(), row.uint32()) for _ in range(row.length())
    ]


class _Rare(NamedTuple):
    """What few spans have; see the column of that name."""

    dropped: tuple[int, ...] = (0, 0, 0, 0, 0)
    trace_state: str = ""
    status_message: str = ""
    scope_attributes: tuple[bytes, ...] = ()
    entity_refs: tuple[bytes, ...] = ()
    links: tuple[bytes, ...] = ()


_NOTHING_RARE: Final = _Rare()


def _read_rare(data: bytes) -> _Rare:
    if not data:
        return _NOTHING_RARE
    # Some rows were stored without a newline at their end; to the others it is a byte too many.
    row = Reader(data + b"\n")
    lists = row.fields(_DROPPED), row.text(), row.text()
    return _Rare(*lists, *(tuple(row.strings()) for _ in range(3)))


def traces_data(trace_id: str, spans: Iterable[SpanRow]) -> TracesData:
    """Build the message of each span once, its groups in order of their first span."""
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


# In the next three, a field that is left alone stays absent; assigning it even its default
# would make the message it is in present.


def add_resource(groups: Any, row: ResourceRow) -> Any:
    """Append a ResourceSpans or ResourceLogs, and return it."""
    group = groups.add(schema_url=row.schema_url)
    if row.attributes.names:
        row.attributes.fill(group.resource.attributes)
    if row.dropped_attributes_count:
        group.resource.dropped_attributes_count = row.dropped_attributes_count
    for reference in row.entity_refs:
        group.resource.entity_refs.add().MergeFromString(reference)
    return group


def add_scope(groups: Any, row: ScopeRow) -> Any:
    """Append a ScopeSpans or ScopeLogs, and return it."""
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
        # Unsigned in OTLP, signed in the engine, 64 bits in both.
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
