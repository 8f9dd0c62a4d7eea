"""Controls freed memory: keep it for the next request, or return it to the system."""

import ctypes
from typing import Final

# <malloc.h>
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8
_KEEP: Final = ((_TRIM_THRESHOLD, 256 << 20), (_TOP_PAD, 16 << 20), (_MMAP_THRESHOLD, 64 << 20))
_GIVE_BACK: Final = ((_TRIM_THRESHOLD, 4 << 20), (_MMAP_THRESHOLD, 256 << 10), (_ARENA_MAX, 1))


def keep_freed_memory() -> bool:
    """Make glibc keep up to 256 MiB of freed memory, and return whether it complied.

    A request takes a few hundred kilobytes in the transport and as much again in the parser. By
    default glibc maps such blocks and unmaps them again, and the page faults cost more than
    the parse: 16 callers reached 230 k spans/s without this and 400 k with it. Call it once,
    before servers start. It does nothing with other C libraries.
    """
    return _tell(_KEEP)


def give_freed_memory_back() -> bool:
    """Make glibc keep little freed memory and use one arena, for a small process.

    After 4 callers had sent 340 kB requests for 6 s, a server that only forwards had 73 to 74 MB
    resident with this and 88 to 92 MB without. Otherwise like `keep_freed_memory`.
    """
    return _tell(_GIVE_BACK)


def _tell(settings: tuple[tuple[int, int], ...]) -> bool:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return all(mallopt(option, value) == 1 for option, value in settings)
