"""Delivers every event to a channel until the channel accepts it.

An event is pending until the store has its end of delivery, so a restart continues where the last
run stopped: delivery is at least once, and repeats if that end could not be stored.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from otel_vtrack import log
from otel_vtrack.errors import VtrackError
from otel_vtrack.query import watch as query
from otel_vtrack.query.watch import WatchEvent
from otel_vtrack.record import watch as record
from otel_vtrack.store.client import Store

_log = logging.getLogger(__name__)

GIVE_UP_NS: Final = 86_400_000_000_000
"""For how long after an event its delivery is attempted."""
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 3600.0

_MOST: Final = 1_000
_STOP_SECONDS: Final = 1.0


class Outcome(NamedTuple):
    """The outcome of an attempt.

    Attributes:
        delivered: Whether it succeeded.
        why: What went wrong otherwise, without any secret.
        retry_after: Seconds to wait as requested by the other side; None if it requests nothing.
        final: Whether it is pointless to retry.
    """

    delivered: bool
    why: str = ""
    retry_after: float | None = None
    final: bool = False


class Channel(Protocol):
    """A way to deliver events."""

    name: str

    def send(self, event: WatchEvent) -> Outcome:
        """Deliver an event; may block, and never raises."""
        ...


@dataclass(slots=True)
class _Waiting:
    attempts: int = 0
    due: float = 0.0
    ended: Outcome | None = None


class Delivery:
    """A thread that delivers events on one channel.

    Args:
        store: Where events are stored.
        channel: How to deliver them.
        interval: Seconds between checks for events found by other servers.
        clock: Returns the time in nanoseconds since 1970.
    """

    def __init__(
        self,
        store: Store,
        channel: Channel,
        interval: float,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store = store
        self._channel = channel
        self._interval = interval
        self._clock = clock
        self._waiting: dict[str, _Waiting] = {}
        self._wakened = threading.Event()
        self._stopping = False
        self._asking = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"watch-{channel.name}", daemon=True)

    def start(self) -> None:
        """Start the thread, with what the last run left undelivered."""
        self._thread.start()

    def wake(self) -> None:
        """Signal that there are new events."""
        self._wakened.set()

    def stop(self) -> None:
        """Stop using the store; a delivery under way may outlast this call."""
        # Store calls are short, whereas a delivery may take a minute.
        with self._asking:
            self._stopping = True
        self._wakened.set()
        self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        while not self._stopping:
            try:
                pause = self._deliver()
            except VtrackError as error:
                reason = log.said(error)
                _log.warning("watch: could not read the events to deliver, retrying: %s", reason)
                pause = self._interval
            except Exception:  # noqa: BLE001 - the thread must continue
                _log.exception("watch: could not deliver events, retrying")
                pause = self._interval
            self._wakened.wait(pause)
            self._wakened.clear()

    def _deliver(self) -> float:
        """Deliver what is due; return the seconds until something else may be due."""
        with self._asking:
            if self._stopping:
                return 0.0
            # Look back further than deliveries are attempted, so that giving up is stored as well.
            since_ns = self._clock() - GIVE_UP_NS - GIVE_UP_NS // 4
            events = query.undelivered(self._store, self._channel.name, since_ns, _MOST)
        ids = {each.event_id for each in events}
        self._waiting = {id_: kept for id_, kept in self._waiting.items() if id_ in ids}
        for event in reversed(events):
            waiting = self._waiting.setdefault(event.event_id, _Waiting())
            if waiting.due <= time.monotonic() and not self._stopping:
                self._attempt(event, waiting)
        soonest = min((each.due for each in self._waiting.values()), default=float("inf"))
        return max(0.0, min(self._interval, soonest - time.monotonic()))

    def _attempt(self, event: WatchEvent, waiting: _Waiting) -> None:
        outcome = waiting.ended
        if outcome is None:
            outcome = self._channel.send(event)
            waiting.attempts += 1
        too_old = self._clock() - event.event_time_ns >= GIVE_UP_NS
        if not (outcome.delivered or outcome.final or too_old):
            waiting.due = time.monotonic() + _pause(waiting.attempts, outcome.retry_after)
            _log.info(
                "watch: %s did not accept %s (%s), retrying",
                self._channel.name,
                event.event_id,
                outcome.why,
            )
            return
        if not outcome.delivered and waiting.ended is None:
            _log.error(
                "watch: %s did not accept %s after %d attempts, giving up: %s",
                self._channel.name,
                event.event_id,
                waiting.attempts,
                outcome.why,
            )
        # If the store call below fails, the event is still not delivered again in this run.
        waiting.ended = outcome
        with self._asking:
            if not self._stopping:
                record.end_delivery(
                    self._store,
                    event,
                    self._channel.name,
                    delivered=outcome.delivered,
                    attempts=waiting.attempts,
                )
                del self._waiting[event.event_id]


def _pause(attempts: int, asked: float | None) -> float:
    """Return the seconds until the next attempt: exponential backoff, of which half is random."""
    longest = min(FIRST_PAUSE * 2 ** (attempts - 1), LONGEST_PAUSE)
    pause = longest * (0.5 + random.random() / 2)  # noqa: S311 - spreads load, guards nothing
    return max(pause, min(asked or 0.0, LONGEST_PAUSE))
