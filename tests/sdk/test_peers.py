"""Beside other vendors' set-ups: the real packages, each in an environment of its own."""

import os
import re
import subprocess
import time
import urllib.request

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

VERSION = "service.version"


@pytest.fixture
def run(sink, tmp_path):
    """Run a program with an environment's Python, under opentelemetry-instrument if asked to."""

    def go(programs, program, *, instrument, **variables):
        (tmp_path / "app.py").write_text(program)
        environment = {
            **os.environ,
            "OTEL_TRACES_EXPORTER": "none",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_VTRACK_VERSION": "2.4.0",
            "OTEL_VTRACK_ENDPOINT": f"127.0.0.1:{sink.grpc_port}",
            "SINK": f"http://127.0.0.1:{sink.grpc_port}",
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            **variables,
        }
        command = [str(programs / "python"), "app.py"]
        if instrument:
            command = [str(programs / "opentelemetry-instrument"), *command]
        done = subprocess.run(
            command,
            check=False,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done

    return go


PHOENIX = """
import os, otel_vtrack
from phoenix.otel import register
provider = register(endpoint=os.environ["SINK"], protocol="grpc", verbose=False)
{install}
with otel_vtrack.tag(session="s"):
    provider.get_tracer("t").start_span("work").end()
provider.shutdown()
"""


@pytest.mark.parametrize("how", ["no code", "install()", "install(provider)"])
def test_phoenix_keeps_its_exporter_and_its_spans_are_stamped(installed, run, sink, how):
    programs = installed("phoenix", "arize-phoenix-otel", "opentelemetry-distro")
    install = "" if how == "no code" else f"otel_vtrack.{how}"
    run(programs, PHOENIX.format(install=install), instrument=how == "no code")
    assert sink.attributes("work") == {VERSION: "2.4.0", "session.id": "s"}


LOGFIRE = """
import logfire, otel_vtrack
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from otel_vtrack.sdk.exporter import VtrackSpanExporter
{before}
def configure():
    logfire.configure(
        send_to_logfire=False,
        console=False,
        additional_span_processors=[SimpleSpanProcessor(VtrackSpanExporter())],
    )
configure()
{after}
with otel_vtrack.tag(tier="gold"), logfire.span("first"):
    logfire.info("inside")
configure()
with logfire.span("second"):
    pass
logfire.shutdown()
"""


@pytest.mark.parametrize("how", ["no code", "before", "after"])
def test_logfires_spans_are_stamped_also_once_it_is_configured_again(installed, run, sink, how):
    programs = installed("logfire", "logfire", "opentelemetry-distro")
    lines = {"before": "", "after": "", how: "otel_vtrack.install()"}
    program = LOGFIRE.format(before=lines["before"], after=lines["after"])
    run(programs, program, instrument=how == "no code", LOGFIRE_IGNORE_NO_CONFIG="1")
    for name in ("first", "inside"):
        assert sink.attributes(name)[VERSION] == "2.4.0"
        assert sink.attributes(name)["tier"] == "gold"
    assert sink.attributes("second")[VERSION] == "2.4.0"


# It asks for two dozen instrumentations of one release each; these are known to go together, where
# letting pip look for a set takes minutes.
TRACELOOP_REQUIREMENTS = [
    "traceloop-sdk==0.45.6",
    "opentelemetry-sdk==1.34.1",
    "opentelemetry-instrumentation==0.55b1",
    "opentelemetry-distro==0.55b1",
]
TRACELOOP = """
import otel_vtrack
{before}
from traceloop.sdk import Traceloop
from traceloop.sdk.decorators import workflow
from otel_vtrack.sdk.exporter import VtrackSpanExporter
Traceloop.init(
    app_name="shop", exporter=VtrackSpanExporter(), disable_batch=True, telemetry_enabled=False
)
{after}
@workflow(name="answer")
def answer():
    pass
with otel_vtrack.tag(session="s"):
    answer()
"""


@pytest.mark.parametrize("how", ["no code", "before", "after"])
def test_traceloops_spans_are_stamped_whoever_made_the_provider(installed, run, sink, how):
    programs = installed("traceloop", *TRACELOOP_REQUIREMENTS)
    lines = {"before": "", "after": "", how: "otel_vtrack.install()"}
    program = TRACELOOP.format(before=lines["before"], after=lines["after"])
    run(programs, program, instrument=how == "no code", TRACELOOP_TELEMETRY="false")
    found = sink.attributes("answer.workflow")
    assert found[VERSION] == "2.4.0"
    assert found["session.id"] == "s"
    assert found["traceloop.workflow.name"] == "answer"


@pytest.mark.parametrize(
    "exporter", ["otlp_grpc: {{endpoint: '{url}'}}", "vtrack: {{endpoint: '{url}'}}"]
)
def test_a_configuration_file_is_enough(installed, run, sink, tmp_path, exporter):
    programs = installed("configuration", "opentelemetry-distro", "opentelemetry-configuration")
    chosen = exporter.format(url=f"http://127.0.0.1:{sink.grpc_port}")
    (tmp_path / "otel.yaml").write_text(
        f"""
file_format: "1.0"
resource:
  attributes: [{{name: service.name, value: shop}}]
  detection/development:
    detectors: [{{vtrack: {{}}}}]
tracer_provider:
  processors:
    - batch: {{exporter: {{{chosen}}}}}
"""
    )
    program = """
from opentelemetry import trace
trace.get_tracer("t").start_span("work").end()
"""
    run(programs, program, instrument=True, OTEL_CONFIG_FILE=str(tmp_path / "otel.yaml"))
    ((_, attributes, resource),) = sink.spans()
    assert attributes[VERSION] == resource[VERSION] == "2.4.0"
    assert resource["service.name"] == "shop"


GUNICORN = """
from opentelemetry import trace
tracer = trace.get_tracer("shop")

def app(environ, start_response):
    import otel_vtrack
    with otel_vtrack.tag(session=environ["QUERY_STRING"]):
        tracer.start_span("request").end()
    start_response("200 OK", [])
    return [b"ok"]
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="gunicorn needs fork")
@pytest.mark.parametrize("preload", [True, False])
def test_workers_of_gunicorn_export_stamped_spans(installed, sink, tmp_path, preload):
    programs = installed("gunicorn", "gunicorn", "opentelemetry-distro")
    (tmp_path / "shop.py").write_text(GUNICORN)
    environment = {
        **os.environ,
        "OTEL_TRACES_EXPORTER": "vtrack",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_VTRACK_VERSION": "2.4.0",
        # gRPC itself does not survive a fork for certain.
        "OTEL_VTRACK_PROTOCOL": "http/protobuf",
        "OTEL_VTRACK_ENDPOINT": f"127.0.0.1:{sink.http_port}",
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }
    command = [
        *(str(programs / "opentelemetry-instrument"), str(programs / "gunicorn")),
        *("--workers", "2", "--bind", "127.0.0.1:0", "--log-file", "log", "shop:app"),
        *(["--preload"] if preload else []),
    ]
    with subprocess.Popen(command, cwd=tmp_path, env=environment) as server:
        try:
            address = wait_for(lambda: re.search(r"Listening at: (\S+)", log(tmp_path)))[1]
            for n in range(4):
                with urllib.request.urlopen(f"{address}/?s{n}", timeout=20) as answer:
                    assert answer.read() == b"ok"
            found = sink.spans(4)
        finally:
            server.terminate()
    sessions = sorted(attributes["session.id"] for _, attributes, _ in found)
    assert sessions == ["s0", "s1", "s2", "s3"]
    assert {attributes[VERSION] for _, attributes, _ in found} == {"2.4.0"}


def log(folder):
    path = folder / "log"
    return path.read_text() if path.exists() else ""


def wait_for(found, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := found():
            return result
        time.sleep(0.1)
    raise TimeoutError
