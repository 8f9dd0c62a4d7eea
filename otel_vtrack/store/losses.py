"""Notices writes that failed in the embedded engine, which does not say so itself.

Where ClickHouse throws, chDB only counts: its `WriteBufferFromFileDescriptor::nextImpl` leaves
out what a full or failing disk did not take, and goes on. An insert then succeeds and leaves a
part with files that are short or empty, which cannot be read. So does a merge, whose sources are
there for eight minutes more (`old_parts_lifetime`), and then gone.

Loading a table finds such parts by the sizes in `checksums.txt`: it moves them to `detached` and
takes up the sources of merges again. They stay there for a while, for whoever wants to look: of
what broke for another reason there may be nothing else.
"""

from pathlib import Path
from typing import Final

from clickhouse_connect.driver.client import Client

_FAILED: Final = (
    "SELECT sum(value) FROM system.events WHERE event = 'WriteBufferFromFileDescriptorWriteFailed'"
)
_TABLES: Final = (
    "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'"
)
# What a reload that was cut short has left.
_AWAY: Final = (
    "SELECT table FROM system.detached_tables"
    " WHERE database = currentDatabase() AND NOT is_permanently"
)
# Where loading finds more than so much broken it refuses, and with it the whole store; so it would
# after one large merge that failed, or many small inserts before the death of the machine.
_LIMITS: Final = (
    "max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000000"
)
_LIMITED: Final = f"{_TABLES} AND position(engine_full, 'max_suspicious_broken_parts_bytes') = 0"

_BROKEN: Final = (
    "SELECT table, name, path FROM system.detached_parts"
    " WHERE database = currentDatabase() AND reason = 'broken-on-start'"
)
KEPT_DAYS: Final = 30
"""How long parts that could not be read stay in `detached`."""


def failed_writes(client: Client) -> int:
    """Return how many writes to files failed since this process began."""
    return int(client.query(_FAILED).result_rows[0][0])


def reload(client: Client) -> None:
    """Load all tables anew; nothing may read or write them meanwhile."""
    for (table,) in client.query(_AWAY).result_rows:
        client.command(f"ATTACH TABLE {table}")
    for (table,) in client.query(_TABLES).result_rows:
        client.command(f"DETACH TABLE {table} SYNC")
        client.command(f"ATTACH TABLE {table}")


def lift_limits(client: Client) -> None:
    """Let each table load whatever of it is broken; what is lies in `detached` then."""
    for (table,) in client.query(_LIMITED).result_rows:
        client.command(f"ALTER TABLE {table} MODIFY SETTING {_LIMITS}")


def clear(client: Client, now_s: float) -> int:
    """Delete the broken parts that have been in `detached` for long; return how many are left."""
    left = 0
    for table, name, path in client.query(_BROKEN).result_rows:
        try:
            # When it was moved there: it keeps the time at which it was written.
            since_s = Path(path).stat().st_ctime
        except FileNotFoundError:
            continue
        if now_s - since_s < KEPT_DAYS * 86_400:
            left += 1
            continue
        client.command(
            f"ALTER TABLE {table} DROP DETACHED PART '{name}' SETTINGS allow_drop_detached = 1"
        )
    return left
