"""Dynamic tags, carried by OpenTelemetry's Context and, for chosen names only, by W3C baggage.

All tags in force are one immutable `Tags` under one Context key, so a span that starts needs one
look-up however many blocks surround it. (The idea, and the word, are those of OTEP 4931,
"context-scoped attributes".)
"""

from collections.abc import Callable, Collection, Mapping
from contextvars import ContextVar
from typing import Any, Final, cast
from weakref import WeakMethod

import opentelemetry.context
from opentelemetry import baggage
from opentelemetry.context import Context, get_current, set_value
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext

from otel_vtrack.sdk import settings
from otel_vtrack.sdk.values import Value, clean_all, longest

KEY: Final = "otel-vtrack-tags"
"""The Context key; one fixed string, so that two copies of this package would share it."""
NONE_SEEN: Final = -1
"""No limit of any span: that would be None or a number from 0."""


class Tags:
    """Attributes for the spans that start in a context. Immutable; shared by many contexts."""

    __slots__ = ("_stamp", "attributes")

    def __init__(self, attributes: dict[str, Value]) -> None:
        self.attributes: Final = attributes
        self._stamp: Stamp | None = None

    def on(self, static: "Stamp") -> "Stamp":
        """Return static tags with these over them; remembered, as a block has many spans."""
        stamp = self._stamp
        if stamp is None or stamp.base is not static:
            stamp = self._stamp = Stamp(static.tags | self.attributes, static)
        return stamp


class Stamp:
    """Tags as they are merged into a span, and what they were worked out for.

    Immutable, but for what they are known to fit into.

    Args:
        tags: Clean; the first are the first to go when there is no room.
        base: The resource, for static tags; the static stamp beneath, for those of a context.
    """

    __slots__ = ("base", "count", "length", "roomy", "tags")

    def __init__(self, tags: dict[str, Value], base: object = None) -> None:
        self.tags: Final = tags
        self.count: Final = len(tags)
        self.length: Final = longest(tags)
        self.base: Final = base
        self.roomy: int | None = NONE_SEEN
        """The last limit to a span's attributes that was seen to leave room for all tags."""


class _Use:
    """What spans of this process may need beside static tags. Until they do, it costs nothing."""

    __slots__ = ("_looking", "_watchers", "dynamic", "keys", "more", "roots")

    def __init__(self) -> None:
        self.more = False
        """Whether any of the others is in use, so that a span that needs none asks once."""
        self.dynamic = False
        """Whether a span may have dynamic tags."""
        self.roots = False
        """Whether the first span of each trace is to be noted (`local_root`)."""
        self.keys: frozenset[str] | None = None
        """`baggage_keys()`, but None until that has read the setting."""
        self._looking = False
        self._watchers: Final[list[WeakMethod[Callable[[], object]]]] = []

    def baggage_keys(self) -> frozenset[str]:
        """Return the attributes that may travel in baggage.

        The setting is read once, and not if `replace_baggage_keys` was called.
        """
        if self.keys is None:
            self.replace_baggage_keys(settings.names(settings.OTEL_VTRACK_BAGGAGE_KEYS))
        return self.keys or frozenset()

    def replace_baggage_keys(self, names: Collection[str] | None) -> None:
        """Let these attributes travel and no others; with None, go back to the setting."""
        if isinstance(names, str):  # else each of its letters would be one
            names = (names,)
        self.keys = None if names is None else frozenset(names)
        if names:
            self.look_for_tags()

    def look_for_tags(self) -> None:
        """Look for dynamic tags from now on."""
        # Not before all know it: whoever comes second may start a span at once.
        if not self._looking:
            self.dynamic = self.more = True
            self._tell()
            self._looking = True

    def note_roots(self) -> None:
        """Note first spans from now on."""
        self.roots = self.more = True
        self._tell()

    def watch(self, method: Callable[[], object]) -> None:
        """Have a method called when there is more, as not even to ask is cheaper still."""
        self._watchers.append(WeakMethod(method, self._watchers.remove))

    def _tell(self) -> None:
        for watcher in list(self._watchers):
            method = watcher()
            if method is not None:
                method()


use: Final = _Use()

otel: Final[Any] = opentelemetry.context
runtime: Final = getattr(otel, "_RUNTIME_CONTEXT", None)
"""What OpenTelemetry keeps the current context in."""


def _reader() -> Callable[[], Context]:
    variable = getattr(runtime, "_current_context", None)
    if type(runtime) is ContextVarsRuntimeContext and isinstance(variable, ContextVar):
        return cast("Callable[[], Context]", variable.get)
    return get_current


read: Final = _reader()
"""The shortest way to what is there: `get_current` is a function that calls one that calls this."""


def under_context(static: Stamp, context: Context | None) -> Stamp:
    """Return static tags under those of a context; under those of the current one if None.

    Tags of this process win over those from received baggage, which win over static ones. (What
    is done without baggage is written out in `processor`.)
    """
    context = get_current() if context is None else context
    if use.keys:
        static = Tags(from_baggage(context)).on(static)
    tags: Any = context.get(KEY)  # not cast(), which is a call
    return static if tags is None else tags.on(static)


def from_baggage(context: Context) -> dict[str, Value]:
    """Return the allowed entries of a context's baggage as attributes."""
    entries = baggage.get_all(context)
    return clean_all({name: entries[name] for name in use.baggage_keys() if name in entries})


def with_tags(attributes: Mapping[str, Value], context: Context | None = None) -> Context:
    """Return the context with more tags; same names are replaced.

    Args:
        attributes: Clean.
        context: What to build on; the current one if None.
    """
    use.look_for_tags()
    context = get_current() if context is None else context
    own = context.get(KEY)
    merged = {**own.attributes, **attributes} if isinstance(own, Tags) else dict(attributes)
    context = set_value(KEY, Tags(merged), context)
    for name in use.baggage_keys() & attributes.keys():
        # Baggage is text; the receiving side has no way to know that it was a number.
        context = baggage.set_baggage(name, str(attributes[name]), context)
    return context
