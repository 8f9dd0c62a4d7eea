"""Every operator on every key of spans, events, assessments and versions; traces are elsewhere.

Each is asked of three things, whose values stand here once more, and a plain evaluator in Python
says which of them it finds.
"""

import datetime as dt
import re

import pytest

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import versions
from otel_vtrack.query.assessments import AssessmentType, SourceType
from otel_vtrack.query.filter import (
    assessments,
    compile_assessments,
    compile_spans,
    compile_versions,
    spans,
)
from otel_vtrack.query.filter import versions as version_keys
from otel_vtrack.record import assessments as judged
from otel_vtrack.record import versions as noted

START = 1_790_000_000_000_000_000
MS = 1_000_000
SAME = ["=", "!=", "==", "<>", "IN", "NOT IN"]
PATTERNS = ["LIKE", "NOT LIKE", "ILIKE", "NOT ILIKE", "CONTAINS", "NOT CONTAINS"]
MATCHES = ["RLIKE", "NOT RLIKE"]
ORDERS = [">", ">=", "<", "<=", "BETWEEN", "NOT BETWEEN"]
OPERATORS = [*SAME, *PATTERNS, *MATCHES, *ORDERS, "IS NULL", "IS NOT NULL"]
TAKES = {
    "text": [*SAME, *PATTERNS, *MATCHES],
    "id": [*SAME, *PATTERNS, *MATCHES],
    "choice": SAME,
    "long": PATTERNS,
    "number": [*SAME, *ORDERS],
    "duration": [*SAME, *ORDERS],
    "time": [*SAME, *ORDERS],
    "boolean": SAME,
}
TAKES["any"] = [*TAKES["text"], *ORDERS]


def hex_of(number, digits=32):
    return f"{number:0{digits}x}"


def written(kind, value):
    if kind == "time":
        seconds, nanos = divmod(value, 10**9)
        return (
            f"'{dt.datetime.fromtimestamp(seconds, dt.timezone.utc):%Y-%m-%dT%H:%M:%S}.{nanos:09}Z'"
        )
    if kind == "duration":
        return f"{value}ns"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else f"'{value}'"


def pattern_of(text, operator):
    """A pattern that a text matches: of its middle, in another case where that does not matter."""
    inner = text[1:4]
    if operator == "RLIKE":
        return f"^.{re.escape(inner)}"
    if operator == "CONTAINS":
        return inner
    inner = "".join(f"\\{letter}" if letter in "%_\\" else letter for letter in inner)
    return f"_{inner.swapcase() if operator == 'ILIKE' else inner}%"


def matches(operator, text, pattern_from):
    inner = pattern_from[1:4]
    if operator == "CONTAINS":
        return inner in text
    start = text[1:4]
    return start.lower() == inner.lower() if operator == "ILIKE" else start == inner


COMPARE = {
    "=": lambda mine, other: mine == other,
    ">": lambda mine, other: mine > other,
    ">=": lambda mine, other: mine >= other,
    "<": lambda mine, other: mine < other,
    "<=": lambda mine, other: mine <= other,
}
ALSO = {"==": "=", "<>": "!=", "!=": "NOT ="}


def ask(key, kind, operator, value):
    """Write a condition, and return it with what says whether it holds for a value."""
    plain = ALSO.get(operator, operator)
    plain = ALSO.get(plain, plain)
    negated, plain = plain.startswith("NOT "), plain.removeprefix("NOT ")
    if plain in {"LIKE", "ILIKE", "RLIKE", "CONTAINS"}:
        text = f"{key} {operator} '{pattern_of(value, plain)}'"
        return text, lambda mine: matches(plain, mine, value) is not negated
    if plain == "IN":
        text = f"{key} {operator} ({written(kind, value)}, {written(kind, value)})"
        return text, lambda mine: (mine == value) is not negated
    if plain == "BETWEEN":
        text = f"{key} {operator} {written(kind, value)} AND {written(kind, value)}"
        return text, lambda mine: (mine == value) is not negated
    text = f"{key} {operator} {written(kind, value)}"
    return text, lambda mine: COMPARE[plain](mine, value) is not negated


