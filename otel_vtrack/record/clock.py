"""When changes happen: no two at the same time."""

import threading
import time

_lock = threading.Lock()
_last = 0


def now_ns() -> int:
    """Return nanoseconds since 1970, more than any earlier call in this process returned.

    So changes of one process fold in the order in which they were made, even when the system's
    clock stands still or goes back.
    """
    global _last  # noqa: PLW0603 - the one clock there is
    with _lock:
        _last = max(time.time_ns(), _last + 1)
        return _last
