"""Dynamic tags, carried by OpenTelemetry's Context and, for chosen names only, by W3C baggage.

All tags in force are one immutable `Tags` under one Context key, so a span that starts needs one
look-up however many blocks surround it. (The idea, and the word, are those of OTEP 4931,
"context-scoped attributes".)
"""

from collections.abc import Collection, Mapping
from typing import Final

from opentelemetry import baggage
from opentelemetry.context import Context, get_current, set_value

from otel_vtrack.sdk import settings
from otel_vtrack.sdk.values import Value, clean_all, longest

KEY: Final = "otel-vtrack-tags"
"""The Context key; one fixed string, so that two copies of this package would share it."""


class Tags:
    """Attributes for the spans that start in a context. Immutable; shared by many contexts."""

    __slots__ = ("attributes", "length")

    def __init__(self, attributes: dict[str, Value]) -> None:
        self.attributes: Final = attributes
        self.length: Final = longest(attributes)


class _Baggage:
    """Which attributes may travel in baggage; none until a setting or `allow` says so."""

    keys: frozenset[str] | None = None


def baggage_keys() -> frozenset[str]:
    """Return the names that may travel; OTEL_VTRACK_BAGGAGE_KEYS is read once."""
    if _Baggage.keys is None:
        _Baggage.keys = settings.names(settings.OTEL_VTRACK_BAGGAGE_KEYS)
    return _Baggage.keys


def allow_in_baggage(names: Collection[str] | None) -> None:
    """Replace the names that may travel; with None, go back to the setting."""
    _Baggage.keys = None if names is None else frozenset(names)


def tags_in(context: Context | None) -> Mapping[str, Value]:
    """Return the tags in force, those of received baggage included; of the current context if None.

    Tags set in this process win over received ones.
    """
    context = get_current() if context is None else context
    own = context.get(KEY)
    received = from_baggage(context) if baggage_keys() else {}
    return {**received, **(own.attributes if isinstance(own, Tags) else {})}


def from_baggage(context: Context) -> dict[str, Value]:
    """Return the allowed entries of a context's baggage as attributes."""
    entries = baggage.get_all(context)
    return clean_all({name: entries[name] for name in baggage_keys() if name in entries})


def with_tags(attributes: Mapping[str, Value], context: Context | None = None) -> Context:
    """Return the context with more tags; same names are replaced.

    Args:
        attributes: Clean.
        context: What to build on; the current one if None.
    """
    context = get_current() if context is None else context
    own = context.get(KEY)
    merged = {**own.attributes, **attributes} if isinstance(own, Tags) else dict(attributes)
    context = set_value(KEY, Tags(merged), context)
    for name in baggage_keys() & attributes.keys():
        # Baggage is text; the receiving side has no way to know that it was a number.
        context = baggage.set_baggage(name, str(attributes[name]), context)
    return context
