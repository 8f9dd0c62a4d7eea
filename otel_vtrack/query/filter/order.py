"""Sort keys, and the place in their order at which the next page starts."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query.filter import parser
from otel_vtrack.query.filter.fields import Catalogue, Field, Kind, Parameters

_DIRECTION: Final = re.compile(r"(.*?)(?:\s+(asc|desc))?\s*\Z", re.IGNORECASE | re.DOTALL)
_WHOLE: Final = re.compile(r"-?[0-9]{1,38}")
_EXACT: Final = 1 << 53
_MOST_KEYS: Final = 8
_LONGEST_KEY: Final = 500


@dataclass(frozen=True, slots=True)
class Key:
    """One sort key.

    Attributes:
        name: Identifies the key; keys of the same name are duplicates.
        sql: The value; NULL where there is none.
        kind: The kind of value, which decides how it is bound.
        on_row: Whether a partial row with the root is enough to compute it.
        join: A subquery that `sql` needs, as a complete JOIN clause.
    """

    name: str
    sql: str
    kind: Kind
    descending: bool
    nullable: bool = False
    on_row: bool = True
    join: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """Sort keys, the most significant first; together they form a total order.

    Items without a value for a key come last, both ascending and descending.
    """

    keys: tuple[Key, ...]

    @property
    def sql(self) -> str:
        """The expression after ORDER BY."""
        return ", ".join(
            f"{key.sql} {'DESC' if key.descending else 'ASC'} NULLS LAST" for key in self.keys
        )

    @property
    def place(self) -> str:
        """A tuple of the keys' values as texts, which `after` accepts: the place in the order."""
        values = (f"toString({_value(key)})" for key in self.keys)
        return f"tuple({', '.join(values)})"

    @property
    def on_row(self) -> bool:
        """Whether rows of `traces` can be sorted before they are merged."""
        return all(key.on_row for key in self.keys)

    @property
    def joins(self) -> str:
        """Subqueries to join to what is sorted."""
        return " ".join(key.join for key in self.keys if key.join)

    def behind(self, place: Sequence[Any], other: Sequence[Any]) -> bool:
        """Return whether `place` comes after `other`."""
        for key, mine, its in zip(self.keys, place, other, strict=True):
            if mine == its:
                continue
            if mine is None or its is None:
                return mine is None
            first, second = _comparable(key, mine), _comparable(key, its)
            return bool(first < second if key.descending else first > second)
        return False

    def after(self, place: Sequence[Any], parameters: Parameters) -> str:
        """Return the condition that an item comes after a place.

        Args:
            place: The value of the property `place`: texts or None.
            parameters: Receives the values.

        Raises:
            InvalidArgument: It is not a place in this order.
        """
        if len(place) != len(self.keys) or not all(
            isinstance(value, str) or (value is None and key.nullable)
            for key, value in zip(self.keys, place, strict=True)
        ):
            raise InvalidArgument(
                "this page_token belongs to another query: start again without one"
            )
        condition = "0"
        for key, value in reversed(list(zip(self.keys, place, strict=True))):
            behind, level = _against(key, value, parameters)
            condition = f"({behind} OR ({level} AND {condition}))"
        return condition


def parse(
    wanted: Sequence[str], catalogue: Catalogue, parameters: Parameters, tail: Sequence[Key]
) -> Order:
    """Parse `order_by`: keys with an optional ASC or DESC, then those of `tail` not yet named.

    Raises:
        InvalidArgument: A key is unknown, duplicated or not sortable.
    """
    if len(wanted) > _MOST_KEYS:
        raise InvalidArgument(f"order_by has at most {_MOST_KEYS} keys")
    keys: list[Key] = []
    for written in wanted:
        if len(written) > _LONGEST_KEY:
            raise InvalidArgument(f"a key of order_by has at most {_LONGEST_KEY} characters")
        found = _DIRECTION.fullmatch(written.strip())
        text, direction = found.groups() if found else (written, None)
        name = parser.sort_key(text)
        field = catalogue.find(text, name, parameters, what="order_by")
        if field.instead:
            raise InvalidArgument(f"order_by: {text[:60]} is for display only: {field.instead}")
        if (field.around is not None and not field.sorted_by) or field.kind is Kind.FULL_TEXT:
            raise InvalidArgument(
                f"order_by: {text[:60]} may have many values, so nothing can be sorted by it"
            )
        key = key_of(
            field,
            descending=bool(direction) and direction.lower() == "desc",
            alias=f"j{len(keys)}",
        )
        if key.name in {each.name for each in keys}:
            raise InvalidArgument(f"order_by: {text[:60]} appears twice: leave one out")
        keys.append(key)
    named = {key.name for key in keys}
    return Order((*keys, *(key for key in tail if key.name not in named)))


def key_of(field: Field, *, descending: bool, alias: str = "j") -> Key:
    """Make the sort key of a field; `alias` names its joined subquery."""
    if field.sorted_by:
        sql = field.sorted_by.replace("{0}", alias)
        join = field.join.replace("{0}", alias)
        return Key(
            field.join + field.sorted_by,
            sql,
            Kind.NUMBER if field.kind is Kind.NUMBER else Kind.TEXT,
            descending,
            nullable=True,
            on_row=field.sorts_rows,
            join=join,
        )
    nullable = bool(field.present) or field.kind is Kind.NUMBER
    sql = f"if({field.present}, {field.sql}, NULL)" if field.present else field.sql
    return Key(field.sql, sql, field.kind, descending, nullable, field.on_row)


def _value(key: Key) -> str:
    if key.kind is Kind.TIME:
        return f"toUnixTimestamp64Nano({key.sql})"
    if key.kind is Kind.ID:
        return f"lower(hex({key.sql}))"
    return key.sql


def _comparable(key: Key, value: str) -> Any:
    if key.kind in {Kind.TIME, Kind.DURATION, Kind.BOOLEAN}:
        return int(value)
    if key.kind is Kind.NUMBER:
        return int(value) if _WHOLE.fullmatch(value) else float(value)
    return value.encode()


def _against(key: Key, value: str | None, parameters: Parameters) -> tuple[str, str]:
    """Return the conditions that a key comes after a value and that it equals it."""
    if value is None:
        return "0", f"({key.sql} IS NULL)"
    bound = parameters.text(value)
    match key.kind:
        case Kind.TIME:
            other = f"fromUnixTimestamp64Nano(toInt64OrZero({bound}), 'UTC')"
        case Kind.ID:
            other = f"unhex({bound})"
        case Kind.NUMBER if _WHOLE.fullmatch(value) and abs(int(value)) >= _EXACT:
            # A double would be rounded, and the next page would start at the wrong place.
            other = f"toInt128OrZero({bound})"
        case Kind.NUMBER:
            other = f"toFloat64OrZero({bound})"
        case Kind.DURATION | Kind.BOOLEAN:
            other = f"toInt64OrZero({bound})"
        case _:
            other = bound
    behind = f"{key.sql} {'<' if key.descending else '>'} {other}"
    level = f"{key.sql} = {other}"
    if key.nullable:
        return f"({key.sql} IS NULL OR ifNull({behind}, 0))", f"ifNull({level}, 0)"
    return behind, level
