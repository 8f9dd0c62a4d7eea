"""SQL for the cost of traces and spans, by the rules of query.tokens and with bound prices.

The view `trace_charges` has the chargeable items of a trace and their nesting. The SQL here prices
them and sums them without counting anything twice. A span's cost covers only what the span itself
reports.
"""

import json
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias

from otel_vtrack.query.filter.fields import Field, Kind, Parameters
from otel_vtrack.query.prices import Step
from otel_vtrack.store import sql

WANTED: Final = "/*costs*/ 1"
"""Placeholder in the query that prices traces `p`, to be replaced by a condition on `p`."""


class Priced(NamedTuple):
    """A model that has a price."""

    model: str
    provider: str
    steps: tuple[Step, ...]


Find: TypeAlias = Callable[[], Sequence[Priced]]
"""Lists the store's models that have a price; called only if a filter or order needs a cost."""


def field(find: Find, parameters: Parameters) -> Field:
    """Return the field for a trace's cost; it has no value if the cost is unknown.

    Args:
        find: Lists the models that have a price.
        parameters: Receives the prices.
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
    """Return the field for a span's own cost; it has no value if the cost is unknown.

    Args:
        find: Lists the models that have a price.
        parameters: Receives the prices.
    """
    names, steps = _bound(find(), parameters)
    said = sql.part("spans/cost", "cost")
    said = said.replace("{names:String}", names).replace("{steps:String}", steps)
    return Field(
        kind=Kind.NUMBER,
        sql="cost",
        present="cost IS NOT NULL",
        # The expression is long, so a condition contains it only once.
        around=lambda inner: f"arrayExists(cost -> {inner}, [{said}])",
        sorted_by=f"({said})",
    )


def rows(models: Sequence[Priced], parameters: Parameters) -> str:
    """Return the query of `trace_id`, `experiment` and `cost` for the traces chosen by `WANTED`."""
    names, steps = _bound(models, parameters)
    return (
        sql.filled(sql.text("queries", "traces/costs"), {"wanted": WANTED})
        .rstrip(";\n")
        .replace("{names:String}", names)
        .replace("{steps:String}", steps)
    )


def _bound(models: Sequence[Priced], parameters: Parameters) -> tuple[str, str]:
    """Bind the models and their prices, each as JSON."""
    # An empty list would find nothing either, but has no type in the engine.
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
