"""On-disk journal of requests that are acknowledged but not in the tables yet.

An insert into the tables takes some 50 ms before its first row, so a few large ones are cheaper;
an append to this journal takes 0.2 ms per MiB. A request is acknowledged once it is here.

SQLite keeps the index: its write-ahead log survives the end of this process at any instruction,
and with `synchronous = FULL` that of the machine too. The payloads are in files beside it, and
are written before the index refers to them.
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

# Version of this layout; later layouts have greater numbers.
_VERSION: Final = 1

# Whether entries keep their payloads in the database, as they once did.
_WHOLE: Final = "SELECT 1 FROM pragma_table_info('entries') WHERE name = 'payload'"


class Entry(NamedTuple):
    """One append: its number, which increases, and its payload."""

    number: int
    payload: bytes


class Journal:
    """Keeps payloads until they are removed; thread-safe.

    Args:
        path: Path of its database; created if missing. An unreadable one, which a crash of the
            machine may cause, is moved aside with its files, and logged.
        fsync: Whether an append waits for the disk.

    Raises:
        SchemaTooNew: A newer release wrote it.
        StoreUnavailable: It cannot be opened or written.
    """

    def __init__(self, path: Path, *, fsync: bool = False) -> None:
        self._lock = threading.Lock()
        self._files = BodyFiles(path, fsync=fsync)
        try:
            self._database = self._open(path, fsync=fsync)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise StoreUnavailable(
                    f"{path} cannot be opened ({error}): free space on its disk, let this user "
                    "write there, or choose another store with --store-url"
                ) from error
            aside = path.with_suffix(f".unreadable-{time.time():.0f}")
            path.rename(aside)
            for kind in ("-wal", "-shm"):
                # They belong to the database set aside; under the old name SQLite would delete
                # them, or replay them into the new one.
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{path}{kind}").rename(f"{aside}{kind}")
            self._files.set_aside(aside)
            _log.error("%s cannot be read (%s); it was renamed to %s", path, error, aside)
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
            # Set before anything is read, so that SQLite uses no shared memory.
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
        """Store a payload; it is safe once this returns.

        Raises:
            StoreUnavailable: It could not be written: the disk is full or read-only.
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
        """Return the entries that were not removed, oldest first."""
        with self._lock, _translated():
            rows = self._database.execute(
                "SELECT number, position, size, checksum FROM entries ORDER BY number"
            ).fetchall()
            found = [(Entry(number, self._files.read(*where)), where) for number, *where in rows]
        kept = [entry for entry, (_, size, _) in found if len(entry.payload) == size]
        if len(kept) < len(found):
            _log.error(
                "%d requests in the journal were lost in a crash of the machine",
                len(found) - len(kept),
            )
            self.remove({entry.number for entry, _ in found} - {entry.number for entry in kept})
        return kept

    def remove(self, numbers: Iterable[int]) -> None:
        """Remove entries; raises like `append`."""
        with self._lock, _translated():
            with databases.transaction(self._database):
                self._database.executemany(
                    "DELETE FROM entries WHERE number = ?", [(number,) for number in numbers]
                )
            self._forget()

    def set_aside(self, number: int, reason: str) -> None:
        """Keep an entry for inspection, but no longer among `entries`."""
        with self._lock, _translated():
            with databases.transaction(self._database):
                [where] = self._database.execute(
                    "SELECT position, size, checksum FROM entries WHERE number = ?", (number,)
                )
                self._database.execute(
                    "INSERT OR REPLACE INTO set_aside VALUES (?, ?, ?)",
                    (number, self._files.read(*where), reason),
                )
                self._database.execute("DELETE FROM entries WHERE number = ?", (number,))
            self._forget()

    def note(self, payload: bytes, max_bytes: int) -> None:
        """Store a note for the reader of the entries; keep only the last `max_bytes` or so."""
        with self._lock, _translated(), databases.transaction(self._database):
            self._database.execute("INSERT INTO notes (payload) VALUES (?)", (payload,))
            self._database.execute(
                "DELETE FROM notes WHERE number <= (SELECT max(number) FROM"
                " (SELECT number, sum(length(payload)) OVER (ORDER BY number DESC ROWS"
                " BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS later FROM notes)"
                " WHERE later >= ?)",
                (max_bytes,),
            )

    def notes(self) -> list[bytes]:
        """Return the notes, oldest first."""
        with self._lock, _translated():
            rows = self._database.execute("SELECT payload FROM notes ORDER BY number")
            return [payload for (payload,) in rows]

    def close(self) -> None:
        """Close the journal; idempotent."""
        with self._lock:
            self._database.close()
            self._files.close()

    def _take_over(self) -> None:
        """Move payloads from the database into files."""
        if not self._database.execute("PRAGMA table_info(whole_entries)").fetchone():
            return
        with databases.transaction(self._database):
            rows = self._database.execute("SELECT number, payload FROM whole_entries")
            for number, payload in rows.fetchall():
                [checksum] = self._files.write(self._end, [payload])
                self._database.execute(
                    "INSERT INTO entries VALUES (?, ?, ?, ?)",
                    (number, self._end, len(payload), checksum),
                )
                self._end += len(payload)
            self._database.execute("DROP TABLE whole_entries")

    def _forget(self) -> None:
        """Release files without entries; call it with the lock held and no transaction open."""
        row = self._database.execute(
            "SELECT position FROM entries ORDER BY number LIMIT 1"
        ).fetchone()
        self._files.forget(row[0] if row else self._end)


def _version(database: sqlite3.Connection, path: Path) -> int:
    """Return the version of a journal; raises `SchemaTooNew` if it is newer than ours."""
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
        raise StoreUnavailable(
            f"the journal cannot be written at the moment ({error}): free space on its disk, or "
            "check whether it is failing"
        ) from error
