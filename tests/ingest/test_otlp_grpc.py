"""OTLP/gRPC's duties, against a real server and real sockets."""

import logging
import socket
import time

import grpc
import pytest
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2, status_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

from otel_vtrack.errors import Overloaded, StoreUnavailable, WireError
from otel_vtrack.ingest import otlp_grpc

MANY = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def refused(live, payload, **call) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        live.export(payload, **call)
    return caught.value


def trailers(error) -> dict:
    return dict(error.trailing_metadata())


def detail(error, kind):
    """Unpack the one detail of the google.rpc.Status in the trailers."""
    status = status_pb2.Status.FromString(trailers(error)["grpc-status-details-bin"])
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    (packed,) = status.details
    assert isinstance(packed, Any)
    found = kind()
    assert packed.Unpack(found)
    return found


def raises(error):
    def fail(payload):
        raise error

    return fail


def test_a_request_with_nothing_to_object_to_is_stored_byte_for_byte(live, make_request):
    # Fields out of order and one nobody knows: what a re-encoding would change.
    payload = b"\xfa\x01\x03new" + make_request(3).SerializeToString()
    assert live.export(payload) == b""
    assert live.traces.payloads == [payload]


@pytest.mark.parametrize("compression", list(grpc.Compression))
def test_every_compression_of_grpcio_is_taken(live, make_request, compression):
    payload = make_request(50).SerializeToString()
    live.export(payload, compression=compression)
    assert live.traces.payloads == [payload]


def test_full_success_leaves_partial_success_unset(live, make_request):
    answer = ExportTraceServiceResponse.FromString(live.export(make_request().SerializeToString()))
    assert not answer.HasField("partial_success")


@pytest.mark.parametrize(
    "empty",
    [b"", b"\x0a\x00", ExportTraceServiceRequest(resource_spans=[{}, {}]).SerializeToString()],
)
def test_an_empty_request_is_a_success(live, empty):
    assert live.export(empty) == b""
    assert live.traces.payloads == []


def test_unknown_fields_are_no_error_and_are_kept(live, make_request):
    request = make_request(2)
    payload = request.SerializeToString().replace(b"chat", b"chat\xa2\x06\x03new", 1)
    # The lengths of what encloses the new field grow by it.
    span = request.resource_spans[0].scope_spans[0].spans[0].SerializeToString()
    grown = span + b"\xa2\x06\x03new"
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add().MergeFromString(grown)
    payload = request.SerializeToString()
    assert b"\xa2\x06\x03new" in payload
    assert live.export(payload) == b""
    assert live.traces.payloads == [payload]


def test_calls_run_at_once_and_share_one_insert(live, make_request, in_threads):
    live.traces.gate.clear()
    first = in_threads(live.export, [make_request().SerializeToString()])
    assert live.traces.writing.wait(10)
    rest = in_threads(live.export, [make_request().SerializeToString() for _ in range(20)])
    deadline = time.monotonic() + 10
    while live.commits["traces"].snapshot().waiting_requests < 21:
        assert time.monotonic() < deadline, "the calls wait for each other"
        time.sleep(0.01)
    live.traces.gate.set()
    assert [call.result(10) for call in first + rest] == [b""] * 21
    assert len(live.traces.payloads) == 2
    assert len({span.span_id for span in live.traces.spans}) == 21


def test_the_answer_follows_the_insert(live, make_request, in_threads):
    live.traces.gate.clear()
    (call,) = in_threads(live.export, [make_request().SerializeToString()])
    assert live.traces.writing.wait(10)
    time.sleep(0.2)
    assert not call.done()
    live.traces.gate.set()
    assert call.result(10) == b""


BAD_IDS = {
    "trace_id": [b"", b"\x01", bytes(16), b"\x01" * 15, b"\x01" * 17, b"\x01" * 32],
    "span_id": [b"", b"\x01", bytes(8), b"\x01" * 7, b"\x01" * 16],
    "parent_span_id": [b"\x01", b"\x01" * 7, b"\x01" * 16],
}
FAULTS = st.sampled_from(
    [None, None, *((field, value) for field, values in BAD_IDS.items() for value in values)]
)


