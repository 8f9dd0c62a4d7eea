"""Every operator on every key, against a plain evaluator in Python over the same few traces."""

import itertools
import json
import re
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import trace_search
from otel_vtrack.query.assessments import AssessmentType
from otel_vtrack.query.filter import compile_traces, parser
from otel_vtrack.query.filter.syntax import And, Clause, Exists, Not, Operator, Or, Sort
from otel_vtrack.record import assessments, trace_tags
from otel_vtrack.record.assessments import NewAssessment

START = 1_790_000_000_000_000_000
MS = 1_000_000


def hex_id(number):
    return f"{number:032x}"


# What there is: (experiment, spans) of each trace and experiment. A span has what make_spans
# takes, and its resource; tags and assessments come after.

TRACES = {
    1: {
        "resource": {
            "service__version": "1.0",
            "deployment__environment__name": "production",
            "deployment__id": "d1",
            "vcs__ref__head__revision": "abc",
            "vcs__ref__head__name": "main",
            "vtrack__vcs__dirty": "false",
            "vcs__repository__url__full": "https://example.test/shop",
            "host__name": "h1",
        },
        "spans": [
            {
                "name": "checkout",
                "at": 0,
                "ms": 40,
                "kind": 2,
                "attributes": {
                    "session.id": "s1",
                    "user.id": "u1",
                    "mlflow.traceTag.team": "blue",
                    "mlflow.traceTag.with.dots": "5",
                    "vtrack.flag.ui": "on",
                    "mlflow.sourceRun": "run-1",
                    "client_request_id": "c1",
                    "input.value": "How are you?",
                },
            },
            {
                "name": "ask",
                "at": 5,
                "ms": 30,
                "parent": 1,
                "attributes": {
                    "gen_ai.operation.name": "chat",
                    "model": "gpt-4",
                    "temperature": 0.5,
                    "stream": True,
                    "size": 12,
                    "gen_ai.usage.input_tokens": 10,
                    "gen_ai.usage.output_tokens": 5,
                    "gen_ai.usage.cost": 0.25,
                    "output.value": "Fine, thanks",
                },
            },
        ],
    },
    2: {
        "resource": {
            "service__version": "2.0",
            "deployment__environment__name": "staging",
            "host__name": "h2",
        },
        "spans": [
            {"name": "search", "at": 10, "ms": 1500, "status": 2, "attributes": {"size": "12"}},
            {
                "name": "lookup",
                "at": 20,
                "ms": 700,
                "parent": 1,
                "status": 2,
                "attributes": {
                    "openinference.span.kind": "tool",
                    "session.id": "s2",
                    "temperature": 2,
                    "model": "gpt-4o",
                    "gen_ai.usage.input_tokens": 100,
                },
            },
        ],
    },
    3: {
        "resource": {"service__name": "stock"},
        "spans": [{"name": "orphan", "at": 30, "ms": 5, "parent": 99}],
    },
    4: {
        "resource": {"service__version": "1.0", "deployment__environment__name": "production"},
        "spans": [
            {
                "name": "Checkout",
                "at": 40,
                "ms": 40,
                "attributes": {
                    "session.id": "s1",
                    "user.id": "U1",
                    "mlflow.traceTag.team": "x",
                    "mlflow.traceTag.mlflow.traceName": "renamed",
                    "mlflow.linkedPrompts": '[{"name": "greet", "version": "3"}]',
                    "llm.cost.total": 2,
                },
            }
        ],
    },
    5: {
        "resource": {"service__version": "2.0"},
        "spans": [
            {
                "name": "it's 100%_done\\",
                "at": 50,
                "ms": 0,
                "attributes": {"mlflow.traceTag.team": "Blue", "model": "", "size": -3},
            }
        ],
    },
}
TAGS = {
    1: {"environment": "canary", "reviewed": "yes"},
    2: {"team": "red"},
    4: {"environment": None},
}
ASSESSED = [
    # trace, type, name, value, of the whole session
    (1, "feedback", "relevance", 0.9, False),
    (1, "feedback", "relevance", 0.2, False),
    (2, "feedback", "relevance", "yes", False),
    (3, "feedback", "relevance", True, False),
    (4, "feedback", "tone", "ok", True),
    (2, "expectation", "answer", "42", False),
    (1, "expectation", "answer", 42, False),
    (5, "expectation", "answer", ["a"], False),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory, copy_store, make_spans):
    """A store with these traces."""
    from otel_vtrack.store.client import Store  # noqa: PLC0415
    from otel_vtrack.store.writer import Writer  # noqa: PLC0415

    with Store(f"chdb://{copy_store(tmp_path_factory.mktemp('world') / 'store')}") as opened:
        writer = Writer(opened)
        for number, trace in TRACES.items():
            # One span a request, and the root last: rows of `traces` are partial.
            for index, span in reversed(list(enumerate(trace["spans"], 1))):
                request = make_spans({"trace": number, "span": index, **span}, **trace["resource"])
                writer.write_traces(request.SerializeToString())
        for number, tags in TAGS.items():
            for key, value in tags.items():
                if value is None:
                    trace_tags.delete_tag(opened, hex_id(number), key)
                else:
                    trace_tags.set_tag(opened, hex_id(number), key, value)
        for number, kind, name, value, of_session in ASSESSED:
            session = {"mlflow.trace.session": "s1"} if of_session else {}
            assessments.create(
                opened,
                NewAssessment(
                    trace_id=hex_id(number),
                    assessment_name=name,
                    assessment_type=AssessmentType[kind.upper()],
                    value=json.dumps(value),
                    metadata=session,
                ),
            )
        yield opened


