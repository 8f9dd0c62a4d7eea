"""Conditions on the source of a trace's code, narrowed by what is known of versions.

Spans record the source, but there are many of them. `version_sources` records which commits ran as
which version, where, and between which times. So for most roots the source is known without reading
their spans.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeAlias

from otel_vtrack.query.filter.fields import Field

_PLACE: Final = "{0}.experiment, {1}.service_name, {1}.version, {1}.environment, {1}.deployment_id"
_OF_TRACE: Final = f"({_PLACE.format('t', 't.root')})"
_OF_SPAN: Final = _PLACE.format("s", "s")

Mixed: TypeAlias = Callable[[str], bool]
"""Returns whether any version ran with several values of a `version_sources` column in one place.
"""


def sorting(field: Field, column: str, mixed: Mixed | None) -> Field:
    """Make a trace's field sort by the sources known for its place instead of by all spans.

    Args:
        field: A field made by `of_root`.
        column: The column that the field reads.
        mixed: Reports whether several values occur in one place; without it, they are assumed to.
    """
    alone = f"min(s.{column}) = max(s.{column})"
    places = f"FROM version_sources AS s GROUP BY {_OF_SPAN} HAVING"
    known = (
        "(SELECT (arrayPushBack(groupArray(p.1), 0), arrayPushBack(groupArray(p.2), ''))"
        f" FROM (SELECT (cityHash64({_OF_SPAN}), toString(any(s.{column}))) AS p {places} {alone}))"
    )
    told = f"transform(cityHash64{_OF_TRACE}, {known}.1, {known}.2, '')"
    if mixed is not None and not mixed(column):
        return replace(field, join="", sorted_by=f"nullIf({told}, '')", sorts_rows=True)
    # In the remaining places each root has its own value; only these spans are looked up.
    rest = f"(SELECT {_OF_SPAN} {places} NOT ({alone}))"
    join = (
        "LEFT ANY JOIN (SELECT s.trace_id AS trace_id, s.span_id AS span_id,"
        f" toString(s.{column}) AS value FROM spans AS s"
        f" WHERE s.{column} != '' AND ({_OF_SPAN}) IN {rest}) AS {{0}}"
        " ON {0}.trace_id = t.trace_id AND {0}.span_id = t.root.span_id"
    )
    return replace(field, join=join, sorted_by=f"nullIf(concat({told}, {{0}}.value), '')")


def of_root(field: Field, looked_up: Field) -> Field:
    """Make a trace's field from one that both `spans` and `version_sources` have, as `s`.

    Args:
        field: The field on `s`.
        looked_up: The same field of the root, found in `spans`; used for sorting.
    """
    return Field(
        kind=field.kind,
        sql=field.sql,
        present=field.present,
        around=_exactly,
        near_row=_perhaps,
        join=looked_up.join,
        sorted_by=looked_up.sorted_by,
    )


def _perhaps(inner: str) -> str:
    """Return the condition on a root's row that its version had such a source around that time."""
    earliest, latest = _bounds(inner)
    rows = f"FROM version_sources AS s WHERE {inner}"
    return (
        # Comparing versions is several times as fast as comparing places, and hashes twice as fast.
        f"(t.root.version IN (SELECT s.version {rows})"
        f" AND cityHash64{_OF_TRACE} IN (SELECT cityHash64({_OF_SPAN}) {rows})"
        f" AND t.root.start_time >= {earliest} AND t.root.start_time <= {latest})"
    )


def _exactly(inner: str) -> str:
    """Return the exact condition; it reads spans only where a place had several sources."""
    earliest, latest = _bounds(inner)
    sources = (
        f"FROM version_sources AS s WHERE s.last_seen >= {earliest} AND s.first_seen <= {latest}"
        f" GROUP BY {_OF_SPAN} HAVING max({inner})"
    )
    every = f"min({inner})"
    mixed = f"SELECT {_OF_SPAN} {sources} AND NOT {every}"
    return (
        f"(t.root.start_time >= {earliest} AND t.root.start_time <= {latest}"
        f" AND ({_OF_TRACE} IN (SELECT {_OF_SPAN} {sources} AND {every})"
        " OR (t.trace_id, t.root.span_id) IN (SELECT s.trace_id, s.span_id FROM spans AS s"
        # Evaluated before anything is read: usually no place is mixed, and then nothing is read.
        f" WHERE (SELECT count() FROM ({mixed})) > 0 AND ({_OF_SPAN}) IN ({mixed}) AND ({inner})"
        f" AND s.start_time >= {earliest} AND s.start_time <= {latest}"
        # In terms of the table's key: the engine does not derive this from the conditions above.
        f" AND toStartOfMinute(s.start_time) >= toStartOfMinute({earliest})"
        f" AND toStartOfMinute(s.start_time) <= toStartOfMinute({latest}))))"
    )


def _bounds(inner: str) -> tuple[str, str]:
    rows = f"FROM version_sources AS s WHERE {inner}"
    return (
        f"assumeNotNull((SELECT min(s.first_seen) {rows}))",
        f"assumeNotNull((SELECT max(s.last_seen) {rows}))",
    )
