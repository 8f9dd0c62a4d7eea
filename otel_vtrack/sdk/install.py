"""The call that makes a process stamp its spans, and the hook that makes the call unnecessary."""

import os
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import ProxyTracerProvider

from otel_vtrack.sdk import guest, providers, settings
from otel_vtrack.sdk.context import use
from otel_vtrack.sdk.processor import VersionSpanProcessor, static_tags


class _Everywhere:
    """The state of an `install` without a provider; one per process."""

    def __init__(self) -> None:
        self.attributes: Final[dict[str, object]] = {}
        self.undo: Callable[[], None] | None = None
        self.lock = threading.RLock()

    def renew_lock(self) -> None:
        """Replace the lock in a forked child, whose parent may have held it."""
        self.lock = threading.RLock()


_everywhere: Final = _Everywhere()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_everywhere.renew_lock)


def install(
    provider: Any = None,
    *,
    version: str | None = None,
    environment: str | None = None,
    attributes: Mapping[str, object] | None = None,
    baggage_keys: Collection[str] | None = None,
    **tags: object,
) -> None:
    """Stamp the spans of one provider, or of every provider in this process, present and future.

    Another call adds no second processor; tags accumulate and the later call wins. Never raises.
    The first call takes up to a second if git is slow. Does nothing under OTEL_SDK_DISABLED.

    Args:
        provider: Stamp only this provider's spans. None means the global provider and any other
            that creates a tracer from now on, whoever set it up.
        version: `service.version`.
        environment: `deployment.environment.name`.
        attributes: Further static tags by attribute name.
        baggage_keys: Attributes that tags may carry to other processes and take from them; replaces
            OTEL_VTRACK_BAGGAGE_KEYS for the whole process.
        **tags: Further static tags; each name is the attribute name.
    """
    if settings.sdk_disabled():
        return
    with guest.shield("installing"), _everywhere.lock:
        given = static_tags(version, environment, attributes, tags)
        if baggage_keys is not None:
            use.replace_baggage_keys(baggage_keys)
        if provider is None or isinstance(provider, ProxyTracerProvider):
            _install_everywhere(given)
        else:
            _install_on(providers.behind(provider), given)


def uninstall() -> None:
    """Stop adopting new providers; those already stamped stay so. For tests."""
    with _everywhere.lock:
        if _everywhere.undo is not None:
            _everywhere.undo()
        _everywhere.undo = None
        _everywhere.attributes.clear()


def pre_instrument() -> None:
    """Install from `opentelemetry-instrument`; the entry point `opentelemetry_pre_instrument`.

    Never raises, as an exception here would abort all instrumentation.
    """
    with guest.shield("installing"):
        enabled = settings.switch(settings.OTEL_VTRACK_ENABLED, default=True)
        if not enabled or settings.sdk_disabled():
            return
        install()
    with guest.shield("registering the OpenFeature hook, which needs otel-vtrack[openfeature]"):
        if settings.switch(settings.OTEL_VTRACK_OPENFEATURE, default=False):
            from otel_vtrack.sdk import flags  # noqa: PLC0415 - openfeature is optional

            flags.register()


def _install_everywhere(given: Mapping[str, object]) -> None:
    _everywhere.attributes.update(given)
    if _everywhere.undo is None:
        _everywhere.undo = providers.watch(_meet)
        if not providers.all_processors():
            # Have git and metadata read now: a request may be waiting for the first tracer.
            VersionSpanProcessor(attributes=_everywhere.attributes)
    elif given:
        for processor in providers.all_processors():
            processor.retag(given)


def _meet(provider: TracerProvider) -> None:
    if not providers.met(provider):
        with _everywhere.lock:
            _install_on(provider, _everywhere.attributes)


def _install_on(provider: Any, given: Mapping[str, object]) -> None:
    processor = providers.processor_of(provider)
    if processor is None:
        processor = VersionSpanProcessor(attributes={**providers.tags_before(provider), **given})
        processor.adopt(getattr(provider, "resource", None))
    elif given:
        processor.retag(given)
    if not providers.met(provider):
        providers.add(provider, processor)
