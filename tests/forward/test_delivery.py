"""What becomes of requests between the queue and a backend: a forwarder, sockets and a disk."""

import contextlib
import json
import shutil
import socket
import sqlite3
import threading
import time
from pathlib import Path

import grpc
import pytest

from otel_vtrack.errors import SettingsError, StoreUnavailable
from otel_vtrack.forward import disk_queue, lane, otlp
from otel_vtrack.forward.destination import Destination
from otel_vtrack.forward.disk_queue import DiskQueue
from otel_vtrack.forward.forwarder import Forwarder
from otel_vtrack.forward.outcome import Verdict
from otel_vtrack.wire.signals import TRACES

PROTOCOLS = ("grpc", "http/protobuf")
both = pytest.mark.parametrize("protocol", PROTOCOLS)


@pytest.fixture
def forwarder(tmp_path):
    """Start forwarders on the folder `queue` of this test, one after the other."""
    started = []

    def start(*destinations, folder="queue") -> Forwarder:
        made = [Destination(**each) for each in destinations]
        started.append(Forwarder(made, tmp_path / folder))
        return started[-1]

    yield start
    for each in started:
        each.close(0)


@pytest.fixture
def numbered(make_spans):
    """The bytes of a request of one span that is named after its number."""
    return lambda number: make_spans(
        {"trace": number, "name": f"span {number}"}
    ).SerializeToString()


def names(numbers):
    return [f"span {number}" for number in numbers]


def counts(forwarder, destination="backend", signal="traces"):
    return forwarder.status()[destination]["signals"][signal]


@both
def test_what_a_dead_backend_missed_arrives_in_order_and_nobody_waits_for_it(
    forwarder, backend_on, endpoint, numbered, until, caplog, protocol
):
    alive, dead = backend_on(), backend_on()
    dead.stop()
    forwards = forwarder(
        endpoint(alive, protocol), endpoint(dead, protocol, "dead", signals=["traces"])
    )
    for number in range(1, 21):
        forwards.append("traces", [(numbered(number), 1, "")])
    until(lambda: alive.spans() == names(range(1, 21)), 5)
    waits = until(lambda: (found := counts(forwards, "dead"))["failing"] and found)
    assert (waits["sent_requests"], waits["queued_bytes"]) == (0, len(alive.taken["traces"]))
    assert caplog.text.count("dead: traces are queued and retried") == 1
    dead.start()
    until(lambda: dead.spans() == names(range(1, 21)))
    # Together, as they all waited.
    assert len(dead.bodies["traces"]) < 5
    until(lambda: counts(forwards, "dead")["sent_requests"] == 20)
    assert counts(forwards, "dead")["queued_bytes"] == 0
    assert caplog.text.count("dead: traces are accepted again") == 1


@both
def test_a_backend_that_is_not_there_is_not_slow(backend_on, endpoint, protocol):
    backend = backend_on()
    backend.stop()
    sender = otlp.connect(Destination(**endpoint(backend, protocol)))
    found = sender.send(TRACES, b"", "")
    sender.close()
    assert (found.verdict, found.late) == (Verdict.AGAIN, False)


def test_a_backend_that_is_busy_is_given_the_time_it_asks_for(
    forwarder, backend_on, endpoint, numbered, until
):
    asked = {"grpc": (0.6, 0.4), "http/protobuf": (1, None)}
    backends = {protocol: backend_on() for protocol in PROTOCOLS}
    for protocol, backend in backends.items():
        first, second = asked[protocol]
        answers = [
            backend.unavailable(first),
            backend.unavailable(second, grpc.StatusCode.RESOURCE_EXHAUSTED, 429),
            backend.unavailable(None, grpc.StatusCode.DATA_LOSS, 502),
        ]
        backend.answer = lambda *_, answers=answers: answers.pop(0) if answers else None
    forwards = forwarder(
        *(endpoint(backend, protocol, protocol[:4]) for protocol, backend in backends.items())
    )
    forwards.append("traces", [(numbered(1), 1, ""), (numbered(2), 1, "")])
    for protocol, backend in backends.items():
        until(lambda backend=backend: backend.spans() == names([1, 2]))
        tries = backend.tries
        first, second = asked[protocol]
        assert tries[1] - tries[0] >= first - 0.01
        assert tries[2] - tries[1] >= (second or 0) - 0.01
        assert len(tries) == 4


