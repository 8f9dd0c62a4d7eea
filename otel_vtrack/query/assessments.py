"""Find the assessments of traces and sessions.

The store keeps changes, which are folded in two places by the same rules. The view
`current_assessments` (migrations 0012 and 0014) serves searches over all of them. The code here
serves the history, and a few given traces, for which analysing the view would take longer than
everything else.
"""

import weakref
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Final, NamedTuple

from otel_vtrack.errors import NotFound
from otel_vtrack.query import assessment_changes, paging
from otel_vtrack.query.filter import compile_assessments
from otel_vtrack.store.client import Store

_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16

# Parts of the queries for a single trace or session, which are faster to analyse than a list.
_OF_ONE_TRACE: Final = {"which": "trace_id = unhex({trace_id:String})"}
_OF_ONE_SESSION: Final = {"which": "session_id = {session_id:String}"}

_assessed: Final[weakref.WeakSet[Store]] = weakref.WeakSet()
"""Stores known to have assessments, so that they are not asked again."""


class AssessmentType(IntEnum):
    """The type of an assessment; numbers as in assessments.proto."""

    FEEDBACK = 1
    EXPECTATION = 2


class SourceType(IntEnum):
    """The kind of assessor; numbers as in assessments.proto, `UNSPECIFIED` if an event has none."""

    UNSPECIFIED = 0
    HUMAN = 1
    LLM_JUDGE = 2
    CODE = 3


class Operation(IntEnum):
    """What a change did to an assessment; numbers as in assessments.proto."""

    CREATE = 1
    UPDATE = 2
    DELETE = 3


@dataclass(frozen=True, slots=True)
class AssessmentError:
    """Why there is no value."""

    error_code: str
    error_message: str = ""
    stack_trace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """An assessment of a trace, a span or a session; assessments.proto explains each field.

    Attributes:
        trace_id: Empty if it assesses a session and names no trace.
        value: JSON; None if there is an error instead.
        create_time_ns: In nanoseconds since 1970.
    """

    assessment_id: str
    trace_id: str
    span_id: str
    experiment: str
    session_id: str
    assessment_name: str
    assessment_type: AssessmentType
    value: str | None
    error: AssessmentError | None
    rationale: str
    metadata: dict[str, str]
    source_type: SourceType
    source_id: str
    create_time_ns: int
    last_update_time_ns: int
    overrides: str
    valid: bool


@dataclass(frozen=True, slots=True)
class Change:
    """One change, and the assessment after it; for a deletion, before it."""

    change_time_ns: int
    operation: Operation
    assessment: Assessment


@dataclass(frozen=True, slots=True)
class Page:
    """A page of assessments and the token for the next page; empty after the last."""

    assessments: list[Assessment]
    next_page_token: str


def get(store: Store, assessment_id: str) -> Assessment:
    """Load an assessment.

    Raises:
        NotFound: There is none, or it was deleted.
    """
    for found in _folded(_beside(store, assessment_id)):
        if found.assessment_id == assessment_id:
            return found
    raise missing(assessment_id)


def missing(assessment_id: str) -> NotFound:
    """Make the error for a missing assessment."""
    return NotFound(
        f"there is no assessment {assessment_id[:250]}, or it was deleted: take its id from the"
        " assessments of its trace"
    )


class Changes(NamedTuple):
    """The changes to the assessments of some traces.

    Attributes:
        rows: One for each change.
        are_all: Whether nothing else has assessments, sessions included.
    """

    rows: Sequence[Mapping[str, Any]]
    are_all: bool


def changes(store: Store, trace_ids: Collection[str]) -> Changes:
    """Load the changes to the assessments of some traces, for `of_traces`.

    For callers that know the trace IDs before the sessions and want to start loading.
    """
    wanted = sorted(set(trace_ids))
    if not wanted or not _exist(store):
        return Changes([], are_all=bool(wanted))
    if len(wanted) > 1:
        rows = assessment_changes.read(store, "assessments/of_traces", {"trace_ids": wanted})
        return Changes(rows, are_all=False)
    of_one = {"trace_id": wanted[0]}
    # Most traces have none, and finding that out takes half as long as reading them.
    if not store.binary("assessments/has_trace", of_one):
        return Changes([], are_all=False)
    rows = assessment_changes.read(store, "assessments/of_traces", of_one, _OF_ONE_TRACE)
    return Changes(rows, are_all=False)


