"""Finds and loads traces."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any, Final

from opentelemetry.proto.trace.v1.trace_pb2 import Status, TracesData

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import export, facts, paging, preview, tokens
from otel_vtrack.store.client import Store

_EARLIEST_NS: Final = -(1 << 63)
_LATEST_NS: Final = (1 << 63) - 1
_MISSING: Final = 2
"""`rank` of a root that stands in for one which has not arrived."""


class TraceState(IntEnum):
    """How a trace went; numbers as in traces.proto."""

    OK = 1
    ERROR = 2
    IN_PROGRESS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceInfo:
    """What is known of a trace in one experiment; traces.proto explains each field.

    Attributes:
        request_time_ns: In nanoseconds since 1970.
        execution_duration_ns: Never negative.
        token_usage: None if no span reports any.
    """

    trace_id: str
    experiment: str
    state: TraceState
    name: str
    request_time_ns: int
    execution_duration_ns: int
    request_preview: str
    response_preview: str
    session_id: str
    user_id: str
    token_usage: tokens.TokenUsage | None
    span_count: int
    error_count: int
    service_name: str
    version: str
    environment: str
    deployment_id: str
    tags: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which traces to find: all that is given must hold, and empty fields do not restrict.

    Attributes:
        state: 0 for any.
        start_time_from_ns: The root started then or later.
        start_time_until_ns: The root started before.
    """

    experiment: str = ""
    service_name: str = ""
    version: str = ""
    environment: str = ""
    deployment_id: str = ""
    state: int = 0
    session_id: str = ""
    user_id: str = ""
    name: str = ""
    start_time_from_ns: int | None = None
    start_time_until_ns: int | None = None
    min_duration_ns: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """Some traces, and the token for the next ones; no token after the last."""

    traces: list[TraceInfo]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class Trace:
    """A whole trace: what it was in each experiment, earliest first, and its spans."""

    infos: list[TraceInfo]
    otlp: TracesData


def search(store: Store, where: Filter, *, page_size: int = 0, page_token: str = "") -> Page:
    """Find traces, newest first by the start of their root span.

    A page goes on where the last one ended, whatever has arrived since.

    Raises:
        InvalidArgument: A filter or the size is out of range, or the token of another question.
    """
    wanted = paging.size(page_size)
    question = asdict(where)
    after = paging.place(page_token, question) if page_token else [0, "", ""]
    parameters = _parameters(where) | {
        "after_ns": after[0],
        "after_trace_id": after[1],
        "after_experiment": after[2],
        "wanted": wanted + 1,
    }
    found = _find(store, parameters)
    if len(found) <= wanted:
        return Page(describe(store, found), "")
    return Page(describe(store, found[:wanted]), paging.token(found[wanted - 1], question))


def get(store: Store, trace_id: str) -> Trace:
    """Load a trace.

    Raises:
        InvalidArgument: `trace_id` is not 32 hexadecimal digits.
        NotFound: No span of it is stored.
    """
    digits = export.trace_id_from_text(trace_id)
    rows = _described(store, [digits])
    if not rows:
        raise export.missing(digits)
    rows.sort(key=lambda row: (row["request_time_ns"], row["experiment"]))
    spans = export.spans(
        store,
        digits,
        earliest_ns=min(row["request_time_ns"] for row in rows),
        latest_ns=max(row["end_ns"] for row in rows),
        span_count=sum(row["span_count"] for row in rows),
    )
    infos = [
        _info(
            row,
            facts.from_spans(
                [span for span in spans if span.plain["experiment"] == row["experiment"]],
                row["root_span_id"],
            ),
        )
        for row in rows
    ]
    return Trace(infos, export.traces_data(spans))


def describe(store: Store, places: Sequence[tuple[int, str, str]]) -> list[TraceInfo]:
    """Load what is known of traces, in the order given.

    Args:
        store: Where to look.
        places: Of each trace the start of its root, its id and its experiment.
    """
    if not places:
        return []
    rows = _described(store, list({place[1] for place in places}))
    by_key = {(row["trace_id"], row["experiment"]): row for row in rows}
    return _infos(store, [by_key[place[1], place[2]] for place in places])


def _parameters(where: Filter) -> dict[str, Any]:
    parameters = asdict(where)
    start = parameters.pop("start_time_from_ns")
    until = parameters.pop("start_time_until_ns")
    parameters["from_ns"] = _EARLIEST_NS if start is None else start
    parameters["until_ns"] = _LATEST_NS if until is None else until - 1
    if parameters["min_duration_ns"] < 0:
        raise InvalidArgument("min_duration is a duration from 0 up")
    return parameters


def _find(store: Store, parameters: dict[str, Any]) -> list[tuple[int, str, str]]:
    wanted = parameters["wanted"]
    candidates = 2 * wanted
    while True:
        [row] = store.query("traces/find", parameters | {"candidates": candidates})
        found = row["found"]
        if len(found) >= wanted or row["looked_at"] < candidates:
            return found
        candidates *= 16


def _described(store: Store, trace_ids: list[str]) -> list[dict[str, Any]]:
    """Run `traces/describe` and add what follows from the root."""
    rows = store.query("traces/describe", {"trace_ids": trace_ids})
    for row in rows:
        root = row.pop("stands_for")
        failed = root["status_code"] == Status.STATUS_CODE_ERROR
        state = TraceState.ERROR if failed else TraceState.OK
        row["state"] = TraceState.IN_PROGRESS if root["rank"] == _MISSING else state
        row["root_span_id"] = root["span_id"].hex()
        row["session_id"] = root["session_id"] or row["any_session_id"]
        row["user_id"] = root["user_id"] or row["any_user_id"]
        row["span_count"] = len(row["tree"])
        for name in ("name", "service_name", "version", "environment", "deployment_id"):
            row[name] = root[name]
    return rows


def _infos(store: Store, rows: list[dict[str, Any]]) -> list[TraceInfo]:
    found = facts.of_traces(store, rows)
    return [_info(row, found[row["trace_id"], row["experiment"]]) for row in rows]


def _info(row: Mapping[str, Any], said: facts.Facts) -> TraceInfo:
    return TraceInfo(
        trace_id=row["trace_id"],
        experiment=row["experiment"],
        state=row["state"],
        name=row["name"],
        request_time_ns=row["request_time_ns"],
        # A clock that is wrong by centuries can wrap the end around to before the start.
        execution_duration_ns=max(0, row["end_ns"] - row["request_time_ns"]),
        request_preview=preview.request(*said.asked),
        response_preview=preview.response(*said.answered),
        session_id=row["session_id"],
        user_id=row["user_id"],
        token_usage=tokens.usage(row["reported"], row["tree"]),
        span_count=row["span_count"],
        error_count=row["error_count"],
        service_name=row["service_name"],
        version=row["version"],
        environment=row["environment"],
        deployment_id=row["deployment_id"],
        tags=facts.tags(row, said),
    )
