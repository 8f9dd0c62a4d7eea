"""A live receiver on loopback ports, and a store that remembers what it was given."""

import asyncio
import contextlib
import http.client
import threading
import time
from concurrent import futures
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest
import uvicorn
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from starlette.applications import Starlette

from otel_vtrack.ingest import otlp_grpc, otlp_http
from otel_vtrack.ingest.commit import GroupCommit
from otel_vtrack.ingest.receiver import Receiver
from otel_vtrack.wire.signals import LOGS, METRICS, TRACES

if TYPE_CHECKING:
    from collections.abc import Callable


class Store:
    """Remembers payloads; `fail(payload)` may raise, `gate` may hold writes back."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.fail: Callable[[bytes], None] = lambda payload: None
        self.gate = threading.Event()
        self.gate.set()
        self.writing = threading.Event()

    def write(self, payload: bytes) -> None:
        self.writing.set()
        assert self.gate.wait(30)
        self.fail(payload)
        self.payloads.append(payload)

    @property
    def request(self) -> ExportTraceServiceRequest:
        return ExportTraceServiceRequest.FromString(b"".join(self.payloads))

    @property
    def logs_request(self) -> ExportLogsServiceRequest:
        return ExportLogsServiceRequest.FromString(b"".join(self.payloads))

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for resource_spans in self.request.resource_spans
            for scope_spans in resource_spans.scope_spans
            for span in scope_spans.spans
        ]


class Live:
    """A receiver that serves both transports until it is stopped."""

    def __init__(
        self,
        loop,
        *,
        max_bytes=64 << 20,
        body_timeout=60.0,
        room=None,
        process=None,
        forward=None,
        **commit,
    ):
        self._loop = loop
        self.traces, self.logs, self.metrics = Store(), Store(), []
        self.commits = {
            name: GroupCommit(store.write, name=name, **commit)
            for name, store in (("traces", self.traces), ("logs", self.logs))
        }
        if forward:
            self.commits["metrics"] = GroupCommit(None, name="metrics", forward=forward)
        self.receiver = Receiver(**self.commits, process=process)
        limits = {"max_body_bytes": max_bytes, "body_timeout_seconds": body_timeout, "room": room}
        asyncio.run_coroutine_threadsafe(self._start(max_bytes, limits), loop).result(30)

    async def _start(self, max_bytes, limits):
        self._grpc = grpc.aio.server(options=otlp_grpc.server_options(max_bytes))
        otlp_grpc.add_otlp(self._grpc, self.receiver)
        self.target = f"127.0.0.1:{self._grpc.add_insecure_port('127.0.0.1:0')}"
        await self._grpc.start()
        routes = otlp_http.otlp_routes(self.receiver, **limits)
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                Starlette(routes=routes),
                host="127.0.0.1",
                port=0,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                # A test may leave a request that never ends.
                timeout_graceful_shutdown=2,
            )
        )
        self._serving = asyncio.create_task(self._uvicorn.serve())
        while not self._uvicorn.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        self.port = self._uvicorn.servers[0].sockets[0].getsockname()[1]

    def reset(self):
        """Forget what earlier tests did."""
        for store in (self.traces, self.logs):
            # A writer may still be held by an earlier test's gate.
            store.gate.set()
            store.__init__()
        deadline = time.monotonic() + 10
        while any(commit.snapshot().waiting_requests for commit in self.commits.values()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for store in (self.traces, self.logs):
            store.payloads.clear()

    def stop(self, timeout=30):
        for store in (self.traces, self.logs):
            store.gate.set()
        for commit in self.commits.values():
            commit.drain(5)

        async def stop():
            self._uvicorn.should_exit = True
            await self._serving
            await self._grpc.stop(1)

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(timeout)

    def export(self, payload, signal=TRACES, **call):
        """Call Export over gRPC and return the serialized answer."""
        with grpc.insecure_channel(self.target) as channel:
            return channel.unary_unary(f"/{signal.service}/Export")(payload, timeout=30, **call)

    def post(self, body, headers=None, path="/v1/traces", method="POST"):
        """Send one HTTP request and return its response, read to the end as `.content`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(
                method, path, body, {"Content-Type": otlp_http.PROTOBUF} | (headers or {})
            )
            response = connection.getresponse()
            response.content = response.read()
            return response
        finally:
            connection.close()


@pytest.fixture(scope="session")
def event_loop_thread():
    """One loop for all servers, as in the real process; grpc.aio wants no second one."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@pytest.fixture
def serve(event_loop_thread):
    """Start receivers with given settings; all are stopped after the test."""
    started = []

    def start(**settings) -> Live:
        started.append(Live(event_loop_thread, **settings))
        return started[-1]

    yield start
    for live in started:
        live.stop()


@pytest.fixture(scope="session")
def shared_live(event_loop_thread):
    live = Live(event_loop_thread)
    yield live
    # Tests of other folders have had loops of their own since, after which grpc.aio may not hear
    # of the end; the process ends next anyway. That a server stops is tested with real processes.
    with contextlib.suppress(futures.TimeoutError):
        live.stop(3)


@pytest.fixture
def live(shared_live) -> Live:
    """A receiver with the default settings, as good as new."""
    shared_live.reset()
    return shared_live


@pytest.fixture
def signals():
    """The three kinds of telemetry by name."""
    return {"traces": TRACES, "logs": LOGS, "metrics": METRICS}


@pytest.fixture
def make_request():
    """Build an ExportTraceServiceRequest of `count` valid spans; keywords change each span."""
    number = 0

    def make(count=1, **fields) -> ExportTraceServiceRequest:
        nonlocal number
        request = ExportTraceServiceRequest()
        scope_spans = request.resource_spans.add().scope_spans.add()
        for _ in range(count):
            number += 1
            span = scope_spans.spans.add(
                trace_id=number.to_bytes(16, "big"),
                span_id=number.to_bytes(8, "big"),
                name="chat",
                start_time_unix_nano=1_790_000_000_000_000_000,
                end_time_unix_nano=1_790_000_001_000_000_000,
            )
            for name, value in fields.items():
                setattr(span, name, value)
        return request

    return make


@pytest.fixture
def in_threads():
    """Run a function for each argument at once and return the futures."""
    pools = []

    def run(function, arguments):
        arguments = list(arguments)
        pools.append(futures.ThreadPoolExecutor(len(arguments)))
        return [pools[-1].submit(function, argument) for argument in arguments]

    yield run
    for pool in pools:
        pool.shutdown()
