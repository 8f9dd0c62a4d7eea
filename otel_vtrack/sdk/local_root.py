"""Knows the first span of each trace in this process, for what is said of the trace as a whole.

OpenTelemetry has no way from a span to those above it, so first spans are noted as they start. That
is 0.5 µs for each trace, so they are only where somebody tags traces; see `trace_tags`.
"""

from typing import Any, Final
from weakref import ref

_MOST: Final = 2_048
"""Each trace is known for at least so many more, and at most twice as many are."""


class _Roots:
    """Two dicts, as that is the cheapest way to forget: when one is full it becomes the older."""

    __slots__ = ("older", "recent")

    def __init__(self) -> None:
        self.recent: dict[int, ref[Any]] = {}
        self.older: dict[int, ref[Any]] = {}


_roots: Final = _Roots()


def is_first(span: Any) -> bool:
    """Say whether a span of the SDK has no parent in this process."""
    parent = span.parent
    return parent is None or parent.is_remote


def note(span: Any) -> None:
    """Remember a span if it is the first; reaches for its private fields, at half the cost."""
    parent = span._parent  # noqa: SLF001 - see `processor`
    if parent is None or parent.is_remote:
        remember(span._context.trace_id, span)  # noqa: SLF001


def remember(trace_id: int, span: Any) -> None:
    """Note a span that has no parent here. It lives no longer for that."""
    recent = _roots.recent
    if len(recent) >= _MOST:
        _roots.older = recent
        _roots.recent = recent = {}
    recent[trace_id] = ref(span)


def local_root(trace_id: int) -> Any:
    """Return the first span of a trace, if it is known and open; else None."""
    found = _roots.recent.get(trace_id) or _roots.older.get(trace_id)
    root = None if found is None else found()
    return root if root is not None and root.is_recording() else None


def known() -> list[Any]:
    """Return the spans noted, and None for those that are gone. For tests."""
    return [found() for found in (*_roots.recent.values(), *_roots.older.values())]
