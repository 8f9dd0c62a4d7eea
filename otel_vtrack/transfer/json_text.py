"""Converts serialized spans and log records directly to OTLP JSON text.

Attributes repeat from span to span, so converted text is cached by its bytes. Only what
`ExportTelemetry` itself assembles is decoded by hand: fields in order, each once. What a sender
encoded (links, arrays, a resource) is parsed with protobuf.
"""

from collections.abc import Callable, Iterator
from json.encoder import encode_basestring
from typing import Any, Final, NamedTuple

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from otel_vtrack.transfer.items import SPANS
from otel_vtrack.wire import framing, otlp_json

_F = FieldDescriptor
_MOST_KNOWN: Final = 20_000
_LONGEST_KNOWN: Final = 200
_LONG: Final = 8

_Text = Callable[[bytes, int, int], str]


class Scoped(NamedTuple):
    """The content of a ScopeSpans or ScopeLogs.

    Attributes:
        resource: The surrounding ResourceSpans or ResourceLogs, without scopes.
        scope: The ScopeSpans or ScopeLogs, without spans or records.
        items: The JSON of each span or log record.
        is_last: Whether it is the last scope of its resource.
    """

    resource: Any
    scope: Any
    items: list[str]
    is_last: bool


def scopes(signal: str, otlp: bytes) -> Iterator[Scoped]:
    """Yield the scopes of TracesData or LogsData in the form that `ExportTelemetry` returns."""
    is_span = signal == SPANS
    fields = _SPAN if is_span else _RECORD
    for _, _, _, value, end in framing.fields(otlp):
        group = otlp[value:end]
        resource = (ResourceSpans if is_span else ResourceLogs).FromString(_around(group))
        inside = [it for it in framing.fields(group) if it[0] == 2]
        for at, (_, _, _, first, last) in enumerate(inside, 1):
            scoped = group[first:last]
            scope = (ScopeSpans if is_span else ScopeLogs).FromString(_around(scoped))
            items = [
                _object(scoped, start, stop, fields)
                for number, _, _, start, stop in framing.fields(scoped)
                if number == 2
            ]
            yield Scoped(resource, scope, items, at == len(inside))


def _around(group: bytes) -> bytes:
    return b"".join(
        group[start:end] for number, _, start, _, end in framing.fields(group) if number != 2
    )


class _Field(NamedTuple):
    name: str
    repeated: bool
    text: _Text


def _object(raw: bytes, at: int, end: int, fields: dict[int, _Field]) -> str:
    found: list[tuple[_Field, list[str]]] = []
    texts: list[str] = []
    before = 0
    for number, _, _, start, stop in framing.fields(raw[at:end]):
        if number != before:
            if number not in fields:
                continue
            before, texts = number, []
            found.append((fields[number], texts))
        texts.append(found[-1][0].text(raw, at + start, at + stop))
    members = (
        f"{field.name}[{','.join(texts)}]" if field.repeated else field.name + texts[-1]
        for field, texts in found
    )
    return "{" + ",".join(members) + "}"


# Converters from each kind of field to text


def _string(raw: bytes, at: int, end: int) -> str:
    return encode_basestring(raw[at:end].decode())


def _hex(raw: bytes, at: int, end: int) -> str:
    return f'"{raw[at:end].hex()}"'


def _fixed(raw: bytes, at: int, end: int) -> str:
    number = int.from_bytes(raw[at:end], "little")
    return f'"{number}"' if end - at == _LONG else str(number)


def _integer(raw: bytes, at: int, end: int) -> str:
    number = _varint(raw, at, end)
    return str(number - (1 << 64) if number >> 63 else number)


def _varint(raw: bytes, at: int, end: int) -> int:
    number = 0
    for place in range(end - 1, at - 1, -1):
        number = number << 7 | raw[place] & 0x7F
    return number


def _parsed(kind: type[Message]) -> _Text:
    def text(raw: bytes, at: int, end: int) -> str:
        return otlp_json.write(kind.FromString(raw[at:end]))

    return text


def _nested(fields: dict[int, _Field]) -> _Text:
    def text(raw: bytes, at: int, end: int) -> str:
        return _object(raw, at, end, fields)

    return text


def _pair(raw: bytes, at: int, end: int) -> str:
    """Convert a KeyValue."""
    whole = raw[at:end]
    if known := _known.get(whole):
        return known
    members = list(framing.fields(whole))
    if [number for number, *_ in members] == [1, 2] and members[0][4] > members[0][3]:
        (_, _, _, first, last), (_, _, _, start, stop) = members
        text = f'{{"key":{_string(whole, first, last)},"value":{_value(whole, start, stop)}}}'
    else:
        text = otlp_json.write(KeyValue.FromString(whole))
    if len(whole) <= _LONGEST_KNOWN:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[whole] = text
    return text


# Safe to share between threads: dict operations are atomic, and all threads store equal values.
_known: Final[dict[bytes, str]] = {}


def _value(raw: bytes, at: int, end: int) -> str:
    """Convert an AnyValue, which has one member or none."""
    if at == end:
        return "{}"
    number, kind, _, start, stop = next(framing.fields(raw[at:end]))
    start, stop = at + start, at + stop
    match number, kind:
        case 1, 2:
            return f'{{"stringValue":{_string(raw, start, stop)}}}'
        case 2, 0:
            return '{"boolValue":true}' if raw[start] else '{"boolValue":false}'
        case 3, 0:
            return f'{{"intValue":"{_integer(raw, start, stop)}"}}'
        case _:
            return otlp_json.write(AnyValue.FromString(raw[at:end]))


_MEMBERS: Final[dict[str, _Text]] = {"attributes": _pair, "body": _value}
_TEXTS: Final[dict[int, _Text]] = {
    _F.TYPE_STRING: _string,
    _F.TYPE_BYTES: _hex,
    _F.TYPE_FIXED64: _fixed,
    _F.TYPE_FIXED32: _fixed,
    _F.TYPE_UINT32: _integer,
    _F.TYPE_ENUM: _integer,
}
_WALKED: Final = frozenset({"events", "status"})


def _fields(kind: Any) -> dict[int, _Field]:
    return {
        field.number: _Field(f'"{field.json_name}":', field.is_repeated, _text_of(field))
        for field in kind.DESCRIPTOR.fields
    }


def _text_of(field: FieldDescriptor) -> _Text:
    if field.name in _MEMBERS:
        return _MEMBERS[field.name]
    if not field.message_type:
        return _TEXTS[field.type]
    kind: Any = {"events": Span.Event, "status": Status, "links": Span.Link}[field.name]
    return _nested(_fields(kind)) if field.name in _WALKED else _parsed(kind)


_SPAN: Final = _fields(Span)
_RECORD: Final = _fields(LogRecord)
