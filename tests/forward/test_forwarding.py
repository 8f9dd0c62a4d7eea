"""`vtrack serve` before other backends: what it takes, passes on, and has in memory."""

import json
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

LARGEST_KB = 80_000


@pytest.fixture
def numbered(make_spans):
    """A request of one span of its own trace that is named after its number."""
    return lambda number: make_spans({"trace": number, "name": f"span {number}"})


def names(numbers):
    return [f"span {number}" for number in numbers]


def test_all_signals_arrive_byte_for_byte_with_headers(
    forwarding, backend_on, endpoint, numbered, until, tmp_path
):
    headers_file = tmp_path / "headers"
    headers_file.write_text("# of the vendor\nX-Team: search\n")
    more = {
        "headers": {"authorization": "Bearer ${env:BACKEND_TOKEN}"},
        "headers_file": str(headers_file),
        "compression": "gzip",
    }
    backends = [backend_on(), backend_on()]
    served = forwarding(
        endpoint(backends[0], "grpc", "one", **more),
        endpoint(backends[1], "http/protobuf", "two", **more),
        endpoint(backends[1], "http/protobuf", "three", signals=["logs"]),
        BACKEND_TOKEN="s3cret",
    )
    logs = ExportLogsServiceRequest()
    logs.resource_logs.add().scope_logs.add().log_records.add(event_name="e")
    metrics = ExportMetricsServiceRequest()
    metrics.resource_metrics.add().scope_metrics.add().metrics.add(name="m")
    traces = numbered(1)
    # A store would not take it; who only forwards leaves that to the backend.
    traces.resource_spans[0].scope_spans[0].spans.add(name="without ids")
    sent = {
        # With a field that nobody knows yet.
        "traces": traces.SerializeToString() + b"\x9a\x06\x03new",
        "logs": logs.SerializeToString(),
        "metrics": metrics.SerializeToString(),
    }
    assert served.export(sent["traces"]) == b""
    assert served.export(sent["metrics"], "metrics") == b""
    assert served.ask("/v1/logs", sent["logs"]).status == 200
    for signal in sent:
        assert served.ask(f"/v1/{signal}", b"garbage").status == 400
    until(lambda: backends[0].taken == sent)
    until(lambda: backends[1].taken == {**sent, "logs": sent["logs"] * 2})
    for headers in backends[0].headers:
        assert headers["authorization"] == "Bearer s3cret"
        assert headers["x-team"] == "search"
        assert headers["user-agent"].startswith("otel-vtrack/")
    # A renewed token counts from the next request on; JSON goes on as protobuf.
    headers_file.write_text("authorization: Bearer renewed\n")
    as_json = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "m"}]}]}]}
    kind = {"Content-Type": "application/json"}
    assert served.ask("/v1/metrics", json.dumps(as_json), kind).status == 200
    for backend in backends:
        until(lambda backend=backend: backend.bodies["metrics"] == [sent["metrics"]] * 2)
        assert backend.headers[-1]["authorization"] == "Bearer renewed"
    assert "s3cret" not in served.log + "".join(served.printed)
    assert b"s3cret" not in served.ask("/statusz").content


def test_who_only_forwards_has_no_engine_and_says_so(forwarding, backend, endpoint, numbered):
    served = forwarding(endpoint(backend, signals=["traces", "logs"]))
    for number in range(1, 50):
        served.export(numbered(number))
    process = Path(f"/proc/{served.process.pid}")
    if process.exists():
        maps = process.joinpath("maps").read_text().lower()
        for library in ("chdb", "numpy", "pandas", "pyarrow", "clickhouse", "scipy"):
            assert library not in maps
        status = process.joinpath("status").read_text()
        assert int(status.split("VmRSS:")[1].split()[0]) < LARGEST_KB
    assert served.ask("/readyz").status == 200
    assert "; " not in served.printed[0]
    assert served.printed[0].endswith(", forwards to backend\n")
    path = "/otel_vtrack.v1.TraceService/SearchTraces"
    answer = served.ask(path, "{}", {"Content-Type": "application/json"})
    assert (answer.status, json.loads(answer.content)["code"]) == (501, "unimplemented")
    with grpc.insecure_channel(served.grpc) as channel, pytest.raises(grpc.RpcError) as error:
        channel.unary_unary(path)(b"", timeout=10)
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "it only forwards" in error.value.details()
    command = [sys.executable, "-m", "otel_vtrack", "versions", "list", "--server", served.grpc]
    asked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert asked.returncode == 1
    assert "it only forwards" in asked.stderr
    # What no destination takes is not taken.
    assert served.ask("/v1/metrics", b"").status == 404
    assert served.ask("/v1/logs", b"").status == 200


def test_what_is_stored_is_forwarded_too_and_the_experiment_beside_it(
    vtrack, backend, numbered, until, reopened
):
    served = vtrack(
        *("--forward", f"http://127.0.0.1:{backend.http_port}"),
        OTEL_VTRACK_FORWARD_HEADERS="authorization=Bearer%20s3cret",
    )
    request = numbered(1)
    assert served.export(request, metadata=[("x-vtrack-experiment", "mine")]) == b""
    until(lambda: backend.bodies["traces"] == [request.SerializeToString()])
    assert backend.headers[0]["authorization"] == "Bearer s3cret"
    assert backend.headers[0]["x-vtrack-experiment"] == "mine"
    status = json.loads(served.ask("/statusz").content)
    assert status["mode"] == "store and forward"
    assert status["received"]["traces"]["accepted_items"] == 1
    # What still waits is sent before the end.
    backend.answer = lambda *_: time.sleep(0.3)
    for number in range(2, 5):
        served.export(numbered(number))
    assert served.stop() == 0
    assert backend.spans() == names(range(1, 5))
    assert (served.folder / "forward" / "queue-traces.sqlite").exists()
    found = reopened(served).select("SELECT name, experiment FROM spans ORDER BY name")
    assert found[0] == {"name": "span 1", "experiment": "mine"}
    assert len(found) == 4
