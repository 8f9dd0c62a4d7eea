"""Read rows of `trace_roots`, each with what one insert knew of a trace's root."""

from collections.abc import Mapping, Sequence
from functools import cmp_to_key
from typing import Any, Final, NamedTuple

from otel_vtrack.query.filter import CompiledTraces
from otel_vtrack.query.filter.compiler import TRUE
from otel_vtrack.query.filter.traces import TAIL
from otel_vtrack.query.partial import Root
from otel_vtrack.query.rowbinary import as_text
from otel_vtrack.store.client import Store

WHOLE_ROOT: Final = "t.root.span_id"
"""A column that `trace_roots` lacks."""

_OF_SPANS: Final = "FROM spans AS s"


class Row(NamedTuple):
    """A row of `trace_roots`.

    Attributes:
        said: Its values of the root.
        place: Its place in the order.
    """

    trace_id: str
    experiment: str
    root_start_ns: int
    said: tuple[int | str, ...]
    place: Sequence[str | None]


def said(root: Root) -> tuple[int | str, ...]:
    """Return the values that a row of `trace_roots` has for a root."""
    texts = (root.name, root.service_name, root.version, root.environment, root.deployment_id)
    return (root.rank, *(as_text(text) for text in texts), root.status_code)


class Rows:
    """Reads partial rows, from the smaller table if it has all that the query needs."""

    def __init__(self, compiled: CompiledTraces, after: str) -> None:
        order = compiled.order
        self._after, self._place, self._order = after, order.place, order.sql
        self._behind = order.behind
        self._by_start = order.keys[0] == TAIL[0]
        self._as_usual = order.keys == TAIL
        asked = (compiled.row, after, order.place, order.sql)
        self._first = f"{order.keys[0].sql} DESC" if self._by_start else order.sql
        self.whole_root = any(WHOLE_ROOT in each for each in asked)

    def parts(self, row: str) -> dict[str, str]:
        """Return the parts of a query for a condition on rows."""
        filled = {
            "row": row,
            "row_after": self._after,
            "row_place": self._place,
            "row_order": self._order,
        }
        if self.whole_root:
            return filled | {"table": "traces", "start": "t.root.start_time"}
        return narrow(filled)

    def sorting(self, row: str) -> dict[str, str]:
        """Return further parts of traces/roots, which leaves rows of equal start unordered."""
        here = {} if _OF_SPANS in row else {"threads": "1", "where": "PREWHERE"}
        places = {"row_place": "0"} if self._as_usual else {}
        behind = "" if self._after == TRUE else f"AND {self._after}"
        return narrow({"row_first": self._first, "row_behind": behind}) | here | places

    def read(
        self, store: Store, parameters: Mapping[str, Any], parts: Mapping[str, str], most: int
    ) -> list[Row]:
        """Read the first rows in order, with the parts from `parts` and `sorting`."""
        # One more: if its start differs from that of the row before it, no row with that earlier
        # start is missing. Reading all such rows in any case would cost the engine many times as
        # much.
        asked = {**parameters, "candidates": most + 1}
        rows = self._read(store, asked, {**parts, "row_ties": ""})
        if not self._by_start:
            return rows[:most]
        if len(rows) > most and rows[-1].root_start_ns == rows[-2].root_start_ns:
            rows = self._read(store, asked, parts)
        if len({row.root_start_ns for row in rows}) < len(rows):
            rows.sort(key=cmp_to_key(self._compare))
        return rows[:most]

    def _read(
        self, store: Store, parameters: Mapping[str, Any], parts: Mapping[str, str]
    ) -> list[Row]:
        columns = store.columns("traces/roots", parameters, parts, as_bytes=("trace_id",))
        found: list[Row] = []
        for identity, experiment, start_ns, said, place in zip(*columns, strict=True):
            trace_id = identity.hex()
            stands = (str(start_ns), trace_id, experiment) if self._as_usual else place
            found.append(Row(trace_id, experiment, start_ns, said, stands))
        return found

    def _compare(self, row: Row, other: Row) -> int:
        return self._behind(row.place, other.place) - self._behind(other.place, row.place)


def narrow(parts: Mapping[str, str]) -> dict[str, str]:
    """Rename columns to those of `trace_roots`."""
    return {name: each.replace("t.root.start_time", "t.start_time") for name, each in parts.items()}