# The evaluator: what a key's values are, and whether a clause holds.


def of_kind(kind, *values):
    return kind, [value for value in values if value not in (None, "")]


def number_of(trace):
    return TRACES[trace]["resource"], TRACES[trace]["spans"]


def root(trace):
    return number_of(trace)[1][0]


def told(trace, *names, span=None):
    resource, _ = number_of(trace)
    own = (span or root(trace)).get("attributes", {})
    for name in names:
        for where, key in ((own, name), (resource, name.replace(".", "__"))):
            if where.get(key) not in (None, ""):
                return text_of(where[key])
    return None


def text_of(value):
    return json.dumps(value) if isinstance(value, bool | int | float) else value


def start(span):
    return START + span.get("at", 0) * MS


def end(span):
    return start(span) + span["ms"] * MS


def tokens(trace, name):
    spans = number_of(trace)[1]
    said = [
        s["attributes"] for s in spans if "gen_ai.usage.input_tokens" in s.get("attributes", {})
    ]
    if not said:
        return None
    count = {
        kind: sum(each.get(f"gen_ai.usage.{kind}_tokens", 0) for each in said)
        for kind in ("input", "output")
    }
    return count["input"] + count["output"] if name == "total" else count[name]


def cost_of_span(span):
    said = span.get("attributes", {})
    return said.get("gen_ai.usage.cost", said.get("llm.cost.total"))


def cost(trace):
    # Where tokens are of no known model it is unknown.
    return next(filter(None, map(cost_of_span, number_of(trace)[1])), None)


def usage(trace):
    if tokens(trace, "total") is None:
        return None
    return json.dumps(
        {f"{name}_tokens": tokens(trace, name) for name in ("input", "output", "total")}
    )


def session(trace):
    told_by = [told(trace, "session.id", span=span) for span in number_of(trace)[1]]
    return told_by[0] or max((each for each in told_by if each), default=None)


def tag(trace, key):
    if key in TAGS.get(trace, {}):
        return TAGS[trace][key]
    sent = root(trace).get("attributes", {}).get(f"mlflow.traceTag.{key}")
    if sent is None and key.startswith("vtrack.flag."):
        sent = root(trace).get("attributes", {}).get(key)
    if sent is not None:
        return sent
    return {
        "mlflow.traceName": root(trace)["name"],
        "app_version": told(trace, "service.version"),
        "environment": told(trace, "deployment.environment.name"),
        "deployment_id": told(trace, "deployment.id"),
    }.get(key)


def state(trace):
    if "parent" in root(trace):
        return "IN_PROGRESS"
    return "ERROR" if root(trace).get("status") == 2 else "OK"


def assessed(trace, kind, name):
    return [
        value
        for number, type_, called, value, of_session in ASSESSED
        if (type_, called) == (kind, name)
        and (number == trace or (of_session and session(trace) == "s1"))
    ]


