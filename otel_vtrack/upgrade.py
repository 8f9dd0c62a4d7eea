"""Logs the progress of bringing a store's tables up to date.

A first start applies all files within seconds, so one line summarizes them. In a large store, a
single file may take long: it is logged by name once it has run for a second, and when it is done.
"""

import logging
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Final

from typing_extensions import Self

if TYPE_CHECKING:
    # Loads the engine.
    from otel_vtrack.store.migrate import File

_log = logging.getLogger(__name__)

_LONG_SECONDS: Final = 1.0


class Upgrade:
    """Logs slow files, and a summary at the end of the context unless an exception ends it."""

    def __init__(self) -> None:
        self._started = self._began = time.monotonic()
        self._count = 0
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Self:
        return self

    def begins(self, file: "File") -> None:
        """Note that a file is about to run."""
        self._began = time.monotonic()
        what = (file.kind, file.name)
        self._timer = threading.Timer(
            _LONG_SECONDS, _log.info, ("%s/%s is still being applied", *what)
        )
        self._timer.daemon = True
        self._timer.start()

    def ran(self, file: "File") -> None:
        """Note that the file is done."""
        self._cancel()
        self._count += 1
        seconds = time.monotonic() - self._began
        level = logging.INFO if seconds >= _LONG_SECONDS else logging.DEBUG
        _log.log(level, "applied %s/%s in %.1f s", file.kind, file.name, seconds)

    def _cancel(self) -> None:
        if self._timer:
            self._timer.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._cancel()
        if self._count and error is None:
            seconds = time.monotonic() - self._started
            _log.info("the store is up to date: applied %d files in %.1f s", self._count, seconds)
