"""Group commit, with writers that record, fail or wait as the test wants."""

import logging
import random
import threading
import time

import pytest

from otel_vtrack import log
from otel_vtrack.errors import Overloaded, StoreUnavailable, WireError
from otel_vtrack.ingest.commit import GroupCommit


class Writer:
    def __init__(self):
        self.written: list[bytes] = []
        self.gate = threading.Event()
        self.gate.set()
        self.writing = threading.Event()
        self.fail = lambda payload: None

    def __call__(self, payload):
        self.writing.set()
        assert self.gate.wait(10)
        self.fail(payload)
        self.written.append(payload)


@pytest.fixture
def writer():
    return Writer()


@pytest.fixture
def start(writer):
    commits = []

    def start(**settings):
        commits.append(GroupCommit(writer, name="traces", **settings))
        return commits[-1]

    yield start
    writer.gate.set()
    for commit in commits:
        commit.drain(5)


def hold(commit, writer):
    """Let a first write begin and hold it, so that what comes next waits."""
    writer.gate.clear()
    held = commit.submit(b"held", 1)
    assert writer.writing.wait(5)
    return held


def test_what_waits_is_joined_in_order_into_one_write(start, writer):
    commit = start()
    held = hold(commit, writer)
    rest = [commit.submit(b"%d" % number, 2) for number in range(5)]
    assert not any(future.done() for future in [held, *rest])
    writer.gate.set()
    for future in [held, *rest]:
        assert future.result(5) is None
    assert writer.written == [b"held", b"01234"]


def test_a_batch_stops_at_its_size_but_a_larger_request_goes_alone(start, writer):
    commit = start(max_batch_bytes=10)
    held = hold(commit, writer)
    rest = [commit.submit(payload, 1) for payload in (b"a" * 6, b"b" * 4, b"c" * 1, b"d" * 30)]
    writer.gate.set()
    for future in [held, *rest]:
        future.result(5)
    assert writer.written == [b"held", b"a" * 6 + b"b" * 4, b"c", b"d" * 30]


def test_a_queue_full_of_bytes_turns_away_at_once_with_a_delay(start, writer):
    commit = start(max_waiting_bytes=10)
    hold(commit, writer)
    commit.submit(b"x" * 6, 1)
    with pytest.raises(Overloaded, match=r"retry in \d") as caught:
        commit.submit(b"y", 1)
    assert caught.value.retry_after_seconds >= 1
    assert commit.snapshot().overloaded == 1


def test_a_queue_full_of_requests_turns_away(start, writer):
    commit = start(max_waiting_requests=2)
    hold(commit, writer)
    commit.submit(b"", 0)
    with pytest.raises(Overloaded):
        commit.submit(b"", 0)


def test_a_request_larger_than_the_queue_is_taken_when_the_queue_is_empty(start, writer):
    start(max_waiting_bytes=10).submit(b"x" * 100, 1).result(5)
    assert writer.written == [b"x" * 100]


def test_room_comes_back_after_a_write(start, writer):
    commit = start(max_waiting_bytes=4)
    for _ in range(20):
        commit.submit(b"xxxx", 1).result(5)
        deadline = time.monotonic() + 5
        while commit.snapshot().waiting_requests:
            assert time.monotonic() < deadline
    assert commit.snapshot().waiting_bytes == 0


def test_a_store_that_refuses_fails_all_of_a_batch_alike_and_recovers(start, writer):
    commit = start()
    held = hold(commit, writer)
    rest = [commit.submit(b"x", 1) for _ in range(3)]

    def fail(payload):
        raise StoreUnavailable("disk full; free some")

    writer.fail = fail
    writer.gate.set()
    for future in [held, *rest]:
        assert isinstance(future.exception(5), StoreUnavailable)
    writer.fail = lambda payload: None
    assert commit.submit(b"later", 1).result(5) is None
    counts = commit.snapshot()
    assert (counts.unavailable, counts.accepted_requests) == (4, 1)


def test_a_refusing_store_is_logged_once_a_minute_and_so_is_its_recovery(
    start, writer, caplog, monkeypatch
):
    caplog.set_level(logging.INFO)
    commit = start()

    def fail(payload):
        raise StoreUnavailable("disk full; free some")

    writer.fail = fail
    for _ in range(50):
        assert commit.submit(b"x", 1).exception(5)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "disk full; free some" in caplog.text
    monkeypatch.setattr(log, "SELDOM_SECONDS", 0.0)
    assert commit.submit(b"x", 1).exception(5)
    assert len(caplog.records) == 2
    writer.fail = lambda payload: None
    commit.submit(b"x", 1).result(5)
    commit.submit(b"x", 1).result(5)
    assert [record.getMessage() for record in caplog.records[2:]] == [
        "traces: the store accepts data again"
    ]


@pytest.mark.parametrize("error", [WireError("no; drop it"), ZeroDivisionError("a bug")])
def test_one_poisonous_request_does_not_spoil_its_neighbours(start, writer, error):
    commit = start()
    held = hold(commit, writer)
    rest = {payload: commit.submit(payload, 1) for payload in (b"a", b"poison", b"b")}

    def fail(payload):
        if b"poison" in payload:
            raise error

    writer.fail = fail
    writer.gate.set()
    assert held.result(5) is None
    assert rest[b"a"].result(5) is None
    assert rest[b"b"].result(5) is None
    assert isinstance(rest[b"poison"].exception(5), WireError)
    assert writer.written == [b"held", b"a", b"b"]
    assert commit.snapshot().poisoned == 1


