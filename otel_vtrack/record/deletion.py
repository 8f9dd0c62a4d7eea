"""Deletes experiments and traces, with all that is below them.

`store/sql/deletions/` has a statement for each table: what of it goes. Rows are marked as
deleted and seen no more. Their space comes back when the engine writes the parts again that they
are in; it is told to where much went.

Writers are held back while the deletions begin, so that what they bring meanwhile is either gone
from every table or from none. Another process's writers do not know of that: what it
writes of the same traces at this very moment may be left in some tables.
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
"""Traces that one call deletes by their ids."""
_MOST_AT_A_TIME: Final = 500_000

_FIRST_POLL_SECONDS: Final = 0.01
_LAST_POLL_SECONDS: Final = 0.2

# One at a time, as they change the same tables.
_deleting = threading.Lock()

# Last come those by which the others, or a second attempt, find what is to go.
_LAST: Final = ("traces", "log_sources", "versions", "experiment_changes")


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
    with _deleting:
        _settle(store)
        if dry_run:
            return _count(store, "deletion/count_traces_by_id", {"trace_ids": ids})
        return _delete_chosen(store, "choose/by_id", parameters={"trace_ids": ids})


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
    """How much is from before a time."""

    trace_count: int
    log_record_count: int


def count_before(store: Store, until_ns: int) -> Old:
    """Count what `delete_before` would delete."""
    return _old(store, until_ns)[0]


def delete_before(
    store: Store, until_ns: int, pause: Callable[[float], object] = time.sleep
) -> Old:
    """Delete traces of all experiments whose root began before a midnight, and older log records.

    A log record goes by its own time, or before that with its trace. What else is of such traces
    goes as by `delete_traces`. Nothing is left of a day whose rows are gone, nor its files.

    Several servers may do so at once, and again after a failure half way.

    Args:
        store: Where they are.
        until_ns: A midnight, UTC, in nanoseconds since 1970.
        pause: Called to wait some seconds; may raise to give up, and what has begun goes on.

    Returns:
        How much went.

    Raises:
        StoreUnavailable: Not now, or not all of it went: the same call may succeed later.
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
        # Telemetry does not wait for the disk. What comes of such a day meanwhile is old as well.
        left = _days(store, "deletion/left_of_days", before)
        for table, day in sorted(_days(store, "deletion/past_days", before) - left):
            _run(store, f"days/{table}", {"day": day})
        return old


def _old(store: Store, until_ns: int) -> tuple[Old, int]:
    [row] = _select(store, "deletion/count_before", {"until_ns": until_ns})
    return Old(row["trace_count"], row["log_record_count"]), row["candidate_count"]


def _slices(trace_count: int) -> Iterator[dict[str, int]]:
    """Part so many traces by their ids' hashes, into as many as fit one deletion."""
    number = trace_count // _MOST_AT_A_TIME + 1
    for each in range(number):
        yield {
            "first_hash": each * 2**64 // number,
            "last_hash": (each + 1) * 2**64 // number - 1,
        }


def _days(store: Store, name: str, parameters: dict[str, Any]) -> set[tuple[str, str]]:
    # On a cluster files belong to the tables of one node.
    rows = _select(store, name, parameters)
    return {(row["table"].removesuffix("_local"), row["day"]) for row in rows}


def _settle(store: Store) -> None:
    if store.settle() is False:
        raise StoreUnavailable(
            "not all that was acknowledged is in the tables yet: ask again in a moment"
        )


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
    # `Store.query` would wait for writers, which are held back.
    return store.select(sql.text("queries", name), parameters)


def _begin(store: Store, folder: str, parameters: dict[str, Any]) -> list[str]:
    """Begin the deletions of a folder; return their tables."""
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
    """Wait until the deletions are done, which go on whatever happens to this process."""
    mended = -1
    while mended != store.mended:
        mended = store.mended
        _wait(store, tables, pause)
        # What a full disk has undone is done again, for which what is doomed has to be there.
        store.mend()
    _run(store, "done/doomed_traces", deletion)


def _wait(store: Store, tables: list[str], pause: Callable[[float], object]) -> None:
    seconds = _FIRST_POLL_SECONDS
    while under_way := _select(store, "deletion/under_way", {"tables": tables}):
        for each in under_way:
            if each["reason"]:
                raise StoreUnavailable(
                    f"what goes of {each['table']} is not gone yet, the store tries again by"
                    f" itself: {each['reason'][:200]}"
                )
        # Asking takes from what is waited for.
        pause(seconds)
        seconds = min(seconds * 1.3, _LAST_POLL_SECONDS)


def _rewrite(store: Store) -> None:
    for name in sql.names("deletions"):
        if name.startswith("rewrite/"):
            _run(store, name, {})


def _run(store: Store, name: str, parameters: dict[str, Any]) -> None:
    for statement in store.topology.render(sql.text("deletions", name)):
        # A cluster has to be waited for by itself: its nodes' progress is not seen from here.
        waits = "DELETE FROM" not in statement or store.topology is Topology.CLUSTER
        store.command(
            statement if waits else f"{statement}\nSETTINGS lightweight_deletes_sync = 0",
            parameters,
        )
