"""Real Collectors, vtracks and backends in chains, all with TLS and tokens of their own."""

import http.client
import importlib.util
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_vtrack.store.client import Store

HERE = Path(__file__).parent
CONFIGS = HERE.parents[1] / "collector-config"
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def _load(name: str, path: Path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_forward = _load("forward_fixtures", HERE.parent / "forward" / "conftest.py")
_clients = _load("client_fixtures", HERE.parent / "clients" / "conftest.py")
_toolbox = _load("collector_toolbox", HERE / "toolbox.py")

backend_on = _forward.backend_on
until = _forward.until
node_send = _clients.node_send
rotel_command = _clients.rotel_command


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.collectors)


@pytest.fixture(scope="session")
def toolbox():
    """The programs of other makers; builds what is missing, and fails where a toolchain is."""

    def of(name):
        try:
            return getattr(_toolbox, name)()
        except _toolbox.Missing as error:
            pytest.fail(str(error))

    return of


@pytest.fixture(scope="session")
def free_port():
    """A port that nobody has, and that nobody is given again soon."""
    given = set()

    def find() -> int:
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            if port not in given:
                given.add(port)
                return port

    return find


@pytest.fixture(scope="session")
def secrets(tmp_path_factory):
    """Tokens by who asks for them, each `.text` and `.file`, and `.header` as vtrack reads it."""
    folder = tmp_path_factory.mktemp("secrets")

    def make(name):
        text = f"token-of-the-{name}-0123456789abcdef"
        token = SimpleNamespace(
            text=text, file=folder / name, header=folder / f"{name}-header", value=f"Bearer {text}"
        )
        token.file.write_text(text + "\n")
        token.header.write_text(f"authorization: {token.value}\n")
        return token

    return SimpleNamespace(**{name: make(name) for name in ("senders", "vtrack", "backend")})


