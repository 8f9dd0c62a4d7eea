"""Assemble OTLP from rows encoded by the engine, without parsing them.

Rows are encoded spans or log records, each ending with a `place` of four numbers; see
store/sql/otlp_export.proto. The last two numbers identify the row's resource and scope, which are
read once per group. Field numbers are the same for both signals.
"""

import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otel_vtrack.query import export
from otel_vtrack.query.export import ResourceRow, ScopeRow
from otel_vtrack.query.rowbinary import Reader
from otel_vtrack.wire.framing import varint

_PLACE: Final = struct.Struct("<QQ16s")
# The size of its tag and length.
_PLACE_HEAD: Final = 3
_AROUND: Final = struct.Struct("<16sfII")
_MOST_KNOWN: Final = 1_000
_LARGEST_KNOWN: Final = 16_384


class Batch(NamedTuple):
    """Telemetry of one experiment as OTLP, and the number of spans that each span represents."""

    experiment: str
    otlp: bytes
    item_count: int
    adjusted_count: float = 0.0


class Row(NamedTuple):
    """A span or log record.

    Attributes:
        otlp: The message.
        minute: The minute in its key, in seconds since 1970.
        number: Its start, unsigned, or its record ID.
        sits_in: Identifies its resource and scope.
    """

    otlp: bytes
    minute: int
    number: int
    sits_in: bytes


class _Around(NamedTuple):
    """What encloses rows: the encoded fields before and after them, with their tags."""

    experiment: str
    adjusted_count: float
    resource: bytes
    resource_schema: bytes
    scope: bytes
    scope_schema: bytes


def rows(data: bytes, most_bytes: int) -> list[Row]:
    """Split the data into rows, stopping once these have at least `most_bytes`."""
    found: list[Row] = []
    add, unpack, make = found.append, _PLACE.unpack_from, Row._make
    at, size, taken = 0, len(data), 0
    while at < size and taken < most_bytes:
        length = data[at]
        at += 1
        if length > 0x7F:
            length, shift = length & 0x7F, 7
            while True:
                byte = data[at]
                at += 1
                length |= (byte & 0x7F) << shift
                if byte < 0x80:
                    break
                shift += 7
        end = at + length
        place = end - _PLACE.size
        otlp = data[at : place - _PLACE_HEAD]
        add(make((otlp, *unpack(data, place))))
        taken += len(otlp)
        at = end
    return found


def batches(some: Iterable[Row], ask: Callable[[list[str]], Reader]) -> Iterator[Batch]:
    """Combine rows into messages, with groups in the order of their first row.

    Args:
        some: The rows of a page.
        ask: Runs the query `span_groups` or `log_record_groups` for these hashes, in hex.
    """
    groups: dict[bytes, list[bytes]] = {}
    for row in some:
        size = len(row.otlp)
        head = (
            bytes((0x12, size))
            if size < 0x80
            else bytes((0x12, size & 0x7F | 0x80, size >> 7))
            if size < 0x4000
            else b"\x12" + varint(size)
        )
        group = groups.get(row.sits_in)
        if group is None:
            group = groups[row.sits_in] = []
        group.append(head)
        group.append(row.otlp)
    around = _around(groups, ask)
    tree: dict[tuple[str, float], dict[tuple[bytes, bytes], list[bytes]]] = {}
    counts: dict[tuple[str, float], int] = {}
    for key, items in groups.items():
        it = around[key]
        whole = (it.experiment, it.adjusted_count)
        resource = tree.setdefault(whole, {}).setdefault((it.resource, it.resource_schema), [])
        resource.append(_field(0x12, b"".join((it.scope, *items, it.scope_schema))))
        counts[whole] = counts.get(whole, 0) + len(items) // 2
    for (experiment, adjusted_count), resources in tree.items():
        otlp = b"".join(
            _field(0x0A, b"".join((resource, *scopes, schema)))
            for (resource, schema), scopes in resources.items()
        )
        yield Batch(experiment, otlp, counts[experiment, adjusted_count], adjusted_count)


# Keyed by a hash of the content, so the entries are valid for any store.
_known: Final[dict[bytes, _Around]] = {}
_lock: Final = threading.Lock()


def _around(hashes: Iterable[bytes], ask: Callable[[list[str]], Reader]) -> dict[bytes, _Around]:
    with _lock:
        found = {key: _known[key] for key in hashes if key in _known}
    if unknown := [key for key in hashes if key not in found]:
        new = dict(_read(ask([key.hex() for key in unknown])))
        found |= new
        with _lock:
            for key, it in new.items():
                if len(it.resource) + len(it.scope) < _LARGEST_KNOWN:
                    if len(_known) >= _MOST_KNOWN:
                        _known.clear()
                    _known[key] = it
    return found


def _read(answer: Reader) -> Iterator[tuple[bytes, _Around]]:
    while answer.more:
        key, adjusted_count, resource_dropped, scope_dropped = answer.fields(_AROUND)
        experiment = answer.text()
        resource = ResourceRow(
            answer.attributes(), tuple(answer.strings()), resource_dropped, answer.text()
        )
        name, version = answer.text(), answer.text()
        scope = ScopeRow(name, version, tuple(answer.strings()), scope_dropped, answer.text())
        group = export.add_resource(TracesData().resource_spans, resource)
        scoped = export.add_scope(group.scope_spans, scope)
        yield (
            key,
            _Around(
                experiment,
                adjusted_count,
                _inside(group, "resource"),
                _schema(group),
                _inside(scoped, "scope"),
                _schema(scoped),
            ),
        )


def _inside(group: Any, name: str) -> bytes:
    return _field(0x0A, getattr(group, name).SerializeToString()) if group.HasField(name) else b""


def _schema(group: Any) -> bytes:
    return _field(0x1A, group.schema_url.encode()) if group.schema_url else b""


def _field(tag: int, value: bytes) -> bytes:
    return b"".join((bytes((tag,)), varint(len(value)), value))
