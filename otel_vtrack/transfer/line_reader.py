"""Reads telemetry from lines of JSON, one span or record at a time.

However long a line is, only one of its spans exists as objects at a time. Lines of one entity
each, which repeat their resource and scope, are grouped by these again.

Only the form that exporters write is read here; anything else, and errors, are left to `lines`.
"""

import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, cast

from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs, ScopeLogs
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans

from otel_vtrack.errors import WireError
from otel_vtrack.transfer import json_bytes, lines
from otel_vtrack.transfer.items import LOG_RECORDS, SPANS, Item, Telemetry
from otel_vtrack.transfer.json_bytes import sized

_UNUSUAL: Final = (ValueError, WireError, RecursionError, struct.error)
_FIRST: Final = b"\x0a"
"""The tag of the repeated field of the outermost message."""
_SECOND: Final = b"\x12"
"""The tag of the repeated field of the messages inside."""
_SPACE: Final = re.compile(r"[ \t\n\r]*")


@dataclass(frozen=True, slots=True)
class _Names:
    signal: str
    outermost: str
    groups: str
    items: str
    resource: Any
    scope: Any
    entity: str
    item: str


_NAMES: Final = (
    _Names(
        *(SPANS, "resourceSpans", "scopeSpans", "spans", ResourceSpans, ScopeSpans),
        *("span", "span"),
    ),
    _Names(
        *(LOG_RECORDS, "resourceLogs", "scopeLogs", "logRecords", ResourceLogs, ScopeLogs),
        *("log_record", "logRecord"),
    ),
)
_OUTERMOST: Final = {names.outermost: names for names in _NAMES}
_STARTS: Final = {
    f'{{"type":"{names.entity}"'.encode(): (f',"{names.item}":'.encode(), names) for names in _NAMES
}


@dataclass(slots=True)
class _Head:
    """What surrounds the entities of some lines, and these entities."""

    key: tuple[str, str, float]
    resource: bytes
    scope: bytes
    items: list[bytes] = field(default_factory=list[bytes])


