"""The whole path: a real `vtrack serve` receives spans over gRPC, stores them, and is queried.

    python -m benchmarks.whole --spans 10000000 --callers 16

Server and load generator are separate processes on the same cores. The load is generated in
advance and sent without a pause, so that the server has no unmeasured time to catch up.
The same run measures how fast one process parses each request with upb and discards it,
which is the minimum work of any Python receiver.
"""

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks import load, search
from benchmarks.receive import SPANS, _start
from otel_vtrack.client import Client
from otel_vtrack.ingest import memory
from otel_vtrack.store.client import Store

CHUNK_REQUESTS = 2_000
SERVICE = "support-assistant"
# Time between the starts of consecutive traces, so that 10 million spans cover 3.5 hours.
STEP_NANO = 10_000_000


def generate(pipe: Connection, spans: int, target: str, callers: int) -> None:
    """Generate all requests, then send them without a pause; report `Stats` for each chunk.

    First reports how many spans a second one process parses, and some of the trace ids.
    """
    memory.keep_freed_memory()
    with tempfile.TemporaryFile() as file:
        sizes: list[int] = []
        traces: list[str] = []
        payloads = load.requests(
            -(-spans // SPANS),
            SPANS,
            seed=7,
            start_time_unix_nano=time.time_ns() - spans // 8 * STEP_NANO,
            step_nano=STEP_NANO,
            service=SERVICE,
        )
        parsing = 0.0
        for payload in payloads:
            file.write(payload)
            sizes.append(len(payload))
            if len(sizes) % 20 == 1:
                began = time.perf_counter()
                request = ExportTraceServiceRequest.FromString(payload)
                parsing += time.perf_counter() - began
                traces.append(request.resource_spans[0].scope_spans[0].spans[0].trace_id.hex())
        pipe.send((len(traces) * SPANS / parsing, traces))
        file.seek(0)
        for at in range(0, len(sizes), CHUNK_REQUESTS):
            chunk = sizes[at : at + CHUNK_REQUESTS]
            pipe.send(load.drive(target, map(file.read, chunk), callers, retries=100))
    pipe.send(None)


def server(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """Start a `vtrack serve` on a folder; return it and the address where it receives spans."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "otel_vtrack", "serve", "--store-url", f"chdb://{folder}"),
            *("--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"),
            # The load has several versions, and watching them would slow down what is measured.
            *("--watch-interval-seconds", "0"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    ready = process.stdout.readline()
    return process, ready.split("gRPC ")[1].split(",")[0]


def _median_ms(times: int, ask: Callable[[], Any]) -> float:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        ask()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1e3


def quiet_after(process: psutil.Process) -> float:
    """Wait until a process is idle; return the seconds that took."""
    began = time.perf_counter()
    while process.cpu_percent(2.0) > 10:
        pass
    return time.perf_counter() - began


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--spans", type=int, default=10_000_000)
    asked.add_argument("--callers", type=int, default=16)
    arguments = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="vtrack-bench-") as name:
        measure(Path(name), arguments.spans, arguments.callers)


def measure(folder: Path, spans: int, callers: int) -> None:
    process, target = server(folder)
    try:
        used = psutil.Process(process.pid)
        time.sleep(1)
        print(f"resident memory idle: {used.memory_info().rss / 2**20:.0f} MB")
        generator, pipe = _start(generate, spans, target, callers)
        parsed, traces = pipe.recv()
        print("spans stored  k spans/s  of parse  p50 ms  p99 ms  resident MB")
        stored, peak, seconds = 0, 0, 0.0
        while True:
            while not pipe.poll(0.2):
                peak = max(peak, used.memory_info().rss // 2**20)
            if (stats := pipe.recv()) is None:
                break
            assert not stats.failed, stats.codes
            stored += stats.requests * SPANS
            seconds += stats.seconds
            rate = stats.requests * SPANS / stats.seconds
            print(
                f"{stored:12,}  {rate / 1e3:9.1f}  {rate / parsed:8.1%}  "
                f"{stats.percentile(0.5) * 1e3:6.0f}  {stats.percentile(0.99) * 1e3:6.0f}  "
                f"{used.memory_info().rss // 2**20:11,}",
                flush=True,
            )
        print(f"whole run: {stored / seconds / 1e3:.1f} k spans/s")
        generator.join()
        print(f"resident memory at most, under load: {peak} MB")
        with Client(target) as client:
            settled = _median_ms(1, lambda: list(client.search_versions()))
            print(f"until all that was acknowledged is in the tables: {settled / 1e3:.1f} s")
            print(f"until what was put off is merged: {quiet_after(used):.0f} s")
            trace_id = iter(random.Random(1).choices(traces, k=220))
            # The first makes the server load in which minute each recent trace started.
            for name, times in (("get one of the first traces", 20), ("get one trace", 200)):
                taken = _median_ms(times, lambda: client.get_trace(next(trace_id)))
                print(f"{name}: {taken:.1f} ms")
                quiet_after(used)
            compare = _median_ms(
                10,
                lambda: client.compare_versions("2.3.1", "2.4.0", environment="production"),
            )
            print(f"compare two versions: {compare:.0f} ms")
            apart = _median_ms(
                5,
                lambda: client.list_differences("2.3.1", "2.4.0", environment="production"),
            )
            print(f"list what tells two versions apart: {apart:.0f} ms")
            print(f"list versions: {_median_ms(10, lambda: list(client.search_versions())):.1f} ms")
            search.report(client, _median_ms)
            assessed = random.Random(2).choices(traces, k=100)
            for each in assessed:
                client.create_assessment(each, "relevance", 0.8, rationale="It names the plan.")
            quiet_after(used)
            trace_id = iter(assessed)
            taken = _median_ms(100, lambda: client.get_trace(next(trace_id)))
            print(f"get one trace with an assessment: {taken:.1f} ms")
    finally:
        process.terminate()
        process.wait(60)
    with Store(f"chdb://{folder}") as store:
        [parts] = store.select(
            "SELECT sum(bytes_on_disk) AS bytes FROM system.parts WHERE active"
            " AND database = currentDatabase()"
        )
    print(f"on disk: {parts['bytes'] / stored:.0f} B a span, all tables")


if __name__ == "__main__":
    main()
