"""Finds the tracer providers of this process, including those created later and by others.

Several may coexist: `opentelemetry-instrument` creates a provider before the application runs; then
Phoenix, Logfire or Traceloop create theirs, global or not, and Logfire creates another each time it
is configured. OpenTelemetry has no hook for new providers, but every span needs the SDK's
`TracerProvider.get_tracer`, which all of them inherit or call. So that method is wrapped, once, and
a provider is found when it is first asked for a tracer.
"""

# ruff: noqa: SLF001 - no public API puts a processor first
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
"""How deep to search processors that wrap others; Logfire's are three deep."""

_MULTI: Final = (SynchronousMultiSpanProcessor, ConcurrentMultiSpanProcessor)
_processors: Final[WeakSet[VersionSpanProcessor]] = WeakSet()


class _Met:
    """The processor a provider was given, and the provider's active processor at that time."""

    __slots__ = ("active", "processor")

    def __init__(self, processor: VersionSpanProcessor, active: Any) -> None:
        self.processor: Final = processor
        self.active: Final = active


def watch(meet: Callable[[TracerProvider], None]) -> Callable[[], None]:
    """Call `meet` with the global provider, if there is one, and with each that creates a tracer.

    The same provider often recurs, so `meet` has to be quick for a known one.

    Returns:
        A function that undoes this.
    """
    original = TracerProvider.get_tracer

    @functools.wraps(original)
    def get_tracer(self: TracerProvider, *args: Any, **kwargs: Any) -> Any:
        with guest.shield("handling a tracer provider"):
            meet(self)
        return original(self, *args, **kwargs)

    TracerProvider.get_tracer = get_tracer

    def undo() -> None:
        # If someone else wrapped it after us, removing our wrapper would remove theirs too.
        if TracerProvider.get_tracer is get_tracer:
            TracerProvider.get_tracer = original

    provider = behind(get_tracer_provider())
    if isinstance(provider, TracerProvider):
        meet(provider)
    return undo


def behind(provider: Any) -> Any:
    """Return the SDK provider that this one forwards to, as Logfire's does, else this one."""
    inner = getattr(provider, "provider", None)
    return inner if isinstance(inner, TracerProvider) else provider


def met(provider: Any) -> bool:
    """Return, in under a microsecond, whether `add` was called for a provider's current processors.

    Others may replace all its processors, as the setup of Vertex AI agents does.
    """
    found = provider.__dict__.get(_MARK)
    return found is not None and found.active is getattr(provider, _ACTIVE, None)


def processor_of(provider: Any) -> VersionSpanProcessor | None:
    """Return the processor of ours that a provider has, whoever added it."""
    if met(provider):
        return provider.__dict__[_MARK].processor
    return _processor_in(getattr(provider, _ACTIVE, None))


def tags_before(provider: Any) -> Mapping[str, object]:
    """Return a provider's explicit tags from before its processors were replaced, if any."""
    found = provider.__dict__.get(_MARK)
    return {} if found is None else found.processor._explicit


def stamps(span: Any) -> bool:
    """Return whether an SDK span was stamped when it started."""
    return _processor_in(getattr(span, "_span_processor", None)) is not None


def add(provider: Any, processor: VersionSpanProcessor) -> None:
    """Have a provider's spans stamped by a processor, which it may already have."""
    active: Any = getattr(provider, _ACTIVE, None)
    setattr(provider, _MARK, _Met(processor, active))
    _processors.add(processor)
    if _processor_in(active) is processor:
        return
    if _put_before(active, processor, provider):
        active.add_span_processor = _absorbing(active.add_span_processor, processor)
        return
    if isinstance(provider, TracerProvider):
        # Not provider.add_span_processor: Phoenix's override drops its default exporter.
        TracerProvider.add_span_processor(provider, processor)
        if isinstance(active, _MULTI):
            _move_first(active, processor)
    else:
        provider.add_span_processor(processor)


def all_processors() -> list[VersionSpanProcessor]:
    """Return the processors of all providers met so far that still exist."""
    return list(_processors)


def in_use() -> bool:
    """Return whether spans may already be stamped: after `install`, or by the global provider."""
    return bool(_processors) or processor_of(behind(get_tracer_provider())) is not None


def _processor_in(active: Any, depth: int = _DEEPEST) -> VersionSpanProcessor | None:
    """Return our processor before or among a provider's processors, even if it is wrapped."""
    if isinstance(active, VersionSpanProcessor):
        return active
    # Not via __dict__: in Python 3.11, reading an object's __dict__ slows each later access.
    before = getattr(active, _MARK, None)
    if isinstance(before, VersionSpanProcessor):
        return before
    inside = (*getattr(active, "_span_processors", ()), getattr(active, "processor", None))
    found = (_processor_in(it, depth - 1) for it in inside if it is not None and depth)
    return next(filter(None, found), None)


def _put_before(active: Any, processor: VersionSpanProcessor, provider: Any) -> bool:
    """Run ours before a provider's processors, not among them; return whether that is possible.

    A processor among them is called three times per span, in three loops: 150 ns more than one
    call. Under a `ConcurrentMultiSpanProcessor` it would also run in another thread, with another
    context, than the starting span. And running first lets all others see our tags.
    """
    if not (isinstance(active, _MULTI) and _replaceable()):
        return False
    # It is undocumented that tracers hand `active` to their spans, so check one.
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
    """Wrap `add` so that a processor of ours added later hands its tags to the existing one.

    Otherwise its tags, even explicit ones, would give way to those our processor detected.
    """

    @functools.wraps(add)
    def add_span_processor(added: Any) -> None:
        if type(added) is VersionSpanProcessor:  # a subclass may do more
            with guest.shield("taking over the tags of a processor"):
                processor.retag(added._explicit)
        else:
            add(added)

    return add_span_processor


def _only_calls_each(active: Any) -> bool:
    """Return whether `on_start` only calls each processor's, one after the other.

    Our processor then does that itself, which saves a call: 40 ns per span.
    """
    own = getattr(active.on_start, "__func__", None)
    # A subclass, a wrapper or a later SDK may do more; but code that uses only these two names
    # cannot.
    return (
        own is SynchronousMultiSpanProcessor.on_start
        and isinstance(own, FunctionType)
        and own.__code__.co_names == ("_span_processors", "on_start")
    )


@lru_cache(maxsize=1)
def _replaceable() -> bool:
    """Return whether spans call an `on_start` set on the instance, tried on a trial span."""
    seen: list[object] = []

    def on_start(span: Any, parent_context: Any = None) -> None:  # noqa: ARG001 - the SDK's own
        seen.append(span)

    active: Any = SynchronousMultiSpanProcessor()
    try:
        active.on_start = on_start
        span = trial_span(active)
    except Exception:  # noqa: BLE001 - on any surprise, be one of the processors
        return False
    return seen == [span]


def _move_first(active: Any, processor: VersionSpanProcessor) -> None:
    """Run ours before processors that read or export a span's attributes at its start."""
    with guest.shield("moving the processor to the front"), active._lock:
        others = tuple(it for it in active._span_processors if it is not processor)
        active._span_processors = (processor, *others)
