"""Processes that die, backends that are away and disks that are full: where is every span?

Spans are numbered, and a sender repeats a request until it is acknowledged. Every acknowledged span
must be in the store, and at each backend or in the count of those that were given up for it.
"""

import contextlib
import socket
import subprocess
import sys
import threading
import time
import zlib

import grpc
import pytest

AWAY_SECONDS = 60


def port_of(address):
    return int(address.rpartition(":")[2])


@pytest.fixture
def chain(sidecar, gateway, vtrack_at, sink, destination):
    """Application, sidecar, vtrack, gateway, and a backend wherever one is asked for.

    `beside` is the sidecar's backend; `central` and `at_end` are the gateway's.
    """

    class Chain:
        beside, central, at_end = sink(), sink(), sink()
        second = gateway(f"127.0.0.1:{central.grpc_port}", at_end)
        vtrack = vtrack_at(destinations=[destination("gateway", port_of(second.grpc))])
        first = sidecar(vtrack.grpc, beside)

        def start(self):
            for each in (self.second, self.vtrack, self.first):
                each.start()
            return self

        def stop(self):
            for each in (self.first, self.vtrack, self.second):
                each.stop()

    return Chain()


@pytest.fixture
def all_arrive(arrived, until):
    """Wait until everything that was acknowledged is at these backends."""

    def wait(sender, *backends):
        for backend in backends:
            until(
                lambda backend=backend: not sender.missing(arrived(backend)),
                90,
                lambda backend=backend: sender.missing(arrived(backend)),
            )

    return wait


def test_every_process_is_killed_in_turn(chain, load, arrived, stored, all_arrive):
    chain.start()
    sender = load(chain.first.grpc)
    for each in (chain.vtrack, chain.second, chain.first) * 2:
        time.sleep(2)
        each.kill()
        time.sleep(1)
        each.start()
    time.sleep(1)
    sender.finish()
    assert sender.again, "nobody noticed that the first process was away"
    all_arrive(sender, chain.beside, chain.central, chain.at_end)
    status = chain.vtrack.forwarded("gateway")
    assert status["dropped_items"] == status["dead_lettered_items"] == status["rejected_items"] == 0
    chain.stop()
    found = stored(chain.vtrack)
    assert not sender.missing(found)
    # What was begun and not acknowledged may be there; nothing else.
    for numbers in (found, *map(arrived, (chain.beside, chain.central, chain.at_end))):
        assert set(numbers) <= set(range(1, sender.begun + 1))


class Link:
    """A TCP connection to somewhere that can be broken: refused, or open and silent."""

    def __init__(self, target_port, free_port):
        self._target = ("127.0.0.1", target_port)
        self.port = free_port()
        self._flowing = threading.Event()
        self._flowing.set()
        self._opened = []
        self._listener = None
        self.mend()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def mend(self):
        self._flowing.set()
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def silence(self):
        """Let nothing through any more, and say nothing of it."""
        self._flowing.clear()

    def cut(self):
        """End every connection and refuse new ones."""
        listener, self._listener = self._listener, None
        # Wakes the thread that accepts, which close alone does not.
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        opened, self._opened = self._opened, []
        for each in opened:
            self._end(each)

    @staticmethod
    def _end(connection):
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()

    def _accept(self, listener):
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._target)
            except OSError:
                near.close()
                continue
            self._opened += [near, far]
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self._flowing.wait()
                sink.sendall(data)
        self._end(source)
        self._end(sink)


@pytest.fixture
def link(free_port):
    made = []

    def to(port) -> Link:
        made.append(Link(port, free_port))
        return made[-1]

    yield to
    for each in made:
        each.mend()
        each.cut()


def refuse_some(backend):
    """Let a backend refuse one in five requests, the same ones however often they come."""
    backend.answer = lambda signal, body: None if zlib.crc32(body) % 5 else backend.refused()


