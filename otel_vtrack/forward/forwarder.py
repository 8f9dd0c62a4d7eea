"""All destinations together: takes requests for them, and says how each is doing."""

import contextlib
import logging
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from otel_vtrack.errors import SettingsError
from otel_vtrack.forward.dead_letters import DeadLetters
from otel_vtrack.forward.destination import Destination
from otel_vtrack.forward.disk_queue import DiskQueue
from otel_vtrack.forward.lane import Lane
from otel_vtrack.wire.signals import SIGNALS

_log = logging.getLogger(__name__)


class Forwarder:
    """Queues and sends; its methods block, if at all, for the disk and never for a backend.

    Args:
        destinations: Where to.
        folder: Of queues and dead letters; made when there is none.
        fsync: Whether what is queued has to survive the end of the machine.

    Raises:
        SettingsError: A file of a destination cannot be used, or the folder is in use.
        StoreUnavailable: The folder cannot be written.
    """

    def __init__(
        self, destinations: Iterable[Destination], folder: Path, *, fsync: bool = False
    ) -> None:
        self._queues: dict[str, DiskQueue] = {}
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._dead_letters: dict[str, DeadLetters] = {}
        destinations = list(destinations)
        try:
            # What is in it is telemetry, and not all of its files are closed to others.
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"{folder} cannot be made ({error.strerror}): choose another with --forward-folder"
            ) from None
        with contextlib.ExitStack() as stack:
            stack.callback(self.close, 0.0)
            for signal in SIGNALS:
                takers = [each for each in destinations if signal.name in each.signals]
                if not takers:
                    continue
                queue = self._queues[signal.name] = DiskQueue(
                    folder / f"queue-{signal.name}.sqlite",
                    signal.name,
                    {each.name: each.queue_max_bytes for each in takers},
                    fsync=fsync,
                )
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
        """Names of the signals that some destination takes."""
        return frozenset(self._queues)

    def append(self, signal: str, requests: Sequence[tuple[bytes, int, str]]) -> None:
        """Queue requests for all who take the signal, as one write.

        Args:
            signal: Name of what is in them.
            requests: With their numbers of items, and the experiments that headers named, if any.

        Raises:
            StoreUnavailable: They could not be written.
        """
        self._queues[signal].append(requests)

    def status(self) -> dict[str, Any]:
        """Return what waits and what was done, by destination and signal.

        A destination of which only dead letters are left has no signals.
        """
        found: dict[str, Any] = {
            name: {"dead_letter_bytes": letters.bytes, "signals": {}}
            for name, letters in self._dead_letters.items()
        }
        for (destination, signal), lane in self._lanes.items():
            found[destination]["signals"][signal] = lane.status()
        return found

    def _find_orphans(self, folder: Path) -> None:
        """Count dead letters of destinations that are no longer there: nothing deletes them."""
        with contextlib.suppress(OSError):
            for path in sorted(folder.iterdir()):
                letters = DeadLetters(path, 0)
                if path.name not in self._dead_letters and letters.bytes:
                    self._dead_letters[path.name] = letters
                    _log.warning(
                        "%s has %d bytes of dead letters for a destination that is no longer there:"
                        " send them again or delete them",
                        path,
                        letters.bytes,
                    )

    def finish(self) -> None:
        """Send what waits to whoever takes it, and nothing after that."""
        for lane in self._lanes.values():
            lane.finish()

    def close(self, timeout: float) -> None:
        """Finish, break off after `timeout` seconds, and close all; idempotent."""
        deadline = time.monotonic() + timeout
        self.finish()
        waits: list[str] = []
        for (destination, signal), lane in self._lanes.items():
            if not lane.close(max(0.0, deadline - time.monotonic())):
                waits.append(f"{signal} for {destination}")
        if waits:
            _log.warning(
                "not all was forwarded: it is safe in the queue, and the next start goes on (%s)",
                ", ".join(waits),
            )
        for queue in self._queues.values():
            queue.close()
