"""Define what a key refers to: an SQL expression, its kind and its operators."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query.filter import problems
from otel_vtrack.query.filter.syntax import Clause, Name, Operator

_SAME: Final = frozenset({Operator.EQUAL, Operator.IN})
_TEXTUAL: Final = _SAME | {Operator.LIKE, Operator.ILIKE, Operator.RLIKE, Operator.CONTAINS}
_ORDERED: Final = _SAME | {
    Operator.GREATER,
    Operator.GREATER_OR_EQUAL,
    Operator.LESS,
    Operator.LESS_OR_EQUAL,
    Operator.BETWEEN,
}


NO_ORDER: Final = (
    "text has no order, as '1.9' would be greater than '1.10': list the values with IN, or"
    " match them with LIKE"
)
"""The advice for a caller who compares texts by order."""


class Kind(Enum):
    """The kind of a key's values, which decides how they are compared."""

    TEXT = "text"
    ID = "an id"
    FULL_TEXT = "long text"
    NUMBER = "a number"
    DURATION = "a duration"
    TIME = "a time"
    BOOLEAN = "a boolean"
    ANY = "a value of any kind"


OPERATORS: Final[Mapping[Kind, frozenset[Operator]]] = {
    Kind.TEXT: _TEXTUAL,
    Kind.ID: _TEXTUAL,
    Kind.FULL_TEXT: frozenset({Operator.LIKE, Operator.ILIKE, Operator.CONTAINS}),
    Kind.NUMBER: _ORDERED,
    Kind.DURATION: _ORDERED,
    Kind.TIME: _ORDERED,
    Kind.BOOLEAN: frozenset({Operator.EQUAL, Operator.IN}),
    Kind.ANY: _TEXTUAL | _ORDERED,
}