@MANY
@given(groups=st.lists(st.lists(FAULTS, max_size=6), min_size=1, max_size=4))
def test_partial_success_counts_what_was_rejected_exactly(live, make_request, groups):
    live.traces.payloads.clear()
    request, good = ExportTraceServiceRequest(), []
    for faults in groups:
        made = make_request(len(faults))
        for span, fault in zip(made.resource_spans[0].scope_spans[0].spans, faults, strict=True):
            if fault:
                setattr(span, *fault)
            else:
                good.append(span.span_id)
        request.MergeFrom(made)
    total = sum(map(len, groups))
    before = live.commits["traces"].snapshot().rejected_items
    answer = ExportTraceServiceResponse.FromString(live.export(request.SerializeToString()))
    assert answer.partial_success.rejected_spans == total - len(good)
    assert bool(answer.partial_success.error_message) == (total > len(good))
    rejected = live.commits["traces"].snapshot().rejected_items - before
    assert rejected == total - len(good)
    assert [span.span_id for span in live.traces.spans] == good


def test_the_message_of_a_partial_success_says_why_and_what_to_do(live, make_request):
    request = make_request(3)
    spans = request.resource_spans[0].scope_spans[0].spans
    spans[0].trace_id = b"short"
    spans[2].span_id = bytes(8)
    answer = ExportTraceServiceResponse.FromString(live.export(request.SerializeToString()))
    assert answer.partial_success.error_message == (
        "2 of 3 spans were rejected: 1 because span_id is not 8 bytes or is all zero; 1 because "
        "trace_id is not 16 bytes or is all zero. The others are stored. Correct these "
        "before sending them again."
    )


def test_the_answer_to_100_000_bad_spans_stays_under_4_mib(live, make_request):
    answer = live.export(make_request(100_000, trace_id=b"").SerializeToString())
    assert len(answer) < 1_000
    partial = ExportTraceServiceResponse.FromString(answer).partial_success
    assert partial.rejected_spans == 100_000
    assert live.traces.payloads == []


def test_a_span_with_a_parent_id_of_a_wrong_length_is_rejected(live, make_request):
    request = make_request(2)
    request.resource_spans[0].scope_spans[0].spans[0].parent_span_id = b"short"
    answer = ExportTraceServiceResponse.FromString(live.export(request.SerializeToString()))
    assert answer.partial_success.rejected_spans == 1
    assert "parent_span_id is neither empty nor 8 bytes" in answer.partial_success.error_message


@pytest.mark.parametrize("link", [{}, {"trace_id": b"x", "span_id": bytes(8)}])
def test_a_span_with_a_bad_link_is_kept(live, make_request, link):
    request = make_request()
    request.resource_spans[0].scope_spans[0].spans[0].links.add(**link)
    payload = request.SerializeToString()
    assert live.export(payload) == b""
    assert live.traces.payloads == [payload]


@pytest.mark.parametrize(("start", "end"), [(0, 0), (10**18, 10**18 - 1), (2**63 - 1, 0)])
def test_absurd_times_are_passed_on(live, make_request, start, end):
    payload = make_request(start_time_unix_nano=start, end_time_unix_nano=end).SerializeToString()
    answer = ExportTraceServiceResponse.FromString(live.export(payload))
    assert answer.partial_success.rejected_spans == 0
    assert live.traces.payloads == [payload]


def test_times_beyond_what_the_store_can_say_are_rejected(live, make_request):
    bad = make_request(start_time_unix_nano=2**63)
    good = make_request()
    payload = bad.SerializeToString() + good.SerializeToString()
    answer = ExportTraceServiceResponse.FromString(live.export(payload))
    assert answer.partial_success.rejected_spans == 1
    assert len(live.traces.spans) == 1


