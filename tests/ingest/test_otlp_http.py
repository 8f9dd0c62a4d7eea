"""OTLP/HTTP's duties, against a real uvicorn and real sockets."""

import asyncio
import gzip
import http.client
import json
import socket
import threading
import time
import zlib

import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from otel_vtrack.errors import Overloaded, StoreUnavailable, WireError
from otel_vtrack.ingest.body import zstd
from otel_vtrack.ingest.room import Room
from otel_vtrack.wire import otlp_json, validate

PROTOBUF = "application/x-protobuf"
JSON = "application/json"


def encoded(request, media_type) -> bytes:
    if media_type == JSON:
        return otlp_json.write(request).encode()
    return request.SerializeToString()


def status_of(response, media_type) -> status_pb2.Status:
    assert response.headers["Content-Type"] == media_type
    if media_type == PROTOBUF:
        return status_pb2.Status.FromString(response.content)
    body = json.loads(response.content)
    return status_pb2.Status(code=body["code"], message=body["message"])


both = pytest.mark.parametrize("media_type", [PROTOBUF, JSON])


@both
def test_both_encodings_are_stored_alike_and_answered_in_kind(live, make_request, media_type):
    request = make_request(3)
    response = live.post(encoded(request, media_type), {"Content-Type": media_type})
    assert response.status == 200
    assert response.headers["Content-Type"] == media_type
    assert response.content == (b"{}" if media_type == JSON else b"")
    assert live.traces.request == request


def test_protobuf_is_stored_byte_for_byte(live, make_request):
    payload = b"\xfa\x01\x03new" + make_request(3).SerializeToString()
    assert live.post(payload).status == 200
    assert live.traces.payloads == [payload]


@pytest.mark.parametrize(
    ("given", "answered"),
    [
        ("Application/X-Protobuf", PROTOBUF),
        ("application/x-protobuf; charset=utf-8", PROTOBUF),
        ("APPLICATION/JSON ;charset=UTF-8", JSON),
        ("application/json;charset=utf-8;v=1", JSON),
    ],
)
def test_content_types_may_have_parameters_and_any_case(live, make_request, given, answered):
    response = live.post(encoded(make_request(), answered), {"Content-Type": given})
    assert (response.status, response.headers["Content-Type"]) == (200, answered)
    assert len(live.traces.spans) == 1


def test_logs_have_their_own_path(live):
    body = json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"eventName": "e"}]}]}]})
    assert live.post(body, {"Content-Type": JSON}, "/v1/logs").status == 200
    (group,) = live.logs.logs_request.resource_logs
    assert group.scope_logs[0].log_records[0].event_name == "e"


def in_chunks(body: bytes, size=100):
    return (body[at : at + size] for at in range(0, len(body), size))


@both
def test_chunked_bodies_are_taken(live, make_request, media_type):
    body = encoded(make_request(20), media_type)
    response = live.post(in_chunks(body), {"Content-Type": media_type})
    assert response.status == 200
    assert len(live.traces.spans) == 20


def raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(data) + stream.flush()


COMPRESSIONS = {
    "gzip": gzip.compress,
    "GZIP": gzip.compress,
    "deflate": zlib.compress,
    " deflate": raw_deflate,
    "zstd": zstd.compress,
    "identity": bytes,
}


@both
@pytest.mark.parametrize("encoding", COMPRESSIONS)
@pytest.mark.parametrize("chunked", [False, True])
def test_compressed_bodies_are_taken(live, make_request, media_type, encoding, chunked):
    body = COMPRESSIONS[encoding](encoded(make_request(20), media_type))
    response = live.post(
        in_chunks(body, 7) if chunked else body,
        {"Content-Type": media_type, "Content-Encoding": encoding},
    )
    assert response.status == 200
    assert len(live.traces.spans) == 20


def test_a_gzip_body_of_several_members_is_taken_whole(live, make_request):
    first, second = (make_request(2).SerializeToString() for _ in range(2))
    body = gzip.compress(first) + gzip.compress(second)
    assert live.post(body, {"Content-Encoding": "gzip"}).status == 200
    assert live.traces.payloads == [first + second]


