"""Group commit: joins many requests into one insert, then responds to all of them.

An insert takes 20 to 30 ms whatever its size. Requests that arrive during an insert wait in a
bounded queue, and the next insert takes all of them, joined: concatenating serialized OTLP
requests merges them.

    commit = GroupCommit(writer.write_traces, name="traces")
    commit.submit(payload, 512).result()  # stored
    commit.drain(timeout=10)

Requests to be forwarded are passed on after their insert, and answered once that has succeeded
too: a sender that then has to retry repeats only what the store already has.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

from otel_vtrack import log
from otel_vtrack.errors import Overloaded, StoreUnavailable, WireError

_log = logging.getLogger(__name__)

_LONGEST_RETRY_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Counts:
    """Totals of a `GroupCommit` so far, and what is waiting.

    Attributes:
        accepted_requests: Requests stored, or forwarded if nothing is stored.
        accepted_items: Spans, log records or metrics in them.
        accepted_bytes: Their size.
        rejected_items: Items removed from requests because no store could take them.
        overloaded: Requests rejected because the queue was full.
        draining: Requests rejected because the process was stopping.
        unavailable: Requests that failed with a retryable error of the store.
        poisoned: Requests that the store can never take.
        abandoned: Requests whose caller left before they were written.
        batches: Inserts that succeeded.
        write_seconds: Total duration of these inserts.
        waiting_requests: Requests queued or being written.
        waiting_bytes: Their size, with what is forwarded if that differs from what is stored.
    """

    accepted_requests: int = 0
    accepted_items: int = 0
    accepted_bytes: int = 0
    rejected_items: int = 0
    overloaded: int = 0
    draining: int = 0
    unavailable: int = 0
    poisoned: int = 0
    abandoned: int = 0
    batches: int = 0
    write_seconds: float = 0.0
    waiting_requests: int = 0
    waiting_bytes: int = 0


Forward = Callable[[Sequence[tuple[bytes, int, str]]], None]
"""Forwards requests, each with its number of items and the experiment its header named.