def test_log_records_beyond_what_the_store_can_say_are_rejected(live, signals):
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    records.add(time_unix_nano=2**63)
    records.add(time_unix_nano=10**18)
    answer = ExportLogsServiceResponse.FromString(
        live.export(request.SerializeToString(), signals["logs"])
    )
    assert answer.partial_success.rejected_log_records == 1


def test_100_000_attributes_on_one_span_are_taken(live, make_request):
    request = make_request()
    attributes = request.resource_spans[0].scope_spans[0].spans[0].attributes
    for number in range(100_000):
        attributes.add(key=f"k{number}").value.int_value = number
    payload = request.SerializeToString()
    assert live.export(payload) == b""
    assert live.traces.payloads == [payload]


def test_values_of_every_kind_are_taken_everywhere(live, make_request):
    request = make_request()
    span = request.resource_spans[0].scope_spans[0].spans[0]
    request.resource_spans[0].resource.entity_refs.add(type="service", id_keys=["service.name"])
    span.flags = 0x300
    for owner in (span, request.resource_spans[0].resource, span.events.add(), span.links.add()):
        owner.attributes.add(key="empty").value.SetInParent()
        owner.attributes.add(key="bytes").value.bytes_value = b"\xff\x00"
        array = owner.attributes.add(key="mixed").value.array_value
        array.values.add(int_value=1)
        array.values.add().array_value.values.add(bool_value=False)
        array.values.add().kvlist_value.values.add(key="k").value.double_value = 0.5
    payload = request.SerializeToString()
    assert live.export(payload) == b""
    assert live.traces.payloads == [payload]


def refer_by_key(span):
    span.attributes.add(key_strindex=3).value.string_value = "x"


def refer_by_value(span):
    span.events.add().attributes.add(key="k").value.string_value_strindex = 7


def refer_deep_inside(span):
    outer = span.links.add().attributes.add(key="k").value.array_value.values.add()
    outer.kvlist_value.values.add(key_strindex=1)


@pytest.mark.parametrize("refer", [refer_by_key, refer_by_value, refer_deep_inside])
def test_an_index_into_a_dictionary_is_absent_and_warned_of(live, make_request, refer):
    request = make_request(5)
    refer(request.resource_spans[0].scope_spans[0].spans[3])
    answer = ExportTraceServiceResponse.FromString(live.export(request.SerializeToString()))
    assert answer.partial_success.rejected_spans == 0
    assert "key_strindex" in answer.partial_success.error_message
    assert len(live.traces.spans) == 5


@pytest.mark.parametrize("payload", [b"garbage", b"\x1f\x8b\x08", b"\x0a\x05ab"])
def test_bad_data_is_invalid_argument_with_a_bad_request(live, payload):
    error = refused(live, payload)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "send all that an OTLP encoder wrote" in error.details()
    bad = detail(error, error_details_pb2.BadRequest)
    assert bad.field_violations[0].description == error.details()
    assert "google.rpc.retryinfo-bin" not in trailers(error)


def test_text_that_is_not_utf8_is_named_as_the_reason(live, make_request):
    error = refused(
        live, make_request(name="abcd").SerializeToString().replace(b"abcd", b"\xff" * 4)
    )
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "is not UTF-8" in error.details()


def test_a_bad_request_does_not_spoil_its_neighbours(live, make_request, in_threads):
    live.traces.gate.clear()
    good = [make_request().SerializeToString() for _ in range(10)]
    calls = in_threads(live.export, good)
    error = refused(live, b"garbage")
    live.traces.gate.set()
    assert [call.result(10) for call in calls] == [b""] * 10
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len(live.traces.spans) == 10


def test_a_request_over_the_limit_must_not_be_sent_again(serve, make_request):
    live = serve(max_bytes=1 << 20)
    for compression in grpc.Compression:
        error = refused(
            live, make_request(name="x" * (2 << 20)).SerializeToString(), compression=compression
        )
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert not any("retry" in name or "details" in name for name in trailers(error))
    live.export(make_request(name="x" * (1 << 19)).SerializeToString())