class Reader:
    """Reads line by line, and groups entities up to a size limit.

    Args:
        most_bytes: Most bytes of grouped entities.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._heads: dict[bytes, _Head] = {}
        self._size = 0

    def read(self, line: bytes) -> Iterator[Item]:
        """Yield the items that are complete after this line.

        Raises:
            WireError: The line is malformed.
        """
        if self._is_entity(line):
            if self._size >= self._most:
                yield from self.flush()
            return
        found = _otlp(line) or lines.read(line)
        if found is not None:
            # Changes come after the telemetry that they refer to.
            yield from self.flush()
            yield found

    def flush(self) -> Iterator[Telemetry]:
        """Yield the entities that are still held for grouping."""
        heads, self._heads, self._size = self._heads, {}, 0
        whole: dict[tuple[str, str, float], list[_Head]] = {}
        for head in heads.values():
            whole.setdefault(head.key, []).append(head)
        for (signal, experiment, adjusted_count), some in whole.items():
            otlp = b"".join(
                sized(_FIRST, it.resource + sized(_SECOND, it.scope + b"".join(it.items)))
                for it in some
            )
            count = sum(len(it.items) for it in some)
            yield Telemetry(signal, experiment, otlp, count, adjusted_count)

    def _is_entity(self, line: bytes) -> bool:
        """Add a line of one span or record, if it has the form that `export_to` writes."""
        start = next((it for it in _STARTS if line.startswith(it)), b"")
        if not start:
            return False
        name, names = _STARTS[start]
        # Inside a JSON string, these quotes would be escaped.
        at = line.find(name)
        if at < 0:
            return False
        before = line[:at]
        try:
            head = self._heads.get(before) or _head(before, names)
            text = line[at + len(name) :].decode()
            members, end = json_bytes.scan(text, 0)
            if text[end:].strip() != "}":
                return False
            raw = json_bytes.item(names.signal, members)
        except (*_UNUSUAL, StopIteration):
            return False
        self._heads[before] = head
        head.items.append(sized(_SECOND, raw))
        self._size += len(raw)
        return True


def _head(before: bytes, names: _Names) -> _Head:
    told: Any = json.loads(before + b"}")
    if told.get("type") != names.entity or names.item in told:
        raise ValueError("another kind of line")
    around = {"resource": told.get("resource"), "schemaUrl": told.get("resourceSchemaUrl")}
    within = {"scope": told.get("scope"), "schemaUrl": told.get("scopeSchemaUrl")}
    count = told.get("adjusted_count", 0) if names.signal == SPANS else 0
    return _Head(
        (names.signal, _text(told.get("experiment", "")), _number(count)),
        json_bytes.message(names.resource, around, 1),
        json_bytes.message(names.scope, within, 2),
    )


def _otlp(line: bytes) -> Telemetry | None:
    """Parse a line of OTLP JSON; return None if it is anything else, or in any way unusual."""
    try:
        return _Walk(line.decode()).telemetry()
    except _UNUSUAL:
        return None


class _Walk:
    """Parses OTLP JSON text sequentially."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._count = 0

    def telemetry(self) -> Telemetry:
        """Parse the whole text."""
        groups: list[bytes] = []
        names: _Names | None = None
        beside: dict[str, Any] = {}
        for name in self._members():
            if name not in _OUTERMOST:
                beside[name] = self._value()
            elif names is None:
                names = _OUTERMOST[name]
                groups += [sized(_FIRST, self._group(names)) for _ in self._elements()]
            else:
                raise ValueError("more than one signal")
        if names is None or self._next():
            raise ValueError("no OTLP, or more than that")
        count = 0.0
        if names.signal == SPANS:
            count = _number(beside.get(lines.ADJUSTED_COUNT, beside.get("adjusted_count", 0)))
        experiment = beside.get(lines.EXPERIMENT, "") or beside.get("experiment", "")
        otlp = b"".join(groups)
        return Telemetry(names.signal, _text(experiment), otlp, self._count, count)

    def _group(self, names: _Names) -> bytes:
        around: dict[str, Any] = {}
        inside: list[bytes] = []
        for name in self._members():
            if name in around:
                raise ValueError("twice the same")
            if name == names.groups:
                around[name] = None
                inside += [sized(_SECOND, self._scope(names)) for _ in self._elements()]
            else:
                around[name] = self._value()
        return json_bytes.message(names.resource, tuple(around.items()), 1) + b"".join(inside)

    def _scope(self, names: _Names) -> bytes:
        around: dict[str, Any] = {}
        inside: list[bytes] = []
        for name in self._members():
            if name in around:
                raise ValueError("twice the same")
            if name == names.items:
                around[name] = None
                inside += [
                    sized(_SECOND, json_bytes.item(names.signal, self._value()))
                    for _ in self._elements()
                ]
                self._count += len(inside)
            else:
                around[name] = self._value()
        return json_bytes.message(names.scope, tuple(around.items()), 2) + b"".join(inside)

    def _members(self) -> Iterator[str]:
        """Yield the names of an object's members; the caller must read the value of each."""
        self._expect("{")
        if self._skip("}"):
            return
        while True:
            name = self._value()
            if type(name) is not str:
                raise ValueError("no name")
            self._expect(":")
            yield name
            if self._skip("}"):
                return
            self._expect(",")

    def _elements(self) -> Iterator[None]:
        """Yield before each element of an array; the caller must read the element."""
        self._expect("[")
        if self._skip("]"):
            return
        while True:
            yield
            if self._skip("]"):
                return
            self._expect(",")

    def _value(self) -> Any:
        self._next()
        try:
            value, self._at = json_bytes.scan(self._text, self._at)
        except StopIteration:
            raise ValueError("no value") from None
        return value

    def _next(self) -> str:
        """Skip whitespace and return the next character; empty at the end."""
        self._at = cast("Any", _SPACE.match(self._text, self._at)).end()
        return self._text[self._at : self._at + 1]

    def _skip(self, sign: str) -> bool:
        if self._next() != sign:
            return False
        self._at += 1
        return True

    def _expect(self, sign: str) -> None:
        if not self._skip(sign):
            raise ValueError("another sign")


def _number(told: Any) -> float:
    if isinstance(told, bool) or not isinstance(told, int | float):
        raise ValueError("the adjusted count is a number")  # noqa: TRY004 - like any unusual line
    return float(told)


def _text(told: Any) -> str:
    if not isinstance(told, str):
        raise ValueError("no text")  # noqa: TRY004 - like any unusual line
    return told