def conditions(key, kind, values):
    """Yield every condition on a key, and which of the values it finds: numbers from 0."""
    optional, kind = kind.endswith("?"), kind.removesuffix("?")
    several = [value if isinstance(value, list) else [value] for value in values]
    several = [[each for each in some if each is not None] for some in several]
    if optional:
        there = {at for at, some in enumerate(several) if some}
        yield f"{key} IS NOT NULL", there
        yield f"{key} IS NULL", set(range(len(values))) - there
    for value in dict.fromkeys(each for some in several for each in some):
        for operator in TAKES[kind]:
            if kind == "any" and not for_any(operator, value):
                continue
            text, holds = ask(key, kind, operator, value)
            if kind == "long" and operator.startswith("NOT"):
                # Of many texts none is like that.
                yield text, {at for at, some in enumerate(several) if all(map(holds, some))}
                continue
            seen = [[as_asked(kind, operator, each, value) for each in some] for some in several]
            yield (
                text,
                {
                    at
                    for at, some in enumerate(seen)
                    if any(holds(each) for each in some if each is not None)
                },
            )


def for_any(operator, value):
    """Say whether a value of any kind is compared so with one of this kind."""
    if operator in ORDERS:
        return not isinstance(value, str)
    return isinstance(value, str) or operator in SAME


def as_asked(kind, operator, mine, value):
    """Return a value as it is compared; None where it cannot be."""
    if kind != "any":
        return mine
    if operator in {*PATTERNS, *MATCHES}:
        return str(mine)
    if isinstance(mine, str) is isinstance(value, str):
        return mine
    return "another kind" if operator in {"!=", "<>", "NOT IN", "NOT BETWEEN"} else None


def refused(key, kind, values):
    """Yield the conditions that a key does not take."""
    optional, kind = kind.endswith("?"), kind.removesuffix("?")
    flat = [each for it in values for each in (it if isinstance(it, list) else [it])]
    literal = written(kind, next(each for each in flat if each is not None))
    for operator in OPERATORS:
        if operator.startswith("IS"):
            if not optional:
                yield f"{key} {operator}"
        elif operator not in TAKES[kind] and kind != "choice":
            given = f"({literal})" if operator.endswith("IN") else literal
            yield f"{key} {operator} {given}" + f" AND {literal}" * operator.endswith("BETWEEN")


def check(table, compiled, find):
    """Ask everything, `find` many texts at once, and compare; of other names of a key one thing."""
    wanted = {}
    for names, kind, *values in table:
        key, *others = names.split()
        for text in refused(key, kind, values):
            with pytest.raises(InvalidArgument, match=r"takes|has a value") as caught:
                compiled(text)
            assert "^" in str(caught.value), text
        asked = dict(conditions(key, kind, values))
        assert any(asked.values()), key
        wanted |= asked
        text, expected = next(iter(asked.items()))
        wanted |= {other + text.removeprefix(key): expected for other in others}
    found = dict(zip(wanted, find(list(wanted)), strict=True))
    wrong = {text for text in wanted if found[text] != wanted[text]}
    assert {text: found[text] for text in wrong} == {text: wanted[text] for text in wrong}


def at_once(compiled, texts):
    """Make one list in SQL of many conditions, and what is bound in them."""
    held, parameters = [], {}
    for number, text in enumerate(texts):
        one = compiled(text)
        parameters |= {f"{name}_{number}": value for name, value in one.parameters.items()}
        held.append(re.sub(r"\{(p\d+):", rf"{{\1_{number}:", f"({one.where})"))
    return f"[{', '.join(held)}]", parameters


