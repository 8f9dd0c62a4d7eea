"""Child processes that report when they are ready and are stopped by process id."""

import os
import re
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

from otel_vtrack.errors import VtrackError

_READY_WITHIN_SECONDS: Final = 60.0
_STOPS_WITHIN_SECONDS: Final = 30.0


class Child:
    """A process that prints a line when it is ready.

    Attributes:
        ready: The match of that line.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        until: str,
        log: Path,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        stop_with: signal.Signals = signal.SIGTERM,
    ) -> None:
        """Start the process and wait for the line.

        Args:
            command: Program and arguments.
            until: Regular expression for the line.
            log: File for its standard error.
            environment: Variables to add to this process's environment.
            folder: Its working directory.
            stop_with: The signal to stop it with.

        Raises:
            VtrackError: The process ended first, or took more than a minute.
        """
        self._log = log
        self._stop_with = stop_with
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(  # noqa: S603 - commands of ours
                command,
                env=os.environ | (environment or {}),
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        timer = threading.Timer(_READY_WITHIN_SECONDS, self._process.kill)
        timer.start()
        assert self._process.stdout is not None  # noqa: S101 - PIPE is set above
        match = None
        for line in self._process.stdout:
            match = re.search(until, line)
            if match:
                break
        timer.cancel()
        if match is None:
            self.stop()
            self._fail(command[0])
        self.ready = match

    def _fail(self, name: str) -> NoReturn:
        tail = self._log.read_text(errors="replace").strip()[-600:]
        raise VtrackError(f"{Path(name).name} did not start: {tail or 'it printed nothing'}")

    def stop(self) -> None:
        """Signal the process to end, wait, and kill it after half a minute; idempotent."""
        if self._process.poll() is None:
            self._process.send_signal(self._stop_with)
            try:
                self._process.wait(_STOPS_WITHIN_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
