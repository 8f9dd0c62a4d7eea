"""Encodes OTLP directly from Parquet columns, without intermediate rows or messages.

Each column becomes a list of encoded fields; the entries at one index of all lists form a span.
Attributes repeat from span to span, so encoded attributes are cached.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

from opentelemetry.proto.common.v1.common_pb2 import EntityRef, InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from otel_vtrack.transfer import json_bytes
from otel_vtrack.transfer.items import SPANS, Telemetry
from otel_vtrack.wire import framing

_Get = Callable[[str], Any]
"""Returns a column by its name."""

_MOST_KNOWN: Final = 20_000
_LONGEST_KNOWN: Final = 200


def _json(text: str) -> Any:
    return json_bytes.scan(text, 0)[0]


# By number in Parquet: the name in JSON, and the conversion of the text to the value used there.
_KINDS: Final[Sequence[tuple[str, Callable[[str], Any]]]] = (
    ("", str),
    ("stringValue", str),
    ("boolValue", lambda text: text == "true"),
    ("intValue", str),
    ("doubleValue", float),
    ("arrayValue", _json),
    ("kvlistValue", _json),
    ("bytesValue", str),
)
_known: Final[dict[tuple[str, int, str], bytes]] = {}


def telemetry(signal: str, batch: Any) -> Iterator[Telemetry]:
    """Yield the spans or log records of a batch of rows, grouped by experiment.

    Raises:
        ValueError: The columns do not contain what an export writes.
        KeyError: A column is missing.
    """
    get: _Get = batch.column
    is_span = signal == SPANS
    group, scoped = (ResourceSpans, ScopeSpans) if is_span else (ResourceLogs, ScopeLogs)
    counted = is_span and "adjusted_count" in batch.schema.names
    keys = zip(
        _values(get("experiment")),
        _values(get("adjusted_count")) if counted else [0.0] * len(batch),
        _rows(
            _messages(_tag(group, "resource"), _resources(get)),
            _fields(group, get, ("schema_url",), "resource_"),
        ),
        _rows(
            _messages(_tag(scoped, "scope"), _scopes(get)),
            _fields(scoped, get, ("schema_url",), "scope_"),
        ),
        strict=True,
    )
    # By experiment and count, then by the encoded resource and the encoded scope.
    found: dict[tuple[str, float], dict[bytes, dict[bytes, list[bytes]]]] = {}
    items = _messages(b"\x12", _spans(get) if is_span else _records(get), always=True)
    for (experiment, count, outer, inner), item in zip(keys, items, strict=True):
        groups = found.setdefault((experiment or "", count or 0.0), {})
        groups.setdefault(outer, {}).setdefault(inner, []).append(item)
    for (experiment, count), groups in found.items():
        number = sum(len(some) for scopes in groups.values() for some in scopes.values())
        yield Telemetry(signal, experiment, _joined(groups), number, count)


def _joined(groups: dict[bytes, dict[bytes, list[bytes]]]) -> bytes:
    """Return TracesData or LogsData: resources are field 1, in which scopes are field 2."""
    return b"".join(
        json_bytes.sized(
            b"\x0a",
            outer
            + b"".join(
                json_bytes.sized(b"\x12", inner + b"".join(items))
                for inner, items in scopes.items()
            ),
        )
        for outer, scopes in groups.items()
    )


# Messages: a list of encoded contents, some of which are empty


def _spans(get: _Get) -> list[bytes]:
    status = _fields(Status, get, ("code", "message"), "status_")
    return _rows(
        _fields(Span, get, _SPAN),
        _attributes(Span, get),
        _several(_tag(Span, "events"), get("events"), _events),
        _several(_tag(Span, "links"), get("links"), _links),
        _messages(_tag(Span, "status"), status),
    )


def _records(get: _Get) -> list[bytes]:
    bodies = zip(_values(get("body_type")), _values(get("body")), strict=True)
    tag = _tag(LogRecord, "body")
    return _rows(
        _fields(LogRecord, get, _RECORD),
        [
            json_bytes.sized(tag, json_bytes.any_value(*_value(kind, text))) if kind else b""
            for kind, text in bodies
        ],
        _attributes(LogRecord, get),
    )


def _events(get: _Get) -> list[bytes]:
    return _rows(_fields(Span.Event, get, ("time_unix_nano", "name")), _attributes(Span.Event, get))


def _links(get: _Get) -> list[bytes]:
    return _rows(_fields(Span.Link, get, _LINK), _attributes(Span.Link, get))


def _resources(get: _Get) -> list[bytes]:
    tag = _tag(Resource, "entity_refs")
    column = get("resource_entity_refs")
    refs = [json_bytes.message(EntityRef, _json(text)) for text in _values(_inside(column))]
    return _rows(
        _attributes(Resource, get, "resource_"),
        _gathered(column, _messages(tag, refs, always=True)),
    )


def _scopes(get: _Get) -> list[bytes]:
    return _rows(
        _fields(InstrumentationScope, get, ("name", "version"), "scope_"),
        _attributes(InstrumentationScope, get, "scope_"),
    )


_IDS: Final = ("trace_id", "span_id")
_SPAN: Final = (
    *_IDS,
    "parent_span_id",
    "trace_state",
    "flags",
    "name",
    "kind",
    "start_time_unix_nano",
    "end_time_unix_nano",
    "dropped_events_count",
    "dropped_links_count",
)
_LINK: Final = (*_IDS, "trace_state", "flags")
_RECORD: Final = (
    *_IDS,
    "flags",
    "event_name",
    "severity_number",
    "severity_text",
    "time_unix_nano",
    "observed_time_unix_nano",
)


# Columns


def _fields(kind: Any, get: _Get, names: Sequence[str], prefix: str = "") -> list[bytes]:
    """Encode columns that are fields of a message; zero and empty values are omitted."""
    columns: list[list[bytes]] = []
    for name in names:
        encode = json_bytes.encoder(kind, name)
        columns.append([encode(value) if value else b"" for value in _values(get(prefix + name))])
    return _rows(*columns)


def _attributes(kind: Any, get: _Get, prefix: str = "") -> list[bytes]:
    """Encode the attribute columns, and the counts of dropped attributes."""
    told, kinds = get(f"{prefix}attributes"), get(f"{prefix}attribute_types")
    if _ends(told) != _ends(kinds):
        raise ValueError(f"{prefix}attributes and {prefix}attribute_types differ in length")
    tag, pairs = _tag(kind, "attributes"), _inside(told)
    look_up = _known.get
    encoded = [
        look_up(pair) or _attribute(pair)
        for pair in zip(
            _values(pairs.field(0)), _values(_inside(kinds)), _values(pairs.field(1)), strict=True
        )
    ]
    return _rows(
        _gathered(told, [tag + pair for pair in encoded]),
        _fields(kind, get, ("dropped_attributes_count",), prefix),
    )


def _attribute(pair: tuple[str, int, str]) -> bytes:
    key, number, text = pair
    encoded = json_bytes.attribute(key, *_value(number, text))
    if len(encoded) <= _LONGEST_KNOWN:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[pair] = encoded
    return encoded


def _value(number: int, text: str) -> tuple[str, Any]:
    if not 0 <= number < len(_KINDS):
        raise ValueError(f"there is no value kind {number}")
    kind, read = _KINDS[number]
    return kind, read(text)


def _several(tag: bytes, column: Any, of: Callable[[_Get], list[bytes]]) -> list[bytes]:
    """Encode a column of lists of messages."""
    inside = _inside(column)
    if not len(inside):
        return [b""] * len(column)
    return _gathered(column, _messages(tag, of(inside.field), always=True))


def _values(column: Any) -> list[Any]:
    # to_numpy is ten times as fast as to_pylist, but NumPy cannot represent nulls.
    return (
        column.to_pylist() if column.null_count else column.to_numpy(zero_copy_only=False).tolist()
    )


def _inside(column: Any) -> Any:
    """Return the elements of a column's lists, concatenated; those of a map are pairs."""
    first, last = column.offsets[0].as_py(), column.offsets[-1].as_py()
    return column.values.slice(first, last - first)


def _ends(column: Any) -> list[int]:
    """Return where in `_inside` each list of a column starts, and where the last one ends."""
    offsets = column.offsets.to_numpy()
    return (offsets - offsets[0]).tolist()


def _gathered(column: Any, encoded: list[bytes]) -> list[bytes]:
    """Join the encoded elements of each list in a column, given those of all lists."""
    return [b"".join(encoded[start:end]) for start, end in pairwise(_ends(column))]


def _messages(tag: bytes, inside: list[bytes], *, always: bool = False) -> list[bytes]:
    """Encode fields that contain messages; empty ones are omitted, unless `always` is set."""
    sized = json_bytes.sized
    return [sized(tag, raw) if raw or always else b"" for raw in inside]


def _rows(*columns: list[bytes]) -> list[bytes]:
    return list(map(b"".join, zip(*columns, strict=True)))


def _tag(kind: Any, name: str) -> bytes:
    return framing.varint(kind.DESCRIPTOR.fields_by_name[name].number << 3 | 2)