class Parameters:
    """Texts to bind, `p0`, `p1` and so on; the only way for a filter's values to reach SQL."""

    def __init__(self, prefix: str = "p") -> None:
        self._prefix = prefix
        self._names: dict[str, str] = {}

    def text(self, value: str) -> str:
        """Bind a text and return its placeholder."""
        name = self._names.setdefault(value, f"{self._prefix}{len(self._names)}")
        return f"{{{name}:String}}"

    @property
    def bound(self) -> dict[str, str]:
        """The bound texts by parameter name."""
        return {name: value for value, name in self._names.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """What a key refers to.

    Attributes:
        sql: The value.
        present: The condition that there is a value; empty if there always is one. Where it is
            false, no comparison holds, negated or not.
        choices: The possible values, if they are few.
        operators: The allowed operators; None for those of `kind`.
        around: Turns a condition on the value into one on the item searched, for example with
            `arrayExists(value -> ..., values)`; None if `sql` is the item's only value.
        costly: Whether `around` is slow. Joined conditions then share one `around`; this requires
            that each item has at most one value, and none if `around` does not find it.
        number: The value as a number, NULL if it is not one; empty to parse it from the text.
        exists: The condition for IS NOT NULL, if it differs from `present`.
        on_row: Whether the condition has the same result on the row of `traces` with the root as on
            the whole trace.
        by_id: Whether it has the same result on any row as on the whole trace.
        near: Used if `on_row` is false: a subquery of trace IDs with `{}` in place of a condition,
            and candidate expressions, one of which has the trace's value on some row of each
            matching trace.
        near_row: Turns a condition on the value into one on a row that knows the root; it holds
            wherever the one made by `around` holds.
        join: A subquery to join for sorting, if `sql` alone does not yield the value; see
            order.Key.
        sorted_by: The value to sort by, if not `sql`; it may refer to the joined row as `{0}`. NULL
            if there is no value.
        sorts_rows: Whether `sorted_by` works on the row of `traces` that has the root.
        digits: The number of hexadecimal digits of an ID.
        instead: What to query instead, if this key cannot be queried.
    """

    kind: Kind
    sql: str
    present: str = ""
    choices: tuple[str, ...] = ()
    operators: frozenset[Operator] | None = None
    around: Callable[[str], str] | None = None
    costly: bool = False
    number: str = ""
    exists: str = ""
    on_row: bool = True
    by_id: bool = False
    near: "tuple[str, tuple[str, ...]] | None" = None
    near_row: Callable[[str], str] | None = None
    join: str = ""
    sorted_by: str = ""
    sorts_rows: bool = False
    digits: int = 32
    instead: str = ""

    @property
    def optional(self) -> bool:
        """Whether the value may be absent."""
        return bool(self.present) or self.around is not None

    def takes(self) -> frozenset[Operator]:
        """Return the operators that the key takes."""
        taken = OPERATORS[self.kind] if self.operators is None else self.operators
        return taken | ({Operator.IS_NULL} if self.optional else frozenset())


Find: TypeAlias = Callable[[Name, Parameters], Field | None]
"""Looks up a key behind a prefix, as in `tag.x`; returns None if there is no such key."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The keys of a noun.

    Attributes:
        noun: The noun as shown to users, in the plural.
        keys: The keys without a prefix, under each of their names.
        families: The lookup for each prefix.
        own: Prefixes that refer to the keys without a prefix.
        made: More keys without a prefix, each built when it is looked up.
        inner: The keys of the items that `exists` searches, if any.
    """

    noun: str
    keys: Mapping[str, Field]
    families: Mapping[str, Find] = field(default_factory=dict[str, Find])
    own: frozenset[str] = frozenset()
    made: Mapping[str, Callable[[Parameters], Field]] = field(
        default_factory=dict[str, Callable[[Parameters], Field]]
    )
    inner: "Catalogue | None" = None

    def find(self, text: str, name: Name, parameters: Parameters, *, what: str = "filter") -> Field:
        """Look up a key; `what` names the text that contains it, for error messages.

        Raises:
            InvalidArgument: There is no such key.
        """
        found: Field | None = None
        if name.entity in {"", *self.own}:
            found = self.keys.get(name.key)
            if found is None and name.key in self.made:
                found = self.made[name.key](parameters)
        elif name.entity in self.families:
            found = self.families[name.entity](name, parameters)
        if found is None:
            raise self._unknown(text, name, what)
        return found

    def _unknown(self, text: str, name: Name, what: str) -> InvalidArgument:
        known = [*self.keys, *self.made, *(f"{prefix}.…" for prefix in self.families)]
        hint = ""
        if name.entity and name.entity not in self.families and name.entity not in self.own:
            hint = problems.meant(name.entity, [*self.families, *self.own])
            if name.key in {*self.keys, *self.made}:
                hint = hint or f": did you mean {name.key}?"
        else:
            hint = problems.meant(name.key, [*self.keys, *self.made])
        if not hint:
            hint = f": there are {', '.join(sorted(known))}"
        message = f"{self.noun} have no key {name.written[:60]!r}{hint}"
        return problems.at(text, name.at, message, what=what)


def check(text: str, clause: Clause, field: Field) -> None:
    """Reject an operator that a key does not take.

    Raises:
        InvalidArgument: The key does not take the operator; the message lists those it takes, or
            what to query instead.
    """
    if field.instead:
        raise problems.at(
            text, clause.name.at, f"{clause.name.written[:60]} is for display only: {field.instead}"
        )
    taken = field.takes()
    if clause.operator in taken:
        return
    order = [each.value for each in Operator if each in taken]
    message = f"{clause.name.written[:60]} is {field.kind.value} and does not take {clause.spelled}"
    if clause.operator is Operator.IS_NULL:
        message = f"{clause.name.written[:60]} always has a value"
    message += f": it takes {problems.listed(order, last='and')}, also with NOT"
    if field.kind is Kind.TEXT and clause.operator in _ORDERED:
        message += f"; {NO_ORDER}"
    raise problems.at(text, clause.at, message)
