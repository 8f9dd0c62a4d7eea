from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query.filter import compile_assessments, compile_versions
from otel_vtrack.query.filter.parser import parse
from otel_vtrack.query.filter.syntax import (
    EVERYTHING,
    And,
    Clause,
    Exists,
    Literal,
    Name,
    Not,
    Operator,
    Or,
    Sort,
)

NOW = 1_790_000_000_000_000_000


def clause(text):
    found = parse(text, now_ns=NOW)
    assert isinstance(found, Clause)
    return found


@pytest.mark.parametrize("text", [None, "", " ", "\n\t"])
def test_nothing_stands_for_everything(text):
    assert parse(text) == EVERYTHING


@pytest.mark.parametrize(
    ("text", "entity", "key"),
    [
        ("name", "", "name"),
        ("tag.a", "tag", "a"),
        ("tag.a.b.c", "tag", "a.b.c"),
        ("tag.`a.b`", "tag", "a.b"),
        ('tag."a.b"', "tag", "a.b"),
        ("tag.`a b'c`", "tag", "a b'c"),
        ("tags.my-key", "tags", "my-key"),
        ("tag.in", "tag", "in"),
        ("tag.0", "tag", "0"),
        ("span.attributes.gen_ai.prompt.0.content", "span", "attributes.gen_ai.prompt.0.content"),
        ("span.attributes.`x y`", "span", "attributes.x y"),
        ("span.`attributes.x`", "span", "attributes.x"),
        ("`tag`.x", "tag", "x"),
        ("`name`", "", "name"),
        ('"name"', "", "name"),
        ("android", "", "android"),
        ("notes", "", "notes"),
    ],
)
def test_a_key_is_split_at_its_first_dot(text, entity, key):
    assert clause(f"{text} = 'x'").name == Name(entity, key, text, 0)


@pytest.mark.parametrize(
    ("text", "sort", "value"),
    [
        ("'x'", Sort.TEXT, "x"),
        ('"x"', Sort.TEXT, "x"),
        ("''", Sort.TEXT, ""),
        ("'it''s'", Sort.TEXT, "it's"),
        ("'a\"b'", Sort.TEXT, 'a"b'),
        ("'a\\'", Sort.TEXT, "a\\"),
        ("' AND '", Sort.TEXT, " AND "),
        ("5", Sort.NUMBER, Decimal(5)),
        ("-0.5", Sort.NUMBER, Decimal("-0.5")),
        (".5", Sort.NUMBER, Decimal("0.5")),
        ("1e3", Sort.NUMBER, Decimal(1000)),
        ("2s", Sort.DURATION, 2_000_000_000),
        ("250ms", Sort.DURATION, 250_000_000),
        ("1h30m", Sort.DURATION, 5_400_000_000_000),
        ("0.5us", Sort.DURATION, 500),
        ("-1d", Sort.DURATION, -86_400_000_000_000),
        ("999999999w", Sort.DURATION, 2**63 - 1),
        ("true", Sort.BOOLEAN, True),
        ("FALSE", Sort.BOOLEAN, False),
        ("now()", Sort.TIME, NOW),
        ("NOW( ) - 1h", Sort.TIME, NOW - 3_600_000_000_000),
        ("now()+1ms", Sort.TIME, NOW + 1_000_000),
    ],
)
def test_values(text, sort, value):
    [literal] = clause(f"a = {text}").values
    assert literal == Literal(sort, value, 4)


@pytest.mark.parametrize(
    ("text", "operator", "negated"),
    [
        ("a = 1", "=", False),
        ("a == 1", "=", False),
        ("a != 1", "=", True),
        ("a <> 1", "=", True),
        ("a>=1", ">=", False),
        ("a lIkE 'x'", "LIKE", False),
        ("a NOT ILIKE 'x'", "ILIKE", True),
        ("a not rlike 'x'", "RLIKE", True),
        ("a contains 'x'", "CONTAINS", False),
        ("a IN (1)", "IN", False),
        ("a NOT IN (1, 'b', 2s)", "IN", True),
        ("a BETWEEN 1 AND 2", "BETWEEN", False),
        ("a not between 1 and 2", "BETWEEN", True),
        ("a IS NULL", "IS NULL", False),
        ("a is not null", "IS NULL", True),
        ("has(a)", "IS NULL", True),
    ],
)
def test_operators_are_known_in_any_case(text, operator, negated):
    found = clause(text)
    assert (found.operator, found.negated) == (Operator(operator), negated)


