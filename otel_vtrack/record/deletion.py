"""Deletes experiments and traces, with all that is below them.

`store/sql/deletions/` has a statement for each table: what of it goes. Rows are marked as
deleted and seen no more; the engine gives their space back when it merges the parts they are in.
"""

import contextlib
import uuid
from collections.abc import Generator, Sequence
from typing import Any, Final, NamedTuple

from otel_vtrack.errors import InvalidArgument, StoreUnavailable
from otel_vtrack.query import experiments, export
from otel_vtrack.store import sql
from otel_vtrack.store.client import Store

MOST_IDS: Final = 1_000
"""Traces that one call deletes by their ids."""
_MOST_AT_A_TIME: Final = 500_000
_LATEST_NS: Final = (1 << 63) - 1

# Last come those by which the others, or a second attempt, find what is to go.
_LAST: Final = ("traces", "log_sources", "versions", "experiment_changes", "doomed_traces")


class Below(NamedTuple):
    """How much is below an experiment; of a trace that crosses experiments, its part there."""

    trace_count: int
    span_count: int
    log_record_count: int
    assessment_count: int
    version_count: int
    deployment_count: int


def delete_experiment(store: Store, text: str, *, dry_run: bool = False) -> Below:
    """Delete an experiment and all below it; it comes back, empty, with its next telemetry.

    What was acknowledged before the call goes. Deleting one that is not there deletes nothing,
    so the call may be repeated.

    Args:
        store: Where it is.
        text: What telemetry or people call it.
        dry_run: Only count.

    Returns:
        What went, or would go.

    Raises:
        InvalidArgument: `text` is empty.
        StoreUnavailable: Not now, or not all of it went: the same call may succeed later.
    """
    if not text:
        raise InvalidArgument("experiment is empty: say which one to delete")
    key = experiments.resolve(store, text, fresh=True)
    with _undisturbed(store, dry_run=dry_run):
        below = _below(store, key)
        if not dry_run:
            deletion = {"deletion_id": uuid.uuid4(), "experiment": key}
            bounds = {"until_ns": _LATEST_NS, "most": _LATEST_NS}
            _run(store, "choose/by_time", deletion | bounds)
            _run_all(store, "experiments", deletion)
    experiments.forget_names(store)
    return below


def delete_traces(store: Store, trace_ids: Sequence[str], *, dry_run: bool = False) -> int:
    """Delete traces with their spans, log records, tags and assessments.

    Args:
        store: Where they are.
        trace_ids: 32 hexadecimal digits each; those that are not there do not matter.
        dry_run: Only count.

    Returns:
        How many went, or would go.

    Raises:
        InvalidArgument: One is no id, or there are more than `MOST_IDS`.
        StoreUnavailable: Not now, or not all of it went: the same call may succeed later.
    """
    if len(trace_ids) > MOST_IDS:
        raise InvalidArgument(f"{len(trace_ids)} traces are more than the {MOST_IDS} of one call")
    ids = sorted({export.trace_id_from_text(each) for each in trace_ids})
    with _undisturbed(store, dry_run=dry_run):
        if dry_run:
            return _count(store, "deletion/count_traces_by_id", {"trace_ids": ids})
        deletion = {"deletion_id": uuid.uuid4()}
        _run(store, "choose/by_id", deletion | {"trace_ids": ids})
        return _delete_doomed(store, deletion)


def delete_traces_before(store: Store, text: str, until_ns: int, *, dry_run: bool = False) -> int:
    """Delete the traces of an experiment whose root began before a time.

    Of a trace that crosses experiments its part in this one goes; tags and assessments go with
    the last part.

    Args:
        store: Where they are.
        text: What telemetry or people call the experiment.
        until_ns: The time, in nanoseconds since 1970.
        dry_run: Only count.

    Returns:
        How many went, or would go.

    Raises:
        InvalidArgument: `text` is empty.
        StoreUnavailable: Not now, or not all of it went: the same call may succeed later.
    """
    if not text:
        raise InvalidArgument("experiment is empty: say whose traces to delete")
    chosen = {"experiment": experiments.resolve(store, text, fresh=True), "until_ns": until_ns}
    with _undisturbed(store, dry_run=dry_run):
        if dry_run:
            return _count(store, "deletion/count_traces_by_time", chosen)
        gone = 0
        while True:
            deletion = {"deletion_id": uuid.uuid4()}
            _run(store, "choose/by_time", deletion | chosen | {"most": _MOST_AT_A_TIME})
            count = _delete_doomed(store, deletion)
            gone += count
            if count < _MOST_AT_A_TIME:
                return gone


@contextlib.contextmanager
def _undisturbed(store: Store, *, dry_run: bool) -> Generator[None]:
    """Wait for what was acknowledged, and hold back what comes, which stays whole so."""
    if store.settle() is False:
        raise StoreUnavailable(
            "not all that was acknowledged is in the tables yet: ask again in a moment"
        )
    if dry_run:
        yield
        return
    with store.gate.shut():
        yield


def _below(store: Store, key: str) -> Below:
    asked = {"experiment": key}
    [counts] = _select(store, "deletion/count_experiment", asked)
    [assessments] = _select(store, "deletion/count_assessments", asked)
    return Below(**counts, **assessments)


def _count(store: Store, name: str, parameters: dict[str, Any]) -> int:
    [row] = _select(store, name, parameters)
    return row["trace_count"]


def _delete_doomed(store: Store, deletion: dict[str, Any]) -> int:
    [doomed] = _select(store, "deletion/doomed", deletion)
    bounds = {"from_ns": doomed["from_ns"], "until_ns": doomed["until_ns"]}
    _run_all(store, "traces", deletion | bounds)
    return doomed["trace_count"]


def _select(store: Store, name: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    # `Store.query` would wait for writers, which are held back.
    return store.select(sql.text("queries", name), parameters)


def _run_all(store: Store, folder: str, parameters: dict[str, Any]) -> None:
    names = [name for name in sql.names("deletions") if name.startswith(f"{folder}/")]
    last = [f"{folder}/{table}" for table in _LAST]
    for name in sorted(names, key=lambda name: last.index(name) if name in last else -1):
        _run(store, name, parameters)


def _run(store: Store, name: str, parameters: dict[str, Any]) -> None:
    for statement in store.topology.render(sql.text("deletions", name)):
        store.command(statement, parameters)
