"""Moves acknowledged requests from the journal into the tables, in few large inserts.

`append` returns once a payload is safe in the journal; its sender is then answered. Threads
insert what has accumulated as one batch, and remove it from the journal. If the process dies, the
next one finds the remaining requests there and continues.

A query must see everything acknowledged before it, so it first calls `wait`. Requests that a
sampler holds back are not due yet, and are not waited for.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from otel_vtrack import log
from otel_vtrack.errors import StoreUnavailable, WireError
from otel_vtrack.ingest.window import Window
from otel_vtrack.store.journal import Entry, Journal

_log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 5.0
# A single request that fails this often and for this long, for a reason not known to be
# temporary, will never succeed. Both limits must be reached: every append during a failure
# triggers an immediate retry, and a disk that fills up is reported in many ways.
_ATTEMPTS: Final = 5
_PATIENCE_SECONDS: Final = 15.0


class Backlog:
    """Queue between the journal and the tables; thread-safe.

    Args:
        journal: Stores the entries; those left from the last run are queued.
        write: Inserts one or more concatenated requests.
        name: Name of the signal, for log lines and thread names.
        max_bytes: Most bytes that may wait. They are also held in memory.
        batch_bytes: Most bytes per insert. 32 MiB are some 45,000 spans, for which the fixed
            cost of an insert is a tenth. Two running inserts and the batch that accumulates
            meanwhile add up to the default of `max_bytes`.
        writers: Number of concurrent inserts.
        patience_seconds: How long `append` waits for room.
        window: Creates the window that holds entries back, given the callback that releases them.

    Attributes:
        poisoned: Number of requests set aside since the start, because no table can take them.
    """

    def __init__(
        self,
        journal: Journal,
        write: Callable[[bytes], None],
        *,
        name: str,
        max_bytes: int = 96 << 20,
        batch_bytes: int = 32 << 20,
        writers: int = 2,
        patience_seconds: float = 10.0,
        window: Callable[[Callable[[list[Entry]], None]], Window] | None = None,
    ) -> None:
        self.poisoned = 0
        self._journal = journal
        self._write = write
        self._name = name
        self._max_bytes = max_bytes
        self._batch_bytes = batch_bytes
        self._patience_seconds = patience_seconds
        self._changed = threading.Condition()
        left = journal.entries()
        self._window = window(self._released) if window else None
        self._queue: deque[Entry] = deque(() if self._window else left)
        self._pending = {entry.number: len(entry.payload) for entry in left}
        self._held = set(self._pending) if self._window else set[int]()
        self._bytes = sum(self._pending.values())
        self._refusal = ""
        self._refusals = 0
        self._nudged = False
        self._seldom = log.Seldom()
        self._stopping = False
        if left:
            _log.info("%s: storing %d requests from the last run", name, len(left))
        self._threads = [
            threading.Thread(target=self._run, name=f"backlog-{name}-{n}", daemon=True)
            for n in range(writers)
        ]
        for thread in self._threads:
            thread.start()
        if self._window:
            for entry in left:
                self._window.put(entry)

    def append(self, payload: bytes) -> None:
        """Write a payload to the journal and queue it for insertion.

        Blocks while there is no room, which slows senders down to the store's pace. While inserts
        fail, rejects new payloads: the journal could take them, but its growth may be what fills
        the disk.

        Raises:
            StoreUnavailable: The journal cannot be written, inserts fail, or there was no room
                within `patience_seconds`.
        """
        size = len(payload)
        with self._changed:
            if self._refusal:
                self._try_again_now()
            self._changed.wait_for(
                lambda: self._has_room(size) or self._refusal, self._patience_seconds
            )
            if self._refusal or not self._has_room(size):
                raise StoreUnavailable(
                    self._refusal or "the store is slower than its senders; retry in a moment"
                )
        entry = self._journal.append(payload)
        with self._changed:
            self._pending[entry.number] = size
            self._bytes += size
            if self._window:
                self._held.add(entry.number)
            else:
                self._queue.append(entry)
                self._changed.notify_all()
        if self._window:
            self._window.put(entry)

    def _released(self, entries: list[Entry]) -> None:
        """Queue entries that the window releases, with the payloads to store."""
        with self._changed:
            self._held.difference_update(entry.number for entry in entries)
            self._queue += entries
            self._changed.notify_all()

    def _try_again_now(self) -> None:
        """Retry the failed insert now, and wait for the outcome."""
        seen = self._refusals
        self._nudged = True
        self._changed.notify_all()
        self._changed.wait_for(
            lambda: not self._refusal or self._refusals != seen, self._patience_seconds
        )

    def _has_room(self, size: int) -> bool:
        return not self._pending or self._bytes + size <= self._max_bytes

    @property
    def refusing(self) -> bool:
        """Whether the last insert failed."""
        return bool(self._refusal)

    def wait(self, timeout: float) -> bool:
        """Wait until all that was appended before this call, and is due, is in the tables.

        Returns:
            Whether it is there; False after `timeout` seconds.
        """
        with self._changed:
            due = self._pending.keys() - self._held
            return self._changed.wait_for(lambda: due.isdisjoint(self._pending), timeout)

    def close(self, timeout: float) -> bool:
        """Insert what is waiting, stop, and close the journal, which keeps the rest.

        Returns:
            Whether everything was inserted within `timeout` seconds.
        """
        if self._window:
            self._window.close()
        done = self.wait(timeout)
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        # Let running inserts finish: the store is closed next.
        for thread in self._threads:
            thread.join()
        self._journal.close()
        return done

    def _run(self) -> None:
        while batch := self._take():
            try:
                self._insert(batch, attempts=0)
            except Exception:  # noqa: BLE001, PERF203 - a batch is large
                # If this thread died, every later query would wait for it.
                _log.exception(
                    "%s: storing a batch failed unexpectedly; the next start retries", self._name
                )
                self._settle(batch)

    def _take(self) -> list[Entry]:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._stopping)
            if self._stopping:
                return []
            batch: list[Entry] = []
            size = 0
            while self._queue:
                size += len(self._queue[0].payload)
                if batch and size > self._batch_bytes:
                    break
                batch.append(self._queue.popleft())
            return batch

    def _insert(self, batch: list[Entry], *, attempts: int) -> None:
        """Insert a batch, however long that takes; set aside requests that cannot be stored."""
        pause = _FIRST_PAUSE_SECONDS
        began = time.monotonic()
        while True:
            try:
                self._write(b"".join(entry.payload for entry in batch))
                self._journal.remove(entry.number for entry in batch)
            except StoreUnavailable as error:
                self._refused(error)
            except Exception as error:  # noqa: BLE001 - whatever the store raises
                if len(batch) > 1:
                    for entry in batch:
                        self._insert([entry], attempts=0)
                    return
                attempts += 1
                waited = time.monotonic() - began
                fails_for_good = isinstance(error, WireError) or (
                    attempts >= _ATTEMPTS and waited >= _PATIENCE_SECONDS
                )
                why = self._set_aside(batch[0], error) if fails_for_good else error
                if why is None:
                    return
                self._refused(why)
            else:
                self._settle(batch)
                return
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._nudged, pause)
                self._nudged = False
                if self._stopping:
                    return
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _set_aside(self, entry: Entry, error: Exception) -> StoreUnavailable | None:
        """Set a request aside; return the error if the disk does not take it at the moment."""
        try:
            self._journal.set_aside(entry.number, str(error))
        except StoreUnavailable as unavailable:
            return unavailable
        with self._changed:
            self.poisoned += 1
        _log.error(
            "%s: an acknowledged request cannot be stored; it is kept in the journal's table"
            " set_aside, please report it",
            self._name,
            exc_info=error,
        )
        self._settle([entry])
        return None

    def _refused(self, error: Exception) -> None:
        with self._changed:
            # The next sender receives this text, so it must not contain this request's data.
            self._refusal = log.said(error)
            self._refusals += 1
            self._changed.notify_all()
        if self._seldom():
            _log.error(
                "%s: the store refuses data; acknowledged data waits in the journal. %s",
                self._name,
                self._refusal,
            )

    def _settle(self, batch: list[Entry]) -> None:
        with self._changed:
            for entry in batch:
                self._bytes -= self._pending.pop(entry.number, 0)
            recovered, self._refusal = self._refusal, ""
            self._changed.notify_all()
        if recovered:
            _log.warning("%s: the data that waited in the journal is stored", self._name)
