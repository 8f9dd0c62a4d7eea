"""What was acknowledged and is not in the tables yet, on disk.

An insert into the tables costs some 50 ms before its first row, so it pays to make few large
ones; an append to this journal costs 0.2 ms a MiB. A request is answered once it is here.

SQLite keeps what is known of it: its write-ahead log survives the end of this process at any
instruction, and that of the machine as well with `synchronous = FULL`. The bytes themselves are in
files beside it, and are there before it knows of them.
"""

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Final, NamedTuple

from otel_vtrack import databases
from otel_vtrack.body_files import BodyFiles
from otel_vtrack.errors import SchemaTooNew, StoreUnavailable

_log = logging.getLogger(__name__)

_SCHEMA: Final = """
PRAGMA page_size = 4096;
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS entries (
    number INTEGER PRIMARY KEY, position INTEGER NOT NULL, size INTEGER NOT NULL,
    checksum INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS set_aside (
    number INTEGER PRIMARY KEY, payload BLOB NOT NULL, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS notes (number INTEGER PRIMARY KEY, payload BLOB NOT NULL);
"""

# Of this layout; a later one has a greater number.
_VERSION: Final = 1

# Whether entries have their bytes in the database, as they had once.
_WHOLE: Final = "SELECT 1 FROM pragma_table_info('entries') WHERE name = 'payload'"


class Entry(NamedTuple):
    """One append: its number, rising, and what was appended."""

    number: int
    payload: bytes


