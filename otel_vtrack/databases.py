"""What the journal and the queues to other backends ask of their SQLite files."""

import contextlib
import sqlite3
from collections.abc import Generator


def require_whole(database: sqlite3.Connection) -> None:
    """Check every page, so that a broken one is found now and not when it is first read.

    Raises:
        sqlite3.DatabaseError: A page is broken.
    """
    [(found,)] = database.execute("PRAGMA quick_check(1)")
    if found != "ok":
        raise sqlite3.DatabaseError(found)


@contextlib.contextmanager
def transaction(database: sqlite3.Connection) -> Generator[None]:
    """Commit what is written inside, or roll all of it back and raise what went wrong."""
    database.execute("BEGIN")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        # SQLite may have rolled back already, for example on a full disk.
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