def found_by(ask_many, compiled):
    """Find what each of many conditions holds for; `ask_many` gives names, and what held."""

    def find(texts):
        found = []
        for first in range(0, len(texts), 60):
            some = texts[first : first + 60]
            rows = ask_many(*at_once(compiled, some))
            found += [
                {int(name) for name, held in rows if held[number]} for number in range(len(some))
            ]
        return found

    return find


def rows_of(store, source, name_of):
    def ask_many(held, parameters):
        statement = f"SELECT {name_of} AS name, {held} AS held FROM {source}"
        return [(row["name"], row["held"]) for row in store.select(statement, parameters)]

    return ask_many


PLACE = [
    {
        "service.name": "shop",
        "service.version": "1.0",
        "deployment.environment.name": "production",
        "deployment.id": "d-10",
        "vcs.ref.head.revision": "abcdef",
        "vcs.ref.head.name": "main",
        "vtrack.vcs.dirty": "true",
        "vcs.repository.url.full": "https://example.test/shop",
        "host.name": "host",
        "vtrack.experiment": "first",
    },
    {"service.name": "stock", "service.version": "2.0", "vtrack.experiment": "second"},
    {},
]
SPANS = [
    {
        "name": "ask",
        "kind": 2,
        "ms": 40,
        "status": 2,
        "message": "it broke",
        "attributes": {
            "gen_ai.operation.name": "chat",
            "gen_ai.usage.input_tokens": 10,
            "gen_ai.usage.output_tokens": 5,
            "gen_ai.usage.cache_read.input_tokens": 4,
            "gen_ai.usage.cache_creation.input_tokens": 3,
            "gen_ai.usage.cost": 0.25,
            "session.id": "s-100",
            "user.id": "u-100",
            "input.value": "Where is it?",
            "vtrack.flag.ui": "on-100",
            "size": 12,
        },
    },
    {"name": "find", "kind": 3, "ms": 7, "at": 5, "parent": 9, "attributes": {"size": "12 GB"}},
    {"name": "other", "ms": 90, "at": 9},
]
SPAN_TABLE = [
    ("trace_id request_id span.trace_id", "id", *map(hex_of, (1, 2, 3))),
    ("span_id", "id", *(hex_of(n, 8) * 2 for n in (1, 2, 3))),
    ("parent_span_id parent_id", "id?", None, hex_of(9, 8) * 2, None),
    ("name span.name", "text?", "ask", "find", "other"),
    ("type", "text?", "CHAT_MODEL", None, None),
    ("kind", "text?", "SERVER", "CLIENT", None),
    ("status", "choice", "ERROR", "UNSET", "UNSET"),
    ("status_message", "text?", "it broke", None, None),
    ("duration execution_time span.duration", "duration", 40 * MS, 7 * MS, 90 * MS),
    ("start_time timestamp", "time", START, START + 5 * MS, START + 9 * MS),
    ("experiment experiment_id", "text", "first", "second", "unknown_service"),
    ("service_name service", "text?", "shop", "stock", None),
    ("version app_version", "text?", "1.0", "2.0", None),
    ("environment", "text?", "production", None, None),
    ("deployment_id deployment", "text?", "d-10", None, None),
    ("git_commit commit", "text?", "abcdef", None, None),
    ("git_branch branch", "text?", "main", None, None),
    ("git_dirty dirty", "text?", "true", None, None),
    ("repository_url repository", "text?", "https://example.test/shop", None, None),
    ("session_id session", "text?", "s-100", None, None),
    ("user_id user", "text?", "u-100", None, None),
    ("scope_name scope", "text?", "test", "test", "test"),
    ("input_tokens", "number?", 10, None, None),
    ("output_tokens", "number?", 5, None, None),
    ("total_tokens tokens", "number?", 15, None, None),
    ("cache_read_input_tokens", "number?", 4, None, None),
    ("cache_creation_input_tokens", "number?", 3, None, None),
    ("cost total_cost span.cost", "number?", 0.25, None, None),
    ("text", "long?", "Where is it?", None, None),
    ("attributes.size span.attributes.size", "any?", 12, "12 GB", None),
    ("flag.ui", "any?", "on-100", None, None),
    ("resource.host.name", "any?", "host", None, None),
    ("event.name", "text", ["thrown", "again"], "quiet 2", "quiet 3"),
    ("event.time", "time", [START, START + MS], START + 2 * MS, START + 3 * MS),
    ("event.attributes.reason", "any?", ["late", 7], None, None),
]


