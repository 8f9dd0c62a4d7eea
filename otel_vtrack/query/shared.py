"""Decode what a span shares with many others: the column `shared` of the table `spans`."""

import struct
from functools import lru_cache
from typing import Final, NamedTuple

from otel_vtrack.query.rowbinary import Reader, as_text
from otel_vtrack.query.rows import ScopeRow

_NUMBERS: Final = struct.Struct("<IiifQ")
_KEPT: Final = 512
_LONGEST_KEPT: Final = 1_024


class Shared(NamedTuple):
    """A value of the column.

    Attributes:
        event_count: How many events the span has.
        name_bytes: The bytes that `name` was made from, which may be invalid text.
        attribute_kinds: One byte for each of its attributes.
        resource_kinds: One byte for each of its resource's attributes.
    """

    flags: int
    kind: int
    status_code: int
    adjusted_count: float
    event_count: int
    name: str
    name_bytes: bytes
    experiment: str
    resource_schema_url: str
    scope: ScopeRow
    attribute_kinds: bytes
    resource_kinds: bytes


def read_shared(data: bytes) -> Shared:
    """Decode a value of the column; the last values are cached."""
    return _known(data) if len(data) <= _LONGEST_KEPT else _read(data)


def _read(data: bytes) -> Shared:
    row = Reader(data)
    numbers = row.fields(_NUMBERS)
    name = row.string()
    experiment, resource_schema_url = row.text(), row.text()
    scope_name, scope_version, scope_schema_url = row.text(), row.text(), row.text()
    scope = ScopeRow(scope_name, scope_version, (), 0, scope_schema_url)
    kinds = row.packed(1), row.packed(1)
    return Shared._make(
        (*numbers, as_text(name), name, experiment, resource_schema_url, scope, *kinds)
    )


_known: Final = lru_cache(_KEPT)(_read)
