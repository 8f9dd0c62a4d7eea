"""Lets the embedded engine's merges yield to queries and inserts.

Merges rewrite inserted data so that queries find few large parts. Under full load they took a
third of the processor from inserts, though nobody waits for them. As SCHED_IDLE (see sched(7))
their threads run only when no other thread of the process would, and catch up afterwards.

The engine has a setting for this (`os_threads_nice_value_merge_mutate`), but it needs
CAP_SYS_NICE, and a nice value is not enough: woken threads do not preempt a nice one at once.
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
"""Most parts in a partition while merges yield; from 1,000 the engine itself delays inserts."""

_THREADS: Final = "MergeMutate"
_OWN: Final = Path("/proc/self/task")
_PARTS: Final = (
    "SELECT max(parts) FROM (SELECT count() AS parts FROM system.parts"
    " WHERE active AND database = currentDatabase() GROUP BY table, partition_id)"
)


def give_way(client: Client, most_parts: int = MOST_PARTS) -> None:
    """Let merges yield while there are not too many parts; call this periodically.

    Only Linux supports this; elsewhere, and where it is forbidden, merges run as usual.
    """
    if not hasattr(os, "SCHED_IDLE"):  # pragma: no cover - not Linux
        return
    threads = _merging()
    if not threads:
        return
    waits = int(client.query(_PARTS).result_rows[0][0]) <= most_parts
    policy = os.SCHED_IDLE if waits else os.SCHED_OTHER
    for thread in threads:
        # The thread may have ended meanwhile.
        with contextlib.suppress(ProcessLookupError):
            try:
                if os.sched_getscheduler(thread) != policy:
                    os.sched_setscheduler(thread, policy, os.sched_param(0))
            except PermissionError as error:
                _say_forbidden(error.strerror)


@functools.cache
def _say_forbidden(reason: str) -> None:
    """Log, once, that changing the scheduling policy is forbidden."""
    _log.warning(
        "merges compete with requests and queries, because this process may not call"
        " sched_setscheduler (%s): allow it in the systemd unit or the container's seccomp profile",
        reason,
    )


def _merging() -> list[int]:
    """Return the IDs of the engine's merge threads, which are named so once they have merged.

    Excludes Python's threads: one may have the name too, after a statement that merged in it.
    """
    asking = {thread.native_id for thread in threading.enumerate()}
    found: list[int] = []
    for task in _OWN.iterdir() if _OWN.is_dir() else ():
        with contextlib.suppress(OSError):
            if (task / "comm").read_text(encoding="ascii").startswith(_THREADS):
                found.append(int(task.name))
    return [thread for thread in found if thread not in asking]