PLAIN = {
    "request_id": lambda t: of_kind("id", hex_id(t)),
    "client_request_id": lambda t: of_kind("text?", told(t, "client_request_id")),
    "experiment": lambda t: of_kind("text", told(t, "service.name") or "shop"),
    "status": lambda t: of_kind("status", state(t)),
    "timestamp": lambda t: of_kind("time", start(root(t))),
    "execution_time": lambda t: of_kind(
        "duration", max(map(end, number_of(t)[1])) - min(map(start, number_of(t)[1]))
    ),
    "end_time": lambda t: of_kind("time", max(map(end, number_of(t)[1]))),
    "name": lambda t: of_kind("text?", root(t)["name"]),
    "service": lambda t: of_kind("text?", told(t, "service.name") or "shop"),
    "version": lambda t: of_kind("text?", told(t, "service.version")),
    "environment": lambda t: of_kind("text?", told(t, "deployment.environment.name")),
    "deployment": lambda t: of_kind("text?", told(t, "deployment.id")),
    "session": lambda t: of_kind("text?", session(t)),
    "user": lambda t: of_kind("text?", told(t, "user.id")),
    "git_commit": lambda t: of_kind("text?", told(t, "vcs.ref.head.revision")),
    "git_branch": lambda t: of_kind("text?", told(t, "vcs.ref.head.name")),
    "git_dirty": lambda t: of_kind("text?", told(t, "vtrack.vcs.dirty")),
    "repository_url": lambda t: of_kind("text?", told(t, "vcs.repository.url.full")),
    "run_id": lambda t: of_kind("text?", told(t, "mlflow.sourceRun")),
    "input_tokens": lambda t: of_kind("number?", tokens(t, "input")),
    "output_tokens": lambda t: of_kind("number?", tokens(t, "output")),
    "total_tokens": lambda t: of_kind("number?", tokens(t, "total")),
    "cost": lambda t: of_kind("number?", cost(t)),
    "span_count": lambda t: of_kind("number", len(number_of(t)[1])),
    "error_count": lambda t: of_kind("number", sum(s.get("status") == 2 for s in number_of(t)[1])),
    "prompt": lambda t: ("same?", ["greet/3"] if t == 4 else []),
    "text": lambda t: (
        "full?",
        [
            said
            for span in number_of(t)[1]
            for name in ("input.value", "output.value")
            if (said := span.get("attributes", {}).get(name))
        ],
    ),
}
SAME_AS = {
    "state": "status",
    "timestamp_ms": "timestamp",
    "execution_time_ms": "execution_time",
    "end_time_ms": "end_time",
    "app_version": "version",
    "service_name": "service",
    "session_id": "session",
    "tokens": "total_tokens",
    "total_cost": "cost",
    "duration": "execution_time",
    "trace_id": "request_id",
    "experiment_id": "experiment",
}
METADATA = {
    "mlflow.trace.session": "session",
    "mlflow.trace.user": "user",
    "mlflow.modelId": "version",
    "mlflow.source.git.commit": "git_commit",
    "mlflow.source.git.branch": "git_branch",
    "mlflow.source.git.dirty": "git_dirty",
    "mlflow.source.git.repoURL": "repository_url",
}


def values(trace, name):  # noqa: PLR0911 - one for each kind of key
    """Kind and values of a key for a trace."""
    entity, key = name.entity, name.key
    match entity:
        case "" | "trace" | "attribute" | "attributes":
            return PLAIN[SAME_AS.get(key, key)](trace)
        case "tag" | "tags":
            found = tag(trace, key)
            return "any?", [] if found is None else [found]
        case "flag":
            return "any?", [v for v in [tag(trace, f"vtrack.flag.{key}")] if v is not None]
        case "metadata" | "request_metadata":
            if key == "mlflow.trace.tokenUsage":
                return of_kind("same?", usage(trace))
            if key in METADATA:
                return PLAIN[METADATA[key]](trace)
            return of_kind("any?", told(trace, key))
        case "feedback" | "expectation":
            return "assessed?", assessed(trace, entity, key)
    raise AssertionError(name)


def span_values(trace, span, name):  # noqa: C901, PLR0911 - likewise
    """Likewise for one span of it."""
    key = name.key
    if name.entity == "resource":
        said = number_of(trace)[0].get(key.replace(".", "__"))
        said = said or ("shop" if key == "service.name" else None)
        return "any?", [] if said is None else [said]
    if key.startswith("attributes."):
        said = span.get("attributes", {}).get(key.removeprefix("attributes."))
        return "any?", [] if said is None else [text_of(said)]
    match key:
        case "name":
            return "text?", [span["name"]]
        case "type":
            attributes = span.get("attributes", {})
            types = {"chat": "CHAT_MODEL", "tool": "TOOL"}
            said = attributes.get(
                "gen_ai.operation.name", attributes.get("openinference.span.kind")
            )
            return of_kind("text?", types.get(said))
        case "kind":
            return of_kind("text?", {2: "SERVER"}.get(span.get("kind")))
        case "status":
            return "status", ["ERROR" if span.get("status") == 2 else "UNSET"]
        case "duration":
            return "duration", [span["ms"] * MS]
        case "start_time":
            return "time", [start(span)]
        case "cost":
            return of_kind("number?", cost_of_span(span))
        case "content":
            attributes = span.get("attributes", {})
            return "full?", [span["name"], *attributes, *map(text_of, attributes.values())]
    raise AssertionError(name)


