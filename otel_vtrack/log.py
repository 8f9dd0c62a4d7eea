"""The server's log: one line per event on stderr, without any content of telemetry.

Messages of third-party exceptions are left out, because an engine's may quote a row. Only their
type and where they were raised are logged.
"""

import logging
import math
import sqlite3
import time
import traceback
from types import TracebackType
from typing import Final

from typing_extensions import override

from otel_vtrack.errors import VtrackError

_FORMAT: Final = "%(asctime)s.%(msecs)03d %(levelname)s %(name)s: %(message)s"
_INNERMOST_FRAMES: Final = 6
SELDOM_SECONDS: Final = 60.0
"""Least time between two lines about the same trouble."""

# Messages of these are about files and connections, never about the contents of a row.
_HARMLESS: Final = (VtrackError, OSError, sqlite3.Error)


class Seldom:
    """Tells whether it is time to log a trouble that may come thousands of times a second."""

    def __init__(self) -> None:
        self._said_at = -math.inf

    def __call__(self) -> bool:
        """Return whether to log now: at most once in `SELDOM_SECONDS`."""
        now = time.monotonic()
        if now - self._said_at < SELDOM_SECONDS:
            return False
        self._said_at = now
        return True


def said(error: BaseException) -> str:
    """Return what may be logged about an error.

    That is the message of one of our errors, unless its cause is a third-party error whose message
    it may quote; then only the cause's type, code and name.
    """
    cause = error
    while isinstance(cause, VtrackError) and cause.__cause__:
        cause = cause.__cause__
    if isinstance(error, VtrackError) and isinstance(cause, _HARMLESS):
        return str(error)
    known = (getattr(cause, "code", None), getattr(cause, "name", None))
    told = " ".join(str(each) for each in known if each is not None)
    kind = type(cause).__name__
    return f"{kind} ({told})" if told else kind


class OneLine(logging.Formatter):
    """Writes a record as one line, its exception included."""

    @override
    def formatException(
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None]
        | tuple[None, None, None],
    ) -> str:
        """Format the exception, its causes, and where each was raised, innermost call first."""
        error = ei[1]
        found: list[str] = []
        while error is not None and len(found) < 4:
            text = f": {said(error)}" if isinstance(error, VtrackError) else ""
            frames = reversed(traceback.extract_tb(error.__traceback__)[-_INNERMOST_FRAMES:])
            places = " < ".join(
                f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}"
                for frame in frames
            )
            found.append(f"{type(error).__name__}{text} ({places})")
            error = error.__cause__ or error.__context__
        return ", caused by ".join(found)

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Format a record, replacing line breaks."""
        return " | ".join(super().format(record).splitlines())


def _quotes_nothing(record: logging.LogRecord) -> bool:
    """Drop gRPC's records that quote metadata that is not UTF-8, which may be a token."""
    return not str(record.msg).startswith("Invalid encoding")


class _NowAndThen(logging.Filter):
    """Limits to one a minute asyncio's records of connections not accepted for lack of files.

    asyncio may log thousands of them per second.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seldom = Seldom()

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        text = str(record.msg)
        return not text.startswith("socket.accept() out of system resource") or self._seldom()


def configure(level: str) -> None:
    """Send the log of this process to stderr.

    Args:
        level: Level of our own loggers. Libraries log from `warning` up.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine(_FORMAT, datefmt="%Y-%m-%dT%H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for library in ("clickhouse_connect", "urllib3"):
        # They also raise what they warn about, and we log that in our own words.
        logging.getLogger(library).setLevel(logging.ERROR)
    # For the same reason, and because it quotes URLs.
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
    logging.getLogger("grpc._cython.cygrpc").addFilter(_quotes_nothing)
    logging.getLogger("asyncio").addFilter(_NowAndThen())
    logging.getLogger("otel_vtrack").setLevel(level.upper())
    logging.captureWarnings(capture=True)
