"""Regular expressions that take linear time, whatever text a stranger sends: RE2's.

Source: https://github.com/google/re2, whose syntax has neither backreferences nor lookaround.
Loaded once there is a pattern, so that a server without any is as small as before.
"""

import importlib
import itertools
import re
from collections.abc import Callable
from typing import Any, Final

_MOST_MEMORY: Final = 32 << 20
# Of a look at all matches of a pattern from the settings: some seconds at worst.
_MOST_STEPS: Final = 200_000_000
_FEWEST: Final = 16
# Where a match depends on what is around it, which is other bytes inside a serialized message.
_ANCHOR: Final = re.compile(r"(?<!\[)\^|\$|\\[AzZbBQ]")


class Pattern:
    """A compiled regular expression, for UTF-8 or any bytes.

    Args:
        text: In RE2's syntax.
        built_in: It never looks far beyond what it matches.

    Raises:
        ValueError: It is none, or matches the empty text; the message says so.
    """

    def __init__(self, text: str, *, built_in: bool = False) -> None:
        try:
            engine: Any = importlib.import_module("re2")
        except ImportError:
            raise ValueError(
                "patterns and detectors need RE2: install otel-vtrack[server], or google-re2"
            ) from None
        options = engine.Options()
        # Else it writes the pattern to stderr.
        options.log_errors = False
        options.max_mem = _MOST_MEMORY
        try:
            self._compiled = engine.compile(text.encode(), options)
        except engine.error as error:
            said = error.args[0] if error.args else ""
            said = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
            # Behind the colon it quotes the pattern.
            kind = said.partition(":")[0]
            raise ValueError(f"no regular expression in RE2's syntax ({kind})") from None
        if self._compiled.search(b""):
            raise ValueError("it matches the empty text, and with that everything")
        self._built_in = built_in
        self.anywhere = not _ANCHOR.search(text)
        """Whether it matches in a message wherever it matches in a text of it."""

    def matches(self, text: bytes) -> bool:
        """Say whether it is in a text."""
        return self._compiled.search(text) is not None

    def spans(self, text: bytes, most: int) -> list[tuple[int, int]] | None:
        """Find where it matches, or the first group that took part; None for more than `most`."""
        return self._found(text, most, self._inner)

    def wholes(self, raw: bytes, most: int) -> list[tuple[int, int]] | None:
        """Find the same, but all of each match."""
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
            # Each match may mean a look at all that is left.
            most = min(most, max(_FEWEST, _MOST_STEPS // len(text)))
        matches = list(itertools.islice(self._compiled.finditer(text), most + 1))
        return [span(match) for match in matches] if len(matches) <= most else None
