"""Deletes days whose retention period is over, one whole day at a time."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, Final

from otel_vtrack import log
from otel_vtrack.errors import StoreUnavailable, VtrackError
from otel_vtrack.record import deletion
from otel_vtrack.store.client import Store

_log = logging.getLogger(__name__)

LOOK_EVERY_SECONDS: Final = 600.0
"""How often to check: a wrong clock can be corrected within this time."""

_DAY_NS: Final = 86_400 * 10**9


class Retention:
    """Checks periodically for expired days and deletes them.

    A day is deleted at the second consecutive check that finds it expired; the first one only logs
    it. A clock that is wrong for a short time therefore deletes nothing, and one that stays wrong
    deletes nothing without warning.

    Args:
        store: The store to delete from.
        days: Minimum retention of traces and log records, which are deleted by whole UTC days.
        every: Seconds between checks.
        clock: Returns the time in nanoseconds since 1970.
    """

    def __init__(
        self,
        store: Store,
        days: int,
        every: float,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store = store
        self._days = days
        self._every = every
        self._clock = clock
        self._found_ns: int | None = None
        self._deleted = deletion.Old(0, 0)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)

    def start(self) -> None:
        """Start the thread, which checks at once."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; the store continues a deletion under way, and the next start completes it."""
        self._stopping.set()
        self._thread.join()

    def status(self) -> dict[str, Any]:
        """Return how much was deleted since the start."""
        traces, log_records = self._deleted
        return {"days": self._days, "deleted_traces": traces, "deleted_log_records": log_records}

    def look(self) -> None:
        """Delete what this check and the previous one found expired; log what the next may delete.

        Raises:
            VtrackError: The store does not answer, or not everything was deleted.
        """
        until_ns = max(0, self._clock() // _DAY_NS - self._days) * _DAY_NS
        found_ns, self._found_ns = self._found_ns, until_ns
        if found_ns is not None:
            goes_ns = min(found_ns, until_ns)
            gone = deletion.delete_before(self._store, goes_ns, self._pause)
            if any(gone):
                self._deleted = deletion.Old(*map(sum, zip(self._deleted, gone, strict=True)))
                _log.info("retention: deleted %s from before %s", _said(gone), _date(goes_ns))
        if found_ns is None or until_ns > found_ns:
            due = deletion.count_before(self._store, until_ns)
            if any(due):
                _log.info(
                    "retention: will delete %s from before %s in %g minutes, unless the clock is"
                    " set back by then",
                    _said(due),
                    _date(until_ns),
                    self._every / 60,
                )

    def _pause(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise StoreUnavailable("the server is stopping")

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except VtrackError as error:
                if not self._stopping.is_set():
                    _log.warning("retention: could not delete, retrying: %s", log.said(error))
            except Exception:  # noqa: BLE001 - the thread must continue
                _log.exception("retention: could not delete, retrying")
            if self._stopping.wait(self._every):
                return


def _said(old: deletion.Old) -> str:
    return f"{old.trace_count} traces and {old.log_record_count} log records"


def _date(ns: int) -> str:
    return datetime.fromtimestamp(ns // 10**9, timezone.utc).strftime("%Y-%m-%d")
