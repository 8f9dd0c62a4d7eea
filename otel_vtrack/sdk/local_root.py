"""Finds the first span of a trace in this process, for what is said of the trace as a whole."""

from typing import Any, Final
from weakref import ref

from opentelemetry.trace import Span

_MOST: Final = 4_096
"""Traces open at once; of more, the oldest are forgotten."""

_roots: Final[dict[int, "ref[Any]"]] = {}


def remember(span: Any) -> None:
    """Note a span that has no parent here. It lives no longer for that."""
    if len(_roots) >= _MOST:
        for trace_id in list(_roots)[: _MOST // 2]:
            _roots.pop(trace_id, None)
    _roots[span.context.trace_id] = ref(span)


def local_root(span: Span) -> Span:
    """Return the first span of a span's trace, if it is known and open; else the span itself."""
    found = _roots.get(span.get_span_context().trace_id)
    root = None if found is None else found()
    return root if root is not None and root.is_recording() else span
