"""Applies numbered files in order and records them.

Migrations run once, forward only; a mapping file runs again whenever its text changes.
Both are recorded with the SHA-256 of their text.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Final, Literal

from otel_vtrack.errors import SchemaDrift, SchemaTooNew
from otel_vtrack.store import sql
from otel_vtrack.store.client import Store

_RECORD: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations /*@ON CLUSTER '{cluster}'*/
(
    kind LowCardinality(String),
    name String,
    sha256 String,
    applied_at DateTime64(3, 'UTC')
)
ENGINE = /*@Replicated*/ReplacingMergeTree(applied_at)
ORDER BY (kind, name);
"""

State = Literal["applied", "pending", "changed"]


@dataclass(frozen=True, slots=True)
class File:
    """A file and its state.

    Attributes:
        kind: `migrations` or `mapping`.
        name: File name without extension.
        state: `pending` files would run, and so would a `changed` mapping. A changed migration
            stops everything.
        statements: The statements to run, rendered for the store's topology.
    """

    kind: str
    name: str
    state: State
    statements: tuple[str, ...]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _recorded(store: Store) -> dict[tuple[str, str], str]:
    for statement in store.topology.render(_RECORD):
        store.command(statement)
    rows = store.select("SELECT kind, name, sha256 FROM schema_migrations FINAL")
    return {(row["kind"], row["name"]): row["sha256"] for row in rows}


def status(store: Store) -> list[File]:
    """List every file with its state, in the order in which they run.

    Raises:
        SchemaTooNew: The store has a migration that this release does not have.
    """
    recorded = _recorded(store)
    ours = set(sql.names("migrations"))
    unknown = sorted(n for kind, n in recorded if kind == "migrations" and n not in ours)
    if unknown:
        raise SchemaTooNew(
            f"this store was made by a newer otel-vtrack (it has {unknown[-1]}): upgrade"
            " otel-vtrack, or choose another store with --store-url"
        )
    found: list[File] = []
    for kind in ("migrations", "mapping"):
        for name in sql.names(kind):
            text = sql.text(kind, name)
            known = recorded.get((kind, name))
            state: State = (
                "pending" if known is None else "applied" if known == _digest(text) else "changed"
            )
            found.append(File(kind, name, state, tuple(store.topology.render(text))))
    return found


def apply(
    store: Store,
    ran: Callable[[File], object] | None = None,
    *,
    begins: Callable[[File], object] | None = None,
) -> list[File]:
    """Run the files that are pending and return them; empty if none are.

    Safe to run twice, and to run again after a failure halfway.

    Args:
        store: Store to migrate.
        ran: Called with each file once it is done, as one may take long in a large store.
        begins: Called with each file before it runs.

    Raises:
        SchemaDrift: A migration was edited after it was applied.
        SchemaTooNew: A newer release created the store.
        StoreError: A statement failed.
    """
    files = status(store)
    for file in files:
        if file.kind == "migrations" and file.state == "changed":
            raise SchemaDrift(
                f"migration {file.name} was edited after it was applied: restore it and add a"
                " new file instead"
            )
    pending = [file for file in files if file.state != "applied"]
    for file in pending:
        if begins:
            begins(file)
        for statement in file.statements:
            store.command(statement)
        store.insert(
            "schema_migrations",
            [
                [
                    file.kind,
                    file.name,
                    _digest(sql.text(file.kind, file.name)),
                    datetime.now(timezone.utc),
                ]
            ],
            ["kind", "name", "sha256", "applied_at"],
        )
        if ran:
            ran(file)
    store.lift_limits()
    return pending
