import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from importlib import import_module
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from otel_vtrack import api, v1
from otel_vtrack.api.status import status_of
from otel_vtrack.client import Client
from otel_vtrack.errors import StoreError, StoreUnavailable
from otel_vtrack.query import export
from otel_vtrack.v1 import (
    analysis_pb2,
    export_pb2,
    export_pb2_grpc,
    traces_pb2,
    traces_pb2_grpc,
    versions_pb2,
    versions_pb2_grpc,
)

START = datetime.fromtimestamp(1_790_000_000, timezone.utc)


def refusal(iterate):
    with pytest.raises(grpc.RpcError) as caught:
        next(iter(iterate))
    return caught.value.code()


def test_versions_are_found_over_pages(client, send):
    for number in range(5):
        send({"trace": number + 1, "at": number}, service__version=str(number))
    found = list(client.search_versions(page_size=2))
    assert [version.version for version in found] == ["4", "3", "2", "1", "0"]
    assert found[0].first_seen.ToNanoseconds() == 1_790_000_000_004_000_000
    assert list(client.search_versions(environment="nowhere")) == []


def test_traces_are_found_over_pages_and_by_every_filter(client, send):
    send({"trace": 1, "at": 1, "ms": 50, "status": 2, "name": "a"}, service__version="1")
    send({"trace": 2, "at": 2, "attributes": {"session.id": "s"}}, service__version="2")
    assert [int(found.trace_id, 16) for found in client.search_traces(page_size=1)] == [2, 1]
    for where in (
        {"state": traces_pb2.TRACE_STATE_ERROR},
        {"version": "1"},
        {"name": "a"},
        {"min_duration": timedelta(milliseconds=50)},
        {"start_time_until": START + timedelta(milliseconds=2)},
    ):
        assert [int(found.trace_id, 16) for found in client.search_traces(**where)] == [1], where
    for where in ({"session_id": "s"}, {"start_time_from": START + timedelta(milliseconds=2)}):
        assert [int(found.trace_id, 16) for found in client.search_traces(**where)] == [2], where


def test_a_trace_comes_whole_with_what_is_known_of_it(client, store, send, trace_id):
    send(
        {"attributes": {"gen_ai.usage.input_tokens": 5, "mlflow.traceTag.a": "b"}},
        {"parent": 1},
        service__version="1",
    )
    [info], otlp = client.get_trace(trace_id())
    assert otlp == export.trace(store, trace_id())
    assert (info.span_count, info.token_usage.total_tokens, info.version) == (2, 5, "1")
    assert info.state == traces_pb2.TRACE_STATE_OK
    assert info.tags == {"a": "b", "app_version": "1", "mlflow.traceName": "step 1"}
    assert info.execution_duration.ToMilliseconds() == 1


def test_usage_nobody_reported_is_absent(client, send, trace_id):
    send({})
    [info], _ = client.get_trace(trace_id())
    assert not info.HasField("token_usage")


def test_versions_are_compared(client, send):
    for version, ms in (("A", 10), ("B", 30)):
        send(
            *({"trace": ord(version) * 100 + n, "span": n, "ms": ms + n} for n in range(1, 41)),
            service__version=version,
        )
    found = client.compare_versions("A", "B", metrics=["latency"])
    [latency] = found.metrics
    assert latency.verdict == analysis_pb2.VERDICT_REGRESSED
    assert (found.baseline.trace_count, found.candidate.trace_count) == (40, 40)
    _, p50, _, _, p99 = latency.figures
    assert (p50.baseline.value, p50.candidate.value) == (30.0, 50.0)
    assert p50.change.value == pytest.approx(20 / 30)
    assert not p99.baseline.HasField("upper")
    assert latency.p_value < 1e-6


