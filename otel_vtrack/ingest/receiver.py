"""What both transports do with a request: check it, queue it, answer once it is stored."""

import asyncio
from collections.abc import Callable, Iterable
from concurrent import futures
from typing import Final

from otel_vtrack.ingest import faults
from otel_vtrack.ingest.commit import GroupCommit
from otel_vtrack.wire import framing, validate
from otel_vtrack.wire.signals import LOGS, METRICS, TRACES, Signal

_UTF_8: Final = "x-vtrack-experiment-bin"
EXPERIMENT_HEADERS: Final = ("x-vtrack-experiment", _UTF_8, "x-mlflow-experiment-id")
"""Headers, or gRPC metadata, that name the experiment of a request; the first one wins.

gRPC's metadata is ASCII, except where the name ends in `-bin`; over HTTP that is UTF-8 too.
"""

ADJUSTED_COUNT_HEADER: Final = "x-vtrack-adjusted-count"
"""Header of spans that were sampled elsewhere, as an import has them: each stands for so many."""

_LONGEST_EXPERIMENT: Final = 250
# What OpenTelemetry's 56 bits of a threshold can say.
_GREATEST_COUNT: Final = 2.0**56
# A request beyond this is processed in a thread, so that others get their turns.
_LARGE: Final = 1 << 20

Process = Callable[[Signal, bytes], bytes]
"""Returns what of a checked request of traces or logs is to be stored and passed on."""


class Receiver:
    """Takes requests of all signals, from gRPC and HTTP alike.

    Args:
        traces: Where traces go; what has nowhere to go is not taken.
        logs: Where log records go.
        metrics: Where metrics go.
        process: What is done with traces and logs before.
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

    async def export(
        self,
        signal: Signal,
        payload: bytes,
        experiment: str = "",
        adjusted_count: float = 0.0,
    ) -> bytes:
        """Store a request and return the serialized answer: empty when all of it was taken.

        What is only passed on is looked at no further than to count it.

        Args:
            signal: Which kind of request.
            payload: The request.
            experiment: Which one its header names; empty for none.
            adjusted_count: How many spans each stands for by its header; 0 for none.

        Raises:
            Exception: Why it was not; `faults.fault_of` puts it in the sender's terms.
        """
        commit = self._commits.get(signal.name)
        if not commit:
            raise faults.not_served(signal.name)
        if not commit.stores:
            checked = validate.Checked(payload, validate.outline(signal, payload))
        else:
            checked = validate.traces(payload) if signal is TRACES else validate.logs(payload)
        if checked.items:
            stored = forwarded = await self._processed(signal, checked.payload)
            if signal is not TRACES:
                adjusted_count = 0.0
            if commit.stores and (experiment or adjusted_count):
                stored = framing.with_experiment(stored, experiment, adjusted_count)
            done = commit.submit(stored, checked.items, forwarded=forwarded, experiment=experiment)
            await asyncio.wrap_future(done)
        if checked.rejected:
            commit.reject(checked.rejected)
        return _answer(signal, checked) if checked.message else b""

    async def _processed(self, signal: Signal, payload: bytes) -> bytes:
        if signal is METRICS or not self._process:
            return payload
        if len(payload) > _LARGE:
            return await asyncio.to_thread(self._process, signal, payload)
        return self._process(signal, payload)

    def drain(self, timeout: float) -> bool:
        """Take no more, store what waits, and say whether that was done in time.

        Blocks for up to `timeout` seconds; answers go out through the event loop, so call it
        from another thread and stop the transports after it.
        """
        with futures.ThreadPoolExecutor(len(self._commits)) as pool:
            # At once, so that the last signal does not go on taking what it can't store.
            drains = [pool.submit(commit.drain, timeout) for commit in self._commits.values()]
        return all(drain.result() for drain in drains)


def experiment_of(headers: Iterable[tuple[str, str | bytes]]) -> str:
    """Return the experiment that headers in lower case name; empty when none does.

    Raises:
        Refused: It is longer than 250 characters.
    """
    named = {key: value for key, value in headers if key in EXPERIMENT_HEADERS}
    for key in EXPERIMENT_HEADERS:
        if value := named.get(key):
            # HTTP's headers were read as Latin-1, so that this gives back what was sent.
            sent = value if isinstance(value, bytes) else value.encode("latin-1", errors="replace")
            text = sent.decode("utf-8" if key == _UTF_8 else "latin-1", errors="replace")
            if len(text) > _LONGEST_EXPERIMENT:
                raise faults.bad_data(f"{key} is longer than 250 characters; send a shorter name")
            return text
    return ""


def adjusted_count_of(headers: Iterable[tuple[str, str | bytes]]) -> float:
    """Return the adjusted count that headers in lower case tell; 0 when none does.

    Raises:
        Refused: It is no number from 1 to 2^56.
    """
    for key, value in headers:
        if key == ADJUSTED_COUNT_HEADER:
            try:
                number = float(value)
            except ValueError:
                number = 0.0
            if not 1 <= number <= _GREATEST_COUNT:
                raise faults.bad_data(f"{key} is no number from 1 to 2^56; correct it")
            return number
    return 0.0


def _answer(signal: Signal, checked: validate.Checked) -> bytes:
    answer = signal.response()
    answer.partial_success.error_message = checked.message
    setattr(answer.partial_success, signal.rejected, checked.rejected)
    return answer.SerializeToString()
