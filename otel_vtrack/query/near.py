"""Loads a page of traces from their spans.

Spans of one time lie side by side, whereas `traces` has its rows by a hash: each of a hundred
is in another place, and to read one there takes as long as to read a thousand.
"""

import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Final, NamedTuple, TypeAlias

from otel_vtrack.query import facts, partial
from otel_vtrack.query.export import ResourceRow, ScopeRow, SpanRow
from otel_vtrack.query.facts import Facts
from otel_vtrack.query.partial import Root, Told, Whole
from otel_vtrack.query.rowbinary import Reader
from otel_vtrack.query.tokens import Bill
from otel_vtrack.store.client import Store
from otel_vtrack.wire.attributes import Attributes

_MINUTE_NS: Final = 60_000_000_000
_LAST_MINUTE: Final = ((1 << 32) - 1) // 60
_MOST_MINUTES: Final = 240
_MOST_SPANS: Final = 20_000
"""More than these are put together by the engine."""

_BOUNDS: Final = struct.Struct("<16sqq")
_FIXED: Final = struct.Struct("<16s8s8sIIIiqqif?QQQQQ")
_NOTHING: Final = Attributes((), (), b"")
_NO_RESOURCE: Final = ResourceRow(_NOTHING, (), 0, "")
_NO_SCOPE: Final = ScopeRow("", "", (), 0, "")
Key: TypeAlias = tuple[str, str]
"""A trace's id and experiment."""


class _Span(NamedTuple):
    """What is read of a span.

    Attributes:
        row: What query.facts looks at; the rest of it is left empty.
    """

    trace_id: str
    experiment: str
    start_ns: int
    span_id: bytes
    row: SpanRow
    told: Told


def load(store: Store, places: Sequence[tuple[int, str]]) -> dict[Key, tuple[Whole, Facts]]:
    """Load traces in each experiment that they cross; those that are not stored are left out.

    Args:
        store: Where to look.
        places: Of each trace when its root began, or another of its spans, and its id.
    """
    ids = list({trace_id for _, trace_id in places})
    looked = {(start_ns // _MINUTE_NS, trace_id) for start_ns, trace_id in places}
    with ThreadPoolExecutor(1) as pool:
        # Side by side, for most traces lie in the minute in which their root began.
        bounds = pool.submit(_bounds, store, ids)
        spans = _spans(store, looked)
        where = bounds.result()
    rest: set[tuple[int, str]] = set()
    far: set[str] = set()
    for trace_id, (start_ns, end_ns) in where.items():
        first, last = start_ns // _MINUTE_NS, end_ns // _MINUTE_NS
        if last - first > _MOST_MINUTES or first < 0 or last >= _LAST_MINUTE:
            far.add(trace_id)  # Or the key's minutes wrap around.
        else:
            rest.update((minute, trace_id) for minute in range(first, last + 1))
    more = _spans(store, rest - looked) if rest - looked else []
    if spans is None or more is None:
        far, spans, more = set(ids), [], []
    found = {
        key: _whole(key, list(each))
        for key, each in groupby(sorted([*spans, *more], key=_order), key=_key)
        if key[0] in where and key[0] not in far
    }
    if far:
        wholes = partial.traces(store, list(far))
        said = facts.of_traces(store, wholes)
        for whole in wholes:
            key = (whole.trace_id, whole.experiment)
            found[key] = (whole, said[key])
    return found


def _bounds(store: Store, ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Say when the first span of each trace began, and when the last one ended."""
    reader = Reader(store.binary("traces/extents", {"trace_ids": ids}))
    found: dict[str, tuple[int, int]] = {}
    while reader.more:
        identity, start_ns, end_ns = reader.fields(_BOUNDS)
        trace_id = identity.hex()
        first, last = found.get(trace_id, (start_ns, end_ns))
        found[trace_id] = min(first, start_ns), max(last, end_ns)
    return found


def _spans(store: Store, looked: set[tuple[int, str]]) -> list[_Span] | None:
    """Read the spans of traces in minutes; None if there are too many."""
    pairs = [
        (minute * _MINUTE_NS, trace_id) for minute, trace_id in looked if 0 <= minute < _LAST_MINUTE
    ]
    asked = {
        "minute_ns": [start_ns for start_ns, _ in pairs],
        "minute_trace_ids": [trace_id for _, trace_id in pairs],
        "names": list(facts.NAMES),
        "resource_names": list(facts.RESOURCE_NAMES),
        "longest": facts.LONGEST_SAID,
        "most": _MOST_SPANS + 1,
    }
    reader = Reader(store.binary("traces/near", asked))
    found: list[_Span] = []
    while reader.more:
        found.append(_span(reader))
    return found if len(found) <= _MOST_SPANS else None


def _span(reader: Reader) -> _Span:
    (
        identity,
        span_id,
        parent_span_id,
        short_id,
        parent_short_id,
        flags,
        kind,
        start_ns,
        duration_ns,
        status_code,
        adjusted_count,
        has_usage,
        input_tokens,
        output_tokens,
        total_tokens,
        cache_read,
        cache_creation,
    ) = reader.fields(_FIXED)
    name, service_name, version, environment, deployment_id, session_id, user_id = (
        reader.string(),
        reader.string(),
        reader.string(),
        reader.string(),
        reader.string(),
        reader.string(),
        reader.string(),
    )
    experiment, model, provider, cost = reader.text(), reader.text(), reader.text(), reader.text()
    git = reader.text(), reader.text(), reader.text(), reader.text()
    pairs = [(reader.text(), 1, reader.string()) for _ in range(reader.length())]
    told = [(reader.text(), reader.byte(), reader.string()) for _ in range(reader.length())]
    root = Root(
        partial.rank(parent_span_id, flags, kind),
        start_ns,
        span_id,
        name,
        service_name,
        version,
        environment,
        deployment_id,
        status_code,
        session_id,
        user_id,
    )
    row = SpanRow(
        span_id,
        parent_span_id,
        flags,
        kind,
        start_ns,
        duration_ns,
        status_code,
        *(0, 0, 0),
        *("", "", ""),
        experiment,
        *git,
        ResourceRow(_attributes(pairs), (), 0, "") if pairs else _NO_RESOURCE,
        _NO_SCOPE,
        _attributes(told) if told else _NOTHING,
        [],
        (),
        adjusted_count,
    )
    bill = Bill(short_id, model, provider, cache_read, cache_creation, cost)
    return _Span(
        identity.hex(),
        experiment,
        start_ns,
        span_id,
        row,
        Told(
            root,
            duration_ns,
            short_id << 32 | parent_short_id,
            (short_id, input_tokens, output_tokens, total_tokens) if has_usage else None,
            bill if has_usage or cost else None,
            adjusted_count,
        ),
    )


def _attributes(told: Sequence[tuple[str, int, bytes]]) -> Attributes:
    names, kinds, texts = zip(*told, strict=True)
    return Attributes(names, texts, bytes(kinds))


def _order(span: _Span) -> tuple[str, str, int, bytes]:
    return span[:4]


def _key(span: _Span) -> Key:
    return span.trace_id, span.experiment


def _whole(key: Key, spans: Sequence[_Span]) -> tuple[Whole, Facts]:
    whole = partial.whole(*key, [span.told for span in spans])
    return whole, facts.from_spans([span.row for span in spans], whole.root.span_id)
