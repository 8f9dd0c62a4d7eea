"""Converts the JSON of spans and log records directly to OTLP bytes: the inverse of `json_text`.

Attributes repeat from span to span, so encoded attributes are cached. To be hashable as cache
keys, JSON objects are represented as tuples of pairs. Rarer structures (links, arrays, a resource)
are first converted to messages by `otlp_json`.

Invalid input raises ValueError or WireError without a location: to find it, pass the whole
document to `otlp_json`.
"""

import struct
from collections.abc import Callable
from functools import cache
from json import JSONDecoder
from typing import Any, Final, TypeAlias, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from otel_vtrack.transfer.items import LOG_RECORDS, SPANS
from otel_vtrack.wire import framing, json_values, otlp_json

Pairs: TypeAlias = tuple[tuple[str, Any], ...]
"""A JSON object."""

Encode: TypeAlias = Callable[[Any], bytes]
"""Encodes the value of a field."""

_F: Final = FieldDescriptor
_MOST_KNOWN: Final = 20_000
_LONGEST_KNOWN: Final = 200
_DEPTH: Final = 6
"""Depth in a request of the deepest part that is parsed here; `otlp_json` counts from there."""

_MOST_SHORT: Final = 1 << 14
_SHORT: Final = [framing.varint(number) for number in range(_MOST_SHORT)]
_MOST_DIGITS: Final = 20
_DOUBLE: Final = struct.Struct("<d").pack
_FIXED: Final = {
    _F.TYPE_FIXED64: (1, struct.Struct("<Q")),
    _F.TYPE_FIXED32: (5, struct.Struct("<I")),
}
_RANGES: Final = {
    _F.TYPE_UINT32: range(1 << 32),
    _F.TYPE_ENUM: range(-(1 << 31), 1 << 31),
}
_INT64: Final = range(-(1 << 63), 1 << 63)

_decoder: Final[Any] = JSONDecoder(object_pairs_hook=tuple)
scan: Final[Callable[[str, int], tuple[Any, int]]] = _decoder.scan_once
"""Parse the value at an index of a text; also return the index after it."""


def item(signal: str, members: Pairs) -> bytes:
    """Encode a span or log record."""
    return _object(members, _TABLES[signal])


@cache
def encoder(kind: Any, name: str) -> Encode:
    """Return the encoder of a message's field, including its tag, by its name in the proto."""
    return _encode_of(kind.DESCRIPTOR.fields_by_name[name])


def attribute(key: str, kind: str, value: Any) -> bytes:
    """Encode a KeyValue with its length; `kind` is the value's name in JSON, empty for none."""
    inner = any_value(kind, value)
    return sized(b"", (_keys.get(key) or _key(key)) + sized(b"\x12", inner))


def any_value(kind: str, value: Any) -> bytes:
    """Encode an AnyValue by its one member; `kind` is empty if it has none."""
    return _single(kind, value) if kind else b""


def message(kind: type[Message], value: Any, depth: int = _DEPTH) -> bytes:
    """Encode any message by means of `otlp_json`."""
    filled = kind()
    otlp_json.fill(filled, _plain(value), depth)
    return filled.SerializeToString()


def sized(tag: bytes, raw: bytes) -> bytes:
    """Encode a field that contains bytes, text or a message."""
    size = len(raw)
    return tag + (_SHORT[size] if size < _MOST_SHORT else framing.varint(size)) + raw


def _plain(value: Any) -> Any:
    """Convert tuples of pairs to dicts, recursively."""
    if type(value) is tuple:
        return {name: _plain(it) for name, it in cast("Pairs", value)}
    if type(value) is list:
        return [_plain(it) for it in cast("list[Any]", value)]
    return value


def _object(members: Any, table: dict[str, Encode]) -> bytes:
    if type(members) is not tuple:
        raise ValueError("no object")
    # If a name occurs more than once, the last member wins.
    known: dict[str, Any] = dict(cast("Pairs", members))
    return b"".join(
        [
            encode(value)
            for name, value in known.items()
            if value is not None and (encode := table.get(name))
        ]
    )


def _array(value: Any) -> list[Any]:
    if type(value) is not list:
        raise ValueError("no array")
    # In a list, null stands for an empty message.
    return [() if it is None else it for it in cast("list[Any]", value)]


# Safe to share between threads: dict operations are atomic, and all threads store equal values.
_known: Final[dict[Any, bytes]] = {}
_keys: Final[dict[str, bytes]] = {}


# Encoders for each kind of field, including its tag


def _pairs_of(tag: bytes) -> Encode:
    look_up = _known.get

    def encode(value: Any) -> bytes:
        if type(value) is not list:
            raise ValueError("no array")
        raw: list[bytes] = []
        append = raw.append
        for pair in cast("list[Any]", value):
            try:
                append(look_up(pair) or _pair(pair))
            except TypeError:  # noqa: PERF203 - a pair that contains an array is unhashable
                append(_pair(pair))
        return tag + tag.join(raw) if raw else b""

    return encode


