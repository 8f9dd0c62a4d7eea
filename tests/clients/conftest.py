"""The live receiver of tests/ingest, and clients of other makers installed into .cache/."""

import contextlib
import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache"

_spec = importlib.util.spec_from_file_location(
    "receiving_fixtures", HERE.parent / "ingest" / "conftest.py"
)
_receiving = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_receiving)

event_loop_thread = _receiving.event_loop_thread
shared_live = _receiving.shared_live
live = _receiving.live
make_request = _receiving.make_request

ROTEL = "rotel==0.0.1a15"


def run(command: list[str], **settings) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, check=False, **settings
    )
    assert done.returncode == 0, done.stdout + done.stderr


@contextlib.contextmanager
def alone(folder):
    """Let one process at a time install into a folder: test files may run side by side."""
    CACHE.mkdir(exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def node_send():
    """Send one trace by Node: (exporter, url, compression)."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        pytest.skip("node or npm is not on PATH; install Node 20 to run this")
    folder = CACHE / "node-client"
    folder.mkdir(parents=True, exist_ok=True)
    package = (HERE / "node" / "package.json").read_text()
    installed = folder / "package.json"
    if not installed.exists() or installed.read_text() != package:
        shutil.rmtree(folder / "node_modules", ignore_errors=True)
        (folder / "wanted.json").write_text(package)
        shutil.copy(HERE / "node" / "package.json", installed)
        try:
            run(
                [npm, "install", "--no-package-lock", "--no-audit", "--no-fund",
                 "--ignore-scripts"],
                cwd=folder,
            )  # fmt: skip
        except BaseException:
            installed.unlink()
            raise
    # Next to node_modules, as Node looks for packages from where the script is.
    shutil.copy(HERE / "node" / "send.mjs", folder)

    def send(exporter: str, url: str, compression: str = "none") -> None:
        # The gRPC exporter takes headers from the environment only.
        headers = {"OTEL_EXPORTER_OTLP_HEADERS": "x-vtrack-experiment=node"}
        run(
            [node, str(folder / "send.mjs"), exporter, url, compression],
            env=dict(os.environ) | headers,
        )

    return send


@pytest.fixture(scope="session")
def rotel_command():
    """Return Rotel's executable and the environment it needs."""
    if sys.version_info[:2] != (3, 11):
        pytest.skip("this build of Rotel needs libpython3.11; run the tests with Python 3.11")
    folder = CACHE / "rotel"
    with alone(folder):
        agents = list(folder.glob("lib/python3.11/site-packages/rotel/rotel-agent"))
        if not agents:
            run([sys.executable, "-m", "venv", "--without-pip", "--clear", str(folder)])
            pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
            run([*pip, "install", "--quiet", "--disable-pip-version-check", ROTEL])
            agents = list(folder.glob("lib/python3.11/site-packages/rotel/rotel-agent"))
    environment = {"LD_LIBRARY_PATH": sysconfig.get_config_var("LIBDIR") or ""}
    tried = subprocess.run(
        [str(agents[0]), "version"], env=environment, capture_output=True, text=True, check=False
    )
    if tried.returncode:
        pytest.skip(f"Rotel does not start here (apt install libpython3.11): {tried.stderr}")
    return [str(agents[0]), "start"], environment