EQUALS = {Operator.EQUAL, Operator.IN}
PATTERNS = {Operator.LIKE, Operator.ILIKE, Operator.RLIKE, Operator.CONTAINS}
ORDERS = {
    *(Operator.GREATER, Operator.GREATER_OR_EQUAL, Operator.LESS, Operator.LESS_OR_EQUAL),
    Operator.BETWEEN,
}
TAKES = {
    "text": EQUALS | PATTERNS,
    "id": EQUALS | PATTERNS,
    "status": EQUALS | PATTERNS,
    "number": EQUALS | ORDERS,
    "duration": EQUALS | ORDERS,
    "time": EQUALS | ORDERS,
    "any": EQUALS | PATTERNS | ORDERS,
    "assessed": EQUALS | PATTERNS | ORDERS,
    "full": {Operator.LIKE, Operator.ILIKE, Operator.CONTAINS},
}


def like(pattern, *, fold=False):
    parts = {"%": ".*", "_": "."}
    body = "".join(
        re.escape(part[-1])
        if part[0] == "\\" and len(part) == 2
        else parts.get(part, re.escape(part))
        for part in re.findall(r"\\[%_\\]|.", pattern, re.DOTALL)
    )
    return re.compile(body, re.DOTALL | (re.IGNORECASE if fold else 0)).fullmatch


def matches(operator, value, pattern):
    if operator is Operator.CONTAINS:
        return pattern in value
    if operator is Operator.RLIKE:
        return bool(re.search(pattern, value, re.DOTALL))
    return bool(like(pattern, fold=operator is Operator.ILIKE)(value))


def compares(operator, mine, other):
    return {
        Operator.EQUAL: mine == other,
        Operator.GREATER: mine > other,
        Operator.GREATER_OR_EQUAL: mine >= other,
        Operator.LESS: mine < other,
        Operator.LESS_OR_EQUAL: mine <= other,
    }[operator]


def one(kind, operator, value, literal):  # noqa: C901, PLR0911 - likewise
    if kind in {"time", "duration"} and literal.sort is Sort.NUMBER:
        scaled = int(literal.value * MS)
        if operator is Operator.EQUAL and scaled % MS == 0:
            return value // MS * MS == scaled
        return compares(operator, value, scaled)
    if kind == "time" and literal.sort is Sort.TEXT:
        return compares(operator, value, parser.values.moment(literal.value))
    if kind in {"any", "assessed"}:
        if literal.sort is Sort.NUMBER:
            if kind == "assessed":
                if isinstance(value, bool) or not isinstance(value, int | float):
                    return False
                return compares(operator, value, float(literal.value))
            with suppress(ValueError):
                return compares(operator, float(value), float(literal.value))
            return False
        text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        if literal.sort is Sort.BOOLEAN:
            return text == json.dumps(literal.value)
        return text == literal.value
    if kind == "id":
        return value == literal.value.removeprefix("tr-").lower()
    if literal.sort is Sort.NUMBER:
        return compares(operator, value, float(literal.value))
    return compares(operator, value, literal.value)


def holds_for(kind, found, clause):
    optional, kind = kind.endswith("?"), kind.removesuffix("?")
    operator, listed = clause.operator, clause.values
    if operator is Operator.IS_NULL:
        assert optional
        return bool(found) is clause.negated

    def compared(value):
        if operator in PATTERNS:
            text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
            pattern = listed[0].value
            return matches(operator, text, pattern.removeprefix("tr-") if kind == "id" else pattern)
        if operator is Operator.IN:
            return any(one(kind, Operator.EQUAL, value, each) for each in listed)
        if operator is Operator.BETWEEN:
            return one(kind, Operator.GREATER_OR_EQUAL, value, listed[0]) and one(
                kind, Operator.LESS_OR_EQUAL, value, listed[1]
            )
        return one(kind, operator, value, listed[0])

    if kind == "full" and clause.negated:
        return not any(map(compared, found))
    return any(compared(value) is not clause.negated for value in found)


def on_span(tree):
    match tree:
        case Clause(name):
            return name.entity in {"span", "resource"}
        case And(parts) | Or(parts):
            return all(map(on_span, parts))
    return False


