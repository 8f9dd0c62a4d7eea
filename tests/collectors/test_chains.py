"""Telemetry of real SDKs through chains of real processes, to the last attribute.

What an application sent is written down here by hand; what a vtrack stored is compared with that,
and with what came out at the end of the chain.
"""

import json
import subprocess
import time

import pytest
from google.protobuf import text_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_vtrack.query import export
from otel_vtrack.wire import anyvalue

SHARED = {
    "text": "größer 🙂",
    "empty": "",
    "no": False,
    "zero": 0,
    "half": 0.5,
    "texts": ["a", "", "b"],
}
GO_AND_JAVA = SHARED | {
    "large": 2**63 - 1,
    "small": -(2**63),
    "whole": 2.0,
    "truths": [True, False],
    "numbers": [1, -7],
    "halves": [0.5, 2.0],
    "none": [],
    "bytes": b"\xff\x00",
    "mixed": ["a", 1],
    "map": {"yes": True, "half": 0.5},
}
# JavaScript has one kind of number: a whole one is sent as an int.
NODE = SHARED | {
    "texts": ["a", "b"],
    "whole": 42,
    "large": 2**53 - 1,
    "negative": -7,
    "numbers": [1, 2.5],
}


def spans_of(data):
    """Every span by its ids as text, with its resource and scope, attributes sorted by name."""
    found = {}
    for group in data.resource_spans:
        for scoped in group.scope_spans:
            for span in scoped.spans:
                kept = ExportTraceServiceRequest()
                outer = kept.resource_spans.add(schema_url=group.schema_url)
                outer.resource.CopyFrom(group.resource)
                inner = outer.scope_spans.add(schema_url=scoped.schema_url)
                inner.scope.CopyFrom(scoped.scope)
                inner.spans.add().CopyFrom(span)
                if not span.status.ByteSize():
                    inner.spans[0].ClearField("status")
                owners = [outer.resource, inner.scope, inner.spans[0]]
                for owner in [*owners, *inner.spans[0].events, *inner.spans[0].links]:
                    for pair in owner.attributes:
                        pair.value.SetInParent()
                        in_order_inside(pair.value)
                    in_order(owner.attributes)
                key = (span.trace_id, span.span_id)
                text = text_format.MessageToString(kept)
                assert found.setdefault(key, text) == text, "a span came in two ways"
    return found


def tag(text, name):
    """A tag of a span of `spans_of`, as its resource and as the span itself has it."""
    [group] = text_format.Parse(text, ExportTraceServiceRequest()).resource_spans
    owners = (group.resource, group.scope_spans[0].spans[0])
    return tuple(
        next((pair.value.string_value for pair in owner.attributes if pair.key == name), None)
        for owner in owners
    )


def in_order(pairs):
    ordered = sorted(pairs, key=lambda pair: pair.key)
    copies = [type(pair).FromString(pair.SerializeToString()) for pair in ordered]
    del pairs[:]
    pairs.extend(copies)


def in_order_inside(value):
    # A look at a kind that a value is not of would make it one.
    if value.HasField("kvlist_value"):
        in_order(value.kvlist_value.values)


def spans_in(backend):
    return spans_of(ExportTraceServiceRequest.FromString(backend.taken["traces"]))


def spans_stored(served, reopened):
    store = reopened(served)
    found = {}
    for row in store.select("SELECT DISTINCT lower(hex(trace_id)) AS id FROM spans"):
        found |= spans_of(export.trace(store, row["id"]))
    return found


