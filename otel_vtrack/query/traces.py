"""Loads traces."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

from opentelemetry.proto.trace.v1.trace_pb2 import Status, TracesData

from otel_vtrack.query import assessments, export, facts, partial, preview, tokens
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


@dataclass(frozen=True, slots=True)
class Trace:
    """A whole trace: what it was in each experiment, earliest first, and its spans."""

    infos: list[TraceInfo]
    otlp: TracesData


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
