"""Conditions on where a trace's code came from, narrowed by what versions know.

The spans say it, and there are many. But `version_sources` knows which commits ran as which version
and where, and between which times: so of most roots it is known without a look at their spans.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeAlias

from otel_vtrack.query.filter.fields import Field

_PLACE: Final = "{0}.experiment, {1}.service_name, {1}.version, {1}.environment, {1}.deployment_id"
_OF_TRACE: Final = f"({_PLACE.format('t', 't.root')})"
_OF_SPAN: Final = _PLACE.format("s", "s")

Mixed: TypeAlias = Callable[[str], bool]
"""Says whether a version ran with several values of a column of `version_sources` in one place."""


def sorting(field: Field, column: str, mixed: Mixed | None) -> Field:
    """Make the field of a trace sort by what versions know of their places, not by all spans.

    Args:
        field: Of `of_root`.
        column: That it is of.
        mixed: Without it any version may be.
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
    # Of the rest each root says it, and these spans alone are looked up.
    rest = f"(SELECT {_OF_SPAN} {places} NOT ({alone}))"
    join = (
        "LEFT ANY JOIN (SELECT s.trace_id AS trace_id, s.span_id AS span_id,"
        f" toString(s.{column}) AS value FROM spans AS s"
        f" WHERE s.{column} != '' AND ({_OF_SPAN}) IN {rest}) AS {{0}}"
        " ON {0}.trace_id = t.trace_id AND {0}.span_id = t.root.span_id"
    )
    return replace(field, join=join, sorted_by=f"nullIf(concat({told}, {{0}}.value), '')")


def of_root(field: Field, looked_up: Field) -> Field:
    """Make the field of a trace of one that spans and `version_sources` have, as `s`.

    Args:
        field: On `s`.
        looked_up: The same of the root, found in `spans`; sorts.
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
    """Condition on a row with the root that its version has such a source, at that time."""
    earliest, latest = _bounds(inner)
    rows = f"FROM version_sources AS s WHERE {inner}"
    return (
        # A version alone is compared a few times as fast as a place, and its hash twice.
        f"(t.root.version IN (SELECT s.version {rows})"
        f" AND cityHash64{_OF_TRACE} IN (SELECT cityHash64({_OF_SPAN}) {rows})"
        f" AND t.root.start_time >= {earliest} AND t.root.start_time <= {latest})"
    )


def _exactly(inner: str) -> str:
    """Condition that the root is such: by its version alone if all that then ran as it was."""
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
        # Known before anything is read: mostly there are none, and then nothing is.
        f" WHERE (SELECT count() FROM ({mixed})) > 0 AND ({_OF_SPAN}) IN ({mixed}) AND ({inner})"
        f" AND s.start_time >= {earliest} AND s.start_time <= {latest}"
        # As the key has it: the engine does not conclude this from the above.
        f" AND toStartOfMinute(s.start_time) >= toStartOfMinute({earliest})"
        f" AND toStartOfMinute(s.start_time) <= toStartOfMinute({latest}))))"
    )


def _bounds(inner: str) -> tuple[str, str]:
    rows = f"FROM version_sources AS s WHERE {inner}"
    return (
        f"assumeNotNull((SELECT min(s.first_seen) {rows}))",
        f"assumeNotNull((SELECT max(s.last_seen) {rows}))",
    )
