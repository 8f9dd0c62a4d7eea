"""Dynamic tags, carried by OpenTelemetry's Context and, for chosen names only, by W3C baggage.

All active tags are one immutable `Tags` under one Context key, so a starting span needs one lookup
however many blocks surround it. (The idea and the term come from OTEP 4931, "context-scoped
attributes".)
"""

from collections.abc import Callable, Collection, Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Final, cast
from urllib.parse import quote_plus
from weakref import WeakMethod

import opentelemetry.context
from opentelemetry import baggage
from opentelemetry.context import Context, get_current, set_value
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext

from otel_vtrack.sdk import settings
from otel_vtrack.sdk.values import Value, clean_all, longest

KEY: Final = "otel-vtrack-tags"
"""The Context key; a fixed string, so that two copies of this package share it."""
_LONGEST_MEMBER: Final = 4_096
"""Bytes of a name and value in baggage: OpenTelemetry's propagators drop longer ones with a warning
for each request, or send more than the receiver accepts, which then drops the whole header."""
NONE_SEEN: Final = -1
"""Never equal to a span's limit, which is None or at least 0."""


class Tags:
    """Attributes for spans started in a context. Immutable; shared by many contexts."""

    __slots__ = ("_stamp", "attributes")

    def __init__(self, attributes: dict[str, Value]) -> None:
        self.attributes: Final = attributes
        self._stamp: Stamp | None = None

    def on(self, static: "Stamp") -> "Stamp":
        """Return static tags overridden by these; cached, as a block has many spans."""
        stamp = self._stamp
        if stamp is None or stamp.base is not static:
            stamp = self._stamp = Stamp(static.tags | self.attributes, static)
        return stamp


class Stamp:
    """Tags ready to merge into a span, and what they were computed from.

    Immutable except for `roomy`.

    Args:
        tags: Clean tags; dropped from the front when there is no room.
        base: The resource, for static tags; the underlying static stamp, for context tags.
    """

    __slots__ = ("base", "count", "length", "roomy", "tags")

    def __init__(self, tags: dict[str, Value], base: object = None) -> None:
        self.tags: Final = tags
        self.count: Final = len(tags)
        self.length: Final = longest(tags)
        self.base: Final = base
        self.roomy: int | None = NONE_SEEN
        """The last attribute limit known to leave room for all tags."""


class _Use:
    """What this process's spans may need besides static tags; free until it is used."""

    __slots__ = ("_looking", "_watchers", "dynamic", "keys", "more", "roots")

    def __init__(self) -> None:
        self.more = False
        """Whether any of the others is in use, so that the usual span checks one field."""
        self.dynamic = False
        """Whether a span may have dynamic tags."""
        self.roots = False
        """Whether to record the first span of each trace (`local_root`)."""
        self.keys: tuple[str, ...] | None = None
        """`baggage_keys()`, or None before the setting is read."""
        self._looking = False
        self._watchers: Final[list[WeakMethod[Callable[[], object]]]] = []

    def baggage_keys(self) -> tuple[str, ...]:
        """Return the attributes that may travel in baggage.

        Reads the setting once, or never if `replace_baggage_keys` was called.
        """
        if self.keys is None:
            self.replace_baggage_keys(settings.names(settings.OTEL_VTRACK_BAGGAGE_KEYS))
        return self.keys or ()

    def replace_baggage_keys(self, names: Collection[str] | None) -> None:
        """Allow only these attributes to travel; None restores the setting."""
        if isinstance(names, str):  # otherwise each character would become a name
            names = (names,)
        self.keys = None if names is None else tuple(dict.fromkeys(names))
        if names:
            self.look_for_tags()

    def look_for_tags(self) -> None:
        """Look for dynamic tags from now on."""
        # Set last: a second caller may start a span at once, so all watchers must know by then.
        if not self._looking:
            self.dynamic = self.more = True
            self._tell()
            self._looking = True

    def note_roots(self) -> None:
        """Record first spans from now on."""
        self.roots = self.more = True
        self._tell()

    def watch(self, method: Callable[[], object]) -> None:
        """Call a method whenever `more` is set, so that its owner need not check each span."""
        self._watchers.append(WeakMethod(method, self._watchers.remove))

    def _tell(self) -> None:
        for watcher in list(self._watchers):
            method = watcher()
            if method is not None:
                method()


use: Final = _Use()

otel: Final[Any] = opentelemetry.context
runtime: Final = getattr(otel, "_RUNTIME_CONTEXT", None)
"""OpenTelemetry's holder of the current context."""


def _reader() -> Callable[[], Context]:
    variable = getattr(runtime, "_current_context", None)
    if type(runtime) is ContextVarsRuntimeContext and isinstance(variable, ContextVar):
        return cast("Callable[[], Context]", variable.get)
    return get_current


read: Final = _reader()
"""The fastest way to read the current context: `get_current` reaches this two calls deeper."""


def under_context(static: Stamp, context: Context | None) -> Stamp:
    """Return static tags overridden by those of a context, or of the current one if None.

    Tags set in this process override received baggage, which overrides static tags. (`processor`
    inlines the case without baggage.)
    """
    context = get_current() if context is None else context
    if use.keys and (received := from_baggage(context, use.keys)) is not None:
        static = received.on(static)
    tags: Any = context.get(KEY)  # not cast(), which is a call
    return static if tags is None else tags.on(static)


def from_baggage(context: Context, names: tuple[str, ...]) -> Tags | None:
    """Return the allowed entries of a context's baggage as tags; None if it has no baggage."""
    entries = baggage.get_all(context)
    if not entries:
        return None
    values = tuple(map(entries.get, names))
    try:
        return _received(names, *values)
    except TypeError:  # an unhashable value, which only this process can have set
        return _received.__wrapped__(names, *values)


# Cached, as a request has many spans, and `typed`, as 1 and True are equal.
@lru_cache(maxsize=256, typed=True)
def _received(names: tuple[str, ...], *values: object) -> Tags:
    return Tags(clean_all(dict(zip(names, values, strict=True))))


def with_tags(attributes: Mapping[str, Value], context: Context | None = None) -> Context:
    """Return the context with tags added; existing names are replaced.

    Args:
        attributes: Clean tags.
        context: The base context; the current one if None.
    """
    use.look_for_tags()
    context = get_current() if context is None else context
    own = context.get(KEY)
    merged = {**own.attributes, **attributes} if isinstance(own, Tags) else dict(attributes)
    context = set_value(KEY, Tags(merged), context)
    for name in use.baggage_keys():
        if name in attributes:
            # Baggage is text; the receiver cannot tell that it was a number.
            value = str(attributes[name])
            if len(quote_plus(f"{name}={value}")) <= _LONGEST_MEMBER:
                context = baggage.set_baggage(name, value, context)
            else:  # nor may the value of a block outside travel in its place
                context = baggage.remove_baggage(name, context)
    return context
