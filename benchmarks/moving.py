"""Speed of exporting a server to files, in every format, and of importing them into another.

    python -m benchmarks.moving --spans 300000

Server and client are separate processes on the same cores. For each format, it prints spans per
second of wall-clock time, and processor time per span in either process, which stays valid if
others use the cores. An import is over when everything is in the tables.
"""

import argparse
import functools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from benchmarks import load
from benchmarks.receive import SPANS
from benchmarks.whole import server
from otel_vtrack.client import Client
from otel_vtrack.transfer import FORMATS, Counts, export_to, import_from

CALLERS = 16


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--spans", type=int, default=300_000)
    asked.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS)
    arguments = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="vtrack-bench-") as name:
        measure(Path(name), arguments.spans, arguments.formats)


def measure(folder: Path, spans: int, formats: Sequence[str]) -> None:
    process, target = server(folder / "from")
    try:
        payloads = load.requests(
            -(-spans // SPANS), SPANS, seed=7, start_time_unix_nano=time.time_ns() - 10**13
        )
        stats = load.drive(target, payloads, CALLERS, retries=100)
        assert not stats.failed, stats.codes
        with Client(target, timeout=600) as client:
            list(client.search_versions())  # waits until everything is in the tables
            print("             k spans/s   µs of server   µs of client   MB of client")
            for each in formats:
                work = functools.partial(export_to, folder / each, client, format=each)
                run(f"to {each}", process, work)
    finally:
        _stop(process)
    for each in formats:
        process, target = server(folder / f"into-{each}")
        try:
            with Client(target, timeout=600) as client:
                work = functools.partial(_import, folder / each, client)
                run(f"from {each}", process, work)
        finally:
            _stop(process)


def _import(output: Path, client: Client) -> Counts:
    counts = import_from([output], client)
    list(client.search_versions())
    return counts


def run(title: str, process: subprocess.Popen[str], work: Callable[[], Counts]) -> None:
    """Run `work` and print the cost per span."""
    theirs, ours = psutil.Process(process.pid), psutil.Process()
    began, before = time.perf_counter(), (_seconds(theirs), _seconds(ours))
    spans = work().spans
    seconds = time.perf_counter() - began
    took = [
        (_seconds(of) - was) / spans * 1e6 for of, was in zip((theirs, ours), before, strict=True)
    ]
    print(
        f"{title:15}{spans / seconds / 1e3:7.1f}  {took[0]:13.1f}  {took[1]:13.1f}"
        f"  {ours.memory_info().rss >> 20:13,}",
        flush=True,
    )


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.wait(60)


if __name__ == "__main__":
    sys.exit(main())
