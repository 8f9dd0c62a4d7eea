"""Holds writers back while something needs the tables to itself."""

import contextlib
import threading
from collections.abc import Generator


class Gate:
    """Many may be inside `open` at a time, or one inside `shut`; thread-safe.

    Whoever wants it shut comes first: new ones wait for it outside.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._shut = False

    @contextlib.contextmanager
    def open(self) -> Generator[None]:
        """Be one of many; waits while it is shut."""
        with self._changed:
            self._changed.wait_for(lambda: not self._shut)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def shut(self) -> Generator[None]:
        """Be alone; waits until all inside have left."""
        with self._changed:
            self._changed.wait_for(lambda: not self._shut)
            self._shut = True
            self._changed.wait_for(lambda: not self._inside)
        try:
            yield
        finally:
            with self._changed:
                self._shut = False
                self._changed.notify_all()