@both
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_truncated_body_is_bad_data(live, make_request, media_type, encoding):
    body = COMPRESSIONS[encoding](encoded(make_request(20), media_type))[:-9]
    response = live.post(body, {"Content-Type": media_type, "Content-Encoding": encoding})
    assert response.status == 400
    assert "is truncated; send all of it" in status_of(response, media_type).message


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_body_that_is_not_compressed_as_it_says_is_bad_data(live, make_request, encoding):
    response = live.post(b"\xffnot compressed at all", {"Content-Encoding": encoding})
    assert response.status == 400
    assert "is not compressed as" in status_of(response, PROTOBUF).message


@pytest.mark.parametrize("encoding", ["br", "snappy", "gzip, gzip"])
def test_an_unknown_content_encoding_is_400(live, make_request, encoding):
    response = live.post(make_request().SerializeToString(), {"Content-Encoding": encoding})
    assert response.status == 400
    assert "send gzip, deflate, zstd or none" in status_of(response, PROTOBUF).message


@both
@pytest.mark.parametrize("encoding", ["", "gzip", "deflate", "zstd"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_413_and_must_not_be_sent_again(
    serve, make_request, media_type, encoding, chunked
):
    live = serve(max_bytes=1 << 20)
    body = encoded(make_request(name="x" * (2 << 20)), media_type)
    body = COMPRESSIONS[encoding or "identity"](body)
    response = live.post(
        in_chunks(body, 65_536) if chunked else body,
        {"Content-Type": media_type, "Content-Encoding": encoding},
    )
    assert response.status == 413
    assert "Retry-After" not in response.headers
    assert "larger than 1048576 bytes" in status_of(response, media_type).message
    small = encoded(make_request(name="x" * (1 << 19)), media_type)
    assert live.post(small, {"Content-Type": media_type}).status == 200


def test_who_asks_before_sending_too_much_is_not_told_to_send_it(serve):
    live = serve(max_bytes=1 << 20)
    with socket.create_connection(("127.0.0.1", live.port), timeout=20) as connection:
        connection.sendall(
            b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf"
            b"\r\nContent-Length: 2000000\r\nExpect: 100-continue\r\n\r\n"
        )
        assert connection.recv(1_000).startswith(b"HTTP/1.1 413 ")


@both
@pytest.mark.parametrize("empty", ["nothing", "an empty group"])
def test_an_empty_request_is_a_success(live, media_type, empty):
    request = ExportTraceServiceRequest()
    if empty == "an empty group":
        request.resource_spans.add()
    response = live.post(encoded(request, media_type), {"Content-Type": media_type})
    assert response.status == 200
    assert response.content == (b"{}" if media_type == JSON else b"")
    assert live.traces.payloads == []


@both
def test_a_partial_success_is_200_with_an_exact_count(live, make_request, media_type):
    request = make_request(5)
    spans = request.resource_spans[0].scope_spans[0].spans
    spans[1].span_id, spans[4].trace_id = b"abc", bytes(16)
    response = live.post(encoded(request, media_type), {"Content-Type": media_type})
    assert response.status == 200
    answer = ExportTraceServiceResponse()
    if media_type == JSON:
        otlp_json.read(response.content, answer)
        assert json.loads(response.content)["partialSuccess"]["rejectedSpans"] == "2"
    else:
        answer.MergeFromString(response.content)
    assert answer.partial_success.rejected_spans == 2
    assert answer.partial_success.error_message.startswith("2 of 5 spans were rejected")
    assert len(live.traces.spans) == 3


@both
@pytest.mark.parametrize("body", [b"garbage", b"{", b"\xff\xfe", b"[]", b'"text"'])
def test_bad_data_is_400_with_a_status_in_the_requests_encoding(live, media_type, body):
    response = live.post(body, {"Content-Type": media_type})
    assert response.status == 400
    status = status_of(response, media_type)
    assert status.code == 3
    assert "send" in status.message or "expected an object" in status.message
    if media_type == PROTOBUF:
        bad = error_details_pb2.BadRequest()
        assert status.details[0].Unpack(bad)
        assert bad.field_violations[0].description == status.message


def test_bad_json_is_told_where_it_is(live):
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "a"}, {"kind": "SERVER"}]}]}]}
    response = live.post(json.dumps(body), {"Content-Type": JSON})
    assert response.status == 400
    assert status_of(response, JSON).message == (
        "$.resourceSpans[0].scopeSpans[0].spans[1].kind: OTLP JSON writes enums as numbers, "
        "not names; send the number"
    )


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
def test_any_method_but_post_is_405_in_plain_text(live, method):
    response = live.post(None, method=method)
    assert response.status == 405
    assert response.headers["Content-Type"].startswith("text/plain")
    assert response.headers["Allow"] == "POST"


