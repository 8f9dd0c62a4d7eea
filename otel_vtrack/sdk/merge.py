"""The guarded merge: our tags under a new span's attributes, in one step.

`Span.set_attributes` checks each value, locks, and looks up each key again: 6 µs for 8 tags on a
span of 12 µs. Our values were checked when they were created. So when a span starts and nobody else
has it yet, we fill its dict, or build the final one and swap it in: 0.1 µs. That reaches into the
SDK's `BoundedAttributes`, so it is tried once on spans of our own (`works_here`). Where it does not
behave as expected, we use `set_attributes` instead.

Rules for both paths:

* Attributes the span already has stay unchanged, and those set later override our tags.
* The provider's limits hold. When not everything fits, our tags give way: they are left out, the
  first ones first, and counted as dropped. No tag of ours displaces an application's attribute.
* Our tags come first, so if the application later exceeds the limit, the SDK, which evicts the
  oldest, evicts ours. (`set_attributes` can only put them after those given at start.)
"""

# ruff: noqa: SLF001 - private fields are what this module is about
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk import trace as sdk_trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor
from opentelemetry.trace import SpanContext, TraceFlags

from otel_vtrack.sdk.context import Stamp
from otel_vtrack.sdk.values import Attributes, Value, shorten

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span

# Read at import, as an installed tracer may later replace the module's class with its own. None in
# an SDK without such a class, where `works_here` returns False.
SdkSpan: Final[Any] = getattr(sdk_trace, "_Span", None)


def merge(span: "Span", stamp: Stamp) -> None:
    """Put tags under a starting span's attributes; requires that `works_here` returned True.

    Args:
        span: A span not yet visible to anyone but span processors.
        stamp: The tags.
    """
    tags = stamp.tags
    bounded: Any = span._attributes
    current: Any = bounded._dict
    most: int | None = bounded.maxlen
    if (most is None or len(current) + len(tags) <= most) and (
        bounded.max_value_len is None or stamp.length <= bounded.max_value_len
    ):
        if not current:
            # In place: a third cheaper, and also atomic, as all keys are plain strings.
            current |= tags
            return
        merged = tags | current
    else:
        merged, dropped = _fit(tags, current, most, bounded.max_value_len)
        bounded.dropped += dropped
    # One assignment: if an earlier processor gave the span to a thread, it sees old or new.
    bounded._dict = merged


def set_attributes(span: "Span", stamp: Stamp) -> None:
    """Do what `merge` does through the public API only; ten times slower."""
    current: Any = span.attributes or {}
    limits = getattr(span, "_limits", None)
    most = getattr(limits, "max_span_attributes", None)
    fitting, _ = _fit(stamp.tags, current, most, None)
    span.set_attributes({name: fitting[name] for name in fitting if name not in current})


def _fit(
    tags: Attributes, current: Attributes, most: int | None, length: int | None
) -> tuple[dict[str, Value], int]:
    """Merge within the limits; also return how many tags were dropped."""
    fresh = [name for name in tags if name not in current]
    dropped = 0 if most is None else max(0, len(current) + len(fresh) - most)
    merged = {name: tags[name] for name in fresh[dropped:]}
    if length is not None:
        merged = {name: shorten(value, length) for name, value in merged.items()}
    merged.update(current)
    return merged, dropped


@lru_cache(maxsize=1)
def works_here() -> bool:
    """Return whether the merge works in the installed SDK, tried on spans that go nowhere."""
    try:
        seen = _trial(SpanLimits(max_span_attributes=4, max_span_attribute_length=8))
    except Exception:  # noqa: BLE001 - any surprise means: use the public API
        return False
    return seen == [
        # attributes given at start, then tagged
        {"vtrack.a": "ours", "vtrack.b": 1, "given": "theirs", "vtrack.c": "theirs"},
        # overwritten later, read from the exported form
        {"vtrack.a": "later", "vtrack.b": 1, "given": "theirs", "vtrack.c": "theirs"},
        # no attributes given; then another such span, which must stay empty
        {"vtrack.a": "ours", "vtrack.b": 1, "vtrack.c": "ours"},
        {},
    ]


def _trial(limits: SpanLimits) -> list[dict[str, Any]]:
    class Tagging(SpanProcessor):
        def on_start(self, span: "Span", parent_context: "Context | None" = None) -> None:  # noqa: ARG002
            merge(span, Stamp({"vtrack.a": "ours", "vtrack.b": 1, "vtrack.c": "ours"}))

    given = {"given": "theirs", "vtrack.c": "theirs"}
    span = trial_span(Tagging(), attributes=given, limits=limits)
    seen = [dict(span.attributes)]
    span.set_attribute("vtrack.a", "later")
    readable = span._readable_span()
    empty = [trial_span(each, limits=limits) for each in (Tagging(), SpanProcessor())]
    return [*seen, dict(readable.attributes), *(dict(it.attributes) for it in empty)]


def trial_span(processor: SpanProcessor, **arguments: Any) -> Any:
    """Start a span of the installed SDK that only reaches a processor's `on_start`."""
    context = SpanContext(1, 1, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    span: Any = SdkSpan(
        name="vtrack",
        context=context,
        resource=Resource.get_empty(),
        span_processor=processor,
        **arguments,
    )
    span.start()
    return span
