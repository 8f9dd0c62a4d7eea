"""What `vtrack serve` prints, serves and does when it is told to stop."""

import contextlib
import http.client
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from otel_vtrack.store import sql

SERVING = health_pb2.HealthCheckResponse.SERVING
TRACE_SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"


def test_it_prints_one_line_with_its_addresses(vtrack):
    served = vtrack(new=True)
    assert served.ask("/readyz").status == 200
    assert served.stop() == 0
    (line,) = served.printed
    assert line == (
        f"otel-vtrack is ready: OTLP gRPC {served.grpc}, HTTP http://{served.http}, "
        f"store chdb://{served.folder}\n"
    )
    assert not served.grpc.endswith(":0")
    assert not served.http.endswith(":0")
    # Of some 80 files a line of log, and of each only what takes long; here none or few.
    [line] = [line for line in served.log.splitlines() if "the store is up to date" in line]
    files = len(sql.names("migrations")) + len(sql.names("mapping"))
    assert re.search(rf"INFO .*: applied {files} files in \d+\.\d s$", line)
    assert served.log.count("migrations/") < files // 4


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
def test_it_serves_even_if_its_line_cannot_be_printed(tmp_path):
    nobody = ("--no-store", "--forward", "127.0.0.1:9", "--forward-folder", str(tmp_path / "queue"))
    with Path("/dev/full").open("wb") as full:
        process = subprocess.Popen(
            [sys.executable, "-m", "otel_vtrack", "serve", *on_free_ports(), *nobody],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    said = next(line for line in process.stderr if "stdout cannot be written" in line)
    assert "otel-vtrack is ready: OTLP gRPC 127.0.0.1:" in said
    process.terminate()
    _, rest = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in rest) == (0, False)


def on_free_ports():
    """Say which ports it is to have, for who asks before it prints them."""
    with socket.create_server(("127.0.0.1", 0)) as a, socket.create_server(("127.0.0.1", 0)) as b:
        names = [f"127.0.0.1:{each.getsockname()[1]}" for each in (a, b)]
    return "--grpc", names[0], "--http", names[1]


