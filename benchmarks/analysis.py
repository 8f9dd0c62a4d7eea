"""Cost of the version analysis, over a month of 100 versions in a store of many spans.

    python -m benchmarks.analysis --spans 10000000
    python -m benchmarks.analysis --folder kept    # fills it once, then queries what is there

A real `vtrack serve` receives the spans over gRPC. Then this process opens the store and calls the
API's handlers, each alternating with a plain query of the same store that reads the underlying
data. It prints medians and their ratios to the plain queries; the ratios depend less on the
machine than the times do.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psutil

from benchmarks import history, load
from benchmarks.history import BASELINE, CANDIDATE, FLAG, PRODUCTION
from benchmarks.whole import quiet_after, server
from otel_vtrack import api
from otel_vtrack.store import migrate
from otel_vtrack.store.client import Store
from otel_vtrack.watch.watcher import Watcher

EXPERIMENT = f"shop/{history.SERVICES[0]}"
ATTRIBUTE = "gen_ai.usage.output_tokens"
NEW_SHARE = 0.1
"""Share of the month to store first, so that the same query runs over one history and over ten."""

_VERSIONS = f"version IN ('{BASELINE}', '{CANDIDATE}')"
PLAIN = {
    "quantiles of traces by version": (
        "SELECT root.version AS version, count(), countIf(root.status_code = 2),"
        " quantiles(0.5, 0.95, 0.99)("
        "toUnixTimestamp64Nano(end_time) - toUnixTimestamp64Nano(start_time))"
        f" FROM traces WHERE experiment = '{EXPERIMENT}' AND root.{_VERSIONS} GROUP BY version"
    ),
    "quantiles of spans by version": (
        "SELECT version, count(), quantiles(0.5, 0.95, 0.99)(duration_ns) FROM spans"
        f" WHERE experiment = '{EXPERIMENT}' AND {_VERSIONS} AND name = 'GET' GROUP BY version"
    ),
    "quantiles of an attribute by version": (
        "SELECT version, count(), quantiles(0.5, 0.95, 0.99)("
        f"toFloat64OrNull(attributes['{ATTRIBUTE}'])) FROM spans"
        f" WHERE experiment = '{EXPERIMENT}' AND {_VERSIONS} GROUP BY version"
    ),
    "names of spans by version": (
        "SELECT version, name, uniq(trace_id) FROM spans"
        f" WHERE experiment = '{EXPERIMENT}' AND {_VERSIONS} GROUP BY version, name"
    ),
    "count of roots by version": (
        "SELECT root.version AS version, count() FROM trace_roots GROUP BY version"
    ),
    "count of a flag's variants": (
        f"SELECT value, count() FROM tags_of_traces WHERE key = 'vtrack.flag.{FLAG}' GROUP BY value"
    ),
}


def asking(store: Store, path: str, **fields: Any) -> Callable[[], Any]:
    """Return a function that calls an API handler, as the gRPC and HTTP servers do."""
    backend = api.Backend(store)
    [method] = [
        method for service in api.SERVICES for method in service.methods if method.path == path
    ]
    request = method.request(**fields)
    return lambda: method.handler(backend, request)


def side_by_side(
    times: int, ask: Callable[[], Any], plain: Callable[[], Any]
) -> tuple[float, float, float]:
    """Return the medians of both in ms, taken alternately, and the first one's median CPU time."""
    taken: tuple[list[float], list[float]] = ([], [])
    worked: list[float] = []
    # Skip the first call of each, which finds cold caches.
    for _ in range(times + 1):
        for kept, call in zip(taken, (ask, plain), strict=True):
            began, before = time.perf_counter(), time.process_time()
            call()
            kept.append(time.perf_counter() - began)
            if kept is taken[0]:
                worked.append(time.process_time() - before)
    asked, read, cpu = (statistics.median(kept[1:]) * 1e3 for kept in (*taken, worked))
    return asked, read, cpu


