"""Sends one signal to one destination: in order, one request at a time, until it is accepted."""

import logging
import random
import threading
import time
from collections import defaultdict
from typing import Any, Final

from otel_vtrack import log
from otel_vtrack.errors import SettingsError
from otel_vtrack.forward import otlp, outcome
from otel_vtrack.forward.dead_letters import DeadLetters
from otel_vtrack.forward.destination import Destination
from otel_vtrack.forward.disk_queue import Body, DiskQueue
from otel_vtrack.forward.outcome import Outcome, Verdict
from otel_vtrack.stamps import Stamp, stamp
from otel_vtrack.wire.signals import Signal

_log = logging.getLogger(__name__)

# However long a pause a backend asks for: its clock or ours may be wrong in a date it names.
_LONGEST_ASKED_SECONDS: Final = 3_600.0
# How often, at least, the queue is checked for expired requests.
_STEP_SECONDS: Final = 15.0


class Lane:
    """A thread that sends queued requests.

    Consecutive requests are merged into one by concatenation. If that one is refused for good, or
    not answered in time, each is sent alone: a bad request does not take others with it, and a
    slow backend gets on.

    Args:
        destination: Where to send.
        signal: What to send.
        queue: Where requests wait.
        dead_letters: Where refused requests go.
    """

    def __init__(
        self, destination: Destination, signal: Signal, queue: DiskQueue, dead_letters: DeadLetters
    ) -> None:
        self._destination = destination
        self._signal = signal
        self._queue = queue
        self._dead_letters = dead_letters
        self._sender = otlp.connect(destination)
        self._made_of = self._stamps()
        self._alone_until = 0
        self._failures = 0
        self._retries = 0
        self._reason = ""
        self._seldom = defaultdict[str, log.Seldom](log.Seldom)
        self._said_that_it_waits = False
        self._finishing = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(
            # A daemon, so that a backend that hangs cannot keep the process from ending.
            target=self._run,
            name=f"forward-{destination.name}-{signal.name}",
            daemon=True,
        )
        self._thread.start()

    def finish(self) -> None:
        """Send what is queued, until a send fails, then stop."""
        self._finishing.set()
        self._queue.wake()

    def wait(self, timeout: float) -> None:
        """Wait for the end after `finish` or `abort`, for up to `timeout` seconds."""
        self._thread.join(timeout)

    def abort(self) -> None:
        """Stop, and do not wait for a response."""
        self._ending.set()
        self._queue.wake()
        self._sender.close()

    def status(self) -> dict[str, Any]:
        """Return what is queued, the counts, and the current failure, if any."""
        return {
            **self._queue.status(self._destination.name),
            "retries": self._retries,
            "failing": self._reason,
        }

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                if not self._step():
                    return
            except Exception:  # noqa: BLE001, PERF203 - a thread that dies would end forwarding
                if self._ending.is_set():
                    return
                self._say("unforeseen", "failed unexpectedly; forwarding continues", exc_info=True)
                self._pause(1.0)

    def _step(self) -> bool:
        """Send once, or wait for something to send; return False to stop."""
        name = self._destination.name
        self._queue.expire(name, self._destination.queue_max_age_seconds)
        bodies = self._queue.read(name, self._destination.batch_max_bytes)
        if bodies and bodies[0].position < self._alone_until:
            bodies = bodies[:1]
        if not bodies:
            if self._finishing.is_set() or self._queue.closed:
                return False
            self._queue.wait(name, _STEP_SECONDS, self._finishing)
            return True
        payloads = [body.payload for body in bodies]
        joined = payloads[0] if len(payloads) == 1 else b"".join(payloads)
        found = self._send(joined, bodies[0].experiment)
        if found.verdict is Verdict.AGAIN:
            if found.late:
                # Joined, they may take longer than the timeout each time.
                self._alone_until = bodies[-1].end
            return self._again(found)
        self._failures = 0
        if found.verdict is Verdict.SENT:
            self._sent(bodies, found)
        elif len(bodies) > 1 and found.about_body:
            self._alone_until = bodies[-1].end
        else:
            self._refused(bodies, found)
        return True

    def _send(self, body: bytes, experiment: str) -> Outcome:
        stamps = self._stamps()
        if stamps != self._made_of:
            # A certificate or a token was renewed.
            try:
                renewed = otlp.connect(self._destination)
            except SettingsError as error:
                return outcome.unreachable(str(error))
            self._sender.close()
            self._sender, self._made_of = renewed, stamps
        return self._sender.send(self._signal, body, experiment)

    def _stamps(self) -> tuple[Stamp | None, ...]:
        return tuple(map(stamp, self._destination.files))

    def _again(self, found: Outcome) -> bool:
        """Wait before the next attempt; return False if there is to be none."""
        self._retries += 1
        if self._ending.is_set():
            return False
        if self._say("waits", "are queued and retried: %s", found.status):
            self._said_that_it_waits = True
        self._reason = found.reason
        if self._finishing.is_set():
            return False
        longest = self._destination.retry_max_seconds
        pause = min(self._destination.retry_initial_seconds * 2.0**self._failures, longest)
        self._failures = min(self._failures + 1, 30)
        # Jitter, so that clients that failed together do not return together; the pause that a
        # backend requests is the minimum.
        pause *= random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        if found.pause_seconds:
            asked = min(found.pause_seconds, _LONGEST_ASKED_SECONDS)
            pause = max(pause, asked * random.uniform(1.0, 1.1))  # noqa: S311
        # On shutdown, try once more, unless the backend asked to wait.
        return self._pause(pause) or not found.pause_seconds

    def _pause(self, seconds: float) -> bool:
        """Wait, dropping what expires; return whether the full time passed."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._finishing.wait(min(left, _STEP_SECONDS)):
                return False
            self._queue.expire(self._destination.name, self._destination.queue_max_age_seconds)
        return True

    def _sent(self, bodies: list[Body], found: Outcome) -> None:
        if found.rejected:
            self._say(
                "partial",
                "were accepted in part: %d items of a request were rejected",
                found.rejected,
            )
        self._reason = ""
        if self._said_that_it_waits:
            self._said_that_it_waits = False
            _log.warning("%s: %s are accepted again", self._destination.name, self._signal.name)
        self._queue.done(
            self._destination.name,
            bodies,
            sent_requests=len(bodies),
            # For metrics, backends count rejected points, whereas items are metrics.
            sent_items=max(0, sum(body.items for body in bodies) - found.rejected),
            sent_bytes=sum(len(body.payload) for body in bodies),
            rejected_items=found.rejected,
        )

    def _refused(self, bodies: list[Body], found: Outcome) -> None:
        kept: list[Body] = []
        lost: list[Body] = []
        for body in bodies:
            try:
                self._dead_letters.keep(self._signal.name, body, found.status, found.message)
                kept.append(body)
            except OSError as error:  # noqa: PERF203 - few bodies
                self._say(
                    "unkept",
                    "were refused for good (%s) and cannot be kept: %s",
                    found.status,
                    error.strerror,
                )
                lost.append(body)
        if kept:
            self._say(
                "refused",
                "were refused for good (%s); bodies and reasons are in %s",
                found.status,
                self._dead_letters.folder,
            )
        self._reason = found.reason
        self._queue.done(
            self._destination.name,
            bodies,
            dead_lettered_requests=len(kept),
            dead_lettered_items=sum(body.items for body in kept),
            dropped_requests=len(lost),
            dropped_items=sum(body.items for body in lost),
            dropped_bytes=sum(len(body.payload) for body in lost),
        )

    def _say(self, what: str, text: str, *args: object, exc_info: bool = False) -> bool:
        """Log each kind of message at most once a minute; return whether it was logged."""
        if not self._seldom[what]():
            return False
        who = (self._destination.name, self._signal.name)
        _log.error(f"%s: %s {text}", *who, *args, exc_info=exc_info)
        return True
