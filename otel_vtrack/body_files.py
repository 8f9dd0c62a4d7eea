"""Bodies stored on disk one after the other; the caller keeps track of which are still needed.

A file is named after the position of its first body, so a body's offset in it is the difference of
two positions. A file with no needed body is overwritten instead of creating a new one: its blocks
are already allocated on disk and in the page cache, so a write costs a quarter, and in normal
operation the disk sees the same few megabytes again and again.
"""

import bisect
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

# A new file is begun beyond this; the last body of a file may make it larger.
_FILE_BYTES: Final = 8 << 20
# Bytes to checksum: files are overwritten front to back, so an overwritten body lost its start.
_FIRST_BYTES: Final = 4_096
# POSIX: more than 1,024 buffers in one call may be an error.
_MOST_BUFFERS: Final = 512
_SUFFIX: Final = ".bodies"


class BodyFiles:
    """Files next to a database that records what is in them; not thread-safe.

    Args:
        beside: The database's path; the files' names begin with it.
        fsync: Whether to sync each write to disk.
    """

    def __init__(self, beside: Path, *, fsync: bool = False) -> None:
        self._beside = beside
        self._fsync = fsync
        found = beside.parent.glob(f"{beside.name}-*{_SUFFIX}")
        self._starts = sorted(int(path.stem.rpartition("-")[2]) for path in found)
        self._spare: Path | None = None
        # Descriptor of the file being written, and start and descriptor of the one last read.
        self._written = -1
        self._read = (-1, -1)

    def begin(self, end: int) -> None:
        """Open the files; call this first.

        Args:
            end: Where the last needed body ends.

        Raises:
            OSError: The files cannot be written.
        """
        while self._starts and self._starts[-1] > end:
            # It was begun for a body that was never recorded.
            self._path(self._starts.pop()).unlink(missing_ok=True)
        if self._starts:
            self._open(self._starts[-1])

    def write(self, position: int, payloads: Sequence[bytes]) -> list[int]:
        """Write consecutive bodies and return the checksum of each.

        After an error, the same position may be written again.

        Raises:
            OSError: The disk is full, or read-only.
        """
        if not self._starts or position - self._starts[-1] >= _FILE_BYTES:
            self._begin_file(position)
        offset = position - self._starts[-1]
        for at in range(0, len(payloads), _MOST_BUFFERS):
            part = payloads[at : at + _MOST_BUFFERS]
            _write_whole(self._written, part, offset)
            offset += sum(map(len, part))
        if self._fsync:
            os.fsync(self._written)
        return [_checksum(payload) for payload in payloads]

    def read(self, position: int, size: int, checksum: int) -> bytes:
        """Return a body, or empty bytes if it no longer exists.

        Raises:
            OSError: The disk cannot be read.
        """
        at = bisect.bisect_right(self._starts, position) - 1
        if at < 0:
            return b""
        start = self._starts[at]
        try:
            body = os.pread(self._descriptor(start), size, position - start)
        except FileNotFoundError:
            return b""
        return body if len(body) == size and _checksum(body) == checksum else b""

    def frees(self, first: int) -> bool:
        """Return whether `forget` would release files."""
        return len(self._starts) > 1 and self._starts[1] <= first

    def forget(self, first: int) -> None:
        """Release files whose bodies are all before a position.

        Raises:
            OSError: They cannot be deleted.
        """
        while self.frees(first):
            path = self._path(self._starts.pop(0))
            self._close_read()
            if self._spare is None and _size(path) <= 2 * _FILE_BYTES:
                self._spare = path
            else:
                path.unlink(missing_ok=True)

    def set_aside(self, aside: Path) -> None:
        """Rename all files, because their contents are unknown."""
        for start in self._starts:
            self._path(start).rename(f"{aside}-{start:020}{_SUFFIX}")
        self._starts.clear()

    def close(self) -> None:
        """Close open files; idempotent."""
        self._close_read()
        if self._written >= 0:
            os.close(self._written)
            self._written = -1

    def _path(self, start: int) -> Path:
        return Path(f"{self._beside}-{start:020}{_SUFFIX}")

    def _begin_file(self, start: int) -> None:
        if self._spare:
            self._spare.rename(self._path(start))
            self._spare = None
        self._open(start)
        self._starts.append(start)
        if self._fsync:
            # Sync the directory too, so that the file's name is durable.
            folder = os.open(self._beside.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _open(self, start: int) -> None:
        opened = os.open(self._path(start), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if self._written >= 0:
            os.close(self._written)
        self._written = opened

    def _descriptor(self, start: int) -> int:
        if start == self._starts[-1]:
            return self._written
        if self._read[0] != start:
            self._close_read()
            self._read = (start, os.open(self._path(start), os.O_RDONLY | os.O_CLOEXEC))
        return self._read[1]

    def _close_read(self) -> None:
        if self._read[1] >= 0:
            os.close(self._read[1])
        self._read = (-1, -1)


def _checksum(payload: bytes) -> int:
    return zlib.crc32(payload[:_FIRST_BYTES])


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _write_whole(file: int, payloads: Sequence[bytes], offset: int) -> None:
    written = os.pwritev(file, payloads, offset)
    if written == sum(map(len, payloads)):
        return
    # A nearly full disk accepts a part; the next write raises the reason.
    rest = memoryview(b"".join(payloads))[written:]
    while rest:
        offset += written
        written = os.pwrite(file, rest, offset)
        rest = rest[written:]
