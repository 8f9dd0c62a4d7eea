"""Columns of messages: their names, types and values, and how to display them.

They are derived from the protos: a new field becomes a new column.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otel_vtrack.client.values import as_json, from_value, nanoseconds, prefix
from otel_vtrack.wire import anyvalue

Read = Callable[[Any], Any]

_PAIR: Final = 2
_LONG: Final = ((3600, 24, "d", "h"), (60, 60, "h", "min"), (1, 60, "min", "s"))
"""Pairs of units for long durations: seconds per small unit, small units per large one, names."""


class Kind(Enum):
    """What a column holds; in all of them, an absent value is None."""

    TEXT = "text"
    INTEGER = "integer"
    UNSIGNED = "integer that may take all of 64 bits"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TIME = "nanoseconds since 1970"
    LENGTH = "nanoseconds"
    BYTES = "bytes"
    MAP = "dict of texts"
    JSON = "any value"
    LIST = "list of what is inside"
    ROW = "dict of what is inside"


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Attributes:
        name: Name of the proto field; for a field of a nested message, `outer.inner`.
        kind: What it holds.
        read: Extracts the value from a message.
        optional: Whether the value may be absent.
        inside: Columns of a ROW or of a LIST's items; for a list of plain values, a single column
            without a name.
    """

    name: str
    kind: Kind
    read: Read
    optional: bool = False
    inside: "tuple[Column, ...]" = ()


def of(descriptor: Any) -> tuple[Column, ...]:
    """Return the columns of a message; nested messages, unless repeated, are flattened."""
    made: list[Column] = []
    for field in descriptor.fields:
        inner = field.message_type
        if inner and not _is_repeated(field) and inner.full_name not in _KNOWN:
            made += (_within(field.name, column) for column in of(inner))
        elif descriptor.full_name == "otel_vtrack.v1.Span" and field.name == "otlp":
            made.append(Column("attributes", Kind.JSON, _attributes, optional=True))
        else:
            made.append(_column(field))
    return tuple(made)


def _is_repeated(field: Any) -> bool:
    # Newer protobuf runtimes warn about `label`; older ones have nothing else.
    known = getattr(field, "is_repeated", None)
    return field.label == FieldDescriptor.LABEL_REPEATED if known is None else bool(known)


def _within(name: str, column: Column) -> Column:
    def read(message: Message) -> Any:
        return column.read(getattr(message, name)) if message.HasField(name) else None

    return Column(f"{name}.{column.name}", column.kind, read, optional=True, inside=column.inside)


def _column(field: FieldDescriptor) -> Column:
    name = field.name
    inner = field.message_type
    if inner and inner.GetOptions().map_entry:
        return Column(name, Kind.MAP, lambda message: dict(getattr(message, name)))
    kind, convert, inside = _single(field)
    if _is_repeated(field):
        item = Column("", kind, convert, inside=inside)
        return Column(
            name,
            Kind.LIST,
            lambda message: [convert(each) for each in getattr(message, name)],
            inside=inside if kind is Kind.ROW else (item,),
        )
    if field.has_presence:
        return Column(
            name,
            kind,
            lambda message: convert(getattr(message, name)) if message.HasField(name) else None,
            optional=True,
        )
    return Column(
        name, kind, lambda message: convert(getattr(message, name)), optional=bool(field.enum_type)
    )


def _single(field: FieldDescriptor) -> tuple[Kind, Read, tuple[Column, ...]]:
    if inner := field.message_type:
        if known := _KNOWN.get(inner.full_name):
            return known[0], known[1], ()
        columns = of(inner)
        return (
            Kind.ROW,
            lambda message: {column.name: column.read(message) for column in columns},
            columns,
        )
    if field.enum_type:
        names: list[str] = [value.name for value in field.enum_type.values]
        start = prefix(names)
        by_number = {
            value.number: value.name.removeprefix(start) for value in field.enum_type.values
        }
        return Kind.TEXT, lambda number: by_number.get(number, str(number)) if number else None, ()
    return _SPECIAL.get(field.type) or _SCALARS[field.cpp_type], _itself, ()


def _itself(value: Any) -> Any:
    return value


_KNOWN: Final[dict[str, tuple[Kind, Read]]] = {
    "google.protobuf.Timestamp": (Kind.TIME, nanoseconds),
    "google.protobuf.Duration": (Kind.LENGTH, nanoseconds),
    "google.protobuf.Value": (Kind.JSON, from_value),
}
_SPECIAL: Final = {
    FieldDescriptor.TYPE_BYTES: Kind.BYTES,
    FieldDescriptor.TYPE_FIXED64: Kind.UNSIGNED,
}
_SCALARS: Final = {
    FieldDescriptor.CPPTYPE_STRING: Kind.TEXT,
    FieldDescriptor.CPPTYPE_INT32: Kind.INTEGER,
    FieldDescriptor.CPPTYPE_INT64: Kind.INTEGER,
    FieldDescriptor.CPPTYPE_UINT32: Kind.INTEGER,
    FieldDescriptor.CPPTYPE_UINT64: Kind.INTEGER,
    FieldDescriptor.CPPTYPE_DOUBLE: Kind.NUMBER,
    FieldDescriptor.CPPTYPE_FLOAT: Kind.NUMBER,
    FieldDescriptor.CPPTYPE_BOOL: Kind.BOOLEAN,
}


