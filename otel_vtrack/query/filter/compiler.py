"""Compile a filter's tree into SQL conditions."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from otel_vtrack.query.filter import compare, fields, problems
from otel_vtrack.query.filter.fields import Catalogue, Parameters
from otel_vtrack.query.filter.syntax import And, Clause, Exists, Expression, Not, Operator, Or

TRUE: Final = "1"
FALSE: Final = "0"


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled condition.

    Attributes:
        whole: The condition on the complete item.
        row: The condition on a partial row; never false where `whole` is true.
        by_id: Whether `row` and `whole` have the same result on every row, however partial.
        weak: Whether `row` may be true where `whole` is not, even on the row with the root.
        row_not: The `row` of the negated condition, if known.
    """

    whole: str
    row: str
    by_id: bool = False
    weak: bool = False
    row_not: str = ""


Inside: TypeAlias = Callable[[Exists, "Compiler"], Condition]
"""Compiles an `exists`."""

Join: TypeAlias = Callable[[Iterable[str]], str]
Around: TypeAlias = Callable[[str], str]


class Compiler:
    """Compile one filter.

    Args:
        text: The filter, for error messages.
        catalogue: The known keys.
        parameters: Receives all values.
        exists: Compiles `exists`; None if the noun does not support it.
    """

    def __init__(
        self,
        text: str,
        catalogue: Catalogue,
        parameters: Parameters,
        exists: Inside | None = None,
    ) -> None:
        self.text: Final = text
        self.catalogue: Final = catalogue
        self.parameters: Final = parameters
        self._exists: Final = exists

    def compile(self, tree: Expression, *, negate: bool = False) -> Condition:
        """Compile an expression, pushing NOT down to the clauses so that `row` stays weak.

        Raises:
            InvalidArgument: A key, operator or value is invalid for this noun.
        """
        match tree:
            case Not(inside):
                return self.compile(inside, negate=not negate)
            case And(parts) | Or(parts):
                rest, together = self._together(parts, all_of if isinstance(tree, And) else any_of)
                compiled = [self.compile(part, negate=negate) for part in rest]
                compiled += [negated(each) if negate else each for each in together]
                joined = all_of if isinstance(tree, And) != negate else any_of
                return Condition(
                    joined(each.whole for each in compiled),
                    joined(each.row for each in compiled),
                    all(each.by_id for each in compiled),
                )
            case Exists(what, _, at):
                if self._exists is None:
                    raise problems.at(
                        self.text, at, f"{self.catalogue.noun} have no {what}s to search"
                    )
                return negated(self._exists(tree, self)) if negate else self._exists(tree, self)
            case Clause():
                found = self.clause(tree)
                return negated(found) if negate else found

    def clause(self, clause: Clause) -> Condition:
        """Compile one clause."""
        found = self.catalogue.find(self.text, clause.name, self.parameters)
        fields.check(self.text, clause, found)
        sql = compare.condition(self.text, clause, found, self.parameters)
        if found.near_row is not None:
            inner = compare.condition(
                self.text, clause, replace(found, around=None), self.parameters
            )
            return Condition(
                sql, found.near_row(inner), weak=True, row_not=found.near_row(f"NOT ({inner})")
            )
        if found.on_row:
            return Condition(sql, sql, found.by_id)
        if found.near is None or _is_null(clause):
            return Condition(sql, TRUE)
        subquery, values = found.near
        near = any_of(
            compare.condition(
                self.text,
                clause,
                replace(found, sql=value, present=f"{value} != ''"),
                self.parameters,
            )
            for value in values
        )
        within = subquery.replace("{}", near)
        return Condition(sql, f"t.trace_id IN ({within})", weak=True)

    def conjuncts(self, tree: Expression) -> list[Condition]:
        """Compile each operand of the top-level AND separately."""
        match tree:
            case And(parts):
                rest, together = self._together(parts, all_of)
                return [*(each for part in rest for each in self.conjuncts(part)), *together]
            case _:
                return [self.compile(tree)]

    def _together(
        self, parts: Sequence[Expression], join: Join
    ) -> tuple[Sequence[Expression], list[Condition]]:
        """Merge the parts on one costly value into one condition; return the other parts first."""
        rest: list[Expression] = []
        values: list[str] = []
        around: Around = str
        for part in parts:
            if found := self._of_value(part):
                value, around = found
                values.append(value)
            else:
                rest.append(part)
        return (rest, [Condition(around(join(values)), TRUE)]) if len(values) > 1 else (parts, [])

    def _of_value(self, tree: Expression) -> tuple[str, Around] | None:
        """Return the condition on a costly value and its wrapper; None if other values occur."""
        match tree:
            case Clause():
                found = self.catalogue.find(self.text, tree.name, self.parameters)
                # IS NULL must also match where the subquery has no row.
                if not found.costly or not found.around or _is_null(tree):
                    return None
                fields.check(self.text, tree, found)
                bare = replace(found, around=None)
                return compare.condition(self.text, tree, bare, self.parameters), found.around
            case And(parts) | Or(parts) if parts:
                inside = [self._of_value(part) for part in parts]
                values = [each[0] for each in inside if each]
                if len(values) < len(parts) or not inside[0]:
                    return None
                joined = all_of if isinstance(tree, And) else any_of
                return joined(values), inside[0][1]
            case _:
                return None


def _is_null(clause: Clause) -> bool:
    return clause.operator is Operator.IS_NULL and not clause.negated


def negated(condition: Condition) -> Condition:
    """Negate a single condition; where a row could not decide it, it still cannot."""
    row = TRUE if condition.row == TRUE or condition.weak else f"NOT ({condition.row})"
    row = condition.row_not or row
    return Condition(f"NOT ({condition.whole})", row, condition.by_id)


def all_of(conditions: Iterable[str]) -> str:
    """Join with AND."""
    return _joined(conditions, " AND ", neutral=TRUE, final=FALSE)


def any_of(conditions: Iterable[str]) -> str:
    """Join with OR."""
    return _joined(conditions, " OR ", neutral=FALSE, final=TRUE)


def _joined(conditions: Iterable[str], word: str, *, neutral: str, final: str) -> str:
    parts = [each for each in dict.fromkeys(conditions) if each != neutral]
    if final in parts:
        return final
    if not parts:
        return neutral
    return parts[0] if len(parts) == 1 else "(" + word.join(f"({each})" for each in parts) + ")"
