"""The keys of spans and of their events."""

from dataclasses import replace
from functools import partial
from typing import Final

from otel_vtrack.query.filter import costs
from otel_vtrack.query.filter.compiler import Compiler, Condition
from otel_vtrack.query.filter.fields import Catalogue, Field, Kind, Parameters
from otel_vtrack.query.filter.groups import gathered
from otel_vtrack.query.filter.syntax import Exists, Expression, Name
from otel_vtrack.semconv import VTRACK_FLAG_PREFIX

STATUSES: Final = ("UNSET", "OK", "ERROR")
# The inputs and outputs by every supported convention; see query.facts.
_TEXTS: Final = (
    "attribute_name IN ('mlflow.spanInputs', 'input.value', 'gen_ai.input.messages',"
    " 'gen_ai.tool.call.arguments', 'traceloop.entity.input', 'gen_ai.prompt',"
    " 'langfuse.observation.input', 'lmnr.span.input', 'mlflow.spanOutputs', 'output.value',"
    " 'gen_ai.output.messages', 'gen_ai.tool.call.result', 'traceloop.entity.output',"
    " 'gen_ai.completion', 'langfuse.observation.output', 'lmnr.span.output')"
    " OR attribute_name LIKE 'gen\\\\_ai.prompt.%.content'"
    " OR attribute_name LIKE 'gen\\\\_ai.completion.%.content'"
)
_EVENT_TEXT: Final = (
    "multiIf(said.value = 'string_value', said.string_value,"
    " said.value = 'int_value', toString(said.int_value),"
    " said.value = 'double_value', toString(said.double_value),"
    " said.value = 'bool_value', toString(said.bool_value),"
    " concat(said.array_value, said.kvlist_value, said.bytes_value))"
)


def _text(column: str, *names: str, optional: bool = True) -> dict[str, Field]:
    sql = f"s.{column}"
    field = Field(kind=Kind.TEXT, sql=sql, present=f"{sql} != ''" if optional else "")
    return dict.fromkeys((column, *names), field)


def _tokens(column: str, *names: str) -> dict[str, Field]:
    field = Field(kind=Kind.NUMBER, sql=f"s.{column}", present=f"s.{column} IS NOT NULL")
    return dict.fromkeys((column, *names), field)


def attribute(key: str, parameters: Parameters) -> Field:
    """Return the field for a span's attribute."""
    name = parameters.text(key)
    return Field(
        kind=Kind.ANY, sql=f"s.attributes[{name}]", present=f"mapContains(s.attributes, {name})"
    )


def _attributes(name: Name, parameters: Parameters) -> Field | None:
    return attribute(name.key, parameters) if name.key else None


def _resource(name: Name, parameters: Parameters) -> Field:
    key = parameters.text(name.key.removeprefix("attributes."))
    return Field(
        kind=Kind.ANY,
        sql=f"s.resource_attributes[{key}]",
        present=f"mapContains(s.resource_attributes, {key})",
    )


def _flag(name: Name, parameters: Parameters) -> Field:
    return attribute(VTRACK_FLAG_PREFIX + name.key, parameters)


def _full_text(inner: str) -> str:
    return (
        f"arrayExists((attribute_name, said) -> ({_TEXTS}) AND {inner},"
        " mapKeys(s.attributes), mapValues(s.attributes))"
    )


def _content(inner: str) -> str:
    return (
        f"arrayExists(said -> {inner}, arrayConcat("
        "[s.name::String, s.status_message],"
        " CAST(mapKeys(s.attributes), 'Array(String)'), mapValues(s.attributes),"
        " CAST(s.events.name, 'Array(String)'), arrayFlatten(arrayMap(event_attributes ->"
        " arrayMap(pair -> pair.value.string_value, event_attributes), s.events.attributes))))"
    )


def _prompt(inner: str) -> str:
    return (
        f"arrayExists(said -> {inner}, arrayMap(linked -> concat(JSONExtractString(linked, 'name'),"
        " '/', trim(BOTH '\"' FROM JSONExtractRaw(linked, 'version'))),"
        " JSONExtractArrayRaw(s.attributes['mlflow.linkedPrompts'])))"
    )


_DURATION: Final = Field(kind=Kind.DURATION, sql="s.duration_ns")
_START: Final = Field(kind=Kind.TIME, sql="s.start_time")
_KIND: Final = (
    "transform(s.kind, [1, 2, 3, 4, 5],"
    " ['INTERNAL', 'SERVER', 'CLIENT', 'PRODUCER', 'CONSUMER'], '')"
)
_ZEROS: Final = "toFixedString('', 8)"
# The conventions define no total, so most instrumentation reports only the two addends.
_TOTAL: Final = Field(
    kind=Kind.NUMBER,
    sql="ifNull(toInt128(s.total_tokens),"
    " toInt128(ifNull(s.input_tokens, 0)) + toInt128(ifNull(s.output_tokens, 0)))",
    present="(s.total_tokens IS NOT NULL OR s.input_tokens IS NOT NULL"
    " OR s.output_tokens IS NOT NULL)",
)
PROMPT: Final = Field(kind=Kind.TEXT, sql="said", around=_prompt)
FULL_TEXT: Final = Field(kind=Kind.FULL_TEXT, sql="said", around=_full_text)