def flat(tree):
    return [
        each for part in tree.parts for each in (flat(part) if isinstance(part, And) else [part])
    ]


def holds_on_span(tree, trace, span):
    match tree:
        case Clause(name):
            name = parser.name(name.written if name.entity else f"span.{name.written}")
            return holds_for(*span_values(trace, span, name), tree)
        case And(parts):
            return all(holds_on_span(part, trace, span) for part in parts)
        case Or(parts):
            return any(holds_on_span(part, trace, span) for part in parts)
        case Not(inside):
            return not holds_on_span(inside, trace, span)


def holds(tree, trace):
    if isinstance(tree, Exists):
        return any(holds_on_span(tree.inside, trace, span) for span in number_of(trace)[1])
    if on_span(tree) and not (isinstance(tree, And) and not tree.parts):
        return any(holds_on_span(tree, trace, span) for span in number_of(trace)[1])
    match tree:
        case Clause(name):
            return holds_for(*values(trace, name), tree)
        case Not(inside):
            return not holds(inside, trace)
        case Or(parts):
            return any(holds(part, trace) for part in parts)
        case And():
            together = [part for part in flat(tree) if on_span(part)]
            apart = [part for part in flat(tree) if not on_span(part)]
            return all(holds(part, trace) for part in apart) and (
                not together or holds(Exists("span", And(tuple(together)), 0), trace)
            )


def expected(text):
    tree = parser.parse(text)
    return {number for number in TRACES if holds(tree, number)}


def found(store, text, **more):
    page = trace_search.search(store, text=text, **more)
    return {int(info.trace_id, 16) for info in page.traces}


# One row a key: its kind, and values to compare with, the first of them right for some trace.

TABLE = {
    "request_id": ("id", [f"'tr-{1:032x}'", f"'{2:032X}'", "'x'", "'tr-0%'"]),
    "trace.trace_id": ("id", [f"'{3:032x}'", "'0%5'"]),
    "client_request_id": ("text?", ["'c1'", "'c_'"]),
    "experiment": ("text", ["'shop'", "'stock'", "'s%'"]),
    "status": ("status", ["'OK'", "'ERROR'", "'IN_PROGRESS'"]),
    "attributes.state": ("status", ["'OK'"]),
    "timestamp": ("time", [f"{START // MS + 10}", "now()", "'2026-09-21T14:13:20.010Z'"]),
    "timestamp_ms": ("time", [f"{START // MS + 40}", f"{START // MS + 20}.5"]),
    "execution_time": ("duration", ["40", "40ms", "1s", "-1ms", "0.5s"]),
    "duration": ("duration", ["0"]),
    "end_time": ("time", [f"{START // MS + 40}", "'2026-09-21 14:13:20.08'"]),
    "name": ("text?", ["'checkout'", "'CHECK%'", "'it''s 100\\%\\_done\\\\'", "'%_o%'", "''"]),
    "service": ("text?", ["'stock'", "'sho_'"]),
    "version": ("text?", ["'1.0'", "'2%'", '"2.0"']),
    "environment": ("text?", ["'production'", "'stag'"]),
    "deployment": ("text?", ["'d1'"]),
    "session": ("text?", ["'s1'", "'s2'", "'S%'"]),
    "user": ("text?", ["'u1'", "'u%'"]),
    "git_commit": ("text?", ["'abc'", "'a'"]),
    "git_branch": ("text?", ["'main'"]),
    "git_dirty": ("text?", ["'false'"]),
    "repository_url": ("text?", ["'https://example.test/shop'", "'%example%'"]),
    "run_id": ("text?", ["'run-1'", "'run%'"]),
    "input_tokens": ("number?", ["10", "100", "99.5"]),
    "output_tokens": ("number?", ["5", "0"]),
    "tokens": ("number?", ["15", "1e2"]),
    "trace.total_cost": ("number?", ["0.25", "2"]),
    "span_count": ("number", ["2", "1"]),
    "error_count": ("number", ["0", "2"]),
    "text": ("full?", ["'%are%'", "'%FINE%'", "'Fine, thanks'"]),
    "trace.text": ("full?", ["'%you?%'"]),
    "tag.team": ("any?", ["'blue'", "'red'", "''", "'%e'", "5"]),
    "tags.`with.dots`": ("any?", ["5", "'5'", "4.5"]),
    'tag."reviewed"': ("any?", ["'yes'", "true"]),
    "tag.environment": ("any?", ["'canary'", "'production'", "'stag%'"]),
    "tag.app_version": ("any?", ["'1.0'", "1", "1.5"]),
    "tag.`mlflow.traceName`": ("any?", ["'renamed'", "'search'", "'%c%'"]),
    "tag.nothing": ("any?", ["'x'", "1"]),
    "flag.ui": ("any?", ["'on'", "'off'"]),
    'request_metadata."mlflow.modelId"': ("text?", ["'1.0'"]),
    "metadata.`mlflow.trace.session`": ("text?", ["'s1'"]),
    "metadata.mlflow.source.git.commit": ("text?", ["'abc'"]),
    "metadata.host.name": ("any?", ["'h1'", "'h%'"]),
    "feedback.relevance": ("assessed?", ["'yes'", "0.9", "'0.9'", "'true'", "true", "'%e%'", "1"]),
    "feedback.tone": ("assessed?", ["'ok'", "'OK'"]),
    "expectation.answer": ("assessed?", ["'42'", "42", "'[\"a\"]'"]),
    "span.name": ("text?", ["'ask'", "'%o%'"]),
    "span.type": ("text?", ["'TOOL'", "'CHAT_MODEL'", "'chat%'"]),
    "span.kind": ("text?", ["'SERVER'"]),
    "span.status": ("status", ["'ERROR'", "'UNSET'"]),
    "span.duration": ("duration", ["30ms", "700", "1s"]),
    "span.start_time": ("time", [f"{START // MS + 5}"]),
    "span.cost": ("number?", ["2", "0.25", "0.5"]),
    "span.content": ("full?", ["'%gpt-4%'", "'%THANKS%'"]),
    "span.attributes.model": ("any?", ["'gpt-4'", "'gpt-4o'", "''", "'gpt%'"]),
    "span.attributes.temperature": ("any?", ["0.5", "'2'", "1"]),
    "span.attributes.stream": ("any?", ["true", "'true'", "false"]),
    "span.attributes.size": ("any?", ["12", "'12'", "-3", "0"]),
    "resource.host.name": ("any?", ["'h1'", "'h%'"]),
}
# To plan a statement with as many takes the engine long.
SLOW = {"trace.total_cost"}
OPERATORS = [
    *("=", "!=", "<>", "==", ">", ">=", "<", "<=", "IN", "NOT IN", "LIKE", "NOT LIKE", "ILIKE"),
    *("NOT ILIKE", "RLIKE", "NOT RLIKE", "CONTAINS", "NOT CONTAINS", "BETWEEN", "NOT BETWEEN"),
    *("IS NULL", "IS NOT NULL"),
]


