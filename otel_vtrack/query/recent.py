"""Remember in which minute each of the newest traces started.

The spans of a trace are found in two steps: one query returns the minutes in which they started,
another reads them there. If the minute is known beforehand, both run at once, which takes a fifth
less time. What is remembered is only a guess: the first query still decides.
"""

import logging
import threading
import time
from typing import Final

import numpy as np

from otel_vtrack import log
from otel_vtrack.errors import VtrackError
from otel_vtrack.store.client import Store

_log = logging.getLogger(__name__)

_SLOT_BITS: Final = 22
"""Slots take 6 bytes each, 25 MB in all."""

_MOST: Final = 1 << (_SLOT_BITS - 1)
"""Traces loaded at once; with this many, one in five has lost its slot to a newer one."""

_MULTIPLIER: Final = 0x9E3779B97F4A7C15
"""The golden ratio of 2^64, for multiplicative hashing (Knuth, TAOCP vol. 3, section 6.4)."""

_PRINT_SHIFT: Final = 64 - _SLOT_BITS - 16
_DAYS: Final = 7
"""Traces from before are not loaded: each day more has its own parts, all read side by side."""

_LATE_SECONDS: Final = 120
"""Traces that arrive later than this after their start may never be loaded."""

_REST_SECONDS: Final = 5.0
_REST_FACTOR: Final = 20
"""The thread rests this many times as long as its last query took."""

_STEP: Final = 1 << 15
"""Rows handled at a time, because numpy holds the interpreter's lock for that long."""

_ROW: Final = np.dtype([("low", "<u8"), ("minute", "<u4")])


class Recent:
    """The minutes in which the newest two million traces of a store's last seven days started.

    Nothing is loaded, or takes memory, before the first call of `minute`.

    Args:
        store: What to query.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        # A trace's slot and 16 more bits of its hash, which distinguish it from others, are taken
        # from the low half of its ID, as that is random in every format in use.
        self._prints = np.zeros(1 << _SLOT_BITS, np.uint16)
        self._minutes = np.zeros(1 << _SLOT_BITS, np.uint32)
        self._since = int(time.time()) - _DAYS * 86_400
        self._wanted = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recent", daemon=True)

    def start(self) -> None:
        """Start the thread that loads newer traces after `minute` has missed one."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, after the store has answered the query in progress."""
        self._stopping.set()
        self._wanted.set()
        self._thread.join()

    def minute(self, trace_id: str) -> int | None:
        """Return in which minute a trace probably started, in seconds since 1970.

        Args:
            trace_id: 32 hex digits.

        Returns:
            None if unknown. One answer in 65,536 is for another trace.
        """
        low = int.from_bytes(bytes.fromhex(trace_id[16:]), "little")
        hashed = low * _MULTIPLIER & 0xFFFF_FFFF_FFFF_FFFF
        slot = hashed >> (64 - _SLOT_BITS)
        minute = int(self._minutes[slot])
        if minute and self._prints[slot] == hashed >> _PRINT_SHIFT & 0xFFFF:
            return minute
        self._wanted.set()
        return None

    def load(self) -> None:
        """Load the traces that started since the last call, and in the two minutes before.

        Raises:
            VtrackError: The store does not answer.
        """
        now = int(time.time())
        data = self._store.binary("traces/recent", {"since_ns": self._since * 10**9, "most": _MOST})
        rows = np.frombuffer(data, _ROW)
        # The oldest first, so that newer ones take their slots.
        for end in range(len(rows), 0, -_STEP):
            some = rows[max(0, end - _STEP) : end][::-1]
            hashed = some["low"] * np.uint64(_MULTIPLIER)
            slots = (hashed >> np.uint64(64 - _SLOT_BITS)).astype(np.intp)
            self._prints[slots] = (hashed >> np.uint64(_PRINT_SHIFT)).astype(np.uint16)
            self._minutes[slots] = some["minute"]
        self._since = now - _LATE_SECONDS

    def _run(self) -> None:
        rest = 0.0
        while not self._stopping.wait(rest):
            self._wanted.wait()
            self._wanted.clear()
            if self._stopping.is_set():
                return
            began = time.monotonic()
            try:
                self.load()
            except VtrackError as error:
                _log.debug("recent traces were not loaded: %s", log.said(error))
            except Exception:  # noqa: BLE001 - the thread must continue
                _log.exception("recent traces were not loaded")
            rest = max(_REST_SECONDS, _REST_FACTOR * (time.monotonic() - began))
