"""Reads and writes protobuf framing, for the few places that avoid parsing messages.

The functions expect bytes that a protobuf parser has accepted. On others they may raise
`WireError`, but never loop forever or read past the end.
"""

import struct
from collections.abc import Iterator
from typing import Final

from otel_vtrack.errors import WireError

EXPERIMENT_FIELD: Final = 1001
"""Private field of ResourceSpans and ResourceLogs: the experiment named by a header.

OTLP numbers its fields from 1; the store's view of a request declares
`optional string experiment = 1001`.
"""

ADJUSTED_COUNT_FIELD: Final = 1002
"""Private float field of ResourceSpans: how many spans each of its spans stands for."""

PRIVATE_FIELDS: Final = frozenset({EXPERIMENT_FIELD, ADJUSTED_COUNT_FIELD})

_VARINT, _FIXED64, _LENGTH, _GROUP, _END_GROUP, _FIXED32 = range(6)


def varint(number: int) -> bytes:
    """Encode a non-negative number."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def length_delimited(field: int, value: bytes) -> bytes:
    """Encode a field of type bytes, string or message."""
    return b"".join((varint(field << 3 | _LENGTH), varint(len(value)), value))


def read_varint(raw: bytes | memoryview, at: int) -> tuple[int, int]:
    """Return the number that starts at an offset, and the offset after it."""
    number = shift = 0
    while at < len(raw) and shift < 70:
        byte = raw[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
    raise WireError("a protobuf varint does not end; send what an OTLP encoder wrote")


def fields(raw: bytes | memoryview) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield number, wire type, start, start of value and end of each top-level field.

    A group is one field, which includes its end tag.
    """
    at, size = 0, len(raw)
    while at < size:
        tag = raw[at]
        if tag & 0x87 == _LENGTH and at + 2 < size:
            # The common case: a field number below 16 and a length below 16,384.
            length, value = raw[at + 1], at + 2
            if length > 0x7F:
                length, value = length & 0x7F | raw[value] << 7, value + 1
            end = value + length
            if raw[value - 1] < 0x80 and end <= size:
                yield tag >> 3, _LENGTH, at, value, end
                at = end
                continue
        number, wire_type, value, end = _field(raw, at)
        yield number, wire_type, at, value, end
        at = end


def _field(raw: bytes | memoryview, at: int) -> tuple[int, int, int, int]:
    tag, value = read_varint(raw, at)
    wire_type = tag & 7
    end = value
    if wire_type == _VARINT:
        _, end = read_varint(raw, value)
    elif wire_type == _FIXED64:
        end = value + 8
    elif wire_type == _FIXED32:
        end = value + 4
    elif wire_type == _LENGTH:
        length, value = read_varint(raw, value)
        end = value + length
    elif wire_type == _GROUP:
        depth = 1
        while depth:
            inner, after = read_varint(raw, end)
            if inner & 7 in (_GROUP, _END_GROUP):
                depth += 1 if inner & 7 == _GROUP else -1
                end = after
            else:
                end = _field(raw, end)[3]
    else:
        raise WireError("a protobuf field has an unknown type; send what an OTLP encoder wrote")
    if end > len(raw):
        raise WireError("the protobuf ends inside a field; send all of it")
    return tag >> 3, wire_type, value, end


def adjusted_count(number: float) -> bytes:
    """Encode the private field `ADJUSTED_COUNT_FIELD`, to append to a ResourceSpans."""
    return varint(ADJUSTED_COUNT_FIELD << 3 | _FIXED32) + struct.pack("<f", number)


def with_experiment(payload: bytes, experiment: str, count: float = 0.0) -> bytes:
    """Write our private fields into every ResourceSpans or ResourceLogs of a request.

    Existing ones are removed first, as senders must not set them. Nothing below the top two
    levels is read.

    Args:
        payload: A serialized ExportTraceServiceRequest or ExportLogsServiceRequest.
        experiment: Experiment to write; empty only removes it.
        count: Adjusted count of all spans; 0 only removes it.
    """
    marks = length_delimited(EXPERIMENT_FIELD, experiment.encode()) if experiment else b""
    if count:
        marks += adjusted_count(count)
    out: list[bytes] = []
    for number, wire_type, start, value, end in fields(payload):
        if number != 1 or wire_type != _LENGTH:
            out.append(payload[start:end])
            continue
        inner = payload[value:end]
        kept = [
            inner[first:last]
            for number, _, first, _, last in fields(inner)
            if number not in PRIVATE_FIELDS
        ]
        out.append(length_delimited(1, b"".join([*kept, marks])))
    return b"".join(out)
