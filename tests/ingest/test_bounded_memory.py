"""A bomb costs the real process a bounded amount of memory, on both transports."""

import gzip
import http.client
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from otel_vtrack.ingest.body import zstd

MIB = 1 << 20
LIMIT = 64 * MIB


class Process:
    def __init__(self) -> None:
        script = Path(__file__).with_name("receiver_process.py")
        self.child = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.grpc_port, self.http_port = map(int, self.child.stdout.readline().split())

    def peak_mib(self) -> float:
        """Return the most memory the process has had resident so far."""
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    def stop(self) -> None:
        self.child.stdin.close()
        assert self.child.wait(20) == 0
        self.child.stdout.close()


@pytest.fixture
def process():
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak of a process's memory is read from /proc, which is not here")
    process = Process()
    yield process
    process.stop()


def gzip_of_zeros(size: int) -> bytes:
    # In members of 256 MiB: a decoder that holds one member to the limit is not enough.
    return gzip.compress(bytes(256 * MIB), 1) * (size // (256 * MIB))


def zstd_of_zeros(size: int) -> bytes:
    stream = zstd.ZstdCompressor()
    block = bytes(MIB)
    return b"".join(stream.compress(block) for _ in range(size // MIB)) + stream.flush()


@pytest.mark.parametrize(("encoding", "make"), [("gzip", gzip_of_zeros), ("zstd", zstd_of_zeros)])
def test_a_bomb_over_http_costs_no_more_than_the_limit_allows(process, encoding, make):
    bomb = make(2_048 * MIB)
    assert len(bomb) < 16 * MIB
    before = process.peak_mib()
    for _ in range(3):
        connection = http.client.HTTPConnection("127.0.0.1", process.http_port, timeout=60)
        headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": encoding}
        connection.request("POST", "/v1/traces", bomb, headers)
        assert connection.getresponse().status == 413
        connection.close()
    assert process.peak_mib() - before < 3 * LIMIT / MIB


@pytest.mark.slow
def test_a_bomb_over_grpc_costs_no_more_than_the_limit_allows(process):
    before = process.peak_mib()
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{process.grpc_port}", options=options) as channel:
        export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        for _ in range(2):
            with pytest.raises(grpc.RpcError) as caught:
                export(bytes(384 * MIB), compression=grpc.Compression.Gzip, timeout=60)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert process.peak_mib() - before < 3 * LIMIT / MIB


def test_a_request_just_under_the_limit_is_taken(process):
    payload = b"\x0a" + b"\xf8\xff\xff\x1f" + b"\x1a" + b"\xf3\xff\xff\x1f" + b"x" * (LIMIT - 13)
    assert len(payload) <= LIMIT
    connection = http.client.HTTPConnection("127.0.0.1", process.http_port, timeout=60)
    connection.request("POST", "/v1/traces", payload, {"Content-Type": "application/x-protobuf"})
    assert connection.getresponse().status == 200
    connection.close()
    with grpc.insecure_channel(
        f"127.0.0.1:{process.grpc_port}", options=[("grpc.max_send_message_length", -1)]
    ) as channel:
        export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        assert export(payload, timeout=60) == b""
