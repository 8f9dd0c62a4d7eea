"""What lies behind the transports: the store and its journals, the queues to other backends.

The engine is loaded only if there is a store; a server that only forwards does not need it.
"""

import contextlib
import dataclasses
import functools
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from otel_vtrack.errors import SettingsError, VtrackError
from otel_vtrack.forward.forwarder import Forwarder
from otel_vtrack.ingest.backlog import Backlog
from otel_vtrack.ingest.commit import GroupCommit
from otel_vtrack.ingest.receiver import Receiver
from otel_vtrack.ingest.window import Window
from otel_vtrack.process.processor import Processor
from otel_vtrack.sample.sampler import NOTES_BYTES, Sampler
from otel_vtrack.settings import Settings
from otel_vtrack.store.journal import Entry, Journal
from otel_vtrack.upgrade import Upgrade
from otel_vtrack.wire.signals import LOGS, SIGNALS, TRACES, Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_vtrack.record.retention import Retention
    from otel_vtrack.store.client import Store
    from otel_vtrack.store.writer import Writer

_log = logging.getLogger(__name__)

# How long a query waits for data acknowledged before it: some ten times a large insert.
_SETTLE_SECONDS: Final = 5.0
# A failed merge hides its rows until it is detected, see `store.losses`; a running merge takes CPU
# time from requests until it is given idle priority, see `store.merging`.
_MEND_EVERY_SECONDS: Final = 5.0
_CLEAR_EVERY_SECONDS: Final = 86_400.0


