"""A fresh store, or a whole process, for each test that asks for one, and short builders."""

import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

START_NS = 1_790_000_000_000_000_000
_MS = 1_000_000


def _fill(pairs, values):
    from otel_vtrack.wire import anyvalue  # noqa: PLC0415 - tests of the SDK half need none of it

    for name, value in values.items():
        pairs.add(key=name, value=anyvalue.to_message(value))


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """Folder of a store with every table, closed: a copy opens five times as fast as a new one."""
    folder = tmp_path_factory.mktemp("empty") / "store"
    # By a process of its own, as this one has one folder open at a time.
    command = [sys.executable, "-m", "otel_vtrack", "migrate", "--store-url", f"chdb://{folder}"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return folder


@pytest.fixture(scope="session")
def copy_store(empty_store):
    """Make this folder a store with every table, empty, and return the folder."""
    return lambda folder: Path(shutil.copytree(empty_store, folder, symlinks=True))


class _Kept:
    """The store of the last test that asked for one: to empty it takes a tenth of a new one."""

    def __init__(self):
        self._store = None
        self._clients = 0
        self._definitions_at_first = None

    def fresh(self, empty, folders):
        """Return an open store with every table of `empty`, and nothing in them."""
        from otel_vtrack.store.client import Store  # noqa: PLC0415

        if self._store is None:
            folder = folders.mktemp("kept") / "store"
            shutil.copytree(empty, folder, symlinks=True)
            self._folder = folder / "db"
            self._store = Store(f"chdb://{folder}")
            self._clients = len(self._store._all)
            self._definitions_at_first = self._definitions()
        return self._store

    def empty(self):
        """Make it as it was when it was new, or let go of it where that cannot be done."""
        store = self._store
        if store is None:
            return
        if store.mended or store.doubtful or not store._all:
            self.close()
            return
        store.settle = lambda: None
        for client in store._all[self._clients :]:
            client.close()
        del store._all[self._clients :]
        if self._definitions() != self._definitions_at_first:
            self.close()
            return
        client = store._all[0]
        filled = client.query(
            "SELECT name FROM system.tables WHERE database = currentDatabase() "
            "AND total_rows > 0 AND name != 'schema_migrations'"
        )
        for (name,) in filled.result_rows:
            client.command(f"TRUNCATE TABLE {name}")

    def _definitions(self):
        """Return what tests of migrations change.

        Each table and view has its definition in a file, which is written anew when it changes: to
        look at the files takes a hundredth of asking for what is in them.
        """
        ask = self._store._all[0].query
        tables = ask("SELECT name, uuid FROM system.tables WHERE database = currentDatabase()")
        applied = ask("SELECT * FROM schema_migrations")
        # Not from the folders of the data, which the engine clears up meanwhile.
        folder = self._folder / "metadata" / "default"
        files = [(path, path.stat()) for path in folder.glob("*.sql")]
        assert len(files) >= len(tables.result_rows)
        return (
            sorted(tables.result_rows),
            sorted(applied.result_rows),
            sorted((path, found.st_ino, found.st_mtime_ns) for path, found in files),
        )

    def close(self):
        if self._store is not None:
            self._store.close()
            self._store = None


_kept = _Kept()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    # The engine has one folder open at a time, and whoever does not ask may open another.
    if "store" not in item.fixturenames:
        _kept.close()


def pytest_sessionfinish():
    _kept.close()


@pytest.fixture
def store(tmp_path_factory, empty_store):
    """An embedded store with every table, empty."""
    yield _kept.fresh(empty_store, tmp_path_factory)
    _kept.empty()


@pytest.fixture
def writer(store):
    """What writes requests into `store`."""
    from otel_vtrack.store.writer import Writer  # noqa: PLC0415

    return Writer(store)


@pytest.fixture(scope="session")
def make_spans():
    """Build a request of spans that share a resource.

    Each span is a dict of `trace` and `span` (small numbers; 1 unless told), `parent`,
    `at` (ms after START_NS), `ms` (how long), `attributes`, and any field of Span as it is.
    Keywords are resource attributes, `__` for a dot: `service__version="2.3.1"`.
    """

    def build(*spans, service__name="shop", **resource) -> ExportTraceServiceRequest:
        request = ExportTraceServiceRequest()
        group = request.resource_spans.add()
        named = {"service__name": service__name} | resource
        _fill(
            group.resource.attributes,
            {name.replace("__", "."): value for name, value in named.items()},
        )
        scoped = group.scope_spans.add()
        scoped.scope.name = "test"
        for number, fields in enumerate(spans, 1):
            given = dict(fields)
            start = START_NS + int(given.pop("at", 0) * _MS)
            end = start + int(given.pop("ms", 1) * _MS)
            span = scoped.spans.add(
                trace_id=given.pop("trace", 1).to_bytes(16, "big"),
                # Ids differ in their first four bytes, as random ones do.
                span_id=given.pop("span", number).to_bytes(4, "big") * 2,
                name=given.pop("name", f"step {number}"),
                start_time_unix_nano=start,
                end_time_unix_nano=end,
            )
            if parent := given.pop("parent", 0):
                span.parent_span_id = parent.to_bytes(4, "big") * 2
            if code := given.pop("status", 0):
                span.status.code = code
            span.status.message = given.pop("message", "")
            span.events.extend(given.pop("events", []))
            _fill(span.attributes, given.pop("attributes", {}))
            for name, value in given.items():
                setattr(span, name, value)
        return request

    return build


@pytest.fixture
def send(writer, make_spans):
    """Write what `make_spans` builds, and return the request."""

    def write(*spans, **resource) -> ExportTraceServiceRequest:
        request = make_spans(*spans, **resource)
        writer.write_traces(request.SerializeToString())
        return request

    return write


@pytest.fixture
def send_logs(writer):
    """Write log records that share a resource, and return the request.

    Each record is a dict of `at` (ms after START_NS), `trace` (a small number), `body` (a text),
    `attributes` and any field of LogRecord as it is. Keywords are resource attributes, as in
    `make_spans`.
    """

    def write(*records, service__name="shop", **resource) -> ExportLogsServiceRequest:
        request = ExportLogsServiceRequest()
        group = request.resource_logs.add()
        named = {"service__name": service__name} | resource
        _fill(
            group.resource.attributes,
            {name.replace("__", "."): value for name, value in named.items()},
        )
        scoped = group.scope_logs.add()
        for fields in records:
            given = dict(fields)
            at = START_NS + int(given.pop("at", 0) * _MS)
            record = scoped.log_records.add(time_unix_nano=at)
            if trace := given.pop("trace", 0):
                record.trace_id = trace.to_bytes(16, "big")
            if body := given.pop("body", ""):
                record.body.string_value = body
            _fill(record.attributes, given.pop("attributes", {}))
            for name, value in given.items():
                setattr(record, name, value)
        writer.write_logs(request.SerializeToString())
        return request

    return write


@pytest.fixture
def trace_id():
    """Hex of a small number's trace id, as `make_spans` makes it."""
    return lambda number=1: f"{number:032x}"


class Served:
    """A `vtrack serve` of its own process on free ports of loopback."""

    def __init__(self, folder, log_path, flags, environment):
        self.folder = folder
        self.log_path = log_path
        self.started_at = time.monotonic()
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "otel_vtrack", "serve", *flags],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=folder.parent,
                env={k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
                | environment,
            )
        self.printed = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        with self.process.stdout as lines:
            for line in lines:
                self.printed.append(line)

    @property
    def log(self):
        return self.log_path.read_text()

    def wait_ready(self, timeout=60):
        """Wait for the line that says so, and return the seconds since the start."""
        deadline = time.monotonic() + timeout
        while not self.printed:
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.01)
        found = re.search(r"gRPC ([^,]+), HTTP https?://([^,]+),", self.printed[0])
        self.grpc, self.http = found.groups()
        return time.monotonic() - self.started_at

    def wait(self, timeout=60):
        """Wait for the end and return the exit code."""
        code = self.process.wait(timeout)
        self._reader.join(10)
        return code

    def stop(self, number=signal.SIGTERM, timeout=60):
        """Signal it, and return its exit code."""
        self.process.send_signal(number)
        return self.wait(timeout)

    def export(self, request, signal_="trace", **call):
        """Send a request, a message or bytes, by gRPC; returns the serialized answer."""
        import grpc  # noqa: PLC0415 - tests of the SDK half need none of it

        payload = request if isinstance(request, bytes) else request.SerializeToString()
        service = f"opentelemetry.proto.collector.{signal_}.v1.{signal_.title()}Service"
        with grpc.insecure_channel(self.grpc) as channel:
            return channel.unary_unary(f"/{service}/Export")(payload, timeout=60, **call)

    def ask(self, path, body=None, headers=None, method=None):
        """Send one HTTP request; the response has its body as `.content`."""
        connection = http.client.HTTPConnection(self.http, timeout=60)
        try:
            kind = {"Content-Type": "application/x-protobuf"}
            method = method or ("GET" if body is None else "POST")
            connection.request(method, path, body, kind | (headers or {}))
            response = connection.getresponse()
            response.content = response.read()
            return response
        finally:
            connection.close()


