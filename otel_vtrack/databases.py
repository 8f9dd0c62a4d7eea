"""What the journal and the queues to other backends ask of their files of SQLite."""

import sqlite3


def require_whole(database: sqlite3.Connection) -> None:
    """Raise where a page is broken; else the first statement that reads it does, much later.

    Raises:
        sqlite3.DatabaseError: One is.
    """
    [(found,)] = database.execute("PRAGMA quick_check(1)")
    if found != "ok":
        raise sqlite3.DatabaseError(found)
