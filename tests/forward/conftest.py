"""A backend on loopback that keeps the bytes it is sent, and answers as a test wants it to."""

import contextlib
import gzip
import http.server
import json
import ssl
import threading
import time
from concurrent import futures
from types import SimpleNamespace

import grpc
import pytest
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2

from otel_vtrack.wire.signals import SIGNALS


class Backend:
    """Takes OTLP by gRPC and HTTP; may be stopped, and started on the same ports again.

    Attributes:
        bodies: By signal, what was taken, in order.
        tries: Times at which anything was asked.
        headers: Of each request that was taken.
        answer: Called with signal and body before a request is taken; may return what
            `unavailable`, `refused` or `status` of this class make, which is then the answer.
    """

    def __init__(self, tls=None, client_ca=None):
        self._tls, self._client_ca = tls, client_ca
        self.grpc_port = self.http_port = 0
        self.reset()
        self.start()

    def reset(self):
        self.bodies = {signal.name: [] for signal in SIGNALS}
        self.tries, self.headers = [], []
        self.answer = lambda signal, body: None

    def start(self):
        self._grpc = grpc.server(
            futures.ThreadPoolExecutor(4),
            options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 64 << 20)],
        )
        for signal in SIGNALS:
            handler = grpc.unary_unary_rpc_method_handler(self._by_grpc(signal))
            self._grpc.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(signal.service, {"Export": handler}),)
            )
        address = f"127.0.0.1:{self.grpc_port}"
        if self._tls:
            credentials = grpc.ssl_server_credentials(
                [(self._tls.key.read_bytes(), self._tls.chain.read_bytes())],
                self._client_ca.read_bytes() if self._client_ca else None,
                bool(self._client_ca),
            )
            self.grpc_port = self._grpc.add_secure_port(address, credentials)
        else:
            self.grpc_port = self._grpc.add_insecure_port(address)
        self._grpc.start()
        handler = type("Handler", (_Handler,), {"backend": self})
        self._http = _HttpServer(("127.0.0.1", self.http_port), handler)
        self._http.opened = set()
        if self._tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._tls.chain, self._tls.key)
            if self._client_ca:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(self._client_ca)
            self._http.socket = context.wrap_socket(
                self._http.socket, server_side=True, do_handshake_on_connect=False
            )
        self.http_port = self._http.server_address[1]
        threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    def stop(self):
        self._grpc.stop(None).wait()
        self._http.shutdown()
        self._http.server_close()
        for connection in list(self._http.opened):
            with contextlib.suppress(OSError):
                connection.shutdown(2)

    @property
    def taken(self):
        """All that was taken of each signal as one request: the merge of its bodies."""
        return {name: b"".join(bodies) for name, bodies in self.bodies.items()}

    def spans(self):
        """Names of all spans that were taken, in order."""
        request = SIGNALS[0].request.FromString(self.taken["traces"])
        return [
            span.name
            for group in request.resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        ]

    @staticmethod
    def unavailable(pause=None, code=grpc.StatusCode.UNAVAILABLE, http=503):
        return SimpleNamespace(code=code, http=http, pause=pause, message="come again")

    @staticmethod
    def refused(message="a bad span", code=grpc.StatusCode.INVALID_ARGUMENT, http=400):
        return SimpleNamespace(code=code, http=http, pause=None, message=message)

    @staticmethod
    def partial(signal, rejected, message="too old"):
        found = next(each for each in SIGNALS if each.name == signal)
        answer = found.response()
        setattr(answer.partial_success, found.rejected, rejected)
        answer.partial_success.error_message = message
        return answer.SerializeToString()

    def take(self, signal, body, headers):
        self.tries.append(time.monotonic())
        said = self.answer(signal, body)
        if said is None or isinstance(said, bytes):
            self.bodies[signal].append(body)
            self.headers.append(headers)
        return said

    def _by_grpc(self, signal):
        def export(request, context):
            said = self.take(signal.name, request, dict(context.invocation_metadata()))
            if said is None or isinstance(said, bytes):
                return said or b""
            status = status_pb2.Status(code=said.code.value[0], message=said.message)
            if said.pause is not None:
                delay = duration_pb2.Duration()
                delay.FromMilliseconds(int(said.pause * 1000))
                status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
            context.set_trailing_metadata(
                (("grpc-status-details-bin", status.SerializeToString()),)
            )
            return context.abort(said.code, said.message)

        return export


class _HttpServer(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """Be quiet: a client may go at any time."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.server.opened.add(self.connection)

    def finish(self):
        self.server.opened.discard(self.connection)
        super().finish()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        headers = {key.lower(): value for key, value in self.headers.items()}
        said = self.backend.take(self.path.removeprefix("/v1/"), body, headers)
        if said is None or isinstance(said, bytes):
            self._send(200, said or b"")
            return
        self._send(said.http, status_pb2.Status(message=said.message).SerializeToString(), said)

    def _send(self, status, body, said=None):
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(body)))
        if said and said.pause is not None:
            self.send_header("Retry-After", str(said.pause))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Be quiet."""


@pytest.fixture
def backend_on():
    """Start backends; all are stopped after the test."""
    started = []

    def start(**given) -> Backend:
        started.append(Backend(**given))
        return started[-1]

    yield start
    for backend in started:
        backend.stop()


@pytest.fixture
def backend(backend_on):
    return backend_on()


@pytest.fixture
def endpoint():
    """The settings of a destination at a backend, which retries fast."""

    def build(backend, protocol="grpc", name="backend", scheme="http", **more):
        port = backend.grpc_port if protocol == "grpc" else backend.http_port
        return {
            "name": name,
            "endpoint": f"{scheme}://127.0.0.1:{port}",
            "protocol": protocol,
            "retry_initial_seconds": 0.1,
            "retry_max_seconds": 0.5,
            **more,
        }

    return build


@pytest.fixture
def forwarding(tmp_path, vtrack):
    """Start `vtrack serve` that only forwards to these destinations."""

    def start(*destinations, flags=(), **others):
        path = tmp_path / "vtrack.yaml"
        # JSON is YAML.
        path.write_text(
            json.dumps({"store": False, "destinations": destinations, "log_level": "info"})
        )
        folder = ("--forward-folder", str(tmp_path / "queue"))
        return vtrack("--config", str(path), *folder, *flags, **others)

    return start


@pytest.fixture(scope="session")
def until():
    """Wait until something holds, and fail with what it says else."""

    def wait(holds, seconds=20, says=lambda: ""):
        deadline = time.monotonic() + seconds
        while not (found := holds()):
            assert time.monotonic() < deadline, says()
            time.sleep(0.01)
        return found

    return wait


@pytest.fixture
def counts():
    """What /statusz says of one signal of one destination."""

    def ask(served, destination="backend", signal="traces"):
        return json.loads(served.ask("/statusz").content)["forwarded"][destination]["signals"][
            signal
        ]

    return ask