def clauses(key, literals, operator):
    """Clauses of an operator: with each value, with all of them, and with a wrong kind."""
    if operator.startswith("IS"):
        return [f"{key} {operator}"]
    if operator.endswith("IN"):
        return [f"{key} {operator} ({', '.join(literals)})", f"{key} {operator} ({literals[0]})"]
    if operator.endswith("BETWEEN"):
        return [f"{key} {operator} {a} AND {b}" for a, b in itertools.product(literals, repeat=2)]
    return [f"{key} {operator} {literal}" for literal in literals]


def is_allowed(kind, text):
    clause = parser.parse(text)
    kind, optional = kind.removesuffix("?"), kind.endswith("?")
    if clause.operator is Operator.IS_NULL:
        return optional
    if clause.operator not in TAKES[kind]:
        return False
    if clause.operator in PATTERNS:
        return all(each.sort is Sort.TEXT for each in clause.values)
    if kind in {"any", "assessed"} and clause.operator in ORDERS:
        return all(each.sort is Sort.NUMBER for each in clause.values)
    if kind == "status":
        return clause.operator in EQUALS
    return True


def found_at_once(store, texts):
    """What each of many filters finds, by few statements."""
    if len(texts) > 30:
        return [*found_at_once(store, texts[:30]), *found_at_once(store, texts[30:])]
    conditions, parameters = [], {}
    for number, text in enumerate(texts):
        compiled = compile_traces(text, priced=list)
        parameters |= {f"{name}_{number}": value for name, value in compiled.parameters.items()}
        condition = f"({compiled.row}) AND ({compiled.where})"
        conditions.append(re.sub(r"\{(p\d+):", rf"{{\1_{number}:", condition))
    rows = store.select(
        f"SELECT lower(hex(t.trace_id)) AS id, [{', '.join(conditions)}] AS held"
        " FROM whole_traces AS t",
        parameters,
    )
    return [
        {int(row["id"], 16) for row in rows if row["held"][number]} for number in range(len(texts))
    ]