def test_16_mib_are_taken_by_default(live, make_request):
    live.export(make_request(name="x" * (16 << 20)).SerializeToString())
    assert len(live.traces.spans) == 1


@pytest.mark.parametrize(
    "error", [StoreUnavailable("the disk is full; free some"), Overloaded("busy; wait", 3.0)]
)
def test_a_store_that_refuses_is_unavailable_with_both_retry_infos(live, make_request, error):
    live.traces.fail = raises(error)
    caught = refused(live, make_request().SerializeToString())
    assert caught.code() is grpc.StatusCode.UNAVAILABLE
    standard = detail(caught, error_details_pb2.RetryInfo)
    pythons = error_details_pb2.RetryInfo.FromString(trailers(caught)["google.rpc.retryinfo-bin"])
    assert standard == pythons
    assert standard.retry_delay.ToTimedelta().total_seconds() >= 1


def test_a_store_recovers_without_a_restart(live, make_request):
    live.traces.fail = raises(StoreUnavailable("read-only; remount it"))
    assert refused(live, make_request().SerializeToString()).code() is grpc.StatusCode.UNAVAILABLE
    live.traces.fail = lambda payload: None
    assert live.export(make_request().SerializeToString()) == b""


def test_a_full_queue_is_unavailable_with_a_delay(serve, make_request, in_threads):
    live = serve(max_waiting_requests=2)
    live.traces.gate.clear()
    calls = in_threads(live.export, [make_request().SerializeToString() for _ in range(2)])
    while live.commits["traces"].snapshot().waiting_requests < 2:
        time.sleep(0.01)
    error = refused(live, make_request().SerializeToString())
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert detail(error, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() >= 1_000
    live.traces.gate.set()
    assert [call.result(10) for call in calls] == [b""] * 2


def test_pythons_exporter_waits_as_long_as_it_is_asked(live):
    began: list[float] = []

    def fail_once(payload):
        began.append(time.monotonic())
        if len(began) == 1:
            raise StoreUnavailable("not now; wait")

    live.traces.fail = fail_once
    exporter = OTLPSpanExporter(endpoint=f"http://{live.target}", insecure=True, timeout=20)
    provider = TracerProvider(shutdown_on_exit=False)
    span = provider.get_tracer("t").start_span("s")
    span.end()
    assert exporter.export([span]) is SpanExportResult.SUCCESS
    exporter.shutdown()
    # Left to itself the exporter would try again after about a second.
    assert 4.5 <= began[1] - began[0] <= 8


def test_pythons_sdk_gets_through(live):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=f"http://{live.target}", insecure=True))
    )
    with provider.get_tracer("t").start_as_current_span("s", attributes={"k": [1, 2]}):
        pass
    provider.shutdown()
    assert [span.name for span in live.traces.spans] == ["s"]


def test_an_unforeseen_fault_is_retryable_and_logged_with_its_traceback(live, make_request, caplog):
    live.traces.fail = raises(ZeroDivisionError("a bug"))
    error = refused(live, make_request().SerializeToString())
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert detail(error, error_details_pb2.RetryInfo)
    assert "ZeroDivisionError: a bug" in caplog.text


def test_a_request_the_store_can_never_take_is_invalid_argument(live, make_request):
    live.traces.fail = raises(WireError("the store can't read it; drop it"))
    error = refused(live, make_request().SerializeToString())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_secrets_never_reach_the_log(live, make_request, caplog):
    caplog.set_level(logging.DEBUG)
    live.traces.fail = raises(ZeroDivisionError("a bug"))
    request = make_request()
    pair = request.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="password")
    pair.value.string_value = "hunter2"
    refused(live, request.SerializeToString(), metadata=[("authorization", "Bearer s3cret")])
    refused(live, b"hunter2", metadata=[("authorization", "Bearer s3cret")])
    assert "a bug" in caplog.text
    assert "hunter2" not in caplog.text
    assert "s3cret" not in caplog.text


