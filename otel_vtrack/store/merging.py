"""Lets the embedded engine's merges wait for whoever waits for an answer.

Merges rewrite what was inserted, so that questions find few large parts. Under full load they took
a third of the processor from inserts, though nobody waits for them. As SCHED_IDLE (see sched(7))
their threads run when nothing else of the process would, and catch up afterwards.

The engine can do likewise by itself (`os_threads_nice_value_merge_mutate`), but only for a process
with CAP_SYS_NICE, and a nice value is not enough: woken threads do not preempt such a one at once.
"""

import contextlib
import functools
import logging
import os
import threading
from pathlib import Path
from typing import Final

from clickhouse_connect.driver.client import Client

_log = logging.getLogger(__name__)

MOST_PARTS: Final = 500
"""In a partition, before merges no longer wait; at 1,000 the engine slows inserts down itself."""

_THREADS: Final = "MergeMutate"
_OWN: Final = Path("/proc/self/task")
_PARTS: Final = (
    "SELECT max(parts) FROM (SELECT count() AS parts FROM system.parts"
    " WHERE active AND database = currentDatabase() GROUP BY table, partition_id)"
)


def give_way(client: Client, most_parts: int = MOST_PARTS) -> None:
    """Let merges wait while there are not too many parts; to be called now and then.

    Only Linux can do that; elsewhere, and where it is forbidden, merges run as they always do.
    """
    if not hasattr(os, "SCHED_IDLE"):  # pragma: no cover - not Linux
        return
    threads = _merging()
    if not threads:
        return
    waits = int(client.query(_PARTS).result_rows[0][0]) <= most_parts
    policy = os.SCHED_IDLE if waits else os.SCHED_OTHER
    for thread in threads:
        # It may have ended meanwhile.
        with contextlib.suppress(ProcessLookupError):
            try:
                if os.sched_getscheduler(thread) != policy:
                    os.sched_setscheduler(thread, policy, os.sched_param(0))
            except PermissionError as error:
                _say_forbidden(error.strerror)


@functools.cache
def _say_forbidden(reason: str) -> None:
    """Say it once."""
    _log.warning(
        "merges take from who sends or asks, as this process may not call sched_setscheduler (%s):"
        " allow it, in the unit of systemd or the container's seccomp profile",
        reason,
    )


def _merging() -> list[int]:
    """Return the ids of the engine's threads that merge; they have the name once they did.

    One of Python's may have it too, after a statement that merged at once.
    """
    asking = {thread.native_id for thread in threading.enumerate()}
    found: list[int] = []
    for task in _OWN.iterdir() if _OWN.is_dir() else ():
        with contextlib.suppress(OSError):
            if (task / "comm").read_text(encoding="ascii").startswith(_THREADS):
                found.append(int(task.name))
    return [thread for thread in found if thread not in asking]