def test_backends_are_away_for_a_minute_or_refuse(
    sidecar, gateway, vtrack_at, sink, destination, link, load, arrived, stored, all_arrive, until
):
    beside, central, at_end, short, strict = (sink() for _ in range(5))

    for backend in (beside, strict):
        refuse_some(backend)
    second = gateway(f"127.0.0.1:{central.grpc_port}", at_end)
    to_second = link(port_of(second.grpc))
    to_short = link(short.grpc_port)
    vtrack = vtrack_at(
        destinations=[
            destination("gateway", to_second.port),
            destination("short", to_short.port, queue_max_bytes=200_000),
            destination("strict", strict.grpc_port, batch_max_bytes=10_000),
        ]
    )
    to_vtrack = link(port_of(vtrack.grpc))
    first = sidecar(to_vtrack.address, beside)
    for each in (second, vtrack, first):
        each.start()
    sender = load(first.grpc, pause=0.1)
    time.sleep(3)
    # One behind a network that says nothing, two that nobody listens at.
    to_vtrack.silence()
    time.sleep(5)
    to_vtrack.mend()
    time.sleep(2)
    at_end.stop()
    to_second.cut()
    to_short.cut()
    began = time.monotonic()
    time.sleep(AWAY_SECONDS / 2)
    to_vtrack.silence()
    time.sleep(began + AWAY_SECONDS - time.monotonic())
    assert vtrack.forwarded("gateway")["queued_bytes"] > 0
    for each in (to_vtrack, to_second, to_short):
        each.mend()
    at_end.start()
    sender.finish()
    sent = len(sender.acknowledged)
    assert sent == sender.begun

    def behind(exporter):
        return first.count("exporter_queue_size", exporter=exporter, data_type="traces")

    until(lambda: not behind("otlp_grpc/vtrack") and not behind("otlp_grpc/backend"), 90)
    all_arrive(sender, central, at_end)
    for name in ("gateway", "short", "strict"):
        until(lambda name=name: not vtrack.forwarded(name)["queued_bytes"], 60)
    status = {name: vtrack.forwarded(name) for name in ("gateway", "short", "strict")}
    # Whatever vtrack took, which is more where an answer got lost, it passed on or counted.
    received = vtrack.status()["received"]["traces"]["accepted_items"]
    assert received >= sent
    for each in status.values():
        counted = [each[f"{kind}_items"] for kind in ("sent", "dropped", "dead_lettered")]
        assert sum(counted) == received
        assert not each["rejected_items"]
    assert status["gateway"]["sent_items"] == received
    for backend in (central, at_end):
        assert set(arrived(backend)) == sender.acknowledged
    # The short queue dropped the oldest, and the strict backends refused.
    for name, backend, kind in (("short", short, "dropped"), ("strict", strict, "dead_lettered")):
        gone = sent - len(set(arrived(backend)))
        assert 0 < gone <= status[name][f"{kind}_items"]
        assert set(arrived(backend)) <= sender.acknowledged
    failed = first.count("exporter_send_failed_spans", exporter="otlp_grpc/backend")
    assert 0 < failed == sent - len(set(arrived(beside)))
    for each in (first, vtrack, second):
        each.stop()
    assert stored(vtrack) == sender.acknowledged


@pytest.fixture
def disk(tmp_path):
    """Make a file system of so many MiB with nothing on it."""
    if sys.platform != "linux":
        pytest.skip("mounts a tmpfs")
    mounted = []

    def make(size):
        place = tmp_path / f"disk-{len(mounted)}"
        place.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", place],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            pytest.skip(f"only root may mount a small disk here: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield make
    for place in mounted:
        subprocess.run(["umount", "--lazy", place], check=True)


