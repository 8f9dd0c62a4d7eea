"""`otel_vtrack.set_trace_tag`: attributes of a trace as a whole, set from inside the app.

Importing this module starts the recording of first spans (`local_root`), so applications that tag
no traces do not pay for it. If spans are already being stamped, the import finds traces still open
by scanning all objects of the process, once: 0.1 s per million objects.
"""

import gc
from typing import Any

from opentelemetry.trace import Span, get_current_span

from otel_vtrack import semconv
from otel_vtrack.sdk import guest, providers
from otel_vtrack.sdk.context import use
from otel_vtrack.sdk.feedback import text
from otel_vtrack.sdk.local_root import is_first, local_root, remember
from otel_vtrack.sdk.merge import SdkSpan


def set_trace_tag(key: str, value: object) -> None:
    """Tag the trace of the current span, as MLflow does: by an attribute of its root span.

    Sets it on the first span of this trace in this process, if that is still open and its provider
    is stamped (`install`); else on the current span. In a service called by others, the trace's
    root is in another process, so the tag is on this service's own first span. Never raises.

    Args:
        key: The tag's key.
        value: Converted to text; None sets nothing.
    """
    with guest.shield("tagging a trace"):
        span = _first_span(get_current_span())
        if not span.is_recording():
            guest.debug("no span is open for the tag %s", key)
        elif key and value is not None:
            span.set_attribute(semconv.VTRACK_TAG_PREFIX + key, text(value))


def _first_span(span: Span) -> Span:
    """Return the first span of a span's trace if it is known and open, else the span itself."""
    root = local_root(span.get_span_context().trace_id)
    return span if root is None else root


def _remember_open_traces() -> None:
    """Record first spans that started before this module was imported."""
    # Not isinstance: reading `__class__` of an arbitrary object may run its code.
    spans: list[Any] = [it for it in gc.get_objects() if SdkSpan in type(it).__mro__]
    for span in sorted(filter(providers.stamps, spans), key=lambda it: it.start_time or 0):
        if is_first(span):
            remember(span.get_span_context().trace_id, span)


use.note_roots()
with guest.shield("looking for open traces"):
    if providers.in_use():
        _remember_open_traces()