def check_client(found, scope, chat_attributes, kinds):
    """The spans of one client, found by its scope, are as its source says; returns the traces."""
    spans = {}
    for text in found.values():
        [group] = text_format.Parse(text, ExportTraceServiceRequest()).resource_spans
        [scoped] = group.scope_spans
        if scoped.scope.name == scope:
            assert scoped.scope.version == "1.0.0"
            names = {pair.key: pair.value.string_value for pair in group.resource.attributes}
            assert names["service.name"] == "shop"
            spans.setdefault(scoped.spans[0].name, []).append(scoped.spans[0])
    assert {name: each[0].kind for name, each in spans.items()} == kinds
    for root in spans["POST /chat"]:
        [chat, tool] = [
            span
            for name in ("chat gpt-4.1", "execute_tool")
            for span in spans[name]
            if span.parent_span_id == root.span_id
        ]
        assert (len(root.trace_id), len(root.span_id), root.parent_span_id) == (16, 8, b"")
        assert root.trace_id == chat.trace_id == tool.trace_id
        assert 0 < chat.start_time_unix_nano <= chat.end_time_unix_nano
        expected = {name: anyvalue.to_message(value) for name, value in chat_attributes.items()}
        sent = {pair.key: pair.value for pair in chat.attributes if pair.key in expected}
        for value in (*sent.values(), *expected.values()):
            in_order_inside(value)
        assert {k: plain(v) for k, v in sent.items()} == {k: plain(v) for k, v in expected.items()}
        [link] = chat.links
        assert link.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
        assert link.span_id.hex() == "b7ad6b7169203331"
        assert link.attributes[0].value.bool_value
        [event] = chat.events
        assert (event.name, event.attributes[0].value.int_value) == ("first token", 1)
        assert (tool.status.code, tool.status.message) == (2, "no such order")
        assert tool.events[0].name == "exception"
    return len(spans["POST /chat"])


def plain(value):
    """Write a value as text, so that its kind is told apart as well."""
    return text_format.MessageToString(value)


KINDS = {"POST /chat": 2, "chat gpt-4.1": 3, "execute_tool": 1}
ALL_KINDS = KINDS | {"produce": 4, "consume": 5}


@pytest.fixture
def send_all(toolbox, node_send):
    """Send what Node, Go, Java and telemetrygen have to a receiver without TLS.

    Returns how many spans, log records and points of metrics that should be.
    """

    def run(command):
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def send(grpc_address, http_address, metrics=True):
        grpc_url, http_url = f"http://{grpc_address}", f"http://{http_address}"
        for exporter, url in (
            ("http", f"{http_url}/v1/traces"),
            ("proto", f"{http_url}/v1/traces"),
            ("grpc", grpc_url),
        ):
            node_send(exporter, url, "gzip")
        for client in ([str(toolbox("go_client"))], toolbox("java_client")):
            run([*client, "grpc", grpc_url])
            run([*client, "http", http_url])
        for address, more in ((grpc_address, []), (http_address, ["--otlp-http"])):
            common = ["--otlp-endpoint", address, "--otlp-insecure", "--rate", "0", *more]
            generator = str(toolbox("telemetrygen"))
            run([
                generator, "traces", *common, "--traces", "100", "--child-spans", "4",
                "--span-links", "1", "--status-code", "Error",
                "--otlp-attributes", 'tier="generated"', "--telemetry-attributes", "n=7",
            ])  # fmt: skip
            run([generator, "logs", *common, "--otlp-http-url-path", "/v1/logs", "--logs", "100"])
            if metrics:
                path = ["--otlp-http-url-path", "/v1/metrics"]
                run([generator, "metrics", *common, *path, "--metrics", "100"])
        return {"traces": 3 * 3 + 2 * 5 + 2 * 5 + 2 * 500, "logs": 200, "metrics": 200}

    return send


def counts_in(backend):
    return {
        "traces": len(spans_in(backend)),
        "logs": sum(
            len(scoped.log_records)
            for group in ExportLogsServiceRequest.FromString(backend.taken["logs"]).resource_logs
            for scoped in group.scope_logs
        ),
        "metrics": sum(
            len(metric.gauge.data_points) + len(metric.sum.data_points)
            for group in ExportMetricsServiceRequest.FromString(
                backend.taken["metrics"]
            ).resource_metrics
            for scoped in group.scope_metrics
            for metric in scoped.metrics
        ),
    }


def check_all(found):
    assert check_client(found, "go-client", GO_AND_JAVA, ALL_KINDS) == 2
    assert check_client(found, "java-client", GO_AND_JAVA, ALL_KINDS) == 2
    assert check_client(found, "node-client", NODE, KINDS) == 3


