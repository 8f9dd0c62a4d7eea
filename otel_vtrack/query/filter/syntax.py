"""What a filter says, as a tree; and the limits on how much it may say."""

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
    """How a clause compares; those with a NOT are these with `Clause.negated`."""

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
    """What kind of value was written."""

    TEXT = "a text"
    NUMBER = "a number"
    DURATION = "a duration"
    TIME = "a time"
    BOOLEAN = "true or false"


@dataclass(frozen=True, slots=True)
class Literal:
    """A value, and where it stands.

    Attributes:
        value: Text as it is; a number; a duration or a time in nanoseconds; a boolean.
    """

    sort: Sort
    value: str | Decimal | int | bool
    at: int


@dataclass(frozen=True, slots=True)
class Name:
    """A key as written, split at its first dot.

    Attributes:
        entity: Before the first dot; empty if there is none.
        key: After it, without quotes.
        written: As it stands in the filter.
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
        values: One, or as many as a list has, or two of a range, or none.
    """

    name: Name
    operator: Operator
    negated: bool
    values: tuple[Literal, ...]
    at: int

    @property
    def spelled(self) -> str:
        """The operator as it is shown to people."""
        if not self.negated:
            return self.operator.value
        if self.operator is Operator.EQUAL:
            return "!="
        if self.operator is Operator.IS_NULL:
            return "IS NOT NULL"
        return f"NOT {self.operator.value}"


@dataclass(frozen=True, slots=True)
class Exists:
    """`exists span (...)` or `exists event (...)`: one for which all that is inside holds."""

    what: str
    inside: "Expression"
    at: int


@dataclass(frozen=True, slots=True)
class Not:
    """What is inside does not hold."""

    inside: "Expression"


@dataclass(frozen=True, slots=True)
class And:
    """All parts hold; without parts it holds."""

    parts: "tuple[Expression, ...]"


@dataclass(frozen=True, slots=True)
class Or:
    """A part holds."""

    parts: "tuple[Expression, ...]"


Expression: TypeAlias = Clause | Exists | Not | And | Or

EVERYTHING: Final = And(())
