"""Tells whether a file that is read again when it changes has changed."""

from pathlib import Path
from typing import NamedTuple


class Stamp(NamedTuple):
    """What changes with a file, also where a symbolic link on the way to it is swapped."""

    mtime_ns: int
    size: int
    inode: int
    device: int


def stamp(file: Path | None) -> Stamp | None:
    """Return that of a file; None where there is none."""
    try:
        found = file.stat() if file else None
    except OSError:
        return None
    return Stamp(found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev) if found else None
