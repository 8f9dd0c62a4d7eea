"""Detects failed writes in the embedded engine, which does not report them itself.

Where ClickHouse throws, chDB only counts: its `WriteBufferFromFileDescriptor::nextImpl` skips
what a full or failing disk did not take, and continues. An insert then succeeds but leaves a part
with short or empty files, which cannot be read. So does a merge, whose source parts are deleted
eight minutes later (`old_parts_lifetime`).

Loading a table detects such parts by the sizes in `checksums.txt`: it moves them to `detached`
and uses the sources of merges again. The parts stay there for a while, for inspection: if one
broke for another reason, it may be the only copy.
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
# Tables left detached by an interrupted reload.
_AWAY: Final = (
    "SELECT table FROM system.detached_tables"
    " WHERE database = currentDatabase() AND NOT is_permanently"
)
# A table with more broken parts than this does not load, and neither does the store. The defaults
# are exceeded by one large failed merge, or by many small inserts before a crash of the machine.
_LIMITS: Final = (
    "max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000000"
)
_LIMITED: Final = f"{_TABLES} AND position(engine_full, 'max_suspicious_broken_parts_bytes') = 0"

_BROKEN: Final = (
    "SELECT table, name, path FROM system.detached_parts"
    " WHERE database = currentDatabase() AND reason = 'broken-on-start'"
)
KEPT_DAYS: Final = 30
"""How long unreadable parts stay in `detached`."""


def failed_writes(client: Client) -> int:
    """Return how many file writes failed since this process started."""
    return int(client.query(_FAILED).result_rows[0][0])


def reload(client: Client) -> None:
    """Reload all tables; nothing may read or write them meanwhile."""
    for (table,) in client.query(_AWAY).result_rows:
        client.command(f"ATTACH TABLE {table}")
    for (table,) in client.query(_TABLES).result_rows:
        client.command(f"DETACH TABLE {table} SYNC")
        client.command(f"ATTACH TABLE {table}")


def lift_limits(client: Client) -> None:
    """Let every table load however many of its parts are broken; these go to `detached`."""
    for (table,) in client.query(_LIMITED).result_rows:
        client.command(f"ALTER TABLE {table} MODIFY SETTING {_LIMITS}")


def clear(client: Client, now_s: float) -> int:
    """Delete broken parts after `KEPT_DAYS` in `detached`; return how many are left."""
    left = 0
    for table, name, path in client.query(_BROKEN).result_rows:
        try:
            # The time it was moved there; its mtime is still that of writing.
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
