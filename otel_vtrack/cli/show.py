"""Formatting of times, durations, tables and single records for commands that query the server."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Final, NamedTuple

import click
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich import box, markup
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table

from otel_vtrack.client import columns
from otel_vtrack.client.values import nanoseconds
from otel_vtrack.v1 import analysis_pb2, traces_pb2

_NO_END: Final = 100_000
_QUIET_SECONDS: Final = 3600
_PADDING: Final = 3
_FOLDED: Final = 24
"""Maximum width in cells reserved for texts before columns are dropped; longer texts fold."""

UNKNOWN: Final = "unknown"

_UNFOLDED: Final = 36
"""The same for IDs and times, which are useful only in one piece."""


CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Control characters that a terminal may interpret, except tabs and newlines; rich leaves the
escape character in. Those beyond Latin-1 separate lines or change the direction of text, so that a
name could rewrite the line it is in.
"""

_WORD: Final = re.compile(r"\S{0,36}")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")

_NARROWEST: Final = 10
"""Minimum width in cells of a column with folded texts, if they are longer: that of a date."""

_LONGEST_WORD: Final = 20
"""Width in cells up to which a word in such a column stays whole."""

_COLOURS: Final[Mapping[int, str]] = {
    analysis_pb2.VERDICT_IMPROVED: "green",
    analysis_pb2.VERDICT_REGRESSED: "red",
    analysis_pb2.VERDICT_CHANGED: "magenta",
    analysis_pb2.VERDICT_NOT_ENOUGH_DATA: "yellow",
}


class Shown(NamedTuple):
    """A column of a table.

    Attributes:
        field: Column of the message, see `client.columns`; or a function that formats the message.
        heading: Empty means the field's name, in words.
        spare: Order in which columns are dropped if the terminal is too narrow: greatest first, 0
            never.
        longest: Length to which texts are truncated; 0 for no limit.
    """

    field: str | Callable[[Any], str]
    heading: str = ""
    spare: int = 0
    longest: int = 0


