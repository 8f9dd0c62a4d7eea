"""Prepares redaction rules: what each finds, and where in a request it might find it."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from otel_vtrack.process import urls
from otel_vtrack.process.detectors import DETECTORS, Detector
from otel_vtrack.process.keys import Keys
from otel_vtrack.process.patterns import Pattern
from otel_vtrack.process.pieces import Spans
from otel_vtrack.process.redaction import URL_CREDENTIALS, Action, Redact

# Above this number it is faster to parse the whole request.
_MOST_SUSPECTS: Final = 10_000
# Each match may mean scanning the rest of the text; above this number the whole text is hidden.
_MOST_IN_A_TEXT: Final = 1_000


Screen = Callable[[bytes], Spans | None]
"""Returns the spans of a serialized request that may match; None if anything may."""


class Rule(NamedTuple):
    """A rule about the values of certain names, about matches within texts, or both.

    Attributes:
        name: The name in counts.
        action: What to do with a match.
        keys: The attribute names it applies to; None means everywhere.
        find: Returns the matches in a text, None for all of it; if it is None itself, any value
            matches.
        built_in: Whether it cannot match a text for which `Rules.may_have` is false.
        screen: Index in `Rules.screens` of the screen that locates possible matches.
    """

    name: str
    action: Action
    keys: Keys | None
    find: Callable[[bytes], Spans | None] | None
    built_in: bool = False
    screen: int = 0


class Rules:
    """All rules of the settings, grouped by how they apply.

    Attributes:
        by_name: Rules about whole values.
        within: Rules about texts in values of certain names.
        everywhere: Rules about any text.
        screens: Searches of serialized requests. The first one serves all rules that have keys.
    """

    def __init__(self, settings: Redact) -> None:
        self.screens: list[Screen] = [_names_in(settings)]
        rules = list(self._ready(settings))
        self.by_name = tuple(rule for rule in rules if rule.keys and not rule.find)
        self.within = tuple(rule for rule in rules if rule.keys and rule.find)
        self.everywhere = tuple(rule for rule in rules if not rule.keys)
        used = {*settings.detectors, *(name for rule in settings.rules for name in rule.detectors)}
        self._any = _any_of(DETECTORS[name].screen for name in DETECTORS if name in used)

    def __bool__(self) -> bool:
        return bool(self.by_name or self.within or self.everywhere)

    def may_have(self, text: bytes) -> bool:
        """Return whether any detector in use might match in a text."""
        return self._any is not None and self._any.matches(text)

    def _ready(self, settings: Redact) -> Iterator[Rule]:
        if settings.url_credentials:
            # First, because otherwise an e-mail address could match with a password as its name.
            screen = self._add(urls.suspects)
            yield Rule(URL_CREDENTIALS, "mask", None, urls.credentials, screen=screen)
        built_in = self._add(_secrets_in(settings))
        for rule in settings.rules:
            keys = Keys(rule.keys) if rule.keys else None
            for name in rule.detectors:
                find = _secrets(DETECTORS[name])
                yield Rule(rule.name, rule.action, keys, find, True, built_in)
            if rule.pattern:
                pattern = Pattern(rule.pattern)
                screen = 0 if keys else self._add(_pattern_in(pattern))
                yield Rule(rule.name, rule.action, keys, _all_of(pattern), screen=screen)
            elif not rule.detectors:
                yield Rule(rule.name, rule.action, keys, None)
        for name in settings.detectors:
            yield Rule(name, "mask", None, _secrets(DETECTORS[name]), True, built_in)

    def _add(self, screen: Screen) -> int:
        self.screens.append(screen)
        return len(self.screens) - 1


def _names_in(settings: Redact) -> Screen:
    keys = [Keys(rule.keys).literals for rule in settings.rules if rule.keys]
    if None in keys:
        return _anywhere
    return _screen(_any_of(re.escape(text) for texts in keys for text in texts or ()))


def _secrets_in(settings: Redact) -> Screen:
    bare = [rule.detectors for rule in settings.rules if not rule.keys]
    used = {*settings.detectors, *(name for names in bare for name in names)}
    return _screen(_any_of(DETECTORS[name].screen for name in DETECTORS if name in used))


def _pattern_in(pattern: Pattern) -> Screen:
    return _screen(pattern) if pattern.anywhere else _anywhere


def _screen(pattern: Pattern | None) -> Screen:
    if not pattern:
        return _nowhere
    return lambda raw: pattern.wholes(raw, _MOST_SUSPECTS)


def _anywhere(_: bytes) -> Spans | None:
    return None


def _nowhere(_: bytes) -> Spans | None:
    return []


def _any_of(patterns: Iterable[str]) -> Pattern | None:
    text = "|".join(f"(?:{each})" for each in patterns)
    return Pattern(text, built_in=True) if text else None


def _secrets(detector: Detector) -> Callable[[bytes], Spans | None]:
    pattern, holds = Pattern(detector.pattern, built_in=True), detector.holds

    def find(text: bytes) -> Spans | None:
        spans = pattern.spans(text, _MOST_IN_A_TEXT)
        if spans is None or holds is None:
            return spans
        return [(start, end) for start, end in spans if holds(text[start:end])]

    return find


def _all_of(pattern: Pattern) -> Callable[[bytes], Spans | None]:
    def find(text: bytes) -> Spans | None:
        spans = pattern.spans(text, _MOST_IN_A_TEXT)
        # A group may have matched the empty string.
        return spans and [(start, end) for start, end in spans if start < end]

    return find