@both
def test_the_experiment_that_a_header_named_goes_along(
    forwarder, backend, endpoint, numbered, until, protocol
):
    backend.answer = lambda *_: backend.unavailable()
    forwards = forwarder(endpoint(backend, protocol))
    for number, experiment in enumerate(("", "mine", "mine", "é", ""), 1):
        forwards.append("traces", [(numbered(number), 1, experiment)])
    until(lambda: backend.tries)
    backend.answer = lambda *_: None
    until(lambda: backend.spans() == names(range(1, 6)))
    found = [
        headers.get("x-vtrack-experiment", headers.get("x-vtrack-experiment-bin", b"").decode())
        for headers in backend.headers
    ]
    assert found == ["", "mine", "é", ""]


@both
def test_what_is_refused_for_good_is_kept_with_the_reason_and_takes_nothing_along(
    forwarder, backend, endpoint, numbered, until, caplog, tmp_path, protocol
):
    backend.answer = lambda _, body: backend.refused() if b"span 3" in body else None
    forwards = forwarder(endpoint(backend, protocol))
    forwards.append("traces", [(numbered(number), 1, "") for number in range(1, 6)])
    until(lambda: backend.spans() == names([1, 2, 4, 5]))
    found = until(lambda: (c := counts(forwards))["sent_requests"] == 4 and c)
    assert (found["dead_lettered_requests"], found["dead_lettered_items"]) == (1, 1)
    folder = tmp_path / "queue" / "dead-letters" / "backend"
    (body,) = folder.glob("*.pb")
    assert body.read_bytes() == numbered(3)
    reason = json.loads(body.with_suffix(".json").read_text())
    status = "INVALID_ARGUMENT" if protocol == "grpc" else "HTTP 400"
    assert (reason["status"], reason["message"]) == (status, "a bad span")
    assert str(folder) in caplog.text
    # What a backend says may quote telemetry.
    assert "a bad span" not in caplog.text


def test_dead_letters_of_who_is_gone_are_told_of(forwarder, backend, endpoint, tmp_path, caplog):
    folder = tmp_path / "queue" / "dead-letters"
    for name in ("gone", "backend", "empty"):
        (folder / name).mkdir(parents=True)
    for name in ("gone", "backend"):
        (folder / name / "1-traces-1.pb").write_bytes(b"0123456789")
    status = forwarder(endpoint(backend)).status()
    assert status["gone"] == {"dead_letter_bytes": 10, "signals": {}}
    assert status["backend"]["dead_letter_bytes"] == 10
    assert sorted(status) == ["backend", "gone"]
    assert caplog.text.count("10 bytes of dead letters for a destination that is no longer") == 1


def test_dead_letters_are_bounded_and_the_newest_stay(
    forwarder, backend, endpoint, numbered, until, tmp_path
):
    backend.answer = lambda *_: backend.refused()
    forwards = forwarder(endpoint(backend, dead_letter_max_bytes=1_000))
    forwards.append("traces", [(numbered(number), 1, "") for number in range(10, 30)])
    until(lambda: counts(forwards)["dead_lettered_requests"] == 20)
    found = sorted((tmp_path / "queue" / "dead-letters" / "backend").glob("*.pb"))
    assert 1 < len(found) < 6
    assert found[-1].read_bytes() == numbered(29)
    assert forwards.status()["backend"]["dead_letter_bytes"] <= 1_000


