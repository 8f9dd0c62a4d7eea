"""The wheel: what is in it, and that it works where nothing else is installed."""

import subprocess
import time
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HINT = "vtrack needs the server half: pip install 'otel-vtrack[server]'\n"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def install(wheel, tmp_path):
    """Install the wheel into an empty environment and return the folder of its commands."""

    def run(extras=""):
        venv.create(tmp_path / "venv", with_pip=True)
        commands = tmp_path / "venv" / "bin"
        subprocess.run(
            [
                *(commands / "pip", "install", "--quiet", "--disable-pip-version-check"),
                *("--constraint", ROOT / "constraints.txt"),
                f"otel-vtrack{extras} @ {wheel.as_uri()}",
            ],
            check=True,
            capture_output=True,
            timeout=600,
        )
        return commands

    return run


def test_the_wheel_has_every_file_of_the_package(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {path for path in (ROOT / "otel_vtrack").rglob("*") if path.is_file()}
    files = {path.relative_to(ROOT).as_posix() for path in package if path.suffix != ".pyc"}
    assert {"otel_vtrack/py.typed", "otel_vtrack/query/filter/grammar.lark"} <= files
    assert files <= names
    protos = {path.relative_to(ROOT).as_posix() for path in (ROOT / "proto").rglob("*.proto")}
    assert protos
    assert {f"otel_vtrack/{proto}" for proto in protos} <= names


def test_the_base_install_has_the_app_half_and_no_more(install, tmp_path):
    commands = install()
    code = (
        "import otel_vtrack, importlib.util as u;"
        "otel_vtrack.install(version='1');"
        "assert not any(map(u.find_spec, ('chdb', 'click', 'starlette', 'uvicorn')))"
    )
    done = subprocess.run([commands / "python", "-c", code], check=False, cwd=tmp_path, timeout=60)
    assert done.returncode == 0
    done = subprocess.run(
        [commands / "vtrack", "serve"],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    assert (done.returncode, done.stderr, done.stdout) == (2, HINT, "")


def test_the_server_install_serves(install, tmp_path):
    commands = install("[server]")
    arguments = ["--store-url", f"chdb://{tmp_path}/store", "--grpc", "127.0.0.1:0"]
    with subprocess.Popen(
        [commands / "vtrack", "serve", *arguments, "--http", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
    ) as served:
        try:
            line = served.stdout.readline()
            assert line.startswith("otel-vtrack is ready: "), line
            assert served.poll() is None
            code = (
                "import otel_vtrack, sys\n"
                "from opentelemetry.sdk.trace import TracerProvider\n"
                "from opentelemetry.sdk.trace.export import SimpleSpanProcessor\n"
                "from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import *\n"
                "exporter = OTLPSpanExporter(endpoint=sys.argv[1], insecure=True)\n"
                "provider = TracerProvider()\n"
                "otel_vtrack.install(provider, version='1')\n"
                "provider.add_span_processor(SimpleSpanProcessor(exporter))\n"
                "provider.get_tracer('t').start_span('work').end()\n"
                "provider.shutdown()\n"
            )
            target = "http://" + line.split("gRPC ")[1].split(",")[0]
            subprocess.run(
                [commands / "python", "-c", code, target], check=True, cwd=tmp_path, timeout=60
            )
        finally:
            served.terminate()
            deadline = time.monotonic() + 60
            while served.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            served.kill()
    assert served.returncode == 0
    code = (
        "import sys; from otel_vtrack.store.client import Store\n"
        "with Store('chdb://' + sys.argv[1]) as store:\n"
        "    print(store.select('SELECT name, version FROM spans'))\n"
    )
    done = subprocess.run(
        [commands / "python", "-c", code, tmp_path / "store"],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    assert done.stdout == "[{'name': 'work', 'version': '1'}]\n"