class Pipeline:
    """The open store and destinations, and the path of telemetry to them. Methods block.

    Attributes:
        store: The store, its tables up to date; None when nothing is stored.
        forwarder: None when nothing is forwarded.
        processor: Processes traces and logs before they are stored or forwarded.
        commits: The queue of each accepted signal, by name.
        receiver: Accepts requests for all signals.
        sampler: None when all traces are stored.
        retention: None when all data is kept.
    """

    def __init__(self, settings: Settings, doing: "Callable[[str], None]" = lambda _: None) -> None:
        """Open the pipeline.

        Args:
            settings: What to open.
            doing: Called before each long step with its name, in a word.

        Raises:
            StoreError: The store cannot be used; the message says why and what to do.
            SettingsError: The store's tables are outdated and migration was not requested; or a
                destination, or the key for hashing, is unusable.
        """
        self._settings = settings
        self._doing = doing
        self._backlogs: dict[str, Backlog] = {}
        self._stop_by: float | None = None
        self._window: Window | None = None
        self.sampler = Sampler(settings.sample) if settings.sample else None
        self.store: Store | None = None
        self.retention: Retention | None = None
        self.forwarder: Forwarder | None = None
        self.processor = Processor(settings.enrich, settings.redact)
        try:
            writes = self._open_store() if settings.store else {}
            if settings.all_destinations:
                self.forwarder = Forwarder(
                    settings.all_destinations,
                    settings.queue_folder,
                    fsync=settings.durability == "fsync",
                )
            self.commits = self._commits(writes)
            self.receiver = Receiver(
                *(self.commits.get(signal.name) for signal in SIGNALS), process=self.processor
            )
        except BaseException:
            for backlog in self._backlogs.values():
                backlog.close(0)
            if self.forwarder:
                self.forwarder.close(0)
            if self.store:
                self.store.close()
            raise
        self._closing = threading.Event()
        self._mender = threading.Thread(target=self._mend, name="mend", daemon=True)
        if self.store:
            self._mender.start()
            self._retain(self.store)

    def received(self) -> "dict[str, dict[str, Any]]":
        """Return the counts of each signal; what was set aside once acknowledged is poisoned."""
        found = {
            name: dataclasses.asdict(commit.snapshot()) for name, commit in self.commits.items()
        }
        for name, backlog in self._backlogs.items():
            found[name]["poisoned"] += backlog.poisoned
        return found

    def sampled(self) -> "dict[str, Any]":
        """Return the sampler's counts; empty without a sampler."""
        if not self.sampler:
            return {}
        waiting = self._window.waiting_spans if self._window else 0
        return self.sampler.counts() | {"waiting_spans": waiting}

    def recover(self, timeout: float) -> bool:
        """Wait until the data the last run left in the journals is in the tables.

        Returns:
            Whether the wait is over: the data is there, or the store refuses it.
        """
        return self._wait(timeout) or any(backlog.refusing for backlog in self._backlogs.values())

    def drain(self) -> None:
        """Accept no more, and store what is waiting within `drain_timeout_seconds`."""
        if not self.receiver.drain(self._time_left()):
            _log.warning(
                "not all queued requests were stored within %g s; their senders were told to retry",
                self._settings.drain_timeout_seconds,
            )

    def close(self) -> None:
        """Drain, move the journals' data into the tables if time is left, and close everything."""
        if self.retention:
            self.retention.stop()
        self.drain()
        if self.forwarder:
            self.forwarder.finish()
        done = [backlog.close(self._time_left()) for backlog in self._backlogs.values()]
        if not all(done):
            _log.warning(
                "not all acknowledged data is in the tables yet: it is safe in the journal, and "
                "the next start stores it"
            )
        if self.forwarder:
            self.forwarder.close(self._time_left())
        self._closing.set()
        if self.store:
            self._mender.join()
            self.store.close()

    def _mend(self) -> None:
        clears_at = time.monotonic()
        while self.store and not self._closing.wait(_MEND_EVERY_SECONDS):
            try:
                with contextlib.suppress(VtrackError):
                    self.store.mend()
                    self.store.give_way()
                    if time.monotonic() >= clears_at:
                        self.store.clear(time.time())
                        clears_at = time.monotonic() + _CLEAR_EVERY_SECONDS
            except Exception:  # noqa: BLE001, PERF203 - otherwise mending would stop for good
                _log.exception("maintenance of the tables failed unexpectedly")

    def _retain(self, store: "Store") -> None:
        if self._settings.retention:
            from otel_vtrack.record import retention  # noqa: PLC0415 - loads the engine

            every = retention.LOOK_EVERY_SECONDS
            self.retention = retention.Retention(store, self._settings.retention, every)
            self.retention.start()

    def _time_left(self) -> float:
        """Return the seconds left of the drain timeout, which starts at the first call."""
        now = time.monotonic()
        if self._stop_by is None:
            self._stop_by = now + self._settings.drain_timeout_seconds
        return max(0.0, self._stop_by - now)

    def _wait(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        # Check every backlog even if no time is left: it may be empty.
        done = [
            backlog.wait(max(0.0, deadline - time.monotonic()))
            for backlog in self._backlogs.values()
        ]
        return all(done)

    def _open_store(self) -> "Mapping[str, Callable[[bytes], None]]":
        """Open the store; return a writer per signal: its journal if the store is embedded."""
        # These imports load the engine.
        from otel_vtrack.store.client import Store  # noqa: PLC0415
        from otel_vtrack.store.writer import Writer  # noqa: PLC0415

        self.store = store = Store(
            self._settings.store_url,
            cluster=self._settings.cluster,
            tls=self._settings.store_tls,
        )
        self._migrate(store)
        writer = Writer(store, durability=self._settings.durability)
        writes = {TRACES.name: writer.write_traces, LOGS.name: writer.write_logs}
        if store.folder is None:
            if self.sampler:
                writes[TRACES.name] = functools.partial(_write_sampled, self.sampler, writer)
            return writes
        for name, write in writes.items():
            fsync = self._settings.durability == "fsync"
            journal = Journal(store.folder / f"journal-{name}.sqlite", fsync=fsync)
            window: Any = None
            max_bytes: int = self._settings.backlog_max_bytes
            if name == TRACES.name and (sample := self._settings.sample):
                window = functools.partial(self._hold_back, journal)
                max_bytes += sample.window_max_bytes
            backlog = Backlog(journal, write, name=name, max_bytes=max_bytes, window=window)
            self._backlogs[name] = backlog
            writes[name] = backlog.append
        store.settle = lambda: self._wait(_SETTLE_SECONDS)
        return writes

    def _hold_back(self, journal: Journal, release: "Callable[[list[Entry]], None]") -> Window:
        assert self.sampler  # noqa: S101 - for the type checker
        settings = self.sampler.settings
        self._window = Window(
            self.sampler,
            journal,
            release,
            seconds=settings.window_seconds,
            max_bytes=settings.window_max_bytes,
            notes_bytes=NOTES_BYTES,
            name=TRACES.name,
        )
        return self._window

    def _migrate(self, store: "Store") -> None:
        from otel_vtrack.store import migrate  # noqa: PLC0415 - loads the engine

        if store.embedded or self._settings.migrate:
            self._doing("migrating")
            with Upgrade() as upgrade:
                migrate.apply(store, upgrade.ran, begins=upgrade.begins)
            return
        behind = [file.name for file in migrate.status(store) if file.state != "applied"]
        if behind:
            raise SettingsError(
                f"the store's tables are not up to date ({len(behind)} files to apply, {behind[0]} "
                "first): run vtrack migrate, or start with --migrate"
            )

    def _commits(self, writes: "Mapping[str, Callable[[bytes], None]]") -> dict[str, GroupCommit]:
        """Create a queue for each signal that is stored or forwarded."""
        commits: dict[str, GroupCommit] = {}
        for signal in SIGNALS:
            forward: Any = None
            if self.forwarder and signal.name in self.forwarder.signals:
                forward = functools.partial(self.forwarder.append, signal.name)
            write = writes.get(signal.name)
            if write or forward:
                commits[signal.name] = GroupCommit(
                    write,
                    name=signal.name,
                    max_batch_bytes=self._settings.max_batch_bytes,
                    max_waiting_bytes=self._settings.queue_max_bytes,
                    max_waiting_requests=self._settings.queue_max_requests,
                    forward=forward,
                )
        return commits


def signals_taken(settings: Settings) -> tuple[Signal, ...]:
    """Return the signals that are stored or forwarded."""
    names = {name for each in settings.all_destinations for name in each.signals}
    if settings.store:
        names |= {TRACES.name, LOGS.name}
    return tuple(signal for signal in SIGNALS if signal.name in names)


def _write_sampled(sampler: Sampler, writer: "Writer", payload: bytes) -> None:
    """Write the part of a request that the sampler keeps, for stores without a journal."""
    stored, tally = sampler.at_once(payload)
    writer.write_traces(stored)
    sampler.count(tally)