@pytest.mark.parametrize("given", ["text/plain", "application/protobuf", "", "json"])
def test_an_unknown_content_type_is_415_in_plain_text(live, make_request, given):
    response = live.post(make_request().SerializeToString(), {"Content-Type": given})
    assert response.status == 415
    assert response.headers["Content-Type"].startswith("text/plain")
    assert b"send application/x-protobuf or application/json" in response.content


def test_no_content_type_at_all_is_415(live):
    connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=10)
    connection.request("POST", "/v1/traces", b"")
    assert connection.getresponse().status == 415
    connection.close()


def test_an_unknown_path_is_404(live):
    assert live.post(b"", path="/v1/nothing").status == 404


@both
def test_metrics_are_404_without_a_forwarder(live, media_type):
    response = live.post(b"", {"Content-Type": media_type}, "/v1/metrics")
    assert response.status == 404 or media_type == JSON
    if media_type == JSON:
        response = live.post(b"{}", {"Content-Type": media_type}, "/v1/metrics")
    assert response.status == 404
    assert status_of(response, media_type).code == 12


def test_metrics_in_json_reach_the_forwarder_as_protobuf(serve):
    forwarded: list[tuple[bytes, int, str]] = []
    live = serve(forward=forwarded.extend)
    body = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "m"}]}]}]}
    assert live.post(json.dumps(body), {"Content-Type": JSON}, "/v1/metrics").content == b"{}"
    assert len(forwarded) == 1
    assert b"m" in forwarded[0][0]


@both
@pytest.mark.parametrize(
    ("error", "seconds"),
    [(StoreUnavailable("disk full; free some"), "5"), (Overloaded("busy; wait", 2.2), "3")],
)
def test_a_store_that_refuses_is_503_with_retry_after(
    live, make_request, media_type, error, seconds
):
    def fail(payload):
        raise error

    live.traces.fail = fail
    body = encoded(make_request(), media_type)
    response = live.post(body, {"Content-Type": media_type})
    assert (response.status, response.headers["Retry-After"]) == (503, seconds)
    assert status_of(response, media_type).code == 14
    live.traces.fail = lambda payload: None
    assert live.post(body, {"Content-Type": media_type}).status == 200


def test_an_unforeseen_fault_is_503_and_logged(live, make_request, caplog):
    def fail(payload):
        raise ZeroDivisionError("a bug")

    live.traces.fail = fail
    response = live.post(make_request().SerializeToString())
    assert response.status == 503
    assert "Retry-After" in response.headers
    assert "ZeroDivisionError: a bug" in caplog.text


def test_a_request_the_store_can_never_take_is_400(live, make_request):
    def fail(payload):
        raise WireError("the store can't read it; drop it")

    live.traces.fail = fail
    response = live.post(make_request().SerializeToString())
    assert response.status == 400
    assert status_of(response, PROTOBUF).message == "the store can't read it; drop it"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X-MLflow-Experiment-Id": "7"}, b"7"),
        ({"x-mlflow-experiment-id": "7", "X-Vtrack-Experiment": "cart"}, b"cart"),
        ({"X-Vtrack-Experiment-Bin": "größe".encode().decode("latin-1")}, "größe".encode()),
    ],
)
@both
def test_the_experiment_in_a_header_reaches_the_store(
    live, make_request, media_type, headers, expected
):
    live.post(encoded(make_request(), media_type), {"Content-Type": media_type} | headers)
    assert b"\xca\x3e" + bytes([len(expected)]) + expected in live.traces.payloads[0]


