"""Sends standard events: as log records if those go anywhere, else as events of a span."""

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
"""Where conventions before 1.30 put the name of an event: older records have no field for it."""


def emit(
    name: str,
    attributes: dict[str, Value],
    about: trace.SpanContext,
    span: trace.Span | None = None,
) -> bool:
    """Send an event, and say whether anybody takes it.

    Args:
        name: Of the event.
        attributes: Clean.
        about: Ids that a log record carries; its span id may be 0, for a trace as a whole.
        span: Gets an event of its own where no log record goes anywhere; it has to be recording.
    """
    logger = _logger()
    if logger is not None:
        _emit_record(logger, name, attributes, about)
        return True
    if span is not None and span.is_recording():
        span.add_event(name, attributes)
        return True
    guest.debug("nobody takes the event %s: there is no log exporter and no open span", name)
    return False


@lru_cache(maxsize=1)
def _api() -> Any:
    """Return OpenTelemetry's module for logs; None once it is elsewhere, as its `_` says it may be.

    So what imports us goes on then, and events are those of spans.
    """
    try:
        return import_module("opentelemetry._logs")
    except ImportError:
        return None


def _logger() -> Any:
    """Return a logger if somebody listens, else None."""
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
    """What this SDK's loggers take.

    Attributes:
        record: The class of the record to emit; None where `Logger.emit` makes it, as it does
            from 1.39 or so on.
        event_name: Whether that has a field for the name of an event.
        context: Whether it takes its ids from a context: to give them is deprecated then.
    """

    record: Any
    event_name: bool
    context: bool


@lru_cache(maxsize=1)
def loggers_take_names() -> bool:
    """Say whether `Logger.emit` takes the name of an event."""
    api = _api()
    return api is not None and "event_name" in inspect.signature(api.Logger.emit).parameters


@lru_cache(maxsize=1)
def _takes() -> _Takes:
    if loggers_take_names():
        return _Takes(None, event_name=True, context=True)
    from opentelemetry.sdk import _logs  # noqa: PLC0415 - loaded by whoever exports logs

    made: Any = vars(_logs)["LogRecord"]
    known = inspect.signature(made.__init__).parameters
    return _Takes(made, event_name="event_name" in known, context="context" in known)
