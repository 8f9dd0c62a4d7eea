"""Hides secrets in traces and logs, wherever OTLP has text.

The search runs on the serialized request. Only spans, log records, Resources and scopes that may
contain a match are parsed, and only those that do are serialized again.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from google.protobuf.descriptor import FieldDescriptor
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_vtrack.errors import SettingsError
from otel_vtrack.process.pieces import Kind, Spans, Wanted, rewrite
from otel_vtrack.process.redaction import Redact, hashed
from otel_vtrack.process.rules import Rule, Rules
from otel_vtrack.process.urls import HIDDEN
from otel_vtrack.wire.signals import LOGS, TRACES, Signal

_MOST_KNOWN: Final = 10_000
_SHORT: Final = 100
_PAIR: Final = "opentelemetry.proto.common.v1.KeyValue"
_VALUE: Final = "opentelemetry.proto.common.v1.AnyValue"
_NESTED: Final = frozenset({"array_value", "kvlist_value"})
_CLASSES: Final[dict[str, dict[Kind, Any]]] = {
    TRACES.name: {"resource": Resource, "scope": InstrumentationScope, "item": Span},
    LOGS.name: {"resource": Resource, "scope": InstrumentationScope, "item": LogRecord},
}


class _Plan(NamedTuple):
    """The field numbers of a message that contain text, by kind."""

    texts: frozenset[int]
    pairs: frozenset[int]
    values: frozenset[int]
    messages: "dict[int, _Plan]"


class _Dropped(Exception):
    """Signals, not as an error, that a rule drops the attribute in which it matched."""


class Redactor:
    """Hides what the settings say; thread-safe.

    Args:
        settings: What to hide, and how.

    Raises:
        SettingsError: The hash key cannot be read, or RE2 is not installed.
    """

    def __init__(self, settings: Redact) -> None:
        try:
            self._key = settings.key()
        except (OSError, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) else error
            raise SettingsError(
                f"redact.hash_key_file {settings.hash_key_file} cannot be used: {said}"
            ) from None
        try:
            self._rules = Rules(settings)
        except ValueError as error:
            raise SettingsError(f"redact: {error}") from None
        # Caches: names recur, together with the rule about all of their values, and so do texts
        # that contain nothing to hide.
        self._named: dict[str, Rule | None] = {}
        self._clean: set[bytes] = set()

    def __bool__(self) -> bool:
        return bool(self._rules)

    def __call__(self, signal: Signal, payload: bytes) -> tuple[bytes, Counter[str]]:
        """Return a checked request with secrets hidden, and how often each rule hid something."""
        counts: Counter[str] = Counter()
        found = [Wanted(screen(payload)) for screen in self._rules.screens]
        wanted = list(filter(None, found))
        if not wanted:
            return payload, counts

        def change(kind: Kind, raw: bytes, at: int) -> bytes:
            there = [each.overlaps(at, at + len(raw)) for each in found]
            rules = tuple(rule for rule in self._rules.everywhere if there[rule.screen])
            if kind == "text":
                return self._text(raw, rules, counts) or raw
            before = counts.total()
            message = _CLASSES[signal.name][kind].FromString(raw)
            self._message(message, _PLANS[signal.name, kind], rules, counts)
            return message.SerializeToString() if counts.total() > before else raw

        return rewrite(payload, wanted, change), counts

    def _message(
        self, message: Any, plan: _Plan, rules: Sequence[Rule], counts: Counter[str]
    ) -> None:
        for field, value in message.ListFields():
            number = field.number
            if number in plan.pairs:
                self._pairs(value, rules, counts)
            elif number in plan.values:
                self._lone_value(value, rules, counts)
            elif number in plan.messages:
                for each in value if field.is_repeated else (value,):
                    self._message(each, plan.messages[number], rules, counts)
            elif rules and number in plan.texts:
                self._field(message, field, value, rules, counts)

    def _field(
        self, message: Any, field: Any, value: Any, rules: Sequence[Rule], counts: Counter[str]
    ) -> None:
        """Redact one or several texts that do not belong to an attribute."""
        for index, text in enumerate(value if field.is_repeated else (value,)):
            new = self._text(text.encode(), rules, counts)
            if new is None:
                continue
            if field.is_repeated:
                value[index] = new.decode()
            else:
                setattr(message, field.name, new.decode())

    def _pairs(self, pairs: Any, rules: Sequence[Rule], counts: Counter[str]) -> None:
        going: list[int] = []
        # No rule applies to most attributes, so these lines dominate the cost.
        to_read = bool(rules or self._rules.within)
        for index, pair in enumerate(pairs):
            key = pair.key
            if (rule := self._about(key)) or to_read:
                if self._goes(pair, key, rule, rules, counts):
                    going.append(index)
            elif (value := pair.value).WhichOneof("value") in _NESTED:
                self._value(value, rules, counts)
        for index in reversed(going):
            del pairs[index]

    def _goes(
        self, pair: Any, key: str, rule: Rule | None, rules: Sequence[Rule], counts: Counter[str]
    ) -> bool:
        """Redact an attribute, and return whether to drop it."""
        try:
            if rule:
                self._by_name(pair, rule, counts)
            elif pair.HasField("value"):
                more = self._within(key, rules) if self._rules.within else ()
                self._value(pair.value, (*rules, *more) if more else rules, counts)
        except _Dropped:
            return True
        if rules:
            new = self._text(key.encode(), self._rules.everywhere, counts)
            if new is not None:
                pair.key = new.decode()
        return False

    def _about(self, key: str) -> Rule | None:
        """Return the rule about all values of a name, if any."""
        if not self._rules.by_name:
            return None
        if key in self._named:
            return self._named[key]
        found = next((r for r in self._rules.by_name if r.keys and r.keys.match(key)), None)
        if len(self._named) < _MOST_KNOWN:
            self._named[key] = found
        return found

    def _within(self, key: str, rules: Sequence[Rule]) -> list[Rule]:
        """Return the rules that a name adds to those already in effect."""
        return [
            rule
            for rule in self._rules.within
            if rule.keys and rule.keys.match(key) and rule not in rules
        ]

    def _by_name(self, pair: Any, rule: Rule, counts: Counter[str]) -> None:
        if rule.action == "drop":
            counts[rule.name] += 1
            raise _Dropped
        if not pair.HasField("value") or pair.value.WhichOneof("value") is None:
            return
        if rule.action == "hash":
            self._hash(pair.value, rule, counts)
        elif pair.value.string_value.encode() != HIDDEN:
            counts[rule.name] += 1
            pair.value.string_value = HIDDEN.decode()

    def _hash(self, value: Any, rule: Rule, counts: Counter[str]) -> None:
        """Hash scalars one by one, so that lists of equal values stay comparable."""
        kind = value.WhichOneof("value")
        if kind == "array_value":
            for each in value.array_value.values:
                self._hash(each, rule, counts)
        elif kind == "kvlist_value":
            for each in value.kvlist_value.values:
                self._hash(each.value, rule, counts)
        elif kind:
            counts[rule.name] += 1
            value.string_value = hashed(self._key, _written(getattr(value, kind))).decode()

    def _lone_value(self, value: Any, rules: Sequence[Rule], counts: Counter[str]) -> None:
        """Redact a value that has no attribute to drop: a log record's body."""
        try:
            self._value(value, rules, counts)
        except _Dropped:
            value.string_value = HIDDEN.decode()

    def _value(self, value: Any, rules: Sequence[Rule], counts: Counter[str]) -> None:
        kind = value.WhichOneof("value")
        if kind == "array_value":
            for each in value.array_value.values:
                self._value(each, rules, counts)
        elif kind == "kvlist_value":
            self._pairs(value.kvlist_value.values, rules, counts)
        elif rules and kind == "string_value":
            new = self._text(value.string_value.encode(), rules, counts, droppable=True)
            if new is not None:
                value.string_value = new.decode()
        elif rules and kind == "bytes_value":
            new = self._text(value.bytes_value, rules, counts, droppable=True)
            if new is not None:
                value.bytes_value = new

    def _text(
        self,
        text: bytes,
        rules: Sequence[Rule],
        counts: Counter[str],
        *,
        droppable: bool = False,
    ) -> bytes | None:
        """Return a text without what the rules match in it; None if they match nothing."""
        if text in self._clean:
            return None
        new = self._searched(text, rules, counts, droppable=droppable)
        if new is not text:
            return new
        # Rules left out here cannot match this text; rules within names could, so no cache then.
        if len(text) <= _SHORT and not self._rules.within:
            if len(self._clean) >= _MOST_KNOWN:
                self._clean.clear()
            self._clean.add(text)
        return None

    def _searched(
        self, text: bytes, rules: Sequence[Rule], counts: Counter[str], *, droppable: bool
    ) -> bytes:
        """Return the redacted text, or the same object if nothing matches."""
        may_have: bool | None = None
        for rule in rules:
            if rule.built_in:
                may_have = self._rules.may_have(text) if may_have is None else may_have
                if not may_have:
                    continue
            spans = rule.find(text) if rule.find else []
            if spans is None:
                spans = [(0, len(text))]
            if not spans:
                continue
            counts[rule.name] += len(spans)
            if rule.action == "drop":
                if droppable:
                    raise _Dropped
                return HIDDEN
            text = self._without(text, spans, rule)
        return text

    def _without(self, text: bytes, spans: Spans, rule: Rule) -> bytes:
        parts: list[bytes] = []
        at = 0
        for start, end in spans:
            secret = text[start:end]
            parts += (
                text[at:start],
                hashed(self._key, secret) if rule.action == "hash" else HIDDEN,
            )
            at = end
        parts.append(text[at:])
        return b"".join(parts)


def _written(value: Any) -> bytes:
    """Format a scalar as the store shows it, so that 7 and "7" have the same hash."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, bool):
        return b"true" if value else b"false"
    return str(value).encode()


def _plan(kind: Any) -> _Plan:
    texts = {each.number for each in kind.fields if each.type == FieldDescriptor.TYPE_STRING}
    below = {each.number: each.message_type for each in kind.fields if each.message_type}
    pairs = {number for number, inner in below.items() if inner.full_name == _PAIR}
    values = {number for number, inner in below.items() if inner.full_name == _VALUE}
    messages = {
        number: _plan(inner)
        for number, inner in below.items()
        if number not in pairs and number not in values
    }
    return _Plan(frozenset(texts), frozenset(pairs), frozenset(values), messages)


_PLANS: Final = {
    (signal, kind): _plan(found.DESCRIPTOR)
    for signal, classes in _CLASSES.items()
    for kind, found in classes.items()
}