def test_the_queues_of_a_collector_are_full(
    sidecar, vtrack_at, sink, load, disk, stored, all_arrive, until
):
    beside = sink()
    beside.stop()
    vtrack = vtrack_at()
    folder = disk(64) / "queue"
    first = sidecar(vtrack.grpc, beside, QUEUE_FOLDER=str(folder), QUEUE_BYTES="4000000").start()
    sender = load(first.grpc, pad=2_000)
    until(lambda: sender.again > 10, 60)
    assert first.count("exporter_enqueue_failed_spans") > 0
    assert "no space left" not in first.log
    # Killed and started with full queues, it goes on with what it has.
    first.kill()
    first.start()
    vtrack.start()
    beside.start()
    taken = len(sender.acknowledged)
    # It takes more than the queues hold, without being told that there is room again.
    until(lambda: len(sender.acknowledged) > taken + 10_000, 90, lambda: str(sender.again))
    sender.finish()
    all_arrive(sender, beside)
    until(lambda: not first.count("exporter_queue_size"), 60)
    first.stop()
    vtrack.stop()
    assert not sender.missing(stored(vtrack))


def test_the_disk_of_vtracks_queue_is_full(
    gateway, vtrack_at, sink, destination, load, disk, stored, all_arrive, until
):
    central, at_end = sink(), sink()
    second = gateway(f"127.0.0.1:{central.grpc_port}", at_end)
    vtrack = vtrack_at(
        destinations=[destination("gateway", port_of(second.grpc))],
        forward_folder=str(disk(24) / "queue"),
        token_file=None,
        tls_cert_file=None,
        tls_key_file=None,
    ).start()
    sender = load(vtrack.grpc, pad=10_000)
    until(lambda: sender.again > 10, 60)
    second.start()
    taken = len(sender.acknowledged)
    until(lambda: len(sender.acknowledged) > taken + 5_000, 90)
    sender.finish()
    all_arrive(sender, central, at_end)
    vtrack.stop()
    second.stop()
    assert not sender.missing(stored(vtrack))


@pytest.fixture
def balanced(collector):
    """Make a Collector of otelcol-loadbalanced.yaml; by name, or before these ports."""

    def make(*ports, **environment):
        hosts = ", ".join(f"127.0.0.1:{port}" for port in ports)
        resolver = "exporters::load_balancing/vtrack::resolver"
        overrides = [f"{resolver}::dns: null", f"{resolver}::static: {{hostnames: [{hosts}]}}"]
        return collector(
            "balanced",
            "otelcol-loadbalanced.yaml",
            overrides=overrides if ports else (),
            VTRACK_SERVER_NAME="127.0.0.1",
            **{"VTRACK_HOSTNAME": "localhost"} | environment,
        )

    return make


def test_traces_are_spread_over_vtracks_one_of_which_is_killed(
    balanced, vtrack_at, load, certificates, secrets, stored, until
):
    vtracks = [vtrack_at(name).start() for name in ("one", "two")]
    credentials = grpc.ssl_channel_credentials(certificates.ca.read_bytes())
    first = balanced(*(port_of(each.grpc) for each in vtracks)).start()
    sender = load(first.grpc, credentials=credentials, token=secrets.senders.value)
    time.sleep(2)
    vtracks[0].kill()
    time.sleep(3)
    vtracks[0].start()
    time.sleep(1)
    sender.finish()
    until(lambda: not first.count("exporter_queue_size"), 90)
    first.stop()
    assert "deprecated" not in first.log
    for each in vtracks:
        each.stop()
    one, two = map(stored, vtracks)
    assert one
    assert two
    assert one | two == sender.acknowledged
    assert not one & two
    # Eight spans a trace.
    assert not {(n - 1) // 8 for n in one} & {(n - 1) // 8 for n in two}


def test_vtracks_are_found_by_name(balanced, vtrack_at, load, certificates, secrets, stored, until):
    vtrack = vtrack_at().start()
    first = balanced(VTRACK_PORT=str(port_of(vtrack.grpc))).start()
    credentials = grpc.ssl_channel_credentials(certificates.ca.read_bytes())
    sender = load(first.grpc, credentials=credentials, token=secrets.senders.value)
    time.sleep(1)
    sender.finish()
    until(lambda: not first.count("exporter_queue_size"), 60)
    first.stop()
    vtrack.stop()
    assert stored(vtrack) == sender.acknowledged
