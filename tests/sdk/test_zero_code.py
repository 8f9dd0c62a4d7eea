"""No code at all: real programs under `opentelemetry-instrument`, exporting to a real receiver."""

import importlib.util
import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry._logs import Logger

from otel_vtrack.sdk import settings

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("opentelemetry.instrumentation") is None,
    reason="opentelemetry-distro, which brings opentelemetry-instrument, is not installed",
)

APP = """
from opentelemetry import trace
with trace.get_tracer("app").start_as_current_span("work", attributes={"team": "app"}):
    pass
"""


@pytest.fixture
def instrumented(sink, tmp_path):
    """Run a program under opentelemetry-instrument with these variables; it has to end well."""

    def run(program, *options, **variables):
        (tmp_path / "app.py").write_text(program)
        environment = {
            **os.environ,
            "OTEL_TRACES_EXPORTER": "vtrack",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_VTRACK_ENDPOINT": f"127.0.0.1:{sink.grpc_port}",
            **variables,
        }
        command = [
            str(Path(sys.executable).with_name("opentelemetry-instrument")),
            *options,
            sys.executable,
            "app.py",
        ]
        done = subprocess.run(  # noqa: PLW1510 - a failure shows its stderr
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done

    return run


def test_every_span_of_an_unchanged_program_is_stamped(instrumented, sink):
    done = instrumented(APP, OTEL_VTRACK_VERSION="2.4.0", OTEL_VTRACK_TAGS="team=ours,tier=gold")
    assert done.stderr == ""
    assert sink.attributes("work") == {"service.version": "2.4.0", "tier": "gold", "team": "app"}


def test_the_standard_exporter_does_as_well(instrumented, sink):
    instrumented(
        APP,
        OTEL_TRACES_EXPORTER="otlp",
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{sink.grpc_port}",
        OTEL_VTRACK_VERSION="2.4.0",
    )
    assert sink.attributes("work")["service.version"] == "2.4.0"


def test_settings_are_options_of_opentelemetry_instrument(instrumented, sink):
    instrumented(APP, "--vtrack_version", "2.4.0", "--vtrack_environment", "staging")
    found = sink.attributes("work")
    assert found["service.version"] == "2.4.0"
    assert found["deployment.environment.name"] == "staging"


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_the_commit_of_a_checkout_is_on_its_spans(instrumented, sink, tmp_path):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@example"]
    subprocess.run([*git, "init", "-q", "-b", "trunk"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "one"], check=True)
    instrumented(APP)
    found = sink.attributes("work")
    assert len(found["vcs.ref.head.revision"]) == 40
    assert found["vcs.ref.head.name"] == "trunk"
    assert found["vtrack.vcs.dirty"] is False


def test_the_resource_detector_works_beside(instrumented, sink):
    instrumented(
        APP, OTEL_EXPERIMENTAL_RESOURCE_DETECTORS="vtrack,otel", OTEL_VTRACK_VERSION="2.4.0"
    )
    ((_, attributes, resource),) = sink.spans()
    assert attributes["service.version"] == resource["service.version"] == "2.4.0"
    assert resource["service.name"] == "shop"


def test_tags_work_with_no_set_up_of_ours(instrumented, sink):
    instrumented(
        "import otel_vtrack\nwith otel_vtrack.tag(session='s'):\n    exec('''" + APP + "''')"
    )
    assert sink.attributes("work")["session.id"] == "s"


def test_a_provider_that_the_program_makes_itself_is_stamped_too(instrumented, sink):
    instrumented(
        """
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from otel_vtrack.sdk.exporter import VtrackSpanExporter
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(VtrackSpanExporter()))
provider.get_tracer("own").start_span("own").end()
""",
        OTEL_VTRACK_VERSION="2.4.0",
    )
    assert sink.attributes("own")["service.version"] == "2.4.0"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_workers_forked_from_an_instrumented_parent_export_stamped_spans(instrumented, sink):
    instrumented(
        """
import os, otel_vtrack
from opentelemetry import trace
tracer = trace.get_tracer("app")
tracer.start_span("parent").end()
children = []
for n in range(3):
    child = os.fork()
    if child == 0:
        with otel_vtrack.tag(worker=n):
            tracer.start_span(f"worker{n}").end()
        trace.get_tracer_provider().force_flush()
        os._exit(0)
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
""",
        # gRPC itself does not survive a fork for certain.
        OTEL_VTRACK_PROTOCOL="http/protobuf",
        OTEL_VTRACK_ENDPOINT=f"127.0.0.1:{sink.http_port}",
        OTEL_VTRACK_VERSION="2.4.0",
    )
    names = sorted(name for name, *_ in sink.spans(4))
    assert names == ["parent", "worker0", "worker1", "worker2"]
    assert sink.attributes("worker2")["service.version"] == "2.4.0"
    assert str(sink.attributes("worker2")["worker"]) == "2"


@pytest.mark.skipif(
    importlib.util.find_spec("openfeature") is None, reason="openfeature is not installed"
)
def test_flags_are_recorded_with_no_code_as_tags_and_as_log_events(instrumented, sink):
    instrumented(
        """
from openfeature import api
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider
from opentelemetry import trace
api.set_provider(InMemoryProvider({"ranker": InMemoryFlag("b", {"b": "new"})}))
with trace.get_tracer("app").start_as_current_span("work"):
    api.get_client().get_string_value("ranker", "")
""",
        OTEL_VTRACK_OPENFEATURE="true",
        OTEL_LOGS_EXPORTER="otlp",
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{sink.grpc_port}",
    )
    assert sink.attributes("work")["vtrack.flag.ranker"] == "b"
    if "event_name" not in inspect.signature(Logger.emit).parameters:
        pytest.skip("this SDK's Logger.emit takes no event_name: events are span events there")
    ((name, attributes, in_span),) = sink.records()
    assert name == "feature_flag.evaluation"
    assert attributes["feature_flag.result.variant"] == "b"
    assert in_span


def test_it_can_be_switched_off(instrumented, sink):
    instrumented(APP, OTEL_VTRACK_ENABLED="false", OTEL_VTRACK_VERSION="2.4.0")
    assert sink.attributes("work") == {"team": "app"}


def test_nothing_of_the_server_is_loaded_into_the_program(instrumented, sink):
    # Instrumentations load the libraries they are for, if those are there.
    done = instrumented(
        "import sys\nprint(*sys.modules)", OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="*"
    )
    roots = {name.partition(".")[0] for name in done.stdout.split()}
    assert "otel_vtrack" in roots
    assert not roots & {"chdb", "clickhouse_connect", "starlette", "uvicorn", "click", "pydantic"}


def test_every_setting_is_documented():
    documented = (Path(__file__).parents[2] / "docs" / "sdk.md").read_text()
    names = [name for name in dir(settings) if name.startswith("OTEL_")]
    assert names
    assert [name for name in names if f"`{name}`" not in documented] == []
    assert all(getattr(settings, name) == name for name in names)
