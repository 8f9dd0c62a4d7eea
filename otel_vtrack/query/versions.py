"""Find versions, with data from telemetry and from users."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from otel_vtrack.errors import InvalidArgument, NotFound
from otel_vtrack.query import experiments, paging
from otel_vtrack.query.filter import CompiledVersions, compile_versions
from otel_vtrack.query.prices import BUILT_IN, Prices
from otel_vtrack.query.version_usage import MOST_TRACES, Asked, Usage, of_versions
from otel_vtrack.store import sql
from otel_vtrack.store.client import Store

ALIAS_SIGN: Final = "@"
"""Precedes an alias wherever a version is named."""

_FEWEST_TRACES: Final = 500
_PLACES: Final = "versions/places"
_TOLD: Final = "versions/told"
_WEIGHED: Final = "versions/weighed"
_OF_TOLD: Final = ("v.flags", "v.aliases", "v.note")
"""Columns of `versions/told`, as in conditions and sort keys."""

_BESIDE: Final = {"place", "stored_count", "weights", "weighed_places"}
"""Columns that are not fields of `Version`."""

MOST_PRICED: Final = 1_000
"""The most versions whose cost a search by cost sums."""

_COUNTS: Final = ("trace_count", "error_trace_count")
"""Columns in which each trace counts as many times as it represents."""

_KEY: Final = "concat(a.experiment, '\\0', a.service_name, '\\0', a.version)"
_KEYS: Final = "JSONExtract({cost_keys:String}, 'Array(String)')"
_COST: Final = (
    "JSONExtract({costs:String}, 'Array(Nullable(Float64))')["
    f"transform({_KEY}, {_KEYS}, range(1, 1 + length({_KEYS})), 0)]"
)


class Place(NamedTuple):
    """A version in one environment and deployment; see `Version` for the numbers."""

    environment: str
    deployment_id: str
    first_seen_ns: int
    last_seen_ns: int
    trace_count: int
    error_trace_count: int
    session_count: int
    user_count: int


class Flag(NamedTuple):
    """A variant of a feature flag."""

    flag: str
    variant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version of a service; texts are empty if no span reports them.

    Attributes:
        places: Where it ran, the place last seen first.
        first_seen_ns: Start of its earliest span, in nanoseconds since 1970.
        last_seen_ns: Start of its latest span.
        trace_count: Each trace counts as many times as it represents. Like the other counts, exact
            up to 65,536, an estimate above.
        flags: The variants that it saw, sorted; at most a hundred.
        aliases: Sorted, without `@`.
        usage: Only if requested, and None if none of its traces reports any.
    """

    experiment: str
    service_name: str
    version: str
    places: tuple[Place, ...]
    git_commit: str
    git_branch: str
    git_dirty: str
    repository_url: str
    first_seen_ns: int
    last_seen_ns: int
    trace_count: int
    error_trace_count: int
    session_count: int
    user_count: int
    flags: tuple[Flag, ...]
    aliases: tuple[str, ...]
    note: str
    usage: Usage | None = None


class Named(NamedTuple):
    """Identifies a version."""

    experiment: str
    service_name: str
    version: str


@dataclass(frozen=True, slots=True)
class Page:
    """A page of versions and the token for the next page; empty after the last."""

    versions: list[Version]
    next_page_token: str


def get(
    store: Store,
    text: str,
    *,
    experiment: str = "",
    service_name: str = "",
    usage_by: Prices | None = None,
) -> Version:
    """Load one version.

    Args:
        store: The store to query.
        text: The version, or `@` and an alias.
        experiment: Its experiment's telemetry name or display name; empty for any.
        service_name: Its service; empty for any.
        usage_by: The prices of tokens, if usage is to be summed.

    Raises:
        NotFound: There is none.
        InvalidArgument: There are several, in different experiments or services.
    """
    named = Named(experiments.resolve(store, experiment), service_name, text)
    if text.startswith(ALIAS_SIGN):
        named = _aliased(store, named)
    every = compile_versions(None)
    rows = _rows(store, named, every, wanted=2, any_version=False)
    if not rows:
        raise _missing(named)
    if len(rows) > 1:
        raise several(text, [Named(r["experiment"], r["service_name"], r["version"]) for r in rows])
    [found] = _used(store, rows, every, usage_by)
    return found


def named_by(store: Store, text: str, *, experiment: str = "", service_name: str = "") -> Named:
    """Return the version that `text` names, without checking that it exists.

    Without an alias, empty arguments stay empty.

    Raises:
        NotFound: The alias refers to no version.
        InvalidArgument: The alias refers to several, in different experiments or services.
    """
    named = Named(experiments.resolve(store, experiment), service_name, text)
    return _aliased(store, named) if text.startswith(ALIAS_SIGN) else named


