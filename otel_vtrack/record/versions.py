"""Annotates versions with notes, and with aliases that point to one version each."""

import re
import uuid
from typing import Any, Final

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import versions
from otel_vtrack.query.versions import Version
from otel_vtrack.record.clock import now_ns
from otel_vtrack.store.client import Store

LONGEST_NOTE: Final = 10_000
"""In characters."""
_ALIAS: Final = re.compile(r"[A-Za-z0-9._-]{1,250}")


def update(
    store: Store,
    text: str,
    *,
    experiment: str = "",
    service_name: str = "",
    note: str | None = None,
) -> Version:
    """Change a version and return the result; None leaves the note unchanged.

    Args:
        store: Where the version is.
        text: The version, or `@` and an alias.
        experiment: Its experiment's name, in telemetry or as renamed by people; empty for any.
        service_name: Its service; empty for any.
        note: Notes for people.

    Raises:
        NotFound: No such version exists.
        InvalidArgument: Several versions match, or the note is too long.
    """
    if note is not None and len(note) > LONGEST_NOTE:
        raise InvalidArgument(f"the note has {len(note)} characters: shorten it to {LONGEST_NOTE}")
    found = versions.get(store, text, experiment=experiment, service_name=service_name)
    if note is None:
        return found
    _insert(
        store,
        "version_changes",
        {
            "experiment": found.experiment,
            "service_name": found.service_name,
            "version": found.version,
            "note": note,
        },
    )
    return _again(store, found)


def set_alias(
    store: Store, text: str, alias: str, *, experiment: str = "", service_name: str = ""
) -> Version:
    """Point an alias at a version, away from any other version of its service; return the version.

    If two callers move the same alias concurrently, the later call wins.

    Raises:
        NotFound: No such version exists.
        InvalidArgument: Several versions match, or the alias is malformed.
    """
    _check(alias)
    found = versions.get(store, text, experiment=experiment, service_name=service_name)
    _insert(
        store,
        "version_aliases",
        {
            "experiment": found.experiment,
            "service_name": found.service_name,
            "alias": alias,
            "version": found.version,
            "deleted": False,
        },
    )
    return _again(store, found)


def delete_alias(store: Store, alias: str, *, experiment: str = "", service_name: str = "") -> None:
    """Delete an alias; do nothing if it does not exist.

    Raises:
        InvalidArgument: Several services have the alias, or it is malformed.
    """
    _check(alias)
    found = versions.holders(store, alias, experiment=experiment, service_name=service_name)
    if not found:
        return
    if len(found) > 1:
        raise versions.several(f"{versions.ALIAS_SIGN}{alias}", found)
    [named] = found
    _insert(
        store,
        "version_aliases",
        {
            "experiment": named.experiment,
            "service_name": named.service_name,
            "alias": alias,
            "version": named.version,
            "deleted": True,
        },
    )


def _check(alias: str) -> None:
    if not _ALIAS.fullmatch(alias):
        raise InvalidArgument(
            f"{alias[:64]!r} is not an alias: use 1 to 250 letters, digits, - _ and ."
        )


def _again(store: Store, found: Version) -> Version:
    return versions.get(
        store, found.version, experiment=found.experiment, service_name=found.service_name
    )


def _insert(store: Store, table: str, change: dict[str, Any]) -> None:
    row = {**change, "change_time": now_ns(), "change_id": uuid.uuid4()}
    store.insert(table, [list(row.values())], list(row))
