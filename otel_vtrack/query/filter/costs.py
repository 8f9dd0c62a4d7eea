"""What traces and spans cost, in SQL: by the rules of query.tokens, and prices that are bound.

The view `trace_charges` has what of a trace costs something, and what is above what. Here that is
priced, and added up without counting anything twice. A span costs what it says itself.
"""

import json
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias

from otel_vtrack.query.filter.fields import Field, Kind, Parameters
from otel_vtrack.query.prices import Step
from otel_vtrack.store import sql

WANTED: Final = "/*costs*/ 1"
"""Stands where traces `p` are priced, to be replaced by which of them are asked for."""


class Priced(NamedTuple):
    """A model that has a price."""

    model: str
    provider: str
    steps: tuple[Step, ...]


Find: TypeAlias = Callable[[], Sequence[Priced]]
"""Lists the models of the store that have a price; called only if a cost is asked for."""


def field(find: Find, parameters: Parameters) -> Field:
    """Return the field of what a trace cost; no value if that is not known.

    Args:
        find: Lists the models that have a price.
        parameters: Gets the prices.
    """
    asked = rows(find(), parameters)
    return Field(
        kind=Kind.NUMBER,
        sql="c.cost",
        present="c.cost IS NOT NULL",
        around=lambda inner: (
            "(t.trace_id, t.experiment) IN"
            f" (SELECT c.trace_id, c.experiment FROM ({asked}) AS c WHERE {inner})"
        ),
        costly=True,
        on_row=False,
        join=(
            f"LEFT ANY JOIN ({asked}) AS {{0}}"
            " ON {0}.trace_id = t.trace_id AND {0}.experiment = t.experiment"
        ),
        sorted_by="{0}.cost",
    )


def of_span(find: Find, parameters: Parameters) -> Field:
    """Return the field of what a span cost by what it says itself; no value if that is not known.

    Args:
        find: Lists the models that have a price.
        parameters: Gets the prices.
    """
    names, steps = _bound(find(), parameters)
    said = sql.part("spans/cost", "cost")
    said = said.replace("{names:String}", names).replace("{steps:String}", steps)
    return Field(
        kind=Kind.NUMBER,
        sql="cost",
        present="cost IS NOT NULL",
        # It is long: so it stands in a condition once.
        around=lambda inner: f"arrayExists(cost -> {inner}, [{said}])",
        sorted_by=f"({said})",
    )


def rows(models: Sequence[Priced], parameters: Parameters) -> str:
    """Return the query of `trace_id`, `experiment` and `cost`; of those that `WANTED` says."""
    names, steps = _bound(models, parameters)
    return (
        sql.filled(sql.text("queries", "traces/costs"), {"wanted": WANTED})
        .rstrip(";\n")
        .replace("{names:String}", names)
        .replace("{steps:String}", steps)
    )


def _bound(models: Sequence[Priced], parameters: Parameters) -> tuple[str, str]:
    """Bind models and their prices, each as JSON."""
    # An empty list finds nothing in the engine either, but is of no type there.
    names = [f"{each.model}\0{each.provider}" for each in models] or ["\0"]
    steps = [[_numbers(step) for step in each.steps] for each in models] or [[]]
    return parameters.text(json.dumps(names)), parameters.text(json.dumps(steps))


def _numbers(step: Step) -> list[float]:
    rate = step.rate
    read = rate.input if rate.cache_read is None else rate.cache_read
    creation = rate.input if rate.cache_creation is None else rate.cache_creation
    return [
        *(step.since_ns, step.day_from_ns, step.day_until_ns, step.above),
        *(rate.input, rate.output, read, creation),
    ]
