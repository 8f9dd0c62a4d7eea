"""Sum the tokens and cost of the traces whose root belongs to a version."""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from otel_vtrack.query import partial, prices, tokens
from otel_vtrack.query.prices import Prices
from otel_vtrack.query.rowbinary import Reader
from otel_vtrack.query.tokens import Cost, TokenUsage
from otel_vtrack.store.client import Store

MOST_TRACES: Final = 10_000
"""The most traces to sum one by one; above it, a sample is read."""

_HEAD: Final = struct.Struct("<Id?")
"""Index of the version, weight of its traces, and whether spans can be summed as they are."""
_SUMS: Final = struct.Struct("<?6Q")
"""Whether the cost is unknown; input, output, total, cache reads and writes, and full input."""
_AT: Final = struct.Struct("<q")
_DAY_NS: Final = 86_400_000_000_000
_EARLIEST_NS: Final = -(1 << 63)
_LATEST_NS: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Usage:
    """The usage of a version.

    Attributes:
        tokens: Each token counted once, however often ancestor spans report it again.
        cost: By the price table, and by costs that telemetry reports.
        sampled_one_in: 1 if this is the sum over all stored traces; n if it is the sum over one in
            n of them, chosen by the hash of their IDs, multiplied by n.
    """

    tokens: TokenUsage
    cost: Cost
    sampled_one_in: int


class Asked(NamedTuple):
    """A version whose usage to sum.

    Attributes:
        stored_count: Stored traces that it took part in.
        first_seen_ns: Start of its earliest span, in nanoseconds since 1970.
        last_seen_ns: Start of its latest span.
    """

    experiment: str
    service_name: str
    version: str
    stored_count: int
    first_seen_ns: int
    last_seen_ns: int


class _Sum:
    """The usage of traces, each counted as many times as it represents."""

    def __init__(self) -> None:
        self._used: list[float] = []
        self._costs: list[float] = []
        self._unknown: set[str] = set()

    def add(self, weight: float, used: TokenUsage | None, cost: Cost | None) -> None:
        """Add what a trace used, as far as reported."""
        if used is not None:
            so_far = self._used or [0] * len(used)
            # A double cannot hold every whole number.
            times = int(weight) if weight.is_integer() else weight
            self._used = [all_ + times * each for all_, each in zip(so_far, used, strict=True)]
        if cost is not None:
            so_far = self._costs or [0.0] * 3
            self._costs = [
                all_ + weight * each for all_, each in zip(so_far, cost[:3], strict=True)
            ]
            self._unknown.update(cost.unknown_models)

    def add_spans(self, weight: float, spans: "_Spans", table: Prices) -> None:
        """Add spans of one model, none of which covers another."""
        self.add(weight, spans.used, _cost(spans, table))

    def usage(self, one_in: int) -> Usage | None:
        """Return the sum; None if nothing was added."""
        if not self._used and not self._costs:
            return None
        return Usage(
            TokenUsage(*(tokens.fitting(round(one_in * each)) for each in self._used or [0] * 3)),
            Cost(
                *(one_in * each for each in self._costs or [0.0] * 3),
                unknown_models=tuple(sorted(self._unknown)),
            ),
            one_in,
        )


def of_versions(
    store: Store,
    versions: Sequence[Asked],
    table: Prices,
    *,
    most: int = MOST_TRACES,
    places: str = "1",
    parameters: Mapping[str, str] | None = None,
) -> list[Usage | None]:
    """Sum the usage of each version; None if none of its traces reports any.

    Args:
        store: The store to query.
        versions: The versions.
        table: The prices of tokens.
        most: How many traces of each version to sum one by one.
        places: The condition on environment and deployment of a compiled filter.
        parameters: The values bound in it.
    """
    ones_in = [max(1, -(-each.stored_count // most)) for each in versions]
    sums = [_Sum() for _ in versions]
    # A query need not read traces outside its largest sample, so versions with similar samples
    # share a query.
    for size in {one_in.bit_length() for one_in in ones_in}:
        alike = [at for at, one_in in enumerate(ones_in) if one_in.bit_length() == size]
        some = [versions[at] for at in alike]
        asked = {
            "experiments": [each.experiment for each in some],
            "service_names": [each.service_name for each in some],
            "versions": [each.version for each in some],
            "ones_in": [ones_in[at] for at in alike],
            "rows_from_ns": max(min(each.first_seen_ns for each in some) - _DAY_NS, _EARLIEST_NS),
            "rows_until_ns": min(max(each.last_seen_ns for each in some) + _DAY_NS, _LATEST_NS),
            **(parameters or {}),
        }
        rows = Reader(store.binary("versions/usage", asked, {"places": places}))
        while rows.more:
            number, weight, alone = rows.fields(_HEAD)
            spans = _spans(rows)
            found = sums[alike[number - 1]]
            if alone:
                found.add_spans(weight, spans, table)
            for _ in range(rows.length()):
                (at_ns,) = rows.fields(_AT)
                edges = rows.numbers("Q")
                usage = partial.usage(rows)
                billing = partial.billing(rows)
                found.add(weight, *tokens.usage_and_cost(usage, edges, billing, table, at_ns))
    return [each.usage(one_in) for each, one_in in zip(sums, ones_in, strict=True)]


class _Spans(NamedTuple):
    """Spans of one model.

    Attributes:
        dark: Whether they report totals alone, which do not determine a cost.
        used: The sum of what they report.
        taken: The sum of their input, including cached tokens reported in addition to it.
        columns: Start, input, output, cache reads and cache writes of each span.
    """

    model: str
    provider: str
    dark: bool
    used: TokenUsage
    taken: int
    columns: tuple[Sequence[int], ...]


def _spans(rows: Reader) -> _Spans:
    model, provider = rows.text(), rows.text()
    dark, *used, taken = rows.fields(_SUMS)
    began = memoryview(rows.packed(8)).cast("q")
    counts = [memoryview(rows.packed(8)).cast("Q") for _ in range(4)]
    return _Spans(model, provider, dark, TokenUsage(*used), taken, (began, *counts))


def _cost(spans: _Spans, table: Prices) -> Cost:
    """Return the cost of spans, from their sums if the model's price never varies."""
    if not spans.model:
        return Cost(0, 0, 0, (tokens.NO_MODEL,))
    unknown = Cost(0, 0, 0, (spans.model,))
    if spans.dark:
        return unknown
    used, rate = spans.used, table.rate(spans.model, spans.provider)
    if rate is not None:
        charge = rate.charge(
            prices.Tokens(
                spans.taken,
                used.output_tokens,
                used.cache_read_input_tokens,
                used.cache_creation_input_tokens,
            )
        )
        return Cost(charge.input, charge.output, charge.input + charge.output)
    charges = [
        table.charge(spans.model, spans.provider, prices.Tokens(*counts), at_ns)
        for at_ns, *counts in zip(*spans.columns, strict=True)
    ]
    known = [each for each in charges if each is not None]
    if len(known) < len(charges):
        return unknown
    taken, given = math.fsum(each.input for each in known), math.fsum(each.output for each in known)
    return Cost(taken, given, taken + given)
