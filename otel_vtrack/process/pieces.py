"""Splits a request into pieces: each Resource, scope, span and log record as its own bytes.

Unchanged pieces stay byte for byte as they were. So do the frames around pieces, except for the
lengths of frames that contain a changed piece. OTLP uses the same field numbers for traces and
logs:

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
"""Returns the new bytes of a piece; the integer is the piece's offset in the request.

Must return the very same object if the piece is unchanged.
"""

Spans = list[tuple[int, int]]
"""Byte ranges: start (inclusive) and end (exclusive)."""

_LENGTH_DELIMITED: Final = 2
_LEVELS: Final[tuple[dict[int, Kind | None], ...]] = (
    {1: None},
    {1: "resource", 2: None, 3: "text"},
    {1: "scope", 2: "item", 3: "text"},
)


class Wanted:
    """Where matches were found in a request; determines which pieces may contain them.

    Args:
        found: Byte ranges in any order, possibly overlapping; None means everywhere.
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
        """Return whether any match overlaps the range."""
        if self._everything:
            return True
        after = bisect.bisect_right(self._ends, start)
        return after < len(self._starts) and self._starts[after] < end


def rewrite(payload: bytes, wanted: Sequence[Wanted], change: Change) -> bytes:
    """Apply `change` to the pieces of a checked request that may contain any of `wanted`."""
    return _rewrite(payload, 0, 0, wanted, change)


def _rewrite(raw: bytes, at: int, level: int, wanted: Sequence[Wanted], change: Change) -> bytes:
    """Rewrite a message that starts at offset `at` of the request."""
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