def test_what_no_other_request_would_help_is_not_tried_again(
    forwarder, backend, endpoint, numbered, until
):
    forwards = forwarder(endpoint(backend), endpoint(backend, "http/protobuf", "by-http"))
    backend.answer = lambda *_: backend.refused("", grpc.StatusCode.UNAUTHENTICATED, 401)
    forwards.append("traces", [(numbered(1), 1, ""), (numbered(2), 1, "")])
    for name in ("backend", "by-http"):
        until(lambda name=name: counts(forwards, name)["dead_lettered_items"] == 2)
    assert len(backend.tries) == 2
    # Exhausted without a delay is for good: what is too large stays so.
    backend.answer = lambda *_: backend.refused("", grpc.StatusCode.RESOURCE_EXHAUSTED, 413)
    forwards.append("traces", [(numbered(3), 1, "")])
    for name in ("backend", "by-http"):
        until(lambda name=name: counts(forwards, name)["dead_lettered_items"] == 3)
    assert len(backend.tries) == 4


def test_a_partial_success_is_counted_and_not_sent_again(
    forwarder, backend, endpoint, numbered, until, caplog
):
    backend.answer = lambda signal, _: backend.partial(signal, 2)
    forwards = forwarder(endpoint(backend, "http/protobuf"))
    forwards.append("traces", [(numbered(1), 3, "")])
    found = until(lambda: (c := counts(forwards))["sent_requests"] and c)
    assert (found["sent_items"], found["rejected_items"]) == (1, 2)
    assert "2 items of a request were rejected" in caplog.text
    assert len(backend.tries) == 1


def test_what_waits_is_bounded_by_size_and_age_and_what_is_dropped_is_counted(
    forwarder, backend, endpoint, numbered, until, caplog
):
    backend.stop()
    one = len(numbered(10))
    forwards = forwarder(
        endpoint(backend, name="small", queue_max_bytes=3 * one),
        endpoint(backend, "http/protobuf", "short", queue_max_age_seconds=0.5),
    )
    for number in range(10, 20):
        forwards.append("traces", [(numbered(number), 1, "")])
    dropped = counts(forwards, "small")
    assert (dropped["dropped_requests"], dropped["dropped_items"]) == (7, 7)
    assert (dropped["dropped_bytes"], dropped["queued_bytes"]) == (7 * one, 3 * one)
    assert caplog.text.count("small: 1 queued requests of traces were dropped") == 1
    until(lambda: counts(forwards, "short")["dropped_requests"] == 10)
    backend.start()
    until(lambda: backend.spans() == names([17, 18, 19]))
    assert counts(forwards, "short")["sent_requests"] == 0


@both
def test_tls_and_a_certificate_of_our_own(
    forwarder, backend_on, endpoint, numbered, until, certificates, protocol
):
    backend = backend_on(tls=certificates.server, client_ca=certificates.ca)
    ca = {"ca_file": str(certificates.ca)}
    ours = {"cert_file": str(certificates.client.chain), "key_file": str(certificates.client.key)}
    forwards = forwarder(
        endpoint(backend, protocol, "known", "https", tls=ca | ours),
        endpoint(backend, protocol, "nobody", "https", tls=ca),
        endpoint(backend, protocol, "distrusts", "https", tls=ours),
    )
    forwards.append("traces", [(numbered(1), 1, "")])
    until(lambda: backend.spans() == names([1]))
    for name in ("nobody", "distrusts"):
        until(lambda name=name: counts(forwards, name)["failing"])
        assert counts(forwards, name)["sent_requests"] == 0
    assert backend.spans() == names([1])


def test_a_file_that_cannot_be_used_is_said_at_once(
    forwarder, backend, endpoint, certificates, tmp_path
):
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("nothing")
    for given, says in (
        ({"tls": {"ca_file": str(wrong)}, "scheme": "https"}, "wrong.pem"),
        ({"headers_file": str(tmp_path / "none")}, "headers_file"),
        ({"headers_file": str(wrong)}, "write one header per line"),
    ):
        with pytest.raises(SettingsError, match=says) as error:
            forwarder(endpoint(backend, **given))
        assert "nothing" not in str(error.value)


