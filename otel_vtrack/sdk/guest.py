"""Keeps our errors out of the application, in which we are a guest."""

import logging
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Final

from otel_vtrack.sdk import settings

_logger = logging.getLogger("otel_vtrack")
_seen: set[str] = set()
_MOST_KINDS: Final = 64


def swallow(error: BaseException, doing: str) -> None:
    """Log one of our errors, once per activity, and continue.

    The traceback is logged at debug level. With OTEL_VTRACK_RAISE_ERRORS the error is raised
    instead.
    """
    if settings.switch(settings.OTEL_VTRACK_RAISE_ERRORS, default=False):
        raise error
    if doing in _seen or len(_seen) >= _MOST_KINDS:
        return
    _seen.add(doing)
    # The application's log handlers and filters may raise, too.
    with suppress(Exception):
        _logger.warning("otel-vtrack failed while %s: %s; the application continues", doing, error)
        _logger.debug("the failure while %s", doing, exc_info=error)


@contextmanager
def shield(doing: str) -> Generator[None]:
    """Swallow any exception from the block, so that it never reaches the application."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - any error here is ours, not the app's
        swallow(error, doing)


def debug(message: str, *args: object) -> None:
    """Log a message at debug level."""
    with suppress(Exception):
        _logger.debug(message, *args)


def forget() -> None:
    """Allow errors to be logged again. For tests."""
    _seen.clear()