@pytest.fixture(scope="session")
def vtrack_on(copy_store):
    """Start `vtrack serve` on a folder, as `vtrack` does; kills what still runs in the end."""
    started = []

    def start(folder, *flags, log=None, ready=True, new=False, **environment) -> Served:
        chosen = ["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]
        if not {"--store-url", "--config"} & set(flags):
            chosen += ["--store-url", f"chdb://{folder}"]
            if not new and "--no-store" not in flags and not folder.exists():
                copy_store(folder)
        log = log or folder.with_suffix(".log")
        started.append(Served(folder, log, [*chosen, *flags], environment))
        if ready:
            started[-1].wait_ready()
        return started[-1]

    yield start
    for served in started:
        served.process.kill()
        served.wait()


@pytest.fixture
def vtrack(tmp_path, vtrack_on):
    """Start `vtrack serve` on the folder `store` of this test.

    The store has its tables already, unless told `new=True`. `vtrack(*flags)` returns once it is
    ready, unless told `ready=False`. Keywords are variables of its environment. Whatever still runs
    after the test is killed.
    """
    started = []

    def start(*flags, **others) -> Served:
        started.append(vtrack_on(tmp_path / "store", *flags, **others))
        return started[-1]

    yield start
    for served in started:
        served.process.kill()
        served.wait()


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The wheel of this project, built once for all who install it."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", folder, Path(__file__).parents[1]],
        check=True,
        capture_output=True,
        timeout=300,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def environment():
    """Make an environment with these requirements, and with a wheel that is installed anew.

    Kept in .cache/ from run to run. Returns the folder of its programs. For slow tests: it takes
    from a second to a minute.
    """
    ready = {}

    def make(name, *requirements, wheel=None, python=sys.executable):
        if name in ready:
            return ready[name]
        folder = Path(__file__).parents[1] / ".cache" / "environments" / name
        programs = folder / ("Scripts" if os.name == "nt" else "bin")
        asked = "\n".join(requirements)
        stamp = folder / "requirements.txt"
        # The pip that runs here serves them all: to give each one of its own takes seconds.
        pip = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "install"]
        pip += ["--quiet", "--disable-pip-version-check"]
        if not stamp.exists() or stamp.read_text() != asked:
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([python, "-m", "venv", "--without-pip", str(folder)], check=True)
            subprocess.run([*pip, *requirements, *([str(wheel)] if wheel else [])], check=True)
            stamp.write_text(asked)
        elif wheel:
            subprocess.run([*pip, "--force-reinstall", "--no-deps", str(wheel)], check=True)
        ready[name] = programs
        return programs

    return make


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """An authority's `ca`, and `server` and `client` signed by it, each a `chain` and a `key`.

    `other` signs itself.
    """
    import datetime as dt  # noqa: PLC0415
    import ipaddress  # noqa: PLC0415
    from types import SimpleNamespace  # noqa: PLC0415

    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("certificates")
    now = dt.datetime.now(dt.timezone.utc)
    day = dt.timedelta(days=1)

    def named(name):
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])

    def make(name, issuer=None, issuer_key=None):
        key = ec.generate_private_key(ec.SECP256R1())
        made = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named(issuer or name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - day)
            .not_valid_after(now + day)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                critical=False,
            )
            .add_extension(
                x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True
            )
            .sign(issuer_key or key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        found = SimpleNamespace(chain=folder / f"{name}.pem", key=folder / f"{name}.key")
        found.chain.write_bytes(made.public_bytes(pem))
        found.key.write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        return found, key

    authority, key = make("ca")
    server, _ = make("server", "ca", key)
    client, _ = make("client", "ca", key)
    other, _ = make("other")
    return SimpleNamespace(ca=authority.chain, server=server, client=client, other=other)


@pytest.fixture
def reopened():
    """Open the store of a `Served` that has ended."""
    from otel_vtrack.store.client import Store  # noqa: PLC0415

    opened = []

    def open_(served) -> Store:
        opened.append(Store(f"chdb://{served.folder}"))
        return opened[-1]

    yield open_
    for each in opened:
        each.close()