def test_a_restart_goes_on_where_it_was_and_knows_what_it_had_done(
    forwarder, backend_on, endpoint, numbered, until, caplog
):
    backend, other = backend_on(), backend_on()
    both_of_them = (endpoint(backend), endpoint(other, name="other", signals=["traces"]))
    forwards = forwarder(*both_of_them)
    forwards.append("traces", [(numbered(1), 1, "")])
    until(
        lambda: counts(forwards)["sent_requests"] == counts(forwards, "other")["sent_requests"] == 1
    )
    other.stop()
    forwards.append("traces", [(numbered(2), 1, "")])
    until(lambda: counts(forwards)["sent_requests"] == 2)
    forwards.close(5)
    assert "not everything was forwarded" in caplog.text
    assert "traces for other" in caplog.text
    other.start()
    forwards = forwarder(*both_of_them, endpoint(backend, name="new", signals=["traces"]))
    until(lambda: other.spans() == names([1, 2]))
    until(lambda: counts(forwards, "other")["sent_requests"] == 2)
    assert backend.spans() == names([1, 2])
    # Who is new gets what comes from now on, and what waits for who is gone is dropped aloud.
    forwards.append("traces", [(numbered(3), 1, "")])
    until(lambda: backend.spans() == names([1, 2, 3, 3]))
    forwards.close(5)
    backend.stop()
    forwards = forwarder(endpoint(backend))
    forwards.append("traces", [(numbered(4), 1, "")])
    forwards.close(0)
    forwards = forwarder(endpoint(other, name="other"))
    assert "backend is no longer in the settings" in caplog.text
    assert counts(forwards, "other")["queued_bytes"] == 0


def test_a_queue_that_cannot_be_read_is_moved_out_of_the_way(
    forwarder, backend, endpoint, numbered, until, tmp_path
):
    folder = tmp_path / "queue"
    folder.mkdir()
    folder.joinpath("queue-traces.sqlite").write_bytes(b"nothing" * 20_000)
    forwards = forwarder(endpoint(backend))
    forwards.append("traces", [(numbered(1), 1, "")])
    until(lambda: backend.spans() == names([1]))
    (aside,) = folder.glob("*.unreadable-*")
    assert aside.read_bytes().startswith(b"nothing")


def test_a_queue_of_which_a_part_is_broken_is_moved_out_of_the_way(
    forwarder, backend, endpoint, numbered, until, tmp_path
):
    forwards = forwarder(endpoint(backend, name="away"))
    backend.stop()
    for number in range(500):
        forwards.append("traces", [(numbered(number), 1, "")])
    forwards.close(0)
    path = tmp_path / "queue" / "queue-traces.sqlite"
    with path.open("r+b") as file:
        file.seek(-4096, 2)
        file.write(b"\xff" * 4096)
    forwards = forwarder(endpoint(backend, name="away"))
    forwards.append("traces", [(numbered(1), 1, "")])
    assert list(path.parent.glob("*.unreadable-*"))


def test_a_second_process_does_not_share_the_queue(forwarder, backend, endpoint, tmp_path):
    forwarder(endpoint(backend))
    # Nor does any other user look into it.
    assert (tmp_path / "queue").stat().st_mode & 0o777 == 0o700
    with pytest.raises(SettingsError, match="--forward-folder"):
        forwarder(endpoint(backend))


