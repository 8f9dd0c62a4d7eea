"""Deletes experiments and traces, with everything below them.

`store/sql/deletions/` has one statement per table, which selects the rows to delete. Deleted rows
are marked and no longer visible. Their space is freed when the engine rewrites the parts that
contain them; after large deletions, this module requests the rewrite.

Writers are held back while the deletions start, so that what they add meanwhile is deleted either
from every table or from none. Writers in other processes are not held back: rows of the same
traces that they write at that moment may remain in some tables.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from otel_vtrack.errors import InvalidArgument, StoreUnavailable
from otel_vtrack.query import experiments, export
from otel_vtrack.store import sql
from otel_vtrack.store.client import Store
from otel_vtrack.store.topology import Topology

MOST_IDS: Final = 1_000
"""Maximum number of traces per call that deletes by id."""
_MOST_AT_A_TIME: Final = 500_000

_FIRST_POLL_SECONDS: Final = 0.01
_LAST_POLL_SECONDS: Final = 0.2

# One deletion at a time, because all of them change the same tables.
_deleting = threading.Lock()

# Deleted last: the tables by which the others, or a second attempt, find what to delete.
_LAST: Final = ("traces", "log_sources", "versions", "experiment_changes")


class Below(NamedTuple):
    """How much is below an experiment; of a trace that spans several, its part in this one."""

    trace_count: int
    span_count: int
    log_record_count: int
    assessment_count: int
    version_count: int
    deployment_count: int


def delete_experiment(store: Store, text: str, *, dry_run: bool = False) -> Below:
    """Delete an experiment and everything below it; new telemetry recreates it, empty.

    Deletes everything acknowledged before the call. Deleting an unknown experiment does nothing,
    so the call can be repeated safely.

    Args:
        store: Where it is.
        text: Its name, as telemetry sends it or as people renamed it.
        dry_run: Only count.

    Returns:
        What was deleted, or would be.

    Raises:
        InvalidArgument: `text` is empty.
        StoreUnavailable: Nothing, or not everything, was deleted; the same call may succeed later.
    """
    if not text:
        raise InvalidArgument("experiment is empty: name the one to delete")
    key = experiments.resolve(store, text, fresh=True)
    with _deleting:
        _settle(store)
        below = _below(store, key)
        if dry_run:
            return below
        deletion = {"deletion_id": str(uuid.uuid4()), "experiment": key}
        with store.gate.shut():
            _run(store, "choose/of_experiment", deletion)
            begun = _begin(store, "experiments", deletion)
        _finish(store, begun, deletion)
        _rewrite(store)
    experiments.forget_names(store)
    return below


def delete_traces(store: Store, trace_ids: Sequence[str], *, dry_run: bool = False) -> int:
    """Delete traces with their spans, log records, tags and assessments.

    Args:
        store: Where they are.
        trace_ids: 32 hexadecimal digits each; unknown ids are ignored.
        dry_run: Only count.

    Returns:
        How many were deleted, or would be.

    Raises:
        InvalidArgument: An id is malformed, or there are more than `MOST_IDS`.
        StoreUnavailable: Nothing, or not everything, was deleted; the same call may succeed later.
    """
    if len(trace_ids) > MOST_IDS:
        raise InvalidArgument(
            f"{len(trace_ids)} traces are too many for one call: send at most {MOST_IDS}"
        )
    ids = sorted({export.trace_id_from_text(each) for each in trace_ids})
    with _deleting:
        _settle(store)
        if dry_run:
            return _count(store, "deletion/count_traces_by_id", {"trace_ids": ids})
        return _delete_chosen(store, "choose/by_id", parameters={"trace_ids": ids})


def delete_traces_before(store: Store, text: str, until_ns: int, *, dry_run: bool = False) -> int:
    """Delete the traces of an experiment whose root started before a given time.

    Of a trace that spans several experiments, only the part in this one is deleted; its tags and
    assessments are deleted with the last part.

    Args:
        store: Where they are.
        text: The experiment's name, as telemetry sends it or as people renamed it.
        until_ns: The time, in nanoseconds since 1970.
        dry_run: Only count.

    Returns:
        How many were deleted, or would be.

    Raises:
        InvalidArgument: `text` is empty.
        StoreUnavailable: Nothing, or not everything, was deleted; the same call may succeed later.
    """
    if not text:
        raise InvalidArgument("experiment is empty: name the one whose traces to delete")
    chosen = {"experiment": experiments.resolve(store, text, fresh=True), "until_ns": until_ns}
    with _deleting:
        _settle(store)
        if dry_run:
            return _count(store, "deletion/count_traces_by_time", chosen)
        gone = 0
        while True:
            round_ = chosen | {"most": _MOST_AT_A_TIME}
            count = _delete_chosen(store, "choose/by_time", parameters=round_)
            gone += count
            if count < _MOST_AT_A_TIME:
                break
        if gone:
            _rewrite(store)
        return gone


class Old(NamedTuple):
    """How much dates from before a given time."""

    trace_count: int
    log_record_count: int


def count_before(store: Store, until_ns: int) -> Old:
    """Count what `delete_before` would delete."""
    return _old(store, until_ns)[0]


def delete_before(
    store: Store, until_ns: int, pause: Callable[[float], object] = time.sleep
) -> Old:
    """Delete all traces whose root started before a given midnight, and all older log records.

    A log record is deleted by its own time, or earlier with its trace. Tags, assessments and the
    rest of such traces are deleted as in `delete_traces`. A day whose rows are all deleted leaves
    nothing behind, not even files.

    Several servers may do this concurrently, and may repeat it after a partial failure.

    Args:
        store: Where they are.
        until_ns: A midnight, UTC, in nanoseconds since 1970.
        pause: Called to wait some seconds; may raise to give up: deletions under way continue.

    Returns:
        How much was deleted.

    Raises:
        StoreUnavailable: Nothing, or not everything, was deleted; the same call may succeed later.
    """
    before = {"until_ns": until_ns}
    with _deleting:
        if not _select(store, "deletion/past_days", before):
            return Old(0, 0)
        old, candidates = _old(store, until_ns)
        if any(old):
            slices = list(_slices(candidates)) if candidates else []
            for hashes in slices:
                _delete_chosen(
                    store,
                    "choose/reaching_past",
                    "choose/told_of",
                    parameters=before | hashes,
                    pause=pause,
                )
            spared = {"deletion_id": str(uuid.uuid4())}
            with store.gate.shut():
                for hashes in slices:
                    _run(store, "choose/spared", spared | before | hashes)
                begun = _begin(store, "before", spared | before)
            _finish(store, begun, spared, pause)
        # No waiting for the disk here: telemetry that arrives for such a day meanwhile is old too.
        left = _days(store, "deletion/left_of_days", before)
        for table, day in sorted(_days(store, "deletion/past_days", before) - left):
            _run(store, f"days/{table}", {"day": day})
        return old


def _old(store: Store, until_ns: int) -> tuple[Old, int]:
    [row] = _select(store, "deletion/count_before", {"until_ns": until_ns})
    return Old(row["trace_count"], row["log_record_count"]), row["candidate_count"]


def _slices(trace_count: int) -> Iterator[dict[str, int]]:
    """Split that many traces by the hash of their ids, into slices that each fit one deletion."""
    number = trace_count // _MOST_AT_A_TIME + 1
    for each in range(number):
        yield {
            "first_hash": each * 2**64 // number,
            "last_hash": (each + 1) * 2**64 // number - 1,
        }


def _days(store: Store, name: str, parameters: dict[str, Any]) -> set[tuple[str, str]]:
    # On a cluster, files belong to the local tables of a node.
    rows = _select(store, name, parameters)
    return {(row["table"].removesuffix("_local"), row["day"]) for row in rows}


def _settle(store: Store) -> None:
    if store.settle() is False:
        raise StoreUnavailable("not all acknowledged data is in the tables yet: retry in a moment")


def _below(store: Store, key: str) -> Below:
    asked = {"experiment": key}
    [counts] = _select(store, "deletion/count_experiment", asked)
    [assessments] = _select(store, "deletion/count_assessments", asked)
    return Below(**counts, **assessments)


def _count(store: Store, name: str, parameters: dict[str, Any]) -> int:
    [row] = _select(store, name, parameters)
    return row["trace_count"]


def _delete_chosen(
    store: Store,
    *choices: str,
    parameters: dict[str, Any],
    pause: Callable[[float], object] = time.sleep,
) -> int:
    deletion: dict[str, Any] = {"deletion_id": str(uuid.uuid4())}
    with store.gate.shut():
        for choice in choices:
            _run(store, choice, deletion | parameters)
        [doomed] = _select(store, "deletion/doomed", deletion)
        if not doomed["row_count"]:
            return 0
        bounds = {"from_ns": doomed["from_ns"], "until_ns": doomed["until_ns"]}
        whose = {"experiment": parameters.get("experiment", "")}
        begun = _begin(store, "traces", deletion | bounds | whose)
    _finish(store, begun, deletion, pause)
    return doomed["trace_count"]


def _select(store: Store, name: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    # `Store.query` would wait for the writers, which are held back.
    return store.select(sql.text("queries", name), parameters)


def _begin(store: Store, folder: str, parameters: dict[str, Any]) -> list[str]:
    """Start the deletions in a folder; return the tables concerned."""
    found = [name for name in sql.names("deletions") if name.startswith(f"{folder}/")]
    tables = [name.partition("/")[2] for name in found]
    tables.sort(key=lambda table: _LAST.index(table) if table in _LAST else -1)
    for table in tables:
        _run(store, f"{folder}/{table}", parameters)
    return tables


def _finish(
    store: Store,
    tables: list[str],
    deletion: dict[str, Any],
    pause: Callable[[float], object] = time.sleep,
) -> None:
    """Wait until the deletions are done; they continue even if this process ends."""
    mended = -1
    while mended != store.mended:
        mended = store.mended
        _wait(store, tables, pause)
        # Repeat what a full disk has undone; this needs the list of doomed traces.
        store.mend()
    _run(store, "done/doomed_traces", deletion)


def _wait(store: Store, tables: list[str], pause: Callable[[float], object]) -> None:
    seconds = _FIRST_POLL_SECONDS
    while under_way := _select(store, "deletion/under_way", {"tables": tables}):
        for each in under_way:
            if each["reason"]:
                raise StoreUnavailable(
                    f"rows of {each['table']} are not deleted yet, the store keeps retrying:"
                    f" {each['reason'][:200]}"
                )
        # Polling slows down the very work that it waits for.
        pause(seconds)
        seconds = min(seconds * 1.3, _LAST_POLL_SECONDS)


def _rewrite(store: Store) -> None:
    for name in sql.names("deletions"):
        if name.startswith("rewrite/"):
            _run(store, name, {})


def _run(store: Store, name: str, parameters: dict[str, Any]) -> None:
    for statement in store.topology.render(sql.text("deletions", name)):
        # On a cluster the statement itself has to wait: progress on other nodes is not visible.
        waits = "DELETE FROM" not in statement or store.topology is Topology.CLUSTER
        store.command(
            statement if waits else f"{statement}\nSETTINGS lightweight_deletes_sync = 0",
            parameters,
        )
