"""What a key stands for: an expression of SQL, its kind, and the operators that it takes."""

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
    "no text counts as greater, as '1.9' would be greater than '1.10': list those you mean by IN,"
    " or match them by LIKE"
)
"""What to tell whoever asks which text is greater."""


class Kind(Enum):
    """What values a key has, and how they are compared."""

    TEXT = "a text"
    ID = "an id"
    FULL_TEXT = "a long text"
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
    """Texts to bind, `p0`, `p1` and so on: nothing of a filter gets into SQL in another way."""

    def __init__(self, prefix: str = "p") -> None:
        self._prefix = prefix
        self._names: dict[str, str] = {}

    def text(self, value: str) -> str:
        """Return the SQL of a text."""
        name = self._names.setdefault(value, f"{self._prefix}{len(self._names)}")
        return f"{{{name}:String}}"

    @property
    def bound(self) -> dict[str, str]:
        """The texts by their names."""
        return {name: value for value, name in self._names.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """What a key stands for.

    Attributes:
        sql: The value.
        present: Condition that there is a value; empty if there always is one. Where it does
            not hold no comparison does either, negated or not.
        choices: The values there are, if they are few.
        operators: Those that it takes; by `kind` unless told.
        around: Makes a condition on what is searched of one on the value, as
            `value -> arrayExists(...)`; None where there is one value.
        costly: Whether `around` takes long: then conditions that are joined share one, for which
            there has to be one value at most, and none where it finds nothing.
        number: The value as a number, NULL if it is none; by reading the text unless told.
        exists: What IS NOT NULL asks for, if not `present`.
        on_row: Whether the condition holds for the row of `traces` that has the root just as for
            the whole trace.
        by_id: Whether it holds for any row just as for the whole trace.
        near: Where `on_row` is not: a subquery of trace ids with `{}` for a condition, and
            values of which one is the trace's, for a row of each trace that it holds for.
        near_row: Makes of one on the value the condition on a row that knows the root, which holds
            wherever that of `around` does.
        join: A subquery to join for sorting, if `sql` does not say the value; see order.Key.
        sorted_by: The value for sorting, if `sql` does not say it, of the joined row `{0}` if one
            is joined; NULL if there is none.
        sorts_rows: Whether `sorted_by` says it of the row of `traces` that has the root.
        digits: Of an id.
        instead: What to ask for, where nothing can be asked of this.
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
        """Whether there may be no value."""
        return bool(self.present) or self.around is not None

    def takes(self) -> frozenset[Operator]:
        """List the operators that it takes."""
        taken = OPERATORS[self.kind] if self.operators is None else self.operators
        return taken | ({Operator.IS_NULL} if self.optional else frozenset())


Find: TypeAlias = Callable[[Name, Parameters], Field | None]
"""Looks up a key behind a prefix, as in `tag.x`; None if there is none of that name."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The keys of a noun.

    Attributes:
        noun: As people call it, in the plural.
        keys: Those without prefix, each under all its names.
        families: What follows a prefix, by the prefix.
        own: Prefixes that mean the keys without one.
        made: More keys without prefix, each made when it is asked for.
        inner: The keys of what `exists` looks for, if there is such a thing.
        shown: How families are shown to people, by the first of their prefixes.
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
        """Return what a key stands for; `what` says where the key is written, for an error.

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
    """Refuse an operator that a key does not take.

    Raises:
        InvalidArgument: It does not; the message says which it takes, or what to ask instead.
    """
    if field.instead:
        raise problems.at(
            text, clause.name.at, f"{clause.name.written[:60]} is only shown: {field.instead}"
        )
    taken = field.takes()
    if clause.operator in taken:
        return
    order = [each.value for each in Operator if each in taken]
    message = f"{clause.name.written[:60]} is {field.kind.value} and takes no {clause.spelled}"
    if clause.operator is Operator.IS_NULL:
        message = f"{clause.name.written[:60]} always has a value"
    message += f": it takes {problems.listed(order, last='and')}, with NOT too"
    if field.kind is Kind.TEXT and clause.operator in _ORDERED:
        message += f"; {NO_ORDER}"
    raise problems.at(text, clause.at, message)
