"""`vtrack import`: exported data, back into a server."""

import click

from otel_vtrack.cli import connection, moving
from otel_vtrack.transfer import import_from


@click.command("import")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@connection.asks
def command(*, paths: tuple[str, ...], server: str, as_json: bool) -> None:
    """Send files and folders from `vtrack export`, or from the Collector, to a server.

    The format is detected; - reads lines from standard input. What the server already has counts
    once, so if it is interrupted, simply run it again.
    """
    with connection.client(server) as client, moving.explained(), moving.Progress() as progress:
        counts = import_from(paths, client, on_send=progress.show)
    moving.tell("imported", counts, as_json=as_json)
    if counts.rejected:
        connection.fail(f"the server rejected spans or log records: {counts.rejected:,}")
