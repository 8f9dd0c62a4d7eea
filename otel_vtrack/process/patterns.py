"""Regular expressions that run in linear time on any untrusted text, using RE2.

Source: https://github.com/google/re2, whose syntax has neither backreferences nor lookaround.
RE2 is loaded with the first pattern, so a server without patterns needs no memory for it.
"""

import importlib
import itertools
import re
from collections.abc import Callable
from typing import Any, Final

_MOST_MEMORY: Final = 32 << 20
# Limits finding all matches of a pattern from the settings to some seconds at worst.
_MOST_STEPS: Final = 200_000_000
_FEWEST: Final = 16
# Anchors match by context, which differs between a text and the serialized message around it.
_ANCHOR: Final = re.compile(r"(?<!\[)\^|\$|\\[AzZbBQ]")


class Pattern:
    """A compiled regular expression over UTF-8 or arbitrary bytes.

    Args:
        text: The expression in RE2 syntax.
        built_in: Whether it is known never to look far beyond what it matches.

    Raises:
        ValueError: The syntax is invalid, or it matches the empty text; the message says which.
    """

    def __init__(self, text: str, *, built_in: bool = False) -> None:
        try:
            engine: Any = importlib.import_module("re2")
        except ImportError:
            raise ValueError(
                "patterns and detectors need RE2: install otel-vtrack[server], or google-re2"
            ) from None
        options = engine.Options()
        # Otherwise RE2 writes the pattern to stderr.
        options.log_errors = False
        options.max_mem = _MOST_MEMORY
        try:
            self._compiled = engine.compile(text.encode(), options)
        except engine.error as error:
            said = error.args[0] if error.args else ""
            said = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
            # After the colon, the message quotes the pattern.
            kind = said.partition(":")[0]
            raise ValueError(f"not a valid RE2 regular expression ({kind})") from None
        if self._compiled.search(b""):
            raise ValueError("it matches empty text, and so everything")
        self._built_in = built_in
        self.anywhere = not _ANCHOR.search(text)
        """Whether every match in a text is also a match in the serialized message around it."""

    def matches(self, text: bytes) -> bool:
        """Return whether it matches anywhere in a text."""
        return self._compiled.search(text) is not None

    def spans(self, text: bytes, most: int) -> list[tuple[int, int]] | None:
        """Find its matches, or their first group that took part; None for more than `most`."""
        return self._found(text, most, self._inner)

    def wholes(self, raw: bytes, most: int) -> list[tuple[int, int]] | None:
        """Find whole matches, whatever their groups; None for more than `most`."""
        return self._found(raw, most, lambda match: match.span())

    def _inner(self, match: Any) -> tuple[int, int]:
        for group in range(1, self._compiled.groups + 1):
            if (span := match.span(group)) != (-1, -1):
                return span
        return match.span()

    def _found(
        self, text: bytes, most: int, span: Callable[[Any], tuple[int, int]]
    ) -> list[tuple[int, int]] | None:
        if not self._built_in and text:
            # Each match may mean scanning the rest of the text.
            most = min(most, max(_FEWEST, _MOST_STEPS // len(text)))
        matches = list(itertools.islice(self._compiled.finditer(text), most + 1))
        return [span(match) for match in matches] if len(matches) <= most else None
