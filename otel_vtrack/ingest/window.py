"""Holds back journal entries until the sampler has decided on their traces.

A round collects entries for a while. One window after its end, its traces are decided on, and its
entries are released with the payloads to store. Decisions are in the journal before any data they
affect is in the tables, so that the next process decides the same.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from otel_vtrack import log
from otel_vtrack.errors import StoreUnavailable
from otel_vtrack.store.journal import Entry, Journal

_log = logging.getLogger(__name__)

# Length of a round, as a fraction of the window: the most it adds to the delay of an entry, and
# the unit in which the versions' minimum is applied.
_ROUND: Final = 0.25


class Sampler(Protocol):
    """Decides on traces; see `otel_vtrack.sample.sampler`."""

    def observe(self, payload: bytes) -> tuple[list[bytes], int]:
        """Return the IDs of new traces, and the number of spans."""
        ...

    def decide(self, trace_ids: Iterable[bytes]) -> bytes:
        """Decide on traces, and return the decisions, serialized for `recall`."""
        ...

    def apply(self, payload: bytes) -> tuple[bytes, Any]:
        """Return what to store of a request, and a tally of it."""
        ...

    def count(self, tally: Any) -> None:
        """Add a tally to the counts."""
        ...

    def recall(self, notes: bytes) -> None:
        """Restore earlier decisions."""
        ...


@dataclass(slots=True)
class _Round:
    ends: float
    due: float
    entries: list[tuple[Entry, int]] = field(default_factory=list[tuple[Entry, int]])
    trace_ids: list[bytes] = field(default_factory=list[bytes])


class Window:
    """Holds entries back; thread-safe.

    Args:
        sampler: Makes the decisions; used by this window only.
        journal: Stores the decisions.
        release: Takes entries with the payloads to store, which may be empty.
        seconds: How long to wait for the rest of a trace.
        max_bytes: Most bytes held back, as received; beyond that the oldest round is decided on.
        notes_bytes: Most bytes of decisions that the journal keeps.
        name: Name of the signal, for log lines and the thread's name.
    """

    def __init__(
        self,
        sampler: Sampler,
        journal: Journal,
        release: Callable[[list[Entry]], None],
        *,
        seconds: float,
        max_bytes: int,
        notes_bytes: int,
        name: str,
    ) -> None:
        self._sampler = sampler
        self._journal = journal
        self._release = release
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._notes_bytes = notes_bytes
        self._name = name
        self._changed = threading.Condition()
        self._arrived: deque[tuple[Entry, float]] = deque()
        self._rounds: deque[_Round] = deque()
        self._bytes = 0
        self._spans = 0
        self._closing = False
        for note in journal.notes():
            sampler.recall(note)
        self._thread = threading.Thread(target=self._run, name=f"window-{name}", daemon=True)
        self._thread.start()

    @property
    def waiting_spans(self) -> int:
        """Spans held back, among the entries examined so far."""
        return self._spans

    def put(self, entry: Entry) -> None:
        """Hold back an entry."""
        with self._changed:
            self._arrived.append((entry, time.monotonic()))
            self._bytes += len(entry.payload)
            self._changed.notify_all()

    def close(self) -> None:
        """Decide on all that is held back, release it, and stop."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                wait = self._rounds[0].due - time.monotonic() if self._rounds else None
                if wait is None or wait > 0:
                    self._changed.wait_for(lambda: self._arrived or self._closing, wait)
                arrived, self._arrived = self._arrived, deque()
                closing = self._closing
            for entry, at in arrived:
                self._look(entry, at)
            while self._rounds and (
                closing or self._bytes > self._max_bytes or self._rounds[0].due <= time.monotonic()
            ):
                self._end(self._rounds.popleft())
            if closing and not self._arrived:
                return

    def _look(self, entry: Entry, at: float) -> None:
        if not self._rounds or at >= self._rounds[-1].ends:
            ends = at + self._seconds * _ROUND
            self._rounds.append(_Round(ends, ends + self._seconds))
        trace_ids: list[bytes] = []
        spans = 0
        try:
            trace_ids, spans = self._sampler.observe(entry.payload)
        except Exception:  # noqa: BLE001 - acknowledged data is stored, whatever happens here
            _log.exception("%s: a request cannot be sampled, and is stored whole", self._name)
        self._rounds[-1].entries.append((entry, spans))
        self._rounds[-1].trace_ids += trace_ids
        self._spans += spans

    def _end(self, ended: _Round) -> None:
        try:
            if notes := self._sampler.decide(ended.trace_ids):
                self._journal.note(notes, self._notes_bytes)
        except StoreUnavailable as error:
            _log.warning(
                "%s: sampling decisions cannot be saved, and may differ after a restart: %s",
                self._name,
                log.said(error),
            )
        except Exception:  # noqa: BLE001 - the probability then decides
            _log.exception("%s: the sampling decisions of a round failed", self._name)
        released: list[Entry] = []
        size = spans = 0
        for entry, observed in ended.entries:
            payload = entry.payload
            try:
                payload, tally = self._sampler.apply(entry.payload)
            except Exception:  # noqa: BLE001 - as above
                _log.exception("%s: a request cannot be sampled, and is stored whole", self._name)
            else:
                self._sampler.count(tally)
            released.append(Entry(entry.number, payload))
            size += len(entry.payload)
            spans += observed
        with self._changed:
            self._bytes -= size
            self._spans -= spans
        self._release(released)
