"""Matches the attribute names of a rule, which are exact or contain wildcards."""

import fnmatch
import re
from collections.abc import Iterable
from typing import Final

_WILDCARDS: Final = re.compile(r"\[!?\]?[^\]]*\]|[*?\[\]]+")
_MOST_KNOWN: Final = 10_000
_SHORTEST_LITERAL: Final = 3


class Keys:
    """A set of attribute names and wildcard patterns.

    Args:
        keys: Exact names, or patterns with `*`, `?` and `[...]` as in file names; case-sensitive.

    Attributes:
        literals: Texts of which every matching name contains at least one; None if there are none.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        keys = tuple(keys)
        # Python's translation uses atomic groups, so matching never takes exponential time.
        self._pattern = re.compile("|".join(map(fnmatch.translate, keys)))
        self._known: dict[str, bool] = {}
        parts = {key: max(_WILDCARDS.split(key), key=len) for key in keys}
        short = any(part != key and len(part) < _SHORTEST_LITERAL for key, part in parts.items())
        self.literals = None if short else tuple(parts.values())

    def match(self, key: str) -> bool:
        """Return whether a name matches."""
        found = self._known.get(key)
        if found is None:
            found = self._pattern.match(key) is not None
            if len(self._known) < _MOST_KNOWN:
                self._known[key] = found
        return found