def test_spans_and_their_events(store, writer, make_spans):
    for number, (fields, place) in enumerate(zip(SPANS, PLACE, strict=True), 1):
        named = {name.replace(".", "__"): value for name, value in place.items()}
        request = make_spans(
            fields | {"trace": number, "span": number}, **{"service__name": ""} | named
        )
        events = request.resource_spans[0].scope_spans[0].spans[0].events
        if number == 1:
            thrown = events.add(name="thrown", time_unix_nano=START)
            thrown.attributes.add(key="reason").value.string_value = "late"
            again = events.add(name="again", time_unix_nano=START + MS)
            again.attributes.add(key="reason").value.int_value = 7
        else:
            events.add(name=f"quiet {number}", time_unix_nano=START + number * MS)
        writer.write_traces(request.SerializeToString())

    def compiled(text):
        return compile_spans(text, priced=list)

    asked = {name for names, *_ in SPAN_TABLE for name in names.split()}
    assert {*spans.CATALOGUE.keys, *spans.catalogue(list).made} - asked == {"content"}
    name_of = "reinterpretAsUInt8(substring(s.trace_id, 16, 1)) - 1"
    check(SPAN_TABLE, compiled, found_by(rows_of(store, "spans AS s", name_of), compiled))


ASSESSMENT_TABLE = [
    ("assessment_id id", "text", "0-first", "1-second", "2-third"),
    ("assessment_name name", "text", "relevance", "answer", "mood"),
    ("assessment_type type", "choice?", "FEEDBACK", "EXPECTATION", "FEEDBACK"),
    ("trace_id request_id", "id?", *(hex_of(1) for _ in range(3))),
    ("span_id", "id?", hex_of(1, 8) * 2, None, None),
    ("experiment experiment_id", "text?", "shop", "shop", "shop"),
    ("session_id session", "text?", None, None, None),
    ("value", "any?", 0.5, "yes, it is", None),
    ("error_code error", "text?", None, None, "TIMEOUT"),
    ("error_message", "text?", None, None, "too late"),
    ("rationale", "text?", "because", None, None),
    ("source_type", "choice?", "HUMAN", "CODE", "LLM_JUDGE"),
    ("source_id source", "text?", "ann@example.test", "default", "gpt-4o"),
    ("overrides", "text?", None, None, None),
    ("valid", "boolean", True, True, True),
    ("metadata.run", "any?", "run-7", None, None),
]


def test_assessments(store, send):
    send({"trace": 1, "span": 1})
    shared = {"trace_id": hex_of(1)}
    made = [
        judged.NewAssessment(
            **shared,
            assessment_name="relevance",
            value="0.5",
            rationale="because",
            span_id=hex_of(1, 8) * 2,
            metadata={"run": "run-7"},
            source_type=SourceType.HUMAN,
            source_id="ann@example.test",
            assessment_id="0-first",
        ),
        judged.NewAssessment(
            **shared,
            assessment_name="answer",
            assessment_type=AssessmentType.EXPECTATION,
            value='"yes, it is"',
            assessment_id="1-second",
        ),
        judged.NewAssessment(
            **shared,
            assessment_name="mood",
            error=judged.AssessmentError("TIMEOUT", "too late"),
            source_type=SourceType.LLM_JUDGE,
            source_id="gpt-4o",
            assessment_id="2-third",
        ),
    ]
    recorded = [judged.create(store, each) for each in made]
    times = ("create_time last_update_time", "time", *(each.create_time_ns for each in recorded))
    table = [row for row in ASSESSMENT_TABLE if any(value is not None for value in row[2:])]
    asked = {name for names, *_ in [*table, times] for name in names.split()}
    # Of a session, and overriding: nothing here is.
    assert set(assessments.CATALOGUE.keys) - asked == {"session_id", "session", "overrides"}
    name_of = "toUInt8(substring(a.assessment_id, 1, 1))"
    ask_many = rows_of(store, "current_assessments AS a", name_of)
    check([*table, times], compile_assessments, found_by(ask_many, compile_assessments))


