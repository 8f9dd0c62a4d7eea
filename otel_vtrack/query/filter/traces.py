"""The keys of traces.

Conditions refer to `t`: a row of `whole_traces`, or a row of `traces`, which may be partial.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Final

from otel_vtrack.query.facts import (
    LONGEST_METADATA,
    PIPELINE_RUN,
    SOURCE_NAMES,
    SOURCE_TYPE,
)
from otel_vtrack.query.filter import costs, sources, spans
from otel_vtrack.query.filter.compiler import Compiler, Condition
from otel_vtrack.query.filter.fields import Catalogue, Field, Kind, Parameters
from otel_vtrack.query.filter.order import Key
from otel_vtrack.query.filter.syntax import Exists, Name, Operator
from otel_vtrack.semconv import VTRACK_FLAG_PREFIX

SPAN_BOUNDS: Final = "/*spans*/ 1"
"""Placeholder in conditions that search spans, to be replaced by bounds on their time."""

STATES: Final = ("OK", "ERROR", "IN_PROGRESS")


def _root(column: str, *names: str) -> dict[str, Field]:
    sql = f"t.root.{column}"
    return dict.fromkeys((column, *names), Field(kind=Kind.TEXT, sql=sql, present=f"{sql} != ''"))


def _of_any_row(column: str, *names: str) -> dict[str, Field]:
    """Return the field for the root's value, else the greatest value of any span."""
    sql = f"t.{column}"
    near = (
        "SELECT n.trace_id FROM traces AS n WHERE {}",
        (f"n.{column}", f"n.root.{column}"),
    )
    field = Field(kind=Kind.TEXT, sql=sql, present=f"{sql} != ''", on_row=False, near=near)
    return dict.fromkeys((column, *names), field)


def _number(column: str, *names: str, optional: bool = False) -> dict[str, Field]:
    sql = f"t.{column}"
    present = f"{sql} IS NOT NULL" if optional else ""
    field = Field(kind=Kind.NUMBER, sql=sql, present=present, on_row=False)
    return dict.fromkeys((column, *names), field)


def _cached(column: str) -> dict[str, Field]:
    """Return the field for cached input tokens; 0 if spans report tokens but none cached."""
    sql = f"t.{column}"
    present = "t.total_tokens IS NOT NULL"
    return {column: Field(kind=Kind.NUMBER, sql=sql, present=present, on_row=False)}


def _of_root(field: Field) -> Field:
    """Return the field of the root span, looked up in `spans`."""
    return Field(
        kind=field.kind,
        sql=field.sql,
        present=field.present,
        around=lambda inner: (
            "(t.trace_id, t.root.span_id) IN"
            f" (SELECT s.trace_id, s.span_id FROM spans AS s WHERE {inner})"
        ),
        join=(
            "LEFT ANY JOIN (SELECT s.trace_id AS trace_id, s.span_id AS span_id,"
            f" toString({field.sql}) AS value FROM spans AS s"
            f" WHERE {field.present or '1'}) AS {{0}}"
            " ON {0}.trace_id = t.trace_id AND {0}.span_id = t.root.span_id"
        ),
        sorted_by="nullIf({0}.value, '')",
    )


def _in_spans(inner: str) -> str:
    return (
        "(t.trace_id, t.experiment) IN"
        f" (SELECT s.trace_id, s.experiment FROM spans AS s WHERE ({inner}) AND {SPAN_BOUNDS})"
    )


def _of_some_span(field: Field, operators: frozenset[Operator]) -> Field:
    inside = field.around or str
    return Field(
        kind=field.kind,
        sql=field.sql,
        operators=operators,
        around=lambda inner: _in_spans(inside(inner)),
        by_id=True,
    )


# Tags

_MIRRORED: Final = {
    "mlflow.traceName": "t.root.name",
    "app_version": "t.root.version",
    "environment": "t.root.environment",
    "deployment_id": "t.root.deployment_id",
}
"""Tags that repeat columns until a caller sets them."""


