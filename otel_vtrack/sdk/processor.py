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


class Followers:
    """Processors that are called after one of ours, under the name that the SDK has for them."""

    __slots__ = ("_span_processors",)

    def __init__(self, *processors: Any) -> None:
        self._span_processors: Final = processors


class VersionSpanProcessor(SpanProcessor):
    """Adds static tags (which version runs) and dynamic ones (`tag`) to each span as it starts.

        provider.add_span_processor(VersionSpanProcessor(version="1.4.2"))

    It runs inside the application being traced, so it never raises and never blocks once it is
    built; building it may take up to a second, for git. It has no thread, no lock and no state to
    lose in a fork. Attributes given by the application win over its own; see `merge` for limits.

    Under a `ConcurrentMultiSpanProcessor` the current context is another thread's, so dynamic tags
    reach only spans started with an explicit context; `install` makes up for that.

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
        self._detection: Detection | None = None
        self._fast = False
        self._static = Stamp({})
        self._stamp: Any = None
        """The same, for the fast way; None where that is not to be taken."""
        self.followers: Any = Followers()
        """Whose `_span_processors` come next: nobody's, unless we were put before them."""
        self._front: Front | None = None
        with guest.shield("working out the version"):
            use.baggage_keys()
            self._fast = works_here()
            self.retag(static_tags(version, environment, attributes, tags))

    def retag(self, attributes: Mapping[str, object]) -> None:
        """Add explicit static tags, by attribute name, for the spans that start from now on."""
        self._explicit.update(clean_all(attributes))
        # A copy, made in one step, as another thread may be adding to it.
        self._detection = Detection(self._explicit.copy())
        self._keep(self._stamp_for(cast("Resource | None", self._static.base)))

    def adopt(self, resource: "Resource | None") -> Stamp:
        """Return the static tags for spans of a resource, worked out when it is another one."""
        stamp = self._static
        if resource is not stamp.base:
            stamp = self._stamp_for(resource)
            self._keep(stamp)
        return stamp

    def on_start(  # noqa: C901, PLR0912 - a call less is 50 ns less
        self, span: "Span", parent_context: Context | None = None
    ) -> None:
        """Stamp the span."""
        # Every look-up here is paid for by every span: 4 ns in a busy program, where the processor
        # has forgotten all about it since the last span. `benchmarks/sdk_cost.py` measures it. So
        # private fields, at half a property's cost; and no question whether they are there, or
        # whether `_stamp` is: if not, we land in `except`. (What most spans need is done before we
        # are called, where a `Front` could be put.)
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
                    # `under_context` and `Tags.on`, written out: a call is 50 ns.
                    context: Any = parent_context
                    if context is None:
                        context = read() if otel._RUNTIME_CONTEXT is runtime else get_current()
                    tags = context.get(KEY)
                    if tags is not None:
                        static, stamp = stamp, tags._stamp
                        if stamp is None or stamp.base is not static:
                            stamp = tags.on(static)
            # `merge`, written out for the usual cases.
            attributes: Any = span._attributes
            if attributes.max_value_len is not None:
                merge(span, stamp)
            elif not (own := attributes._dict) and attributes.maxlen is stamp.roomy:
                # Nothing to count, and our tags can be put in place. (See `works_here`.)
                own |= stamp.tags
            elif (most := attributes.maxlen) is None or len(own) + stamp.count <= most:
                stamp.roomy = most
                attributes._dict = stamp.tags | own
                if self._front is not None and not use.more:
                    self._open(self._front, stamp, most)
            else:
                merge(span, stamp)
        except Exception as error:  # noqa: BLE001 - see there
            self._go_the_slow_way(error, span, parent_context)
        # As the SDK does it, whose call we save by that. What is raised here is not ours.
        for follower in self.followers._span_processors:
            follower.on_start(span, parent_context=parent_context)

    def put_before(self, active: Any, followers: Any) -> None:
        """Be called instead of a provider's processors, then call the `_span_processors` of others.

        For one provider, and once.
        """
        self.followers = followers
        self._front = Front(self, active)
        use.watch(self._look_again)
        self._look_again()

    def on_end(self, span: Any) -> None:
        """Nothing: by now the span is frozen."""

    def shutdown(self) -> None:
        """Nothing is held."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:  # noqa: ARG002 - the base class's
        """Nothing is buffered."""
        return True

    def _go_the_slow_way(
        self, error: Exception, span: "Span", parent_context: Context | None
    ) -> None:
        """Stamp by the public API if the fast way is closed; else close it, as it failed."""
        if self._stamp is not None:
            self._fast, self._stamp = False, None
            self._close()
            # This span may be half done: it is exported as it is.
            guest.swallow(error, "stamping a span")
            return
        with guest.shield("stamping a span"):
            if use.roots and is_first(span):
                remember(span.get_span_context().trace_id, span)
            set_attributes(span, under_context(self.adopt(span.resource), parent_context))

    def _keep(self, stamp: Stamp) -> None:
        self._static = stamp
        self._stamp = stamp if self._fast else None
        self._close()

    def _open(self, front: Front, stamp: Stamp, most: int | None) -> None:
        """Let spans like this one be stamped the short way."""
        if stamp is self._stamp:
            front.open(stamp, most)
            # Another thread may have closed it in between, and must find it closed.
            if use.more or stamp is not self._stamp:
                self._close()

    def _look_again(self) -> None:
        """Leave the short way for good, once spans need more than static tags."""
        if use.more and self._front is not None:
            self._front.step_aside()

    def _close(self) -> None:
        """Let all spans be stamped the long way, until there is one like those to come."""
        if self._front is not None:
            self._front.close()
            if self._stamp is not None:
                self._stamp.roomy = NONE_SEEN

    def _stamp_for(self, resource: "Resource | None") -> Stamp:
        if self._detection is None:
            return Stamp({}, resource)
        known = {} if resource is None else resource.attributes
        return Stamp(self._detection.attributes(known), resource)


def static_tags(
    version: str | None,
    environment: str | None,
    attributes: Mapping[str, object] | None,
    tags: Mapping[str, object],
) -> dict[str, object]:
    """Name the arguments of `install` and `VersionSpanProcessor` as attributes."""
    known = {
        semconv.SERVICE_VERSION: version,
        semconv.DEPLOYMENT_ENVIRONMENT_NAME: environment,
    }
    given = {name: value for name, value in known.items() if value is not None}
    return {**(attributes or {}), **tags, **given}
