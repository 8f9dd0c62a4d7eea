"""Splits OTLP data too large for one request, between its resources, scopes, spans and records.

Spans and log records use the same field numbers: what repeats is field 1 of the outermost message
and field 2 of the messages inside; every piece includes all other fields. Nothing is parsed, and
a view of a mapped file is never in memory as a whole.
"""

from collections.abc import Iterator
from typing import Final

from otel_vtrack.wire import framing

_GROUPS: Final = 1
_INNER: Final = 2
# The levels that can be split: ResourceSpans and ScopeSpans.
_DEEPEST: Final = 2


def pieces(otlp: bytes | memoryview, most_bytes: int) -> Iterator[bytes]:
    """Yield messages of about `most_bytes`; only a single large span or record exceeds it.

    Args:
        otlp: TracesData or LogsData, serialized. Fields that are not part of OTLP are dropped.
        most_bytes: Approximate size of a piece.

    Raises:
        WireError: It is not valid protobuf.
    """
    yield from _joined(_groups(otlp, most_bytes), most_bytes)


def _groups(otlp: bytes | memoryview, most_bytes: int) -> Iterator[bytes]:
    for number, _, start, value, end in framing.fields(otlp):
        if number == _GROUPS:
            if end - start <= most_bytes:
                yield bytes(otlp[start:end])
            else:
                for inner in _inside(otlp[value:end], most_bytes, 1):
                    yield framing.length_delimited(_GROUPS, inner)


def _inside(group: bytes | memoryview, most_bytes: int, depth: int) -> Iterator[bytes]:
    """Yield a ResourceSpans or ScopeSpans in pieces, each with all surrounding fields."""
    around = b"".join(
        bytes(group[start:end])
        for number, _, start, _, end in framing.fields(group)
        if number != _INNER
    )
    for some in _joined(_items(group, most_bytes, depth), most_bytes):
        yield around + some


def _items(group: bytes | memoryview, most_bytes: int, depth: int) -> Iterator[bytes]:
    for number, _, start, value, end in framing.fields(group):
        if number != _INNER:
            continue
        if depth == _DEEPEST or end - start <= most_bytes:
            yield bytes(group[start:end])
        else:
            for inner in _inside(group[value:end], most_bytes, depth + 1):
                yield framing.length_delimited(_INNER, inner)


def _joined(parts: Iterator[bytes], most_bytes: int) -> Iterator[bytes]:
    waiting: list[bytes] = []
    size = 0
    for part in parts:
        if waiting and size + len(part) > most_bytes:
            yield b"".join(waiting)
            waiting, size = [], 0
        waiting.append(part)
        size += len(part)
    if waiting:
        yield b"".join(waiting)
