"""Manages all destinations: queues requests for them and reports their status."""

import contextlib
import logging
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from otel_vtrack.errors import SettingsError
from otel_vtrack.forward.dead_letters import DeadLetters
from otel_vtrack.forward.destination import Destination
from otel_vtrack.forward.disk_queue import DiskQueue
from otel_vtrack.forward.lane import Lane
from otel_vtrack.wire.signals import SIGNALS

_log = logging.getLogger(__name__)

# How long an aborted request may take to notice.
_LAST_WORD_SECONDS: Final = 1.0


class Forwarder:
    """Queues and sends requests; its methods may block for the disk, but never for a backend.

    Args:
        destinations: Where to forward to.
        folder: For queues and dead letters; created if missing.
        fsync: Whether queued requests must survive a crash of the machine.

    Raises:
        SettingsError: A file of a destination is unusable, or the folder is in use.
        StoreUnavailable: The folder is not writable.
    """

    def __init__(
        self, destinations: Iterable[Destination], folder: Path, *, fsync: bool = False
    ) -> None:
        self._queues: dict[str, DiskQueue] = {}
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._dead_letters: dict[str, DeadLetters] = {}
        destinations = list(destinations)
        try:
            # It contains telemetry, and not all of its files are created private.
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"{folder} cannot be created ({error.strerror}): choose another with"
                " --forward-folder"
            ) from None
        with contextlib.ExitStack() as stack:
            stack.callback(self.close, 0.0)
            for signal in SIGNALS:
                takers = [each for each in destinations if signal.name in each.signals]
                path = folder / f"queue-{signal.name}.sqlite"
                if not takers and not path.exists():
                    continue
                queue = DiskQueue(
                    path,
                    signal.name,
                    {each.name: each.queue_max_bytes for each in takers},
                    fsync=fsync,
                )
                if not takers:
                    # It has told what it dropped, and freed the space.
                    queue.close()
                    continue
                self._queues[signal.name] = queue
                for each in takers:
                    dead_letters = self._dead_letters.setdefault(
                        each.name,
                        DeadLetters(
                            folder / "dead-letters" / each.name, each.dead_letter_max_bytes
                        ),
                    )
                    lane = Lane(each, signal, queue, dead_letters)
                    self._lanes[each.name, signal.name] = lane
            self._find_orphans(folder / "dead-letters")
            stack.pop_all()

    @property
    def signals(self) -> frozenset[str]:
        """The names of the signals that at least one destination accepts."""
        return frozenset(self._queues)

    def append(self, signal: str, requests: Sequence[tuple[bytes, int, str]]) -> None:
        """Queue requests for all destinations that accept the signal, in one write.

        Args:
            signal: The signal of the requests.
            requests: Bodies with their item counts and the experiments named by headers, if any.

        Raises:
            StoreUnavailable: The requests could not be written.
        """
        self._queues[signal].append(requests)

    def status(self) -> dict[str, Any]:
        """Return what is queued and what was done, by destination and signal.

        A destination that has only dead letters left has no signals.
        """
        found: dict[str, Any] = {
            name: {"dead_letter_bytes": letters.bytes, "signals": {}}
            for name, letters in self._dead_letters.items()
        }
        for (destination, signal), lane in self._lanes.items():
            found[destination]["signals"][signal] = lane.status()
        return found

    def _find_orphans(self, folder: Path) -> None:
        """Count the dead letters of removed destinations, which nothing deletes."""
        with contextlib.suppress(OSError):
            for path in sorted(folder.iterdir()):
                letters = DeadLetters(path, 0)
                if path.name not in self._dead_letters and letters.bytes:
                    self._dead_letters[path.name] = letters
                    _log.warning(
                        "%s has %d bytes of dead letters for a destination that is no longer in the"
                        " settings: resend or delete them",
                        path,
                        letters.bytes,
                    )

    def finish(self) -> None:
        """Send what is queued for as long as destinations accept it, then stop."""
        for lane in self._lanes.values():
            lane.finish()

    def _wait(self, timeout: float) -> None:
        """Wait for the end of all lanes, for up to `timeout` seconds in all."""
        deadline = time.monotonic() + timeout
        for lane in self._lanes.values():
            lane.wait(max(0.0, deadline - time.monotonic()))

    def close(self, timeout: float) -> None:
        """Finish, abort after `timeout` seconds, and close everything; idempotent."""
        self.finish()
        self._wait(timeout)
        for lane in self._lanes.values():
            lane.abort()
        self._wait(_LAST_WORD_SECONDS)
        waits = [
            f"{signal} for {destination}"
            for destination, signal in self._lanes
            if not self._queues[signal].is_empty(destination)
        ]
        if waits:
            _log.warning(
                "not everything was forwarded: the rest is safe in the queue, and the next start "
                "forwards it (%s)",
                ", ".join(waits),
            )
        for queue in self._queues.values():
            queue.close()
