"""Finds the first span of a trace in this process, for what is said of the trace as a whole.

OpenTelemetry has no way from a span to those above it, so first spans are noted as they start.
Every trace pays for that, so it is two dicts: when one is full it becomes the older one.
"""

from typing import Any, Final
from weakref import ref

from opentelemetry.trace import Span

_MOST: Final = 2_048
"""Each trace is known for at least so many more, and at most twice as many are."""


class _Roots:
    __slots__ = ("older", "recent")

    def __init__(self) -> None:
        self.recent: dict[int, ref[Any]] = {}
        self.older: dict[int, ref[Any]] = {}


_roots: Final = _Roots()


def remember(trace_id: int, span: Any) -> None:
    """Note a span that has no parent here. It lives no longer for that."""
    recent = _roots.recent
    if len(recent) >= _MOST:
        _roots.older = recent
        _roots.recent = recent = {}
    recent[trace_id] = ref(span)


def local_root(span: Span) -> Span:
    """Return the first span of a span's trace, if it is known and open; else the span itself."""
    trace_id = span.get_span_context().trace_id
    found = _roots.recent.get(trace_id) or _roots.older.get(trace_id)
    root = None if found is None else found()
    return root if root is not None and root.is_recording() else span


def known() -> list[Any]:
    """Return the spans noted, and None for those that are gone. For tests."""
    return [found() for found in (*_roots.recent.values(), *_roots.older.values())]
