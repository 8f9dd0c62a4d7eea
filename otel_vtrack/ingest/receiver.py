"""Handles the requests of both transports: validate, queue, respond once stored."""

import asyncio
from collections.abc import Callable, Iterable
from concurrent import futures
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from otel_vtrack.errors import Overloaded
from otel_vtrack.ingest import faults
from otel_vtrack.ingest.commit import GroupCommit
from otel_vtrack.wire import framing, validate
from otel_vtrack.wire.signals import LOGS, METRICS, TRACES, Signal

_UTF_8: Final = "x-vtrack-experiment-bin"
EXPERIMENT_HEADERS: Final = ("x-vtrack-experiment", _UTF_8, "x-mlflow-experiment-id")
"""Headers, or gRPC metadata, that name the experiment of a request; the first one wins.

gRPC metadata is ASCII unless its name ends in `-bin`; that header is UTF-8 over HTTP too.
"""

ADJUSTED_COUNT_HEADER: Final = "x-vtrack-adjusted-count"
"""Header for spans sampled elsewhere, such as imported ones: how many each stands for."""

_LONGEST_EXPERIMENT: Final = 250
# The greatest count that OpenTelemetry's 56-bit thresholds can express.
_GREATEST_COUNT: Final = 2.0**56
# Larger requests are prepared in a thread, so that they do not block others.
_LARGE: Final = 1 << 20

_T = TypeVar("_T")

Process = Callable[[Signal, bytes], bytes]
"""Returns what to store and forward of a validated request of traces or logs."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A validated and processed request, for `Receiver.store`."""

    signal: Signal
    checked: validate.Checked
    commit: GroupCommit
    stored: bytes
    forwarded: bytes
    experiment: str


class Receiver:
    """Takes requests of all signals, from gRPC and HTTP alike.

    Args:
        traces: Where traces go. A signal without a destination is rejected.
        logs: Where log records go.
        metrics: Where metrics go.
        process: Applied to traces and logs before they are queued.
    """

    def __init__(
        self,
        traces: GroupCommit | None,
        logs: GroupCommit | None,
        metrics: GroupCommit | None = None,
        process: Process | None = None,
    ) -> None:
        given = {TRACES.name: traces, LOGS.name: logs, METRICS.name: metrics}
        self._commits = {name: commit for name, commit in given.items() if commit}
        self._process = process
        # Not asyncio's own pool: a stop, or a status, must not wait behind many large requests.
        self._pool = futures.ThreadPoolExecutor(thread_name_prefix="process")
        self._stopping = False

    async def export(
        self,
        signal: Signal,
        payload: bytes,
        experiment: str = "",
        adjusted_count: float = 0.0,
    ) -> bytes:
        """Prepare and store a request; see there."""
        return await self.store(await self.prepare(signal, payload, experiment, adjusted_count))

    async def prepare(
        self,
        signal: Signal,
        payload: bytes,
        experiment: str = "",
        adjusted_count: float = 0.0,
    ) -> Prepared:
        """Validate and process a request.

        A request that is only forwarded is parsed no further than to count its items.

        Args:
            signal: Kind of request.
            payload: The serialized request.
            experiment: Experiment named by its header; empty for none.
            adjusted_count: How many spans each span stands for, by its header; 0 for none.

        Raises:
            Exception: It cannot be stored; `faults.fault_of` returns what to report to the sender.
        """
        commit = self._commits.get(signal.name)
        if not commit:
            raise faults.not_served(signal.name)
        given = (commit, signal, payload, experiment, adjusted_count)
        if len(payload) > _LARGE:
            return await self.in_thread(self._prepared, *given)
        return self._prepared(*given)

    def _prepared(
        self,
        commit: GroupCommit,
        signal: Signal,
        payload: bytes,
        experiment: str,
        adjusted_count: float,
    ) -> Prepared:
        if not commit.stores:
            checked = validate.Checked(payload, validate.outline(signal, payload))
        else:
            checked = validate.traces(payload) if signal is TRACES else validate.logs(payload)
        stored = forwarded = checked.payload
        if checked.items:
            if self._process and signal is not METRICS:
                stored = forwarded = self._process(signal, stored)
            if signal is not TRACES:
                adjusted_count = 0.0
            if commit.stores and (experiment or adjusted_count):
                stored = framing.with_experiment(stored, experiment, adjusted_count)
        return Prepared(signal, checked, commit, stored, forwarded, experiment)

    async def store(self, ready: Prepared) -> bytes:
        """Store a request and return the serialized response, empty if all was accepted.

        Raises:
            Exception: It was not stored; `faults.fault_of` returns what to report to the sender.
        """
        checked, commit = ready.checked, ready.commit
        if checked.items:
            done = commit.submit(
                ready.stored,
                checked.items,
                forwarded=ready.forwarded,
                experiment=ready.experiment,
            )
            await asyncio.wrap_future(done)
        if checked.rejected:
            commit.reject(checked.rejected)
        return _answer(ready.signal, checked) if checked.message else b""

    async def in_thread(self, work: Callable[..., _T], *args: Any) -> _T:
        """Do work on a request that would hold up the event loop.

        Raises:
            Overloaded: The process is stopping.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)
        except (asyncio.CancelledError, RuntimeError):
            if self._stopping:
                raise Overloaded("the server is stopping; retry in a moment") from None
            raise

    def drain(self, timeout: float) -> bool:
        """Stop accepting requests, store those waiting, and return whether all finished in time.

        Blocks for up to `timeout` seconds. Responses are sent by the event loop, so call this
        from another thread, and stop the transports afterwards.
        """
        self._stopping = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        with futures.ThreadPoolExecutor(len(self._commits)) as pool:
            # In parallel, so that the last signal does not keep accepting what it cannot store.
            drains = [pool.submit(commit.drain, timeout) for commit in self._commits.values()]
        return all(drain.result() for drain in drains)


def experiment_of(headers: Iterable[tuple[str, str | bytes]]) -> str:
    """Return the experiment named by headers with lowercase names; empty if there is none.

    Raises:
        Refused: It is longer than 250 characters.
    """
    named = {key: value for key, value in headers if key in EXPERIMENT_HEADERS}
    for key in EXPERIMENT_HEADERS:
        if value := named.get(key):
            # HTTP headers were decoded as Latin-1, so this restores the bytes sent.
            sent = value if isinstance(value, bytes) else value.encode("latin-1", errors="replace")
            text = sent.decode("utf-8" if key == _UTF_8 else "latin-1", errors="replace")
            if len(text) > _LONGEST_EXPERIMENT:
                raise faults.bad_data(f"{key} is longer than 250 characters; send a shorter name")
            return text
    return ""


def adjusted_count_of(headers: Iterable[tuple[str, str | bytes]]) -> float:
    """Return the adjusted count given by headers with lowercase names; 0 if there is none.

    Raises:
        Refused: It is not a number from 1 to 2^56.
    """
    for key, value in headers:
        if key == ADJUSTED_COUNT_HEADER:
            try:
                number = float(value)
            except ValueError:
                number = 0.0
            if not 1 <= number <= _GREATEST_COUNT:
                raise faults.bad_data(f"{key} is not a number from 1 to 2^56; correct it")
            return number
    return 0.0


def _answer(signal: Signal, checked: validate.Checked) -> bytes:
    answer = signal.response()
    answer.partial_success.error_message = checked.message
    setattr(answer.partial_success, signal.rejected, checked.rejected)
    return answer.SerializeToString()
