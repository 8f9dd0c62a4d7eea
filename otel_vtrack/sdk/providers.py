"""Finds the tracer providers of this process, also those made later and by others.

Several set-ups may meet in one process: `opentelemetry-instrument` makes a provider before the
application runs, then Phoenix, Logfire or Traceloop make theirs, as the global one or not, and
Logfire makes another each time it is configured. There is no hook for that in OpenTelemetry, but no
span comes to be without `TracerProvider.get_tracer` of the SDK, which all of them inherit or call.
So that one method is wrapped, once, and a provider is met when it is first asked for a tracer.
"""

# ruff: noqa: SLF001 - a provider has no public way to put a processor first
import functools
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakSet

from opentelemetry.sdk.trace import ConcurrentMultiSpanProcessor, TracerProvider
from opentelemetry.trace import get_tracer_provider

from otel_vtrack.sdk import guest
from otel_vtrack.sdk.processor import VersionSpanProcessor

_MARK: Final = "_otel_vtrack_processor"
_processors: Final[WeakSet[VersionSpanProcessor]] = WeakSet()


def watch(meet: Callable[[TracerProvider], None]) -> Callable[[], None]:
    """Call `meet` with the global provider, if there is one, and with each that makes a tracer.

    Often the same one again: `meet` has to be quick about one it knows. Returns what undoes it.
    """
    original = TracerProvider.get_tracer

    @functools.wraps(original)
    def get_tracer(self: TracerProvider, *args: Any, **kwargs: Any) -> Any:
        with guest.shield("meeting a tracer provider"):
            meet(self)
        return original(self, *args, **kwargs)

    TracerProvider.get_tracer = get_tracer

    def undo() -> None:
        # If somebody wrapped it after us, taking ours out would take theirs out too.
        if TracerProvider.get_tracer is get_tracer:
            TracerProvider.get_tracer = original

    provider = behind(get_tracer_provider())
    if isinstance(provider, TracerProvider):
        meet(provider)
    return undo


def behind(provider: Any) -> Any:
    """Return the SDK's provider behind one that forwards to it, as Logfire's does; else itself."""
    inner = getattr(provider, "provider", None)
    return inner if isinstance(inner, TracerProvider) else provider


def met(provider: Any) -> bool:
    """Say, in a fraction of a microsecond, whether `add` was called for a provider."""
    return _MARK in provider.__dict__


def processor_of(provider: Any) -> VersionSpanProcessor | None:
    """Return the processor a provider has, whoever added it."""
    if met(provider):
        return provider.__dict__[_MARK]
    active = getattr(provider, "_active_span_processor", None)
    members = getattr(active, "_span_processors", ())
    return next((it for it in members if isinstance(it, VersionSpanProcessor)), None)


def add(provider: Any, processor: VersionSpanProcessor) -> None:
    """Let a provider's spans be stamped by a processor, which it may have already."""
    setattr(provider, _MARK, processor)
    _processors.add(processor)
    active = getattr(provider, "_active_span_processor", None)
    if processor in getattr(active, "_span_processors", ()):
        return
    if isinstance(active, ConcurrentMultiSpanProcessor):
        _before(active, processor)
    elif isinstance(provider, TracerProvider):
        # Not provider.add_span_processor: Phoenix's throws its default exporter out when called.
        TracerProvider.add_span_processor(provider, processor)
        _move_first(active, processor)
    else:
        provider.add_span_processor(processor)


def all_processors() -> list[VersionSpanProcessor]:
    """Return the processors of all providers met so far and still in use."""
    return list(_processors)


def _move_first(active: Any, processor: VersionSpanProcessor) -> None:
    """Let ours run before processors that look at, or export, a span's attributes at its start."""
    with guest.shield("moving the processor to the front"), active._lock:
        others = tuple(it for it in active._span_processors if it is not processor)
        active._span_processors = (processor, *others)


def _before(active: ConcurrentMultiSpanProcessor, processor: VersionSpanProcessor) -> None:
    """Run ours in the thread that starts the span; in the pool the current context is another."""
    original = active.on_start

    @functools.wraps(original)
    def on_start(span: Any, parent_context: Any = None) -> None:
        processor.on_start(span, parent_context)
        original(span, parent_context)

    active.on_start = on_start
