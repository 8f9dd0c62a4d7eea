"""Gives back the OTLP that came in.

What OTLP tells apart and the store does not: a field that is absent from one that is present
and empty (a Resource, a Scope or a Status without content, and an attribute's value of no
kind), and the grouping of spans that share resource and scope into several messages. The
export has one ResourceSpans for each resource and in it one ScopeSpans for each scope.
"""

from typing import Any, Final

from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, TracesData

from otel_vtrack.errors import InvalidArgument, NotFound
from otel_vtrack.store.client import Store
from otel_vtrack.wire import attributes

_NO_BOUNDS: Final = {"earliest_ns": 1, "latest_ns": 0}
_UINT64: Final = 1 << 64


def trace_id_from_text(text: str) -> str:
    """Check a trace id of 32 hex digits and return it in lower case.

    An id as MLflow writes it, `tr-` before the digits, is understood.

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
    return traces_data(rows(store, trace_id))


def rows(store: Store, trace_id: str) -> list[dict[str, Any]]:
    """Return the rows that `traces_data` reads; arguments and errors as `trace` has them."""
    digits = trace_id_from_text(trace_id)
    [bounds] = store.query("traces/bounds", {"trace_id": digits})
    if not bounds["span_count"]:
        raise NotFound(
            f"no trace {digits} is stored: look it up with `vtrack traces search`; what was sent"
            " a moment ago may still be on its way"
        )
    expected = bounds.pop("span_count")
    found = store.query("spans/list", {"trace_id": digits, **bounds})
    if len(found) < expected:
        # Times so absurd that they wrap around put spans outside of the trace's own bounds.
        found = store.query("spans/list", {"trace_id": digits, **_NO_BOUNDS})
    return found


def traces_data(rows: list[dict[str, Any]]) -> TracesData:
    """Build the message from rows of `spans/list`, groups in order of their first span."""
    data = TracesData()
    resources: dict[Any, ResourceSpans] = {}
    scopes: dict[Any, ScopeSpans] = {}
    for row in rows:
        resource_key = (
            tuple(row["resource_attribute_names"]),
            tuple(row["resource_attribute_texts"]),
            tuple(row["resource_attribute_types"]),
            row["resource_dropped_attributes_count"],
            tuple(row["resource_entity_refs"]),
            row["resource_schema_url"],
        )
        scope_key = (
            resource_key,
            row["scope_name"],
            row["scope_version"],
            tuple(row["scope_attribute_names"]),
            tuple(row["scope_attribute_texts"]),
            tuple(row["scope_attribute_types"]),
            row["scope_dropped_attributes_count"],
            row["scope_schema_url"],
        )
        if resource_key not in resources:
            resources[resource_key] = _add_resource(data, row)
        if scope_key not in scopes:
            scopes[scope_key] = _add_scope(resources[resource_key], row)
        _add_span(scopes[scope_key], row)
    return data


def _add_resource(data: TracesData, row: dict[str, Any]) -> ResourceSpans:
    group = data.resource_spans.add(schema_url=row["resource_schema_url"])
    names = row["resource_attribute_names"]
    if names:
        attributes.fill(
            group.resource.attributes,
            names,
            row["resource_attribute_texts"],
            row["resource_attribute_types"],
        )
    if row["resource_dropped_attributes_count"]:
        group.resource.dropped_attributes_count = row["resource_dropped_attributes_count"]
    for reference in row["resource_entity_refs"]:
        group.resource.entity_refs.add().MergeFromString(bytes.fromhex(reference))
    return group


def _add_scope(group: ResourceSpans, row: dict[str, Any]) -> ScopeSpans:
    scoped = group.scope_spans.add(schema_url=row["scope_schema_url"])
    # Assigning even an empty value would make an absent Scope present.
    for field in ("name", "version", "dropped_attributes_count"):
        if row[f"scope_{field}"]:
            setattr(scoped.scope, field, row[f"scope_{field}"])
    names = row["scope_attribute_names"]
    if names:
        attributes.fill(
            scoped.scope.attributes,
            names,
            row["scope_attribute_texts"],
            row["scope_attribute_types"],
        )
    return scoped


def _add_span(scoped: ScopeSpans, row: dict[str, Any]) -> Span:
    start = row["start_time_unix_nano"]
    span = scoped.spans.add(
        trace_id=bytes.fromhex(row["trace_id"]),
        span_id=bytes.fromhex(row["span_id"]),
        parent_span_id=bytes.fromhex(row["parent_span_id"]),
        trace_state=row["trace_state"],
        flags=row["flags"],
        name=row["name"],
        kind=row["kind"],
        # The engine has signed 64 bits for both; OTLP has unsigned ones.
        start_time_unix_nano=start % _UINT64,
        end_time_unix_nano=(start + row["duration_ns"]) % _UINT64,
        dropped_attributes_count=row["dropped_attributes_count"],
        dropped_events_count=row["dropped_events_count"],
        dropped_links_count=row["dropped_links_count"],
    )
    if row["status_code"] or row["status_message"]:
        span.status.code = row["status_code"]
        span.status.message = row["status_message"]
    attributes.fill(
        span.attributes, row["attribute_names"], row["attribute_texts"], row["attribute_types"]
    )
    for at, name, names, texts, kinds, dropped in map(_fields, row["span_events"]):
        event = span.events.add(time_unix_nano=at, name=name, dropped_attributes_count=dropped)
        attributes.fill(event.attributes, names, texts, kinds)
    for trace_id, span_id, state, names, texts, kinds, dropped, flags in map(
        _fields, row["span_links"]
    ):
        link = span.links.add(
            trace_id=bytes.fromhex(trace_id),
            span_id=bytes.fromhex(span_id),
            trace_state=state,
            dropped_attributes_count=dropped,
            flags=flags,
        )
        attributes.fill(link.attributes, names, texts, kinds)
    return span


def _fields(value: Any) -> Any:
    """Return a tuple's fields in order; the driver makes those with names a dict."""
    return tuple(value.values()) if isinstance(value, dict) else value
