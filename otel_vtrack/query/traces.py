"""Load traces."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final, TypeAlias

from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otel_vtrack.query import (
    assessments,
    beside,
    export,
    facts,
    near,
    partial,
    preview,
    prices,
    tags,
    tokens,
)
from otel_vtrack.query.assessments import Assessment
from otel_vtrack.query.rowbinary import as_text
from otel_vtrack.store.client import Store

_EARLIEST_NS: Final = -(1 << 63)
_LATEST_NS: Final = (1 << 63) - 1
_MISSING: Final = 2
"""The `rank` of a root that stands in for one that has not arrived."""


class TraceState(IntEnum):
    """The outcome of a trace; numbers as in traces.proto."""

    OK = 1
    ERROR = 2
    IN_PROGRESS = 3


_OK: Final = TraceState.OK
_ERROR: Final = TraceState.ERROR
_IN_PROGRESS: Final = TraceState.IN_PROGRESS


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceInfo:
    """What is known of a trace in one experiment; traces.proto explains each field.

    Attributes:
        request_time_ns: In nanoseconds since 1970.
        execution_duration_ns: Never negative.
        token_usage: None if no span reports any.
        cost: None if no span reports usage or cost.
        adjusted_count: How many traces it represents; 1 if nothing was sampled.
        assessments: Valid or not, oldest first, including those of its session.
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
    cost: tokens.Cost | None
    span_count: int
    error_count: int
    service_name: str
    version: str
    environment: str
    deployment_id: str
    trace_metadata: dict[str, str]
    tags: dict[str, str]
    adjusted_count: float
    assessments: tuple[Assessment, ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """A whole trace: its information in each experiment, earliest first, and its spans."""

    infos: list[TraceInfo]
    otlp: TracesData


@dataclass(frozen=True, slots=True)
class Described:
    """A trace as lists show it, and its root span."""

    info: TraceInfo
    root: partial.Root


Place: TypeAlias = tuple[int, str, str]
"""Start of a trace's root, its ID and its experiment."""


def get(
    store: Store,
    trace_id: str,
    table: prices.Prices = prices.BUILT_IN,
    minute_of: Callable[[str], int | None] = lambda _: None,
) -> Trace:
    """Load a trace.

    Args:
        store: The store to query.
        trace_id: The trace's ID.
        table: The prices of tokens.
        minute_of: Returns in which minute the trace probably started, or None; see `query.recent`.

    Raises:
        InvalidArgument: `trace_id` is not 32 hexadecimal digits.
        NotFound: None of its spans is stored.
    """
    digits = export.trace_id_from_text(trace_id)
    other = beside.POOL.submit(_said_of, store, digits)
    spans = export.spans(store, digits, minute_of(digits))
    known, assessed = other.result()
    if not spans:
        raise export.missing(digits)
    sent = [span for span, _ in spans]
    infos = [
        _info(
            trace,
            facts.from_spans(
                [span for span in sent if span.experiment == trace.experiment],
                trace.root.span_id,
            ),
            known,
            table,
        )
        for trace in partial.from_spans(digits, spans)
    ]
    infos.sort(key=lambda info: (info.request_time_ns, info.experiment))
    return Trace(_assessed(store, infos, assessed), export.traces_data(digits, sent))


def _said_of(store: Store, trace_id: str) -> tuple[dict[str, str | None], assessments.Changes]:
    """Load tags, then assessments: together they take as long as finding the spans."""
    known = tags.of_traces(store, [trace_id]).get(trace_id, {})
    return known, assessments.changes(store, [trace_id])


def describe(
    store: Store,
    places: Sequence[Place],
    table: prices.Prices = prices.BUILT_IN,
) -> list[Described | None]:
    """Load what is known of traces, in the order given; None for a missing one.

    Args:
        store: The store to query.
        places: Start of the root, ID and experiment of each trace.
        table: The prices of tokens.
    """
    if not places:
        return []
    ids = list({place[1] for place in places})
    other = beside.POOL.submit(_beside_spans, store, ids)
    loaded = near.load(store, [place[:2] for place in places], lambda: other.result()[2])
    known, assessed, _ = other.result()
    keys = [key for _, *key in places if tuple(key) in loaded]
    infos = [
        _info(*loaded[trace_id, experiment], known.get(trace_id, {}), table)
        for trace_id, experiment in keys
    ]
    told = {(info.trace_id, info.experiment): info for info in _assessed(store, infos, assessed)}
    return [
        Described(told[key], loaded[key][0].root) if (key := place[1:]) in told else None
        for place in places
    ]


def _beside_spans(
    store: Store, trace_ids: Sequence[str]
) -> tuple[dict[str, dict[str, str | None]], assessments.Changes, near.Bounds]:
    """Load, one by one, what a page needs besides the spans; these take as long."""
    known = tags.of_traces(store, trace_ids)
    return known, assessments.changes(store, trace_ids), near.bounds(store, trace_ids)


def _assessed(
    store: Store, infos: Sequence[TraceInfo], loaded: assessments.Changes
) -> list[TraceInfo]:
    """Add the assessments; those of the traces themselves are already loaded."""
    places = [(info.trace_id, info.session_id) for info in infos]
    found = assessments.of_traces(store, places, loaded)
    return [
        replace(info, assessments=tuple(said)) if said else info
        for info, said in zip(infos, found, strict=True)
    ]


def _info(
    trace: partial.Whole,
    said: facts.Facts,
    known: Mapping[str, str | None],
    table: prices.Prices,
) -> TraceInfo:
    root = trace.root
    session_id = as_text(root.session_id or trace.session_id)
    user_id = as_text(root.user_id or trace.user_id)
    name, version, environment, deployment_id = (
        as_text(text) for text in (root.name, root.version, root.environment, root.deployment_id)
    )
    usage, cost = tokens.usage_and_cost(
        trace.usage, trace.edges, trace.billing, table, root.start_time_ns
    )
    state = _ERROR if root.status_code == partial.FAILED else _OK
    return TraceInfo(
        trace_id=trace.trace_id,
        experiment=trace.experiment,
        state=_IN_PROGRESS if root.rank == _MISSING else state,
        name=name,
        request_time_ns=trace.start_time_ns,
        # A clock that is wrong by centuries can make the end wrap around to before the start.
        execution_duration_ns=max(0, trace.end_time_ns - trace.start_time_ns),
        request_preview=preview.request(*said.asked),
        response_preview=preview.response(*said.answered),
        session_id=session_id,
        user_id=user_id,
        token_usage=usage,
        cost=cost,
        span_count=len(trace.edges),
        error_count=len(trace.errors),
        service_name=as_text(root.service_name),
        version=version,
        environment=environment,
        deployment_id=deployment_id,
        trace_metadata=facts.metadata(
            said, session_id=session_id, user_id=user_id, usage=usage, cost=cost
        ),
        tags=facts.tags(
            known,
            name=name,
            version=version,
            environment=environment,
            deployment_id=deployment_id,
        ),
        adjusted_count=trace.adjusted_count,
    )
