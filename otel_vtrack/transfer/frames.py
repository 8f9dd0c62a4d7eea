"""Reads and writes OTLP protobuf files: messages, each after its length as four big-endian bytes.

The Collector's file exporter writes this as `format: proto`. The experiment and the adjusted count
are extra fields at the start of the message, which other readers skip.
"""

import struct
from collections.abc import Iterator
from typing import Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otel_vtrack.errors import WireError
from otel_vtrack.transfer import splitting
from otel_vtrack.transfer.items import LOG_RECORDS, SPANS, Telemetry
from otel_vtrack.transfer.lines import count, message
from otel_vtrack.wire import framing

_LENGTH: Final = struct.Struct(">I")
_COUNT: Final = struct.Struct("<f")
# Messages in files are smaller, and bytes that are not a length seldom decode to less.
_LARGEST: Final = 1 << 30
_GROUP_TAG: Final = 0x0A
_EXPERIMENT_FIELD: Final = 2047
_COUNT_FIELD: Final = 2046


def write(item: Telemetry) -> bytes:
    """Serialize a message with its length."""
    count = (
        framing.varint(_COUNT_FIELD << 3 | 5) + _COUNT.pack(item.adjusted_count)
        if item.adjusted_count
        else b""
    )
    name = framing.length_delimited(_EXPERIMENT_FIELD, item.experiment.encode())
    length = _LENGTH.pack(len(name) + len(count) + len(item.otlp))
    return b"".join((length, name, count, item.otlp))


def read(data: memoryview, most_bytes: int) -> Iterator[Telemetry]:
    """Yield the messages of a file, as spans or log records, as determined by the first one.

    A file may also be one message without a length, such as a single OTLP request.

    Args:
        data: The whole file.
        most_bytes: Approximate size of the pieces into which larger messages are split.

    Raises:
        WireError: The file is truncated or not in this format.
    """
    signal = ""
    for body in _messages(data):
        experiment, adjusted_count = _ours(body)
        for otlp in splitting.pieces(body, most_bytes):
            signal = signal or _signal(otlp)
            try:
                items = count(message(signal, otlp))
            except DecodeError:
                raise WireError("a message in the file is not OTLP") from None
            yield Telemetry(signal, experiment, otlp, items, adjusted_count)


def _messages(data: memoryview) -> Iterator[memoryview]:
    if _is_one(data):
        yield data
        return
    at = 0
    while at < len(data):
        head = data[at : at + _LENGTH.size]
        size = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else _LARGEST + 1
        if size > _LARGEST:
            raise WireError(
                "this is nothing that `vtrack export` or the Collector writes: neither JSON lines,"
                " nor OTLP messages each preceded by its length, nor Parquet"
            )
        at += _LENGTH.size
        body = data[at : at + size]
        if len(body) < size:
            raise WireError("the last message of the file is truncated: export it again")
        yield body
        at += size


def _is_one(data: memoryview) -> bool:
    """Return whether the data is a single message from the first byte to the last."""
    if not data or data[0] != _GROUP_TAG:
        return False
    try:
        return all(number == 1 and kind == 2 for number, kind, *_ in framing.fields(data))
    except WireError:
        return False


def _ours(body: memoryview) -> tuple[str, float]:
    """Read the fields that are not part of OTLP, which come first."""
    experiment, adjusted_count = "", 0.0
    for number, _, _, value, end in framing.fields(body):
        if number == _EXPERIMENT_FIELD:
            experiment = str(body[value:end], "utf-8")
        elif number == _COUNT_FIELD:
            (adjusted_count,) = _COUNT.unpack_from(body, value)
        else:
            break
    return experiment, adjusted_count


def _signal(otlp: bytes) -> str:
    """Distinguish spans from log records, which have the same outer fields."""
    try:
        data = TracesData.FromString(otlp)
    except DecodeError:
        return LOG_RECORDS
    spans = [span for group in data.resource_spans for it in group.scope_spans for span in it.spans]
    return SPANS if spans and all(len(span.trace_id) == 16 for span in spans) else LOG_RECORDS
