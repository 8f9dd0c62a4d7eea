"""Spans per second of the receive path, with a store that costs nothing.

    python -m benchmarks.receive --requests 1600 --callers 1 8 16

Server and load generator are separate processes. The same run measures the upper limit of the
receive path: how fast one process parses each request with upb and discards the result.
"""

import argparse
import asyncio
import multiprocessing
import resource
import time
from multiprocessing.connection import Connection
from typing import Any

import grpc.aio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks import load
from otel_vtrack.ingest import memory, otlp_grpc
from otel_vtrack.ingest.commit import GroupCommit
from otel_vtrack.ingest.receiver import Receiver

SPANS = 512


async def _serve(pipe: Connection, write_seconds: float, commit: dict[str, Any]) -> None:
    memory.keep_freed_memory()

    def write(_payload: bytes) -> None:
        if write_seconds:
            time.sleep(write_seconds)

    traces, logs = (GroupCommit(write, name=name, **commit) for name in ("traces", "logs"))
    receiver = Receiver(traces, logs)
    server = grpc.aio.server(options=otlp_grpc.server_options())
    otlp_grpc.add_otlp(server, receiver)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    pipe.send(port)
    while await asyncio.to_thread(pipe.recv) != "stop":
        used = resource.getrusage(resource.RUSAGE_SELF)
        pipe.send((used.ru_utime + used.ru_stime, used.ru_maxrss // 1024, traces.snapshot()))
    await server.stop(None)


def serve(pipe: Connection, write_seconds: float, commit: dict[str, Any]) -> None:
    asyncio.run(_serve(pipe, write_seconds, commit))


def generate(pipe: Connection, requests: int, seed: int) -> None:
    """Generate requests, then send them on demand: receives (target, callers), returns `Stats`."""
    memory.keep_freed_memory()
    payloads = list(load.requests(requests, SPANS, seed=seed, start_time_unix_nano=time.time_ns()))
    pipe.send(sum(map(len, payloads)) / requests / SPANS)
    while task := pipe.recv():
        target, callers = task
        started = time.process_time()
        stats = load.drive(target, payloads, callers)
        pipe.send((stats, time.process_time() - started))


def parse(pipe: Connection, requests: int) -> None:
    """Parse requests, discard them, and report spans per second."""
    memory.keep_freed_memory()
    payloads = list(load.requests(requests, SPANS, seed=3, start_time_unix_nano=time.time_ns()))
    started = time.perf_counter()
    for payload in payloads:
        ExportTraceServiceRequest.FromString(payload)
    pipe.send(requests * SPANS / (time.perf_counter() - started))


def _start(function: Any, *arguments: Any) -> tuple[Any, Connection]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=function, args=(theirs, *arguments), daemon=True)
    process.start()
    return process, ours


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--requests", type=int, default=1_600)
    arguments.add_argument("--callers", type=int, nargs="+", default=[1, 8, 16])
    arguments.add_argument("--write-seconds", type=float, default=0.0, help="what an insert costs")
    arguments.add_argument("--linger-seconds", type=float, default=0.0)
    arguments.add_argument("--writers", type=int, default=1)
    asked = arguments.parse_args()
    commit = {"linger_seconds": asked.linger_seconds, "writers": asked.writers}

    parser, pipe = _start(parse, 400)
    parsed = pipe.recv()
    parser.join()
    generator, load_pipe = _start(generate, asked.requests, 1)
    size = load_pipe.recv()
    print(f"upb parses and throws away {parsed / 1e3:,.0f} k spans/s ({size:.0f} B a span)")
    print("callers  k spans/s  of parse  p50 ms  p99 ms  server µs/span  load µs/span  batch")
    for callers in asked.callers:
        server, server_pipe = _start(serve, asked.write_seconds, commit)
        target = f"127.0.0.1:{server_pipe.recv()}"
        server_pipe.send("usage")
        before, _, _ = server_pipe.recv()
        load_pipe.send((target, callers))
        stats, load_seconds = load_pipe.recv()
        server_pipe.send("usage")
        after, memory_mb, counts = server_pipe.recv()
        server_pipe.send("stop")
        server.join()
        spans = stats.requests * SPANS
        assert not stats.failed, stats.codes
        assert counts.accepted_items == spans, counts
        rate = spans / stats.seconds
        print(
            f"{callers:7}  {rate / 1e3:9,.0f}  {rate / parsed:8.0%}  "
            f"{stats.percentile(0.5) * 1e3:6.1f}  {stats.percentile(0.99) * 1e3:6.1f}  "
            f"{(after - before) / spans * 1e6:14.2f}  {load_seconds / spans * 1e6:12.2f}  "
            f"{counts.accepted_requests / counts.batches:5.1f}  (peak {memory_mb} MB)"
        )
    load_pipe.send(None)
    generator.join()


if __name__ == "__main__":
    main()
