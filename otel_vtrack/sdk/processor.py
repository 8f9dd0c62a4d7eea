"""Stamps every span with the version of the code that made it."""

# ruff: noqa: SLF001 - see `merge` for what keeps that safe
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry.context import Context, get_current
from opentelemetry.sdk.trace import SpanProcessor

from otel_vtrack import semconv
from otel_vtrack.sdk import guest
from otel_vtrack.sdk.context import (
    KEY,
    NONE_SEEN,
    Stamp,
    otel,
    read,
    runtime,
    under_context,
    use,
)
from otel_vtrack.sdk.detect import Detection
from otel_vtrack.sdk.front import Front
from otel_vtrack.sdk.local_root import is_first, note, remember
from otel_vtrack.sdk.merge import merge, set_attributes, works_here
from otel_vtrack.sdk.values import clean_all

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import Span


_MOST_RESOURCES: Final = 16
"""Static tags are kept for this many resources of providers that share a processor."""


class Followers:
    """Processors called after one of ours, under the SDK's attribute name."""

    __slots__ = ("_span_processors",)

    def __init__(self, *processors: Any) -> None:
        self._span_processors: Final = processors


class VersionSpanProcessor(SpanProcessor):
    """Adds static tags (which version runs) and dynamic ones (`tag`) to each span as it starts.

        provider.add_span_processor(VersionSpanProcessor(version="1.4.2"))

    It runs inside the traced application, so it never raises, and never blocks once constructed;
    construction may take up to a second, for git. It has no thread, no lock and no state to lose in
    a fork. Attributes set by the application override its tags; see `merge` for limits.

    Under a `ConcurrentMultiSpanProcessor` the current context is another thread's, so dynamic tags
    reach only spans started with an explicit context; `install` avoids that.

    Args:
        version: `service.version`.
        environment: `deployment.environment.name`.
        attributes: Further static tags by attribute name.
        **tags: The same, for names that are identifiers.
    """

    def __init__(
        self,
        *,
        version: str | None = None,
        environment: str | None = None,
        attributes: Mapping[str, object] | None = None,
        **tags: object,
    ) -> None:
        self._explicit: dict[str, object] = {}
        self._detected: tuple[Detection, dict[int, Stamp]] | None = None
        """Also the static tags by resource, by `id`: hashing one takes longer than finding them."""
        self._fast = False
        self._static = Stamp({})
        self._stamp: Any = None
        """`_static` for the fast path; None if that is disabled."""
        self.followers: Any = Followers()
        """Its `_span_processors` are called next; none unless `put_before` was called."""
        self._front: Front | None = None
        with guest.shield("working out the version"):
            use.baggage_keys()
            self._fast = works_here()
            self.retag(static_tags(version, environment, attributes, tags))

    def retag(self, attributes: Mapping[str, object]) -> None:
        """Add explicit static tags, by attribute name, for spans started from now on."""
        self._explicit.update(clean_all(attributes))
        while True:
            # An atomic copy, as another thread may be adding to it.
            explicit = self._explicit.copy()
            self._detected = (Detection(explicit), {})
            if explicit == self._explicit:
                break
        self._keep_for(cast("Resource | None", self._static.base))

    def adopt(self, resource: "Resource | None") -> Stamp:
        """Return the static tags for spans of a resource, recomputed if the resource changed."""
        stamp = self._static
        return stamp if resource is stamp.base else self._keep_for(resource)

    def on_start(  # noqa: C901, PLR0912 - each call avoided saves 50 ns
        self, span: "Span", parent_context: Context | None = None
    ) -> None:
        """Stamp the span."""
        # Every span pays for every lookup here: 4 ns in a busy program, whose CPU caches have been
        # overwritten since the last span (`benchmarks/sdk_cost.py`). So read private fields, at
        # half a property's cost, and do not check for them or for `_stamp`: `except` handles their
        # absence. (Where a `Front` is installed, it handles most spans before this is called.)
        try:
            stamp = self._stamp
            # A provider's resource changes in a fork, and a processor can serve several.
            if span._resource is not stamp.base:
                stamp = self.adopt(span.resource)
            if use.more:
                if use.roots:
                    note(span)
                if use.keys:
                    stamp = under_context(stamp, parent_context)
                elif use.dynamic:
                    # `under_context` and `Tags.on`, inlined: a call is 50 ns.
                    context: Any = parent_context
                    if context is None:
                        context = read() if otel._RUNTIME_CONTEXT is runtime else get_current()
                    tags = context.get(KEY)
                    if tags is not None:
                        static, stamp = stamp, tags._stamp
                        if stamp is None or stamp.base is not static:
                            stamp = tags.on(static)
            # `merge`, inlined for the usual cases.
            attributes: Any = span._attributes
            if attributes.max_value_len is not None:
                merge(span, stamp)
            elif not (own := attributes._dict) and attributes.maxlen is stamp.roomy:
                # The tags are known to fit and can be added in place. (See `works_here`.)
                own |= stamp.tags
            elif (most := attributes.maxlen) is None or len(own) + stamp.count <= most:
                stamp.roomy = most
                attributes._dict = stamp.tags | own
                if self._front is not None and not use.more:
                    self._open(self._front, stamp, most)
            else:
                merge(span, stamp)
        except Exception as error:  # noqa: BLE001 - see `_go_the_slow_way`
            self._go_the_slow_way(error, span, parent_context)
        # The SDK's own loop, inlined to save a call. Exceptions raised here are not ours.
        for follower in self.followers._span_processors:
            follower.on_start(span, parent_context=parent_context)

    def put_before(self, active: Any, followers: Any) -> None:
        """Replace a provider's `on_start`, then call the followers' `_span_processors`.

        Call at most once, for one provider.
        """
        self.followers = followers
        self._front = Front(self, active)
        use.watch(self._look_again)
        self._look_again()

    def on_end(self, span: Any) -> None:
        """Do nothing: an ended span is immutable."""

    def shutdown(self) -> None:
        """Do nothing: no resources are held."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:  # noqa: ARG002 - the base class's
        """Do nothing: nothing is buffered."""
        return True

    def _go_the_slow_way(
        self, error: Exception, span: "Span", parent_context: Context | None
    ) -> None:
        """Stamp by the public API if the fast path is disabled; else disable it, as it failed."""
        if self._stamp is not None:
            self._fast, self._stamp = False, None
            self._close()
            # This span may be only partly stamped; it is exported as it is.
            guest.swallow(error, "stamping a span")
            return
        with guest.shield("stamping a span"):
            if use.roots and is_first(span):
                remember(span.get_span_context().trace_id, span)
            set_attributes(span, under_context(self.adopt(span.resource), parent_context))

    def _keep_for(self, resource: "Resource | None") -> Stamp:
        while True:
            detected = self._detected
            self._static = stamp = self._stamp_for(resource, detected)
            self._stamp = stamp if self._fast else None
            self._close()
            # Otherwise another thread has added tags meanwhile.
            if detected is self._detected:
                return stamp

    def _open(self, front: Front, stamp: Stamp, most: int | None) -> None:
        """Open the front's fast path for spans like this one."""
        if stamp is self._stamp:
            front.open(stamp, most)
            # Another thread may have closed it meanwhile; then it has to stay closed.
            if use.more or stamp is not self._stamp:
                self._close()

    def _look_again(self) -> None:
        """Remove the front's fast path for good once spans need more than static tags."""
        if use.more and self._front is not None:
            self._front.step_aside()

    def _close(self) -> None:
        """Close the front's fast path until `on_start` opens it for a span that fits."""
        if self._front is not None:
            self._front.close()
            if self._stamp is not None:
                self._stamp.roomy = NONE_SEEN

    @staticmethod
    def _stamp_for(
        resource: "Resource | None", detected: tuple[Detection, dict[int, Stamp]] | None
    ) -> Stamp:
        if detected is None:
            return Stamp({}, resource)
        detection, stamps = detected
        stamp = stamps.get(id(resource))
        if stamp is None:
            known = {} if resource is None else resource.attributes
            stamp = Stamp(detection.attributes(known), resource)
            if len(stamps) >= _MOST_RESOURCES:
                stamps.clear()
            stamps[id(resource)] = stamp
        return stamp


def static_tags(
    version: str | None,
    environment: str | None,
    attributes: Mapping[str, object] | None,
    tags: Mapping[str, object],
) -> dict[str, object]:
    """Map the arguments of `install` and `VersionSpanProcessor` to attributes."""
    known = {
        semconv.SERVICE_VERSION: version,
        semconv.DEPLOYMENT_ENVIRONMENT_NAME: environment,
    }
    given = {name: value for name, value in known.items() if value is not None}
    return {**(attributes or {}), **tags, **given}