@pytest.mark.parametrize(
    ("call", "code", "says"),
    [
        (lambda c: c.get_trace("12"), "INVALID_ARGUMENT", "32 hexadecimal digits"),
        (lambda c: c.get_trace("1" * 32), "NOT_FOUND", "vtrack traces search"),
        (lambda c: c.compare_versions("A", "A"), "INVALID_ARGUMENT", "two different"),
        (lambda c: c.compare_versions("A", "B"), "NOT_FOUND", "vtrack versions list"),
        (lambda c: c.compare_versions("A", "B", metrics=["x"]), "INVALID_ARGUMENT", "no metric"),
        (lambda c: list(c.search_traces(page_size=1001)), "INVALID_ARGUMENT", "page_size"),
        (lambda c: list(c.search_traces("verson = 'A'")), "INVALID_ARGUMENT", "mean version"),
        (lambda c: list(c.search_traces(order_by=["nothing"])), "INVALID_ARGUMENT", "no key"),
        (lambda c: c.count_traces("version ="), "INVALID_ARGUMENT", "expected a value"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_to_do(client, call, code, says):
    with pytest.raises(grpc.RpcError) as caught:
        call(client)
    assert caught.value.code() is grpc.StatusCode[code]
    assert says in caught.value.details()


@pytest.mark.parametrize("token", ["x", "AAAA", "\N{PILE OF POO}", "a" * 10_000])
def test_a_made_up_page_token_is_an_invalid_argument(target, token):
    with grpc.insecure_channel(target) as channel:
        stub = versions_pb2_grpc.VersionServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.SearchVersions(versions_pb2.SearchVersionsRequest(page_token=token), timeout=30)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        traces = traces_pb2_grpc.TraceServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            traces.SearchTraces(traces_pb2.SearchTracesRequest(page_token=token), timeout=30)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_the_times_of_a_timestamp_are_read_to_the_nanosecond(target, send):
    send({"start_time_unix_nano": 1_790_000_000_000_000_001, "end_time_unix_nano": 2**60 * 2})
    with grpc.insecure_channel(target) as channel:
        stub = traces_pb2_grpc.TraceServiceStub(channel)
        for nanos, count in ((1, 1), (2, 0)):
            moment = f"2026-09-21T14:13:20.{nanos:09d}Z"
            request = traces_pb2.SearchTracesRequest(filter=f"timestamp >= '{moment}'")
            assert len(stub.SearchTraces(request, timeout=30).traces) == count


def test_an_unforeseen_fault_tells_the_caller_nothing_of_the_inside(caplog):
    code, said = status_of(RuntimeError("secret path /home/me"))
    assert code is grpc.StatusCode.INTERNAL
    assert "secret" not in said
    assert "secret path" in caplog.text
    assert status_of(StoreError("secret"))[0] is grpc.StatusCode.INTERNAL
    assert status_of(StoreUnavailable("disk full")) == (grpc.StatusCode.UNAVAILABLE, "disk full")


def test_a_deadline_is_kept(target, client, store):
    held = [store._clients.get() for _ in range(store._clients.qsize())]
    try:
        with Client(target, timeout=0.3) as hurried:
            assert refusal(hurried.search_versions()) is grpc.StatusCode.DEADLINE_EXCEEDED
    finally:
        for each in held:
            store._clients.put(each)
    assert list(client.search_versions()) == []


def test_a_server_that_is_away_is_unavailable():
    with Client("127.0.0.1:1", timeout=20) as client:
        assert refusal(client.search_versions()) is grpc.StatusCode.UNAVAILABLE


def test_service_names_are_those_of_the_protos():
    protos = Path(v1.__file__).parent.glob("*_pb2.py")
    files = [import_module(f"otel_vtrack.v1.{path.stem}").DESCRIPTOR for path in protos]
    assert sorted(api.SERVICE_NAMES) == sorted(
        service.full_name for file in files for service in file.services_by_name.values()
    )


def test_the_client_needs_nothing_of_the_server():
    loaded = json.loads(
        subprocess.run(
            [
                sys.executable,
                "-c",
                "import sys, json, otel_vtrack.client; print(json.dumps(sorted(sys.modules)))",
            ],
            check=True,
            capture_output=True,
        ).stdout
    )
    server = {"chdb", "clickhouse_connect", "click", "rich", "starlette", "pydantic", "uvicorn"}
    ours = {"store", "query", "analysis", "api", "ingest", "cli"}
    assert not server & set(loaded)
    assert not {f"otel_vtrack.{name}" for name in ours} & set(loaded)


@pytest.mark.parametrize("payload", [b"garbage", b"\x0a\x05ab", b"\x12\x01\xff"])
def test_bytes_that_are_no_request_are_refused(target, payload):
    with grpc.insecure_channel(target) as channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary("/otel_vtrack.v1.TraceService/SearchTraces")(payload, timeout=30)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "not otel_vtrack.v1.SearchTracesRequest" in refused.value.details()


@pytest.mark.parametrize("filter_", ["", "name = 'a'"])
def test_nothing_is_exported_from_before_the_earliest_time(target, send, filter_):
    send({"name": "a"})
    earliest = Timestamp(seconds=-9_223_372_037, nanos=145_224_192)
    asked = export_pb2.ExportTelemetryRequest(
        signal=export_pb2.TELEMETRY_SIGNAL_SPANS, filter=filter_
    )
    with grpc.insecure_channel(target) as channel:
        stub = export_pb2_grpc.ExportServiceStub(channel)
        assert [each.item_count for each in stub.ExportTelemetry(asked, timeout=30).batches] == [1]
        asked.start_time_until.CopyFrom(earliest)
        assert not stub.ExportTelemetry(asked, timeout=30).batches
