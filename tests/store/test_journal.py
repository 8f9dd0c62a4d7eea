import sqlite3
import subprocess
import sys

import pytest

from otel_vtrack.errors import SchemaTooNew, StoreUnavailable
from otel_vtrack.store.journal import Journal


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


def payloads(path):
    journal = Journal(path)
    found = [entry.payload for entry in journal.entries()]
    journal.close()
    return found


@pytest.mark.parametrize("fsync", [False, True])
def test_what_is_appended_is_there_again_in_order_and_what_is_removed_is_not(path, fsync):
    journal = Journal(path, fsync=fsync)
    first, second, third = (journal.append(payload) for payload in (b"a", b"", b"\0" * 100_000))
    assert first.number < second.number < third.number
    journal.remove([second.number])
    journal.close()
    assert payloads(path) == [b"a", b"\0" * 100_000]


def test_a_journal_that_has_the_bytes_in_its_database_is_taken_over(path):
    before = sqlite3.connect(path)
    before.executescript(
        "PRAGMA journal_mode = WAL;"
        "CREATE TABLE entries (number INTEGER PRIMARY KEY, payload BLOB NOT NULL);"
        "CREATE TABLE set_aside (number INTEGER PRIMARY KEY, payload BLOB NOT NULL, reason TEXT);"
    )
    before.executemany("INSERT INTO entries VALUES (?, ?)", [(7, b"a" * 99), (9, b"b")])
    before.commit()
    before.close()
    assert payloads(path) == [b"a" * 99, b"b"]
    journal = Journal(path)
    assert journal.append(b"c").number == 10
    journal.close()
    assert payloads(path) == [b"a" * 99, b"b", b"c"]


def test_a_number_is_not_given_twice(path):
    journal = Journal(path)
    number = journal.append(b"a").number
    journal.set_aside(number, "bad")
    journal.close()
    journal = Journal(path)
    assert journal.append(b"b").number > number
    journal.close()


def test_what_is_set_aside_is_kept_with_the_reason_and_not_listed(path):
    journal = Journal(path)
    journal.set_aside(journal.append(b"a").number, "bad")
    assert journal.entries() == []
    journal.close()
    again = Journal(path)
    [(payload, reason)] = again._database.execute("SELECT payload, reason FROM set_aside")
    assert (payload, reason) == (b"a", "bad")
    again.close()


def test_a_full_disk_is_the_reason_given_and_leaves_all_as_it_was(path):
    journal = Journal(path)
    entry = journal.append(b"a")
    [(pages,)] = journal._database.execute("PRAGMA page_count")
    journal._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreUnavailable, match="full"):
        journal.note(bytes(1 << 20), max_bytes=1 << 21)
    assert journal.notes() == []
    assert journal.entries() == [entry]
    journal.remove([entry.number])
    journal.close()


def append_and_die(path, text):
    program = (
        "import os, pathlib, sys; from otel_vtrack.store.journal import Journal;"
        "Journal(pathlib.Path(sys.argv[1])).append(sys.argv[2].encode()); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program, path, text], check=False)
    assert done.returncode == -9


def test_an_append_survives_the_end_of_its_process_at_once(path):
    append_and_die(path, "kept")
    assert payloads(path) == [b"kept"]


def test_a_file_that_is_no_journal_is_moved_out_of_the_way(path, caplog):
    path.write_bytes(b"not a database, and long enough to be taken for one" * 100)
    assert payloads(path) == []
    assert "cannot be read" in caplog.text
    [aside] = path.parent.glob("journal.unreadable-*")
    assert aside.read_bytes().startswith(b"not a database")


def test_a_journal_of_which_a_part_is_broken_is_moved_out_of_the_way(path, caplog):
    journal = Journal(path)
    for _ in range(500):
        journal.append(b"a")
    journal.close()
    with path.open("r+b") as file:
        file.seek(-4096, 2)
        file.write(b"\xff" * 4096)
    assert payloads(path) == []
    assert "cannot be read" in caplog.text
    assert list(path.parent.glob("journal.unreadable-*"))
    journal = Journal(path)
    journal.append(b"b")
    journal.close()
    assert payloads(path) == [b"b"]


def test_a_journal_of_a_newer_release_is_left_alone(path):
    journal = Journal(path)
    journal.append(b"a")
    journal._database.execute("PRAGMA user_version = 2")
    journal.close()
    before = path.read_bytes()
    with pytest.raises(SchemaTooNew, match="upgrade otel-vtrack"):
        Journal(path)
    assert path.read_bytes() == before


def test_a_file_that_is_moved_out_of_the_way_takes_its_write_ahead_log_along(path):
    journal = Journal(path)
    journal.append(b"in the file")
    journal.close()
    append_and_die(path, "in the log")
    assert path.with_name(f"{path.name}-wal").stat().st_size
    header = path.read_bytes()[:100]
    with path.open("r+b") as file:
        file.write(bytes(100))
    assert payloads(path) == []
    [aside] = path.parent.glob("journal.unreadable-*[0-9]")
    assert not list(path.parent.glob("journal.sqlite-*.bodies"))
    # Whoever repairs it finds all that was acknowledged.
    with aside.open("r+b") as file:
        file.write(header)
    assert payloads(aside) == [b"in the file", b"in the log"]


def test_a_folder_that_is_not_there_is_an_error_that_may_pass(tmp_path):
    with pytest.raises(StoreUnavailable):
        Journal(tmp_path / "absent" / "journal.sqlite")


def test_one_that_cannot_be_opened_says_what_to_do(path):
    path.mkdir()
    with pytest.raises(StoreUnavailable, match=r"let this user write .* --store-url"):
        Journal(path)
