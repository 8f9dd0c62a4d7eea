"""Rotel, a Rust agent, between a sender and a live receiver."""

import socket
import subprocess
import time

import grpc
import pytest

from otel_vtrack.errors import StoreUnavailable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def rotel(rotel_command, live):
    """Start Rotel in front of the live receiver and return a call that exports to it."""
    command, environment = rotel_command
    started, channels = [], []

    def start(protocol: str):
        port = free_port()
        endpoint = (
            f"http://{live.target}" if protocol == "grpc" else f"http://127.0.0.1:{live.port}"
        )
        agent = subprocess.Popen(
            [
                *command,
                f"--otlp-grpc-endpoint=127.0.0.1:{port}",
                f"--otlp-http-endpoint=127.0.0.1:{free_port()}",
                "--exporter=otlp",
                f"--otlp-exporter-endpoint={endpoint}",
                f"--otlp-exporter-protocol={protocol}",
                "--otlp-exporter-custom-headers=x-vtrack-experiment=rotel",
                "--otlp-exporter-retry-initial-backoff=100ms",
                "--batch-timeout=2s",
            ],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        started.append(agent)
        channels.append(grpc.insecure_channel(f"127.0.0.1:{port}"))
        grpc.channel_ready_future(channels[-1]).result(30)
        return channels[-1].unary_unary(EXPORT)

    yield start
    for channel in channels:
        channel.close()
    for agent in started:
        agent.terminate()
        assert agent.wait(30) is not None


def wait_for(live, spans: int) -> None:
    deadline = time.monotonic() + 60
    while live.commits["traces"].snapshot().waiting_requests or len(live.traces.spans) < spans:
        assert time.monotonic() < deadline, f"{len(live.traces.spans)} of {spans} spans arrived"
        time.sleep(0.1)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_batches_of_more_than_4_mib_get_through_whole(live, make_request, rotel, protocol):
    export = rotel(protocol)
    sent = make_request(10_240, name="x" * 700)
    spans = sent.resource_spans[0].scope_spans[0].spans
    for start in range(0, len(spans), 512):
        part = type(sent)()
        part.resource_spans.add().scope_spans.add().spans.extend(spans[start : start + 512])
        export(part.SerializeToString(), timeout=30)
    wait_for(live, len(spans))
    assert max(map(len, live.traces.payloads)) > 4 << 20
    arrived = {span.span_id: span for span in live.traces.spans}
    assert len(arrived) == len(live.traces.spans) == len(spans)
    assert all(arrived[span.span_id] == span for span in spans)
    assert all(b"\xca\x3e\x05rotel" in payload for payload in live.traces.payloads)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_rotel_sends_again_what_a_refusing_store_did_not_take(live, make_request, rotel, protocol):
    refusals = []

    def refuse_twice(payload):
        if len(refusals) < 2:
            refusals.append(payload)
            raise StoreUnavailable("disk full; free some")

    live.traces.fail = refuse_twice
    export = rotel(protocol)
    export(make_request(5).SerializeToString(), timeout=30)
    wait_for(live, 5)
    assert len(refusals) == 2
    assert len(live.traces.spans) == 5