def test_the_adjusted_count_in_a_header_reaches_the_store(live, make_request):
    live.post(make_request().SerializeToString(), {"X-Vtrack-Adjusted-Count": "4"})
    assert b"\xd5\x3e\x00\x00\x80\x40" in live.traces.payloads[0]


def raw_request(body: bytes, extra: str = "") -> bytes:
    head = (
        f"POST /v1/traces HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {PROTOBUF}\r\n"
        f"Content-Length: {len(body)}\r\n{extra}\r\n"
    )
    return head.encode() + body


def read_statuses(connection: socket.socket, count: int) -> list[int]:
    statuses = []
    with connection.makefile("rb") as stream:
        while len(statuses) < count:
            response_line = stream.readline()
            statuses.append(int(response_line.split()[1]))
            length = 0
            while (line := stream.readline()) != b"\r\n":
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            stream.read(length)
    return statuses


def test_a_connection_is_kept_for_the_next_request(live, make_request):
    connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=10)
    connection.connect()
    local = connection.sock.getsockname()
    for _ in range(3):
        connection.request(
            "POST", "/v1/traces", make_request().SerializeToString(), {"Content-Type": PROTOBUF}
        )
        response = connection.getresponse()
        response.read()
        assert response.status == 200
        assert connection.sock.getsockname() == local
    connection.close()
    assert len(live.traces.spans) == 3


def test_pipelined_requests_are_answered_in_order(live, make_request):
    good = raw_request(make_request().SerializeToString())
    bad = raw_request(b"garbage")
    with socket.create_connection(("127.0.0.1", live.port), timeout=10) as connection:
        connection.sendall(good + bad + good)
        assert read_statuses(connection, 3) == [200, 400, 200]


def test_a_disconnect_with_requests_in_flight_loses_no_acknowledged_span(live, make_request):
    live.traces.gate.clear()
    with socket.create_connection(("127.0.0.1", live.port), timeout=10) as connection:
        connection.sendall(raw_request(make_request().SerializeToString()) * 3)
        assert live.traces.writing.wait(5)
    live.traces.gate.set()
    assert live.post(make_request(name="later").SerializeToString()).status == 200
    # What the lost connection had sent may be there; sent again it is a duplicate.
    assert [span.name for span in live.traces.spans][-1] == "later"


