"""Sums a trace's token usage without counting anything twice.

A span that reports usage stands for all below it: agents report the total of the calls they
made, which report their own. So a span is left out if any of its ancestors reports usage,
however far above and whatever lies between. That is MLflow's rule.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class TokenUsage(NamedTuple):
    """Tokens of prompts, of completions, and in total."""

    input_tokens: int
    output_tokens: int
    total_tokens: int


def usage(reported: Iterable[tuple[int, int, int, int]], edges: Iterable[int]) -> TokenUsage | None:
    """Sum what a trace's spans report; None if none does.

    A span whose parent is missing or is itself has no ancestors, and neither has one whose
    ancestry runs in a circle. The query `analysis/tokens` has the same rules in SQL.

    Args:
        reported: What `traces.usage` holds: one for each span that reports.
        edges: What `traces.edges` holds: one for each span, its short id above its parent's.
    """
    found = list(reported)
    if not found:
        return None
    reporting = {each[0] for each in found}
    # Sorted, so that of a span with two parents the same one wins here and in SQL.
    parents: dict[Any, int] = {edge >> 32: edge & 0xFFFFFFFF for edge in sorted(edges)}
    ancestry = _Ancestry(parents, reporting)
    counted = [each for each in found if not ancestry.reports(each[0])]
    return TokenUsage(*(sum(each[field] for each in counted) for field in (1, 2, 3)))


class _Ancestry:
    """Which spans have an ancestor that reports; each span is walked over once."""

    def __init__(self, parents: Mapping[int, int], reporting: set[int]) -> None:
        self._parents = parents
        self._reporting = reporting
        self._known: dict[int, bool | None] = {}  # None: runs in a circle

    def reports(self, span: int) -> bool:
        """Say whether an ancestor of `span` reports usage."""
        path: dict[int, int] = {}
        at, end = span, False
        while at not in self._known:
            parent = self._parents.get(at, 0)
            if parent in {0, at} or parent not in self._parents:
                self._known[at] = end
                break
            path[at] = parent
            if parent in path:
                self._known |= dict.fromkeys(path)
                break
            at = parent
        for child, parent in reversed(path.items()):
            if child not in self._known:
                above = self._known[parent]
                known = None if above is None else above or parent in self._reporting
                self._known[child] = known
        return bool(self._known[span])
