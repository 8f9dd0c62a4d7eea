"""We are a guest in someone else's program: our mistakes never become theirs."""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from otel_vtrack.sdk import settings

_logger = logging.getLogger("otel_vtrack")
_seen: set[str] = set()
_MOST_KINDS: Final = 64


def swallow(error: BaseException, doing: str) -> None:
    """Log an error of ours, once for each thing we were doing, and go on.

    The traceback goes to the debug level. With OTEL_VTRACK_RAISE_ERRORS it is raised instead.
    """
    if settings.switch(settings.OTEL_VTRACK_RAISE_ERRORS, default=False):
        raise error
    if doing in _seen or len(_seen) >= _MOST_KINDS:
        return
    _seen.add(doing)
    _logger.warning("otel-vtrack failed while %s: %s; the application goes on", doing, error)
    _logger.debug("the failure while %s", doing, exc_info=error)


@contextmanager
def shield(doing: str) -> Generator[None]:
    """Keep whatever the block raises from the application."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, it is ours and not the app's
        swallow(error, doing)


def debug(message: str, *args: object) -> None:
    """Log something only a person looking for it wants to see."""
    _logger.debug(message, *args)


def forget() -> None:
    """Log again what was logged before. For tests."""
    _seen.clear()
