"""Every configuration of collector-config/, taken by the real Collector and doing what it says."""

import subprocess
from pathlib import Path

import grpc
import pytest
import yaml
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

CONFIGS = Path(__file__).parents[2] / "collector-config"
FILES = {
    "sidecar": ["otelcol-sidecar.yaml"],
    "gateway": ["otelcol-gateway.yaml"],
    "kubernetes": ["otelcol-gateway.yaml", "otelcol-kubernetes.yaml"],
    "loadbalanced": ["otelcol-loadbalanced.yaml"],
}
NEEDED = {
    "VTRACK_ENDPOINT": "127.0.0.1:4317",
    "VTRACK_HOSTNAME": "localhost",
    "BACKEND_ENDPOINT": "https://127.0.0.1:4318",
}
SIGNALS = {
    "trace": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}


def test_there_is_no_other_configuration():
    assert {path.name for path in CONFIGS.glob("otelcol-*.yaml")} == {
        name for names in FILES.values() for name in names
    }


@pytest.mark.parametrize("name", FILES)
def test_the_collector_takes_it_and_calls_nothing_deprecated(collector, name):
    code, said = collector(name, *FILES[name], **NEEDED).validate()
    assert (code, said) == (0, "")


def test_it_would_say_what_is_deprecated(collector, tmp_path, sink):
    """Or the checks that it says nothing would mean nothing."""
    old = tmp_path / "old.yaml"
    text = (CONFIGS / "otelcol-sidecar.yaml").read_text().replace("otlp_grpc/", "otlp/")
    old.write_text(text)
    started = collector("old", old, **NEEDED | {"BACKEND_ENDPOINT": "127.0.0.1:4317"}).start()
    started.stop()
    assert "deprecated" in started.log


def test_the_collector_has_the_parts_that_are_used_and_no_others(toolbox):
    said = subprocess.run(
        [toolbox("collector"), "components"], capture_output=True, check=True, timeout=60
    )
    built = yaml.safe_load(said.stdout)
    used = {kind: set() for kind in ("receivers", "processors", "exporters", "extensions")}
    for path in CONFIGS.glob("otelcol-*.yaml"):
        config = yaml.safe_load(path.read_text())
        for kind, names in used.items():
            names |= {name.partition("/")[0] for name in config.get(kind, {})}
    assert {kind: {part["name"] for part in built[kind]} for kind in used} == used


def export(address, signal, request, **call):
    service = f"opentelemetry.proto.collector.{signal}.v1.{signal.title()}Service"
    with grpc.insecure_channel(address) as channel:
        channel.unary_unary(f"/{service}/Export")(request.SerializeToString(), timeout=30, **call)


def one_of_each(**resource):
    """A request of each signal, from a resource with these attributes, `__` for a dot."""
    made = {signal: kind() for signal, kind in SIGNALS.items()}
    groups = [
        made["trace"].resource_spans.add(),
        made["logs"].resource_logs.add(),
        made["metrics"].resource_metrics.add(),
    ]
    for group in groups:
        for name, value in resource.items():
            key = name.replace("__", ".")
            group.resource.attributes.add(key=key).value.string_value = value
    span = groups[0].scope_spans.add().spans.add(trace_id=b"t" * 16, span_id=b"s" * 8, name="a")
    span.start_time_unix_nano = span.end_time_unix_nano = 1_790_000_000_000_000_000
    record = groups[1].scope_logs.add().log_records.add(event_name="gen_ai.evaluation.result")
    record.time_unix_nano = 1_790_000_000_000_000_000
    metric = groups[2].scope_metrics.add().metrics.add(name="m")
    metric.gauge.data_points.add(as_int=1, time_unix_nano=1_790_000_000_000_000_000)
    return made


def taken(backend, until):
    """The attributes of the resource of each signal, and of the span, once all have arrived."""
    until(lambda: all(backend.bodies[name] for name in ("traces", "logs", "metrics")))
    [traces] = ExportTraceServiceRequest.FromString(backend.taken["traces"]).resource_spans
    [logs] = ExportLogsServiceRequest.FromString(backend.taken["logs"]).resource_logs
    [metrics] = ExportMetricsServiceRequest.FromString(backend.taken["metrics"]).resource_metrics

    def of(owner):
        return {pair.key: pair.value.string_value for pair in owner.attributes}

    resources = [of(group.resource) for group in (traces, logs, metrics)]
    assert resources[0] == resources[1] == resources[2]
    return resources[0], of(traces.scope_spans[0].spans[0])


