"""The stored models that have a price."""

from typing import Final

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query.filter.costs import Priced
from otel_vtrack.query.prices import Prices
from otel_vtrack.store.client import Store

_MOST: Final = 2_000


def models(store: Store, table: Prices) -> list[Priced]:
    """List the models named in spans that have a price in the table.

    Raises:
        InvalidArgument: There are too many to bind.
    """
    named = [(row["model"], row["provider"]) for row in store.query("spans/models")]
    known = [Priced(*each, steps) for each in named if (steps := table.steps(*each))]
    if len(known) > _MOST:
        raise InvalidArgument(
            f"spans name more than {_MOST:,} models with a price, too many to search by cost: name"
            " models consistently"
        )
    return known