def _attributes(span: Any) -> dict[str, Any] | None:
    """Decode the attributes in a span's OTLP; None if the OTLP was omitted."""
    if not span.otlp:
        return None
    return {
        pair.key: anyvalue.from_message(pair.value)
        for group in TracesData.FromString(span.otlp).resource_spans
        for scope in group.scope_spans
        for each in scope.spans
        for pair in each.attributes
    }


def chosen(descriptor: Any, names: Sequence[str] | None) -> tuple[list[Column], list["Spread"]]:
    """Select columns by name.

    Args:
        descriptor: Descriptor of the messages.
        names: Fields; `*` for all of them; `tags.<key>` for one entry of a map, likewise for
            `attributes` and, by assessment name, for `assessments`; `tags.*` for every entry that
            occurs. None means `*`.

    Returns:
        The columns of fields, and the columns to make from entries.

    Raises:
        ValueError: There is no such column.
    """
    known = {column.name: column for column in of(descriptor)}
    plain: list[Column] = []
    spread: list[Spread] = []
    for name in ["*"] if names is None else names:
        start, _, key = name.partition(".")
        if name == "*":
            plain += known.values()
        elif name in known:
            plain.append(known[name])
        elif key and start in known and (known[start].kind in _OPEN or start == "assessments"):
            spread.append(Spread(start, None if key == "*" else key, known[start].read))
        else:
            raise ValueError(f"there is no column {name!r}; there are {', '.join(known)}")
    return list({column.name: column for column in plain}.values()), spread


_OPEN: Final = {Kind.MAP, Kind.JSON}


@dataclass(frozen=True, slots=True)
class Spread:
    """Columns made from the entries of a field.

    Attributes:
        start: The field.
        key: Key of the entry; None for every entry that occurs.
        read: Extracts the field from a message.
    """

    start: str
    key: str | None
    read: Read

    def entries(self, message: Any) -> dict[str, Any]:
        """Return the entries of a message, keyed by column name."""
        found = self.read(message)
        if self.start == "assessments":
            found = _latest(found)
        if not isinstance(found, dict):
            found = {}
        keys: Iterable[str] = found if self.key is None else [self.key]
        return {f"{self.start}.{key}": found.get(key) for key in keys}


def _latest(assessments: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the value of the latest valid assessment of each name; the input is oldest first."""
    return {each["assessment_name"]: each["value"] for each in assessments if each["valid"]}


def shown(column: Column, value: Any) -> str:  # noqa: PLR0911 - one for each kind
    """Format a value for display, on one line."""
    if value is None:
        return ""
    if column.kind is Kind.TIME:
        return moment(value)
    if column.kind is Kind.LENGTH:
        return length(value)
    if column.kind is Kind.INTEGER:
        return f"{value:,}"
    if column.kind is Kind.NUMBER:
        return f"{value:.6g}"
    if column.kind is Kind.BOOLEAN:
        return "yes" if value else "no"
    if column.kind is Kind.BYTES:
        return f"{len(value):,} bytes"
    if column.kind is Kind.MAP:
        return ", ".join(f"{key}={each}" for key, each in sorted(value.items()))
    if column.kind is Kind.LIST:
        texts = (_item(column.inside, each) for each in value)
        return ", ".join(dict.fromkeys(text for text in texts if text))
    text = value if isinstance(value, str) else as_json(value)
    return re.sub(r"\s+", " ", text)


def _item(inside: Sequence[Column], value: Any) -> str:
    """Format a list item: a plain value, a pair as `a=b`, or the first cell of any other row."""
    names = [each.name for each in inside]
    if not names[0]:
        return str(value)
    return "=".join(str(value[name]) for name in (names if len(names) == _PAIR else names[:1]))


def moment(since_1970: int) -> str:
    """Format a time in UTC, to the second."""
    written = Timestamp(seconds=since_1970 // 1_000_000_000).ToJsonString()
    return written.rstrip("Z").replace("T", " ")


def length(span: float) -> str:
    """Format nanoseconds with three digits; from a minute up, in two units, as in `2 h 5 min`.

    What is a whole number of the larger unit is written in that alone, as in `2 h`.
    """
    milliseconds = span / 1e6
    for small, many, large_unit, unit in _LONG:
        if milliseconds >= small * many * 1000:
            large, rest = divmod(round(milliseconds / 1000 / small), many)
            exact = milliseconds == large * small * many * 1000
            return f"{large} {large_unit}" + ("" if exact else f" {rest} {unit}")
    if milliseconds >= 1_000:
        return f"{milliseconds / 1000:.3g} s"
    if milliseconds >= 1 or not milliseconds:
        return f"{milliseconds:.3g} ms"
    return f"{milliseconds * 1000:.3g} µs"