class Collector:
    """A Collector of its own process, on ports that it keeps from one start to the next."""

    def __init__(self, program, folder, name, configs, environment, free_port):
        self.log_path = folder / f"{name}.log"
        self.queue = Path(environment.setdefault("QUEUE_FOLDER", str(folder / f"{name}-queue")))
        self._command = [
            str(program), *(word for config in configs for word in ("--config", str(config)))
        ]  # fmt: skip
        self.grpc, self.http, health, self._metrics = (f"127.0.0.1:{free_port()}" for _ in range(4))
        self._health = f"http://{health}/"
        self._environment = {
            "PATH": os.environ["PATH"],
            "GRPC_ENDPOINT": self.grpc,
            "HTTP_ENDPOINT": self.http,
            "HEALTH_ENDPOINT": health,
            "METRICS_HOST": "127.0.0.1",
            "METRICS_PORT": self._metrics.rpartition(":")[2],
            **environment,
        }
        self.process = None
        self.log_path.touch()

    @property
    def log(self):
        return self.log_path.read_text()

    def start(self, timeout=60):
        """Start it, and return once it says that it is healthy."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + timeout
        while not self._healthy():
            assert self.process.poll() is None, self.log[-3000:]
            assert time.monotonic() < deadline, self.log[-3000:]
            time.sleep(0.05)
        return self

    def _healthy(self):
        try:
            with urllib.request.urlopen(self._health, timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def validate(self):
        """Return what `validate` says, and its exit code."""
        done = subprocess.run(
            [self._command[0], "validate", *self._command[1:]],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def kill(self):
        self.process.kill()
        self.process.wait(30)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, self.log[-3000:]

    def count(self, metric, **labels):
        """Sum what /metrics says of a metric, whose name is given without `otelcol_`."""
        with urllib.request.urlopen(f"http://{self._metrics}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        total = 0.0
        for line in re.findall(rf"^otelcol_{metric}(?:{{.*}})? \S+$", text, re.MULTILINE):
            if all(f'{name}="{value}"' in line for name, value in labels.items()):
                total += float(line.rpartition(" ")[2])
        return total


@pytest.fixture
def collector(tmp_path, toolbox, secrets, certificates, free_port):
    """Make a Collector of files of collector-config/, and of what overrides them in YAML.

    Keywords are variables of its environment.
    """
    made = []

    def make(name, *configs, overrides=(), **environment) -> Collector:
        files = {
            "CERT_FILE": certificates.server.chain,
            "KEY_FILE": certificates.server.key,
            "VTRACK_CA_FILE": certificates.ca,
            "BACKEND_CA_FILE": certificates.ca,
            "TOKEN_FILE": secrets.senders.file,
            "VTRACK_TOKEN_FILE": secrets.vtrack.file,
            "BACKEND_TOKEN_FILE": secrets.backend.file,
        }
        paths = [CONFIGS / each for each in configs]
        settings = {key: str(value) for key, value in files.items()} | environment
        paths += [f"yaml:{text}" for text in overrides]
        made.append(Collector(toolbox("collector"), tmp_path, name, paths, settings, free_port))
        return made[-1]

    yield make
    for each in made:
        if each.process and each.process.poll() is None:
            each.kill()


@pytest.fixture
def sidecar(collector):
    """Make a Collector of otelcol-sidecar.yaml before a vtrack and a backend."""

    def make(vtrack, backend, name="sidecar", **environment) -> Collector:
        return collector(
            name,
            "otelcol-sidecar.yaml",
            VTRACK_ENDPOINT=vtrack,
            BACKEND_ENDPOINT=f"127.0.0.1:{backend.grpc_port}",
            **environment,
        )

    return make


@pytest.fixture
def gateway(collector):
    """Make a Collector of otelcol-gateway.yaml before a vtrack and a backend."""

    def make(vtrack, backend, name="gateway", **environment) -> Collector:
        return collector(
            name,
            "otelcol-gateway.yaml",
            VTRACK_ENDPOINT=vtrack,
            BACKEND_ENDPOINT=f"https://127.0.0.1:{backend.http_port}",
            **environment,
        )

    return make


@pytest.fixture
def sink(backend_on, certificates):
    """Start a backend with TLS, or several."""
    return lambda: backend_on(tls=certificates.server)


class Vtrack:
    """A `vtrack serve` with TLS and a token, on ports that it keeps from one start to the next."""

    def __init__(self, start, folder, settings, secrets, certificates, free_port):
        self.grpc, self.http = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self.folder = folder
        self._token = secrets.vtrack.value
        self._tls = ssl.create_default_context(cafile=certificates.ca)
        config = folder.with_suffix(".yaml")
        # JSON is YAML.
        config.write_text(
            json.dumps(
                {
                    "store_url": f"chdb://{folder}",
                    "tls_cert_file": str(certificates.server.chain),
                    "tls_key_file": str(certificates.server.key),
                    "token_file": str(secrets.vtrack.file),
                    **settings,
                }
            )
        )
        flags = ("--config", str(config), "--grpc", self.grpc, "--http", self.http)
        self._start = lambda: start(folder, *flags, ready=False)

    def start(self):
        self.served = self._start()
        self.served.wait_ready()
        return self

    def kill(self):
        assert self.served.stop(signal.SIGKILL) == -signal.SIGKILL

    def stop(self):
        assert self.served.stop() == 0, self.served.log[-3000:]

    def status(self):
        """What /statusz says."""
        connection = http.client.HTTPSConnection(self.http, context=self._tls, timeout=30)
        try:
            connection.request("GET", "/statusz", headers={"authorization": self._token})
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def forwarded(self, destination, signal_="traces"):
        return self.status()["forwarded"][destination]["signals"][signal_]


@pytest.fixture
def vtrack_at(tmp_path, vtrack_on, secrets, certificates, free_port):
    """Make a `Vtrack` of this name; keywords are its settings."""
    made = []

    def make(name="store", **settings) -> Vtrack:
        made.append(Vtrack(vtrack_on, tmp_path / name, settings, secrets, certificates, free_port))
        return made[-1]

    yield make
    for each in made:
        if hasattr(each, "served"):
            each.served.process.kill()
            each.served.wait()


@pytest.fixture
def destination(certificates, secrets):
    """The settings of a destination of vtrack that asks for a token."""

    def build(name, port, token="senders", protocol="grpc", **more):
        return {
            "name": name,
            "endpoint": f"https://127.0.0.1:{port}",
            "protocol": protocol,
            "headers_file": str(getattr(secrets, token).header),
            "tls": {"ca_file": str(certificates.ca)},
            "compression": "gzip",
            "retry_initial_seconds": 0.2,
            "retry_max_seconds": 2,
            **more,
        }

    return build


class Load:
    """Threads that export numbered spans at a steady pace, each request until it is taken.

    Attributes:
        acknowledged: Numbers of spans that were answered with success.
        refused: Those that were answered with what tells a sender not to come again, by status.
        again: How often a sender was told to come again, or had no answer.
    """

    SPANS = 32

    def __init__(self, target, threads=2, pause=0.05, pad=0, credentials=None, token=None):
        self._target, self._pause, self._pad = target, pause, pad
        self._credentials = credentials
        self._metadata = (("authorization", token),) if token else ()
        self._next = 1
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self.acknowledged, self.refused, self.again = set(), {}, 0
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def start(self):
        for thread in self._threads:
            thread.start()
        return self

    def finish(self, timeout=90):
        """Begin no more, and wait until what was begun is taken."""
        self._ending.set()
        for thread in self._threads:
            thread.join(timeout)
            assert not thread.is_alive(), "a request was not taken in time"
        assert not self.refused, self.refused

    @property
    def begun(self):
        """How many spans were made so far."""
        return self._next - 1

    def _run(self):
        while not self._ending.is_set():
            with self._lock:
                first = self._next
                self._next += self.SPANS
            self._send(first)
            self._ending.wait(self._pause)

    def _send(self, first):
        request = self.request(first)
        numbers = range(first, first + self.SPANS)
        while True:
            # A channel of its own for each try: none keeps an old connection's pauses.
            with self._channel() as channel:
                try:
                    channel.unary_unary(EXPORT)(request, metadata=self._metadata, timeout=15)
                except grpc.RpcError as error:
                    if error.code() in {
                        grpc.StatusCode.UNAVAILABLE,
                        grpc.StatusCode.DEADLINE_EXCEEDED,
                        grpc.StatusCode.CANCELLED,
                        grpc.StatusCode.RESOURCE_EXHAUSTED,
                    }:
                        self.again += 1
                    else:
                        self.refused[error.code(), error.details()] = numbers
                        return
                else:
                    self.acknowledged.update(numbers)
                    return
            time.sleep(0.3)

    def _channel(self):
        if self._credentials:
            return grpc.secure_channel(self._target, self._credentials)
        return grpc.insecure_channel(self._target)

    def request(self, first):
        """Make the request whose first span has this number: the same one each time."""
        made = ExportTraceServiceRequest()
        group = made.resource_spans.add()
        group.resource.attributes.add(key="service.name").value.string_value = "shop"
        spans = group.scope_spans.add().spans
        for number in range(first, first + self.SPANS):
            root = number - (number - 1) % 8
            span = spans.add(
                trace_id=root.to_bytes(4, "big") * 4,
                # A trace tells its spans apart by the first four bytes, as ids are random.
                span_id=number.to_bytes(4, "big") * 2,
                parent_span_id=b"" if number == root else root.to_bytes(4, "big") * 2,
                name=f"step {number % 8}",
                start_time_unix_nano=1_790_000_000_000_000_000 + number * 1_000_000,
                end_time_unix_nano=1_790_000_000_000_500_000 + number * 1_000_000,
            )
            if self._pad:
                span.attributes.add(key="pad").value.string_value = "x" * self._pad
        return made.SerializeToString()

    def missing(self, numbers):
        """Acknowledged spans that are not among these, as ranges for people."""
        gone = sorted(self.acknowledged - set(numbers))
        starts = [n for n in gone if n - 1 not in self.acknowledged or n - 1 in set(numbers)]
        return f"{len(gone)} of {len(self.acknowledged)}: from {starts[:20]}" if gone else ""


@pytest.fixture
def load():
    """Start a `Load`; it ends with the test."""
    made = []

    def start(target, **how) -> Load:
        made.append(Load(target, **how).start())
        return made[-1]

    yield start
    for each in made:
        each._ending.set()


def _spans(request):
    return [
        span
        for group in request.resource_spans
        for scoped in group.scope_spans
        for span in scoped.spans
    ]


@pytest.fixture(scope="session")
def arrived():
    """Numbers of the spans of a `Load` that a backend took, each as often as it came."""

    def count(backend):
        found = _spans(ExportTraceServiceRequest.FromString(backend.taken["traces"]))
        return [int.from_bytes(span.span_id[:4], "big") for span in found]

    return count


@pytest.fixture(scope="session")
def stored():
    """Numbers of the spans of a `Load` that a stopped vtrack has, each once."""

    def count(vtrack):
        # One folder at a time may be open.
        with Store(f"chdb://{vtrack.folder}") as store:
            rows = store.select(
                "SELECT reinterpretAsUInt32(reverse(substring(span_id, 1, 4))) AS number,"
                " count() AS n FROM spans FINAL GROUP BY number"
            )
        assert {row["n"] for row in rows} == {1}
        return {row["number"] for row in rows}

    return count
