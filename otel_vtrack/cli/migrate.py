"""`vtrack migrate`: brings the tables of a store up to date, or shows what that would do."""

from pathlib import Path
from typing import Any

import click

from otel_vtrack.cli import options


@click.command()
@click.option("--status", is_flag=True, help="List every SQL file and its state; change nothing.")
@click.option("--dry-run", is_flag=True, help="Print the statements that would run.")
@options.takes(["store_url", "store_ca_file", "store_cert_file", "store_key_file", "cluster"])
def command(config: Path | None, *, status: bool, dry_run: bool, **given: Any) -> None:
    """Bring the tables of the store up to date.

    For an embedded store `vtrack serve` does this itself; only one process can open such a store.
    """
    if status and dry_run:
        raise click.UsageError("--status and --dry-run are two questions; ask one at a time")
    settings = options.load(config, given)
    from otel_vtrack.store import migrate  # noqa: PLC0415 - loads the engine
    from otel_vtrack.store.client import Store  # noqa: PLC0415

    with Store(settings.store_url, cluster=settings.cluster, tls=settings.store_tls) as store:
        if status:
            for file in migrate.status(store):
                click.echo(f"{file.state:8} {file.kind}/{file.name}")
        elif dry_run:
            for file in migrate.status(store):
                if file.state != "applied":
                    click.echo(f"-- {file.kind}/{file.name} ({file.state})")
                    click.echo("".join(f"{statement};\n" for statement in file.statements))
        else:
            ran = migrate.apply(store, lambda file: click.echo(f"applied  {file.kind}/{file.name}"))
            if not ran:
                click.echo("nothing to do: the store is up to date")
