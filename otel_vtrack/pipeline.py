"""What lies behind the transports: the store, its journals, and the queues in front of them."""

import logging
import time
from typing import TYPE_CHECKING, Final

from otel_vtrack.errors import SettingsError
from otel_vtrack.ingest.backlog import Backlog
from otel_vtrack.ingest.commit import GroupCommit
from otel_vtrack.ingest.receiver import LOGS, TRACES, Receiver
from otel_vtrack.settings import Settings
from otel_vtrack.store import migrate
from otel_vtrack.store.client import Store
from otel_vtrack.store.journal import Journal
from otel_vtrack.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)

# How long a query waits for what was acknowledged before it: some ten times a large insert.
_SETTLE_SECONDS: Final = 5.0


class Pipeline:
    """An open store, and the way of telemetry into it. Its methods block.

    Attributes:
        store: Tables up to date.
        receiver: Takes requests for it.
    """

    def __init__(self, settings: Settings) -> None:
        """Open it.

        Raises:
            StoreError: The store cannot be used; the message says why and what to do.
            SettingsError: Its tables are behind, and nobody asked to bring them up to date.
        """
        self._settings = settings
        self._backlogs: list[Backlog] = []
        self._stop_by: float | None = None
        self.store = Store(settings.store_url, cluster=settings.cluster)
        try:
            self._migrate()
            self.receiver = Receiver(*self._commits())
        except BaseException:
            for backlog in self._backlogs:
                backlog.close(0)
            self.store.close()
            raise
        self.store.settle = lambda: self._wait(_SETTLE_SECONDS)

    def recover(self, timeout: float) -> bool:
        """Wait until what the last run left in the journals is in the tables.

        Returns:
            Whether there is nothing more to wait for: it is there, or the store refuses it.
        """
        return self._wait(timeout) or any(backlog.refusing for backlog in self._backlogs)

    def drain(self) -> None:
        """Take no more, and make what waits safe, within the time that settings give."""
        if not self.receiver.drain(self._time_left()):
            _log.warning(
                "not all that waited was stored within %g s; its senders were told to send it "
                "again",
                self._settings.drain_timeout_seconds,
            )

    def close(self) -> None:
        """Drain, bring what the journals have into the tables if time is left, close all."""
        self.drain()
        left = [backlog for backlog in self._backlogs if not backlog.close(self._time_left())]
        if left:
            _log.warning(
                "what was acknowledged is not all in the tables yet: it is safe in the journal, "
                "and the next start takes it up"
            )
        self.store.close()

    def _time_left(self) -> float:
        """Seconds until the end that the first call sets."""
        now = time.monotonic()
        if self._stop_by is None:
            self._stop_by = now + self._settings.drain_timeout_seconds
        return max(0.0, self._stop_by - now)

    def _wait(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        # Each is asked, also when there is no time left: it may have nothing that waits.
        done = [backlog.wait(max(0.0, deadline - time.monotonic())) for backlog in self._backlogs]
        return all(done)

    def _migrate(self) -> None:
        if self.store.embedded or self._settings.migrate:
            for file in migrate.apply(self.store):
                _log.info("applied %s/%s", file.kind, file.name)
            return
        behind = [file.name for file in migrate.status(self.store) if file.state != "applied"]
        if behind:
            raise SettingsError(
                f"the store's tables are not up to date ({len(behind)} files, {behind[0]} "
                "first): run vtrack migrate, or start with --migrate"
            )

    def _commits(self) -> list[GroupCommit]:
        """Queue traces and logs for the store: behind a journal when it is embedded."""
        writer = Writer(self.store, durability=self._settings.durability)
        commits: list[GroupCommit] = []
        for name, write in ((TRACES.name, writer.write_traces), (LOGS.name, writer.write_logs)):
            stored: Callable[[bytes], None] = write
            if self.store.folder is not None:
                fsync = self._settings.durability == "fsync"
                backlog = Backlog(
                    Journal(self.store.folder / f"journal-{name}.sqlite", fsync=fsync),
                    write,
                    name=name,
                    max_bytes=self._settings.backlog_max_bytes,
                )
                self._backlogs.append(backlog)
                stored = backlog.append
            commits.append(
                GroupCommit(
                    stored,
                    name=name,
                    max_batch_bytes=self._settings.max_batch_bytes,
                    max_waiting_bytes=self._settings.queue_max_bytes,
                    max_waiting_requests=self._settings.queue_max_requests,
                )
            )
        return commits