def shape(tree):
    match tree:
        case Clause():
            return tree.name.key
        case Not(inside):
            return ("not", shape(inside))
        case Exists(what, inside, _):
            return (what, shape(inside))
        case And(parts) | Or(parts):
            return (type(tree).__name__.lower(), *map(shape, parts))


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a=1 AND b=1 AND c=1", ("and", "a", "b", "c")),
        ("a=1 OR b=1 AND c=1", ("or", "a", ("and", "b", "c"))),
        ("(a=1 OR b=1) AND c=1", ("and", ("or", "a", "b"), "c")),
        ("NOT a=1 AND b=1", ("and", ("not", "a"), "b")),
        ("not not a=1", ("not", ("not", "a"))),
        ("NOT (a=1 or b=1)", ("not", ("or", "a", "b"))),
        ("exists span (a=1 and b=2)", ("span", ("and", "a", "b"))),
        ("EXISTS  EVENT(a=1)", ("event", "a")),
        ("a BETWEEN 1 AND 2 AND b=1", ("and", "a", "b")),
        ("a=1 AND", "a"),
        ("a='x' and b='y' AND  ", ("and", "a", "b")),
    ],
)
def test_and_binds_more_than_or_and_less_than_not(text, tree):
    assert shape(parse(text)) == tree


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("name = x", 8, "write 'x', with quotes"),
        ("name REGEXP 'x'", 6, "did you mean RLIKE?"),
        ("name LKE 'x'", 6, "did you mean LIKE"),
        ("name = 'x", 8, "the quote is not closed"),
        ("name = null", 8, "IS NULL"),
        ("name", 5, "ends too early"),
        ("'a' = name", 1, "expected a key"),
        ("a = 'b'; DROP TABLE spans", 8, "leave the semicolon out"),
        ("a = 1 -- x", 7, "comments"),
        ("/* x */ a = 1", 1, "comments"),
        ("a = 5x", 5, "not a number"),
        ("a = 1 b = 2", 7, "expected AND, OR or the end"),
        ("a IN ()", 7, "expected a value"),
        ("a = 1e999", 5, "out of range"),
        ("a = 1 && b = 2", 7, "write AND"),
        ("AND", 1, "expected a key"),
        ("a = 1 AND OR", 11, "expected a key"),
        ("a =~ 'x'", 4, "RLIKE"),
    ],
)
def test_an_error_has_its_place_and_what_would_be_right(text, place, said):
    with pytest.raises(InvalidArgument) as caught:
        parse(text)
    message = str(caught.value)
    assert f"line 1, column {place}:" in message
    assert said in message
    _, shown, caret = message.split("\n")
    assert (shown, caret) == (f"  {text}", " " * (place + 1) + "^")


def test_an_error_on_a_later_line_shows_that_line():
    with pytest.raises(InvalidArgument) as caught:
        parse("a = 1 AND\n  b ! 2 AND\nc = 1")
    assert str(caught.value).split("\n")[0].startswith("filter, line 2, column 5: ")
    assert str(caught.value).split("\n")[1:] == ["    b ! 2 AND", "      ^"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = '" + "x" * 10_000 + "'", "limit is 10,000"),
        ("(" * 51 + "a = 1" + ")" * 51, "50 deep"),
        ("NOT " * 201 + "a = 1", "NOT"),
        (" AND ".join(["a=1"] * 201), "200 clauses"),
        (f"a IN ({','.join(['1'] * 1001)})", "1,000 values"),
    ],
)
def test_what_is_too_large_is_refused(text, said):
    with pytest.raises(InvalidArgument, match=said):
        parse(text)


