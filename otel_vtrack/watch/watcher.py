"""Checks every deployment under watch at regular intervals."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from otel_vtrack import log
from otel_vtrack.analysis import deployed, watching
from otel_vtrack.analysis.deployed import WatchedDeployment
from otel_vtrack.analysis.watching import Board, Look
from otel_vtrack.errors import InvalidArgument, VtrackError
from otel_vtrack.query import watch as query
from otel_vtrack.record import watch as record
from otel_vtrack.store.client import Store
from otel_vtrack.watch.delivery import Delivery

_log = logging.getLogger(__name__)

_Key = tuple[tuple[str, ...], tuple[int, ...]]


class Watcher:
    """The watch over one store.

    All state that must persist is in the store; the object itself keeps only the last look at
    each deployment, and which deployments need no more looks.

    Args:
        store: What to watch, and where to store findings.
        interval: Seconds between looks.
        deliveries: Deliver the findings; started and stopped with the watcher.
        clock: Returns the time in nanoseconds since 1970.
    """

    def __init__(
        self,
        store: Store,
        interval: float,
        deliveries: Sequence[Delivery] = (),
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store = store
        self._interval = interval
        self._deliveries = tuple(deliveries)
        self._clock = clock
        self._board = Board()
        self._ended: set[_Key] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def board(self) -> Board:
        """Return what is under watch, with the last looks."""
        return self._board

    def start(self) -> None:
        """Start the thread, whose first look is one interval from now, and the deliveries."""
        self._thread.start()
        for each in self._deliveries:
            each.start()

    def stop(self) -> None:
        """Stop, after the store has answered the query in progress."""
        self._stopping.set()
        for each in self._deliveries:
            each.stop()
        self._thread.join()

    def look(self) -> None:
        """Look once at every deployment under watch.

        Raises:
            VtrackError: The store does not answer.
        """
        now_ns = self._clock()
        before = {_key(each.deployment): each for each in self._board.looks}
        looks: list[Look] = []
        for each in deployed.deployments(self._store, now_ns):
            if self._stopping.is_set():
                return
            last = before.get(_key(each))
            try:
                looks.append(self._look_at(each, last, now_ns))
            except InvalidArgument as error:
                # It has too much data. The other deployments are still looked at.
                _log.warning("watch: could not check one deployment: %s", log.said(error))
        self._ended = {
            _key(each.deployment) for each in looks if each.deployment.end_time_ns is not None
        }
        self._board = Board(now_ns, tuple(looks))

    def _look_at(self, deployment: WatchedDeployment, last: Look | None, now_ns: int) -> Look:
        if last is not None:
            # After a deployment ends it is looked at once more, for traces since the last look.
            is_over = deployment.end_time_ns is not None and _key(deployment) in self._ended
            if is_over or last.deployment == deployment:
                return replace(last, deployment=deployment)
        return self._told(watching.look(self._store, deployment), now_ns)

    def _told(self, seen: Look, now_ns: int) -> Look:
        """Store the events that follow from a look, and trigger their delivery."""
        ids = {
            id_: each.name
            for each in watching.METRICS
            for id_ in watching.event_ids(seen.deployment, each.name, watching.REGRESSION)
        }
        known = {ids[each] for each in query.known(self._store, ids)}
        found = [each for each in watching.events(seen, now_ns) if each.metric not in known]
        for each in record.add_events(self._store, found):
            _log.warning("watch: found %s: see `vtrack watch events`", each.event_id)
        if found:
            for delivery in self._deliveries:
                delivery.wake()
        return replace(seen, alarmed=frozenset(known.union(each.metric for each in found)))

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            self._try_to_look()

    def _try_to_look(self) -> None:
        try:
            self.look()
        except VtrackError as error:
            _log.warning("watch: could not check deployments, retrying: %s", log.said(error))
        except Exception:  # noqa: BLE001 - the thread must continue
            _log.exception("watch: could not check deployments, retrying")


def _key(deployment: WatchedDeployment) -> _Key:
    return deployment.identity, deployment.moments[:1]
