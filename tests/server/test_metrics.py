"""What `vtrack serve` says of itself as metrics, at an OTLP endpoint."""

import gzip
import http.server
import json
import re
import threading
import time
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

PAGE = (Path(__file__).parents[2] / "docs/server.md").read_text()
KINDS = {"updowncounter": ("sum", False), "counter": ("sum", True), "gauge": ("gauge", None)}


def documented():
    """Kind, unit and attributes of each metric by its name."""
    told = PAGE.split("## Metrics of the server", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"(?m)^\| `(vtrack[.\w]+)` \| (\w+) \| `(\S+)` \|([^|]*)\| \S", told)
    return {
        name: (*KINDS[kind], unit, set(re.findall(r"`(\S+)`", attributes)))
        for name, kind, unit, attributes in rows
    }


@pytest.fixture
def collector():
    """An OTLP endpoint, and the metrics of each request that it got."""
    got = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Content-Encoding"] == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/metrics"
            got.append(ExportMetricsServiceRequest.FromString(body).resource_metrics[0])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    server.server_close()


def points(resource_metrics):
    """Value by name and attributes; and what the data model says of each name."""
    values, about = {}, {}
    for metric in resource_metrics.scope_metrics[0].metrics:
        kind = metric.WhichOneof("data")
        data = getattr(metric, kind)
        for point in data.data_points:
            attributes = {each.key: each.value.string_value for each in point.attributes}
            named = ",".join([metric.name, *attributes.values()])
            values[named] = getattr(point, point.WhichOneof("value"))
            rises = data.is_monotonic if kind == "sum" else None
            about[metric.name] = (kind, rises, metric.unit, set(attributes))
    return values, about


def is_failing(served):
    status = json.loads(served.ask("/statusz").content)
    return status["forwarded"]["forward"]["signals"]["traces"]["failing"]


def test_every_metric_is_documented_and_every_documented_one_exists():
    from otel_vtrack import metrics  # noqa: PLC0415 - which no server loads that is not told to

    assert {name: (*KINDS[kind], unit) for name, kind, unit, _ in metrics.INSTRUMENTS} == {
        name: told[:-1] for name, told in documented().items()
    }


@pytest.mark.slow
def test_it_tells_what_is_documented(vtrack, collector, make_spans):
    endpoint, got = collector
    flags = ("--metrics-otlp-endpoint", endpoint, "--retention", "30d")
    # Nobody is there to take what is forwarded.
    served = vtrack(
        *flags, "--forward", "http://127.0.0.1:9", OTEL_RESOURCE_ATTRIBUTES="k8s.pod.name=vtrack-0"
    )
    served.export(make_spans({}, {}))
    deadline = time.monotonic() + 30
    while not is_failing(served):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # The rest is told at the end, and not in a minute.
    assert served.stop() == 0
    values, about = points(got[-1])
    assert about == documented()
    expected = {
        "vtrack.received.requests,traces,accepted": 1,
        "vtrack.received.requests,traces,unavailable": 0,
        "vtrack.received.requests,logs,accepted": 0,
        "vtrack.received.items,traces": 2,
        "vtrack.written.batches,traces": 1,
        "vtrack.waiting.size,traces": 0,
        "vtrack.received.unauthenticated": 0,
        "vtrack.forwarded.items,forward,traces,sent": 0,
        "vtrack.forwarded.failing,forward,traces": 1,
        "vtrack.forwarded.failing,forward,logs": 0,
        "vtrack.forwarded.dead_letters.size,forward": 0,
        "vtrack.retained.deleted,logs": 0,
    }
    assert {name: values[name] for name in expected} == expected
    assert values["vtrack.received.size,traces"] > 100
    assert values["vtrack.forwarded.waiting.size,forward,traces"] > 100
    assert 0 < values["vtrack.written.time,traces"] < 30
    resource = {each.key: each.value.string_value for each in got[-1].resource.attributes}
    assert resource["service.name"] == "otel-vtrack"
    assert resource["k8s.pod.name"] == "vtrack-0"
    assert resource["service.instance.id"]


@pytest.mark.slow
def test_an_endpoint_that_is_away_holds_nothing_up(vtrack, tmp_path):
    nobody = "http://127.0.0.1:9"
    forwards = ("--no-store", "--forward", nobody, "--forward-folder", str(tmp_path / "forward"))
    served = vtrack(*forwards, "--metrics-otlp-endpoint", nobody, OTEL_METRIC_EXPORT_INTERVAL="100")
    time.sleep(0.5)
    started = time.monotonic()
    assert served.stop() == 0
    assert time.monotonic() - started < 15
    assert "Traceback" not in served.log
