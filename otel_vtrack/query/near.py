"""Load a page of traces from their spans.

Spans of the same time are adjacent, whereas the rows of `traces` are ordered by a hash: each of a
hundred traces is in a different place, and reading one row there takes as long as reading a
thousand.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Final, NamedTuple, TypeAlias

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import beside, facts, partial
from otel_vtrack.query.facts import Facts
from otel_vtrack.query.partial import FAILED, Root, Whole
from otel_vtrack.query.shared import Shared, read_shared
from otel_vtrack.query.tokens import Bill
from otel_vtrack.store.client import Store
from otel_vtrack.store.parameters import Plain
from otel_vtrack.wire.attributes import Attributes

_MINUTE_S: Final = 60
_MINUTE_NS: Final = 60_000_000_000
_LAST_MINUTE: Final = ((1 << 32) - 1) // 60
_MOST_MINUTES: Final = 240
_MOST_SPANS: Final = 20_000
"""Above this number, the engine merges them instead."""

_MANY_MINUTES: Final = 8
"""From this many minutes on, reading takes longer than planning, so two halves run in parallel."""

_BOUNDS: Final = struct.Struct("<16sqq")
_STRING: Final = b"\1"
_BYTES: Final = (
    *("trace_id", "shared", "span_id", "parent_span_id"),
    *("service_name", "version", "environment", "deployment_id", "session_id", "user_id"),
    *("resource_texts", "attribute_texts"),
)
"""Columns of traces/near that may hold invalid text."""

Key: TypeAlias = tuple[str, str]
"""A trace's ID and experiment."""

Bounds: TypeAlias = dict[str, tuple[int, int]]
"""By trace ID, when its first span started and when its last one ended."""


class _Span(NamedTuple):
    """A row of traces/near."""

    trace_id: bytes
    shared: Shared
    start_time_unix_nano: int
    span_id: bytes
    parent_span_id: bytes
    short_id: int
    parent_short_id: int
    duration_ns: int
    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    cache_read: int | None
    cache_creation: int | None
    service_name: bytes
    version: bytes
    environment: bytes
    deployment_id: bytes
    session_id: bytes
    user_id: bytes
    model: str
    provider: str
    cost: str
    git_commit: str
    git_branch: str
    git_dirty: str
    repository_url: str
    resource_names: Sequence[str]
    resource_texts: Sequence[bytes]
    attribute_names: Sequence[str]
    attribute_texts: Sequence[bytes]

    @property
    def attributes(self) -> Attributes:
        """Its own attributes."""
        kinds = self.shared.attribute_kinds
        return Attributes(tuple(self.attribute_names), tuple(self.attribute_texts), kinds)

    @property
    def resource_attributes(self) -> Attributes:
        """The attributes of its resource, all treated as strings."""
        names = tuple(self.resource_names)
        return Attributes(names, tuple(self.resource_texts), _STRING * len(names))


