"""OTLP protobuf files: messages, each after its length as four big-endian bytes.

That is how the Collector's file exporter writes `format: proto`. The experiment and the adjusted
count are fields of the message that OTLP does not have, at its beginning: other readers skip them.
"""

import struct
from collections.abc import Iterator
from typing import IO, Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otel_vtrack.errors import WireError
from otel_vtrack.transfer.items import LOG_RECORDS, SPANS, Telemetry
from otel_vtrack.transfer.lines import count

_LENGTH: Final = struct.Struct(">I")
_LARGEST: Final = 256 << 20
# Field 2047 of wire type 2, as a varint.
_TAG: Final = bytes(((2047 << 3 | 2) & 0x7F | 0x80, (2047 << 3 | 2) >> 7))
# Field 2046 of wire type 5, and what is behind it.
_COUNT_TAG: Final = bytes(((2046 << 3 | 5) & 0x7F | 0x80, (2046 << 3 | 5) >> 7))
_COUNT: Final = struct.Struct("<f")


def write(item: Telemetry) -> bytes:
    """Write a message with its length."""
    name = item.experiment.encode()
    count = _COUNT_TAG + _COUNT.pack(item.adjusted_count) if item.adjusted_count else b""
    whole = _TAG + _varint(len(name)) + name + count + item.otlp
    return _LENGTH.pack(len(whole)) + whole


def read(file: IO[bytes]) -> Iterator[Telemetry]:
    """Yield the messages of a file, spans or log records as the first one shows.

    Raises:
        WireError: It is cut off, or no such file.
    """
    signal = ""
    while head := file.read(_LENGTH.size):
        size = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else _LARGEST + 1
        if size > _LARGEST:
            raise WireError("this is no file of OTLP messages with their lengths before them")
        body = file.read(size)
        if len(body) < size:
            raise WireError("the file is cut off in its last message: export it again")
        experiment, adjusted_count, otlp = _apart(body)
        signal = signal or _signal(otlp)
        kind = TracesData if signal == SPANS else LogsData
        try:
            items = count(kind.FromString(otlp))
        except DecodeError:
            raise WireError("a message of the file is no OTLP") from None
        yield Telemetry(signal, experiment, otlp, items, adjusted_count)


def _apart(body: bytes) -> tuple[str, float, bytes]:
    if not body.startswith(_TAG):
        return "", 0.0, body
    at, size, shift = len(_TAG), 0, 0
    while True:
        byte = body[at]
        at += 1
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    experiment, rest = body[at : at + size].decode(), body[at + size :]
    if not rest.startswith(_COUNT_TAG):
        return experiment, 0.0, rest
    (adjusted_count,) = _COUNT.unpack_from(rest, len(_COUNT_TAG))
    return experiment, adjusted_count, rest[len(_COUNT_TAG) + _COUNT.size :]


def _signal(otlp: bytes) -> str:
    """Tell spans from log records, which have the same outer fields."""
    try:
        data = TracesData.FromString(otlp)
    except DecodeError:
        return LOG_RECORDS
    spans = [span for group in data.resource_spans for it in group.scope_spans for span in it.spans]
    return SPANS if spans and all(len(span.trace_id) == 16 for span in spans) else LOG_RECORDS


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)
