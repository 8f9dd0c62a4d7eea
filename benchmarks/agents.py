"""The agents whose forwarding is compared, each a process in front of a sink.

All run the same pipeline: OTLP over gRPC in, OTLP over gRPC out to one destination, without
compression. They differ in where requests are queued:

- vtrack: on disk, its only option.
- rotel, from PyPI: in memory, its only option.
- collector: in memory, its default; collector-disk: in `file_storage`.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import grpc

ROTEL: Final = "rotel==0.0.1a15"
# The message size that OTLP recommends receivers accept.
_LARGEST_MIB: Final = 64

_HERE: Final = Path(__file__).parent


class NotHere(Exception):
    """An agent cannot run on this machine; the text says why."""


class Agent:
    """An agent process under test.

    Attributes:
        target: HOST:PORT where it receives spans.
    """

    def __init__(self, command: list[str], target: str, folder: Path, **environment: str) -> None:
        self.target = target
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(os.environ) | environment,
                cwd=folder,
            )

    def wait(self, timeout: float) -> None:
        """Wait until it accepts requests.

        Raises:
            NotHere: It does not within `timeout`, or it has exited.
        """
        deadline = time.monotonic() + timeout
        with grpc.insecure_channel(self.target) as channel:
            ready = grpc.channel_ready_future(channel)
            while self.process.poll() is None and time.monotonic() < deadline:
                with contextlib.suppress(grpc.FutureTimeoutError):
                    ready.result(0.2)
                    return
            ready.cancel()
        said = " ".join(self._log.read_text(errors="replace").split())
        raise NotHere(f"it does not take requests: {said[:200]}")

    def stop(self) -> None:
        """Terminate it; kill it if that takes more than 20 s."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def vtrack(sink: str, folder: Path) -> Agent:
    """Start a forward-only `vtrack serve` with its default settings."""
    return _vtrack(sink, folder, store=False)


def vtrack_enrich(sink: str, folder: Path) -> Agent:
    """Start a forward-only `vtrack serve` that adds attributes to every Resource."""
    lacking = {"deployment.id": "canary-7", "cloud.region": "eu-central-1"}
    return _vtrack(sink, folder, store=False, enrich={"attributes": lacking})


def vtrack_store(sink: str, folder: Path) -> Agent:
    """Start a `vtrack serve` that stores and forwards."""
    return _vtrack(sink, folder, store=True)


def _vtrack(sink: str, folder: Path, *, store: bool, **more: object) -> Agent:
    target = f"127.0.0.1:{_free_port()}"
    settings = {
        "grpc": target,
        "http": "127.0.0.1:0",
        "store": store,
        "store_url": f"chdb://{folder / 'store'}",
        "forward_folder": str(folder / "queue"),
        "destinations": [{"name": "sink", "endpoint": f"http://{sink}", "protocol": "grpc"}],
        **more,
    }
    path = folder / "vtrack.yaml"
    # JSON is YAML.
    path.write_text(json.dumps(settings))
    return Agent(
        [sys.executable, "-m", "otel_vtrack", "serve", "--config", str(path)], target, folder
    )


def rotel(sink: str, folder: Path) -> Agent:
    """Start Rotel with its default settings."""
    agent, libraries = _rotel()
    target = f"127.0.0.1:{_free_port()}"
    return Agent(
        [
            *(str(agent), "start"),
            f"--otlp-grpc-endpoint={target}",
            f"--otlp-http-endpoint=127.0.0.1:{_free_port()}",
            f"--otlp-grpc-max-recv-msg-size-mib={_LARGEST_MIB}",
            "--exporter=otlp",
            f"--otlp-exporter-endpoint=http://{sink}",
            "--otlp-exporter-protocol=grpc",
            "--otlp-exporter-compression=none",
        ],
        target,
        folder,
        LD_LIBRARY_PATH=libraries,
    )


def collector(sink: str, folder: Path) -> Agent:
    """Start the Collector with an in-memory queue."""
    return _collector(sink, folder, on_disk=False)


def collector_disk(sink: str, folder: Path) -> Agent:
    """Start the Collector with an on-disk queue."""
    return _collector(sink, folder, on_disk=True)


AGENTS: Final[dict[str, Callable[[str, Path], Agent]]] = {
    "vtrack": vtrack,
    "vtrack-enrich": vtrack_enrich,
    "rotel": rotel,
    "collector": collector,
    "collector-disk": collector_disk,
    "vtrack-store": vtrack_store,
}
"""Start functions of the agents: (sink, its own folder)."""


def _collector(sink: str, folder: Path, *, on_disk: bool) -> Agent:
    binary = _collector_binary()
    target = f"127.0.0.1:{_free_port()}"
    queue: dict[str, object] = {"storage": "file_storage/queue"} if on_disk else {}
    storage: dict[str, object] = {"directory": str(folder), "create_directory": True}
    config = {
        "extensions": {"file_storage/queue": storage} if on_disk else {},
        "receivers": {
            "otlp": {
                "protocols": {"grpc": {"endpoint": target, "max_recv_msg_size_mib": _LARGEST_MIB}}
            }
        },
        "exporters": {
            "otlp_grpc": {
                "endpoint": sink,
                "tls": {"insecure": True},
                "compression": "none",
                "sending_queue": queue,
            }
        },
        "service": {
            "extensions": ["file_storage/queue"] if on_disk else [],
            "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["otlp_grpc"]}},
        },
    }
    path = folder / "collector.yaml"
    path.write_text(json.dumps(config))
    return Agent([str(binary), "--config", str(path)], target, folder)


def _collector_binary() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "otel-vtrack" / "collector"
    made = [path for path in folder.glob("*/collector") if os.access(path, os.X_OK)]
    if not made:
        raise NotHere(f"no Collector in {folder}; make test-collectors builds one")
    return max(made, key=lambda path: path.stat().st_mtime)


def _rotel() -> tuple[Path, str]:
    """Return Rotel's agent, installed into its own folder, and the folder of libpython."""
    if sys.version_info[:2] != (3, 11):
        raise NotHere("this build of Rotel needs Python 3.11")
    folder = _HERE.parent / ".cache" / "rotel"
    pattern = "lib/python3.11/site-packages/rotel/rotel-agent"
    if not list(folder.glob(pattern)):
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [str(folder / "bin" / "pip"), "install", "--quiet", ROTEL],
        ):
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            if done.returncode:
                raise NotHere(f"{ROTEL} does not install: {done.stderr[-200:]}")
    [agent] = folder.glob(pattern)
    libraries = sysconfig.get_config_var("LIBDIR") or ""
    tried = subprocess.run(
        [str(agent), "version"],
        env={"LD_LIBRARY_PATH": libraries},
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode:
        raise NotHere(f"Rotel does not start (apt install libpython3.11): {tried.stderr[-200:]}")
    return agent, libraries


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
