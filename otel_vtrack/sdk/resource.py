"""The same version tags on the resource, once per process instead of once per span."""

from typing import Any

from opentelemetry.sdk.resources import Resource, ResourceDetector

from otel_vtrack.sdk import detect, guest, settings


class VersionResourceDetector(ResourceDetector):
    """Detects the attributes stamped on spans, and those too long to repeat on each.

    Selected by ``OTEL_EXPERIMENTAL_RESOURCE_DETECTORS=vtrack``, or in a configuration file by
    ``resource: {detection/development: {detectors: [{vtrack: {}}]}}``. Takes at most a second.
    Backends that cannot query resources need the processor; both can be used together.
    """

    def __init__(self, raise_on_error: bool = False, **_: Any) -> None:
        super().__init__(raise_on_error)

    def detect(self) -> Resource:
        """Return the attributes found; an empty resource on error, or if the SDK is disabled."""
        if settings.sdk_disabled():
            return Resource.get_empty()
        with guest.shield("detecting the version for the resource"):
            # The resource is only being created, so there is none to read yet.
            return Resource(detect.Detection({}).attributes({}, detect.ON_RESOURCES))
        return Resource.get_empty()