def test_metrics_are_unimplemented_without_a_forwarder(live, signals):
    error = refused(live, b"", signal=signals["metrics"])
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "google.rpc.retryinfo-bin" not in trailers(error)


def test_metrics_are_handed_to_the_forwarder_as_they_came(serve, signals):
    forwarded: list[tuple[bytes, int, str]] = []
    live = serve(forward=forwarded.extend)
    request = ExportMetricsServiceRequest()
    request.resource_metrics.add().scope_metrics.add().metrics.add(name="m")
    payload = request.SerializeToString()
    assert live.export(payload, signal=signals["metrics"]) == b""
    assert forwarded == [(payload, 1, "")]
    error = refused(live, b"garbage", signal=signals["metrics"])
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert forwarded == [(payload, 1, "")]


def test_log_records_are_stored_whatever_their_ids(live, signals):
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    records.add(event_name="feature_flag.evaluation", trace_id=b"\x01" * 16, span_id=b"\x01" * 8)
    records.add(severity_text="no trace")
    payload = request.SerializeToString()
    assert live.export(payload, signal=signals["logs"]) == b""
    assert live.logs.payloads == [payload]
    assert live.traces.payloads == []


def test_a_log_record_with_ids_of_a_wrong_length_is_kept_without_them(live, signals):
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    records.add(severity_text="good", trace_id=b"\x01" * 16, span_id=b"\x01" * 8)
    records.add(severity_text="bad", trace_id=b"\x01" * 3, span_id=b"\x01" * 8)
    records.add(severity_text="no span", trace_id=b"\x01" * 16, span_id=b"\x01" * 3)
    answer = ExportLogsServiceResponse.FromString(
        live.export(request.SerializeToString(), signal=signals["logs"])
    )
    assert answer.partial_success.rejected_log_records == 0
    assert answer.partial_success.error_message.startswith("2 of 3 log records are stored without")
    good, bad, no_span = live.logs.logs_request.resource_logs[0].scope_logs[0].log_records
    assert (good.trace_id, good.span_id) == (b"\x01" * 16, b"\x01" * 8)
    assert (bad.severity_text, bad.trace_id, bad.span_id) == ("bad", b"", b"")
    assert (no_span.severity_text, no_span.trace_id, no_span.span_id) == (
        *("no span", b"\x01" * 16),
        b"",
    )


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ([("x-mlflow-experiment-id", "7")], b"7"),
        ([("x-vtrack-experiment", "cart")], b"cart"),
        ([("x-mlflow-experiment-id", "7"), ("x-vtrack-experiment", "cart")], b"cart"),
        ([("x-vtrack-experiment", ""), ("x-mlflow-experiment-id", "7")], b"7"),
    ],
)
def test_the_experiment_in_the_metadata_reaches_every_resource(
    live, make_request, signals, metadata, expected
):
    request = make_request(2)
    request.MergeFrom(make_request(1))
    live.export(request.SerializeToString(), metadata=metadata)
    mark = b"\xca\x3e" + bytes([len(expected)]) + expected
    assert live.traces.payloads[0].count(mark) == 2
    assert len(live.traces.spans) == 3
    logs = ExportLogsServiceRequest()
    logs.resource_logs.add().scope_logs.add().log_records.add(event_name="e")
    live.export(logs.SerializeToString(), signal=signals["logs"], metadata=metadata)
    assert live.logs.payloads[0].count(mark) == 1


def test_an_experiment_smuggled_in_as_a_field_is_taken_out(live, make_request):
    request = make_request()
    clean = request.SerializeToString()
    for smuggled in (b"\xca\x3e\x04evil", b"\xc8\x3e\x01", b"\xd5\x3e\x00\x00\x80\x40"):
        live.traces.payloads.clear()
        inner = request.resource_spans[0].SerializeToString() + smuggled
        assert live.export(b"\x0a" + bytes([len(inner)]) + inner) == b""
        assert live.traces.payloads == [clean]


