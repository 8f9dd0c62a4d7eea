"""Emits standard events: as log records if logs are processed, else as span events."""

import inspect
import time
from functools import lru_cache
from importlib import import_module
from typing import Any, Final, NamedTuple

from opentelemetry import trace

from otel_vtrack.sdk import guest
from otel_vtrack.sdk.values import Value

_SCOPE: Final = "otel_vtrack"
_NAME_ATTRIBUTE: Final = "event.name"
"""Event name attribute before conventions 1.30; older log records have no field for the name."""


def emit(
    name: str,
    attributes: dict[str, Value],
    about: trace.SpanContext,
    span: trace.Span | None = None,
) -> bool:
    """Emit an event and return whether anything receives it.

    Args:
        name: Event name.
        attributes: Clean attributes.
        about: Ids for the log record; span id 0 means the trace as a whole.
        span: Receives a span event when logs are not processed; must be recording.
    """
    logger = _logger()
    if logger is not None:
        _emit_record(logger, name, attributes, about)
        return True
    if span is not None and span.is_recording():
        span.add_event(name, attributes)
        return True
    guest.debug("the event %s is dropped: there is no log exporter and no open span", name)
    return False


@lru_cache(maxsize=1)
def _api() -> Any:
    """Return OpenTelemetry's logs module, or None if this private module has moved.

    Importing us then still works, and events become span events.
    """
    try:
        return import_module("opentelemetry._logs")
    except ImportError:
        return None


def _logger() -> Any:
    """Return a logger if any log record processor is registered, else None."""
    api = _api()
    if api is None:
        return None
    provider: Any = api.get_logger_provider()
    # Logfire's provider forwards to the SDK's.
    provider = getattr(provider, "provider", None) or provider
    listeners = getattr(provider, "_multi_log_record_processor", None)
    if not getattr(listeners, "_log_record_processors", ()):
        return None
    return provider.get_logger(_SCOPE)


def _emit_record(
    logger: Any, name: str, attributes: dict[str, Value], about: trace.SpanContext
) -> None:
    record: dict[str, Any] = {
        "timestamp": time.time_ns(),
        "severity_number": _api().SeverityNumber.INFO,
        "attributes": attributes,
    }
    takes = _takes()
    if takes.context and about != trace.get_current_span().get_span_context():
        record["context"] = trace.set_span_in_context(trace.NonRecordingSpan(about))
    if takes.record is None:
        logger.emit(event_name=name, **record)
        return
    record["observed_timestamp"] = record["timestamp"]
    record["resource"] = getattr(logger, "resource", None) or logger._resource  # noqa: SLF001
    if takes.event_name:
        record["event_name"] = name
    else:
        record["attributes"] = {_NAME_ATTRIBUTE: name, **attributes}
    if not takes.context:
        record["trace_id"], record["span_id"] = about.trace_id, about.span_id
        record["trace_flags"] = about.trace_flags
    logger.emit(takes.record(**record))


class _Takes(NamedTuple):
    """What this SDK's loggers accept.

    Attributes:
        record: Class of the record to emit; None where `Logger.emit` creates it, from about 1.39.
        event_name: Whether the record has a field for the event name.
        context: Whether the record takes its ids from a context; passing ids is then deprecated.
    """

    record: Any
    event_name: bool
    context: bool


@lru_cache(maxsize=1)
def loggers_take_names() -> bool:
    """Return whether `Logger.emit` accepts an event name."""
    api = _api()
    return api is not None and "event_name" in inspect.signature(api.Logger.emit).parameters


@lru_cache(maxsize=1)
def _takes() -> _Takes:
    if loggers_take_names():
        return _Takes(None, event_name=True, context=True)
    from opentelemetry.sdk import _logs  # noqa: PLC0415 - already loaded by log exporters

    made: Any = vars(_logs)["LogRecord"]
    known = inspect.signature(made.__init__).parameters
    return _Takes(made, event_name="event_name" in known, context="context" in known)