def questions(store: Store) -> Iterable[tuple[str, Callable[[], Any], str]]:
    """Yield the title, call and name of the plain query of each benchmark."""
    versions = {"baseline_version": BASELINE, "candidate_version": CANDIDATE}
    place = {"experiment": EXPERIMENT, "environment": PRODUCTION}
    package = "/otel_vtrack.v1."
    compare = package + "AnalysisService/CompareVersions"
    traces = "quantiles of traces by version"
    for title, asked, beside in (
        ("compare by the default metrics", {}, traces),
        ("compare, nothing held equal", {"stratify_by": ["none"]}, traces),
        ("compare, route and user held equal", {"stratify_by": ["route", "user"]}, traces),
        ("compare route by route", {"group_by": ["route"]}, traces),
        ("compare traces that a filter finds", {"filter": "status = 'ERROR'"}, traces),
        ("compare span_latency:GET", _metrics("span_latency:GET"), "quantiles of spans by version"),
        (
            f"compare attribute:{ATTRIBUTE}",
            _metrics(f"attribute:{ATTRIBUTE}"),
            "quantiles of an attribute by version",
        ),
    ):
        yield title, asking(store, compare, **versions, **place, **asked), beside
    yield (
        "list what tells two versions apart",
        asking(store, package + "AnalysisService/ListDifferences", **versions, **place),
        "names of spans by version",
    )
    yield (
        f"timeline of {len(history.OLDER) + 3} versions",
        asking(store, package + "TimelineService/GetTimeline"),
        "count of roots by version",
    )
    yield (
        "progression of the last 20 versions",
        asking(store, package + "TimelineService/ListProgressions"),
        "count of roots by version",
    )
    yield (
        "versions, each with what it used",
        asking(store, package + "VersionService/SearchVersions", include_usage=True),
        "count of roots by version",
    )
    yield (
        "how far changes depend on a flag",
        asking(store, package + "FlagService/ListInteractions", **versions, **place, flag=FLAG),
        traces,
    )
    yield (
        "exposure to a flag over the month",
        asking(store, package + "FlagService/GetFlagExposure", flag=FLAG, **place),
        "count of a flag's variants",
    )


def _metrics(*names: str) -> dict[str, Any]:
    return {"metrics": [{"metric": name} for name in names]}


def report(store: Store, times: int, only: str = "") -> None:
    """Print the medians; those of processor time are more reliable on a busy machine."""
    print(f"{'':42}      ms  plain ms  ratio    cpu  beside")
    for title, ask, beside in questions(store):
        if only not in title:
            continue
        asked, plain, cpu = side_by_side(
            times, ask, lambda beside=beside: store.select(PLAIN[beside])
        )
        print(
            f"{title:42}{asked:8.0f}{plain:10.0f}{asked / plain:7.1f}{cpu:7.0f}  {beside}",
            flush=True,
        )


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--spans", type=int, default=10_000_000)
    asked.add_argument("--times", type=int, default=7, help="how often to ask each question")
    asked.add_argument("--folder", type=Path, help="of a store to keep; asked if it is there")
    asked.add_argument("--only", default="", help="ask what has this in its title")
    arguments = asked.parse_args()
    if arguments.folder:
        if not arguments.folder.exists():
            fill(
                arguments.folder,
                history.requests(arguments.spans, now_ns=time.time_ns(), seed=1),
            )
        with Store(f"chdb://{arguments.folder.resolve()}") as store:
            migrate.apply(store)
            report(store, arguments.times, arguments.only)
        return
    with tempfile.TemporaryDirectory(prefix="vtrack-bench-") as name:
        measure(Path(name), arguments.spans, arguments.times, arguments.only)


def measure(folder: Path, spans: int, times: int, only: str) -> None:
    now_ns = time.time_ns()
    looks: list[float] = []
    for seed, part in ((1, {"first": 1 - NEW_SHARE}), (2, {"last": 1 - NEW_SHARE})):
        fill(folder, history.requests(spans, now_ns=now_ns, seed=seed, **part))
        with Store(f"chdb://{folder}") as store:
            looks.append(look(store, now_ns, times))
    with Store(f"chdb://{folder}") as store:
        [stored] = store.select(
            "SELECT count() AS spans, uniqExact(version) AS versions FROM spans"
        )
        print(f"{stored['spans']:,} spans of {stored['versions']} versions in {history.DAYS} days")
        report(store, times, only)
    print(
        f"one look of the watch: {looks[0]:.0f} ms over a tenth of it, {looks[1]:.0f} ms over all,"
        f" {looks[1] / looks[0]:.1f} times as long"
    )


def look(store: Store, now_ns: int, times: int) -> float:
    """Return how many milliseconds one check of all watched deployments takes."""
    watcher = Watcher(store, 60, clock=lambda: now_ns)
    # The first check records events; later ones find nothing new.
    watcher.look()
    assert watcher.board().looks, "nothing is under watch"
    taken: list[float] = []
    for _ in range(times):
        began = time.perf_counter()
        watcher.look()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1e3


def fill(folder: Path, payloads: Iterable[bytes]) -> None:
    """Send all payloads to a server on this folder, let it finish merging, and shut it down."""
    process, target = server(folder)
    try:
        stats = load.drive(target, payloads, 16, retries=100)
        assert not stats.failed, stats.codes
        quiet_after(psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait(120)


if __name__ == "__main__":
    main()
