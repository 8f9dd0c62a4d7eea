"""collector-config/rotel as it is, in a real Rotel, before a vtrack with TLS and tokens."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_vtrack.client import Client

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

START = Path(__file__).parents[2] / "collector-config" / "rotel" / "start.sh"
TOKEN = "a-token-with-its-padding=="
TOLD = {
    "OTEL_VTRACK_VERSION": "2.4.0",
    "OTEL_VTRACK_ENVIRONMENT": "production",
    "OTEL_VTRACK_DEPLOYMENT_ID": "rollout-7",
    "OTEL_VTRACK_COMMIT": "0c5f7c2d9b8e",
    "OTEL_VTRACK_REPOSITORY": "https://me:hunter2@git.example/shop",
    "OTEL_VTRACK_STAMP_SPANS": "true",
}
TAGS = {
    "service.version": "2.4.0",
    "deployment.environment.name": "production",
    "deployment.id": "rollout-7",
    "vcs.ref.head.revision": "0c5f7c2d9b8e",
    "vcs.repository.url.full": "https://git.example/shop",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def server(vtrack, tmp_path, certificates):
    (tmp_path / "tokens").write_text(f"# of the agent\n{TOKEN}\n")
    return vtrack(
        f"--tls-cert-file={certificates.server.chain}",
        f"--tls-key-file={certificates.server.key}",
        f"--token-file={tmp_path / 'tokens'}",
    )


@pytest.fixture
def rotel(rotel_command, server, certificates, tmp_path):
    """Start it, and return the process and a call that exports to it."""
    command, environment = rotel_command
    started, channels = [], []

    def start(start=START, **told):
        port = free_port()
        agent = subprocess.Popen(
            [start, f"--otlp-grpc-endpoint=127.0.0.1:{port}",
             f"--otlp-http-endpoint=127.0.0.1:{free_port()}"],
            env={
                **environment,
                "PATH": os.environ["PATH"],
                "ROTEL": command[0],
                "VTRACK_ENDPOINT": f"https://{server.grpc}",
                "VTRACK_TOKEN_FILE": str(tmp_path / "tokens"),
                "VTRACK_CA_FILE": str(certificates.ca),
                "ROTEL_OTLP_EXPORTER_RETRY_INITIAL_BACKOFF": "100ms",
                **told,
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        started.append(agent)
        channels.append(grpc.insecure_channel(f"127.0.0.1:{port}"))
        grpc.channel_ready_future(channels[-1]).result(30)

        def export(signal_, request):
            service = f"opentelemetry.proto.collector.{signal_}.v1.{signal_.title()}Service"
            call = channels[-1].unary_unary(f"/{service}/Export")
            return call(request.SerializeToString(), timeout=30)

        return agent, export

    yield start
    for channel in channels:
        channel.close()
    for agent in started:
        if agent.poll() is None:
            agent.kill()
        agent.wait(30)
        agent.stderr.close()


@pytest.fixture
def client(server, certificates):
    with Client(
        f"https://{server.grpc}", token=TOKEN, root_certificates=certificates.ca.read_bytes()
    ) as opened:
        yield opened


def waited(ask, wanted):
    deadline = time.monotonic() + 60
    while (found := ask()) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def add_span(group, number):
    return group.scope_spans.add().spans.add(
        trace_id=number.to_bytes(16, "big"),
        span_id=number.to_bytes(8, "big"),
        name="x",
        start_time_unix_nano=time.time_ns(),
        end_time_unix_nano=time.time_ns() + 1000,
    )


def held(pairs):
    return {pair.key: pair.value.string_value for pair in pairs}


def test_what_an_application_did_not_say_is_added(rotel, client):
    _, export = rotel(**TOLD)
    request = ExportTraceServiceRequest()
    nothing, own, old = (request.resource_spans.add() for _ in range(3))
    own.resource.attributes.add(key="service.version").value.string_value = "mine"
    old.resource.attributes.add(key="deployment.environment").value.string_value = "staging"
    for number, group in enumerate((nothing, own, old), 1):
        add_span(group, number)
    export("trace", request)
    waited(client.count_traces, 3)
    traces = [client.get_trace(number.to_bytes(16, "big").hex()) for number in (1, 2, 3)]
    groups = [trace.otlp.resource_spans[0] for trace in traces]
    assert held(groups[0].resource.attributes) == TAGS
    assert held(traces[0].spans[0].attributes) == TAGS
    assert held(groups[1].resource.attributes) == TAGS | {"service.version": "mine"}
    environments = [trace.infos[0].environment for trace in traces]
    assert environments == ["production", "production", "staging"]
    assert [trace.infos[0].version for trace in traces] == ["2.4.0", "mine", "2.4.0"]


def test_nothing_that_is_sent_ends_it(rotel, client, server):
    agent, export = rotel(**TOLD)
    traces, logs, metrics = (
        ExportTraceServiceRequest(),
        ExportLogsServiceRequest(),
        ExportMetricsServiceRequest(),
    )
    traces.resource_spans.add()
    for number, values in enumerate(("none", "empty", "twice", "nested", "other"), 1):
        group = traces.resource_spans.add()
        span = add_span(group, number)
        for pairs in (group.resource.attributes, span.attributes):
            for key in (*TAGS, "deployment.environment", ""):
                pair = pairs.add(key=key)
                if values == "empty":
                    pair.value.SetInParent()
                elif values == "twice":
                    pairs.add(key=key).value.string_value = "again"
                elif values == "nested":
                    pair.value.kvlist_value.values.add(key=key)
                    pair.value.kvlist_value.values.add().value.array_value.values.add()
                elif values == "other":
                    pair.value.bytes_value = b"\xff"
        span.events.add()
        span.links.add()
    record = logs.resource_logs.add().scope_logs.add().log_records.add()
    record.attributes.add(key="service.version")
    logs.resource_logs.add()
    group = metrics.resource_metrics.add()
    group.resource.attributes.add(key="service.version")
    group.scope_metrics.add().metrics.add(name="n").gauge.data_points.add().as_int = 1
    metrics.resource_metrics.add()
    for signal_, request in (("trace", traces), ("logs", logs), ("metrics", metrics)):
        for _ in range(3):
            export(signal_, request)
    last = ExportTraceServiceRequest()
    add_span(last.resource_spans.add(), 99)
    export("trace", last)
    waited(lambda: client.count_traces(version="2.4.0"), 1)
    waited(client.count_traces, 6)
    assert agent.poll() is None
    assert server.process.poll() is None
    # What waits is sent before the end.
    add_span(last.resource_spans.add(), 100)
    export("trace", last)
    agent.send_signal(signal.SIGTERM)
    said = agent.communicate(timeout=30)[1]
    assert agent.returncode == 0
    assert "stamp_version" not in said
    assert "panicked" not in said
    assert TOKEN not in said
    assert client.count_traces() == 7


def test_a_processor_that_cannot_work_lets_everything_pass(rotel, client, tmp_path):
    # Rotel's own classes are not what they were: the processor says so once.
    source = START.with_name("stamp_version.py").read_text()
    folder = tmp_path / "rotel"
    folder.mkdir()
    broken = folder / "stamp_version.py"
    broken.write_text(source.replace("new_string_value", "new_text"))
    (folder / "start.sh").write_text(START.read_text())
    (folder / "start.sh").chmod(0o755)
    agent, export = rotel(start=folder / "start.sh", **TOLD)
    request = ExportTraceServiceRequest()
    for number in (1, 2):
        add_span(request.resource_spans.add(), number)
    export("trace", request)
    waited(client.count_traces, 2)
    agent.send_signal(signal.SIGTERM)
    said = agent.communicate(timeout=30)[1]
    assert said.count("stamp_version: not stamped: AttributeError") == 1
    assert agent.returncode == 0