def test_what_the_disk_was_needed_for_is_given_back_and_used_again(
    forwarder, backend, endpoint, until, tmp_path, monkeypatch
):
    # Its file is made anew whenever nothing waits.
    monkeypatch.setattr(disk_queue, "_SMALL_FILE_BYTES", 1)
    folder = tmp_path / "queue"
    forwards = forwarder(endpoint(backend, "http/protobuf", signals=["logs"]))

    def size():
        return sum(file.stat().st_size for file in folder.glob("*") if file.is_file())

    bodies = [b"\x0a\x80\x80\x40" + bytes([number]) * (1 << 20) for number in range(40)]
    for rest in (bodies, bodies[::-1]):
        backend.reset()
        backend.answer = lambda *_: backend.unavailable()
        for number, body in enumerate(rest):
            forwards.append("logs", [(body, 1, "")])
            if number == 10:
                # The others are written over what these leave behind.
                backend.answer = lambda *_: None
                until(lambda: backend.bodies["logs"][10:])
                backend.answer = lambda *_: backend.unavailable()
        assert size() > 28 << 20
        backend.answer = lambda *_: None
        until(lambda rest=rest: backend.taken["logs"] == b"".join(rest))
        until(lambda: not counts(forwards, signal="logs")["queued_bytes"])
        assert size() < 20 << 20
        assert len(list(folder.glob("*.bodies"))) <= 2


def test_what_the_death_of_the_machine_took_is_counted_and_what_is_left_arrives(
    forwarder, backend, endpoint, numbered, until, tmp_path, caplog
):
    backend.stop()
    forwards = forwarder(endpoint(backend))
    for number in range(1, 4):
        forwards.append("traces", [(numbered(number), 1, "")])
    forwards.close(0)
    (file,) = (tmp_path / "queue").glob("*.bodies")
    with file.open("r+b") as bodies:
        bodies.seek(len(numbered(1)))
        bodies.write(bytes(20))
    backend.start()
    forwards = forwarder(endpoint(backend))
    until(lambda: backend.spans() == names([1, 3]))
    found = until(lambda: (c := counts(forwards))["sent_items"] == 2 and c)
    assert (found["dropped_requests"], found["dropped_items"]) == (1, 1)
    assert "a crash of the machine" in caplog.text


def test_a_queue_that_has_the_bodies_in_its_database_is_taken_over(tmp_path):
    before = sqlite3.connect(tmp_path / "queue.sqlite")
    before.executescript(
        "PRAGMA journal_mode = WAL;"
        "CREATE TABLE bodies (position INTEGER PRIMARY KEY, at REAL NOT NULL,"
        " items INTEGER NOT NULL, experiment TEXT NOT NULL, payload BLOB NOT NULL);"
        "CREATE TABLE places (destination TEXT PRIMARY KEY, position INTEGER, counts TEXT);"
        """INSERT INTO places VALUES ('a', 14, '{"sent_items": 2}'), ('b', 10, '{}');"""
    )
    bodies = [(10, 5.0, 1, "", b"aaaa"), (14, 6.0, 2, "shop", b"bb"), (16, 7.0, 1, "", b"c")]
    before.executemany("INSERT INTO bodies VALUES (?, ?, ?, ?, ?)", bodies)
    before.commit()
    before.close()
    for _ in range(2):
        queue = DiskQueue(tmp_path / "queue.sqlite", "traces", {"a": 1 << 20, "b": 1 << 20})
        assert [body.payload for body in queue.read("b", 1 << 20)] == [b"aaaa"]
        [body] = queue.read("a", 99)
        assert (body.payload, body.items, body.experiment) == (b"bb", 2, "shop")
        queue.close()
    queue = DiskQueue(tmp_path / "queue.sqlite", "traces", {"a": 1 << 20, "b": 1 << 20})
    queue.done("a", queue.read("a", 99))
    queue.append([(b"dd", 1, "")])
    assert [body.payload for body in queue.read("a", 99)] == [b"c", b"dd"]
    queue.close()


def test_what_is_appended_just_before_a_wait_is_not_waited_with(tmp_path):
    queue = DiskQueue(tmp_path / "queue.sqlite", "traces", {"backend": 1 << 20})
    assert queue.read("backend", 1 << 20) == []
    queue.append([(b"body", 1, "")])
    began = time.monotonic()
    queue.wait("backend", 5, threading.Event())
    assert time.monotonic() - began < 1
    queue.close()