def test_a_disconnect_within_a_body_disturbs_nobody(live, make_request, caplog):
    whole = raw_request(make_request(50).SerializeToString())
    for end in (10, len(whole) // 2, len(whole) - 1):
        with socket.create_connection(("127.0.0.1", live.port), timeout=10) as connection:
            connection.sendall(whole[:end])
    assert live.post(make_request(name="later").SerializeToString()).status == 200
    assert [span.name for span in live.traces.spans] == ["later"]
    assert caplog.records == []


def test_a_slow_body_holds_nobody_up(live, make_request):
    whole = raw_request(make_request(name="slow").SerializeToString())
    with socket.create_connection(("127.0.0.1", live.port), timeout=10) as connection:
        for at, byte in enumerate(whole):
            connection.sendall(bytes([byte]))
            if at % 60 == 0:
                started = time.monotonic()
                assert live.post(make_request(name="fast").SerializeToString()).status == 200
                assert time.monotonic() - started < 5
        assert read_statuses(connection, 1) == [200]
    assert {span.name for span in live.traces.spans} == {"slow", "fast"}


def test_a_body_that_does_not_end_is_cut_off_and_may_be_sent_again(serve, make_request):
    live = serve(body_timeout=0.3)
    whole = raw_request(make_request().SerializeToString())
    with socket.create_connection(("127.0.0.1", live.port), timeout=10) as connection:
        connection.sendall(whole[:-5])
        answer = b""
        while data := connection.recv(4096):
            answer += data
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1" in answer.lower()


def test_what_is_being_processed_takes_room_until_it_is_queued(serve, make_request, in_threads):
    processing, go_on = threading.Event(), threading.Event()

    def process(_, payload):
        processing.set()
        assert go_on.wait(10)
        return payload

    live = serve(room=Room(3 << 20), process=process)
    live.traces.gate.clear()
    large = make_request(name="x" * (2 << 20)).SerializeToString()
    [first] = in_threads(live.post, [large])
    assert processing.wait(10)
    refused = live.post(large)
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    go_on.set()
    # What waits for the store has a limit of its own.
    assert live.traces.writing.wait(10)
    [second] = in_threads(live.post, [large])
    live.traces.gate.set()
    assert first.result(10).status == second.result(10).status == 200


def test_nobody_waits_while_a_large_request_is_checked(live, make_request, in_threads, monkeypatch):
    checking, go_on = threading.Event(), threading.Event()
    check = validate.traces

    def slowly(payload):
        if len(payload) > 1 << 20:
            checking.set()
            assert go_on.wait(5)
        return check(payload)

    monkeypatch.setattr(validate, "traces", slowly)
    large = make_request(name="x" * (1 << 20)).SerializeToString()
    [call] = in_threads(live.post, [large])
    assert checking.wait(10)
    [other] = in_threads(live.post, [make_request().SerializeToString()])
    try:
        assert other.result(4).status == 200
    finally:
        go_on.set()
    assert call.result(10).status == 200


def test_a_stop_does_not_wait_behind_what_is_being_processed(
    serve, make_request, in_threads, event_loop_thread
):
    processing, go_on = threading.Semaphore(0), threading.Event()

    def process(_, payload):
        processing.release()
        assert go_on.wait(20)
        return payload

    live = serve(process=process)
    large = make_request(name="x" * (1 << 20)).SerializeToString()
    # As many as the greatest default of asyncio's threads.
    calls = in_threads(live.post, [large] * 32)
    assert processing.acquire(timeout=10)
    time.sleep(0.2)
    drained = asyncio.run_coroutine_threadsafe(
        asyncio.to_thread(live.receiver.drain, 0), event_loop_thread
    )
    try:
        assert drained.result(5)
        late = live.post(large)
    finally:
        go_on.set()
    assert (late.status, late.headers["retry-after"]) == (503, "1")
    assert {call.result(10).status for call in calls} == {503}


def test_calls_run_at_once(live, make_request, in_threads):
    live.traces.gate.clear()
    calls = in_threads(live.post, [make_request().SerializeToString() for _ in range(20)])
    deadline = time.monotonic() + 10
    while live.commits["traces"].snapshot().waiting_requests < 20:
        assert time.monotonic() < deadline, "the calls wait for each other"
        time.sleep(0.01)
    live.traces.gate.set()
    assert [call.result(10).status for call in calls] == [200] * 20


@pytest.mark.parametrize("compression", list(Compression))
def test_pythons_sdk_gets_through(live, compression):
    provider = TracerProvider(shutdown_on_exit=False)
    exporter = OTLPSpanExporter(
        endpoint=f"http://127.0.0.1:{live.port}/v1/traces", compression=compression
    )
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("t").start_as_current_span("s", attributes={"k": b"\x00\xff"}):
        pass
    provider.shutdown()
    (span,) = live.traces.spans
    assert span.name == "s"
    assert span.attributes[0].value.bytes_value == b"\x00\xff"


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), media_type=st.sampled_from([PROTOBUF, JSON]))
def test_no_body_is_a_server_error(live, make_request, data, media_type):
    valid = encoded(make_request(3), media_type)
    body = data.draw(
        st.one_of(
            st.binary(max_size=200),
            st.integers(0, len(valid)).map(lambda end: valid[:end]),
            st.tuples(st.integers(0, len(valid) - 1), st.binary(max_size=4)).map(
                lambda edit: valid[: edit[0]] + edit[1] + valid[edit[0] + 1 :]
            ),
        )
    )
    encoding = data.draw(st.sampled_from(["identity", "gzip", "deflate", "zstd"]))
    if data.draw(st.booleans()):
        body = COMPRESSIONS[encoding](body)
    headers = {"Content-Type": media_type, "Content-Encoding": encoding}
    assert live.post(body, headers).status in {200, 400}