def load(
    store: Store, places: Sequence[tuple[int, str]], bounds: Callable[[], Bounds]
) -> dict[Key, tuple[Whole, Facts]]:
    """Load traces in each experiment that they cross; those not stored are left out.

    Args:
        store: The store to query.
        places: For each trace the start of its root, or of another of its spans, and its ID.
        bounds: Waits for the result of `bounds` for these traces, which is queried in parallel:
            most traces lie within the minute in which their root started.
    """
    looked = {(start_ns // _MINUTE_NS, trace_id) for start_ns, trace_id in places}
    spans = _spans(store, looked)
    # Built while the query for the bounds is still running, as it takes as long.
    found = _wholes(spans or ())
    where = bounds()
    rest: set[tuple[int, str]] = set()
    far: set[str] = set()
    for trace_id, (start_ns, end_ns) in where.items():
        first, last = start_ns // _MINUTE_NS, end_ns // _MINUTE_NS
        if last - first > _MOST_MINUTES or first < 0 or last >= _LAST_MINUTE:
            far.add(trace_id)  # Or the key's minutes wrap around.
        else:
            rest.update((minute, trace_id) for minute in range(first, last + 1))
    rest -= looked
    more = _spans(store, rest) if rest else []
    if spans is None or more is None:
        far, found = {trace_id for _, trace_id in places}, {}
    elif rest:
        longer = {bytes.fromhex(trace_id) for _, trace_id in rest}
        found |= _wholes([*(span for span in spans if span.trace_id in longer), *more])
    found = {key: each for key, each in found.items() if key[0] in where and key[0] not in far}
    if far:
        wholes = partial.traces(store, list(far))
        said = facts.of_traces(store, wholes)
        for whole in wholes:
            key = (whole.trace_id, whole.experiment)
            found[key] = (whole, said[key])
    return found


def bounds(store: Store, ids: Sequence[str]) -> Bounds:
    """Return when the first span of each trace started and when the last one ended."""
    rows = store.binary("traces/extents", {"trace_ids": Plain.joined(ids)})
    wanted = set(ids)
    found: dict[str, tuple[int, int]] = {}
    for identity, start_ns, end_ns in _BOUNDS.iter_unpack(rows):
        # Another trace may have the same hash.
        if (trace_id := identity.hex()) in wanted:
            first, last = found.get(trace_id, (start_ns, end_ns))
            found[trace_id] = min(first, start_ns), max(last, end_ns)
    return found


def _spans(store: Store, looked: set[tuple[int, str]]) -> list[_Span] | None:
    """Read the spans of traces within the given minutes.

    Returns:
        None if there are too many spans, if they are too large, or if the number of attributes
        differs from that of their kinds.
    """
    places = sorted(place for place in looked if 0 <= place[0] < _LAST_MINUTE)
    if not places:
        return []
    if len({minute for minute, _ in places}) < _MANY_MINUTES:
        return _read(store, places)
    # In the table's order, so that the halves read different rows.
    half = len(places) // 2
    other = beside.POOL.submit(_read, store, places[:half])
    last, first = _read(store, places[half:]), other.result()
    if first is None or last is None or len(first) + len(last) > _MOST_SPANS:
        return None
    return first + last


def _read(store: Store, places: Sequence[tuple[int, str]]) -> list[_Span] | None:
    texts = (f"{trace_id}{minute * _MINUTE_S}" for minute, trace_id in places)
    asked = {"places": Plain.joined(texts), "most": _MOST_SPANS + 1}
    try:
        columns = store.columns("traces/near", asked, as_bytes=_BYTES)
    except InvalidArgument:
        return None
    if not columns:
        return []
    trace_ids, shared, *rest = columns
    found = list(map(_Span._make, zip(trace_ids, map(read_shared, shared), *rest, strict=True)))
    names = [len(each.attribute_names) for each in found]
    kinds = [len(each.shared.attribute_kinds) for each in found]
    return found if names == kinds and len(found) <= _MOST_SPANS else None


def _key(span: _Span) -> tuple[bytes, str]:
    return span.trace_id, span.shared.experiment


def _order(span: _Span) -> tuple[bytes, str, int, bytes]:
    return span.trace_id, span.shared.experiment, span.start_time_unix_nano, span.span_id


def _wholes(spans: Iterable[_Span]) -> dict[Key, tuple[Whole, Facts]]:
    shapes: facts.Shapes = {}
    found: dict[Key, tuple[Whole, Facts]] = {}
    for (identity, experiment), each in groupby(sorted(spans, key=_order), key=_key):
        trace_id = identity.hex()
        found[trace_id, experiment] = _whole(trace_id, experiment, list(each), shapes)
    return found


def _whole(
    trace_id: str, experiment: str, spans: Sequence[_Span], shapes: facts.Shapes
) -> tuple[Whole, Facts]:
    ranks = [
        partial.rank(span.parent_span_id, span.shared.flags, span.shared.kind) for span in spans
    ]
    least = min(ranks)
    billed = [(span, _usage(span)) for span in spans if _has_usage(span) or span.cost]
    whole = partial.whole(
        trace_id,
        experiment,
        roots=[_root(span, rank) for span, rank in zip(spans, ranks, strict=True) if rank == least],
        times=[(span.start_time_unix_nano, span.duration_ns) for span in spans],
        session_ids=[span.session_id for span in spans],
        user_ids=[span.user_id for span in spans],
        edges=[span.short_id << 32 | span.parent_short_id for span in spans],
        errors=[span.short_id for span in spans if span.shared.status_code == FAILED],
        usage=[usage for _, usage in billed if usage],
        billing=[
            Bill(
                span.short_id,
                span.model,
                span.provider,
                span.cache_read or 0,
                span.cache_creation or 0,
                span.cost,
            )
            for span, _ in billed
        ],
        adjusted_counts=[span.shared.adjusted_count for span in spans],
    )
    return whole, facts.from_spans(spans, whole.root.span_id, shapes)


def _has_usage(span: _Span) -> bool:
    counts = span.input_tokens, span.output_tokens, span.total_tokens
    return counts != (None, None, None)


def _usage(span: _Span) -> tuple[int, int, int, int] | None:
    return partial.usage_of(span.short_id, span.input_tokens, span.output_tokens, span.total_tokens)


def _root(span: _Span, rank: int) -> Root:
    return Root(
        rank,
        span.start_time_unix_nano,
        span.span_id,
        span.shared.name_bytes,
        span.service_name,
        span.version,
        span.environment,
        span.deployment_id,
        span.shared.status_code,
        span.session_id,
        span.user_id,
    )
