"""Parse filters and sort keys."""

import re
from decimal import Decimal
from functools import cache
from pathlib import Path
from time import time_ns
from typing import Any, Final

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken, VisitError

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query.filter import problems, values
from otel_vtrack.query.filter.syntax import (
    DEEPEST,
    EVERYTHING,
    LONGEST,
    MOST_CLAUSES,
    MOST_VALUES,
    And,
    Clause,
    Exists,
    Expression,
    Literal,
    Name,
    Not,
    Operator,
    Or,
    Sort,
)

_QUOTED: Final = re.compile(r"'(?:''|[^'])*'|\"(?:\"\"|[^\"])*\"|`[^`]*`")
_NOT: Final = re.compile(r"\bnot\b", re.IGNORECASE)
_TRAILING_AND: Final = re.compile(r"(?<=[\s)'\"`])and\s*\Z", re.IGNORECASE)
_KEY: Final = re.compile(
    r"(?:[A-Za-z_][\w\-]*|`[^`]+`)(?:\.(?:[\w\-]+|`[^`]+`|\"[^\"]+\"))*|\"(?:\"\"|[^\"])+\""
)
_SEGMENT: Final = re.compile(r"`([^`]+)`|\"([^\"]+)\"|([\w\-]+)")

_COMPARE: Final = {
    "=": (Operator.EQUAL, False),
    "==": (Operator.EQUAL, False),
    "!=": (Operator.EQUAL, True),
    "<>": (Operator.EQUAL, True),
    ">": (Operator.GREATER, False),
    ">=": (Operator.GREATER_OR_EQUAL, False),
    "<": (Operator.LESS, False),
    "<=": (Operator.LESS_OR_EQUAL, False),
}
_OPERATORS: Final = (
    *("=", "!=", ">", ">=", "<", "<=", "IN", "NOT IN", "BETWEEN", "LIKE", "ILIKE", "RLIKE"),
    *("CONTAINS", "IS NULL", "IS NOT NULL"),
)
# Names for these operators in other languages.
_FOREIGN: Final = {
    "regexp": "RLIKE",
    "matches": "RLIKE",
    "match": "RLIKE",
    "similar": "RLIKE",
    "has": "CONTAINS",
    "includes": "CONTAINS",
    "startswith": "LIKE 'text%'",
    "endswith": "LIKE '%text'",
    "eq": "=",
    "ne": "!=",
    "gt": ">",
    "gte": ">=",
    "lt": "<",
    "lte": "<=",
}
_STRANGE: Final = {
    ";": "a filter is one condition: leave the semicolon out",
    "#": "comments are not part of the language: leave it out",
    "~": "write RLIKE for a regular expression",
    "&": "write AND",
    "|": "write OR",
    "!": "write NOT, or != to compare",
    "*": "to match part of a text, write LIKE with %",
    "'": "the quote is not closed: write two for one inside text, as in 'it''s'",
    '"': "the quote is not closed: write two for one inside text",
    "`": "the back-tick is not closed",
    "[": "lists are in parentheses, as in IN ('a', 'b')",
    "{": "placeholders are not filled in: write the value itself",
    "-": "there is no arithmetic, except after now(), as in now() - 1h",
}
_EXPECTED: Final = {
    "COMPARE": "an operator",
    "WORD_OPERATOR": "an operator",
    "IN": "an operator",
    "BETWEEN": "an operator",
    "IS": "an operator",
    "KEY": "a key",
    "SINGLE_QUOTED": "a value",
    "NUMBER": "a value",
    "DURATION": "a duration",
    "NULL": "NULL",
    "NOT": "NOT",
    "_AND": "AND",
    "_OR": "OR",
    "RPAR": ")",
    "LPAR": "(",
    "COMMA": "a comma",
    "$END": "the end",
}


def parse(text: str | None, *, now_ns: int | None = None) -> Expression:
    """Parse a filter; None or a blank text matches everything.

    Args:
        text: The filter.
        now_ns: The value of `now()`, in nanoseconds since 1970; by default the current time.

    Raises:
        InvalidArgument: The filter is invalid; the message has the position and a correction.
    """
    if text is None or not text.strip():
        return EVERYTHING
    if len(text) > LONGEST:
        raise InvalidArgument(
            f"the filter has {len(text):,} characters, the limit is {LONGEST:,}: split the query"
        )
    _refuse_depth(text)
    body = _TRAILING_AND.sub("", text)
    builder = _Builder(text, time_ns() if now_ns is None else now_ns)
    try:
        tree: Any = _lark().parse(body)
        return builder.transform(tree)
    except VisitError as error:
        if isinstance(error.orig_exc, InvalidArgument):
            raise error.orig_exc from None
        raise
    except UnexpectedInput as error:
        raise _explained(text, error) from None