def test_an_experiment_of_more_than_250_characters_is_bad_data(live, make_request):
    error = refused(
        live, make_request().SerializeToString(), metadata=[("x-vtrack-experiment", "x" * 251)]
    )
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "x-vtrack-experiment is longer than 250 characters" in error.details()


def test_the_adjusted_count_in_the_metadata_reaches_the_spans(live, make_request, signals):
    metadata = [("x-vtrack-adjusted-count", "4"), ("x-vtrack-experiment", "cart")]
    live.export(make_request().SerializeToString(), metadata=metadata)
    mark = b"\xca\x3e\x04cart" + b"\xd5\x3e\x00\x00\x80\x40"
    assert live.traces.payloads[0].count(mark) == 1
    logs = ExportLogsServiceRequest()
    logs.resource_logs.add().scope_logs.add().log_records.add(event_name="e")
    live.export(logs.SerializeToString(), signal=signals["logs"], metadata=metadata)
    assert b"\xd5\x3e" not in live.logs.payloads[0]


@pytest.mark.parametrize("told", ["0", "0.5", "-1", "nan", "inf", "1e18", "many"])
def test_an_adjusted_count_that_is_none_is_bad_data(live, make_request, told):
    error = refused(
        live, make_request().SerializeToString(), metadata=[("x-vtrack-adjusted-count", told)]
    )
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "is not a number from 1 to 2^56" in error.details()


def test_a_client_that_keeps_alive_eagerly_is_not_sent_away(live, make_request):
    options = [
        ("grpc.keepalive_time_ms", 100),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_sent_ping_interval_without_data_ms", 100),
    ]
    seen = []
    with grpc.insecure_channel(live.target, options=options) as channel:
        grpc.channel_ready_future(channel).result(10)
        channel.subscribe(seen.append)
        export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        export(make_request().SerializeToString(), timeout=10)
        time.sleep(2)
        export(make_request().SerializeToString(), timeout=10)
    assert set(seen) <= {grpc.ChannelConnectivity.READY}


def test_a_connection_whose_other_end_is_gone_is_closed(serve, monkeypatch):
    monkeypatch.setattr(otlp_grpc, "_ASKED_AFTER_MS", 300, raising=False)
    monkeypatch.setattr(otlp_grpc, "_ANSWER_MS", 300, raising=False)
    host, port = serve().target.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as silent:
        # Preface and SETTINGS, RFC 9113 section 3.4; nothing after them, not even to a PING.
        silent.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        while silent.recv(4096):
            pass


def test_a_caller_that_gives_up_is_not_written_for(live, make_request, in_threads):
    abandoned = live.commits["traces"].snapshot().abandoned
    live.traces.gate.clear()
    in_threads(live.export, [make_request(name="first").SerializeToString()])
    assert live.traces.writing.wait(10)
    with grpc.insecure_channel(live.target) as channel:
        export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        with pytest.raises(grpc.RpcError) as caught:
            export(make_request(name="gone").SerializeToString(), timeout=0.3)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    time.sleep(0.3)
    live.traces.gate.set()
    live.export(make_request(name="last").SerializeToString())
    assert [span.name for span in live.traces.spans] == ["first", "last"]
    assert live.commits["traces"].snapshot().abandoned == abandoned + 1


def code_of(live, payload):
    try:
        live.export(payload)
    except grpc.RpcError as error:
        return error.code()
    return None


@MANY
@given(data=st.data())
def test_no_bytes_make_the_server_lose_data(live, make_request, data):
    valid = make_request(3).SerializeToString()
    payload = data.draw(
        st.one_of(
            st.binary(max_size=200),
            st.integers(0, len(valid)).map(lambda end: valid[:end]),
            st.tuples(st.integers(0, len(valid) - 1), st.binary(max_size=4)).map(
                lambda edit: valid[: edit[0]] + edit[1] + valid[edit[0] + 1 :]
            ),
        )
    )
    assert code_of(live, payload) in {None, grpc.StatusCode.INVALID_ARGUMENT}