def many(number: int, thing: str) -> str:
    """Format a count, such as `1 span` or `2 spans`."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def visible(text: str) -> str:
    """Replace terminal control characters, which could clear the screen, in external text."""
    return CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r", ""))


def line(text: str) -> str:
    """Put external text on one line, so that it cannot pass for a line of ours."""
    return visible(re.sub(r"[\t\n\v\f\r\u0085\u2028\u2029]+", " ", text))


def escape(text: str) -> str:
    """Escape external text so that `Console.print` prints it literally, on one line."""
    return markup.escape(line(text))


def summary(text: str, verdict: int, colours: Mapping[int, str] = _COLOURS) -> str:
    """Mark a summary up in the colour of its verdict, which may be one of a newer server."""
    return f"[{colours.get(verdict, 'default')}]{escape(text)}[/]"


def console() -> Console:
    """Return a console for stdout; if that is no terminal, one with practically unlimited width."""
    made = Console(highlight=False)
    return made if made.is_terminal else Console(highlight=False, width=_NO_END)


def listing(
    kind: type[Message], found: Sequence[Any], shown: Sequence[Shown], nothing: str
) -> None:
    """Print messages as a table.

    Args:
        kind: Type of the messages.
        found: The messages, in order.
        shown: The columns.
        nothing: Printed instead if there are no messages.
    """
    if not found:
        click.echo(nothing)
        return
    known = {column.name: column for column in columns.of(kind.DESCRIPTOR)}
    rows = [[_cell(known, each, message) for each in shown] for message in found]
    numeric = {columns.Kind.INTEGER, columns.Kind.NUMBER, columns.Kind.LENGTH}
    headings = [
        (
            each.heading or str(each.field).replace("_", " "),
            isinstance(each.field, str) and known[each.field].kind in numeric,
            each.spare,
        )
        for each in shown
    ]
    made = console()
    made.print(table(*_fitting(headings, rows, made), made))


def _cell(known: Mapping[str, columns.Column], shown: Shown, message: Any) -> str:
    if isinstance(shown.field, str):
        column = known[shown.field]
        text = columns.shown(column, column.read(message))
    else:
        text = shown.field(message)
    if shown.longest and len(text) > shown.longest:
        return text[: shown.longest - 1] + "…"
    return text


def _fitting(
    headings: Sequence[tuple[str, bool, int]], rows: Sequence[Sequence[str]], made: Console
) -> tuple[list[tuple[str, bool]], list[list[str]]]:
    """Drop optional columns that are empty, then further ones until the rest fits the terminal."""
    kept = [
        number
        for number, (_, _, spare) in enumerate(headings)
        if not spare or any(row[number] for row in rows)
    ]

    def width(number: int) -> int:
        texts = [row[number] for row in rows]
        longest = max(cell_len(text) for text in (headings[number][0], *texts))
        return _PADDING + min(longest, _UNFOLDED if _in_one_piece(texts) else _FOLDED)

    while sum(map(width, kept)) > made.width:
        spared = max(kept, key=lambda number: headings[number][2])
        if not headings[spared][2]:
            break
        kept.remove(spared)
    return (
        [headings[number][:2] for number in kept],
        [[row[number] for number in kept] for row in rows],
    )


def field(message: Message, name: str) -> str:
    """Format one field of a message."""
    return next(
        columns.shown(column, column.read(message))
        for column in columns.of(message.DESCRIPTOR)
        if column.name == name
    )


def record(message: Message) -> None:
    """Print the non-empty fields of a message, one per line."""
    rows = [
        (column.name, columns.shown(column, column.read(message)))
        for column in columns.of(message.DESCRIPTOR)
    ]
    told = {name: text for name, text in rows if text}
    for name in [name for name in told if name.endswith("unknown_models")]:
        # A cost that leaves out models without a price would be wrong.
        for figure in ("input_cost", "output_cost", "total_cost"):
            told[name.replace("unknown_models", figure)] = UNKNOWN
    pairs(told)


def dollars(cost: traces_pb2.Cost) -> str:
    """Format the cost of tokens; it is unknown if any model has no price."""
    return UNKNOWN if cost.unknown_models else f"{cost.total_cost:.6g}"


def pairs(texts: Mapping[str, str]) -> None:
    """Print names with their values, one pair per line."""
    width = max(map(len, texts), default=0)
    made = console()
    for name, text in texts.items():
        made.print(escape(f"{name.ljust(width)}  {text}"), soft_wrap=True)


def table(
    headings: Sequence[tuple[str, bool]], rows: Iterable[Sequence[str]], on: Console
) -> RenderableType:
    """Make a table that fits a terminal without losing anything.

    Columns are as narrow as necessary, with texts folded; if even that is too wide, each row
    becomes a block with a line for each non-empty cell.

    Args:
        headings: Heading of each column, and whether it holds numbers.
        rows: A text for each column.
        on: Console on which it will be printed.
    """
    listed = [[line(cell) for cell in row] for row in rows]
    columns = [
        (heading, [row[number] for row in listed]) for number, (heading, _) in enumerate(headings)
    ]
    widths = _widths([_range(heading, texts) for heading, texts in columns], on.width)
    if not widths:
        return _blocks([heading for heading, _ in headings], listed)
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for width, (heading, is_number) in zip(widths, headings, strict=True):
        made.add_column(
            escape(heading),
            justify="right" if is_number else "left",
            overflow="fold",
            width=width,
        )
    for row in listed:
        made.add_row(*(escape(cell) for cell in row))
    return made


def _range(heading: str, texts: Sequence[str]) -> tuple[int, int]:
    """Return the minimum and maximum width of a column, in cells."""
    most = max(map(cell_len, (heading, *texts)))
    words = [heading.split()]
    if not all(_WORD.fullmatch(text) for text in texts):
        words += [text.split() for text in texts]
    longest = max((cell_len(word) for text in words for word in text), default=0)
    if len(words) > 1:
        return min(most, max(_NARROWEST, min(longest, _LONGEST_WORD))), most
    return max((longest, *map(cell_len, texts))), most


def _widths(ranges: Sequence[tuple[int, int]], whole: int) -> list[int]:
    """Distribute the terminal's width over the columns; empty if it is too narrow."""
    widths = [least for least, _ in ranges]
    left = whole - sum(widths) - _PADDING * len(widths)
    if left < 0:
        return []
    # Columns that lack least first, so that a time is complete before a long text is.
    order = sorted(range(len(ranges)), key=lambda number: ranges[number][1] - widths[number])
    for done, number in enumerate(order):
        more = min(ranges[number][1] - widths[number], left // (len(order) - done))
        widths[number] += more
        left -= more
    return widths


def _blocks(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(style="bold", overflow="fold")
    made.add_column(overflow="fold")
    for row in rows:
        made.add_row()
        for heading, cell in zip(headings, row, strict=True):
            if cell:
                made.add_row(escape(heading), escape(cell))
    made.add_row()
    return made


def _in_one_piece(texts: Iterable[str]) -> bool:
    return all(_WORD.fullmatch(text) or _TIME.fullmatch(text) for text in texts)


def moment(time: Timestamp) -> str:
    """Format a time in UTC, to the second."""
    return columns.moment(nanoseconds(time))


length = columns.length


def quiet(last_seen: Timestamp, end: datetime | None) -> bool:
    """Return whether `last_seen` is at least an hour before `end`; None means now."""
    told = end or datetime.now(timezone.utc)
    return told.timestamp() - nanoseconds(last_seen) / 1e9 >= _QUIET_SECONDS