def test_app_collector_vtrack_collector(
    sidecar, gateway, vtrack_at, sink, destination, send_all, until, reopened
):
    beside, at_end, central = sink(), sink(), sink()
    second = gateway(f"127.0.0.1:{central.grpc_port}", at_end)
    port = second.grpc.rpartition(":")[2]
    vtrack = vtrack_at(destinations=[destination("gateway", port)])
    first = sidecar(vtrack.grpc, beside, OTEL_VTRACK_VERSION="2.10").start()
    second.start()
    vtrack.start()
    expected = send_all(first.grpc, first.http)
    # vtrack gets no metrics from a sidecar.
    behind = expected | {"metrics": 0}
    until(lambda: counts_in(beside) == expected, 60, lambda: counts_in(beside))
    for backend in (central, at_end):
        until(lambda backend=backend: counts_in(backend) == behind, 60, lambda: counts_in(at_end))
    status = vtrack.forwarded("gateway")
    assert status["sent_items"] == expected["traces"]
    assert status["dropped_items"] == status["dead_lettered_items"] == 0
    vtrack.stop()
    for each in (first, second):
        each.stop()
        assert "deprecated" not in each.log
    stored = spans_stored(vtrack.served, reopened)
    check_all(stored)
    assert stored == spans_in(beside) == spans_in(at_end) == spans_in(central)
    # The sidecar's own where the application says none, on resources and on spans.
    versions = [tag(text, "service.version") for text in stored.values()]
    assert set(versions) == {("2.10", "2.10"), ("2.4.0", "2.4.0")}


def test_app_vtrack_collector(
    gateway, vtrack_on, tmp_path, sink, destination, send_all, until, reopened
):
    at_end, central = sink(), sink()
    collector = gateway(f"127.0.0.1:{central.grpc_port}", at_end).start()
    grpc_port, http_port = (each.rpartition(":")[2] for each in (collector.grpc, collector.http))
    config = tmp_path / "vtrack.yaml"
    folder = tmp_path / "store"
    # JSON is YAML.
    config.write_text(
        json.dumps(
            {
                "store_url": f"chdb://{folder}",
                "destinations": [
                    destination("gateway", grpc_port, signals=["traces", "metrics"]),
                    destination("by-http", http_port, protocol="http/protobuf", signals=["logs"]),
                ],
            }
        )
    )
    served = vtrack_on(folder, "--config", str(config))
    expected = send_all(served.grpc, served.http)
    until(lambda: counts_in(at_end) == expected, 60, lambda: counts_in(at_end))
    until(lambda: counts_in(central) == expected | {"metrics": 0}, 60)
    assert served.stop() == 0
    collector.stop()
    assert "deprecated" not in collector.log
    stored = spans_stored(served, reopened)
    check_all(stored)
    # The gateway writes what it knows of a resource on its spans; Node's alone says a version.
    at_end = spans_in(at_end)
    assert at_end == spans_in(central)
    tags = {key: tag(text, "service.version") for key, text in at_end.items()}
    assert {tag for tag in tags.values() if any(tag)} == {("2.4.0", "2.4.0")}
    untouched = {key: text for key, text in at_end.items() if not any(tags[key])}
    assert len(untouched) == len(stored) - 9
    assert untouched == {key: stored[key] for key in untouched}
    assert stored.keys() == at_end.keys()


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_app_rotel_vtrack(
    rotel_command, free_port, vtrack_on, tmp_path, send_all, until, reopened, protocol
):
    folder = tmp_path / "store"
    served = vtrack_on(folder)
    command, environment = rotel_command
    grpc_address, http_address = (f"127.0.0.1:{free_port()}" for _ in range(2))
    target = served.grpc if protocol == "grpc" else served.http
    with (tmp_path / "rotel.log").open("w") as log:
        agent = subprocess.Popen(
            [
                *command,
                f"--otlp-grpc-endpoint={grpc_address}",
                f"--otlp-http-endpoint={http_address}",
                "--exporter=otlp",
                f"--otlp-exporter-endpoint=http://{target}",
                f"--otlp-exporter-protocol={protocol}",
                "--batch-timeout=200ms",
            ],
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        time.sleep(1)
        expected = send_all(grpc_address, http_address, metrics=False)

        def received():
            status = json.loads(served.ask("/statusz").content)["received"]
            return {name: status[name]["accepted_items"] for name in ("traces", "logs")}

        wanted = {name: expected[name] for name in ("traces", "logs")}
        until(lambda: received() == wanted, 30, received)
    finally:
        agent.terminate()
        agent.wait(30)
    assert served.stop() == 0
    stored = spans_stored(served, reopened)
    assert len(stored) == expected["traces"]
    check_all(stored)
