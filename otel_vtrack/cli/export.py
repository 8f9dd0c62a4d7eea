"""`vtrack export`: all stored data, in files."""

from datetime import datetime
from typing import Any, NamedTuple

import click
from typing_extensions import override

from otel_vtrack.cli import connection, moving
from otel_vtrack.transfer import FORMATS, What, export_to


class Said(NamedTuple):
    """A time and its text as given: `7d` means another time in the next run."""

    text: str
    moment: datetime


class SaidMoment(connection.Moment):
    """A time as in other commands, together with its text."""

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse the argument."""
        if isinstance(value, Said):
            return value
        return Said(str(value), super().convert(value, param, ctx))


@click.command()
@click.option("--experiment", default="", help="Only in this experiment.")
@click.option("--since", type=SaidMoment(), help="Only what started since then: 7d or ISO 8601.")
@click.option("--until", type=SaidMoment(), help="Only what started before then.")
@click.option(
    "--filter",
    "filter_",
    metavar="EXPRESSION",
    default="",
    help="Only of traces that match this filter, in the search language (docs/search.md).",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS, case_sensitive=False),
    default="otlp-json",
    show_default=True,
    help="otlp-json and jsonl write one file of lines, otlp and parquet a folder.",
)
@click.option(
    "--output",
    "-o",
    metavar="PATH|-",
    required=True,
    help="File or folder to create; - is standard output.",
)
@connection.asks
def command(
    *,
    experiment: str,
    since: Said | None,
    until: Said | None,
    filter_: str,
    format_: str,
    output: str,
    server: str,
    as_json: bool,
) -> None:
    """Write spans, log records, and what people recorded, to files.

    If it is interrupted, run the same command again: it continues where it stopped.
    """
    what = What(
        experiment=experiment,
        since=since and since.moment,
        until=until and until.moment,
        filter=filter_,
    )
    asked = {
        "experiment": experiment,
        "since": since.text if since else "",
        "until": until.text if until else "",
        "filter": filter_,
    }
    with connection.client(server) as client, moving.explained(), moving.Progress() as progress:
        counts = export_to(output, client, what, format=format_, asked=asked, on_page=progress.show)
    moving.tell("exported", counts, as_json=as_json, to_stderr=output == "-")
