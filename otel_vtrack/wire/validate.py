"""Checks which spans and log records of a request are acceptable.

Every request to be stored is parsed completely, once, before it is joined with others (see
`otel_vtrack.wire.folded`). A faultless one is passed on byte for byte. Of one that is only
forwarded, just the outline is read.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import message
from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import ResourceMetrics
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

from otel_vtrack.errors import WireError
from otel_vtrack.wire import folded, framing, plain
from otel_vtrack.wire.signals import LOGS, METRICS, TRACES, Signal

_NO_TRACE: Final = bytes(16)
_NO_SPAN: Final = bytes(8)
_TRACE_LENGTHS: Final = frozenset({16})
_SPAN_LENGTHS: Final = frozenset({8})
_PARENT_LENGTHS: Final = frozenset({0, 8})

# The store's times are signed 64-bit nanoseconds, up to 2262-04-11.
_LAST_TIME: Final = (1 << 63) - 1
# 2000-01-01. No real span is older; an earlier time is in seconds, milliseconds or microseconds
# instead of nanoseconds.
_FIRST_LIKELY_TIME: Final = 946_684_800 * 10**9


@dataclass(frozen=True, slots=True)
class _Kind:
    """The path from a signal's request to its items.

    Attributes:
        request: Descriptor of the request.
        fields: Fields on the path.
        last: Message that contains the last of them.
        group: Message class of the first.
    """

    request: Any
    fields: tuple[str, str, str]
    last: str
    group: type[message.Message]


_KINDS: Final = {
    TRACES.name: _Kind(
        folded.TRACES, ("resource_spans", "scope_spans", "spans"), "ScopeSpans", ResourceSpans
    ),
    LOGS.name: _Kind(
        folded.LOGS, ("resource_logs", "scope_logs", "log_records"), "ScopeLogs", ResourceLogs
    ),
    METRICS.name: _Kind(
        folded.METRICS,
        ("resource_metrics", "scope_metrics", "metrics"),
        "ScopeMetrics",
        ResourceMetrics,
    ),
}

_DICTIONARY: Final = (
    "key_strindex and string_value_strindex were ignored: they are for profiles only; send the "
    "string itself"
)
_EARLY: Final = (
    "spans that start before the year 2000, or have no start, are stored as they are; OTLP's "
    "times are nanoseconds since 1970"
)
# Protobuf's wire type of a group.
_GROUP: Final = 3
_LATE: Final = "a time is after 2262-04-11, the latest in signed 64-bit nanoseconds since 1970"


@dataclass(frozen=True, slots=True)
class Checked:
    """A request that may be stored.

    Attributes:
        payload: Bytes to store: those received, unless something had to be changed.
        items: Spans or log records in `payload`.
        rejected: Spans or log records that were removed.
        message: What to report to the sender, in English; empty if there is nothing.
    """

    payload: bytes
    items: int
    rejected: int = 0
    message: str = ""


def traces(payload: bytes) -> Checked:
    """Check an ExportTraceServiceRequest.

    A span is rejected if its trace ID is not 16 bytes or its span ID not 8, if either is all
    zero, if it has a parent span ID that is not 8 bytes, or if it starts or ends later than the
    store can represent. Its links are kept unchanged, and so are an end before its start and a
    start before 2000, though the latter is reported to the sender.

    Raises:
        WireError: The bytes are not such a request; none of it can be kept.
    """
    request: Any = _parsed(payload, TRACES.name)
    group = request.resource_spans
    scope = group.scope_spans
    span = scope.spans
    trace_ids = list(span.trace_id)
    span_ids = list(span.span_id)
    items = _count(payload, TRACES.name)
    warning = _warning(group.resource, scope.scope, span, span.events, span.links)
    starts = list(span.start_time_unix_nano)
    if items and (len(starts) < items or min(starts) < _FIRST_LIKELY_TIME):
        warning = f"{warning} {_EARLY}" if warning else _EARLY
    payload = _without_what_is_misread(payload, request, TRACES.name)
    if items < max(len(starts), len(span.end_time_unix_nano)):
        payload = plain.encoded_anew(payload, ResourceSpans)
    if not items or (
        # No encoder writes an ID twice into a span, so equal counts mean that each has one. A
        # handcrafted request can hide a span without IDs behind one with two; it is stored as is.
        items == len(trace_ids) == len(span_ids)
        and _TRACE_LENGTHS.issuperset(map(len, trace_ids))
        and _SPAN_LENGTHS.issuperset(map(len, span_ids))
        and _PARENT_LENGTHS.issuperset(map(len, span.parent_span_id))
        and _NO_TRACE not in trace_ids
        and _NO_SPAN not in span_ids
        and max(starts, default=0) <= _LAST_TIME
        and max(span.end_time_unix_nano, default=0) <= _LAST_TIME
    ):
        return Checked(payload, items, 0, warning)
    return _without_bad_spans(payload, warning)


def logs(payload: bytes) -> Checked:
    """Check an ExportLogsServiceRequest.

    A log record is rejected if one of its times is later than the store can represent. One whose
    span ID has a wrong length is kept without it, and one whose trace ID has a wrong length without
    both: logs.proto tells receivers to treat invalid IDs as absent.

    Raises:
        WireError: The bytes are not such a request; none of it can be kept.
    """
    request: Any = _parsed(payload, LOGS.name)
    group = request.resource_logs
    scope = group.scope_logs
    record = scope.log_records
    items = _count(payload, LOGS.name)
    warning = _warning(group.resource, scope.scope, record, body=record.body)
    payload = _without_what_is_misread(payload, request, LOGS.name)
    # If an ID occurs twice in a record, the engine reads neither.
    singular = (record.time_unix_nano, record.observed_time_unix_nano)
    if items < max(map(len, (*singular, record.trace_id, record.span_id))):
        payload = plain.encoded_anew(payload, ResourceLogs)
    if (
        {0, 16}.issuperset(map(len, record.trace_id))
        and _PARENT_LENGTHS.issuperset(map(len, record.span_id))
        and max(record.time_unix_nano, default=0) <= _LAST_TIME
        and max(record.observed_time_unix_nano, default=0) <= _LAST_TIME
    ):
        return Checked(payload, items, 0, warning)
    return _without_bad_records(payload, warning)


def outline(signal: Signal, payload: bytes) -> int:
    """Check a request down to its spans, log records or metrics, and count them.

    Their content is not checked: that is up to those who store them.

    Raises:
        WireError: It is not such a request.
    """
    try:
        return _count(payload, signal.name)
    except message.DecodeError:
        raise WireError(
            f"the body is not a protobuf {_KINDS[signal.name].request.name}; "
            "send all that an OTLP encoder wrote"
        ) from None


# Classes are built on demand: a server that only forwards needs one per signal.


@functools.cache
def _whole(signal: str) -> Callable[[bytes], message.Message]:
    return folded.message_class(_KINDS[signal].request).FromString


@functools.cache
def _any_text(signal: str) -> Callable[[bytes], message.Message]:
    return folded.message_class(_KINDS[signal].request, check_utf8=False).FromString


@functools.cache
def _outline(signal: str) -> Callable[[bytes], message.Message]:
    kind = _KINDS[signal]
    opaque = {kind.last: frozenset({kind.fields[-1]})}
    return folded.message_class(kind.request, opaque).FromString


def _count(payload: bytes, signal: str) -> int:
    found: Any = _outline(signal)(payload)
    for name in _KINDS[signal].fields:
        found = getattr(found, name)
    return len(found)


def _parsed(payload: bytes, signal: str) -> Any:
    try:
        return _whole(signal)(payload)
    except message.DecodeError:
        pass
    name = _KINDS[signal].request.name
    # The parser gives no reason; only a failed request pays for finding it.
    try:
        _any_text(signal)(payload)
    except message.DecodeError:
        raise WireError(
            f"the body is not a protobuf {name}, or is nested deeper than 100 levels; "
            "send all that an OTLP encoder wrote"
        ) from None
    raise WireError(f"a string in this {name} is not UTF-8; encode it as UTF-8 or send bytes_value")


def _without_what_is_misread(payload: bytes, request: Any, signal: str) -> bytes:
    """Remove our private fields, and unknown fields that the engine would misread.

    Args:
        payload: Bytes to store.
        request: The same, folded; its unknown fields are discarded, which is the fastest way to
            detect them.
        signal: Name of the signal.
    """
    size = request.ByteSize()
    request.DiscardUnknownFields()
    if request.ByteSize() == size:
        return payload
    request = _whole(signal)(payload)
    kind = _KINDS[signal]
    group = getattr(request, kind.fields[0])
    if any(field.field_number in framing.PRIVATE_FIELDS for field in UnknownFieldSet(group)):
        payload = framing.with_experiment(payload, "")
    return plain.encoded_anew(payload, kind.group) if _is_misread(request) else payload


def _is_misread(folded: Any) -> bool:
    """Return whether unknown fields include groups or known numbers, which the engine misreads."""
    known = folded.DESCRIPTOR.fields_by_number
    return any(
        field.wire_type == _GROUP or field.field_number in known
        for field in UnknownFieldSet(folded)
    ) or any(_is_misread(value) for field, value in folded.ListFields() if field.message_type)


def _warning(*owners: Any, body: Any = None) -> str:
    """Return a warning if a folded request refers to a dictionary; else an empty text."""
    used = any(_uses_dictionary(owner.attributes) for owner in owners)
    if used or (body is not None and _refers(body)):
        return _DICTIONARY
    return ""


def _uses_dictionary(pair: Any) -> bool:
    return bool(pair.key_strindex) or (pair.HasField("value") and _refers(pair.value))


def _refers(value: Any) -> bool:
    if value.string_value_strindex:
        return True
    array, pairs = value.array_value, value.kvlist_value
    return (array.HasField("values") and _refers(array.values)) or (
        pairs.HasField("values") and _uses_dictionary(pairs.values)
    )


def _fault(span: Span) -> str:
    """Return why a span cannot be stored; empty if it can."""
    if len(span.trace_id) != 16 or span.trace_id == _NO_TRACE:
        return "trace_id is not 16 bytes or is all zero"
    if len(span.span_id) != 8 or span.span_id == _NO_SPAN:
        return "span_id is not 8 bytes or is all zero"
    if len(span.parent_span_id) not in _PARENT_LENGTHS:
        return "parent_span_id is neither empty nor 8 bytes"
    if max(span.start_time_unix_nano, span.end_time_unix_nano) > _LAST_TIME:
        return _LATE
    return ""


def _without_bad_spans(payload: bytes, warning: str) -> Checked:
    request = ExportTraceServiceRequest.FromString(payload)
    items = 0
    faults: dict[str, int] = {}
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            spans = scope_spans.spans
            for index in range(len(spans) - 1, -1, -1):
                if fault := _fault(spans[index]):
                    faults[fault] = faults.get(fault, 0) + 1
                    del spans[index]
            items += len(spans)
    rejected = sum(faults.values())
    if not rejected:
        # The counts differed only because a field occurred twice; now it occurs once.
        return Checked(request.SerializeToString(), items, 0, warning)
    reasons = "; ".join(f"{count} because {fault}" for fault, count in sorted(faults.items()))
    said = (
        f"{rejected} of {rejected + items} spans were rejected: {reasons}. The others are "
        "stored. Correct these before sending them again."
    )
    return Checked(
        request.SerializeToString(), items, rejected, f"{said} {warning}" if warning else said
    )


def _without_bad_records(payload: bytes, warning: str) -> Checked:
    request = ExportLogsServiceRequest.FromString(payload)
    items = cleared = rejected = 0
    for resource_logs in request.resource_logs:
        for scope_logs in resource_logs.scope_logs:
            records = scope_logs.log_records
            for index in range(len(records) - 1, -1, -1):
                record = records[index]
                if max(record.time_unix_nano, record.observed_time_unix_nano) > _LAST_TIME:
                    rejected += 1
                    del records[index]
                elif len(record.trace_id) not in {0, 16}:
                    record.ClearField("trace_id")
                    record.ClearField("span_id")
                    cleared += 1
                elif len(record.span_id) not in {0, 8}:
                    # logs.proto: then the record belongs to no span, but still to its trace.
                    record.ClearField("span_id")
                    cleared += 1
            items += len(records)
    said: list[str] = []
    if rejected:
        said.append(
            f"{rejected} of {rejected + items} log records were rejected because {_LATE}. The "
            "others are stored. Correct these before sending them again."
        )
    if cleared:
        said.append(
            f"{cleared} of {items} log records are stored without an id that is malformed: a "
            "trace_id has 16 bytes and a span_id 8. Give them such ids, or none."
        )
    return Checked(
        request.SerializeToString(), items, rejected, " ".join([*said, *filter(None, [warning])])
    )