def of_traces(
    store: Store,
    traces: Collection[tuple[str, str]],
    loaded: Changes | None = None,
) -> list[list[Assessment]]:
    """Load the assessments of some traces, each with those of its session.

    Args:
        store: The store to query.
        traces: ID and session of each trace; the session is empty if there is none.
        loaded: The `changes` of these traces, if already loaded.

    Returns:
        One list per trace, in the order given: valid or not, oldest first.
    """
    if not traces:
        return []
    loaded = loaded or changes(store, {trace_id for trace_id, _ in traces})
    rows = list(loaded.rows)
    if not loaded.are_all:
        rows += _of_sessions(store, {session for _, session in traces})
    by_trace: dict[str, list[Assessment]] = {}
    by_session: dict[str, list[Assessment]] = {}
    for found in _folded(rows):
        by_trace.setdefault(found.trace_id, []).append(found)
        if found.session_id:
            by_session.setdefault(found.session_id, []).append(found)
    return [
        sorted(
            [
                *by_trace.get(trace_id, ()),
                *(found for found in by_session.get(session_id, ()) if found.trace_id != trace_id),
            ],
            key=_age,
        )
        for trace_id, session_id in traces
    ]


def history(store: Store, assessment_id: str) -> list[Change]:
    """List all changes to an assessment, oldest first, even if deleted; empty if it never existed.

    `valid` is as of each change.
    """
    beside = _grouped(_beside(store, assessment_id))
    own = [rows for (_, found_id), rows in beside.items() if found_id == assessment_id and rows]
    if not own:
        return []
    rows = own[0]
    told: list[Change] = []
    for end, row in enumerate(rows, 1):
        until = row["change_time_ns"]
        then = {
            key: earlier
            for key, every in beside.items()
            if (earlier := [each for each in every if each["change_time_ns"] <= until])
        }
        kept = [each for each in rows[:end] if each["operation"] != Operation.DELETE]
        if kept and kept[0]["operation"] == Operation.CREATE:
            state = replace(_state(kept), valid=_key(rows) not in _overridden(then))
            told.append(Change(until, Operation(row["operation"]), state))
    return told


def search(
    store: Store,
    filter_: str = "",
    order_by: Sequence[str] = (),
    *,
    page_size: int = 0,
    page_token: str = "",
) -> Page:
    """Find assessments, newest first by default.

    A page continues where the last one ended, whatever has arrived since.

    Args:
        store: The store to query.
        filter_: A filter in the search language; empty finds all.
        order_by: Sort keys, each optionally followed by ASC or DESC.
        page_size: 0 for the default.
        page_token: The token from the previous page; empty for the first.

    Raises:
        InvalidArgument: The filter, order or size is invalid, or the token belongs to another
            query.
    """
    wanted = paging.size(page_size)
    question = {"assessments": filter_, "order_by": list(order_by)}
    asked = compile_assessments(filter_, order_by)
    where = asked.where
    if page_token:
        after = asked.order.after(paging.place(page_token, question), asked.texts)
        where = f"({where}) AND {after}"
    store.settle()
    rows = store.select(
        # Select only the keys; the rest of the page is loaded by them.
        "SELECT a.trace_id AS trace_id, a.assessment_id AS assessment_id,"  # noqa: S608 - compiled
        f" a.session_id AS session_id, {asked.order.place} AS place"
        f" FROM current_assessments AS a WHERE {where}"
        f" ORDER BY {asked.order.sql} LIMIT {wanted + 1}",
        asked.parameters,
    )
    page = rows[:wanted]
    rows_of_page = [
        *changes(store, {row["trace_id"] for row in page} - {""}).rows,
        *_of_sessions(store, {row["session_id"] for row in page if not row["trace_id"]}),
    ]
    known = {(found.trace_id, found.assessment_id): found for found in _folded(rows_of_page)}
    keys = [(row["trace_id"], row["assessment_id"]) for row in page]
    # Some may have been deleted in the meantime.
    found = [known[key] for key in keys if key in known]
    if len(rows) <= wanted:
        return Page(found, "")
    return Page(found, paging.token(list(page[-1]["place"]), question))


def _beside(store: Store, assessment_id: str) -> list[dict[str, Any]]:
    return assessment_changes.read(store, "assessments/beside", {"assessment_id": assessment_id})