def tag(key: str, parameters: Parameters) -> Field:
    """Return the field for a tag."""
    bound = parameters.text(key)
    rows = f"FROM trace_tags AS g FINAL WHERE g.key = {bound}"
    column = _MIRRORED.get(key)
    join = (
        f"LEFT ANY JOIN (SELECT g.trace_id AS trace_id, g.value AS value, g.deleted AS deleted,"
        f" 1 AS there {rows}) AS {{0}} ON {{0}}.trace_id = t.trace_id"
    )
    said = "{0}.there = 1 AND {0}.deleted = 0, {0}.value"
    if column is None:
        return Field(
            kind=Kind.ANY,
            sql="g.value",
            around=lambda inner: (
                f"t.trace_id IN (SELECT g.trace_id {rows} AND g.deleted = 0 AND {inner})"
            ),
            by_id=True,
            join=join,
            sorted_by=f"if({said}, NULL)",
        )

    def around(inner: str) -> str:
        of_column = inner.replace("g.value", column)
        return (
            f"(t.trace_id IN (SELECT g.trace_id {rows} AND g.deleted = 0 AND {inner})"
            f" OR ({column} != '' AND {of_column}"
            f" AND t.trace_id NOT IN (SELECT g.trace_id {rows})))"
        )

    return Field(
        kind=Kind.ANY,
        sql="g.value",
        around=around,
        join=join,
        sorted_by=f"multiIf({said}, {{0}}.there = 1 OR {column} = '', NULL, {column})",
    )


def _tag(name: Name, parameters: Parameters) -> Field | None:
    return tag(name.key, parameters) if name.key else None


def _flag(name: Name, parameters: Parameters) -> Field:
    return tag(VTRACK_FLAG_PREFIX + name.key, parameters)


# Metadata

_SESSION: Final = _of_any_row("session_id", "session")
_USER: Final = _of_any_row("user_id", "user")
_VERSION: Final = _root("version", "app_version", "model_id")
_GIT_COLUMNS: Final = {
    name: column
    for column, *names in (
        ("git_commit", "commit", "mlflow.source.git.commit"),
        ("git_branch", "branch", "mlflow.source.git.branch"),
        ("git_dirty", "dirty", "mlflow.source.git.dirty"),
        ("repository_url", "repository", "mlflow.source.git.repoURL"),
    )
    for name in (column, *names)
}
_GIT: Final = {
    key: sources.of_root(spans.PLAIN[key], _of_root(spans.PLAIN[key]))
    for key in _GIT_COLUMNS
    if key in spans.PLAIN
}


def _shown(field: Field) -> Field:
    """Truncate the field as the metadata does."""

    def cut(sql: str) -> str:
        return f"substringUTF8({sql}, 1, {LONGEST_METADATA})"

    near = field.near and (field.near[0], tuple(map(cut, field.near[1])))
    return replace(field, sql=cut(field.sql), near=near)


def _source(names: Iterable[str]) -> str:
    """Return the value from the root `s` or its resource, by the first name that has one."""
    said = ", ".join(
        f"s.{where}['{name}']" for name in names for where in ("attributes", "resource_attributes")
    )
    return f"arrayFirst(said -> said != '', [{said}])"


# query.facts derives the same for a single trace.
_SOURCE_NAME: Final = _source(SOURCE_NAMES)
_SOURCE_TYPE: Final = (
    f"multiIf({_source([SOURCE_TYPE])} != '', {_source([SOURCE_TYPE])},"
    f" s.resource_attributes['{PIPELINE_RUN}'] != '', 'JOB', {_SOURCE_NAME} != '', 'LOCAL', '')"
)
_SOURCE: Final = {
    name: _of_root(_shown(Field(kind=Kind.TEXT, sql=sql, present=f"{sql} != ''")))
    for name, sql in (("name", _SOURCE_NAME), ("type", _SOURCE_TYPE))
}


def _git_shown(key: str) -> Field:
    field = _shown(spans.PLAIN[key])
    return sources.of_root(field, _of_root(field))


