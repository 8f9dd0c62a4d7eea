"""A request in pieces: each Resource, scope, span and log record as its own bytes.

A piece that is not changed stays byte for byte as it came, and so do the frames around pieces, but
for the lengths of those that hold a changed one. OTLP numbers traces and logs alike:

    Export…ServiceRequest   1 Resource…
    ResourceSpans, …Logs    1 Resource   2 Scope…                   3 schema_url
    ScopeSpans, …Logs       1 scope      2 spans or log records     3 schema_url
"""

import bisect
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

from otel_vtrack.wire import framing

Kind = Literal["resource", "scope", "item", "text"]
Change = Callable[[Kind, bytes, int], bytes]
"""Returns what a piece, which begins at a place of the request, becomes.

It is the very same object if the piece stays as it is.
"""

Spans = list[tuple[int, int]]
"""Stretches of bytes, from where and up to where."""

_LENGTH_DELIMITED: Final = 2
_LEVELS: Final[tuple[dict[int, Kind | None], ...]] = (
    {1: None},
    {1: "resource", 2: None, 3: "text"},
    {1: "scope", 2: "item", 3: "text"},
)


class Wanted:
    """Where something was found in a request; says which pieces may hold it.

    Args:
        found: Stretches, in any order, which may overlap; None is all of it.
    """

    def __init__(self, found: Iterable[tuple[int, int]] | None) -> None:
        self._everything = found is None
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in sorted(found or ()):
            if self._ends and start <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._starts.append(start)
                self._ends.append(end)

    def __bool__(self) -> bool:
        return self._everything or bool(self._starts)

    def overlaps(self, start: int, end: int) -> bool:
        """Say whether there is something of it between two places."""
        if self._everything:
            return True
        after = bisect.bisect_right(self._ends, start)
        return after < len(self._starts) and self._starts[after] < end


def rewrite(payload: bytes, wanted: Sequence[Wanted], change: Change) -> bytes:
    """Change the pieces of a checked request that may hold anything that is wanted."""
    return _rewrite(payload, 0, 0, wanted, change)


def _rewrite(raw: bytes, at: int, level: int, wanted: Sequence[Wanted], change: Change) -> bytes:
    """Change a message that begins at `at` of the request."""
    kinds = _LEVELS[level]
    out: list[bytes] = []
    kept = 0
    for number, wire_type, start, value, end in framing.fields(raw):
        if wire_type != _LENGTH_DELIMITED or number not in kinds:
            continue
        for each in wanted:
            if each.overlaps(at + value, at + end):
                break
        else:
            continue
        old = raw[value:end]
        kind = kinds[number]
        if kind:
            new = change(kind, old, at + value)
        else:
            new = _rewrite(old, at + value, level + 1, wanted, change)
        if new is not old:
            out += (raw[kept:start], framing.length_delimited(number, new))
            kept = end
    if not out:
        return raw
    out.append(raw[kept:])
    return b"".join(out)