def _exist(store: Store) -> bool:
    """Return whether there are, or ever were, any assessments at all."""
    if store not in _assessed:
        if not store.binary("assessments/any"):
            return False
        _assessed.add(store)
    return True


def _of_sessions(store: Store, session_ids: set[str]) -> list[dict[str, Any]]:
    wanted = sorted(session_ids - {""})
    if not wanted:
        return []
    if len(wanted) > 1:
        return assessment_changes.read(store, "assessments/of_sessions", {"session_ids": wanted})
    of_one = {"session_id": wanted[0]}
    if not store.binary("assessments/has_session", of_one):
        return []
    return assessment_changes.read(store, "assessments/of_sessions", of_one, _OF_ONE_SESSION)


def _age(found: Assessment) -> tuple[int, str, str]:
    return found.create_time_ns, found.trace_id, found.assessment_id


def _grouped(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    """Group distinct changes by trace and assessment, in the order in which they apply."""
    grouped: dict[tuple[str, str], dict[Any, Mapping[str, Any]]] = {}
    for row in rows:
        key = (row["trace_id"], row["assessment_id"])
        # The engine compares the second half of a UUID first.
        half = row["change_id"].bytes[8:], row["change_id"].bytes[:8]
        again = (row["operation"], row["change_time_ns"], half)
        grouped.setdefault(key, {})[again] = row
    ordered: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for key, each in grouped.items():
        # A second CREATE with the same ID has no effect.
        created = sorted(
            (again for again in each if again[0] == Operation.CREATE),
            key=lambda again: again[1:],
        )[:1]
        later = sorted(
            (again for again in each if again[0] != Operation.CREATE), key=lambda again: again[1:]
        )
        ordered[key] = [each[again] for again in [*created, *later]]
    return ordered


def _folded(rows: Iterable[Mapping[str, Any]]) -> list[Assessment]:
    """Fold changes into the assessments that were not deleted, oldest first."""
    grouped = _grouped(rows)
    overridden = _overridden(grouped)
    return sorted(
        (
            replace(_state(each), valid=_key(each) not in overridden)
            for each in grouped.values()
            if each[0]["operation"] == Operation.CREATE and not _deleted(each)
        ),
        key=_age,
    )


def _deleted(changes: Sequence[Mapping[str, Any]]) -> bool:
    return any(row["operation"] == Operation.DELETE for row in changes)


def _key(changes: Sequence[Mapping[str, Any]]) -> tuple[str, str, str]:
    first = changes[0]
    return first["trace_id"], first["assessment_id"], first["session_id"]


def _overridden(
    changes: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]],
) -> set[tuple[str, str, str]]:
    return {
        (each[0]["trace_id"], each[0]["overrides"], each[0]["session_id"])
        for each in changes.values()
        if each[0]["overrides"] not in {"", each[0]["assessment_id"]} and not _deleted(each)
    }


def _state(changes: Sequence[Mapping[str, Any]]) -> Assessment:
    """Fold the changes of one assessment, its creation first; `valid` is always true."""
    first = changes[0]
    name, outcome, rationale = "", first, ""
    metadata: dict[str, str] = {}
    for row in changes:
        name = name if row["assessment_name"] is None else row["assessment_name"]
        outcome = outcome if row["value"] is None else row
        rationale = rationale if row["rationale"] is None else row["rationale"]
        metadata |= row["metadata"]
    error = AssessmentError(*(outcome[field] for field in AssessmentError.__slots__))
    return Assessment(
        assessment_id=first["assessment_id"],
        trace_id="" if first["trace_id"] == _NO_TRACE else first["trace_id"],
        span_id="" if first["span_id"] == _NO_SPAN else first["span_id"],
        experiment=first["experiment"],
        session_id=first["session_id"],
        assessment_name=name,
        assessment_type=AssessmentType(first["assessment_type"]),
        value=outcome["value"] or None,
        error=None if outcome["value"] else error,
        rationale=rationale,
        metadata=metadata,
        source_type=SourceType(first["source_type"]),
        source_id=first["source_id"],
        create_time_ns=first["change_time_ns"],
        last_update_time_ns=max(row["change_time_ns"] for row in changes),
        overrides=first["overrides"],
        valid=True,
    )