@cache
def _lark() -> Lark:
    grammar = (Path(__file__).parent / "grammar.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", lexer="contextual", propagate_positions=True)


def name(written: str, offset: int = 0) -> Name:
    """Split a key at its first dot outside quotes, and remove the quotes."""
    if written.startswith('"'):
        return Name("", values.unquoted(written), written, offset)
    parts = ["".join(found) for found in _SEGMENT.findall(written)]
    entity, rest = (parts[0], parts[1:]) if len(parts) > 1 else ("", parts)
    return Name(entity, ".".join(rest), written, offset)


def sort_key(written: str) -> Name:
    """Parse a single key.

    Raises:
        InvalidArgument: It is not a key.
    """
    if not _KEY.fullmatch(written):
        raise InvalidArgument(
            f"order_by: {written[:60]!r} is not a key: write a key, with ASC or DESC after it"
        )
    return name(written)


def _refuse_depth(text: str) -> None:
    """Reject deep nesting before parsing, because the parser recurses."""
    bare = _QUOTED.sub(lambda found: "·" * len(found[0]), text)
    depth = 0
    for offset, letter in enumerate(bare):
        if letter == "(":
            depth += 1
            if depth > DEEPEST:
                raise problems.at(
                    text, offset, f"parentheses are more than {DEEPEST} deep: simplify the filter"
                )
        elif letter == ")":
            depth -= 1
    if len(_NOT.findall(bare)) > MOST_CLAUSES:
        raise InvalidArgument(f"the filter has more than {MOST_CLAUSES} NOTs: simplify it")


def _explained(text: str, error: UnexpectedInput) -> InvalidArgument:
    """Turn the parser's error into one that says what would be right."""
    if isinstance(error, UnexpectedCharacters):
        offset = error.pos_in_stream or 0
        word = re.match(r"[A-Za-z]+", text[offset:])
        wanted = "a value" if "NUMBER" in error.allowed else "a key"
        return problems.at(
            text,
            offset,
            f"expected {wanted}, not {word[0]!r}" if word else _strange(text, offset),
        )
    expected = set[str]()
    found = ""
    offset = len(text)
    if isinstance(error, UnexpectedToken):
        expected = set(error.accepts or error.expected)
        if error.token.type != "$END":
            offset = error.token.start_pos or 0
            found = str(error.token)
    if text.startswith(("--", "/*"), offset):
        return problems.at(text, offset, _strange(text, offset))
    words = dict.fromkeys(_EXPECTED[each] for each in _EXPECTED if each in expected)
    wanted = problems.listed(words) or "something else"
    if "SINGLE_QUOTED" in expected and found.lower() == "null":
        message = "write IS NULL or IS NOT NULL"
    elif "COMPARE" in expected and found and re.match(r"[A-Za-z]", found):
        foreign = _FOREIGN.get(found.lower())
        hint = f": did you mean {foreign}?" if foreign else problems.meant(found, _OPERATORS)
        message = (
            f"{found[:40]!r} is not an operator{hint or ': there are ' + ', '.join(_OPERATORS)}"
        )
    elif "SINGLE_QUOTED" in expected and re.match(r"[A-Za-z_]", found):
        message = f"expected a value: write {values_quoted(found)}, with quotes around text"
    elif found.startswith("'") and "KEY" in expected:
        message = "expected a key before the operator: the value comes after it"
    elif found:
        message = f"expected {wanted}, not {found[:40]!r}"
    else:
        message = f"the filter ends too early: expected {wanted}"
    return problems.at(text, offset, message)


def values_quoted(found: str) -> str:
    """Return a bare word as it is written as a text."""
    return "'" + found[:40].replace("'", "''") + "'"


