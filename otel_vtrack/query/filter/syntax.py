"""The syntax tree of a filter, and the limits on its size."""

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Final, TypeAlias

LONGEST: Final = 10_000
DEEPEST: Final = 50
MOST_CLAUSES: Final = 200
MOST_VALUES: Final = 1_000
LONGEST_PATTERN: Final = 1_000


class Operator(Enum):
    """How a clause compares; `Clause.negated` covers the forms with NOT."""

    EQUAL = "="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    IN = "IN"
    BETWEEN = "BETWEEN"
    LIKE = "LIKE"
    ILIKE = "ILIKE"
    RLIKE = "RLIKE"
    CONTAINS = "CONTAINS"
    IS_NULL = "IS NULL"


class Sort(Enum):
    """The kind of a literal."""

    TEXT = "text"
    NUMBER = "a number"
    DURATION = "a duration"
    TIME = "a time"
    BOOLEAN = "true or false"


@dataclass(frozen=True, slots=True)
class Literal:
    """A value and its position.

    Attributes:
        value: The text itself; a number; a duration or time in nanoseconds; a boolean.
    """

    sort: Sort
    value: str | Decimal | int | bool
    at: int


@dataclass(frozen=True, slots=True)
class Name:
    """A key as written, split at its first dot.

    Attributes:
        entity: The part before the first dot; empty if there is none.
        key: The part after it, without quotes.
        written: The key as it stands in the filter.
    """

    entity: str
    key: str
    written: str
    at: int


@dataclass(frozen=True, slots=True)
class Clause:
    """One comparison.

    Attributes:
        negated: Whether the operator has a NOT: `!=`, `NOT IN`, `IS NOT NULL` and so on.
        values: One value, those of a list, the two ends of a range, or none.
    """

    name: Name
    operator: Operator
    negated: bool
    values: tuple[Literal, ...]
    at: int

    @property
    def spelled(self) -> str:
        """The operator as shown to users."""
        if not self.negated:
            return self.operator.value
        if self.operator is Operator.EQUAL:
            return "!="
        if self.operator is Operator.IS_NULL:
            return "IS NOT NULL"
        return f"NOT {self.operator.value}"


@dataclass(frozen=True, slots=True)
class Exists:
    """`exists span (...)` or `exists event (...)`: some item satisfies everything inside."""

    what: str
    inside: "Expression"
    at: int


@dataclass(frozen=True, slots=True)
class Not:
    """The inner expression does not hold."""

    inside: "Expression"


@dataclass(frozen=True, slots=True)
class And:
    """All parts hold; true if there are none."""

    parts: "tuple[Expression, ...]"


@dataclass(frozen=True, slots=True)
class Or:
    """At least one part holds."""

    parts: "tuple[Expression, ...]"


Expression: TypeAlias = Clause | Exists | Not | And | Or

EVERYTHING: Final = And(())
