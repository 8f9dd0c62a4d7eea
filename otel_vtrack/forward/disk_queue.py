"""A disk queue for one signal: each body is stored once, with a position for each destination.

SQLite stores the metadata, as it stores the store's journal: its write-ahead log survives the end
of this process at any instruction, and with `synchronous = FULL` also a crash of the machine. The
bodies themselves are in files beside it, and are written before SQLite refers to them.

A body's position is the total number of bytes ever appended before it. So bodies are contiguous,
the amount queued for a destination is a difference, and dropping the oldest means moving its
position. A body is deleted once every destination is past it. Counts are written together with
the position they belong to, so they are correct even after `kill -9`.
"""

import contextlib
import json
import logging
import sqlite3
import threading
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from otel_vtrack import databases, log
from otel_vtrack.body_files import BodyFiles
from otel_vtrack.errors import SettingsError, StoreUnavailable

_log = logging.getLogger(__name__)

# A database file that once grew beyond this is recreated when nothing is queued.
_SMALL_FILE_BYTES: Final = 16 << 20
# Destinations that keep up get recently appended bodies without reading them back.
_RECENT_BYTES: Final = 1 << 20
_SCHEMA: Final = """
PRAGMA page_size = 4096;
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS bodies (
    position INTEGER PRIMARY KEY, at REAL NOT NULL, items INTEGER NOT NULL,
    experiment TEXT NOT NULL, size INTEGER NOT NULL, checksum INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS places (
    destination TEXT PRIMARY KEY, position INTEGER NOT NULL, counts TEXT NOT NULL);
"""
# Whether bodies are in the database itself, as in earlier releases.
_WHOLE: Final = "SELECT 1 FROM pragma_table_info('bodies') WHERE name = 'payload'"

COUNTS: Final = (
    "sent_requests",
    "sent_items",
    "sent_bytes",
    "rejected_items",
    "dead_lettered_requests",
    "dead_lettered_items",
    "dropped_requests",
    "dropped_items",
    "dropped_bytes",
)
"""What is counted per destination; items are spans, log records or metrics."""


class Body(NamedTuple):
    """One request: position, time received, item count, experiment named by a header, payload."""

    position: int
    at: float
    items: int
    experiment: str
    payload: bytes

    @property
    def end(self) -> int:
        """The position of the next body."""
        return self.position + len(self.payload)


@dataclass(slots=True)
class _Place:
    position: int
    max_bytes: int
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    unsaid: int = 0
    seldom: log.Seldom = field(default_factory=log.Seldom)


