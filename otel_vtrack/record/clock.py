"""The clock for changes: no two get the same timestamp."""

import threading
import time

_lock = threading.Lock()
_last = 0


def now_ns() -> int:
    """Return nanoseconds since 1970, greater than any value returned earlier in this process.

    This way, changes made by one process are folded in the order they were made, even if the
    system clock stands still or goes backwards.
    """
    global _last  # noqa: PLW0603 - the only clock
    with _lock:
        _last = max(time.time_ns(), _last + 1)
        return _last
