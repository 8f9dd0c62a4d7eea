"""Forwarding throughput, processor time, memory and latency of agents.

    python -m benchmarks.forwarding --requests 400 --callers 8 --rounds 3

The same load goes through each agent of `benchmarks.agents` in turn, for several rounds, to a sink
that only counts. Load generator, agent and sink are separate processes on the same cores. A run
ends when everything sent has arrived, so queueing gives no advantage; what never arrives counts
as lost. All figures are medians over the rounds, except memory, which is the maximum.

Then each agent receives a trickle of a thousand spans a second, and the time from sending a
request to its arrival is measured. Sending directly to the sink gives the lower bound.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import statistics
import tempfile
import threading
import time
from collections.abc import Generator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
import psutil
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks import load
from benchmarks.agents import AGENTS, Agent, NotHere
from benchmarks.receive import SPANS, _start
from otel_vtrack.ingest import memory, otlp_grpc

STORES = ("vtrack-store",)
DIRECT = "no agent"
# Spans per request, and requests per second, of the trickle; a service's exporter sends small ones.
TRICKLE_SPANS, TRICKLE_RATE = 20, 50
# When nothing has arrived for this long, whatever is missing counts as lost.
_PATIENCE_SECONDS = 12.0
# Number of different requests: versions and environments take turns.
_KINDS = len(load.VERSIONS) * len(load.ENVIRONMENTS)


@dataclasses.dataclass(slots=True)
class _Arrived:
    """What the sink has received since it was last reset."""

    size: int = 0
    last: float = 0.0
    requests: list[tuple[float, bytes]] = dataclasses.field(
        default_factory=list[tuple[float, bytes]]
    )


async def _sink(pipe: Connection) -> None:
    arrived = _Arrived()
    keeps = False

    async def export(request: bytes, _context: Any) -> bytes:
        arrived.last = time.monotonic()
        arrived.size += len(request)
        if keeps:
            arrived.requests.append((arrived.last, request))
        return b""

    server = grpc.aio.server(options=otlp_grpc.server_options())
    handler = grpc.unary_unary_rpc_method_handler(export)
    service = load.TRACES_EXPORT.split("/")[1]
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {"Export": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    pipe.send(f"127.0.0.1:{port}")
    while (asked := await asyncio.to_thread(pipe.recv)) != "stop":
        if asked in {"count", "keep"}:
            arrived, keeps = _Arrived(), asked == "keep"
        elif asked == "look":
            pipe.send((arrived.size, arrived.last))
        else:
            pipe.send(arrived.requests)
    await server.stop(None)


def sink(pipe: Connection) -> None:
    """Run the sink; `count` or `keep` reset it, `look` and `all` return what has arrived."""
    memory.keep_freed_memory()
    asyncio.run(_sink(pipe))


def generate(pipe: Connection, requests: int) -> None:
    """Run the load generator: send (target, requests, callers) or (target, seconds) on request."""
    memory.keep_freed_memory()
    start = time.time_ns()
    payloads = list(load.requests(requests, SPANS, seed=1, start_time_unix_nano=start))
    small = list(load.requests(2_000, TRICKLE_SPANS, seed=2, start_time_unix_nano=start))
    pipe.send(None)
    while task := pipe.recv():
        if len(task) == 2:
            pipe.send(asyncio.run(_trickle(*task, small)))
            continue
        target, number, callers = task
        began = time.monotonic()
        part = [payloads[n % requests] for n in range(number)]
        stats = load.drive(target, part, callers, retries=200)
        pipe.send((began, stats))


async def _trickle(target: str, seconds: float, payloads: list[bytes]) -> dict[bytes, float]:
    """Send small requests at a steady rate, ignoring errors; return send times by trace id."""
    sent: dict[bytes, float] = {}
    tasks: list[asyncio.Task[Any]] = []
    number = int(seconds * TRICKLE_RATE)
    marks = [_trace_ids(payload)[0] for payload in payloads[:number]]
    async with grpc.aio.insecure_channel(target) as channel:
        await channel.channel_ready()
        export: Any = channel.unary_unary(load.TRACES_EXPORT)

        async def send(payload: bytes) -> None:
            with contextlib.suppress(grpc.RpcError):
                await export(payload, timeout=30)

        began = time.monotonic()
        for n, mark in enumerate(marks):
            await asyncio.sleep(max(0.0, began + n / TRICKLE_RATE - time.monotonic()))
            sent[mark] = time.monotonic()
            tasks.append(asyncio.create_task(send(payloads[n])))
        await asyncio.gather(*tasks)
    return sent


def _trace_ids(payload: bytes) -> list[bytes]:
    request = ExportTraceServiceRequest.FromString(payload)
    return [
        span.trace_id
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """Result of one run of one agent."""

    spans_per_second: float
    cpu_seconds: float
    spans: int
    resident: int
    unshared: int
    lost: int
    turned_away: int


class Bench:
    """A sink and a load generator, shared by all agents."""

    def __init__(self, requests: int) -> None:
        self._sink, self._sink_pipe = _start(sink)
        self.sink: str = self._sink_pipe.recv()
        self._load, self._load_pipe = _start(generate, requests)
        self._load_pipe.recv()

    def close(self) -> None:
        """Stop both."""
        self._sink_pipe.send("stop")
        self._load_pipe.send(None)
        self._sink.join(10)
        self._load.join(10)

    def _send(self, *task: Any) -> Any:
        self._load_pipe.send(task)
        return self._load_pipe.recv()

    def _begin(self, what: str) -> None:
        self._sink_pipe.send(what)

    def _drained(self, size: float) -> tuple[int, float]:
        """Wait until that many bytes have arrived, or arrivals stop; return how many, and when."""
        seen, last, changed = -1, 0.0, time.monotonic()
        while seen < size:
            self._sink_pipe.send("look")
            now, last = self._sink_pipe.recv()
            if now != seen:
                seen, changed = now, time.monotonic()
            elif time.monotonic() - changed > _PATIENCE_SECONDS:
                break
            time.sleep(0.02)
        return seen, last

    def _kept(self, spans: int) -> list[tuple[float, list[bytes]]]:
        """Wait until that many spans have arrived, or arrivals stop; return times and trace ids."""
        found: list[tuple[float, list[bytes]]] = []
        changed = time.monotonic()
        while sum(len(ids) for _, ids in found) < spans:
            time.sleep(0.1)
            self._sink_pipe.send("all")
            now = self._sink_pipe.recv()
            if len(now) != len(found):
                found = [(at, _trace_ids(payload)) for at, payload in now]
                changed = time.monotonic()
            elif time.monotonic() - changed > _PATIENCE_SECONDS:
                break
        return found

    def _bytes_a_span(self, target: str, callers: int) -> float:
        """Send some requests of each kind, and return how many bytes a span has after the agent."""
        self._begin("keep")
        _, stats = self._send(target, _KINDS * 4, callers)
        self._kept(stats.requests * SPANS)
        self._sink_pipe.send("look")
        size, _ = self._sink_pipe.recv()
        return size / (stats.requests * SPANS)

    def run(self, target: str, process: psutil.Process | None, requests: int, callers: int) -> Run:
        """Send that many requests as fast as the agent accepts them."""
        size = self._bytes_a_span(target, callers)
        self._begin("count")
        before = _cpu(process)
        with _watched(process) as most:
            began, stats = self._send(target, requests, callers)
            spans = stats.requests * SPANS
            # Allow a margin: requests that the agent merged sometimes share bytes.
            arrived, last = self._drained(spans * size * 0.9999)
        got = min(spans, round(arrived / size + 0.0001 * spans))
        return Run(
            got / (last - began),
            _cpu(process) - before,
            spans,
            most[0],
            process.memory_full_info().uss if process else 0,
            spans - got,
            sum(stats.codes.values()),
        )

    def trickle(self, target: str, seconds: float) -> tuple[list[float], int]:
        """Return each request's latency in seconds, and how many requests did not arrive."""
        for duration in (0.5, seconds):
            self._begin("keep")
            sent = self._send(target, duration)
            arrived = self._kept(len(sent) * TRICKLE_SPANS)
        at = {trace: when for when, ids in arrived for trace in ids}
        late = [at[trace] - when for trace, when in sent.items() if trace in at]
        return late, len(sent) - len(late)


