"""Page through user-written data: the rows of the tables that keep changes."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from otel_vtrack.store.client import Store

DEFAULT_ROWS: Final = 1_000
MOST_ROWS: Final = 10_000

_NO_TRACE: Final = "0" * 32
_NO_UUID: Final = "00000000-0000-0000-0000-000000000000"
_EARLIEST_NS: Final = -(1 << 63)


@dataclass(frozen=True, slots=True)
class Kind:
    """One table of changes.

    Attributes:
        noun: What its rows are about.
        key: Its key columns in sort order, each with a value that sorts before the first row.
        has_experiment: Whether its rows name their experiment.
        about_traces: Whether its rows are about traces.
    """

    noun: str
    key: Mapping[str, Any]
    has_experiment: bool = True
    about_traces: bool = False


_CHANGE: Final = {"change_time": _EARLIEST_NS, "change_id": _NO_UUID}
KINDS: Final = (
    Kind("experiments", {"experiment": "", **_CHANGE}),
    Kind(
        "deployments",
        {"experiment": "", "service_name": "", "environment": "", "deployment_id": "", **_CHANGE},
    ),
    Kind("versions", {"experiment": "", "service_name": "", "version": "", **_CHANGE}),
    Kind("version_aliases", {"experiment": "", "service_name": "", "alias": "", **_CHANGE}),
    Kind(
        "trace_tags",
        {"key": "", "trace_id": _NO_TRACE},
        has_experiment=False,
        about_traces=True,
    ),
    Kind(
        "assessments",
        {"trace_id": _NO_TRACE, "assessment_id": "", **_CHANGE},
        about_traces=True,
    ),
)
"""In the order in which they are returned."""

_QUERIES: Final = {
    "experiments": "export/experiments",
    "deployments": "export/deployments",
    "versions": "export/versions",
    "version_aliases": "export/version_aliases",
    "trace_tags": "export/trace_tags",
    "assessments": "export/assessments",
}

START: Final[list[Any]] = [KINDS[0].noun, *KINDS[0].key.values()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """Which of the rows about traces to return.

    Attributes:
        from_ns: Only traces whose root starts at or after this time; None for any.
        until_ns: Only traces whose root starts before this time; None for any.
        choose: Selects from a set of trace IDs; None for all.
    """

    from_ns: int | None = None
    until_ns: int | None = None
    choose: Callable[[Collection[str]], Collection[str]] | None = None

    @property
    def restricts(self) -> bool:
        """Whether it excludes anything."""
        given = (self.from_ns, self.until_ns, self.choose)
        return any(each is not None for each in given)


class Page(NamedTuple):
    """Rows of one kind and the place to continue from; None after the last."""

    noun: str
    rows: list[dict[str, Any]]
    place: list[Any] | None


def page(store: Store, place: list[Any], *, experiment: str, traces: Traces, max_rows: int) -> Page:
    """Return the rows after a place: a `Page.place` or START.

    Args:
        store: The store to query.
        place: A noun and a key.
        experiment: Its name in telemetry; empty for all.
        traces: Which traces' rows to return.
        max_rows: The most rows to read, before any are excluded.
    """
    noun, *after = place
    at, kind = next((at, kind) for at, kind in enumerate(KINDS) if kind.noun == noun)
    names = ("time" if name == "change_time" else name for name in kind.key)
    parameters = {f"after_{name}": value for name, value in zip(names, after, strict=True)}
    found = store.query(
        _QUERIES[noun], {**parameters, "experiment": experiment, "max_rows": max_rows}
    )
    if len(found) == max_rows:
        on: list[Any] | None = [noun, *(found[-1][name] for name in kind.key)]
    elif kind is KINDS[-1]:
        on = None
    else:
        on = [KINDS[at + 1].noun, *KINDS[at + 1].key.values()]
    if kind.about_traces and found:
        found = _of(store, found, kind, experiment, traces)
    return Page(noun, found, on)


def _of(
    store: Store, rows: list[dict[str, Any]], kind: Kind, experiment: str, traces: Traces
) -> list[dict[str, Any]]:
    """Exclude rows about other traces."""
    by_experiment = experiment and not kind.has_experiment
    if not by_experiment and not traces.restricts:
        return rows
    wanted = {row["trace_id"] for row in rows} - {_NO_TRACE}
    if wanted and (by_experiment or traces.from_ns is not None or traces.until_ns is not None):
        wanted = {
            known["trace_id"]
            for known in store.query("export/starts", {"trace_ids": sorted(wanted)})
            if (not experiment or experiment == known["experiment"])
            and (traces.from_ns is None or known["root_start_ns"] >= traces.from_ns)
            and (traces.until_ns is None or known["root_start_ns"] < traces.until_ns)
        }
    if wanted and traces.choose is not None:
        wanted = set(traces.choose(sorted(wanted)))
    return [row for row in rows if row["trace_id"] in wanted]