ALL = {
    # A number to YAML, but not to people.
    "OTEL_VTRACK_VERSION": "2.10",
    "OTEL_VTRACK_ENVIRONMENT": "production",
    "OTEL_VTRACK_DEPLOYMENT_ID": "0123",
    "OTEL_VTRACK_COMMIT": "1234567e10",
}
AS_ATTRIBUTES = {
    "service.version": "2.10",
    "deployment.environment.name": "production",
    "deployment.id": "0123",
    "vcs.ref.head.revision": "1234567e10",
}


@pytest.mark.parametrize(
    ("environment", "sent", "expected"),
    [
        (ALL, {}, AS_ATTRIBUTES),
        ({}, {}, {}),
        (dict.fromkeys(ALL, ""), {}, {}),
        (
            ALL,
            {"service__version": "1.0", "deployment__environment": "dev"},
            AS_ATTRIBUTES | {"service.version": "1.0", "deployment.environment.name": "dev"},
        ),
    ],
    ids=["all are set", "none is set", "all are empty", "the application knows better"],
)
def test_a_sidecar_adds_what_is_missing_as_text(
    sidecar, sink, until, secrets, environment, sent, expected
):
    vtrack, backend = sink(), sink()
    started = sidecar(f"127.0.0.1:{vtrack.grpc_port}", backend, **environment).start()
    for signal, request in one_of_each(service__name="shop", **sent).items():
        export(started.grpc, signal, request)
    resource, span = taken(backend, until)
    given = {name.replace("__", "."): value for name, value in sent.items()}
    assert resource == {"service.name": "shop"} | given | expected
    assert span == expected
    # The same to vtrack, but for metrics.
    until(lambda: vtrack.bodies["traces"] and vtrack.bodies["logs"])
    for name in ("traces", "logs"):
        assert vtrack.taken[name] == backend.taken[name]
    assert not vtrack.taken["metrics"]
    assert {each["authorization"] for each in vtrack.headers} == {secrets.vtrack.value}
    assert {each["authorization"] for each in backend.headers} == {secrets.backend.value}
    started.stop()
    assert "deprecated" not in started.log


def test_a_gateway_takes_tokens_and_tls_only_and_brings_names_up_to_date(
    gateway, sink, until, secrets, certificates
):
    vtrack, backend = sink(), sink()
    started = gateway(
        f"127.0.0.1:{vtrack.grpc_port}", backend, OTEL_VTRACK_ENVIRONMENT="staging"
    ).start()
    requests = one_of_each(
        service__name="shop", container__image__tag="2.10", vcs__repository__ref__revision="0c5f"
    )
    credentials = grpc.ssl_channel_credentials(certificates.ca.read_bytes())
    method = "/opentelemetry.proto.collector.{}.v1.{}Service/Export"
    with pytest.raises(grpc.RpcError):
        export(started.grpc, "trace", requests["trace"])
    with grpc.secure_channel(started.grpc, credentials) as channel:
        for metadata in ((), (("authorization", "Bearer of-somebody-else"),)):
            call = channel.unary_unary(method.format("trace", "Trace"))
            with pytest.raises(grpc.RpcError) as refused:
                call(requests["trace"].SerializeToString(), metadata=metadata, timeout=30)
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        for signal, request in requests.items():
            call = channel.unary_unary(method.format(signal, signal.title()))
            metadata = (("authorization", secrets.senders.value),)
            call(request.SerializeToString(), metadata=metadata, timeout=30)
    resource, span = taken(backend, until)
    expected = {
        "service.version": "2.10",
        "deployment.environment.name": "staging",
        "vcs.ref.head.revision": "0c5f",
    }
    assert {key: resource.get(key) for key in expected} == expected
    assert span == expected
    assert {each["authorization"] for each in backend.headers} == {secrets.backend.value}
    started.stop()
    assert "deprecated" not in started.log