def test_a_request_that_fails_alone_for_an_unforeseen_reason_may_be_sent_again(start, writer):
    def fail(payload):
        raise ZeroDivisionError("a bug")

    writer.fail = fail
    commit = start()
    assert isinstance(commit.submit(b"x", 1).exception(5), ZeroDivisionError)
    assert commit.snapshot().poisoned == 0
    writer.fail = lambda payload: None
    assert commit.submit(b"x", 1).result(5) is None


def turned_away(commit) -> str:
    try:
        commit.submit(b"", 0)
    except Overloaded as error:
        return str(error)
    return ""


def test_drain_writes_what_waits_and_takes_no_more(start, writer):
    commit = start()
    held = hold(commit, writer)
    last = commit.submit(b"last", 1)
    drained = []
    thread = threading.Thread(target=lambda: drained.append(commit.drain(5)))
    thread.start()
    deadline = time.monotonic() + 5
    while not (said := turned_away(commit)):
        assert time.monotonic() < deadline, "requests are still taken"
        time.sleep(0.01)
    assert "is stopping" in said
    writer.gate.set()
    thread.join(5)
    assert drained == [True]
    assert held.result(0) is None
    assert last.result(0) is None
    assert commit.snapshot().draining == 1


def test_drain_gives_up_in_time_and_fails_what_was_not_written(start, writer):
    commit = start()
    hold(commit, writer)
    last = commit.submit(b"last", 1)
    started = time.monotonic()
    assert commit.drain(0.2) is False
    assert time.monotonic() - started < 2
    assert isinstance(last.exception(1), StoreUnavailable)


def test_a_cancelled_request_is_not_written(start, writer):
    commit = start()
    hold(commit, writer)
    gone = commit.submit(b"gone", 1)
    stays = commit.submit(b"stays", 1)
    assert gone.cancel()
    writer.gate.set()
    stays.result(5)
    assert writer.written == [b"held", b"stays"]
    assert commit.snapshot().abandoned == 1


def test_lingering_gathers_company(start, writer):
    commit = start(linger_seconds=0.5)
    futures = []
    for _ in range(5):
        futures.append(commit.submit(b"x", 1))
        time.sleep(0.01)
    for future in futures:
        future.result(5)
    assert writer.written == [b"xxxxx"]


def test_several_writers_write_at_once(start, writer):
    commit = start(writers=2, max_batch_bytes=1)
    writer.gate.clear()
    both = threading.Barrier(3)
    writer.fail = lambda payload: both.wait(5)
    writer.gate.set()
    futures = [commit.submit(b"x", 1) for _ in range(2)]
    both.wait(5)
    for future in futures:
        future.result(5)


def test_counts_tell_what_was_stored(start, writer):
    commit = start()
    held = hold(commit, writer)
    rest = [commit.submit(b"xyz", 10) for _ in range(4)]
    counts = commit.snapshot()
    assert (counts.waiting_requests, counts.waiting_bytes) == (5, 16)
    writer.gate.set()
    for future in [held, *rest]:
        future.result(5)
    assert commit.drain(5)
    counts = commit.snapshot()
    assert counts.accepted_requests == 5
    assert counts.accepted_items == 41
    assert counts.accepted_bytes == 16
    assert counts.batches == 2
    assert (counts.waiting_requests, counts.waiting_bytes) == (0, 0)


def test_what_is_forwarded_takes_room_beside_what_is_stored_and_only_then(start, writer):
    for forward, each in ((lambda requests: None, 7), (None, 3)):
        commit = start(forward=forward)
        held = hold(commit, writer)
        same = b"xyz"
        rest = [
            commit.submit(b"xyz", 1, forwarded=b"abcd", experiment="shop"),
            commit.submit(same, 1, forwarded=same),
        ]
        assert commit.snapshot().waiting_bytes == 4 + each + 3
        writer.gate.set()
        for future in [held, *rest]:
            future.result(5)
        assert commit.drain(5)
        assert commit.snapshot().accepted_bytes == 10
        assert commit.snapshot().waiting_bytes == 0
        writer.writing.clear()


def test_under_load_and_failures_each_request_is_settled_once(start, writer):
    """A request that is told to be stored was written once; one that failed, never."""
    chance = random.Random(7)

    def fail(payload):
        if chance.random() < 0.2:
            raise StoreUnavailable("not now; wait")
        if b"(poison)" in payload:
            raise ZeroDivisionError("a bug")

    writer.fail = fail
    commit = start(writers=2, max_batch_bytes=400, max_waiting_requests=100)
    settled: dict[bytes, object] = {}

    def send(sender):
        for number in range(200):
            payload = b"(%d-%d)" % (sender, number) + (b"(poison)" if number % 50 == 9 else b"")
            try:
                settled[payload] = commit.submit(payload, 1).exception(10)
            except Overloaded as error:
                settled[payload] = error

    senders = [threading.Thread(target=send, args=[sender]) for sender in range(8)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(30)
    assert len(settled) == 1_600
    written = b"".join(writer.written)
    for payload, error in settled.items():
        assert written.count(payload.split(b")")[0] + b")") == (error is None), (payload, error)
    assert sum(error is None for error in settled.values()) > 800
    counts = commit.snapshot()
    assert counts.accepted_requests == sum(error is None for error in settled.values())
    assert counts.waiting_requests == 0