_USAGE: Final = Field(
    kind=Kind.TEXT,
    sql=(
        """concat('{"input_tokens": ', toString(ifNull(t.input_tokens, 0)),"""
        """ ', "output_tokens": ', toString(ifNull(t.output_tokens, 0)), ', "total_tokens": ',"""
        """ toString(ifNull(t.total_tokens, 0)),"""
        # MLflow omits these if they are zero.
        """ if(t.cache_read_input_tokens = 0, '', concat(', "cache_read_input_tokens": ',"""
        """ toString(t.cache_read_input_tokens))),"""
        """ if(t.cache_creation_input_tokens = 0, '', concat(', "cache_creation_input_tokens": ',"""
        """ toString(t.cache_creation_input_tokens))), '}')"""
    ),
    present="t.total_tokens IS NOT NULL",
    operators=frozenset({Operator.EQUAL, Operator.IN}),
    on_row=False,
)
_METADATA: Final[dict[str, Field]] = {
    "mlflow.trace.session": _shown(_SESSION["session_id"]),
    "mlflow.trace.user": _shown(_USER["user_id"]),
    "mlflow.user": _USER["user_id"],
    "mlflow.modelId": _VERSION["version"],
    "mlflow.source.git.commit": _git_shown("git_commit"),
    "mlflow.source.git.branch": _git_shown("git_branch"),
    "mlflow.source.git.dirty": _git_shown("git_dirty"),
    "mlflow.source.git.repoURL": _git_shown("repository_url"),
    "mlflow.source.name": _SOURCE["name"],
    "mlflow.source.type": _SOURCE["type"],
    "mlflow.trace.tokenUsage": _USAGE,
    "mlflow.trace.cost": Field(
        kind=Kind.TEXT,
        sql="''",
        instead="query the cost as a number, as in cost > 0.05 or cost IS NULL",
    ),
}


def _metadata(name: Name, parameters: Parameters) -> Field | None:
    if not name.key:
        return None
    found = _METADATA.get(name.key)
    if found is not None:
        return found
    # The root's own attribute, else its resource's.
    key = parameters.text(name.key)
    sql = f"if(s.attributes[{key}] != '', s.attributes[{key}], s.resource_attributes[{key}])"
    return _of_root(Field(kind=Kind.ANY, sql=sql, present=f"{sql} != ''"))


# Assessments


def _assessed(kind: str) -> Callable[[Name, Parameters], Field | None]:
    def find(name: Name, parameters: Parameters) -> Field | None:
        if not name.key:
            return None
        bound = parameters.text(name.key)
        rows = (
            "FROM current_assessments AS a"
            f" WHERE a.assessment_type = '{kind}' AND a.valid AND a.assessment_name = {bound}"
        )

        def around(inner: str) -> str:
            # An assessment of a session applies to each of its traces.
            return (
                f"(t.trace_id IN (SELECT a.trace_key {rows} AND a.session_id = '' AND {inner})"
                f" OR t.session_id IN (SELECT a.session_id {rows} AND a.session_id != ''"
                f" AND {inner}))"
            )

        return Field(
            kind=Kind.ANY,
            sql="if(a.value_type = 'string', JSONExtractString(a.value), a.value)",
            number="if(a.value_type = 'number' AND isFinite(a.number), a.number, NULL)",
            present="a.value != ''",
            exists="1",
            around=around,
            on_row=False,
        )

    return find


# Spans


def _span(name: Name, parameters: Parameters) -> Field | None:
    """Look up a key of spans, for sorting and messages only; filters gather their clauses first."""
    found = spans.CATALOGUE.families["span"](name, parameters)
    # A trace has many spans, so it cannot be sorted by their keys.
    return found and replace(found, around=str)


def exists(tree: Exists, compiler: Compiler) -> Condition:
    """Compile `exists span (...)` into a condition on trace IDs."""
    inner = tree.inside if tree.what == "span" else tree
    keys = compiler.catalogue.inner or spans.CATALOGUE
    condition = _in_spans(spans.condition(compiler.text, inner, compiler.parameters, keys))
    return Condition(condition, condition, by_id=True)