Returns once they are safe; raises the errors that a store raises.
"""


@dataclass(slots=True)
class _Waiting:
    payload: bytes
    items: int
    forwarded: bytes
    experiment: str
    size: int
    done: Future[None] = field(default_factory=Future)


class GroupCommit:
    """Joins waiting requests, writes them as one, then completes their futures.

    Args:
        write: Stores a payload and returns once it is durable. Called by up to `writers`
            threads at a time. None if nothing is stored.
        name: Name of the signal, for log lines and thread names.
        max_batch_bytes: Most bytes per insert; a larger request is written alone. 16 MiB is
            some 20,000 spans, beyond which inserts get no faster.
        max_waiting_bytes: Most bytes that may wait, including the batch being written.
        max_waiting_requests: The same in requests.
        linger_seconds: How long a writer waits for more requests after the first of a batch.
            Zero suits many callers: their requests accumulate during the previous insert.
        writers: Number of writer threads.
        forward: Takes what was written, request by request, if it is also forwarded.
    """

    def __init__(
        self,
        write: Callable[[bytes], None] | None,
        *,
        name: str,
        max_batch_bytes: int = 16 << 20,
        max_waiting_bytes: int = 256 << 20,
        max_waiting_requests: int = 10_000,
        linger_seconds: float = 0.0,
        writers: int = 1,
        forward: Forward | None = None,
    ) -> None:
        self._write = write
        self._forward = forward
        self._name = name
        self._max_batch_bytes = max_batch_bytes
        self._max_waiting_bytes = max_waiting_bytes
        self._max_waiting_requests = max_waiting_requests
        self._linger_seconds = linger_seconds
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._settled = threading.Condition(self._lock)
        self._queue: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._waiting_requests = 0
        self._stopping = False
        self._bytes_a_second = 0.0
        self._counts: dict[str, Any] = dict.fromkeys(Counts.__slots__, 0)
        self._seldom = log.Seldom()
        self._failing = False
        self._threads = [
            # Daemons, so that a hanging store cannot keep the process from exiting.
            threading.Thread(target=self._run, name=f"commit-{name}-{n}", daemon=True)
            for n in range(writers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def stores(self) -> bool:
        """Whether requests are stored, and not only forwarded."""
        return self._write is not None

    def submit(
        self,
        payload: bytes,
        items: int,
        *,
        forwarded: bytes | None = None,
        experiment: str = "",
    ) -> Future[None]:
        """Queue a validated request; the future completes once it is stored.

        It fails with `StoreUnavailable` if the same request may succeed later, and with
        `WireError` if it never will. Cancelling it keeps a queued request from being written.

        Args:
            payload: Bytes to store.
            items: Spans, log records or metrics in it.
            forwarded: Bytes to forward, if they differ.
            experiment: Experiment to forward with them.

        Raises:
            Overloaded: The queue is full, or the process is stopping.
        """
        if forwarded is None or not self._forward:
            forwarded = payload
        size = len(payload) if forwarded is payload else len(payload) + len(forwarded)
        waiting = _Waiting(payload, items, forwarded, experiment, size)
        with self._lock:
            if self._stopping:
                self._counts["draining"] += 1
                raise Overloaded(f"{self._name}: the server is stopping; retry in a moment")
            if self._waiting_requests and (
                self._waiting_bytes + size > self._max_waiting_bytes
                or self._waiting_requests >= self._max_waiting_requests
            ):
                self._counts["overloaded"] += 1
                delay = self._retry_after()
                raise Overloaded(
                    f"{self._name}: the queue is full, {self._waiting_requests} requests wait to be"
                    f" stored; retry in {delay:.1f} s",
                    delay,
                )
            self._queue.append(waiting)
            self._waiting_bytes += size
            self._waiting_requests += 1
            self._arrived.notify()
        return waiting.done

    def drain(self, timeout: float) -> bool:
        """Stop accepting requests, write those waiting, and return whether all finished in time.

        Args:
            timeout: Seconds, after which requests still queued fail with `StoreUnavailable`.
        """
        deadline = time.monotonic() + timeout
        with self._lock:
            self._stopping = True
            self._arrived.notify_all()
            while self._waiting_requests and (left := deadline - time.monotonic()) > 0:
                self._settled.wait(left)
            in_time = not self._waiting_requests
            left_over = list(self._queue)
            self._queue.clear()
        error = StoreUnavailable(f"{self._name}: not stored before the server stopped; retry")
        for waiting in left_over:
            self._fail(waiting, error, "unavailable")
        self._settle(left_over)
        return in_time

    def reject(self, items: int) -> None:
        """Count items that were removed from a request before it was submitted."""
        self._count("rejected_items", items)

    def snapshot(self) -> Counts:
        """Return the current counts."""
        with self._lock:
            counts = self._counts | {
                "waiting_requests": self._waiting_requests,
                "waiting_bytes": self._waiting_bytes,
            }
        return Counts(**counts)

    def _retry_after(self) -> float:
        """Estimate the seconds until half of the queue is written."""
        if not self._bytes_a_second:
            return 1.0
        return min(max(1.0, self._waiting_bytes / 2 / self._bytes_a_second), _LONGEST_RETRY_SECONDS)

    def _run(self) -> None:
        while batch := self._take():
            self._deal_with(batch)
            # Free its memory: it may be large, and the next batch far off.
            del batch

    def _deal_with(self, batch: list[_Waiting]) -> None:
        live = [waiting for waiting in batch if waiting.done.set_running_or_notify_cancel()]
        self._count("abandoned", len(batch) - len(live))
        try:
            if live:
                self._store(live)
        except BaseException as error:  # noqa: BLE001 - passed on to the callers
            # If this writer died, its callers, and all later ones, would wait forever.
            _log.exception("%s: storing a batch failed unexpectedly", self._name)
            for waiting in live:
                if not waiting.done.done():
                    waiting.done.set_exception(error)
        finally:
            self._settle(batch)

    def _take(self) -> list[_Waiting]:
        """Wait for requests and return as many as one insert may take; empty means stop."""
        with self._lock:
            while not self._queue:
                if self._stopping:
                    return []
                self._arrived.wait()
            if self._linger_seconds and not self._stopping:
                self._arrived.wait_for(
                    lambda: self._stopping or self._waiting_bytes >= self._max_batch_bytes,
                    self._linger_seconds,
                )
            batch: list[_Waiting] = []
            size = 0
            while self._queue:
                size += len(self._queue[0].payload)
                if batch and size > self._max_batch_bytes:
                    break
                batch.append(self._queue.popleft())
            return batch

    def _settle(self, batch: list[_Waiting]) -> None:
        with self._lock:
            self._waiting_requests -= len(batch)
            self._waiting_bytes -= sum(waiting.size for waiting in batch)
            self._settled.notify_all()

    def _count(self, what: str, number: int = 1) -> None:
        with self._lock:
            self._counts[what] += number

    def _store(self, batch: list[_Waiting]) -> None:
        try:
            self._write_joined(batch)
        except StoreUnavailable as error:
            self._refused(batch, error)
        except Exception as error:  # noqa: BLE001 - whatever the store raises
            self._store_one_by_one(batch, error)

    def _write_joined(self, batch: list[_Waiting]) -> None:
        payloads = [waiting.payload for waiting in batch]
        started = time.monotonic()
        if self._write:
            self._write(payloads[0] if len(payloads) == 1 else b"".join(payloads))
        if self._forward:
            self._forward([(each.forwarded, each.items, each.experiment) for each in batch])
        seconds = time.monotonic() - started
        size = sum(map(len, payloads))
        with self._lock:
            self._counts["batches"] += 1
            self._counts["write_seconds"] += seconds
            self._counts["accepted_requests"] += len(batch)
            self._counts["accepted_items"] += sum(waiting.items for waiting in batch)
            self._counts["accepted_bytes"] += size
            speed = size / max(seconds, 1e-6)
            self._bytes_a_second += (speed - self._bytes_a_second) * 0.2
            recovered, self._failing = self._failing, False
        if recovered:
            _log.warning("%s: the store accepts data again", self._name)
        for waiting in batch:
            waiting.done.set_result(None)

    def _store_one_by_one(self, batch: list[_Waiting], error: Exception) -> None:
        """Store each request of a failed insert alone, to find those that made it fail.

        A request is poisoned if the store raises `WireError` for it, or if it fails while
        another of its batch succeeds. If all fail for an unexpected reason, the store may be
        at fault, so they may be sent again.
        """
        if len(batch) == 1:
            failed = [(batch[0], error)]
        else:
            failed = [(waiting, why) for waiting in batch if (why := self._error_alone(waiting))]
        for waiting, why in failed:
            if isinstance(why, StoreUnavailable):
                self._refused([waiting], why)
            elif isinstance(why, WireError):
                self._fail(waiting, why, "poisoned")
            elif len(failed) < len(batch):
                _log.error("%s: a request cannot be stored", self._name, exc_info=why)
                poisoned = WireError(
                    f"{self._name}: the store cannot store this request, though it stores others; "
                    "do not retry, and report it with the server's log"
                )
                self._fail(waiting, poisoned, "poisoned")
            else:
                self._refused([waiting], why)

    def _error_alone(self, waiting: _Waiting) -> Exception | None:
        try:
            self._write_joined([waiting])
        except Exception as error:  # noqa: BLE001 - the caller judges all errors together
            return error
        return None

    def _refused(self, batch: list[_Waiting], error: Exception) -> None:
        self._failing = True
        if self._seldom():
            _log.error(
                "%s: the store refuses data; senders are told to retry. %s",
                self._name,
                log.said(error),
                exc_info=None if isinstance(error, StoreUnavailable) else error,
            )
        for waiting in batch:
            self._fail(waiting, error, "unavailable")

    def _fail(self, waiting: _Waiting, error: Exception, counted_as: str) -> None:
        self._count(counted_as)
        if waiting.done.running() or waiting.done.set_running_or_notify_cancel():
            waiting.done.set_exception(error)