def _pair(pair: Any) -> bytes:
    """Encode a KeyValue with its length."""
    found = _usual(pair)
    if found is None:
        return sized(b"", message(KeyValue, () if pair is None else pair))
    key, kind, value = found
    name = _keys.get(key) or _key(key)
    inner = _single(kind, value)
    within = _SHORT[len(inner)] if len(inner) < _MOST_SHORT else framing.varint(len(inner))
    encoded = sized(b"", b"".join((name, b"\x12", within, inner)))
    # Only text: other JSON values may be equal but encode differently, such as 0.0 and -0.0.
    if type(value) is str and len(encoded) <= _LONGEST_KNOWN:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[pair] = encoded
    return encoded


def _key(key: str) -> bytes:
    if len(_keys) >= _MOST_KNOWN:
        _keys.clear()
    _keys[key] = name = sized(b"\x0a", key.encode())
    return name


def _usual(pair: Any) -> tuple[str, str, Any] | None:
    """Return key, kind and value of a KeyValue in the usual form; None for any other."""
    if type(pair) is not tuple or len(cast("Pairs", pair)) != 2:
        return None
    (first, key), (second, inside) = cast("Pairs", pair)
    if first != "key" or second != "value" or type(key) is not str:
        return None
    if type(inside) is not tuple or len(cast("Pairs", inside)) != 1:
        return None
    return (key, *cast("Pairs", inside)[0])


def _value(value: Any) -> bytes:
    """Encode an AnyValue."""
    if type(value) is tuple and len(cast("Pairs", value)) == 1:
        return _single(*cast("Pairs", value)[0])
    return message(AnyValue, value)


def _single(kind: str, value: Any) -> bytes:
    """Encode an AnyValue by its one member."""
    of = type(value)
    if of is str and kind == "stringValue":
        return sized(b"\x0a", value.encode())
    if kind == "intValue":
        return b"\x18" + _varint(_read_int(value), _INT64)
    if kind == "doubleValue" and of is float:
        return b"\x21" + _DOUBLE(value)
    if kind == "boolValue" and of is bool:
        return b"\x10\x01" if value else b"\x10\x00"
    return message(AnyValue, ((kind, value),))


_read_int: Final = json_values.reader(AnyValue.DESCRIPTOR.fields_by_name["int_value"])


def _varint(number: int, fitting: range) -> bytes:
    if number not in fitting:
        raise ValueError("out of range")
    if 0 <= number < _MOST_SHORT:
        return _SHORT[number]
    return framing.varint(number & (1 << 64) - 1)


def _tag(field: FieldDescriptor, wire_type: int) -> bytes:
    return framing.varint(field.number << 3 | wire_type)


def _encode_of(field: FieldDescriptor) -> Encode:
    if field.name == "attributes":
        return _pairs_of(_tag(field, 2))
    if field.message_type:
        return _messages_of(field)
    read = json_values.reader(field)
    if field.type in _FIXED:
        wire_type, form = _FIXED[field.type]
        tag, pack = _tag(field, wire_type), form.pack
        return lambda value: tag + pack(int(value) if _is_digits(value) else read(value))
    if field.type in _RANGES:
        tag, fitting = _tag(field, 0), _RANGES[field.type]
        return lambda value: tag + _varint(read(value), fitting)
    tag = _tag(field, 2)
    if field.type == _F.TYPE_STRING:
        return lambda value: sized(
            tag, value.encode() if type(value) is str else read(value).encode()
        )
    return lambda value: sized(tag, read(value))


def _is_digits(value: Any) -> bool:
    return type(value) is str and len(value) <= _MOST_DIGITS and value.isascii() and value.isdigit()


def _messages_of(field: FieldDescriptor) -> Encode:
    tag = _tag(field, 2)
    one = _ENCODERS[field.name]
    if field.is_repeated:
        return lambda value: b"".join([sized(tag, one(it)) for it in _array(value)])
    return lambda value: sized(tag, one(value))


def _nested(kind: Any) -> Encode:
    table = _table(kind)
    return lambda value: _object(value, table)


def _table(kind: Any) -> dict[str, Encode]:
    return {field.json_name: _encode_of(field) for field in kind.DESCRIPTOR.fields}


_ENCODERS: Final[dict[str, Encode]] = {"body": _value}
_ENCODERS["events"] = _nested(Span.Event)
_ENCODERS["links"] = _nested(Span.Link)
_ENCODERS["status"] = _nested(Status)
_TABLES: Final = {SPANS: _table(Span), LOG_RECORDS: _table(LogRecord)}
