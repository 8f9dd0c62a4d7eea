import logging
import threading
import time

import pytest

from otel_vtrack.errors import StoreError, StoreUnavailable, WireError
from otel_vtrack.ingest import backlog as backlogs
from otel_vtrack.ingest.backlog import Backlog
from otel_vtrack.store.journal import Journal

SOON = 10.0


class Tables:
    """Takes what is written, unless told to refuse or to be slow."""

    def __init__(self):
        self.written = []
        self.refuse_with = None
        self.poison = b"\0"
        self.open = threading.Event()
        self.open.set()

    def write(self, payload):
        assert self.open.wait(SOON)
        if self.refuse_with:
            raise self.refuse_with
        if self.poison in payload:
            raise WireError("poison")
        self.written.append(payload)


@pytest.fixture
def tables():
    return Tables()


@pytest.fixture
def make_backlog(tmp_path, tables):
    """Make a backlog over the one journal of the test, and close it after."""
    made = []

    def make(**options):
        journal = Journal(tmp_path / "journal.sqlite")
        made.append(Backlog(journal, tables.write, name="spans", **{"writers": 1} | options))
        return made[-1]

    yield make
    tables.refuse_with = None
    tables.open.set()
    for backlog in made:
        # One that a test has closed with something left does not get rid of it any more.
        backlog.close(0 if backlog._stopping else SOON)


@pytest.fixture
def left(tmp_path):
    """What the journal still holds, once nobody has it open."""

    def read():
        journal = Journal(tmp_path / "journal.sqlite")
        payloads = [entry.payload for entry in journal.entries()]
        journal.close()
        return payloads

    return read


def test_what_is_appended_is_written_and_leaves_the_journal(make_backlog, tables, left):
    backlog = make_backlog()
    for payload in (b"a", b"b", b"c"):
        backlog.append(payload)
    assert backlog.wait(SOON)
    assert sorted(b"".join(tables.written)) == sorted(b"abc")
    assert backlog.close(SOON)
    assert left() == []


def test_what_gathers_during_an_insert_is_written_as_one(make_backlog, tables):
    backlog = make_backlog(batch_bytes=3)
    tables.open.clear()
    backlog.append(b"a")
    time.sleep(0.1)
    for payload in (b"b", b"c", b"d", b"e"):
        backlog.append(payload)
    tables.open.set()
    assert backlog.wait(SOON)
    assert tables.written == [b"a", b"bcd", b"e"]


def test_waiting_is_for_what_was_appended_before_and_not_longer(make_backlog, tables):
    backlog = make_backlog()
    tables.open.clear()
    backlog.append(b"a")
    assert not backlog.wait(0.1)
    tables.open.set()
    assert backlog.wait(SOON)
    assert tables.written == [b"a"]


def test_what_the_last_process_left_is_written(make_backlog, tmp_path, tables):
    journal = Journal(tmp_path / "journal.sqlite")
    journal.append(b"old")
    journal.close()
    backlog = make_backlog()
    assert backlog.wait(SOON)
    assert tables.written == [b"old"]


def test_a_request_that_spoils_an_insert_is_set_aside_and_its_neighbours_are_written(
    make_backlog, tables, left, caplog
):
    backlog = make_backlog()
    tables.open.clear()
    for payload in (b"a", b"b", b"\0", b"c"):
        backlog.append(payload)
    tables.open.set()
    assert backlog.wait(SOON)
    assert sorted(b"".join(tables.written)) == sorted(b"abc")
    assert backlog.close(SOON)
    assert left() == []
    assert "set_aside" in caplog.text


def test_a_fault_nobody_foresaw_is_tried_again_before_a_request_is_set_aside(make_backlog, tables):
    backlog = make_backlog()
    tables.refuse_with = StoreError("odd")
    backlog.append(b"a")
    assert not backlog.wait(0.3)
    tables.refuse_with = None
    assert backlog.wait(SOON)
    assert tables.written == [b"a"]


def test_however_often_it_is_tried_a_request_is_not_set_aside_at_once(make_backlog, tables, left):
    backlog = make_backlog()
    tables.refuse_with = StoreError("odd")
    backlog.append(b"a")
    assert not backlog.wait(0.1)
    for _ in range(20):  # each of these has it tried again at once
        with pytest.raises(StoreUnavailable):
            backlog.append(b"b")
    assert not backlog.close(0)
    assert left() == [b"a"]


def test_a_request_that_is_refused_for_long_is_set_aside_and_the_next_is_taken(
    make_backlog, tables, caplog, monkeypatch
):
    monkeypatch.setattr(backlogs, "_PATIENCE_SECONDS", 0.5)
    backlog = make_backlog()
    tables.refuse_with = StoreError("odd")
    backlog.append(b"a")
    assert backlog.wait(SOON)
    assert "set_aside" in caplog.text
    tables.refuse_with = None
    backlog.append(b"b")
    assert backlog.wait(SOON)
    assert tables.written == [b"b"]


def test_nothing_is_taken_while_the_tables_refuse_and_all_is_written_after(
    make_backlog, tables, caplog
):
    caplog.set_level(logging.WARNING)
    backlog = make_backlog()
    tables.refuse_with = StoreUnavailable("disk full")
    backlog.append(b"a")
    assert not backlog.wait(0.3)
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="disk full"):
            backlog.append(b"b")
    assert caplog.text.count("the store refuses data") == 1
    tables.refuse_with = None
    backlog.append(b"c")
    assert backlog.wait(SOON)
    assert tables.written == [b"a", b"c"]


def test_appending_waits_for_room(make_backlog, tables):
    backlog = make_backlog(max_bytes=4)
    tables.open.clear()
    backlog.append(b"aaa")
    late = threading.Thread(target=backlog.append, args=(b"bbb",))
    late.start()
    late.join(0.2)
    assert late.is_alive()
    tables.open.set()
    late.join(SOON)
    assert not late.is_alive()
    assert backlog.wait(SOON)
    assert tables.written == [b"aaa", b"bbb"]


def test_appending_gives_up_when_there_is_no_room_for_long(make_backlog, tables):
    backlog = make_backlog(max_bytes=4, patience_seconds=0.1)
    tables.open.clear()
    backlog.append(b"aaa")
    with pytest.raises(StoreUnavailable, match="slower"):
        backlog.append(b"bbb")


def test_what_can_not_be_written_before_the_end_stays_in_the_journal(make_backlog, tables, left):
    backlog = make_backlog()
    tables.refuse_with = StoreUnavailable("disk full")
    backlog.append(b"a")
    assert not backlog.close(0.3)
    assert left() == [b"a"]


def test_a_disk_too_full_to_set_a_request_aside_keeps_it_and_its_neighbours(
    make_backlog, tables, left, caplog
):
    backlog = make_backlog()
    database = backlog._journal._database
    tables.open.clear()
    poison = b"\0" + b"x" * 500_000
    for payload in (b"a", poison, b"b"):
        backlog.append(payload)
    [(pages,)] = database.execute("PRAGMA page_count")
    database.execute(f"PRAGMA max_page_count = {pages + 10}")
    tables.open.set()
    assert not backlog.wait(0.2)
    assert "set_aside" not in caplog.text
    assert backlog.refusing
    database.execute("PRAGMA max_page_count = 100000")
    assert backlog.wait(SOON)
    assert sorted(b"".join(tables.written)) == sorted(b"ab")
    assert "set_aside" in caplog.text
    assert backlog.close(SOON)
    assert left() == []