def test_what_a_clock_that_is_put_right_makes_look_old_is_not_dropped(
    forwarder, backend, endpoint, numbered, until, monkeypatch
):
    backend.answer = lambda *_: backend.unavailable()
    forwards = forwarder(endpoint(backend, retry_max_seconds=0.1))
    forwards.append("traces", [(numbered(1), 1, "")])
    until(lambda: backend.tries)
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + 10 * 86_400)
    tries = len(backend.tries)
    until(lambda: len(backend.tries) > tries + 2)
    assert counts(forwards)["oldest_seconds"] < 60
    backend.answer = lambda *_: None
    until(lambda: backend.spans() == names([1]))


class Proxy:
    """Leads to a backend; a connection that was made to hang stays open and passes nothing on."""

    def __init__(self, port):
        self._port = port
        self._hung = set()
        self.opened = []
        self._sockets = []
        self._threads = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._start(self._accept)

    def hang(self):
        self._hung.update(self.opened)

    def stop(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(2)
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(2)
        for thread in self._threads:
            thread.join(5)
        for each in (self._listener, *self._sockets):
            each.close()

    def _start(self, run, *args):
        self._threads.append(threading.Thread(target=run, args=args, daemon=True))
        self._threads[-1].start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                backend = socket.create_connection(("127.0.0.1", self._port))
                self.opened.append(client)
                self._sockets += (client, backend)
                for source, sink in ((client, backend), (backend, client)):
                    self._start(self._pass, client, source, sink)

    def _pass(self, client, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if client not in self._hung:
                    sink.sendall(data)


@pytest.fixture
def proxy_to():
    """Start proxies to ports; all are stopped after the test."""
    started = []

    def start(port) -> Proxy:
        started.append(Proxy(port))
        return started[-1]

    yield start
    for each in started:
        each.stop()


def test_a_connection_that_leads_nowhere_any_more_is_not_kept(
    forwarder, backend, endpoint, numbered, until, proxy_to
):
    proxy = proxy_to(backend.grpc_port)
    through = {"endpoint": f"http://127.0.0.1:{proxy.port}", "timeout_seconds": 0.2}
    forwards = forwarder(endpoint(backend) | through)
    forwards.append("traces", [(numbered(1), 1, "")])
    until(lambda: backend.spans() == names([1]))
    proxy.hang()
    forwards.append("traces", [(numbered(2), 1, "")])
    until(lambda: backend.spans() == names([1, 2]), 5)
    assert len(proxy.opened) == 2


def test_a_response_that_trickles_in_is_not_waited_for(
    forwarder, backend, endpoint, numbered, until
):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        trickling = endpoint(backend, "http/protobuf") | {
            "endpoint": f"http://127.0.0.1:{listener.getsockname()[1]}",
            "timeout_seconds": 0.2,
        }
        forwards = forwarder(trickling)
        forwards.append("traces", [(numbered(1), 1, "")])
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            for _ in range(100):
                if counts(forwards)["failing"]:
                    break
                connection.sendall(b"\n")
                time.sleep(0.05)
        assert "TimeoutError" in until(lambda: counts(forwards)["failing"], 1)


def test_backends_that_hang_do_not_delay_the_end_one_after_the_other(
    forwarder, endpoint, backend, numbered, until, monkeypatch
):
    monkeypatch.setattr("otel_vtrack.forward.forwarder._LAST_WORD_SECONDS", 0.2, raising=False)
    until_closed = threading.Event()
    backend.answer = lambda *_: until_closed.wait(20) and None
    hanging = [endpoint(backend, "http/protobuf", f"b{number}") for number in range(6)]
    forwards = forwarder(*hanging)
    forwards.append("traces", [(numbered(1), 1, "")])
    until(lambda: len(backend.tries) == 6)
    began = time.monotonic()
    forwards.close(0)
    assert time.monotonic() - began < 1
    until_closed.set()


def test_what_is_refused_and_too_large_to_be_kept_is_counted_as_dropped(
    forwarder, backend, endpoint, numbered, until, tmp_path, caplog
):
    backend.answer = lambda *_: backend.refused()
    forwards = forwarder(endpoint(backend, dead_letter_max_bytes=100))
    forwards.append("traces", [(numbered(1), 1, "")])
    found = until(lambda: (c := counts(forwards))["failing"] and not c["queued_bytes"] and c)
    assert (found["dropped_items"], found["dead_lettered_items"]) == (1, 0)
    assert "larger than dead_letter_max_bytes" in caplog.text
    assert "bodies and reasons are in" not in caplog.text
    assert not list((tmp_path / "queue").glob("dead-letters/*/*"))


def test_what_is_queued_while_the_queue_is_made_anew_survives_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(disk_queue, "_SMALL_FILE_BYTES", 1)
    queue = DiskQueue(tmp_path / "queue.sqlite", "traces", {"a": 1 << 20})
    queue.append([(b"sent", 1, "")])
    with monkeypatch.context() as fault:
        # It is made anew when it is empty, and the disk fills up in between.
        fault.setattr(queue, "_path", tmp_path / "nowhere" / "queue.sqlite")
        queue.done("a", queue.read("a", 99), sent_items=1)
    Path(f"{queue._path}").unlink()
    queue.append([(b"acknowledged", 1, "")])
    killed = tmp_path / "killed"
    killed.mkdir()
    for file in tmp_path.glob("queue*"):
        shutil.copy(file, killed)
    queue.close()
    queue = DiskQueue(killed / "queue.sqlite", "traces", {"a": 1 << 20})
    assert [body.payload for body in queue.read("a", 99)] == [b"acknowledged"]
    assert queue.status("a")["sent_items"] == 1
    queue.close()


@both
def test_what_a_slow_backend_does_not_take_in_time_together_it_is_given_one_by_one(
    forwarder, backend, endpoint, numbered, until, protocol
):
    backend.answer = lambda *_: backend.unavailable()
    forwards = forwarder(endpoint(backend, protocol, timeout_seconds=0.15))
    forwards.append("traces", [(numbered(number), 1, "") for number in range(1, 5)])
    until(lambda: backend.tries)
    backend.answer = lambda _, body: (
        backend.unavailable() if body.count(b"span ") > 1 and not time.sleep(0.3) else None
    )
    until(lambda: backend.spans() == names(range(1, 5)), 5)


def test_a_pause_for_ever_is_not_believed(
    forwarder, backend, endpoint, numbered, until, monkeypatch
):
    monkeypatch.setattr(lane, "_LONGEST_ASKED_SECONDS", 0.2, raising=False)
    answers = [backend.unavailable(10**8)]
    backend.answer = lambda *_: answers.pop() if answers else None
    forwards = forwarder(endpoint(backend))
    forwards.append("traces", [(numbered(1), 1, "")])
    until(lambda: backend.spans() == names([1]), 5)


def test_a_queue_that_cannot_be_opened_says_what_to_do(forwarder, backend, endpoint, tmp_path):
    (tmp_path / "queue" / "queue-traces.sqlite").mkdir(parents=True)
    with pytest.raises(StoreUnavailable, match=r"let this user write .* --forward-folder"):
        forwarder(endpoint(backend))


def test_what_waits_of_a_signal_that_nobody_takes_any_more_is_dropped_aloud(
    forwarder, backend, endpoint, tmp_path, caplog
):
    backend.stop()
    forwards = forwarder(endpoint(backend))
    forwards.append("logs", [(b"x" * 100_000, 1, "")])
    forwards.close(0)
    forwards = forwarder(endpoint(backend, signals=["traces"]))
    assert "logs: destination backend is no longer in the settings; 100000 bytes" in caplog.text
    assert forwards.signals == {"traces"}
    forwards.close(0)
    caplog.clear()
    forwarder(endpoint(backend, signals=["traces"]))
    assert "no longer" not in caplog.text
