"""Detects whether a file has changed and has to be read again."""

from pathlib import Path
from typing import NamedTuple


class Stamp(NamedTuple):
    """Metadata that changes with a file, even if a symbolic link in its path is swapped.

    Attributes:
        ctime_ns: Also changes with the permissions: an unreadable file may have become readable.
    """

    mtime_ns: int
    ctime_ns: int
    size: int
    inode: int
    device: int


def stamp(file: Path | None) -> Stamp | None:
    """Return a file's stamp; None if there is no file."""
    try:
        found = file.stat() if file else None
    except OSError:
        return None
    if found is None:
        return None
    return Stamp(found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev)
