"""Generate the SQL of single comparisons; every condition is true or false, never NULL."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query.filter import fields, problems, values
from otel_vtrack.query.filter.fields import Field, Kind, Parameters
from otel_vtrack.query.filter.syntax import LONGEST_PATTERN, Clause, Literal, Operator, Sort

_ORDER: Final = {
    Operator.EQUAL: "=",
    Operator.GREATER: ">",
    Operator.GREATER_OR_EQUAL: ">=",
    Operator.LESS: "<",
    Operator.LESS_OR_EQUAL: "<=",
}
_PATTERNS: Final = frozenset({Operator.LIKE, Operator.ILIKE, Operator.RLIKE, Operator.CONTAINS})
_EXACT: Final = 1 << 53
_LONGEST_WHOLE: Final = 1 << 127
_MILLISECOND: Final = 1_000_000
# Perl features that RE2 lacks because their running time is unbounded.
_UNBOUNDED: Final = re.compile(r"\(\?(?:<?[=!]|>|P=|\(|[R&|#])|\\[1-9gk]|[*+?}]\+")
_REPEATS: Final = re.compile(r"\{(\d+)(?:,(\d*))?\}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?")
_MOST_REPEATS: Final = 1_000


@dataclass(frozen=True, slots=True)
class _About:
    """A comparison to compile."""

    text: str
    clause: Clause
    field: Field
    parameters: Parameters

    def wrong(self, literal: Literal, wanted: str, instead: str = "") -> InvalidArgument:
        """Make the error for a value of the wrong kind, with an optional hint."""
        name, word = self.clause.name.written[:60], self.clause.spelled
        message = f"{name} {word} takes {wanted}, not {literal.sort.value}{instead}"
        return problems.at(self.text, literal.at, message)


def condition(text: str, clause: Clause, field: Field, parameters: Parameters) -> str:
    """Return the condition that a clause puts on a field.

    Args:
        text: The whole filter, for error messages.
        clause: The clause; its operator has already been checked against the field.
        field: The field that the key refers to.
        parameters: Receives the values.

    Raises:
        InvalidArgument: A value is of the wrong kind, or a pattern is invalid.
    """
    around = field.around or str
    if clause.operator is Operator.IS_NULL:
        there = around(field.exists or field.present or "1")
        return there if clause.negated else f"NOT ({there})"
    compared = _comparison(_About(text, clause, field, parameters))
    if clause.negated and field.kind is Kind.FULL_TEXT:
        return f"NOT ({around(compared)})"  # Means that no text matches.
    if clause.negated:
        compared = f"NOT ({compared})"
    if field.present and (clause.negated or not _tells_presence(clause)):
        compared = f"{field.present} AND {compared}"
    return around(compared)


def _tells_presence(clause: Clause) -> bool:
    """Whether only a present value can match; an absent one reads as an empty text."""
    return clause.operator in {Operator.EQUAL, Operator.IN} and all(
        each.sort is Sort.TEXT and each.value != "" for each in clause.values
    )


def _comparison(about: _About) -> str:
    clause, field, text = about.clause, about.field, about.text
    if clause.operator in _PATTERNS:
        return _pattern(about)
    compare = _BY_KIND[field.kind]

    def one(operator: Operator, literal: Literal) -> str:
        if field.choices and literal.value not in field.choices:
            raise problems.at(
                text,
                literal.at,
                f"{clause.name.written} must be {problems.listed(map(repr, field.choices))}"
                + (
                    problems.meant(literal.value, field.choices)
                    if isinstance(literal.value, str)
                    else ""
                ),
            )
        return compare(about, operator, literal)

    if clause.operator is Operator.IN:
        return _any_of(about, one)
    if clause.operator is Operator.BETWEEN:
        low, high = clause.values
        return f"({one(Operator.GREATER_OR_EQUAL, low)} AND {one(Operator.LESS_OR_EQUAL, high)})"
    return one(clause.operator, clause.values[0])


def _any_of(about: _About, one: Callable[[Operator, Literal], str]) -> str:
    clause, field = about.clause, about.field
    # All texts form one IN set; other values are compared one by one.
    together = field.kind in {Kind.TEXT, Kind.ANY} and not field.choices
    texts = [each for each in clause.values if together and each.sort is Sort.TEXT]
    parts = [one(Operator.EQUAL, each) for each in clause.values if each not in texts]
    if texts:
        listed = ", ".join(about.parameters.text(str(each.value)) for each in texts)
        parts.append(f"{field.sql} IN ({listed})")
    return f"({' OR '.join(dict.fromkeys(parts))})"


def _pattern(about: _About) -> str:
    text, clause, field, parameters = about.text, about.clause, about.field, about.parameters
    [literal] = clause.values
    if literal.sort is not Sort.TEXT:
        raise about.wrong(literal, "text in quotes")
    pattern = str(literal.value)
    if len(pattern) > LONGEST_PATTERN:
        raise problems.at(text, literal.at, f"a pattern has at most {LONGEST_PATTERN:,} characters")
    value = field.sql
    if field.kind is Kind.ID:
        value = f"lower(hex({field.sql}))"
        pattern = pattern.removeprefix("tr-")
    if clause.operator is Operator.CONTAINS:
        return f"position({value}, {parameters.text(pattern)}) > 0"
    if clause.operator is Operator.RLIKE:
        _check_regex(text, literal, pattern)
        return f"match({value}, {parameters.text(pattern)})"
    word = clause.operator.value
    return f"{value} {word} {parameters.text(_like(pattern))}"


def _like(pattern: str) -> str:
    r"""Escape each backslash that does not precede `%`, `_` or a backslash."""
    return re.sub(r"\\(?![%_\\])|\\([%_\\])", lambda m: m[0] if m[1] else r"\\", pattern)


def _check_regex(text: str, literal: Literal, pattern: str) -> None:
    """Reject patterns that RE2 rejects, as far as possible; the engine decides in the end."""
    found = _UNBOUNDED.search(pattern)
    if found:
        raise problems.at(
            text,
            literal.at,
            f"RLIKE does not take {found[0]!r}: expressions are those of RE2, without look-around,"
            " back-references and possessive repeats",
        )
    for repeat in _REPEATS.finditer(pattern):
        if any(int(number) > _MOST_REPEATS for number in repeat.groups() if number):
            raise problems.at(
                text, literal.at, f"RLIKE repeats at most {_MOST_REPEATS:,} times: {repeat[0]}"
            )
    try:
        re.compile(pattern if not re.search(r"\\[pPzQECx]|\[\[:|\(\?[A-Za-z-]*U", pattern) else "")
    except re.error as error:
        raise problems.at(
            text, literal.at, f"RLIKE: not a regular expression: {error.msg}"
        ) from None
    except (OverflowError, RecursionError):
        raise problems.at(text, literal.at, "RLIKE: the expression is nested too deeply") from None


def _text(about: _About, operator: Operator, literal: Literal) -> str:
    if literal.sort is not Sort.TEXT:
        raise about.wrong(literal, "text in quotes")
    return f"{about.field.sql} {_ORDER[operator]} {about.parameters.text(str(literal.value))}"


def _id(about: _About, operator: Operator, literal: Literal) -> str:
    if literal.sort is not Sort.TEXT:
        raise about.wrong(literal, "text in quotes")
    digits = str(literal.value).removeprefix("tr-").lower()
    if len(digits) != about.field.digits or not set(digits) <= set("0123456789abcdef"):
        return "0"  # No ID has this form.
    sized = f"toFixedString(unhex({about.parameters.text(digits)}), {about.field.digits // 2})"
    return f"{about.field.sql} {_ORDER[operator]} {sized}"


def _number(about: _About, operator: Operator, literal: Literal) -> str:
    if literal.sort is not Sort.NUMBER:
        raise about.wrong(literal, "a number")
    return f"ifNull({about.field.sql} {_ORDER[operator]} {_number_of(about, literal)}, 0)"


def _number_of(about: _About, literal: Literal) -> str:
    """Return the SQL of a number; a whole one too large for an exact double stays an integer."""
    assert isinstance(literal.value, Decimal)  # noqa: S101 - the parser's promise
    if _is_whole(literal.value) and _EXACT <= abs(literal.value) < _LONGEST_WHOLE:
        return f"toInt128({about.parameters.text(str(int(literal.value)))})"
    return f"toFloat64({about.parameters.text(_written(literal))})"


def _is_whole(number: Decimal) -> bool:
    return number == number.to_integral_value()


def _written(literal: Literal) -> str:
    assert isinstance(literal.value, Decimal)  # noqa: S101 - the parser's promise
    return repr(float(literal.value))


def _duration(about: _About, operator: Operator, literal: Literal) -> str:
    if literal.sort is Sort.DURATION:
        return _nanoseconds(about.field.sql, operator, int(literal.value), about.parameters)
    if literal.sort is Sort.NUMBER:
        return _milliseconds(about.field.sql, operator, literal, about.parameters)
    raise about.wrong(literal, "a duration such as 2s or 250ms, or milliseconds")


def _time(about: _About, operator: Operator, literal: Literal) -> str:
    moment: int | None = None
    if literal.sort is Sort.TIME:
        moment = int(literal.value)
    elif literal.sort is Sort.TEXT:
        moment = values.moment(str(literal.value))
    elif literal.sort is Sort.NUMBER:
        if operator is Operator.EQUAL:
            nanoseconds = f"toUnixTimestamp64Nano({about.field.sql})"
            return _milliseconds(nanoseconds, operator, literal, about.parameters)
        moment = _from_milliseconds(literal)
    if moment is None:
        wanted = "a time: now() - 1h, '2026-01-31T12:00:00Z', or milliseconds since 1970"
        raise about.wrong(literal, wanted)
    at = f"fromUnixTimestamp64Nano(toInt64({about.parameters.text(str(moment))}), 'UTC')"
    return f"{about.field.sql} {_ORDER[operator]} {at}"


def _from_milliseconds(literal: Literal) -> int:
    assert isinstance(literal.value, Decimal)  # noqa: S101 - the parser's promise
    return values.clamped(literal.value * _MILLISECOND)


def _milliseconds(sql: str, operator: Operator, literal: Literal, parameters: Parameters) -> str:
    """Compare with milliseconds; equality with a whole number matches that entire millisecond."""
    number = _from_milliseconds(literal)
    if operator is Operator.EQUAL and number % _MILLISECOND == 0:
        end = parameters.text(str(values.clamped(number + _MILLISECOND - 1)))
        start = parameters.text(str(number))
        return f"({sql} >= toInt64({start}) AND {sql} <= toInt64({end}))"
    return _nanoseconds(sql, operator, number, parameters)


def _nanoseconds(sql: str, operator: Operator, number: int, parameters: Parameters) -> str:
    return f"{sql} {_ORDER[operator]} toInt64({parameters.text(str(number))})"


def _boolean(about: _About, operator: Operator, literal: Literal) -> str:
    wanted = literal.value
    if literal.sort is Sort.TEXT and str(wanted).lower() in {"true", "false"}:
        wanted = str(wanted).lower() == "true"
    elif literal.sort is not Sort.BOOLEAN:
        raise about.wrong(literal, "true or false")
    return f"{about.field.sql} {_ORDER[operator]} {int(bool(wanted))}"


def _any(about: _About, operator: Operator, literal: Literal) -> str:
    if literal.sort is Sort.NUMBER:
        assert isinstance(literal.value, Decimal)  # noqa: S101 - the parser's promise
        whole = _is_whole(literal.value)
        if operator is Operator.EQUAL and whole and abs(literal.value) > _EXACT:
            # A double cannot tell such numbers apart.
            return f"{about.field.sql} = {about.parameters.text(str(int(literal.value)))}"
        number = f"toFloat64({about.parameters.text(_written(literal))})"
        value = about.field.number or f"toFloat64OrNull({about.field.sql})"
        compared = f"ifNull({value} {_ORDER[operator]} {number}, 0)"
        if whole and _EXACT <= abs(literal.value) < _LONGEST_WHOLE and not about.field.number:
            exact = f"toInt128({about.parameters.text(str(int(literal.value)))})"
            of_whole = f"toInt128OrNull({about.field.sql}) {_ORDER[operator]} {exact}"
            return f"ifNull({of_whole}, {compared})"
        return compared
    if operator is not Operator.EQUAL:
        raise about.wrong(literal, "a number", _instead_of_order(literal))
    if literal.sort is Sort.TEXT:
        return f"{about.field.sql} = {about.parameters.text(str(literal.value))}"
    if literal.sort is Sort.BOOLEAN:
        return f"{about.field.sql} = {about.parameters.text('true' if literal.value else 'false')}"
    raise about.wrong(literal, "text, a number, true or false")


def _instead_of_order(literal: Literal) -> str:
    if literal.sort is not Sort.TEXT:
        return ""
    if _NUMBER.fullmatch(str(literal.value)):
        return f": write {literal.value} without quotes"
    return f": {fields.NO_ORDER}"


_BY_KIND: Final = {
    Kind.TEXT: _text,
    Kind.ID: _id,
    Kind.FULL_TEXT: _text,
    Kind.NUMBER: _number,
    Kind.DURATION: _duration,
    Kind.TIME: _time,
    Kind.BOOLEAN: _boolean,
    Kind.ANY: _any,
}