class DiskQueue:
    """A queue that each destination reads at its own pace; thread-safe.

    Args:
        path: The database; created if missing. One that is unreadable, possibly after a crash of
            the machine, is moved aside and logged.
        signal: The signal in the queue, for log lines.
        destinations: Most bytes that may be queued for each. A new destination gets what arrives
            from now on; what was queued for a removed one is dropped.
        fsync: Whether an append waits for the disk.
    """

    def __init__(
        self, path: Path, signal: str, destinations: Mapping[str, int], *, fsync: bool = False
    ) -> None:
        self._path = path
        self._signal = signal
        self._fsync = fsync
        self._changed = threading.Condition()
        self._recent: dict[int, Body] = {}
        self._recent_bytes = 0
        self._unsaved = False
        # Bodies age by a clock that nobody sets: were the system's put right after a start without
        # the time, all that is queued would look too old.
        self._monotonic_zero = time.time() - time.monotonic()
        self._seldom = log.Seldom()
        self._files = BodyFiles(path, fsync=fsync)
        self._open: sqlite3.Connection | None = self._opened()
        self._end = 0
        self._places: dict[str, _Place] = {}
        self.closed = False
        try:
            self._load(destinations)
        except (sqlite3.Error, OSError) as error:
            self._open.close()
            self._files.close()
            raise StoreUnavailable(_unusable(path, error)) from error

    def append(self, requests: Sequence[tuple[bytes, int, str]]) -> None:
        """Append requests: bodies, item counts and experiments; they are safe once it returns.

        Raises:
            StoreUnavailable: They could not be written: the disk is full, or read-only.
        """
        now = self._now()
        bodies: list[Body] = []
        with self._changed:
            end = self._end
            for payload, items, experiment in requests:
                if payload:
                    bodies.append(Body(end, now, items, experiment, payload))
                    end += len(payload)
            if not bodies:
                return
            if self.closed:
                raise StoreUnavailable("the server is stopping; retry in a moment")
            try:
                checksums = self._files.write(self._end, [body.payload for body in bodies])
                with self._transaction(safe=True) as database:
                    database.executemany(
                        "INSERT INTO bodies VALUES (?, ?, ?, ?, ?, ?)",
                        [
                            (*body[:4], len(body.payload), checksum)
                            for body, checksum in zip(bodies, checksums, strict=True)
                        ],
                    )
                    if self._unsaved:
                        # A destination without a place would begin after these.
                        self._put_places(database)
            except (sqlite3.Error, OSError) as error:
                raise StoreUnavailable(
                    f"the forwarding queue cannot be written at the moment ({error}): free space "
                    "on its disk, or check whether it is failing"
                ) from error
            self._end = end
            self._remember(bodies)
            over = [name for name, place in self._places.items() if self._bound(name, place)]
            if over:
                self._save()
            self._changed.notify_all()

    def read(self, destination: str, max_bytes: int, max_requests: int = 1 << 30) -> list[Body]:
        """Return the next requests of one experiment for a destination; empty if none is queued."""
        with self._changed:
            place = self._places[destination]
            while not self.closed:
                found, lost = self._next(place.position, max_bytes, max_requests)
                if found or not lost:
                    return found
                self._drop(destination, place, lost, "a crash of the machine, which lost them")
                self._save()
            return []

    def done(self, destination: str, bodies: Sequence[Body], **counted: int) -> None:
        """Advance a destination past the bodies it read, and add to its counts."""
        with self._changed:
            if self.closed or not bodies:
                return
            place = self._places[destination]
            for body in bodies:
                if body.position < place.position:
                    # It was dropped while it was being sent.
                    _add(place.counts, dropped_requests=-1, dropped_items=-body.items)
                    _add(place.counts, dropped_bytes=-len(body.payload))
            _add(place.counts, **counted)
            place.position = max(place.position, bodies[-1].end)
            self._save()

    def expire(self, destination: str, max_age_seconds: float) -> None:
        """Drop what has been queued for a destination for longer than an age."""
        before = self._now() - max_age_seconds
        with self._changed:
            if self.closed:
                return
            place = self._places[destination]
            try:
                first = self._one("SELECT at FROM bodies WHERE position >= ? LIMIT 1", place)
                if first is None or first >= before:
                    return
                kept = self._one(
                    "SELECT position FROM bodies WHERE position >= ? AND at >= ?"
                    " ORDER BY position LIMIT 1",
                    place,
                    before,
                )
                self._drop(destination, place, self._end if kept is None else kept, "their age")
            except sqlite3.Error as error:
                self._say_failed(error)
                return
            self._save()

    def wait(self, destination: str, timeout: float, until: threading.Event) -> None:
        """Wait until something is queued for a destination, `wake` is called, or time is up."""
        with self._changed:
            # Checked again under the lock, as something may have been appended meanwhile.
            if not until.is_set() and self._places[destination].position >= self._end:
                self._changed.wait(timeout)

    def wake(self) -> None:
        """End every `wait`."""
        with self._changed:
            self._changed.notify_all()

    def is_empty(self, destination: str) -> bool:
        """Return whether nothing is queued for a destination."""
        with self._changed:
            return self._places[destination].position >= self._end

    def status(self, destination: str) -> dict[str, float]:
        """Return what is queued for a destination, and its counts since the queue was created."""
        with self._changed:
            place = self._places[destination]
            oldest: float | None = None
            if not self.closed:
                with contextlib.suppress(sqlite3.Error):
                    oldest = self._one("SELECT at FROM bodies WHERE position >= ? LIMIT 1", place)
            return {
                "queued_bytes": max(0, self._end - place.position),
                "oldest_seconds": round(max(0.0, self._now() - oldest), 3) if oldest else 0.0,
                **place.counts,
            }

    def close(self) -> None:
        """Close the queue; idempotent."""
        with self._changed:
            if self.closed:
                return
            if self._unsaved:
                self._save()
            self.closed = True
            if self._open:
                self._open.close()
                self._open = None
            self._files.close()
            self._changed.notify_all()

    def _now(self) -> float:
        """Return seconds since 1970, as the system's clock had them when the queue was opened."""
        return self._monotonic_zero + time.monotonic()

    # The methods below must be called with the lock held.

    def _opened(self) -> sqlite3.Connection:
        try:
            return self._connected()
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise SettingsError(
                    f"another process forwards from {self._path}: stop it, or choose another "
                    "folder with --forward-folder"
                ) from None
            raise StoreUnavailable(_unusable(self._path, error)) from error
        except sqlite3.DatabaseError as error:
            aside = self._path.with_suffix(f".unreadable-{time.time():.0f}")
            self._path.rename(aside)
            # Otherwise SQLite would apply it to the new file.
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self._path}-wal").rename(f"{aside}-wal")
            self._files.set_aside(aside)
            _log.error("%s cannot be read (%s); it was renamed to %s", self._path, error, aside)
            return self._connected()

    def _connected(self) -> sqlite3.Connection:
        database = sqlite3.connect(
            self._path, timeout=0.2, isolation_level=None, check_same_thread=False
        )
        try:
            # Set before any read, so that no memory is shared with other processes.
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
            databases.require_whole(database)
            if database.execute(_WHOLE).fetchone():
                database.execute("ALTER TABLE bodies RENAME TO whole_bodies")
            database.executescript(_SCHEMA)
            database.execute("PRAGMA synchronous = OFF")
        except BaseException:
            database.close()
            raise
        return database

    def _take_over(self) -> None:
        """Move bodies from the database itself into files, keeping their positions."""
        if not self._database().execute("PRAGMA table_info(whole_bodies)").fetchone():
            return
        self._files.begin(0)
        with self._transaction(safe=True) as database:
            rows = database.execute("SELECT * FROM whole_bodies ORDER BY position")
            for position, at, items, experiment, payload in rows:
                [checksum] = self._files.write(position, [payload])
                database.execute(
                    "INSERT INTO bodies VALUES (?, ?, ?, ?, ?, ?)",
                    (position, at, items, experiment, len(payload), checksum),
                )
            database.execute("DROP TABLE whole_bodies")

    def _load(self, destinations: Mapping[str, int]) -> None:
        self._take_over()
        database = self._database()
        rows = database.execute("SELECT destination, position, counts FROM places")
        known = {name: (position, json.loads(counts)) for name, position, counts in rows}
        [(end,)] = database.execute("SELECT max(position + size) FROM bodies")
        self._end = max([end or 0, *(position for position, _ in known.values())])
        for name, max_bytes in destinations.items():
            place = self._places[name] = _Place(self._end, max_bytes)
            if name in known:
                place.position, counts = known.pop(name)
                place.counts |= {key: counts.get(key, 0) for key in COUNTS}
        for name, (position, _) in known.items():
            if self._end > position:
                _log.warning(
                    "%s: destination %s is no longer in the settings; %d bytes queued for it are "
                    "dropped",
                    self._signal,
                    name,
                    self._end - position,
                )
        with self._transaction() as database:
            database.executemany("DELETE FROM places WHERE destination = ?", [(n,) for n in known])
        self._files.begin(self._end)
        self._save()

    def _database(self) -> sqlite3.Connection:
        if self._open is None:
            self._open = self._connected()
        return self._open

    @contextlib.contextmanager
    def _transaction(self, *, safe: bool = False) -> Generator[sqlite3.Connection]:
        database = self._database()
        if self._fsync:
            # A position lost in a crash only means that something is sent twice.
            database.execute(f"PRAGMA synchronous = {'FULL' if safe else 'NORMAL'}")
        with databases.transaction(database):
            yield database

    def _one(self, statement: str, place: _Place, *more: float) -> float | None:
        row = self._database().execute(statement, (place.position, *more)).fetchone()
        return row[0] if row else None

    def _next(
        self, position: int, max_bytes: int, max_requests: int
    ) -> tuple[list[Body], int | None]:
        """Return the next bodies; if the first one is lost, return its end instead."""
        found: list[Body] = []
        size = 0
        for body, end in self._from(position):
            if body.end != end:
                return found, end
            size += len(body.payload)
            if found and (size > max_bytes or body.experiment != found[0].experiment):
                break
            found.append(body)
            if len(found) == max_requests:
                break
        return found, None

    def _from(self, position: int) -> Generator[tuple[Body, int]]:
        """Yield bodies from a position on, with the end that each should have.

        The two ends differ if the payload was lost. Recent bodies come from memory.
        """
        if position < self._end and position not in self._recent:
            cursor = self._database().execute(
                "SELECT position, at, items, experiment, size, checksum FROM bodies"
                " WHERE position >= ? ORDER BY position",
                (position,),
            )
            with contextlib.closing(cursor):
                for at, received, items, experiment, size, checksum in cursor:
                    payload = self._files.read(at, size, checksum)
                    yield Body(at, received, items, experiment, payload), at + size
            return
        while body := self._recent.get(position):
            yield body, body.end
            position = body.end

    def _remember(self, bodies: Iterable[Body]) -> None:
        for body in bodies:
            self._recent[body.position] = body
            self._recent_bytes += len(body.payload)
        while self._recent_bytes > _RECENT_BYTES:
            self._forget(next(iter(self._recent)))

    def _forget(self, position: int) -> None:
        self._recent_bytes -= len(self._recent.pop(position).payload)

    def _bound(self, name: str, place: _Place) -> bool:
        """Drop the oldest bodies queued for a destination until its limit is met."""
        over = self._end - place.position - place.max_bytes
        if over <= 0:
            return False
        try:
            [(kept,)] = self._database().execute(
                "SELECT min(position) FROM bodies WHERE position >= ?", (place.position + over,)
            )
            self._drop(name, place, self._end if kept is None else kept, "the queue's size limit")
        except sqlite3.Error as error:
            self._say_failed(error)
            return False
        return True

    def _drop(self, name: str, place: _Place, to: float, limit: str) -> None:
        [(requests, items)] = self._database().execute(
            "SELECT count(*), sum(items) FROM bodies WHERE position >= ? AND position < ?",
            (place.position, to),
        )
        _add(place.counts, dropped_requests=requests, dropped_items=items or 0)
        _add(place.counts, dropped_bytes=int(to) - place.position)
        place.position = int(to)
        place.unsaid += requests
        if place.seldom():
            _log.error(
                "%s: %d queued requests of %s were dropped because of %s; %d in total",
                name,
                place.unsaid,
                self._signal,
                limit,
                place.counts["dropped_requests"],
            )
            place.unsaid = 0

    def _save(self) -> None:
        """Write all positions and delete what all are past; memory is authoritative on failure."""
        first = min((place.position for place in self._places.values()), default=self._end)
        while self._recent and next(iter(self._recent)) < first:
            self._forget(next(iter(self._recent)))
        try:
            self._write_places(first)
            self._unsaved = False
            self._files.forget(first)
            is_large = self._path.stat().st_size > _SMALL_FILE_BYTES
        except (sqlite3.Error, OSError) as error:
            self._say_failed(error)
            self._unsaved = is_large = True
        if is_large and first >= self._end:
            self._start_over()

    def _write_places(self, first: int) -> None:
        # Once a file is reused, no position saved earlier may point into it.
        with self._transaction(safe=self._files.frees(first)) as database:
            self._put_places(database)
            database.execute("DELETE FROM bodies WHERE position < ?", (first,))

    def _put_places(self, database: sqlite3.Connection) -> None:
        database.executemany(
            "INSERT OR REPLACE INTO places VALUES (?, ?, ?)",
            [
                (name, place.position, json.dumps(place.counts))
                for name, place in self._places.items()
            ],
        )

    def _start_over(self) -> None:
        """Recreate the database file, which is empty of bodies, to free its disk space.

        This also recovers from a disk that is too full even to delete.
        """
        try:
            if self._open:
                self._open.close()
                self._open = None
            for suffix in ("-wal", ""):
                Path(f"{self._path}{suffix}").unlink(missing_ok=True)
            self._write_places(self._end)
            self._unsaved = False
            self._files.forget(self._end)
        except (sqlite3.Error, OSError) as error:
            self._say_failed(error)

    def _say_failed(self, error: Exception) -> None:
        if self._seldom():
            _log.error(
                "%s: forwarded requests cannot be removed from the queue at the moment (%s); after "
                "a restart some would be sent again",
                self._signal,
                error,
            )


def _unusable(path: Path, error: Exception) -> str:
    return (
        f"{path} cannot be used ({error}): free space on its disk, let this user write there, or "
        "choose another folder with --forward-folder"
    )


def _add(counts: dict[str, int], **more: int) -> None:
    for name, number in more.items():
        counts[name] += number
