"""How the commands that ask write times, durations, tables and single things."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Final, NamedTuple

import click
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich import box, markup
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from otel_vtrack.client import columns
from otel_vtrack.client.values import nanoseconds
from otel_vtrack.v1 import traces_pb2

_NO_END: Final = 100_000
_QUIET_SECONDS: Final = 3600
_PADDING: Final = 3
_FOLDED: Final = 24
"""Cells of a terminal that a text takes before it is folded to spare a column."""

UNKNOWN: Final = "unknown"

_UNFOLDED: Final = 36
"""Cells that an id or a time takes, which is of use only in one piece."""


# What a terminal may obey, all but tabs and ends of lines; rich leaves the escape as it is.
_CONTROLS: Final = dict.fromkeys(
    (*range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0)), "\N{REPLACEMENT CHARACTER}"
)

# A word of moderate length, or a time.
_WHOLE: Final = re.compile(r"\S{0,36}|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


class Shown(NamedTuple):
    """A column of a table.

    Attributes:
        field: Of the message, see `client.columns`; or what makes a text of the message.
        heading: Empty for the field's name in words.
        spare: Whether, and how soon, it is left out where a terminal is too narrow: the greatest
            goes first, 0 never.
        longest: Longer texts are cut; 0 for never.
    """

    field: str | Callable[[Any], str]
    heading: str = ""
    spare: int = 0
    longest: int = 0


def many(number: int, thing: str) -> str:
    """Count things: `1 span`, `2 spans`."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def visible(text: str) -> str:
    """Return a text from elsewhere without what a terminal would obey, as to clear the screen."""
    return text.replace("\r", "").translate(_CONTROLS)


def escape(text: str) -> str:
    """Return a text from elsewhere so that `Console.print` writes it, and does nothing else."""
    return markup.escape(visible(text))


def console() -> Console:
    """Return what prints to a terminal, or plainly to a pipe and as wide as it needs."""
    made = Console(highlight=False)
    return made if made.is_terminal else Console(highlight=False, width=_NO_END)


def listing(
    kind: type[Message], found: Sequence[Any], shown: Sequence[Shown], nothing: str
) -> None:
    """Print messages as a table.

    Args:
        kind: Of the messages.
        found: In their order.
        shown: The columns.
        nothing: Printed instead if there are none.
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
    made.print(table(*_fitting(headings, rows, made)))


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
    """Leave out empty columns that may be, and as many others as the terminal has no room for."""
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
    """Write one field of a message."""
    return next(
        columns.shown(column, column.read(message))
        for column in columns.of(message.DESCRIPTOR)
        if column.name == name
    )


def record(message: Message) -> None:
    """Print the fields of a message that are not empty, one a line."""
    rows = [
        (column.name, columns.shown(column, column.read(message)))
        for column in columns.of(message.DESCRIPTOR)
    ]
    told = {name: text for name, text in rows if text}
    for name in [name for name in told if name.endswith("unknown_models")]:
        # Figures of the other models alone are no cost.
        for figure in ("input_cost", "output_cost", "total_cost"):
            told[name.replace("unknown_models", figure)] = UNKNOWN
    pairs(told)


def dollars(cost: traces_pb2.Cost) -> str:
    """Write what tokens cost; that is unknown if there is a model without a price."""
    return UNKNOWN if cost.unknown_models else f"{cost.total_cost:.6g}"


def pairs(texts: Mapping[str, str]) -> None:
    """Print names and what belongs to them, one a line."""
    width = max(map(len, texts), default=0)
    made = console()
    for name, text in texts.items():
        made.print(escape(f"{name.ljust(width)}  {text}"), soft_wrap=True)


def table(headings: Sequence[tuple[str, bool]], rows: Iterable[Sequence[str]]) -> Table:
    """Make a table; of each column the heading, and whether it holds numbers."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    listed = list(rows)
    for number, (heading, is_number) in enumerate(headings):
        made.add_column(
            escape(heading),
            justify="right" if is_number else "left",
            overflow="fold",
            no_wrap=_in_one_piece([row[number] for row in listed]),
        )
    for row in listed:
        made.add_row(*(escape(cell) for cell in row))
    return made


def _in_one_piece(texts: Iterable[str]) -> bool:
    return all(_WHOLE.fullmatch(text) for text in texts)


def moment(time: Timestamp) -> str:
    """Write a time in UTC, to the second."""
    return columns.moment(nanoseconds(time))


length = columns.length


def quiet(last_seen: Timestamp, end: datetime | None) -> bool:
    """Say whether what was seen last then was not seen for an hour up to an end, None for now."""
    told = end or datetime.now(timezone.utc)
    return told.timestamp() - nanoseconds(last_seen) / 1e9 >= _QUIET_SECONDS