@pytest.mark.parametrize(
    "key", [pytest.param(key, marks=pytest.mark.slow) if key in SLOW else key for key in TABLE]
)
def test_every_operator_on_every_key(world, key):
    kind, literals = TABLE[key]
    allowed = []
    for text in (each for operator in OPERATORS for each in clauses(key, literals, operator)):
        if is_allowed(kind, text):
            allowed.append(text)
        elif kind != "status" or parser.parse(text).operator not in PATTERNS:
            with pytest.raises(InvalidArgument) as caught:
                compile_traces(text, priced=list)
            assert "^" in str(caught.value), text
            assert re.search("takes|has a value", str(caught.value)), text
    wanted = [expected(text) for text in allowed]
    assert dict(zip(allowed, found_at_once(world, allowed), strict=True)) == dict(
        zip(allowed, wanted, strict=True)
    )
    assert any(wanted) or key == "tag.nothing"
    # A whole search first decides by rows that know only a part: also where that is turned round.
    first = next(text for text in allowed if expected(text) or key == "tag.nothing")
    for text in (first, f"NOT {first}"):
        assert found(world, text) == expected(text), text


def texts_of(strategy):
    return st.recursive(
        strategy,
        lambda inner: st.one_of(
            st.builds("({} AND {})".format, inner, inner),
            st.builds("({} OR {})".format, inner, inner),
            st.builds("NOT {}".format, inner),
            st.builds("{} AND {} AND {}".format, inner, inner, inner).map("({})".format),
        ),
        max_leaves=6,
    )


def allowed_clauses(keys):
    return sorted(
        text
        for key in keys
        for operator in OPERATORS
        for text in clauses(key, TABLE[key][1], operator)
        if is_allowed(TABLE[key][0], text)
    )


ON_SPANS = [key for key in TABLE if key.startswith(("span.", "resource."))]
ON_A_SPAN = st.builds(
    "exists span ({})".format, texts_of(st.sampled_from(allowed_clauses(ON_SPANS)))
)
ANYTHING = texts_of(st.one_of(st.sampled_from(allowed_clauses(TABLE.keys() - SLOW)), ON_A_SPAN))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=ANYTHING)
# A condition on spans that decides all but what only the whole trace tells.
@example(text="duration != 0 AND exists span (resource.host.name IS NULL)")
def test_any_filter_finds_what_it_says(world, text):
    with suppress(InvalidArgument):  # Too long.
        wanted = expected(text)
        assert found(world, text) == wanted
        assert trace_search.count(world, text=text) == len(wanted)


PIECES = ["(", ")", "tag.", "`", '"', "'", "=", "!=", "IN", "NOT", "AND", "OR", "LIKE", "1", "2s"]
PIECES += ["now()", "exists span", "exists event", "has", "BETWEEN", "IS NULL", ";", "{p0:String}"]
PIECES += [
    "text",
    "name",
    "span.name",
    "feedback.x",
    "event.name",
    "version",
    ",",
    "'%'",
    "\\",
    "é",
]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.one_of(st.text(max_size=40), st.lists(st.sampled_from(PIECES)).map(" ".join)))
def test_garbage_is_refused_or_understood_and_nothing_else(world, text):
    with suppress(InvalidArgument):
        trace_search.count(world, text=text)


HOSTILE = [
    "' OR 1=1 --",
    "'; DROP TABLE spans;",
    "\\",
    "\\'",
    "{p0:String}",
    "%s",
    "\x00",
    "`",
    "/*",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_a_text(world, text):
    quoted = "'" + text.replace("'", "''") + "'"
    ticked = "`" + text.replace("`", "") + "x`"
    keys = ("name", "tag.a", f"tag.{ticked}", f"span.attributes.{ticked}", "feedback.a", "user")
    for key in keys:
        for operator in ("=", "LIKE", "CONTAINS", "IN"):
            value = f"({quoted})" if operator == "IN" else quoted
            assert found(world, f"{key} {operator} {value}") == (
                {5} if (key, operator, text) == ("name", "CONTAINS", "\\") else set()
            )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("exists span (name = 'ask' AND duration < 1s)", {1}),
        ("span.name = 'ask' AND span.status = 'ERROR'", set()),
        ("exists span (name = 'search') AND exists span (name = 'lookup')", {2}),
        ("span.name = 'search' AND span.name = 'lookup'", set()),
        ("NOT span.status = 'ERROR'", {1, 3, 4, 5}),
        ("span.type = 'TOOL' AND NOT span.name = 'search'", set()),
        ("exists span (type = 'TOOL' AND NOT name = 'search')", {2}),
        ("has(tag.reviewed) OR has(user)", {1, 4}),
        ("prompt = 'greet/3'", {4}),
        ("flag.ui = 'on' AND timestamp < now() - 1d", {1}),
        ("feedback.tone = 'ok' AND span_count = 1", {4}),
        ("total_tokens BETWEEN 100 AND 200 AND", {2}),
        ("", {1, 2, 3, 4, 5}),
    ],
)
def test_filters_as_people_write_them(world, text, wanted):
    assert found(world, text) == wanted
    assert trace_search.count(world, text=text) == len(wanted)