_TIMESTAMP: Final = Field(kind=Kind.TIME, sql="t.root.start_time")
_DURATION: Final = Field(kind=Kind.DURATION, sql="t.duration_ns", on_row=False)
_END: Final = Field(kind=Kind.TIME, sql="t.end_time", on_row=False)
_STATUS: Final = Field(
    kind=Kind.TEXT,
    sql="multiIf(t.root.rank = 2, 'IN_PROGRESS', t.root.status_code = 2, 'ERROR', 'OK')",
    choices=STATES,
)
_ID: Final = Field(kind=Kind.ID, sql="t.trace_id", by_id=True)
_EXPERIMENT: Final = Field(kind=Kind.TEXT, sql="t.experiment", by_id=True)


def _attribute_of_root(key: str) -> Field:
    field = Field(
        kind=Kind.TEXT, sql=f"s.attributes['{key}']", present=f"s.attributes['{key}'] != ''"
    )
    return _of_root(field)


PLAIN: Final[dict[str, Field]] = {
    **dict.fromkeys(("request_id", "trace_id", "id"), _ID),
    "client_request_id": _attribute_of_root("client_request_id"),
    **dict.fromkeys(("experiment", "experiment_id"), _EXPERIMENT),
    **dict.fromkeys(("status", "state"), _STATUS),
    **dict.fromkeys(("timestamp", "timestamp_ms", "start_time", "request_time"), _TIMESTAMP),
    **dict.fromkeys(
        ("execution_time", "execution_time_ms", "execution_duration", "duration"), _DURATION
    ),
    **dict.fromkeys(("end_time", "end_time_ms"), _END),
    **_root("name"),
    **_root("service_name", "service"),
    **_VERSION,
    **_root("environment"),
    **_root("deployment_id", "deployment"),
    **_SESSION,
    **_USER,
    **_GIT,
    "run_id": _attribute_of_root("mlflow.sourceRun"),
    "prompt": _of_some_span(spans.PROMPT, frozenset({Operator.EQUAL})),
    "text": _of_some_span(
        spans.FULL_TEXT, frozenset({Operator.LIKE, Operator.ILIKE, Operator.CONTAINS})
    ),
    **_number("input_tokens", optional=True),
    **_number("output_tokens", optional=True),
    **_number("total_tokens", "tokens", optional=True),
    **_cached("cache_read_input_tokens"),
    **_cached("cache_creation_input_tokens"),
    **_number("span_count"),
    **_number("error_count"),
}

_CATALOGUE: Final = Catalogue(
    "traces",
    PLAIN,
    {
        "tag": _tag,
        "tags": _tag,
        "metadata": _metadata,
        "request_metadata": _metadata,
        "trace_metadata": _metadata,
        "flag": _flag,
        "flags": _flag,
        "feedback": _assessed("feedback"),
        "expectation": _assessed("expectation"),
        "span": _span,
        "spans": _span,
        "event": _span,
        "resource": _span,
    },
    frozenset({"trace", "attribute", "attributes"}),
    inner=spans.CATALOGUE,
)


def catalogue(find: costs.Find | None) -> Catalogue:
    """Return the keys; without a list of the priced models there is no `cost`."""
    if find is None:
        return _CATALOGUE
    cost = partial(costs.field, find)
    made = {"cost": cost, "total_cost": cost}
    return replace(_CATALOGUE, made=made, inner=spans.catalogue(find))


def sorting(catalogue: Catalogue, mixed: sources.Mixed | None) -> Catalogue:
    """Return the keys as used for sorting traces."""

    def git(column: str, parameters: Parameters) -> Field:
        del parameters
        return sources.sorting(_GIT[column], column, mixed)

    def metadata(name: Name, parameters: Parameters) -> Field | None:
        column = _GIT_COLUMNS.get(name.key) if name.key in _METADATA else None
        return git(column, parameters) if column else _metadata(name, parameters)

    made = {key: partial(git, _GIT_COLUMNS[key]) for key in _GIT}
    keys = {key: field for key, field in catalogue.keys.items() if key not in made}
    families = {
        key: metadata if find is _metadata else find for key, find in catalogue.families.items()
    }
    return replace(catalogue, keys=keys, families=families, made={**catalogue.made, **made})


TAIL: Final = (
    Key("t.root.start_time", "t.root.start_time", Kind.TIME, descending=True),
    Key("t.trace_id", "t.trace_id", Kind.ID, descending=False),
    Key("t.experiment", "t.experiment", Kind.TEXT, descending=False),
)
