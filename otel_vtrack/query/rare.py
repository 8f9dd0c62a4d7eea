"""Look up traces with rare spans once, so that a search need not repeat the lookup.

A condition on spans that the index can answer leaves few granules of millions of spans. Their
traces are read here and replace the condition in all statements of the search.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from otel_vtrack.errors import ReadsTooMuch
from otel_vtrack.query.filter import CompiledTraces
from otel_vtrack.query.filter.compiler import FALSE, TRUE, all_of
from otel_vtrack.query.filter.fields import Parameters
from otel_vtrack.query.filter.traces import SPAN_BOUNDS
from otel_vtrack.store.client import Store

_MOST_SPANS: Final = 1_500_000
"""The most spans to read, which takes hardly any time; if the index leaves more, none is read."""

_MOST_FOUND: Final = 2_000
"""A condition that matches more spans is not rare, whatever the number of spans."""

_OF_SPANS: Final = re.escape("(t.trace_id, t.experiment) IN (SELECT ")
_LOOKED_THROUGH: Final = re.compile(
    rf"{_OF_SPANS}s\.trace_id, s\.experiment FROM spans AS s WHERE (\(.*?\)) AND"
    rf" {re.escape(SPAN_BOUNDS)}\)",
    re.DOTALL,
)


class Place(NamedTuple):
    """A trace, and when a matching span of it started, to the minute."""

    start_ns: int
    trace_id: str
    experiment: str


@dataclass(frozen=True, slots=True)
class Looked:
    """A filter after the lookup.

    Attributes:
        compiled: The filter, with the results put in.
        frequent: Whether it still has conditions that many spans match or may match.
        only: The matching traces, if the filter consists only of what was looked up.
    """

    compiled: CompiledTraces
    frequent: bool = False
    only: list[Place] | None = None


def look(store: Store, compiled: CompiledTraces, experiment: str = "") -> Looked:
    """Replace each condition that few spans match with the traces of those spans.

    Args:
        store: The store to query.
        compiled: The filter.
        experiment: The experiment that it was compiled for.
    """
    conditions = {found[0]: found[1] for found in _LOOKED_THROUGH.finditer(compiled.row)}
    if not conditions:
        return Looked(compiled)
    row, where = compiled.row, compiled.where
    within = [f"t.experiment = {compiled.texts.text(experiment)}"] if experiment else []
    frequent = False
    only: list[Place] | None = None
    for written, condition in conditions.items():
        places = _places(store, condition, compiled)
        if places is None:
            frequent = True
            continue
        if compiled.where == TRUE and compiled.row == all_of([*within, written]):
            only = [each for each in places if experiment in {"", each.experiment}]
        known = _known(places, compiled.texts)
        row, where = row.replace(written, known), where.replace(written, known)
    return Looked(replace(compiled, row=row, where=where), frequent, only)


def _places(store: Store, condition: str, compiled: CompiledTraces) -> list[Place] | None:
    """Find traces by a condition on spans, each once; None if there may be too many."""
    try:
        rows = store.query(
            "spans/places",
            {**compiled.parameters, "most": _MOST_FOUND + 1, "most_spans": _MOST_SPANS},
            {"where": condition},
        )
    except ReadsTooMuch:
        return None
    if len(rows) > _MOST_FOUND:
        return None
    found = {(row["id"], row["named"]): row["start_ns"] for row in rows}
    return [Place(start_ns, *key) for key, start_ns in found.items()]


def _known(places: Sequence[Place], texts: Parameters) -> str:
    """Return the condition that a trace `t` is one of these, in the sort order of `traces`."""
    if not places:
        return FALSE
    ids = texts.text("".join(each.trace_id for each in places))
    experiments = texts.text(json.dumps([each.experiment for each in places]))
    return (
        "(cityHash64(t.trace_id), t.trace_id, t.experiment) IN"  # noqa: S608
        " (SELECT cityHash64(each.1), each.1, each.2 FROM (SELECT arrayJoin(arrayZip("
        f"arrayMap(at -> toFixedString(substring(unhex({ids}), 16 * at + 1, 16), 16),"
        f" range({len(places)})), JSONExtract({experiments}, 'Array(String)'))) AS each))"
    )
