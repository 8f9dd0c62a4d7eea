"""Sum a trace's token usage and cost without counting anything twice.

A span that reports usage covers everything below it: agents report the total of their calls, which
report their own. So a span is left out if any ancestor reports usage, however far above and
whatever lies between. That is MLflow's rule.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from otel_vtrack.query import prices
from otel_vtrack.query.prices import Prices

NO_MODEL: Final = "(no model)"
"""Listed among unknown models for usage without a reported model."""


MOST: Final = (1 << 63) - 1
"""The most tokens returned: the largest integer in OTLP and in tables."""


class TokenUsage(NamedTuple):
    """Tokens of prompts, of completions and in total, and those of the prompts in a cache."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0


class Cost(NamedTuple):
    """Dollars. If there are unknown models, the total cost is unknown and these cover the rest."""

    input_cost: float
    output_cost: float
    total_cost: float
    unknown_models: tuple[str, ...] = ()


_NOTHING: Final = Cost(0, 0, 0)
_NO_PRICE: Final = Cost(0, 0, 0, (NO_MODEL,))
_NO_TOKENS: Final = (0, 0, 0)


class Bill(NamedTuple):
    """What `traces.billing` holds for a span: what its tokens are priced by."""

    span: int
    model: str
    provider: str
    cache_read: int
    cache_creation: int
    told: str


def usage(
    reported: Iterable[tuple[int, int, int, int]],
    edges: Iterable[int],
    billing: Iterable[Bill] = (),
) -> TokenUsage | None:
    """Sum the usage that a trace's spans report; None if none does.

    A span whose parent is missing or is itself has no ancestors, nor has one whose ancestry is a
    cycle. The query `analysis/tokens` has the same rules in SQL.

    Args:
        reported: The value of `traces.usage`: one entry for each span that reports.
        edges: The value of `traces.edges`: one for each span, its short ID above its parent's.
        billing: The value of `traces.billing`.
    """
    found = list(reported)
    return _usage(found, _above({each[0] for each in found}, edges), billing) if found else None


def usage_and_cost(
    reported: Collection[tuple[int, int, int, int]],
    edges: Collection[int],
    billing: Collection[Bill],
    table: Prices,
    at_ns: int,
) -> tuple[TokenUsage | None, Cost | None]:
    """Return both, in little more time than either alone; see `usage` and `cost`."""
    found = sorted(reported)
    bills = {bill.span: bill for bill in sorted(billing)}
    reporting = {each[0] for each in found}
    nodes = reporting | _telling(bills)
    if not nodes:
        return None, None
    above = _above(nodes, edges)
    costs = _cost(found, bills, nodes, above, table=table, at_ns=at_ns)
    if not found:
        return None, costs
    if nodes != reporting:
        above = _above(reporting, edges)
    return _usage(found, above, billing), costs


def _usage(
    found: Iterable[tuple[int, int, int, int]], above: Mapping[int, int], billing: Iterable[Bill]
) -> TokenUsage:
    counted = [each for each in found if each[0] not in above]
    spans = {each[0] for each in counted}
    bills = [bill for bill in billing if bill.span in spans]
    return TokenUsage(
        fitting(sum([each[1] for each in counted])),
        fitting(sum([each[2] for each in counted])),
        fitting(sum([each[3] for each in counted])),
        fitting(sum([bill.cache_read for bill in bills])),
        fitting(sum([bill.cache_creation for bill in bills])),
    )


def fitting(count: int) -> int:
    """Limit a sum of reported numbers to `MOST`: spans may report anything."""
    return min(count, MOST)


def cost(
    reported: Iterable[tuple[int, int, int, int]],
    edges: Iterable[int],
    billing: Iterable[Bill],
    table: Prices,
    at_ns: int,
) -> Cost | None:
    """Return what a trace cost; None if no span reports usage or cost.

    A cost reported by a span stands; otherwise its tokens are priced by its model. Either covers
    everything below it, unless the spans below report just as many tokens, because they know their
    models better. Where a span has neither cost nor model, those below it count.

    Args:
        reported: As in `usage`.
        edges: Likewise.
        billing: Likewise.
        table: The prices of tokens.
        at_ns: The time of use, in nanoseconds since 1970.
    """
    found = sorted(reported)
    bills = {bill.span: bill for bill in sorted(billing)}
    nodes = {each[0] for each in found} | _telling(bills)
    if not nodes:
        return None
    return _cost(found, bills, nodes, _above(nodes, edges), table=table, at_ns=at_ns)


def _telling(bills: Mapping[int, Bill]) -> set[int]:
    return {span for span, bill in bills.items() if bill.told and prices.told(bill.told)}