def _cpu(process: psutil.Process | None) -> float:
    used = process.cpu_times() if process else None
    return used.user + used.system if used else 0.0


@contextlib.contextmanager
def _watched(process: psutil.Process | None) -> Generator[list[int]]:
    """Track the maximum resident bytes while the block runs."""
    most = [process.memory_info().rss if process else 0]
    over = threading.Event()

    def look() -> None:
        while process and not over.wait(0.05):
            most[0] = max(most[0], process.memory_info().rss)

    thread = threading.Thread(target=look)
    thread.start()
    yield most
    over.set()
    thread.join()


@contextlib.contextmanager
def _started(name: str, sink: str) -> Generator[Agent]:
    with tempfile.TemporaryDirectory(prefix="vtrack-bench-") as folder:
        agent = AGENTS[name](sink, Path(folder))
        try:
            agent.wait(60)
            yield agent
        finally:
            agent.stop()


def measure(names: Sequence[str], requests: int, callers: int, rounds: int, seconds: float) -> None:
    bench = Bench(min(requests, 200))
    try:
        runs: dict[str, list[Run]] = {name: [] for name in (DIRECT, *names)}
        late: dict[str, tuple[list[float], int]] = {}
        absent: dict[str, str] = {}
        for number in range(rounds):
            for name in list(runs):
                if name == DIRECT:
                    runs[name].append(bench.run(bench.sink, None, requests, callers))
                    if seconds and not number:
                        late[name] = bench.trickle(bench.sink, seconds)
                    continue
                try:
                    with _started(name, bench.sink) as agent:
                        process = psutil.Process(agent.process.pid)
                        if seconds and not number:
                            late[name] = bench.trickle(agent.target, seconds)
                        # A store buffers about 90,000 spans before its cost shows.
                        much = requests * 3 if name in STORES else requests
                        runs[name].append(bench.run(agent.target, process, much, callers))
                except NotHere as error:
                    absent[name] = str(error)
                    del runs[name]
        _report(runs, absent)
        if late:
            _report_late(late)
    finally:
        bench.close()


