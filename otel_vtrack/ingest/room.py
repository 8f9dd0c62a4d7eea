"""Limits the total bytes of the bodies that are arriving over HTTP."""

import contextlib
import logging
from collections.abc import Generator
from typing import Final

from otel_vtrack import log
from otel_vtrack.ingest import faults

_log = logging.getLogger(__name__)

MOST: Final = 128 << 20
"""Default limit, in bytes."""


class Room:
    """Limits the bytes held for incomplete bodies; for one event loop.

    Counts the bytes received, after decompression, not those a header promises. A body that is
    alone has only its own limit, so that even the largest gets through a small room.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._taken = 0
        self._seldom = log.Seldom()

    @contextlib.contextmanager
    def share(self) -> Generator["Share"]:
        """Open a share of the room, given back when the block ends."""
        share = Share(self)
        try:
            yield share
        finally:
            share.give_back()

    def take(self, size: int, own: int) -> None:
        """Take `size` more bytes for a holder of `own` bytes.

        Raises:
            Refused: The room is full.
        """
        if self._taken > own and self._taken + size > self._most:
            if self._seldom():
                _log.warning(
                    "bodies arriving over HTTP hold %d bytes: senders of more are told to retry",
                    self._taken,
                )
            raise faults.crowded(self._most)
        self._taken += size

    def give_back(self, size: int) -> None:
        """Return bytes to the room."""
        self._taken -= size


class Share:
    """The bytes of the room that one body holds."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.size = 0

    def grow(self, size: int) -> None:
        """Take more bytes; raises like `Room.take`."""
        self._room.take(size, self.size)
        self.size += size

    def give_back(self) -> None:
        """Return all bytes to the room, as the body holds none any more."""
        self._room.give_back(self.size)
        self.size = 0