def holders(
    store: Store, alias: str, *, experiment: str = "", service_name: str = ""
) -> list[Named]:
    """List the versions that an alias, given without `@`, refers to: at most one per service."""
    rows = store.query(
        "versions/aliased",
        {
            "alias": alias,
            "experiment": experiments.resolve(store, experiment),
            "service_name": service_name,
        },
    )
    return [Named(**row) for row in rows]


def search(
    store: Store,
    *,
    experiment: str = "",
    filter_: str = "",
    order_by: Sequence[str] = (),
    page_size: int = 0,
    page_token: str = "",
    usage_by: Prices | None = None,
    table: Prices = BUILT_IN,
) -> Page:
    """Find versions, the last seen first by default.

    Args:
        store: The store to query.
        experiment: Its name in telemetry or its display name; empty for any.
        filter_: A filter in the search language; conditions on environment and deployment select
            the places that count, for every number.
        order_by: Sort keys of the search language.
        page_size: 0 for the default.
        page_token: The token from the previous page.
        usage_by: The prices of tokens, if usage is to be summed.
        table: The prices of tokens for a filter or order by cost.

    Raises:
        InvalidArgument: The filter, order or size is invalid, the token belongs to another query,
            or too many versions would have to be summed.
    """
    wanted = paging.size(page_size)
    asked = compile_versions(filter_, order_by)
    question = {"versions": experiment, "filter": filter_, "order_by": list(order_by)}
    after = paging.place(page_token, question) if page_token else None
    named = Named(experiments.resolve(store, experiment), "", "")
    usage = _usage(store, named, asked, usage_by or table) if asked.by_cost else None
    rows = _rows(store, named, asked, wanted=wanted + 1, after=after, usage=usage)
    found = _used(store, rows[:wanted], asked, usage_by, usage)
    if len(rows) <= wanted:
        return Page(found, "")
    return Page(found, paging.token(rows[wanted - 1]["place"], question))


def _rows(
    store: Store,
    named: Named,
    asked: CompiledVersions,
    *,
    wanted: int,
    any_version: bool = True,
    after: Sequence[Any] | None = None,
    usage: Mapping[Named, Usage | None] | None = None,
) -> list[dict[str, Any]]:
    bound = {**named._asdict(), "any_version": int(any_version), **asked.parameters}
    parts = {"places": asked.places}
    with ThreadPoolExecutor(2) as pool:
        beside = [pool.submit(_read, store, name, bound, parts) for name in (_PLACES, _TOLD)]
        rows = _found(store, bound, asked, wanted=wanted, after=after, usage=usage)
        places, told = (each.result() for each in beside)
    if any(_key(row) not in places for row in rows):
        # A version has arrived in the meantime.
        places = _read(store, _PLACES, bound, parts)
    nothing = {"flags": [], "aliases": [], "note": ""}
    return [_reweighed(row | places[_key(row)]) | told.get(_key(row), nothing) for row in rows]


def _found(
    store: Store,
    bound: Mapping[str, Any],
    asked: CompiledVersions,
    *,
    wanted: int,
    after: Sequence[Any] | None = None,
    usage: Mapping[Named, Usage | None] | None = None,
) -> list[dict[str, Any]]:
    where = asked.where
    if after is not None:
        where = f"({where}) AND {asked.order.after(after, asked.texts)}"
    bound = {**bound, **asked.parameters, "wanted": wanted}
    parts = {"where": where, "order": asked.order.sql, "place": asked.order.place}
    if not any(each in part for each in _OF_TOLD for part in parts.values()):
        parts |= {"told": "", "telling": ""}
    if usage is not None:
        parts["cost"] = _COST
        bound |= _costs(usage)
    parts["places"] = asked.places
    weighed: dict[Named, dict[str, Any]] = {}
    if any(f"v.{each}" in part for each in _COUNTS for part in parts.values()):
        weighed = _read(store, _WEIGHED, bound, parts)
        for each in _COUNTS:
            known = f"JSONExtract({{{each}s:String}}, 'Map(String, UInt64)')"
            as_stored = sql.part("versions/search", each)
            parts[each] = f"if(mapContains({known}, {_KEY}), {known}[{_KEY}], {as_stored})"
            counts = {"\0".join(key): row[each] for key, row in weighed.items()}
            bound[f"{each}s"] = json.dumps(counts)
    rows = store.query("versions/search", bound, parts)
    if not weighed and any(row["weights"] > 1 for row in rows):
        weighed = _read(store, _WEIGHED, bound, parts)
    return [row | weighed.get(_key(row), {}) for row in rows]


