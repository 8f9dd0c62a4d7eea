"""Finds the tracer providers of this process, also those made later and by others.

Several set-ups may meet in one process: `opentelemetry-instrument` makes a provider before the
application runs, then Phoenix, Logfire or Traceloop make theirs, as the global one or not, and
Logfire makes another each time it is configured. There is no hook for that in OpenTelemetry, but no
span comes to be without `TracerProvider.get_tracer` of the SDK, which all of them inherit or call.
So that one method is wrapped, once, and a provider is met when it is first asked for a tracer.
"""

# ruff: noqa: SLF001 - a provider has no public way to put a processor first
import functools
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import FunctionType, SimpleNamespace
from typing import Any, Final
from weakref import WeakSet

from opentelemetry.sdk.trace import (
    ConcurrentMultiSpanProcessor,
    SynchronousMultiSpanProcessor,
    TracerProvider,
)
from opentelemetry.trace import get_tracer_provider

from otel_vtrack.sdk import guest
from otel_vtrack.sdk.merge import trial_span
from otel_vtrack.sdk.processor import Followers, VersionSpanProcessor

_MARK: Final = "_otel_vtrack_processor"
_ACTIVE: Final = "_active_span_processor"
_DEEPEST: Final = 6
"""How far we look into processors that call others, as Logfire's do, three deep."""

_MULTI: Final = (SynchronousMultiSpanProcessor, ConcurrentMultiSpanProcessor)
_processors: Final[WeakSet[VersionSpanProcessor]] = WeakSet()


class _Met:
    """What a provider was given, and the processors it had then."""

    __slots__ = ("active", "processor")

    def __init__(self, processor: VersionSpanProcessor, active: Any) -> None:
        self.processor: Final = processor
        self.active: Final = active


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
    """Say, in a fraction of a microsecond, whether `add` was called for a provider as it is now.

    Others may replace all its processors, as the set-up of Vertex AI's agents does.
    """
    found = provider.__dict__.get(_MARK)
    return found is not None and found.active is getattr(provider, _ACTIVE, None)


def processor_of(provider: Any) -> VersionSpanProcessor | None:
    """Return the processor a provider has, whoever added it."""
    if met(provider):
        return provider.__dict__[_MARK].processor
    return _processor_in(getattr(provider, _ACTIVE, None))


def tags_before(provider: Any) -> Mapping[str, object]:
    """Return the explicit tags of a provider whose processors were replaced; else none."""
    found = provider.__dict__.get(_MARK)
    return {} if found is None else found.processor._explicit


def stamps(span: Any) -> bool:
    """Say whether a span of the SDK was stamped when it started."""
    return _processor_in(getattr(span, "_span_processor", None)) is not None


def add(provider: Any, processor: VersionSpanProcessor) -> None:
    """Let a provider's spans be stamped by a processor, which it may have already."""
    active: Any = getattr(provider, _ACTIVE, None)
    setattr(provider, _MARK, _Met(processor, active))
    _processors.add(processor)
    if _processor_in(active) is processor:
        return
    if _put_before(active, processor, provider):
        active.add_span_processor = _absorbing(active.add_span_processor, processor)
        return
    if isinstance(provider, TracerProvider):
        # Not provider.add_span_processor: Phoenix's throws its default exporter out when called.
        TracerProvider.add_span_processor(provider, processor)
        if isinstance(active, _MULTI):
            _move_first(active, processor)
    else:
        provider.add_span_processor(processor)


def all_processors() -> list[VersionSpanProcessor]:
    """Return the processors of all providers met so far and still in use."""
    return list(_processors)


def in_use() -> bool:
    """Say whether spans may have been stamped already: by `install`, or in the global provider."""
    return bool(_processors) or processor_of(behind(get_tracer_provider())) is not None


def _processor_in(active: Any, depth: int = _DEEPEST) -> VersionSpanProcessor | None:
    """Return the processor of ours before, or among, those of a provider; also a wrapped one."""
    if isinstance(active, VersionSpanProcessor):
        return active
    # Not by its __dict__: in Python 3.11 one that was looked at makes each later access slower.
    before = getattr(active, _MARK, None)
    if isinstance(before, VersionSpanProcessor):
        return before
    inside = (*getattr(active, "_span_processors", ()), getattr(active, "processor", None))
    found = (_processor_in(it, depth - 1) for it in inside if it is not None and depth)
    return next(filter(None, found), None)


def _put_before(active: Any, processor: VersionSpanProcessor, provider: Any) -> bool:
    """Run ours before a provider's processors and not as one of them; say whether that is possible.

    One of them is called three times for each span, in three loops: 150 ns more than one call. With
    a `ConcurrentMultiSpanProcessor` it also would be in another thread, with another context, than
    the span that starts. And before them all means that they see our tags.
    """
    if not (isinstance(active, _MULTI) and _replaceable()):
        return False
    # Nowhere is it written that the provider's tracers hand it to their spans, so one is looked at.
    tracer = TracerProvider.get_tracer(provider, "otel_vtrack")
    if getattr(tracer, "span_processor", None) is not active:
        return False
    followers: Any = active
    if not _only_calls_each(active):
        followers = Followers(SimpleNamespace(on_start=active.on_start))
    setattr(active, _MARK, processor)
    processor.put_before(active, followers)
    return True


def _absorbing(
    add: Callable[[Any], None], processor: VersionSpanProcessor
) -> Callable[[Any], None]:
    """Let one of ours that the application adds later give its tags to the one that is there.

    Else its tags, those in its arguments too, would give way to what ours found out by itself.
    """

    @functools.wraps(add)
    def add_span_processor(added: Any) -> None:
        if type(added) is VersionSpanProcessor:  # a subclass does more than that
            with guest.shield("taking over the tags of a processor"):
                processor.retag(added._explicit)
        else:
            add(added)

    return add_span_processor


def _only_calls_each(active: Any) -> bool:
    """Say whether its `on_start` does nothing but call each processor's, one after the other.

    Then ours does that itself, which saves a call: 40 ns a span.
    """
    own = getattr(active.on_start, "__func__", None)
    # A subclass's, or somebody's wrapper around the SDK's, may do more. So may a later SDK's; but
    # code that names these two and nothing else has nothing else to do.
    return (
        own is SynchronousMultiSpanProcessor.on_start
        and isinstance(own, FunctionType)
        and own.__code__.co_names == ("_span_processors", "on_start")
    )


@lru_cache(maxsize=1)
def _replaceable() -> bool:
    """Try, on a span that goes nowhere, whether an `on_start` of the instance's own is called."""
    seen: list[object] = []

    def on_start(span: Any, parent_context: Any = None) -> None:  # noqa: ARG001 - the SDK's own
        seen.append(span)

    active: Any = SynchronousMultiSpanProcessor()
    try:
        active.on_start = on_start
        span = trial_span(active)
    except Exception:  # noqa: BLE001 - any surprise means: be one of the processors
        return False
    return seen == [span]


def _move_first(active: Any, processor: VersionSpanProcessor) -> None:
    """Let ours run before processors that look at, or export, a span's attributes at its start."""
    with guest.shield("moving the processor to the front"), active._lock:
        others = tuple(it for it in active._span_processors if it is not processor)
        active._span_processors = (processor, *others)
