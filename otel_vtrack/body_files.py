"""Bodies on disk, one after the other; which of them still count, others know.

A file is named after the position of its first body, so a body's place in it is the difference of
two positions. A file in which nothing counts any more is written over instead of a new one being
made: its blocks are there already, on the disk and in the system's cache, so that a write costs a
fourth, and while all is well the disk sees the same few megabytes again and again.
"""

import bisect
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

# The next file is begun beyond this, so the last body of one may make it larger.
_FILE_BYTES: Final = 8 << 20
# A file is written over from its start on, so that the start of a body tells whether it was.
_FIRST_BYTES: Final = 4_096
# More buffers than 1,024 in one call are an error of POSIX.
_MOST_BUFFERS: Final = 512
_SUFFIX: Final = ".bodies"


class BodyFiles:
    """Files beside a database that knows what is in them; not thread-safe.

    Args:
        beside: The database; its name begins theirs.
        fsync: Whether a write waits for the disk.
    """

    def __init__(self, beside: Path, *, fsync: bool = False) -> None:
        self._beside = beside
        self._fsync = fsync
        found = beside.parent.glob(f"{beside.name}-*{_SUFFIX}")
        self._starts = sorted(int(path.stem.rpartition("-")[2]) for path in found)
        self._spare: Path | None = None
        # The file that is written, and the one that was read last, with its start.
        self._written = -1
        self._read = (-1, -1)

    def begin(self, end: int) -> None:
        """Say where the last body that counts ends; before anything else.

        Raises:
            OSError: The files cannot be written.
        """
        while self._starts and self._starts[-1] > end:
            # It was begun for a body that nobody heard of.
            self._path(self._starts.pop()).unlink(missing_ok=True)
        if self._starts:
            self._open(self._starts[-1])

    def write(self, position: int, payloads: Sequence[bytes]) -> list[int]:
        """Write bodies that follow on one another; return the checksum of each.

        After an error the same position may be written again.

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
        """Return a body, or nothing if it is not there any more.

        Raises:
            OSError: The disk does not give it back.
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
        """Whether `forget` would let files go."""
        return len(self._starts) > 1 and self._starts[1] <= first

    def forget(self, first: int) -> None:
        """Let files go whose bodies are all before a position.

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
        """Give all files another name, as nobody knows what is in them."""
        for start in self._starts:
            self._path(start).rename(f"{aside}-{start:020}{_SUFFIX}")
        self._starts.clear()

    def close(self) -> None:
        """Close what is open; idempotent."""
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
            # The file's name has to last as well.
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
    # A disk that is nearly full takes a part, and says why it takes no more when asked again.
    rest = memoryview(b"".join(payloads))[written:]
    while rest:
        offset += written
        written = os.pwrite(file, rest, offset)
        rest = rest[written:]