def probed(served, path):
    """Ask a probe, once it is answered."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return served.ask(path)
        except ConnectionRefusedError:  # noqa: PERF203 - it is waited for
            assert served.process.poll() is None, served.log
            assert time.monotonic() < deadline
            time.sleep(0.005)


def test_it_answers_probes_also_while_tables_are_made(vtrack):
    flags = on_free_ports()
    served = vtrack(*flags, ready=False, new=True)
    _, served.grpc, _, served.http = flags
    said = []
    while not said or said[-1] != (200, b"ready\n"):
        answer = probed(served, "/readyz")
        said += [(answer.status, answer.content)] * ((answer.status, answer.content) not in said)
        assert served.ask("/livez").status == 200
    assert said[0][0] == 503
    assert (503, b"migrating\n") in said
    assert {text for status, text in said if status == 503} <= {
        b"starting\n",
        b"migrating\n",
        b"recovering\n",
    }
    served.wait_ready()
    with grpc.insecure_channel(served.grpc) as channel:
        for service in ("", TRACE_SERVICE):
            request = health_pb2.HealthCheckRequest(service=service)
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=10)
            assert answer.status == SERVING


def test_who_sends_while_it_starts_is_told_to_come_again(vtrack, make_spans):
    flags = on_free_ports()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"clickhouse://127.0.0.1:{silent.getsockname()[1]}/default"
        served = vtrack("--store-url", url, *flags, ready=False)
        _, served.grpc, _, served.http = flags
        answer = probed(served, "/readyz")
        assert (answer.status, answer.content) == (503, b"starting\n")
        assert served.ask("/livez").status == 200
        body = make_spans({}).SerializeToString()
        for path in ("/v1/traces", "/otel_vtrack.v1.TraceService/SearchTraces", "/statusz"):
            answer = served.ask(path, body)
            assert answer.status == 503, path
            assert int(answer.headers["Retry-After"]) > 0
            assert b"the server is starting" in answer.content
        with grpc.insecure_channel(served.grpc) as channel:
            for method in (f"{TRACE_SERVICE}/Export", "otel_vtrack.v1.TraceService/SearchTraces"):
                with pytest.raises(grpc.RpcError) as refused:
                    channel.unary_unary(f"/{method}")(body, timeout=10)
                assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
                assert "google.rpc.retryinfo-bin" in dict(refused.value.trailing_metadata())
            for service in ("", TRACE_SERVICE, "otel_vtrack.v1.TraceService"):
                request = health_pb2.HealthCheckRequest(service=service)
                answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=10)
                assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert served.printed == []
    # Nothing listens there any more, which is what ends it.
    assert served.wait() == 1
    assert served.printed == []
    assert served.log.splitlines()[-1].startswith("vtrack: no ClickHouse server answers")


def test_it_lists_its_services_by_reflection(vtrack):
    served = vtrack()
    with grpc.insecure_channel(served.grpc) as channel:
        ask = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
        request = reflection_pb2.ServerReflectionRequest(list_services="*")
        (answer,) = ask(iter([request]), timeout=10)
        names = {service.name for service in answer.list_services_response.service}
        request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=TRACE_SERVICE)
        (described,) = ask(iter([request]), timeout=10)
    assert {TRACE_SERVICE, "grpc.health.v1.Health"} <= names
    assert described.file_descriptor_response.file_descriptor_proto


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_spans_of_the_python_sdk_are_stored(vtrack, reopened, transport):
    served = vtrack()
    exporter = (
        GrpcExporter(endpoint=f"http://{served.grpc}", insecure=True)
        if transport == "grpc"
        else HttpExporter(endpoint=f"http://{served.http}/v1/traces")
    )
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("test").start_as_current_span("work"):
        pass
    provider.shutdown()
    assert served.stop() == 0
    assert reopened(served).select("SELECT name FROM spans") == [{"name": "work"}]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_0_when_told_to(vtrack, number):
    served = vtrack()
    started = time.monotonic()
    assert served.stop(number) == 0
    assert time.monotonic() - started < 10
    assert "Traceback" not in served.log


def test_a_signal_while_it_starts_is_not_lost(vtrack):
    served = vtrack("--log-level", "debug", ready=False, new=True)
    deadline = time.monotonic() + 30
    while "applied" not in served.log:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert served.stop() == 0
    assert "Traceback" not in served.log


def test_a_client_that_watches_its_health_does_not_hold_it_up(vtrack):
    served = vtrack()
    with grpc.insecure_channel(served.grpc) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == SERVING
        started = time.monotonic()
        served.process.send_signal(signal.SIGTERM)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert served.wait() == 0
    assert time.monotonic() - started < 10


def test_an_idle_connection_does_not_hold_it_up(vtrack):
    served = vtrack()
    connection = http.client.HTTPConnection(served.http, timeout=10)
    connection.request("GET", "/livez")
    connection.getresponse().read()
    started = time.monotonic()
    assert served.stop() == 0
    assert time.monotonic() - started < 10
    connection.close()


def test_a_body_that_does_not_end_does_not_hold_it_up(vtrack):
    served = vtrack()
    host, port = served.http.split(":")
    with socket.create_connection((host, int(port))) as sender:
        sender.sendall(
            b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
            b"Content-Type: application/x-protobuf\r\n\r\nhalf"
        )
        started = time.monotonic()
        assert served.stop() == 0
        assert time.monotonic() - started < 10
    assert "Traceback" not in served.log


def test_what_is_stored_is_there_after_a_restart(vtrack, reopened, make_spans):
    first = vtrack()
    assert first.export(make_spans({}, {"parent": 1})) == b""
    assert first.stop() == 0
    second = vtrack()
    # A retry that lands in the next process.
    assert second.export(make_spans({}, {"parent": 1})) == b""
    assert second.stop() == 0
    store = reopened(second)
    assert store.select("SELECT count() AS n FROM spans FINAL") == [{"n": 2}]


def export_with_bytes_in_the_metadata(served, value):
    """Export nothing, by hand: clients of gRPC send only text as the value of a text."""

    def frame(kind, flags, stream, payload):
        return (
            struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload
        )

    fields = (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", f"/{TRACE_SERVICE}/Export".encode()),
        (b":authority", b"localhost"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
        (b"authorization", value),
    )
    # RFC 7541 section 6.2.2: a literal that is not indexed, its name new.
    head = b"".join(
        bytes([0, len(name)]) + name + bytes([len(text)]) + text for name, text in fields
    )
    host, port = served.grpc.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + frame(4, 0, 0, b"")
            + frame(1, 4, 1, head)
            + frame(0, 1, 1, bytes(5))
        )
        answered = b""
        while b"grpc-status" not in answered:
            answered += connection.recv(65_536)


def test_the_log_is_one_line_an_event_and_says_nothing_that_was_sent(vtrack, make_spans):
    served = vtrack("--log-level", "debug")
    secret = "hunter2-in-an-attribute"
    served.export(
        make_spans({"attributes": {"password": secret}}), metadata=[("authorization", secret)]
    )
    export_with_bytes_in_the_metadata(served, secret.encode() + b"\xff")
    served.ask("/v1/traces", secret.encode(), {"authorization": secret})
    served.ask(
        "/v1/traces",
        b'{"resourceSpans": "%s"}' % secret.encode(),
        {"Content-Type": "application/json"},
    )
    assert served.stop() == 0
    assert secret not in served.log
    assert all(line[:2] == "20" for line in served.log.splitlines())


@pytest.mark.skipif(sys.platform != "linux", reason="sets limits of another process")
def test_it_has_files_for_many_connections_and_says_once_that_there_are_no_more(vtrack):
    import resource  # noqa: PLC0415 - not everywhere

    limit = resource.RLIMIT_NOFILE
    before, hard = resource.getrlimit(limit)
    # The tests may have many open themselves.
    few = len(list(Path("/proc/self/fd").iterdir())) + 100
    resource.setrlimit(limit, (few, hard))
    try:
        served = vtrack("--no-store", "--forward", "http://127.0.0.1:9")
    finally:
        resource.setrlimit(limit, (before, hard))
    pid = served.process.pid
    allowed, _ = resource.prlimit(pid, limit)
    assert few < allowed == min(hard, 65_536)
    resource.prlimit(pid, limit, (len(list(Path(f"/proc/{pid}/fd").iterdir())) + 5, hard))
    host, port = served.http.split(":")
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(socket.create_connection((host, int(port)), timeout=20))
        time.sleep(0.5)
    resource.prlimit(pid, limit, (allowed, hard))
    assert served.ask("/readyz").status == 200
    assert served.log.count("out of system resource") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_it_needs_at_most_200_mb_of_its_own_while_idle(vtrack):
    # The rest of what is resident is the engine's library, which the kernel may drop.
    served = vtrack(new=True)
    status = Path(f"/proc/{served.process.pid}/status").read_text()
    anonymous_kb = next(line.split()[1] for line in status.splitlines() if "RssAnon" in line)
    assert int(anonymous_kb) < 200_000


def test_it_writes_nothing_outside_its_folder(vtrack, tmp_path, make_spans):
    served = vtrack(new=True)
    served.export(make_spans({}))
    assert served.stop() == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store", "store.log"]
    # And nobody else reads what is in it.
    assert served.folder.stat().st_mode & 0o777 == 0o700
