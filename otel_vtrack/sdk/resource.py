"""The same version tags on the resource, once for a process instead of once for a span."""

from typing import Any

from opentelemetry.sdk.resources import Resource, ResourceDetector

from otel_vtrack.sdk import detect, guest


class VersionResourceDetector(ResourceDetector):
    """Gives a resource what spans are stamped with, and what is too long to repeat on each.

    Chosen by ``OTEL_EXPERIMENTAL_RESOURCE_DETECTORS=vtrack``, or in a configuration file by
    ``resource: {detection/development: {detectors: [{vtrack: {}}]}}``. Takes at most a second.
    Backends that cannot look into resources need the processor; both together are fine.
    """

    def __init__(self, raise_on_error: bool = False, **_: Any) -> None:
        super().__init__(raise_on_error)

    def detect(self) -> Resource:
        """Return the attributes found; none when something goes wrong."""
        with guest.shield("detecting the version for the resource"):
            # The resource is what is being made, so there is none to look at yet.
            return Resource(detect.Detection({}).attributes({}, detect.ON_RESOURCES))
        return Resource.get_empty()