def _reweighed(row: dict[str, Any]) -> dict[str, Any]:
    """Replace the counts of those places for which weighted ones are known."""
    known = {(at, deployment): counts for at, deployment, *counts in row.get("weighed_places", ())}
    places = (_values(place) for place in row["places"])
    return row | {
        "places": [(*at[:4], *known.get((at[0], at[1]), at[4:6]), *at[6:]) for at in places]
    }


def _usage(
    store: Store, named: Named, asked: CompiledVersions, table: Prices
) -> dict[Named, Usage | None]:
    """Sum the usage of each version that may match.

    Raises:
        InvalidArgument: There are too many.
    """
    free = replace(asked, where=asked.free, order=compile_versions(None).order)
    bound = {**named._asdict(), "any_version": 1}
    rows = _found(store, bound, free, wanted=MOST_PRICED + 1)
    if len(rows) > MOST_PRICED:
        raise InvalidArgument(
            f"more than {MOST_PRICED:,} versions would have to be added up to search by cost: name"
            " an experiment, or narrow the filter by another key, such as last_seen"
        )
    usage = _added_up(store, rows, asked, table)
    return {_key(row): each for row, each in zip(rows, usage, strict=True)}


def _costs(usage: Mapping[Named, Usage | None]) -> dict[str, str]:
    """Bind the costs of versions, leaving out those not fully known."""
    known = {
        "\0".join(key): used.cost.total_cost
        for key, used in usage.items()
        if used is not None and not used.cost.unknown_models
    }
    return {
        # An empty list has no type in the engine.
        "cost_keys": json.dumps(list(known) or [""]),
        "costs": json.dumps(list(known.values()) or [None]),
    }


def _read(
    store: Store, name: str, bound: Mapping[str, Any], parts: Mapping[str, str]
) -> dict[Named, dict[str, Any]]:
    rows = store.query(name, bound, parts)
    return {_key(row): row for row in rows}


def _key(row: Mapping[str, Any]) -> Named:
    return Named(row["experiment"], row["service_name"], row["version"])


def _used(
    store: Store,
    rows: Sequence[dict[str, Any]],
    asked: CompiledVersions,
    table: Prices | None,
    usage: Mapping[Named, Usage | None] | None = None,
) -> list[Version]:
    found = [_version(row) for row in rows]
    if table is None:
        return found
    if usage is not None:
        # A version that arrived in the meantime has not been summed.
        used = [usage.get(_key(row)) for row in rows]
    else:
        used = _added_up(store, rows, asked, table)
    return [replace(each, usage=its) for each, its in zip(found, used, strict=True)]


def _added_up(
    store: Store, rows: Sequence[dict[str, Any]], asked: CompiledVersions, table: Prices
) -> list[Usage | None]:
    names = ("stored_count", "first_seen_ns", "last_seen_ns")
    return of_versions(
        store,
        [Asked(*_key(row), *(row[name] for name in names)) for row in rows],
        table,
        # Fewer of each on a long page.
        most=max(_FEWEST_TRACES, 2 * MOST_TRACES // max(len(rows), 2)),
        places=asked.places,
        parameters=asked.parameters,
    )


def _version(row: dict[str, Any]) -> Version:
    fields = {name: value for name, value in row.items() if name not in _BESIDE}
    fields["places"] = tuple(Place(*place) for place in row["places"])
    fields["flags"] = tuple(Flag(*_values(flag)) for flag in row["flags"])
    fields["aliases"] = tuple(row["aliases"])
    return Version(**fields)


def _values(fields: Any) -> Sequence[Any]:
    # The driver returns a tuple with named fields as a dict.
    return tuple(fields.values()) if isinstance(fields, dict) else fields


def _aliased(store: Store, named: Named) -> Named:
    alias = named.version.removeprefix(ALIAS_SIGN)
    found = holders(store, alias, experiment=named.experiment, service_name=named.service_name)
    if not found:
        raise NotFound(
            f"no version has the alias {alias}: `vtrack versions list` shows those that exist"
        )
    if len(found) > 1:
        raise several(named.version, found)
    return found[0]


def _missing(named: Named) -> NotFound:
    where = "".join(
        f" in {what} {name}"
        for what, name in (("experiment", named.experiment), ("service", named.service_name))
        if name
    )
    return NotFound(
        f"there is no version {named.version or '(none)'}{where}: `vtrack versions list` shows"
        " those that exist"
    )


def several(text: str, found: Sequence[Named]) -> InvalidArgument:
    """Make the error for a `text` that names several versions."""
    seen = ", ".join(f"{each.service_name or '(none)'} in {each.experiment}" for each in found)
    return InvalidArgument(
        f"{text or '(none)'} is a version of {seen}: choose one by experiment and service_name"
    )
