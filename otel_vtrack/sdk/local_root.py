"""Tracks the first span of each trace in this process, for tags of the trace as a whole.

OpenTelemetry has no link from a span to its ancestors, so first spans are recorded as they start.
That costs 0.6 µs per trace, so it happens only in applications that tag traces; see `trace_tags`.
"""

from typing import Any, Final
from weakref import ref

_MOST: Final = 2_048
"""A trace stays known until at least this many more started; at most twice as many are known."""
_MOST_OPEN: Final = 8
"""Open first spans kept for one trace."""


class _Roots:
    """Two dicts, for cheap eviction: when `recent` is full, it replaces `older`."""

    __slots__ = ("older", "recent")

    def __init__(self) -> None:
        self.recent: dict[int, tuple[ref[Any], ...]] = {}
        self.older: dict[int, tuple[ref[Any], ...]] = {}


_roots: Final = _Roots()


def is_first(span: Any) -> bool:
    """Return whether an SDK span has no parent in this process."""
    parent = span.parent
    return parent is None or parent.is_remote


def note(span: Any) -> None:
    """Record a span if it is the first; reads private fields, at half the cost."""
    parent = span._parent  # noqa: SLF001 - see `processor`
    if parent is None or parent.is_remote:
        remember(span._context.trace_id, span)  # noqa: SLF001


def remember(trace_id: int, span: Any) -> None:
    """Record a span that has no parent here, by weak reference."""
    recent = _roots.recent
    if len(recent) >= _MOST:
        _roots.older = recent
        _roots.recent = recent = {}
    found = (ref(span),)
    before = recent.get(trace_id)
    if before is not None:  # the trace has called this process before
        found = (*filter(_open, before[1 - _MOST_OPEN :]), *found)
    recent[trace_id] = found


def local_root(trace_id: int) -> Any:
    """Return the first span of a trace that is known and still open, else None."""
    known = (*_roots.older.get(trace_id, ()), *_roots.recent.get(trace_id, ()))
    return next(filter(None, map(_open, known)), None)


def known() -> list[Any]:
    """Return the recorded spans, None for those that no longer exist. For tests."""
    spans = (*_roots.recent.values(), *_roots.older.values())
    return [found() for each in spans for found in each]


def _open(found: ref[Any]) -> Any:
    """Return the span if it is open, else None."""
    span = found()
    return span if span is not None and span.is_recording() else None
