"""Runs the demonstration: `python -m otel_vtrack.demo`.

Starts `vtrack serve` with a store in a temporary folder; runs the app under
`opentelemetry-instrument` as 2.3.1 and as 2.4.0, which really is slower and fails more often, in
staging and in production; then queries the server to compare them. It stops everything it starts
and leaves nothing behind.
"""

import signal
import sys
import sysconfig
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from otel_vtrack.client import Client
from otel_vtrack.demo import checkout, traffic
from otel_vtrack.demo.process import Child
from otel_vtrack.errors import VtrackError

SERVICE: Final = "assistant"
REQUESTS: Final = {"staging": 150, "production": 600}
_BIN: Final = Path(sysconfig.get_path("scripts"))
_STORED_WITHIN_SECONDS: Final = 30.0


def _serve(folder: Path) -> Child:
    return Child(
        [
            *(str(_BIN / "vtrack"), "serve", "--store-url", f"chdb://{folder}/store"),
            *("--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"),
        ],
        until=r"gRPC (\S+:\d+)",
        log=folder / "server.log",
    )


def _app(folder: Path, server: str, version: str, environment: str, commit: str) -> Child:
    # The app's code is unchanged: this takes only variables and a command in front of python.
    variables = {
        "OTEL_SERVICE_NAME": SERVICE,
        "OTEL_TRACES_EXPORTER": "vtrack",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "500",
        "OTEL_VTRACK_ENDPOINT": f"http://{server}",
        "OTEL_VTRACK_VERSION": version,
        "OTEL_VTRACK_ENVIRONMENT": environment,
    }
    if commit:
        variables["OTEL_VTRACK_COMMIT"] = commit
    return Child(
        [str(_BIN / "opentelemetry-instrument"), sys.executable, "app.py"],
        until=r"listening on (\d+)",
        log=folder.parent / f"{version}-{environment}.log",
        environment=variables,
        folder=folder,
        # uvicorn re-raises the signal that stopped it, and only after SIGINT does Python still run
        # the exit handlers that flush the last spans.
        stop_with=signal.SIGINT,
    )


def _run_version(
    progress: Progress, server: str, version: str, checked_out: tuple[Path, str]
) -> None:
    """Run one version in both environments in parallel, and send traffic to both."""
    folder, commit = checked_out

    def live(environment: str) -> None:
        requests = REQUESTS[environment]
        task = progress.add_task(f"{version} in {environment}", total=requests)
        app = _app(folder, server, version, environment, commit)
        try:
            port = int(app.ready[1])
            step = requests // 10
            for n in range(10):
                traffic.send(port, step, callers=4, seed=n)
                progress.advance(task, step)
        finally:
            app.stop()

    with ThreadPoolExecutor() as pool:
        list(pool.map(live, REQUESTS))


def _wait_until_stored(client: Client, expected: int) -> None:
    deadline = time.monotonic() + _STORED_WITHIN_SECONDS
    while time.monotonic() < deadline:
        if sum(version.trace_count for version in client.search_versions()) >= expected:
            return
        time.sleep(0.2)
    raise VtrackError(f"fewer than {expected} traces arrived within {_STORED_WITHIN_SECONDS:.0f} s")


def run(console: Console) -> None:
    """Run the whole demonstration.

    Raises:
        VtrackError: A process did not start, or data did not arrive.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vtrack-demo-")))
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
        )
        with Progress(*columns, console=console) as progress:
            start = progress.add_task("vtrack serve", total=1)
            serve = _serve(folder)
            stack.callback(serve.stop)
            server = serve.ready[1]
            progress.advance(start)
            for version, checked_out in checkout.check_out(folder).items():
                _run_version(progress, server, version, checked_out)
        client = stack.enter_context(Client(server))
        _wait_until_stored(client, 2 * sum(REQUESTS.values()))
        slowest = max(
            client.search_traces(version="2.4.0", environment="production"),
            key=lambda trace: trace.execution_duration.ToNanoseconds(),
        )
        for question, command in (
            ("Which versions ran, where, and from which commit?", ["versions", "list"]),
            (
                "Is 2.4.0 worse than 2.3.1 in production?",
                ["compare", "2.3.1", "2.4.0", "--environment", "production"],
            ),
            ("What does its slowest trace look like?", ["traces", "get", slowest.trace_id]),
        ):
            console.rule(f"[bold]{question}")
            console.print(f"[dim]$ vtrack {' '.join(command)}\n")
            _ask(command, server)
        console.rule("[bold]And now?")
        console.print(
            "What was shown is gone with its temporary folder. To trace an application of your own,"
            ' see "Use it" in README.md.'
        )


def _ask(command: list[str], server: str) -> None:
    from otel_vtrack.cli.group import group  # noqa: PLC0415 - needed only at the end

    group.main([*command, "--server", server], prog_name="vtrack", standalone_mode=False)


def main() -> int:
    """Run the demonstration and return its exit status."""
    console = Console()
    try:
        run(console)
    except VtrackError as error:
        console.print(f"[red]The demo failed:[/] {escape(str(error))}", highlight=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