def test_the_largest_that_is_taken():
    parse("(" * 50 + "a = 1" + ")" * 50)
    parse("NOT " * 200 + "a = 1")
    parse(" OR ".join(["a=1"] * 200))
    parse(f"a IN ({','.join(['1'] * 1000)})")


PIECES = st.sampled_from(
    [
        *("(", ")", "a", "tag.", "`", '"', "'", "=", "!=", "IN", "NOT", "AND", "OR", "LIKE"),
        *("1", "2s", "now()", "-", "has", "BETWEEN", "IS", "NULL", ";", "--", "\\", "\x00", "é"),
        *("%", "{p0:String}", "version", "value", "flag.x", ",", ".", "exists", "span"),
    ]
)


@given(st.one_of(st.text(), st.lists(PIECES, max_size=12).map(" ".join)))
def test_garbage_is_refused_and_never_crashes(text):
    for compile_ in (compile_versions, compile_assessments):
        with suppress(InvalidArgument):
            compile_(text)


@given(st.text(max_size=50))
def test_any_text_can_be_quoted(text):
    for quote in "'\"":
        [literal] = clause(f"a = {quote}{text.replace(quote, quote * 2)}{quote}").values
        assert literal.value == text


def test_only_bound_texts_reach_the_sql():
    hostile = "x' OR 1 = 1 --"
    quoted = hostile.replace("'", "''")
    found = compile_versions(f"version = '{quoted}' AND flag.`{hostile}` LIKE '%{quoted}%'")
    assert hostile not in found.where
    assert set(found.parameters.values()) == {hostile, f"%{hostile}%"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("verson = 'x'", "did you mean version"),
        ("mane = 'x'", "did you mean name?"),
        ("trace_count = 'x'", "takes a number, not text"),
        ("version > '2'", "does not take >: it takes =, IN, LIKE, ILIKE, RLIKE, CONTAINS"),
        ("version BETWEEN '1.9' AND '1.10'", "list the values with IN, or match them with LIKE"),
        ("version = 2", "takes text in quotes"),
        ("experiment IS NULL", "always has a value"),
        ("foo.x = 1", "no key 'foo.x'"),
        ("exists span (name = 'x')", "no spans to search"),
        ("last_seen > 'yesterday'", "takes a time"),
        ("last_seen > '2026-13-01'", "takes a time"),
        ("environment = 'a' OR trace_count > 1", "by AND only"),
        ("version RLIKE '(?=x)'", "look-around"),
        ("version RLIKE '(a)\\1'", "back-references"),
        ("version RLIKE '('", "not a regular expression"),
        ("version RLIKE 'a{5000}'", "repeats"),
        ("version RLIKE '" + "a" * 1001 + "'", "1,000 characters"),
    ],
)
def test_versions_say_what_they_do_not_take(text, said):
    with pytest.raises(InvalidArgument) as caught:
        compile_versions(text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("value", "said"),
    [("'0.5'", "a number, not text: write 0.5 without quotes"), ("'b'", "with IN, or match")],
)
def test_comparisons_with_texts_say_what_to_write_instead(value, said):
    with pytest.raises(InvalidArgument, match=said):
        compile_assessments(f"value > {value}")


def test_conditions_on_places_are_apart():
    found = compile_versions("environment = 'a' AND trace_count > 1 AND NOT deployment = 'd'")
    assert "environment" in found.places
    assert "deployment_id" in found.places
    assert found.where == "ifNull(v.trace_count > toFloat64({p1:String}), 0)"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (["version", "name DESC"], "appears twice"),
        (["nothing"], r"^order_by, line 1, column 1: .* no key"),
        (["alias"], "many values"),
        (["version DESC, name"], "not a key"),
        ([""], "not a key"),
        (["version"] * 9, "8 keys"),
    ],
)
def test_an_order_that_is_none_is_refused(keys, said):
    with pytest.raises(InvalidArgument, match=said):
        compile_versions("", keys)
