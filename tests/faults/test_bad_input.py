"""Input that is wrong or absurd: it is answered for what it is, and hurts nothing else."""

import gzip
import json
import time

import grpc
import pytest
from google.rpc import status_pb2
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

JSON = {"Content-Type": "application/json"}
GZIP = {"Content-Encoding": "gzip"}
LATEST = 2**63 - 1
# 2026-09-21, in seconds.
SECONDS = 1_790_000_000


@pytest.fixture(scope="module")
def shared(vtrack_on, tmp_path_factory):
    running = vtrack_on(tmp_path_factory.mktemp("bad") / "store")
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.log


@pytest.fixture
def served(shared, make_spans):
    """A process that must still take a good span when the test is over."""
    yield shared
    assert shared.export(make_spans({"trace": 9_999})) == b""


def message_of(response):
    if response.getheader("Content-Type") == "application/json":
        return json.loads(response.content)["message"]
    return status_pb2.Status.FromString(response.content).message


@pytest.mark.parametrize("payload", [b"garbage", b"\x0a\x05ab", b"\x0b", bytes(1000), b"\xff" * 64])
def test_malformed_protobuf_is_refused_for_good(served, payload):
    response = served.ask("/v1/traces", payload)
    assert response.status == 400
    assert "an OTLP encoder wrote" in message_of(response)
    with pytest.raises(grpc.RpcError) as refused:
        served.export(payload)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not JSON"),
        (b"[]", "expected an object"),
        (b'{"resourceSpans": 7}', "$.resourceSpans"),
        (b"[" * 100_000, "JSON"),
        (b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"xyz"}]}]}]}', "hex"),
        (b"\xff\xfe", "UTF-8"),
    ],
)
def test_malformed_json_is_refused_for_good(served, body, said):
    response = served.ask("/v1/traces", body, JSON)
    assert response.status == 400
    assert said in message_of(response)


@pytest.mark.parametrize("kind", ["text/plain", "", "application/grpc", "application/jsonx"])
def test_a_wrong_content_type_is_named(served, kind):
    response = served.ask("/v1/traces", b"", {"Content-Type": kind})
    assert response.status == 415
    assert b"send application/x-protobuf or application/json" in response.content


def test_a_truncated_gzip_is_refused_for_good(served, make_spans):
    whole = gzip.compress(make_spans({}, {}).SerializeToString())
    response = served.ask("/v1/traces", whole[:-12], GZIP)
    assert response.status == 400
    assert "send all of it" in message_of(response)
    response = served.ask("/v1/traces", b"not gzip at all", GZIP)
    assert response.status == 400


def test_text_that_is_not_utf8_is_refused_for_good(served, make_spans):
    payload = make_spans({"name": "A" * 8}).SerializeToString().replace(b"A" * 8, b"\xff" * 8)
    response = served.ask("/v1/traces", payload)
    assert response.status == 400
    assert "not UTF-8" in message_of(response)


def test_a_bad_request_does_not_hurt_those_it_would_have_joined(vtrack, make_spans, reopened):
    served = vtrack()
    with grpc.insecure_channel(served.grpc) as channel:
        export = channel.unary_unary(
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
        ).future
        good = [make_spans({"trace": n}).SerializeToString() for n in range(1, 31)]
        calls = [(export(p, timeout=60), export(p[:-3], timeout=60)) for p in good]
        assert [call.code() for call, _ in calls] == [grpc.StatusCode.OK] * 30
        assert {call.code() for _, call in calls} == {grpc.StatusCode.INVALID_ARGUMENT}
    assert served.stop() == 0
    assert reopened(served).select("SELECT uniq(trace_id) AS n FROM spans") == [{"n": 30}]


def test_what_is_bad_costs_its_span_and_no_other(vtrack, make_spans, reopened):
    served = vtrack()
    bad = [
        {"trace_id": b"short"},
        {"span_id": bytes(8)},
        {"parent_span_id": b"longer than eight"},
        {"start_time_unix_nano": 16_725_225_600 * 10**9},  # the year 2500
        {"start_time_unix_nano": LATEST + 1},
        {"end_time_unix_nano": LATEST + 1},
        {"end_time_unix_nano": 2**64 - 1},
    ]
    for number, fields in enumerate(bad, 1):
        request = make_spans({"trace": number, "name": "good"}, {"name": "bad"} | fields)
        answer = ExportTraceServiceResponse.FromString(served.export(request)).partial_success
        assert answer.rejected_spans == 1, fields
        assert "_id" in answer.error_message or "nanoseconds" in answer.error_message
    assert served.stop() == 0
    found = reopened(served).select("SELECT name, count() AS n FROM spans GROUP BY name")
    assert found == [{"name": "good", "n": len(bad)}]


def test_absurd_times_are_kept_as_they_came(vtrack, make_spans, reopened):
    served = vtrack()
    # Seconds, milliseconds and microseconds for nanoseconds, and none at all.
    warned_of = [(start, start + 1) for start in (0, 1, SECONDS, SECONDS * 10**3, SECONDS * 10**6)]
    year_2100 = 4_102_444_800 * 10**9
    others = [(SECONDS * 10**9, 1), (LATEST, 0), (LATEST, LATEST), (year_2100, LATEST)]
    for number, (start, end) in enumerate([*warned_of, *others], 1):
        request = make_spans(
            {"trace": number, "start_time_unix_nano": start, "end_time_unix_nano": end}
        )
        answer = ExportTraceServiceResponse.FromString(served.export(request)).partial_success
        assert answer.rejected_spans == 0
        assert ("nanoseconds" in answer.error_message) == ((start, end) in warned_of)
    assert served.stop() == 0
    rows = reopened(served).select(
        "SELECT toUnixTimestamp64Nano(start_time) AS start, duration_ns FROM spans"
        " ORDER BY trace_id"
    )
    assert [(row["start"], row["start"] + row["duration_ns"]) for row in rows] == [
        *warned_of,
        *others,
    ]


def test_100_000_attributes_on_a_span_are_kept(vtrack, make_spans, reopened):
    served = vtrack()
    request = make_spans({"attributes": {f"key {n}": n for n in range(100_000)}}, {})
    started = time.monotonic()
    assert served.export(request) == b""
    assert time.monotonic() - started < 30
    assert served.stop() == 0
    counted = reopened(served).select("SELECT length(attributes) AS n FROM spans ORDER BY n")
    assert counted == [{"n": 0}, {"n": 100_000}]


def test_a_request_over_the_limit_is_refused_for_good(vtrack, make_spans):
    served = vtrack("--max-request-bytes", "100KiB")
    request = make_spans({"attributes": {"long": "x" * 200_000}})
    with pytest.raises(grpc.RpcError) as refused:
        served.export(request)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    packed = gzip.compress(request.SerializeToString())
    assert served.ask("/v1/traces", packed, GZIP).status == 413
    assert served.export(make_spans({})) == b""


def test_an_empty_request_is_a_success(served):
    assert served.export(ExportTraceServiceRequest()) == b""
    assert served.ask("/v1/traces", b"").status == 200


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/v1/traces", "GET", 405), ("/v2", "POST", 404)]
)
def test_what_is_not_there_is_said_so(served, path, method, status):
    assert served.ask(path, method=method).status == status