def _strange(text: str, offset: int) -> str:
    rest = text[offset : offset + 2]
    if rest in {"--", "/*"}:
        return "comments are not part of the language: leave it out"
    hint = _STRANGE.get(rest[:1])
    if hint:
        return hint
    if rest[:1].isdigit():
        return "not a number, nor a duration such as 2s, 250ms or 1h30m; put quotes around text"
    return f"{rest[:1]!r} is not part of the language; put quotes around text"


@v_args(inline=True)
class _Builder(Transformer[Any, Any]):
    """Builds the tree of `syntax`, enforcing the limits on its size."""

    def __init__(self, text: str, now_ns: int) -> None:
        super().__init__()
        self._text = text
        self._now_ns = now_ns
        self._clauses = 0

    def start(self, inside: Expression) -> Expression:
        return inside

    def disjunction(self, *parts: Expression) -> Expression:
        return parts[0] if len(parts) == 1 else Or(parts)

    def conjunction(self, *parts: Expression) -> Expression:
        return parts[0] if len(parts) == 1 else And(parts)

    def group(self, inside: Expression) -> Expression:
        return inside

    def negated(self, _: Token, inside: Expression) -> Expression:
        return Not(inside)

    def exists_span(self, word: Token, inside: Expression) -> Expression:
        return Exists("span", inside, word.start_pos or 0)

    def exists_event(self, word: Token, inside: Expression) -> Expression:
        return Exists("event", inside, word.start_pos or 0)

    def has(self, word: Token, key: Name) -> Expression:
        return self._clause(key, Operator.IS_NULL, negated=True, at=word)

    def key(self, token: Token) -> Name:
        return name(str(token), token.start_pos or 0)

    def compare(self, key: Name, operator: Token, value: Literal) -> Expression:
        kind, negated = _COMPARE[str(operator)]
        return self._clause(key, kind, value, negated=negated, at=operator)

    def compare_text(
        self, key: Name, no: Token | None, operator: Token, value: Literal
    ) -> Expression:
        kind = Operator(str(operator).upper())
        return self._clause(key, kind, value, negated=no is not None, at=no or operator)

    def compare_list(
        self, key: Name, no: Token | None, operator: Token, *listed: Literal
    ) -> Expression:
        if len(listed) > MOST_VALUES:
            raise problems.at(
                self._text, operator.start_pos or 0, f"a list has at most {MOST_VALUES:,} values"
            )
        return self._clause(key, Operator.IN, *listed, negated=no is not None, at=no or operator)

    def compare_range(
        self, key: Name, no: Token | None, operator: Token, low: Literal, high: Literal
    ) -> Expression:
        return self._clause(
            key, Operator.BETWEEN, low, high, negated=no is not None, at=no or operator
        )

    def compare_null(self, key: Name, word: Token, no: Token | None, _: Token) -> Expression:
        return self._clause(key, Operator.IS_NULL, negated=no is not None, at=word)

    def text(self, token: Token) -> Literal:
        return Literal(Sort.TEXT, values.unquoted(str(token)), token.start_pos or 0)

    def number(self, token: Token) -> Literal:
        number = Decimal(str(token))
        if abs(number.adjusted()) > 300:
            raise problems.at(self._text, token.start_pos or 0, "the number is out of range")
        return Literal(Sort.NUMBER, number, token.start_pos or 0)

    def duration(self, token: Token) -> Literal:
        return Literal(Sort.DURATION, values.duration(str(token)), token.start_pos or 0)

    def true(self, token: Token) -> Literal:
        return Literal(Sort.BOOLEAN, True, token.start_pos or 0)

    def false(self, token: Token) -> Literal:
        return Literal(Sort.BOOLEAN, False, token.start_pos or 0)

    def now(self, token: Token, sign: Token | None = None, length: Token | None = None) -> Literal:
        at = self._now_ns
        if sign is not None and length is not None:
            distance = values.duration(str(length))
            at = at - distance if sign == "-" else at + distance
        return Literal(Sort.TIME, values.clamped(at), token.start_pos or 0)

    def _clause(
        self, key: Name, operator: Operator, *listed: Literal, negated: bool, at: Token
    ) -> Clause:
        self._clauses += 1
        if self._clauses > MOST_CLAUSES:
            raise problems.at(
                self._text, key.at, f"a filter has at most {MOST_CLAUSES} clauses: simplify it"
            )
        return Clause(key, operator, negated, listed, at.start_pos or 0)
