"""`vtrack export`: all that a server keeps, in files."""

from datetime import datetime

import click

from otel_vtrack.cli import connection, moving
from otel_vtrack.transfer import FORMATS, What, export_to


@click.command()
@click.option("--experiment", default="", help="Only of this experiment.")
@click.option(
    "--since", type=connection.Moment(), help="Only what starts then or later: 7d, or a time."
)
@click.option("--until", type=connection.Moment(), help="Only what starts before.")
@click.option(
    "--filter", "filter_", default="", help="Only of traces that this finds, as in traces search."
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    default="otlp-json",
    show_default=True,
    help="otlp-json and jsonl are a file of lines, otlp and parquet a folder.",
)
@click.option(
    "--output",
    "-o",
    metavar="PATH|-",
    required=True,
    help="File or folder to make; - is standard output.",
)
@connection.asks
def command(
    *,
    experiment: str,
    since: datetime | None,
    until: datetime | None,
    filter_: str,
    format_: str,
    output: str,
    server: str,
    as_json: bool,
) -> None:
    """Write spans, log records and what people wrote to files.

    One that is interrupted goes on where it stopped when the same command is run again.
    """
    what = What(experiment=experiment, since=since, until=until, filter=filter_)
    with connection.client(server) as client, moving.explained(), moving.Progress() as progress:
        counts = export_to(output, client, what, format=format_, on_page=progress.show)
    moving.tell("exported", counts, as_json=as_json, to_stderr=output == "-")
