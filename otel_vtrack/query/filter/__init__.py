"""The search language: MLflow's `filter_string` with extensions, documented in docs/search.md.

A filter compiles to an SQL condition and bound texts; no part of it reaches SQL any other way.
Callers put the condition into their own query:

    found = compile_versions("environment = 'production' AND trace_count > 100", ["last_seen DESC"])
    statement = f"SELECT ... WHERE {found.where} ORDER BY {found.order.sql} LIMIT 100"
    store.select(statement, found.parameters)

Conditions refer to columns through an alias: `t` for the view `whole_traces`, `s` for `spans`, `a`
for the view `current_assessments`, and `v` for versions. Version columns are named as in their
proto: times are DateTime64(9), `flags` is Array(Tuple(flag String, variant String)) and `aliases`
is Array(String).

To page, select `order.place`, the position of a row in the order, with each row and put the last
one into the page token. Add `order.after(place, parameters)`, the condition that a row comes after
that place, to the next page's query.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TypeVar

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query.filter import (
    assessments,
    costs,
    groups,
    order,
    parser,
    problems,
    sources,
    spans,
    traces,
    versions,
)
from otel_vtrack.query.filter.compiler import Compiler, Condition, all_of
from otel_vtrack.query.filter.fields import Kind, Parameters
from otel_vtrack.query.filter.order import Key, Order
from otel_vtrack.query.filter.syntax import And, Clause, Exists, Expression, Not, Or

__all__ = [
    "Compiled",
    "CompiledTraces",
    "CompiledVersions",
    "Order",
    "compile_assessments",
    "compile_spans",
    "compile_traces",
    "compile_versions",
]

_Any = TypeVar("_Any", bound="Compiled")


@dataclass(frozen=True, slots=True)
class Compiled:
    """A filter and its order, as SQL.

    Attributes:
        where: The condition; `1` if the filter is empty.
        order: The sort keys; the last ones make the order total.
        texts: The values to bind; add further ones before reading `parameters`.
    """

    where: str
    order: Order
    texts: Parameters

    @property
    def parameters(self) -> dict[str, str]:
        """Values of all `{pN:String}` in `where` and in what `order.after` added to `texts`."""
        return self.texts.bound


@dataclass(frozen=True, slots=True)
class CompiledVersions(Compiled):
    """A filter of versions, as SQL.

    Attributes:
        places: The condition on where a version ran, which is not part of `where`. It applies to
            rows of one environment and deployment each, `v.environment` and `v.deployment_id`,
            before they are summed.
        free: The part of `where` that does not need the cost.
        by_cost: Whether the filter or the order needs the cost.
    """

    places: str = field(default="1")
    free: str = field(default="1")
    by_cost: bool = field(default=False)


@dataclass(frozen=True, slots=True)
class CompiledTraces(Compiled):
    """A filter of traces, as SQL.

    Attributes:
        where: The condition on the whole trace, without what `row` already settles.
        row: The necessary condition on the row of `traces` that holds the trace's root; other rows
            of the trace may or may not match it.
        row_only: The part of `row` that does not read `spans`.
        of_root: Whether `row` alone decides: a trace matches exactly if the row with its root does.
    """

    row: str = field(default="1")
    row_only: str = field(default="1")
    of_root: bool = field(default=False)


def compile_traces(
    text: str | None,
    order_by: Sequence[str] = (),
    *,
    experiment: str = "",
    priced: costs.Find | None = None,
    mixed: sources.Mixed | None = None,
) -> CompiledTraces:
    """Compile a filter of traces; the order falls back to the latest root start first.

    Args:
        text: The filter.
        order_by: Sort keys, each optionally followed by ASC or DESC.
        experiment: The experiment's name in telemetry; empty for any.
        priced: Lists the models that have a price; without it there is no key `cost`.
        mixed: Reports whether any version ran with several values of a source column in one place;
            without it, any version is assumed to.

    Raises:
        InvalidArgument: The filter or the order is invalid.
    """
    parameters = Parameters()
    catalogue = traces.catalogue(priced and cache(priced))
    compiler = Compiler(text or "", catalogue, parameters, traces.exists)
    found = compiler.conjuncts(groups.gathered(parser.parse(text), "span", spans.OF_SPANS))
    if experiment:
        sql = f"t.experiment = {parameters.text(experiment)}"
        found.insert(0, Condition(sql, sql, by_id=True))
    compiled = CompiledTraces(
        all_of(each.whole for each in found if not each.by_id),
        order.parse(order_by, traces.sorting(catalogue, mixed), parameters, traces.TAIL),
        parameters,
        all_of(each.row for each in found),
        all_of(each.row for each in found if traces.SPAN_BOUNDS not in each.row),
        all(each.row == each.whole for each in found),
    )
    # Each cost condition repeats the condition on rows, in place of `costs.WANTED`.
    return _fitting(compiled, compiled.row * (1 + compiled.where.count(costs.WANTED)))


def compile_spans(
    text: str | None,
    order_by: Sequence[str] = (),
    *,
    experiment: str = "",
    priced: costs.Find | None = None,
) -> Compiled:
    """Compile a filter of spans; the order falls back to the latest start first.

    Args:
        text: The filter.
        order_by: Sort keys, each optionally followed by ASC or DESC.
        experiment: The experiment's name in telemetry; empty for any.
        priced: Lists the models that have a price; without it there is no key `cost`.

    Raises:
        InvalidArgument: The filter or the order is invalid.
    """
    parameters = Parameters()
    catalogue = spans.catalogue(priced and cache(priced))
    where = [spans.condition(text or "", parser.parse(text), parameters, catalogue)]
    if experiment:
        where.insert(0, f"s.experiment = {parameters.text(experiment)}")
    keys = order.parse(order_by, catalogue, parameters, _SPANS_TAIL)
    return _fitting(Compiled(all_of(where), keys, parameters))


def compile_versions(text: str | None, order_by: Sequence[str] = ()) -> CompiledVersions:
    """Compile a filter of versions; the order falls back to the last seen first.

    Raises:
        InvalidArgument: The filter or the order is invalid, or OR or NOT combines a condition on
            environment or deployment with others.
    """
    tree = parser.parse(text)
    parameters = Parameters()
    compiler = Compiler(text or "", versions.CATALOGUE, parameters)
    where: list[str] = []
    places: list[str] = []
    for part in _conjuncts(tree):
        about = {clause.name.key in versions.PLACES for clause in _clauses(part)}
        condition = compiler.compile(part).whole
        if about == {True}:
            places.append(condition)
        elif True in about:
            raise problems.at(
                text or "",
                _clauses(part)[0].name.at,
                "environment and deployment decide which places count: join conditions on them to"
                " others by AND only",
            )
        else:
            where.append(condition)
    keys = order.parse(order_by, versions.SORTED_BY, parameters, _VERSIONS_TAIL)
    free = [each for each in where if versions.COST not in each]
    by_cost = len(free) < len(where) or versions.COST in keys.sql
    return _fitting(
        CompiledVersions(
            all_of(where), keys, parameters, all_of(places), all_of(free), by_cost=by_cost
        )
    )


def compile_assessments(text: str | None, order_by: Sequence[str] = ()) -> Compiled:
    """Compile a filter of assessments; the order falls back to the latest created first.

    Raises:
        InvalidArgument: The filter or the order is invalid.
    """
    parameters = Parameters()
    compiler = Compiler(text or "", assessments.CATALOGUE, parameters)
    where = compiler.compile(parser.parse(text)).whole
    keys = order.parse(order_by, assessments.CATALOGUE, parameters, _ASSESSMENTS_TAIL)
    return _fitting(Compiled(where, keys, parameters))


_LONGEST_SQL = 200_000
"""Less than the engine's limit on the length of a statement."""


