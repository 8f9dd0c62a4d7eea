"""Keeps requests that a destination refuses for good, with the reason, in a folder of its own.

A request is two files: NAME.pb, the body as it was sent, and NAME.json, the reason for the
refusal. The body can be sent again by hand:

    curl --data-binary @NAME.pb -H 'content-type: application/x-protobuf' HOST:PORT/v1/traces
"""

import contextlib
import errno
import json
import threading
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

from otel_vtrack.forward.disk_queue import Body

_BODY: Final = ".pb"
_REASON: Final = ".json"


class DeadLetters:
    """The folder of one destination; thread-safe.

    Args:
        folder: Created with the first dead letter.
        max_bytes: Most bytes to keep; above that, the oldest are deleted.

    Attributes:
        bytes: Total size of what is kept.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}
        with contextlib.suppress(OSError):
            names = sorted(path.stem for path in folder.glob(f"*{_BODY}"))
            self._sizes = {name: self._size(name) for name in names}
        self.bytes = sum(self._sizes.values())

    def keep(self, signal: str, body: Body, status: str, message: str) -> None:
        """Keep a request and the reason it was refused.

        Raises:
            OSError: The files cannot be written, or are larger than all that is kept.
        """
        name = f"{time.time_ns():020d}-{signal}-{body.position}"
        reason = {
            "signal": signal,
            "status": status,
            "message": message,
            "items": body.items,
            "experiment": body.experiment,
            "received": _iso(body.at),
            "refused": _iso(time.time()),
        }
        text = json.dumps(reason, indent=2) + "\n"
        if len(body.payload) + len(text) > self._max_bytes:
            raise OSError(errno.EFBIG, "it is larger than dead_letter_max_bytes")
        with self._lock:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                self._path(name, _BODY).write_bytes(body.payload)
                self._path(name, _REASON).write_text(text)
            except OSError:
                self._remove(name)
                raise
            size = self._sizes[name] = self._size(name)
            self.bytes += size
            while self.bytes > self._max_bytes:
                self._remove(next(iter(self._sizes)))

    def _path(self, name: str, suffix: str) -> Path:
        return self.folder / f"{name}{suffix}"

    def _size(self, name: str) -> int:
        size = 0
        for suffix in (_BODY, _REASON):
            with contextlib.suppress(OSError):
                size += self._path(name, suffix).stat().st_size
        return size

    def _remove(self, name: str) -> None:
        self.bytes -= self._sizes.pop(name, 0)
        for suffix in (_BODY, _REASON):
            with contextlib.suppress(OSError):
                self._path(name, suffix).unlink(missing_ok=True)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")
