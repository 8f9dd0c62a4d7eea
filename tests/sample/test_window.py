"""What is held back in the journal, when it is let go, and what a killed process leaves."""

import time

import pytest

from otel_vtrack.ingest.backlog import Backlog
from otel_vtrack.ingest.window import Window
from otel_vtrack.store.journal import Journal

SOON = 10.0


class Everything:
    """A sampler that keeps what begins with `k`, and remembers what it was asked."""

    def __init__(self):
        self.decided = []
        self.recalled = []
        self.counted = 0

    def observe(self, payload):
        if payload == b"odd":
            raise ValueError("odd")
        return [payload], 1

    def decide(self, trace_ids):
        self.decided.append(list(trace_ids))
        return b"".join(trace_ids)

    def apply(self, payload):
        return (payload if payload.startswith(b"k") else b""), 1

    def count(self, tally):
        self.counted += tally

    def recall(self, notes):
        self.recalled.append(notes)


@pytest.fixture
def make(tmp_path):
    made = []

    def build(seconds=0.2, max_bytes=1 << 20, notes_bytes=1 << 10, **options):
        sampler = Everything()
        journal = Journal(tmp_path / "journal.sqlite")
        written = []
        backlog = Backlog(
            journal,
            written.append,
            name="spans",
            writers=1,
            window=lambda release: Window(
                sampler,
                journal,
                release,
                seconds=seconds,
                max_bytes=max_bytes,
                notes_bytes=notes_bytes,
                name="spans",
            ),
            **options,
        )
        made.append(backlog)
        return backlog, sampler, written

    yield build
    for backlog in made:
        backlog.close(SOON)


def left(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite")
    entries, notes = [entry.payload for entry in journal.entries()], journal.notes()
    journal.close()
    return entries, notes


def eventually(true):
    deadline = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_held_back_is_written_once_the_window_has_passed_and_not_waited_for(make, tmp_path):
    backlog, sampler, written = make(seconds=0.5)
    began = time.monotonic()
    for payload in (b"k1", b"no", b"k2"):
        backlog.append(payload)
    assert backlog.wait(0)
    assert time.monotonic() - began < 0.4
    eventually(lambda: written)
    assert time.monotonic() - began >= 0.5
    assert backlog.wait(SOON)
    assert b"".join(written) == b"k1k2"
    assert sampler.decided == [[b"k1", b"no", b"k2"]]
    assert sampler.counted == 3
    backlog.close(SOON)
    assert left(tmp_path) == ([], [b"k1nok2"])


def test_a_window_is_bounded_by_bytes(make):
    backlog, sampler, written = make(seconds=60, max_bytes=10)
    backlog.append(b"k" * 8)
    time.sleep(0.1)
    assert not written
    backlog.append(b"k" * 8)
    eventually(lambda: written)
    assert len(sampler.decided) == 1


def test_what_waits_at_the_end_is_decided_at_once(make, tmp_path):
    backlog, _, written = make(seconds=60)
    backlog.append(b"k1")
    backlog.append(b"no")
    assert backlog.close(SOON)
    assert written == [b"k1"]
    assert left(tmp_path)[0] == []


def test_what_a_killed_process_left_is_held_back_again_and_its_decisions_are_known(make, tmp_path):
    journal = Journal(tmp_path / "journal.sqlite")
    journal.append(b"k1")
    journal.note(b"old", 100)
    journal.note(b"new", 100)
    journal.close()
    backlog, sampler, written = make(seconds=0.3)
    assert backlog.wait(0), "a start does not wait for it"
    assert sampler.recalled == [b"old", b"new"]
    assert not written
    eventually(lambda: written)
    assert written == [b"k1"]


def test_what_cannot_be_sampled_is_stored_whole(make, caplog):
    backlog, sampler, written = make(seconds=0.1)
    sampler.apply = lambda _: 1 / 0
    backlog.append(b"odd")
    backlog.append(b"other")
    eventually(lambda: sum(map(len, written)) == 8)
    assert "cannot be sampled" in caplog.text


def test_the_journal_keeps_the_last_notes(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite")
    for number in range(20):
        journal.note(b"%03d" % number, 9)
    assert journal.notes() == [b"017", b"018", b"019"]
    journal.note(b"x" * 100, 9)
    assert journal.notes() == [b"x" * 100]
    journal.close()