def _cost(
    found: Iterable[tuple[int, int, int, int]],
    bills: Mapping[int, Bill],
    nodes: set[int],
    above: Mapping[int, int],
    *,
    table: Prices,
    at_ns: int,
) -> Cost:
    used = {each[0]: each[1:] for each in found}
    if not above:
        alone = [
            _priced(used.get(span, _NO_TOKENS), bills.get(span), table, at_ns)
            for span in sorted(nodes)
        ]
        return total([each or _NO_PRICE for each in alone])
    below, tops = _tree(nodes, above)
    order = list(tops)
    for span in order:
        order.extend(below.get(span, ()))
    own: dict[int, Cost] = {}
    by_parts: set[int] = set()
    unknown: set[int] = set()
    for span in reversed(order):
        inner = below.get(span, ())
        known = bool(inner) and unknown.isdisjoint(inner)
        bill = bills.get(span)
        priced = _priced(used.get(span, _NO_TOKENS), bill, table, at_ns)
        tells = bill is not None and bill.told
        asks = priced is None or (known and not tells and _same(span, inner, used))
        if inner and asks:
            by_parts.add(span)
            if not known:
                unknown.add(span)
            continue
        own[span] = priced or _NO_PRICE
        if own[span].unknown_models:
            unknown.add(span)
    counted = list(tops)
    for span in counted:
        if span in by_parts:
            counted.extend(below[span])
    # In a fixed order, since it affects the last digit of a sum; filter.costs uses the same.
    return total([own[span] for span in sorted(set(counted) - by_parts)])


def _same(span: int, inner: Sequence[int], used: Mapping[int, tuple[int, ...]]) -> bool:
    """Return whether spans report as many tokens as the one above them."""
    parts = [used.get(each, _NO_TOKENS) for each in inner]
    return tuple(map(sum, zip(*parts, strict=True)))[:2] == used.get(span, _NO_TOKENS)[:2]


def _priced(used: tuple[int, ...], bill: Bill | None, table: Prices, at_ns: int) -> Cost | None:
    """Return what a span cost by its own report; None if it has neither cost nor model."""
    if bill is None:
        return None
    told = prices.told(bill.told) if bill.told else None
    if told is not None:
        return Cost(*told)
    if not bill.model:
        return None
    taken, given, both = used
    # A total alone does not determine the cost.
    if both and not taken and not given:
        return Cost(0, 0, 0, (bill.model,))
    counts = prices.Tokens(taken, given, bill.cache_read, bill.cache_creation)
    charge = table.charge(bill.model, bill.provider, counts, at_ns)
    if charge is None:
        return Cost(0, 0, 0, (bill.model,))
    return Cost(charge.input, charge.output, charge.input + charge.output)


def total(costs: Sequence[Cost]) -> Cost:
    """Add up costs; zero if there are none."""
    if len(costs) == 1:
        return costs[0]
    taken = given = both = 0.0
    unknown: set[str] = set()
    for each in costs:
        taken += each.input_cost
        given += each.output_cost
        both += each.total_cost
        unknown.update(each.unknown_models)
    return Cost(taken, given, both, tuple(sorted(unknown)))


def _parents(edges: Iterable[int]) -> dict[int, int]:
    edges = list(edges)
    parents = {edge >> 32: edge & 0xFFFFFFFF for edge in edges}
    if len(parents) < len(edges):
        # Sorted, so that for a span with two parents the same one wins here and in SQL.
        parents = {edge >> 32: edge & 0xFFFFFFFF for edge in sorted(edges)}
    return parents


def _tree(nodes: set[int], above: Mapping[int, int]) -> tuple[dict[int, list[int]], list[int]]:
    """Return the nodes directly below each node, and the nodes below none."""
    below: dict[int, list[int]] = {}
    tops: list[int] = []
    for span in sorted(nodes):
        if span in above:
            below.setdefault(above[span], []).append(span)
        else:
            tops.append(span)
    return below, tops


def _above(nodes: set[int], edges: Iterable[int]) -> dict[int, int]:
    """Map each of `nodes` to the next of them above it, if there is one."""
    if len(nodes) < 2:
        return {}
    parents = _parents(edges)
    # For each span visited: the next node above it, or one of these markers.
    none, circle = 0, -1
    known: dict[int, int] = {}
    for span in nodes:
        path: dict[int, int] = {}
        at = span
        while at not in known:
            parent = parents.get(at, 0)
            if parent in {0, at} or parent not in parents:
                known[at] = none
                break
            path[at] = parent
            if parent in path:
                known |= dict.fromkeys(path, circle)
                break
            at = parent
        for child, parent in reversed(path.items()):
            if child not in known:
                beyond = known[parent]
                known[child] = parent if parent in nodes and beyond != circle else beyond
    return {span: above for span in nodes if (above := known[span]) not in {none, circle}}
