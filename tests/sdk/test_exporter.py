"""VtrackSpanExporter: where it sends to, over real sockets."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult

from otel_vtrack.sdk import exporter, guest
from otel_vtrack.sdk.exporter import VtrackSpanExporter


def send(**kwargs):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(VtrackSpanExporter(**kwargs)))
    provider.get_tracer("t").start_span("s").end()
    provider.shutdown()


def test_spans_arrive_by_grpc(sink, monkeypatch):
    monkeypatch.setenv("OTEL_VTRACK_ENDPOINT", f"127.0.0.1:{sink.grpc_port}")
    send()
    assert [name for name, *_ in sink.spans()] == ["s"]


def test_spans_arrive_by_http(sink, monkeypatch):
    monkeypatch.setenv("OTEL_VTRACK_ENDPOINT", f"http://127.0.0.1:{sink.http_port}/")
    monkeypatch.setenv("OTEL_VTRACK_PROTOCOL", "http/protobuf")
    send()
    assert [name for name, *_ in sink.spans()] == ["s"]


@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_VTRACK_ENDPOINT"])
def test_the_standard_variables_are_respected(sink, monkeypatch, variable):
    monkeypatch.setenv(variable, f"http://127.0.0.1:{sink.http_port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "Api-Key=a%20b")
    send()
    assert sink.spans()
    assert sink.headers[0]["api-key"] == "a b"


def test_the_standard_variable_for_traces_is_taken_as_it_is(sink, monkeypatch):
    url = f"http://127.0.0.1:{sink.http_port}/v1/traces"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url)
    send(protocol="http/protobuf")
    assert sink.spans()


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_the_experiment_is_named_beside_the_standard_headers(sink, monkeypatch, protocol):
    monkeypatch.setenv("OTEL_VTRACK_EXPERIMENT", "checkout")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "no header=x,API-Key=k")
    port = sink.grpc_port if protocol == "grpc" else sink.http_port
    send(endpoint=f"http://127.0.0.1:{port}", protocol=protocol)
    assert sink.spans()
    assert sink.headers[0]["x-vtrack-experiment"] == "checkout"
    assert sink.headers[0]["api-key"] == "k"


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_an_experiment_may_have_any_name(sink, monkeypatch, protocol):
    port = sink.grpc_port if protocol == "grpc" else sink.http_port
    for name in ("größe", "実験", "two\nlines"):
        monkeypatch.setenv("OTEL_VTRACK_EXPERIMENT", name)
        send(endpoint=f"127.0.0.1:{port}", protocol=protocol)
        named = sink.headers[-1].get("x-vtrack-experiment-bin", b"")
        if protocol == "grpc":
            assert named.decode() == name
        elif name.isprintable():
            assert named.encode("latin-1").decode() == name
        else:  # HTTP has no way to send a line break
            assert not named
    assert len(sink.spans(3)) == 3


def test_a_password_in_an_address_is_not_logged_and_is_no_reason_to_fail(sink, monkeypatch, caplog):
    monkeypatch.delenv("OTEL_VTRACK_RAISE_ERRORS")
    send(endpoint=f"http://me:secret@127.0.0.1:{sink.grpc_port}")
    send(endpoint=f"me:secret@127.0.0.1:{sink.http_port}", protocol="http/protobuf")
    assert len(sink.spans(2)) == 2
    assert exporter._endpoint("http://[broken", "grpc") == "http://127.0.0.1:4317"
    assert exporter._endpoint("h:1/?a=b", "http/protobuf") == "http://h:1/v1/traces?a=b"
    assert "secret" not in caplog.text


def test_the_default_is_the_receiver_on_this_machine():
    assert exporter._endpoint(None, "grpc") == "http://127.0.0.1:4317"
    assert exporter._endpoint(None, "http/protobuf") == "http://127.0.0.1:4318/v1/traces"


def test_an_unknown_protocol_is_reported_and_the_nearest_is_used(sink, monkeypatch, caplog):
    monkeypatch.delenv("OTEL_VTRACK_RAISE_ERRORS")
    for protocol, port in (("carrier-pigeon", sink.grpc_port), ("http/json", sink.http_port)):
        guest.forget()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        send(endpoint=f"127.0.0.1:{port}")
        assert protocol in caplog.text
    assert len(sink.spans(2)) == 2


def test_a_failed_export_is_a_result_and_no_exception():
    dead = VtrackSpanExporter("http://127.0.0.1:9", protocol="http/protobuf", timeout=1)
    span = TracerProvider(shutdown_on_exit=False).get_tracer("t").start_span("s")
    span.end()
    assert dead.export([span]) is SpanExportResult.FAILURE
    dead.shutdown()
