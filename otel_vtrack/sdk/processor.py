"""Stamps every span with the version of the code that made it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context, get_current
from opentelemetry.sdk.trace import SpanProcessor

from otel_vtrack import semconv
from otel_vtrack.sdk import guest
from otel_vtrack.sdk.context import KEY, Tags, baggage_keys, from_baggage
from otel_vtrack.sdk.detect import Detection
from otel_vtrack.sdk.merge import merge, set_attributes, works_here
from otel_vtrack.sdk.values import Value, clean_all, longest

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import Span


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
        # In one tuple, so that another thread never sees the tags of one resource as another's.
        self._stamp: tuple[Resource | None, dict[str, Value], int] = (None, {}, 0)
        self._merge = set_attributes
        with guest.shield("working out the version"):
            if works_here():
                self._merge = merge
            self.retag(static_tags(version, environment, attributes, tags))

    def retag(self, attributes: Mapping[str, object]) -> None:
        """Add explicit static tags, by attribute name, for the spans that start from now on."""
        self._explicit.update(clean_all(attributes))
        self._detection = Detection(self._explicit)
        self.adopt(self._stamp[0])

    def adopt(self, resource: "Resource | None") -> None:
        """Work out the static tags for spans of a resource; None when none has been met yet."""
        self._stamp = (resource, *self._stamp[1:])
        if self._detection is not None:
            tags = self._detection.attributes({} if resource is None else resource.attributes)
            self._stamp = (resource, tags, longest(tags))

    def on_start(self, span: "Span", parent_context: Context | None = None) -> None:
        """Stamp the span."""
        try:
            # A provider's resource can change (after a fork) and a processor can serve several.
            if span.resource is not self._stamp[0]:
                self.adopt(span.resource)
            _, tags, length = self._stamp
            context = get_current() if parent_context is None else parent_context
            dynamic = context.get(KEY)
            if baggage_keys():
                tags = {**tags, **from_baggage(context)}
                length = longest(tags)
            if isinstance(dynamic, Tags):
                tags = {**tags, **dynamic.attributes}
                length = max(length, dynamic.length)
            self._merge(span, tags, length)
        except Exception as error:  # noqa: BLE001 - a span we cannot stamp is exported as it was
            self._merge = set_attributes
            guest.swallow(error, "stamping a span")

    def on_end(self, span: Any) -> None:
        """Nothing: by now the span is frozen."""

    def shutdown(self) -> None:
        """Nothing is held."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:  # noqa: ARG002 - the base class's
        """Nothing is buffered."""
        return True


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
