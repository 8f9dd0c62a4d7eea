"""How the commands that ask write times, durations and tables."""

from collections.abc import Iterable, Sequence

from google.protobuf.timestamp_pb2 import Timestamp
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table


def console() -> Console:
    """Return what prints to a terminal, or plainly to a pipe and as wide as it needs."""
    made = Console(highlight=False)
    return made if made.is_terminal else Console(highlight=False, width=200)


def table(columns: Sequence[tuple[str, bool]], rows: Iterable[Sequence[str]]) -> Table:
    """Make a table; of each column the heading, and whether it holds numbers."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading, is_number in columns:
        made.add_column(heading, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        made.add_row(*(escape(cell) for cell in row))
    return made


def moment(time: Timestamp) -> str:
    """Write a time in UTC, to the second."""
    # Not by datetime, which ends at the year 9999 and begins at 1.
    return time.ToJsonString().partition(".")[0].rstrip("Z").replace("T", " ")


def length(nanoseconds: float) -> str:
    """Write a duration with three digits, in the unit that suits it."""
    milliseconds = nanoseconds / 1e6
    if milliseconds >= 60_000:
        minutes, seconds = divmod(milliseconds / 1000, 60)
        return f"{minutes:.0f} min {seconds:.0f} s"
    if milliseconds >= 1_000:
        return f"{milliseconds / 1000:.3g} s"
    if milliseconds >= 1 or not milliseconds:
        return f"{milliseconds:.3g} ms"
    return f"{milliseconds * 1000:.3g} µs"