class Journal:
    """Appends, and forgets what has been dealt with; thread-safe.

    Args:
        path: Of its database; made when there is none. One that cannot be read, which the death
            of the machine may cause, is moved out of the way, with the files that belong to it,
            and said in the log.
        fsync: Whether an append waits for the disk.

    Raises:
        SchemaTooNew: A newer release has written it.
        StoreUnavailable: It cannot be opened, or be written.
    """

    def __init__(self, path: Path, *, fsync: bool = False) -> None:
        self._lock = threading.Lock()
        self._files = BodyFiles(path, fsync=fsync)
        try:
            self._database = self._open(path, fsync=fsync)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise StoreUnavailable(f"{path} does not open ({error})") from error
            aside = path.with_suffix(f".unreadable-{time.time():.0f}")
            path.rename(aside)
            for kind in ("-wal", "-shm"):
                # Under the new name they belong to what is set aside; under the old one SQLite
                # would take them for the new file's, and delete or replay them.
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{path}{kind}").rename(f"{aside}{kind}")
            self._files.set_aside(aside)
            _log.error("%s cannot be read (%s); it is %s now", path, error, aside)
            self._database = self._open(path, fsync=fsync)
        with _translated():
            [(end,)] = self._database.execute(
                "SELECT coalesce(max(position + size), 0) FROM entries"
            )
            self._end: int = end
            self._files.begin(end)
            self._take_over()
            self._forget()
        [(last,)] = self._database.execute(
            "SELECT max(coalesce((SELECT max(number) FROM entries), 0),"
            " coalesce((SELECT max(number) FROM set_aside), 0))"
        )
        self._last: int = last

    @staticmethod
    def _open(path: Path, *, fsync: bool) -> sqlite3.Connection:
        database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            # Before anything is read, so that no memory is shared with other processes.
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
            version = _version(database, path)
            databases.require_whole(database)
            if database.execute(_WHOLE).fetchone():
                database.execute("ALTER TABLE entries RENAME TO whole_entries")
            database.executescript(_SCHEMA)
            if version < _VERSION:
                database.execute(f"PRAGMA user_version = {_VERSION}")
            database.execute(f"PRAGMA synchronous = {'FULL' if fsync else 'OFF'}")
        except (sqlite3.Error, SchemaTooNew):
            database.close()
            raise
        return database

    def append(self, payload: bytes) -> Entry:
        """Keep a payload; it is safe once this returns.

        Raises:
            StoreUnavailable: It could not be written: the disk is full, or read-only.
        """
        with self._lock, _translated():
            number = self._last + 1
            [checksum] = self._files.write(self._end, [payload])
            self._database.execute(
                "INSERT INTO entries VALUES (?, ?, ?, ?)",
                (number, self._end, len(payload), checksum),
            )
            self._last = number
            self._end += len(payload)
        return Entry(number, payload)

    def entries(self) -> list[Entry]:
        """Return what was appended and not removed, oldest first."""
        with self._lock, _translated():
            rows = self._database.execute(
                "SELECT number, position, size, checksum FROM entries ORDER BY number"
            ).fetchall()
            found = [(Entry(number, self._files.read(*where)), where) for number, *where in rows]
        kept = [entry for entry, (_, size, _) in found if len(entry.payload) == size]
        if len(kept) < len(found):
            _log.error(
                "%d requests in the journal are lost with the end of the machine",
                len(found) - len(kept),
            )
            self.remove({entry.number for entry, _ in found} - {entry.number for entry in kept})
        return kept

    def remove(self, numbers: Iterable[int]) -> None:
        """Forget entries; raises as `append` does."""
        with self._lock, _translated():
            self._database.execute("BEGIN")
            try:
                self._database.executemany(
                    "DELETE FROM entries WHERE number = ?", [(number,) for number in numbers]
                )
            finally:
                self._database.execute("COMMIT")
            self._forget()

    def set_aside(self, number: int, reason: str) -> None:
        """Keep an entry for whoever looks into it, but no longer among `entries`."""
        with self._lock, _translated():
            self._database.execute("BEGIN")
            try:
                [where] = self._database.execute(
                    "SELECT position, size, checksum FROM entries WHERE number = ?", (number,)
                )
                self._database.execute(
                    "INSERT OR REPLACE INTO set_aside VALUES (?, ?, ?)",
                    (number, self._files.read(*where), reason),
                )
                self._database.execute("DELETE FROM entries WHERE number = ?", (number,))
            finally:
                self._database.execute("COMMIT")

    def note(self, payload: bytes, max_bytes: int) -> None:
        """Keep what whoever reads the entries has to remember: of it some `max_bytes`, the last."""
        with self._lock, _translated():
            self._database.execute("BEGIN")
            try:
                self._database.execute("INSERT INTO notes (payload) VALUES (?)", (payload,))
                self._database.execute(
                    "DELETE FROM notes WHERE number <= (SELECT max(number) FROM"
                    " (SELECT number, sum(length(payload)) OVER (ORDER BY number DESC ROWS"
                    " BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS later FROM notes)"
                    " WHERE later >= ?)",
                    (max_bytes,),
                )
            finally:
                self._database.execute("COMMIT")

    def notes(self) -> list[bytes]:
        """Return what was noted, oldest first."""
        with self._lock, _translated():
            rows = self._database.execute("SELECT payload FROM notes ORDER BY number")
            return [payload for (payload,) in rows]

    def close(self) -> None:
        """Close the file; idempotent."""
        with self._lock:
            self._database.close()
            self._files.close()

    def _take_over(self) -> None:
        """Bring entries that have their bytes in the database into files."""
        if not self._database.execute("PRAGMA table_info(whole_entries)").fetchone():
            return
        self._database.execute("BEGIN")
        try:
            rows = self._database.execute("SELECT number, payload FROM whole_entries")
            for number, payload in rows.fetchall():
                [checksum] = self._files.write(self._end, [payload])
                self._database.execute(
                    "INSERT INTO entries VALUES (?, ?, ?, ?)",
                    (number, self._end, len(payload), checksum),
                )
                self._end += len(payload)
            self._database.execute("DROP TABLE whole_entries")
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def _forget(self) -> None:
        """Let files go that hold nothing any more; the lock is held, and no transaction open."""
        row = self._database.execute(
            "SELECT position FROM entries ORDER BY number LIMIT 1"
        ).fetchone()
        self._files.forget(row[0] if row else self._end)


def _version(database: sqlite3.Connection, path: Path) -> int:
    """Return the version of a journal, which is not too new."""
    [(version,)] = database.execute("PRAGMA user_version")
    if version > _VERSION:
        raise SchemaTooNew(
            f"{path} was written by a newer otel-vtrack: upgrade otel-vtrack, or choose another"
            " store with --store-url"
        )
    return version


@contextlib.contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreUnavailable(f"the journal cannot be written for now: {error}") from error
