"""Merge the partial rows of `traces`, by the rules of the table's columns.

The engine could do this with GROUP BY, but analysing such a statement takes longer than reading the
rows of a trace. Loaded spans yield the same result, by the rules of mapping/traces_from_spans.sql.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from otel_vtrack.query.conclusions import Said
from otel_vtrack.query.export import NO_PARENT, SpanRow
from otel_vtrack.query.rowbinary import Reader
from otel_vtrack.query.tokens import Bill
from otel_vtrack.store.client import Store

_HEAD: Final = struct.Struct("<16sqqBq8s")
_STATUS: Final = struct.Struct("<i")
_USAGE: Final = struct.Struct("<IQQQ")
_CACHED: Final = struct.Struct("<QQ")
_COUNT: Final = struct.Struct("<f")
_TWO_UINT32: Final = struct.Struct("<II")
_LATEST_NS: Final = (1 << 63) - 1
_MOST: Final = (1 << 64) - 1
_KNOWS_PARENT: Final = 1 << 8
_PARENT_IS_REMOTE: Final = 1 << 9
_BEGIN_WORK: Final = frozenset({Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CONSUMER})
FAILED: Final = Status.STATUS_CODE_ERROR


class Root(NamedTuple):
    """The root span of a trace: the least by these fields, in this order."""

    rank: int
    start_time_ns: int
    span_id: bytes
    name: bytes
    service_name: bytes
    version: bytes
    environment: bytes
    deployment_id: bytes
    status_code: int
    session_id: bytes
    user_id: bytes


@dataclass(slots=True, kw_only=True)
class Whole:
    """A complete trace in one experiment.

    Attributes:
        session_id: The greatest of any span.
        user_id: Likewise.
        edges: One number per span: its short ID in the upper half, its parent's in the lower.
        errors: Short IDs of failed spans.
        usage: Short ID and input, output and total tokens of each span that reports any.
        billing: What the tokens of these spans are priced by, and the spans that report a cost.
        adjusted_count: How many traces it represents.
    """

    trace_id: str
    experiment: str
    start_time_ns: int
    end_time_ns: int
    root: Root
    session_id: bytes
    user_id: bytes
    edges: set[int] = field(default_factory=set[int])
    errors: set[int] = field(default_factory=set[int])
    usage: set[tuple[int, int, int, int]] = field(default_factory=set[tuple[int, int, int, int]])
    billing: set[Bill] = field(default_factory=set[Bill])
    adjusted_count: float = 1.0


def traces(store: Store, trace_ids: Sequence[str]) -> list[Whole]:
    """Load traces in each experiment that they cross, unordered; unknown ones are left out."""
    reader = Reader(store.binary("traces/describe", {"trace_ids": list(trace_ids)}))
    found: dict[tuple[str, str], Whole] = {}
    while reader.more:
        row = _row(reader)
        known = found.setdefault((row.trace_id, row.experiment), row)
        if known is not row:
            _merge(known, row)
    return list(found.values())


def whole(
    trace_id: str,
    experiment: str,
    *,
    roots: Iterable[Root],
    times: Iterable[tuple[int, int]],
    session_ids: Iterable[bytes],
    user_ids: Iterable[bytes],
    edges: Iterable[int],
    errors: Iterable[int],
    usage: Iterable[tuple[int, int, int, int]],
    billing: Iterable[Bill],
    adjusted_counts: Iterable[float],
) -> Whole:
    """Build a trace in one experiment from its spans, of which there is at least one.

    Args:
        trace_id: The trace's ID.
        experiment: The experiment of the spans.
        roots: Candidates for the root; those of the lowest rank suffice.
        times: Start and duration of each span.
        session_ids: Of each span.
        user_ids: Of each span.
        edges: As in `Whole`, as are the rest.
        errors: Of failed spans.
        usage: Of spans that report any.
        billing: Of spans that report usage or a cost.
        adjusted_counts: Of each span.
    """
    bounds = [
        (start_ns, start_ns + duration_ns if duration_ns > 0 else start_ns)
        for start_ns, duration_ns in times
    ]
    return Whole(
        trace_id=trace_id,
        experiment=experiment,
        start_time_ns=min(bounds)[0],
        end_time_ns=min(max([end_ns for _, end_ns in bounds]), _LATEST_NS),
        root=min(roots),
        session_id=max(session_ids),
        user_id=max(user_ids),
        edges=set(edges),
        errors=set(errors),
        usage=set(usage),
        billing=set(billing),
        adjusted_count=max(adjusted_counts),
    )


_Told: TypeAlias = tuple[SpanRow, Said, int, "tuple[int, int, int, int] | None"]
"""A span, its derived values, its short ID and its usage."""


def from_spans(trace_id: str, spans: Iterable[tuple[SpanRow, Said]]) -> list[Whole]:
    """Build a trace in each experiment that it crosses, from all of its spans."""
    found: dict[str, list[_Told]] = {}
    for span, said in spans:
        short = short_id(span.span_id)
        counts = said.input_tokens, said.output_tokens, said.total_tokens
        told = span, said, short, usage_of(short, *counts)
        found.setdefault(span.experiment, []).append(told)
    return [
        whole(
            trace_id,
            experiment,
            roots=[_root(span, said) for span, said, _, _ in told],
            times=[(span.start_time_unix_nano, span.duration_ns) for span, _, _, _ in told],
            session_ids=[said.session_id for _, said, _, _ in told],
            user_ids=[said.user_id for _, said, _, _ in told],
            edges=[short << 32 | short_id(span.parent_span_id) for span, _, short, _ in told],
            errors=[short for span, _, short, _ in told if span.status_code == FAILED],
            usage=[usage for _, _, _, usage in told if usage],
            billing=[_bill_of(said, short) for _, said, short, usage in told if usage or said.cost],
            adjusted_counts=[span.adjusted_count for span, _, _, _ in told],
        )
        for experiment, told in found.items()
    ]


def _root(span: SpanRow, said: Said) -> Root:
    return Root(
        rank=rank(span.parent_span_id, span.flags, span.kind),
        start_time_ns=span.start_time_unix_nano,
        span_id=span.span_id,
        name=span.name.encode(),
        service_name=span.resource.attributes.get("service.name")[1],
        version=said.version,
        environment=said.environment,
        deployment_id=said.deployment_id,
        status_code=span.status_code,
        session_id=said.session_id,
        user_id=said.user_id,
    )


def usage_of(
    short: int, taken: int | None, given: int | None, both: int | None
) -> tuple[int, int, int, int] | None:
    """Make the value of the column `usage` from the tokens of a span; None if it has none."""
    if both is None:
        if taken is None and given is None:
            return None
        both = min((taken or 0) + (given or 0), _MOST)
    return short, taken or 0, given or 0, both


def _bill_of(said: Said, short: int) -> Bill:
    cached = (said.cache_read_input_tokens or 0), (said.cache_creation_input_tokens or 0)
    return Bill(short, said.model, said.provider, *cached, said.cost)


def rank(parent_span_id: bytes, flags: int, kind: int) -> int:
    """Rank a span as a root: 0 has no parent, 1 a parent in another process, 2 one in this."""
    if parent_span_id == NO_PARENT:
        return 0
    if flags & _KNOWS_PARENT:
        return 1 if flags & _PARENT_IS_REMOTE else 2
    return 1 if kind in _BEGIN_WORK else 2


def short_id(span_id: bytes) -> int:
    """Return the engine's xxHash32 of 8 bytes.

    See "Description of xxHash" in the documentation of xxHash, for inputs under 16 bytes.
    """
    accumulator = 374761393 + 8
    for lane in _TWO_UINT32.unpack(span_id):
        accumulator = accumulator + lane * 3266489917 & 0xFFFFFFFF
        accumulator = (accumulator << 17 | accumulator >> 15) * 668265263 & 0xFFFFFFFF
    accumulator = (accumulator ^ accumulator >> 15) * 2246822519 & 0xFFFFFFFF
    accumulator = (accumulator ^ accumulator >> 13) * 3266489917 & 0xFFFFFFFF
    return accumulator ^ accumulator >> 16


def _row(reader: Reader) -> Whole:
    trace_id, start_ns, end_ns, *least = reader.fields(_HEAD)
    texts = [reader.string() for _ in range(5)]
    (status_code,) = reader.fields(_STATUS)
    root = Root._make((*least, *texts, status_code, reader.string(), reader.string()))
    return Whole(
        trace_id=trace_id.hex(),
        start_time_ns=start_ns,
        end_time_ns=end_ns,
        root=root,
        experiment=reader.text(),
        session_id=reader.string(),
        user_id=reader.string(),
        edges=set(reader.numbers("Q")),
        errors=set(reader.numbers("I")),
        usage=usage(reader),
        billing=billing(reader),
        adjusted_count=reader.fields(_COUNT)[0],
    )


def usage(reader: Reader) -> set[tuple[int, int, int, int]]:
    """Read the column `usage`."""
    return {reader.fields(_USAGE) for _ in range(reader.length())}  # pyright: ignore[reportReturnType]


def billing(reader: Reader) -> set[Bill]:
    """Read the column `billing`."""
    return {_bill(reader) for _ in range(reader.length())}


def _bill(reader: Reader) -> Bill:
    span = reader.uint32()
    model, provider = reader.text(), reader.text()
    cache_read, cache_creation = reader.fields(_CACHED)
    return Bill(span, model, provider, cache_read, cache_creation, reader.text())


def _merge(known: Whole, row: Whole) -> None:
    known.start_time_ns = min(known.start_time_ns, row.start_time_ns)
    known.end_time_ns = max(known.end_time_ns, row.end_time_ns)
    known.root = min(known.root, row.root)
    known.session_id = max(known.session_id, row.session_id)
    known.user_id = max(known.user_id, row.user_id)
    known.edges |= row.edges
    known.errors |= row.errors
    known.usage |= row.usage
    known.billing |= row.billing
    known.adjusted_count = max(known.adjusted_count, row.adjusted_count)
