"""Holds back what is in the journal until its traces are decided on.

A round takes what arrives for a while; once the window has passed behind its end, its traces are
decided on, and what is to be stored of its entries is released. Decisions are in the journal
before anything of them is in the tables, so that the next process decides the same.
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

# Of a window: what is added to it at most, and what its versions' minimum is counted by.
_ROUND: Final = 0.25


class Sampler(Protocol):
    """Decides on traces; see `otel_vtrack.sample.sampler`."""

    def observe(self, payload: bytes) -> tuple[list[bytes], int]:
        """Return which traces are new, and how many spans there are."""
        ...

    def decide(self, trace_ids: Iterable[bytes]) -> bytes:
        """Decide on them, and return how to remember it."""
        ...

    def apply(self, payload: bytes) -> tuple[bytes, Any]:
        """Return what is stored of a request, and how much that is."""
        ...

    def count(self, tally: Any) -> None:
        """Count that."""
        ...

    def recall(self, notes: bytes) -> None:
        """Remember what was decided before."""
        ...


@dataclass(slots=True)
class _Round:
    ends: float
    due: float
    entries: list[tuple[Entry, int]] = field(default_factory=list[tuple[Entry, int]])
    trace_ids: list[bytes] = field(default_factory=list[bytes])


class Window:
    """What is held back; thread-safe.

    Args:
        sampler: Decides; nobody else uses it.
        journal: Where decisions are kept.
        release: Takes entries with what is to be stored of them, which may be nothing.
        seconds: How long a trace is waited for.
        max_bytes: Most that is held back, as it came; beyond them the oldest is decided on.
        notes_bytes: Most that the journal keeps of decisions.
        name: Of the signal; in log lines and the thread's name.
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
        """Spans that are held back, of what was looked at so far."""
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
        except Exception:  # noqa: BLE001 - what was acknowledged is stored, whatever happens here
            _log.exception("%s: a request can't be sampled, and is stored whole", self._name)
        self._rounds[-1].entries.append((entry, spans))
        self._rounds[-1].trace_ids += trace_ids
        self._spans += spans

    def _end(self, ended: _Round) -> None:
        try:
            if notes := self._sampler.decide(ended.trace_ids):
                self._journal.note(notes, self._notes_bytes)
        except StoreUnavailable as error:
            _log.warning(
                "%s: decisions are not kept, and may differ after a restart: %s",
                self._name,
                log.said(error),
            )
        except Exception:  # noqa: BLE001 - what is not decided on is left to the probability
            _log.exception("%s: a round can't be decided on", self._name)
        released: list[Entry] = []
        size = spans = 0
        for entry, observed in ended.entries:
            payload = entry.payload
            try:
                payload, tally = self._sampler.apply(entry.payload)
            except Exception:  # noqa: BLE001 - as above
                _log.exception("%s: a request can't be sampled, and is stored whole", self._name)
            else:
                self._sampler.count(tally)
            released.append(Entry(entry.number, payload))
            size += len(entry.payload)
            spans += observed
        with self._changed:
            self._bytes -= size
            self._spans -= spans
        self._release(released)