def _fitting(found: _Any, *parts: str) -> _Any:
    """Return the compiled filter if it fits into a statement.

    Raises:
        InvalidArgument: It is too long.
    """
    keys = 2 * len(found.order.sql) + len(found.order.joins)
    if sum(map(len, parts)) + len(found.where) + keys > _LONGEST_SQL:
        raise InvalidArgument(
            "the filter is too complex: use fewer conditions, above all on cost, or fewer values in"
            " lists"
        )
    return found


_SPANS_TAIL = (
    Key("s.start_time", "s.start_time", Kind.TIME, descending=True),
    Key("s.trace_id", "s.trace_id", Kind.ID, descending=False),
    Key("s.span_id", "s.span_id", Kind.ID, descending=False),
)
_VERSIONS_TAIL = (
    Key("v.last_seen", "v.last_seen", Kind.TIME, descending=True),
    Key("v.experiment", "v.experiment", Kind.TEXT, descending=False),
    Key("v.service_name", "v.service_name", Kind.TEXT, descending=False),
    Key("v.version", "v.version", Kind.TEXT, descending=False),
)
_ASSESSMENTS_TAIL = (
    Key("a.create_time", "a.create_time", Kind.TIME, descending=True),
    Key("a.assessment_id", "a.assessment_id", Kind.TEXT, descending=False),
)


def _conjuncts(tree: Expression) -> list[Expression]:
    if isinstance(tree, And):
        return [each for part in tree.parts for each in _conjuncts(part)]
    return [tree]


def _clauses(tree: Expression) -> list[Clause]:
    match tree:
        case Clause():
            return [tree]
        case Not(inside) | Exists(_, inside, _):
            return _clauses(inside)
        case And(parts) | Or(parts):
            return [each for part in parts for each in _clauses(part)]
