"""Turns OpenFeature's flag evaluations into tags and standard events.

    from otel_vtrack.sdk import flags
    flags.register()

or, without code, OTEL_VTRACK_OPENFEATURE=true under `opentelemetry-instrument`. Needs
``pip install 'otel-vtrack[openfeature]'``.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from openfeature import api
from openfeature.flag_evaluation import FlagEvaluationDetails, FlagValueType
from openfeature.hook import Hook, HookContext, HookHints
from opentelemetry import trace
from opentelemetry.context import attach, get_current

from otel_vtrack import semconv
from otel_vtrack.sdk import events, guest
from otel_vtrack.sdk.context import KEY, Tags, with_tags
from otel_vtrack.sdk.values import Value, clean, clean_all

MOST_FLAGS: Final = 64
"""Most flags a context carries on to later spans; further flags still tag the current span."""


class FlagTagHook(Hook):
    """Tags spans with `vtrack.flag.<key>` and emits `feature_flag.evaluation`.

    The tag's value is the variant, or the flag's value if the provider names no variant.

    The tag is on the span that is current when the flag is evaluated, and on spans started later
    under that span, in the same function or in those it calls. Context flows inwards only: a flag
    evaluated inside a child span, a `tag` block, a new task or another thread does not tag spans
    started outside it. Without a current span a flag tags nothing, because nothing would end its
    tag. Wrap code that must have a flag in any case in `otel_vtrack.tag(flags=...)`.

    The event is a log record if logs are processed, else an event of the current span.
    """

    def finally_after(
        self,
        hook_context: HookContext,
        details: FlagEvaluationDetails[FlagValueType],
        hints: HookHints,  # noqa: ARG002 - the interface's
    ) -> None:
        """Record an evaluation, including one that failed and fell back to the default."""
        with guest.shield("recording a flag evaluation"):
            name = semconv.VTRACK_FLAG_PREFIX + details.flag_key
            value = _tag_value(details)
            span = trace.get_current_span()
            if span.is_recording() and value is not None:
                span.set_attribute(name, value)
                _carry(name, value)
            _emit(span, _event(hook_context, details))


def register() -> None:
    """Add the hook to OpenFeature's global hooks, once."""
    if not any(isinstance(hook, FlagTagHook) for hook in api.get_hooks()):
        api.add_hooks([FlagTagHook()])


def _tag_value(details: FlagEvaluationDetails[Any]) -> Value | None:
    if details.variant:
        return clean(details.variant)
    value = details.value
    return _json(value) if isinstance(value, Mapping | list) else clean(value)


def _carry(name: str, value: Value) -> None:
    """Add the tag to spans started later under the current one.

    Attaches a context and never detaches it: when the current span ends, its own detach restores
    the context from before it, without the tag.
    """
    tags = get_current().get(KEY)
    known = tags.attributes if isinstance(tags, Tags) else {}
    flags = sum(key.startswith(semconv.VTRACK_FLAG_PREFIX) for key in known)
    if known.get(name) != value and (name in known or flags < MOST_FLAGS):
        attach(with_tags({name: value}))


def _event(context: HookContext, details: FlagEvaluationDetails[Any]) -> dict[str, Value]:
    """Return the attributes of the event `feature_flag.evaluation`, as in conventions 1.40."""
    metadata = details.flag_metadata
    provider = context.provider_metadata
    failed = details.error_code is not None or str(details.reason or "").upper() == "ERROR"
    value = details.value
    return clean_all(
        {
            semconv.FEATURE_FLAG_KEY: details.flag_key,
            semconv.FEATURE_FLAG_PROVIDER_NAME: provider.name if provider else None,
            semconv.FEATURE_FLAG_RESULT_VARIANT: details.variant or None,
            semconv.FEATURE_FLAG_RESULT_VALUE: None
            if details.variant
            else _json(value)
            if isinstance(value, Mapping | list)
            else value,
            semconv.FEATURE_FLAG_RESULT_REASON: str(details.reason or "unknown").lower(),
            # Not the targeting key: it is often the user's id, which nobody asked us to record.
            semconv.FEATURE_FLAG_CONTEXT_ID: metadata.get("contextId"),
            semconv.FEATURE_FLAG_SET_ID: metadata.get("flagSetId"),
            semconv.FEATURE_FLAG_VERSION: metadata.get("version"),
            semconv.ERROR_TYPE: str(details.error_code or "general").lower() if failed else None,
            semconv.FEATURE_FLAG_ERROR_MESSAGE: details.error_message or None if failed else None,
        }
    )


def _emit(span: trace.Span, attributes: dict[str, Value]) -> None:
    # The store recognizes an evaluation among log records by its event name.
    if events.loggers_take_names():
        about = span.get_span_context()
        events.emit(semconv.FEATURE_FLAG_EVALUATION, attributes, about, span)
    elif span.is_recording():
        span.add_event(semconv.FEATURE_FLAG_EVALUATION, attributes)


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)
