"""The bytes of bodies that are arriving over HTTP, of all requests together."""

import contextlib
import logging
import time
from collections.abc import Generator
from typing import Final

from otel_vtrack.ingest import faults

_log = logging.getLogger(__name__)

MOST: Final = 128 << 20
"""Room for them, unless a setting says otherwise."""

_LOG_EVERY_SECONDS: Final = 60.0


class Room:
    """What may be held of bodies that are not whole yet; for one event loop.

    Counted is what has come, inflated, and not what a header promises. A body that is alone has
    its own limit only, so that the largest one gets through whatever the room is.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._taken = 0
        self._said_at = -_LOG_EVERY_SECONDS

    @contextlib.contextmanager
    def share(self) -> Generator["Share"]:
        """Take part in it until the block ends."""
        share = Share(self)
        try:
            yield share
        finally:
            share.give_back()

    def take(self, size: int, own: int) -> None:
        """Take more for who has `own` already.

        Raises:
            Refused: There is no more.
        """
        if self._taken > own and self._taken + size > self._most:
            now = time.monotonic()
            if now - self._said_at >= _LOG_EVERY_SECONDS:
                self._said_at = now
                _log.warning(
                    "bodies of %d bytes are arriving over HTTP, which is all that may: senders of"
                    " more are told to try again",
                    self._taken,
                )
            raise faults.crowded(self._most)
        self._taken += size

    def give_back(self, size: int) -> None:
        """Let others have it."""
        self._taken -= size


class Share:
    """What one body has of the room."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.size = 0

    def grow(self, size: int) -> None:
        """Take more; raises as `Room.take` does."""
        self._room.take(size, self.size)
        self.size += size

    def give_back(self) -> None:
        """Let others have all of it: nothing is held any more."""
        self._room.give_back(self.size)
        self.size = 0