def _report(runs: dict[str, list[Run]], absent: dict[str, str]) -> None:
    def rate(name: str) -> float:
        return statistics.median(run.spans_per_second for run in runs[name])

    others = [name for name in runs if not name.startswith("vtrack") and name != DIRECT]
    ratios = "".join(f"  of {name:>14}" for name in others)
    print(f"agent           k spans/s  CPU µs/span  RSS MB  USS MB  lost  turned away{ratios}")
    for name, found in runs.items():
        cpu = statistics.median(run.cpu_seconds / run.spans * 1e6 for run in found)
        shares = "".join(f"  {rate(name) / rate(other):16.2f}x" for other in others)
        print(
            f"{name:14}  {rate(name) / 1e3:9.0f}  {cpu:11.2f}  "
            f"{max(run.resident for run in found) / 2**20:6.0f}  "
            f"{max(run.unshared for run in found) / 2**20:6.0f}  "
            f"{sum(run.lost for run in found):4}  {sum(run.turned_away for run in found):11}"
            f"{shares}",
            flush=True,
        )
    for name, why in absent.items():
        print(f"{name:14}  not measured: {why}")


def _report_late(late: dict[str, tuple[list[float], int]]) -> None:
    print(f"\nat {TRICKLE_SPANS * TRICKLE_RATE:,} spans/s  p50 ms  p99 ms  requests lost")
    for name, (found, lost) in late.items():
        if found:
            p50, p99 = np.quantile(found, [0.5, 0.99]) * 1e3
            print(f"{name:16}  {p50:6.1f}  {p99:6.1f}  {lost:13}")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--requests", type=int, default=400, help=f"of {SPANS} spans, a run")
    asked.add_argument("--callers", type=int, default=8, help="requests in flight")
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--seconds", type=float, default=6.0, help="of the trickle; 0 for none")
    asked.add_argument("--agents", nargs="+", choices=list(AGENTS), default=list(AGENTS))
    arguments = asked.parse_args()
    measure(
        arguments.agents,
        arguments.requests,
        arguments.callers,
        arguments.rounds,
        arguments.seconds,
    )


if __name__ == "__main__":
    main()