ORDERS_BY = {
    "timestamp": [1, 2, 3, 4, 5],
    "timestamp DESC": [5, 4, 3, 2, 1],
    "execution_time": [5, 3, 4, 1, 2],
    "execution_time DESC": [2, 4, 1, 3, 5],
    "end_time_ms": [3, 1, 5, 4, 2],
    "status DESC": [5, 4, 1, 3, 2],
    "request_id": [1, 2, 3, 4, 5],
    "name": [4, 1, 5, 3, 2],
    "experiment_id DESC": [3, 5, 4, 2, 1],
    "run_id": [1, 5, 4, 3, 2],
    "tag.team": [5, 1, 2, 4, 3],
    "tag.team DESC": [4, 2, 1, 5, 3],
    "tag.environment": [1, 2, 5, 4, 3],
    "metadata.host.name DESC": [2, 1, 5, 4, 3],
    "metadata.`mlflow.trace.session`": [4, 1, 2, 5, 3],
    "session DESC": [2, 4, 1, 5, 3],
    "tokens": [1, 2, 5, 4, 3],
    "error_count DESC": [2, 5, 4, 3, 1],
    "version": [4, 1, 5, 2, 3],
}


@pytest.mark.parametrize("key", ORDERS_BY)
def test_every_order_has_missing_values_last_and_pages_that_join(world, key):
    seen, token = [], ""
    while True:
        page = trace_search.search(world, order_by=[key], page_size=2, page_token=token)
        seen += [int(info.trace_id, 16) for info in page.traces]
        token = page.next_page_token
        if not token:
            break
    assert seen == ORDERS_BY[key]


def test_several_keys_sort_one_after_the_other(world):
    page = trace_search.search(world, order_by=["version DESC", "execution_time ASC"])
    assert [int(info.trace_id, 16) for info in page.traces] == [5, 2, 4, 1, 3]


def test_a_filter_that_is_too_long_for_the_engine_is_refused(world):
    every = " OR ".join(f"tag.a = {n} AND cost > {n} AND span.cost > {n}" for n in range(60))
    with pytest.raises(InvalidArgument, match="too complex"):
        found(world, every)
    listed = ", ".join(map(str, range(1_000)))
    assert found(world, f"span.cost IN ({listed})") == {4}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (["timestamp", "timestamp_ms DESC"], "appears twice"),
        (["text"], "nothing can be sorted"),
        (["feedback.x"], "nothing can be sorted"),
        (["span.name"], "nothing can be sorted"),
        (["resource.attributes.x"], "nothing can be sorted"),
        (["nothing"], "no key"),
        (["name; DROP TABLE spans"], "not a key"),
        (["name"] * 9, "8 keys"),
    ],
)
def test_an_order_that_is_none_is_refused(world, keys, said):
    with pytest.raises(InvalidArgument, match=said):
        trace_search.search(world, order_by=keys)


def test_traces_are_counted_by_time(world):
    histogram = trace_search.histogram(world, text="version = '1.0' OR status = 'ERROR'")
    assert histogram.width_s == 1
    assert [(b.start_s, b.trace_count, b.error_count) for b in histogram.buckets] == [
        (START // 10**9, 3, 1)
    ]
    [hour] = trace_search.histogram(world, width_s=3600).buckets
    assert (hour.start_s % 3600, hour.trace_count, hour.error_count) == (0, 5, 1)
    assert trace_search.histogram(world, text="name = 'x'").buckets == []


def test_an_experiment_restricts(world):
    assert found(world, "", experiment="stock") == {3}
    assert found(world, "span.name = 'orphan'", experiment="stock") == {3}
    assert found(world, "span.name = 'orphan'", experiment="shop") == set()
    assert trace_search.count(world, experiment="shop") == 4


def test_a_pattern_that_the_engine_refuses_is_the_caller_s_fault(world):
    with pytest.raises(InvalidArgument):
        trace_search.count(world, text="name RLIKE '[[:nope:]]'")
