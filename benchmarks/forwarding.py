"""How fast agents pass spans on, with what processor time and memory, and how late.

    python -m benchmarks.forwarding --requests 400 --callers 8 --rounds 3

The same load goes through each agent of `benchmarks.agents` in turn, again and again, to a sink
that only counts. Load, agent and sink are processes of their own on the same cores. A run is over
when all that was sent has arrived, so that nobody gains by what still waits; what never arrives is
counted as lost. All figures are medians of the rounds, memory is the most of them.

After that spans trickle through each at a thousand a second, and what is measured is the time from
the send of a request to its arrival. What goes straight to the sink is the least that can be had.
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
# Spans of a request and requests a second of the trickle; a service's exporter sends small ones.
TRICKLE_SPANS, TRICKLE_RATE = 20, 50
# Once nothing has arrived for so long, what is missing is lost.
_PATIENCE_SECONDS = 12.0
# Requests differ by version and environment, which take turns.
_KINDS = len(load.VERSIONS) * len(load.ENVIRONMENTS)


@dataclasses.dataclass(slots=True)
class _Arrived:
    """What the sink has seen since it was last told to begin anew."""

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
    """Take what arrives; `count` or `keep` begin anew, `look` and `all` say what there is."""
    memory.keep_freed_memory()
    asyncio.run(_sink(pipe))


def generate(pipe: Connection, requests: int) -> None:
    """Send as asked, (target, requests, callers) or (target, seconds); see `Load`."""
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
    """Send small requests at a steady pace, whatever becomes of them; when, by a trace of each."""
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
    """What one run of one agent came to."""

    spans_per_second: float
    cpu_seconds: float
    spans: int
    resident: int
    unshared: int
    lost: int
    turned_away: int


class Bench:
    """A sink and a load generator, which all agents share."""

    def __init__(self, requests: int) -> None:
        self._sink, self._sink_pipe = _start(sink)
        self.sink: str = self._sink_pipe.recv()
        self._load, self._load_pipe = _start(generate, requests)
        self._load_pipe.recv()

    def close(self) -> None:
        """End both."""
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
        """Wait until that many bytes have arrived, or no more do; say how many, and when."""
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
        """Wait until that many spans have arrived, or no more do; when, and of which traces."""
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
        """Send some requests of each kind, and see what the agent makes of them."""
        self._begin("keep")
        _, stats = self._send(target, _KINDS * 4, callers)
        self._kept(stats.requests * SPANS)
        self._sink_pipe.send("look")
        size, _ = self._sink_pipe.recv()
        return size / (stats.requests * SPANS)

    def run(self, target: str, process: psutil.Process | None, requests: int, callers: int) -> Run:
        """Send that many requests as fast as they are taken."""
        size = self._bytes_a_span(target, callers)
        self._begin("count")
        before = _cpu(process)
        with _watched(process) as most:
            began, stats = self._send(target, requests, callers)
            spans = stats.requests * SPANS
            # Those that were joined share bytes now and then.
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
        """Return how late each request arrived, in seconds, and how many did not."""
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
    """Note the most resident bytes while the block runs."""
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
                        # A store has room for some 90,000 spans before it is felt.
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
