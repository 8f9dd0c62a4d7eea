"""Adds up what versions used: tokens and cost of the traces whose root they made."""

import struct
from dataclasses import dataclass
from typing import Any, Final

from otel_vtrack.query import partial, tokens
from otel_vtrack.query.prices import Prices
from otel_vtrack.query.rowbinary import Reader
from otel_vtrack.query.tokens import Cost, TokenUsage
from otel_vtrack.store.client import Store

MOST_TRACES: Final = 10_000
"""Traces that are added up one by one; of more a sample is taken."""

_AT: Final = struct.Struct("<q")
_DAY_NS: Final = 86_400_000_000_000
_EARLIEST_NS: Final = -(1 << 63)
_LATEST_NS: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Usage:
    """What a version used.

    Attributes:
        tokens: Each counted once, however often spans above report them again.
        cost: By the price table, and by what telemetry tells.
        sampled_one_in: 1 if this is the sum over all traces; n if over one in n of them, taken
            by the hash of their ids, and multiplied by n.
    """

    tokens: TokenUsage
    cost: Cost
    sampled_one_in: int


def of_version(
    store: Store,
    named: dict[str, Any],
    table: Prices,
    *,
    trace_count: int,
    seen_ns: tuple[int, int],
    most: int = MOST_TRACES,
    places: str = "1",
    parameters: dict[str, str] | None = None,
) -> Usage | None:
    """Add up what a version used; None if none of its traces reports anything.

    Args:
        store: Where to look.
        named: Its experiment, service_name and version.
        table: What tokens cost.
        trace_count: Traces that it took part in.
        seen_ns: Starts of its earliest and its latest span, in nanoseconds since 1970.
        most: Traces to add up one by one.
        places: The condition on environment and deployment of a compiled filter.
        parameters: What is bound in it.
    """
    one_in = max(1, -(-trace_count // most))
    rows = Reader(
        store.binary(
            "versions/usage",
            {
                **named,
                "one_in": one_in,
                "rows_from_ns": max(seen_ns[0] - _DAY_NS, _EARLIEST_NS),
                "rows_until_ns": min(seen_ns[1] + _DAY_NS, _LATEST_NS),
                **(parameters or {}),
            },
            {"places": places},
        )
    )
    used: list[TokenUsage] = []
    costs: list[Cost] = []
    while rows.more:
        (at_ns,) = rows.fields(_AT)
        edges = rows.numbers("Q")
        usage = partial.usage(rows)
        billing = partial.billing(rows)
        found = tokens.usage(usage, edges, billing)
        if found is not None:
            used.append(found)
        cost = tokens.cost(usage, edges, billing, table, at_ns)
        if cost is not None:
            costs.append(cost)
    if not used and not costs:
        return None
    total = tokens.total(costs)
    return Usage(
        TokenUsage(*(one_in * sum(counts) for counts in zip(*used, strict=True)))
        if used
        else TokenUsage(0, 0, 0),
        Cost(
            one_in * total.input_cost,
            one_in * total.output_cost,
            one_in * total.total_cost,
            total.unknown_models,
        ),
        one_in,
    )
