"""Holds writers back while something needs exclusive use of the tables."""

import contextlib
import threading
from collections.abc import Generator


class Gate:
    """Admits many callers of `open` at a time, or one of `shut`; thread-safe.

    `shut` has priority: while it waits or runs, new callers of `open` wait.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._shut = False

    @contextlib.contextmanager
    def open(self) -> Generator[None]:
        """Enter together with others; waits while the gate is shut."""
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
        """Enter alone; waits until all inside have left."""
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