VERSION_TABLE = [
    ("experiment experiment_id", "text", "first", "second", "third"),
    ("service_name service", "text?", "shop", "stock", "shop"),
    ("version name app_version", "text?", "1.0", "2.0", "3.0"),
    ("environment", "text?", "production", None, "staging"),
    ("deployment_id deployment", "text?", "d-10", None, None),
    ("git_commit commit", "text?", "abcdef", None, None),
    ("git_branch branch", "text?", "main", None, None),
    ("git_dirty dirty", "text?", "true", None, None),
    ("repository_url repository", "text?", "https://example.test/shop", None, None),
    ("note", "text?", "known bad", None, None),
    ("first_seen", "time", START, START + 5 * MS, START + 9 * MS),
    ("last_seen", "time", START + 2 * MS, START + 5 * MS, START + 9 * MS),
    ("trace_count traces", "number", 2, 1, 1),
    ("error_trace_count error_count errors", "number", 1, 0, 0),
    ("session_count sessions", "number", 1, 0, 0),
    ("user_count users", "number", 1, 0, 0),
    ("cost total_cost", "number?", 0.75, None, None),
    ("alias", "text?", ["champion", "stable"], [], []),
    ("flag.ui", "any?", ["on-100", "off-10"], [], []),
]


@pytest.mark.slow
def test_versions(store, send):
    paid = SPANS[0]["attributes"]
    told = [
        [
            {"trace": 1, "status": 2, "attributes": paid},
            {"trace": 2, "at": 2, "attributes": {"gen_ai.usage.input_tokens": 1}},
        ],
        [{"trace": 3, "at": 5}],
        [{"trace": 4, "at": 9}],
    ]
    told[0][1]["attributes"] |= {"gen_ai.usage.cost": 0.5, "vtrack.flag.ui": "off-10"}
    last = {"service.name": "shop", "service.version": "3.0", "vtrack.experiment": "third"}
    last |= {"deployment.environment.name": "staging"}
    for some, place in zip(told, [*PLACE[:2], last], strict=True):
        send(*some, **{name.replace(".", "__"): value for name, value in place.items()})
    noted.update(store, "1.0", note="known bad")
    for alias in ("champion", "stable"):
        noted.set_alias(store, "1.0", alias)

    numbers = {"1.0": 0, "2.0": 1, "3.0": 2}

    def ask_many(held, parameters):
        bound = {"experiment": "", "service_name": "", "version": "", "any_version": 1, "wanted": 9}
        parts = {"place": held}
        rows = store.query("versions/search", bound | parameters, parts)
        return [(numbers[row["version"]], row["place"]) for row in rows]

    # These decide what is added up, or need what was added up before.
    apart = [row for row in VERSION_TABLE if row[0].split()[0] in {"environment", "deployment_id"}]
    apart += [row for row in VERSION_TABLE if row[0].startswith("cost")]
    rest = [row for row in VERSION_TABLE if row not in apart]
    check(rest, compile_versions, found_by(ask_many, compile_versions))

    def find(texts):
        return [
            {numbers[each.version] for each in versions.search(store, filter_=text).versions}
            for text in texts
        ]

    check(apart, compile_versions, find)
    asked = {name for names, *_ in VERSION_TABLE for name in names.split()}
    assert set(version_keys.CATALOGUE.keys) - asked == set()