PLAIN: Final[dict[str, Field]] = {
    "trace_id": Field(kind=Kind.ID, sql="s.trace_id"),
    "request_id": Field(kind=Kind.ID, sql="s.trace_id"),
    "span_id": Field(kind=Kind.ID, sql="s.span_id", digits=16),
    "parent_span_id": Field(
        kind=Kind.ID, sql="s.parent_span_id", present=f"s.parent_span_id != {_ZEROS}", digits=16
    ),
    "parent_id": Field(
        kind=Kind.ID, sql="s.parent_span_id", present=f"s.parent_span_id != {_ZEROS}", digits=16
    ),
    **_text("name"),
    **_text("type"),
    "kind": Field(kind=Kind.TEXT, sql=_KIND, present=f"{_KIND} != ''"),
    "status": Field(
        kind=Kind.TEXT,
        sql="transform(s.status_code, [1, 2], ['OK', 'ERROR'], 'UNSET')",
        choices=STATUSES,
    ),
    **_text("status_message"),
    "duration": _DURATION,
    "execution_time": _DURATION,
    "start_time": _START,
    "timestamp": _START,
    **_text("experiment", "experiment_id", optional=False),
    **_text("service_name", "service"),
    **_text("version", "app_version"),
    **_text("environment"),
    **_text("deployment_id", "deployment"),
    **_text("git_commit", "commit"),
    **_text("git_branch", "branch"),
    **_text("git_dirty", "dirty"),
    **_text("repository_url", "repository"),
    **_text("session_id", "session"),
    **_text("user_id", "user"),
    **_text("scope_name", "scope"),
    **_tokens("input_tokens"),
    **_tokens("output_tokens"),
    **dict.fromkeys(("total_tokens", "tokens"), _TOTAL),
    **_tokens("cache_read_input_tokens"),
    **_tokens("cache_creation_input_tokens"),
    "text": FULL_TEXT,
    "content": Field(kind=Kind.FULL_TEXT, sql="said", around=_content),
}


def _own(name: Name, parameters: Parameters) -> Field | None:
    """Look up what follows `span.`: an attribute or a key."""
    prefix, _, rest = name.key.partition(".")
    if prefix in {"attributes", "attribute"} and rest:
        return attribute(rest, parameters)
    return PLAIN.get(name.key)


CATALOGUE: Final = Catalogue(
    "spans",
    PLAIN,
    {
        "span": _own,
        "spans": _own,
        "attributes": _attributes,
        "attribute": _attributes,
        "resource": _resource,
        "resource_attributes": _resource,
        "flag": _flag,
        "flags": _flag,
    },
)


def catalogue(find: costs.Find | None) -> Catalogue:
    """Return the keys; without a list of the priced models there is no `cost`."""
    if find is None:
        return CATALOGUE
    cost = partial(costs.of_span, find)
    made = {"cost": cost, "total_cost": cost}

    def own(name: Name, parameters: Parameters) -> Field | None:
        return made[name.key](parameters) if name.key in made else _own(name, parameters)

    families = {**CATALOGUE.families, "span": own, "spans": own}
    return replace(CATALOGUE, made=made, families=families)


def _event_attribute(name: Name, parameters: Parameters) -> Field:
    key = parameters.text(name.key.removeprefix("attributes."))
    found = f"arrayFilter(pair -> pair.key = {key}, event.attributes)"
    return Field(
        kind=Kind.ANY,
        sql=f"arrayMap(said -> {_EVENT_TEXT}, {found}.value)[1]",
        present=f"arrayExists(pair -> pair.key = {key}, event.attributes)",
    )


def _event(name: Name, parameters: Parameters) -> Field | None:
    if name.key.startswith("attributes."):
        return _event_attribute(name, parameters)
    return _EVENT_PLAIN.get(name.key)


_EVENT_PLAIN: Final = {
    "name": Field(kind=Kind.TEXT, sql="event.name"),
    "time": Field(
        kind=Kind.TIME,
        sql="fromUnixTimestamp64Nano(toInt64(event.time_unix_nano), 'UTC')",
    ),
}
_EVENTS: Final = Catalogue(
    "events",
    _EVENT_PLAIN,
    {"event": _event, "events": _event, "attributes": _event_attribute},
)
OF_EVENTS: Final = frozenset({"event", "events"})
OF_SPANS: Final = frozenset({"span", "spans", "resource", "resource_attributes"}) | OF_EVENTS


def condition(text: str, tree: Expression, parameters: Parameters, keys: Catalogue) -> str:
    """Compile a condition on a span `s`, with the keys of `catalogue`."""
    compiler = Compiler(text, keys, parameters, _exists)
    return compiler.compile(gathered(tree, "event", OF_EVENTS)).whole


def _exists(tree: Exists, compiler: Compiler) -> Condition:
    if tree.what == "span":
        # Within the conditions on a span, `exists span` refers to that same span.
        inner = condition(compiler.text, tree.inside, compiler.parameters, compiler.catalogue)
        return Condition(inner, inner)
    events = Compiler(compiler.text, _EVENTS, compiler.parameters)
    inner = events.compile(tree.inside).whole
    sql = f"arrayExists(event -> {inner}, s.events)"
    return Condition(sql, sql)
