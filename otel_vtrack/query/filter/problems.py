"""Report what is wrong with a filter, where, and how to correct it."""

import difflib
from collections.abc import Iterable
from typing import Final

from otel_vtrack.errors import InvalidArgument

_WIDEST: Final = 100


def at(text: str, offset: int, message: str, *, what: str = "filter") -> InvalidArgument:
    """Make the error for a position in a filter, with line, column and a caret below it.

    Args:
        text: The whole filter.
        offset: Characters before the position.
        message: What is wrong, and what would be right.
        what: What `text` is, if it is not a filter.
    """
    offset = min(max(offset, 0), len(text))
    line = text.count("\n", 0, offset) + 1
    begins = text.rfind("\n", 0, offset) + 1
    ends = text.find("\n", offset)
    shown = text[begins : ends if ends >= 0 else len(text)]
    column = offset - begins
    # Of a long line, show only the part around the position.
    first = max(0, column - _WIDEST // 2)
    excerpt = shown[first : first + _WIDEST].replace("\t", " ").replace("\r", " ")
    return InvalidArgument(
        f"{what}, line {line}, column {column + 1}: {message}\n"
        f"  {excerpt}\n  {' ' * (column - first)}^"
    )


def meant(given: str, known: Iterable[str]) -> str:
    """Return `: did you mean x or y?` with similar names, or an empty text."""
    by_lower = {name.lower(): name for name in known}
    # difflib rates short words with transposed letters as dissimilar.
    letters = sorted(given.lower())
    near = [name for name in by_lower if sorted(name) == letters]
    near = near or difflib.get_close_matches(given.lower(), by_lower, n=3, cutoff=0.65)
    names = [by_lower[name] for name in near]
    return f": did you mean {listed(names)}?" if names else ""


def listed(names: Iterable[str], *, last: str = "or") -> str:
    """Join names, as in `a, b or c`."""
    every = list(names)
    if len(every) < 2:
        return "".join(every)
    return f"{', '.join(every[:-1])} {last} {every[-1]}"
