"""Output shared by export and import: progress, result and errors."""

import contextlib
import json
from collections.abc import Generator
from dataclasses import asdict
from types import TracebackType

import click
from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn
from typing_extensions import Self

from otel_vtrack.cli import connection
from otel_vtrack.cli.show import many
from otel_vtrack.errors import InvalidArgument, WireError
from otel_vtrack.transfer import Counts


class Progress:
    """A progress line on stderr, shown only if that is a terminal."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        self._bar = Bar(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task("asking", total=None)

    def show(self, counts: Counts) -> None:
        """Show how much has been moved so far."""
        self._bar.update(self._task, description=said(counts))

    def __enter__(self) -> Self:
        """Show the line."""
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the line."""
        self._bar.stop()


def said(counts: Counts) -> str:
    """Format the counts."""
    return (
        f"{many(counts.spans, 'span')}, {many(counts.log_records, 'log record')},"
        f" {many(counts.changes, 'change')} ({counts.bytes / 1e6:,.1f} MB)"
    )


def tell(done: str, counts: Counts, *, as_json: bool, to_stderr: bool = False) -> None:
    """Print what was done."""
    text = json.dumps(asdict(counts), indent=2) if as_json else f"{done} {said(counts)}"
    click.echo(text, err=to_stderr or not as_json)


@contextlib.contextmanager
def explained() -> Generator[None]:
    """Turn errors of files or arguments into one line and an exit code."""
    try:
        yield
    except InvalidArgument as error:
        connection.fail(str(error), connection.USAGE)
    except WireError as error:
        connection.fail(str(error))
    except BrokenPipeError:
        raise
    except FileNotFoundError as error:
        connection.fail(f"{error.filename} cannot be written: make its folder first")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        connection.fail(f"{where}{error.strerror or error}")
