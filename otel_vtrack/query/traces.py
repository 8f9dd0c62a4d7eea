"""Finds and loads traces."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from enum import IntEnum
from typing import Any, Final

from opentelemetry.proto.trace.v1.trace_pb2 import Status, TracesData

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import assessments, export, facts, paging, partial, preview, tokens
from otel_vtrack.query.assessments import Assessment
from otel_vtrack.query.rowbinary import as_text
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
        assessments: Valid or not, oldest first; those of its session are among them.
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
    assessments: tuple[Assessment, ...] = ()


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
    with ThreadPoolExecutor(1) as pool:
        # Side by side: either spends its time in the engine.
        asked = pool.submit(partial.traces, store, [digits])
        spans = export.spans(store, digits)
        found = asked.result()
    if not found:
        raise export.missing(digits)
    found.sort(key=lambda trace: (trace.start_time_ns, trace.experiment))
    infos = [
        _info(
            trace,
            facts.from_spans(
                [span for span in spans if span.experiment == trace.experiment],
                trace.root.span_id,
            ),
        )
        for trace in found
    ]
    return Trace(_assessed(store, infos), export.traces_data(digits, spans))


def describe(store: Store, places: Sequence[tuple[int, str, str]]) -> list[TraceInfo]:
    """Load what is known of traces, in the order given.

    Args:
        store: Where to look.
        places: Of each trace the start of its root, its id and its experiment.
    """
    if not places:
        return []
    found = partial.traces(store, list({place[1] for place in places}))
    by_key = {(trace.trace_id, trace.experiment): trace for trace in found}
    wanted = [by_key[place[1], place[2]] for place in places]
    said = facts.of_traces(store, wanted)
    return _assessed(
        store, [_info(trace, said[trace.trace_id, trace.experiment]) for trace in wanted]
    )


def _assessed(store: Store, infos: Sequence[TraceInfo]) -> list[TraceInfo]:
    found = assessments.of_traces(store, [(info.trace_id, info.session_id) for info in infos])
    return [
        replace(info, assessments=tuple(said)) if said else info
        for info, said in zip(infos, found, strict=True)
    ]


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


def _info(trace: partial.Whole, said: facts.Facts) -> TraceInfo:
    root = trace.root
    session_id = as_text(root.session_id or trace.session_id)
    user_id = as_text(root.user_id or trace.user_id)
    version, environment, deployment_id = (
        as_text(text) for text in (root.version, root.environment, root.deployment_id)
    )
    failed = root.status_code == Status.STATUS_CODE_ERROR
    state = TraceState.ERROR if failed else TraceState.OK
    return TraceInfo(
        trace_id=trace.trace_id,
        experiment=trace.experiment,
        state=TraceState.IN_PROGRESS if root.rank == _MISSING else state,
        name=as_text(root.name),
        request_time_ns=trace.start_time_ns,
        # A clock that is wrong by centuries can wrap the end around to before the start.
        execution_duration_ns=max(0, trace.end_time_ns - trace.start_time_ns),
        request_preview=preview.request(*said.asked),
        response_preview=preview.response(*said.answered),
        session_id=session_id,
        user_id=user_id,
        token_usage=tokens.usage(trace.usage, trace.edges),
        span_count=len(trace.edges),
        error_count=len(trace.errors),
        service_name=as_text(root.service_name),
        version=version,
        environment=environment,
        deployment_id=deployment_id,
        tags=facts.tags(
            said,
            session_id=session_id,
            user_id=user_id,
            version=version,
            environment=environment,
            deployment_id=deployment_id,
        ),
    )
