"""`vtrack experiments`: the containers of all data of an application."""

from typing import Final

import click

from otel_vtrack.cli import connection, show
from otel_vtrack.cli.section import Section
from otel_vtrack.cli.show import Shown
from otel_vtrack.v1 import experiments_pb2

_COLUMNS: Final = (
    Shown("name"),
    Shown("experiment", "telemetry says", spare=4),
    Shown("trace_count", "traces"),
    Shown("service_names", "services", spare=2, longest=60),
    Shown("first_seen", "first seen (UTC)", spare=3),
    Shown("last_seen", "last seen (UTC)"),
    Shown("archived", spare=5),
    Shown("tags", spare=1, longest=60),
)


@click.group(cls=Section)
def command() -> None:
    """List, name, tag, archive and delete experiments."""


@command.command("list")
@click.option("--name", "name_contains", default="", help="Only if the name contains this.")
@click.option("--archived", is_flag=True, help="Also list archived ones.")
@connection.limited(100)
@connection.asks
def list_(*, name_contains: str, archived: bool, limit: int, server: str, as_json: bool) -> None:
    """List experiments by name."""
    with connection.client(server) as client:
        found = client.search_experiments(
            name_contains=name_contains, include_archived=archived, limit=limit
        ).fetch()
    if as_json:
        connection.print_json(connection.as_list("experiments", found))
        return
    nothing = "No experiments: nothing was received or created that matches."
    show.listing(experiments_pb2.Experiment, found, _COLUMNS, nothing)


@command.command()
@click.argument("experiment")
@connection.asks
def get(*, experiment: str, server: str, as_json: bool) -> None:
    """Show one experiment."""
    with connection.client(server) as client:
        _tell(client.get_experiment(experiment), as_json=as_json)


@command.command()
@click.argument("experiment")
@click.option(
    "--tag",
    "tags",
    multiple=True,
    type=connection.Pair(),
    help="Store this with it; may be given more than once.",
)
@connection.asks
def create(
    *, experiment: str, tags: tuple[tuple[str, str], ...], server: str, as_json: bool
) -> None:
    """Create an experiment ahead of its telemetry.

    EXPERIMENT is what telemetry will call it.
    """
    with connection.client(server) as client:
        _tell(client.create_experiment(experiment, tags=dict(tags)), as_json=as_json)


@command.command()
@click.argument("experiment")
@click.option("--name", help="Its new name.")
@click.option(
    "--archive/--restore", "archived", default=None, help="Stop listing it, or list it again."
)
@connection.asks
def update(
    *, experiment: str, name: str | None, archived: bool | None, server: str, as_json: bool
) -> None:
    """Rename, archive or restore an experiment."""
    if name is None and archived is None:
        raise click.UsageError("say what to change: --name, --archive or --restore")
    with connection.client(server) as client:
        _tell(client.update_experiment(experiment, name=name, archived=archived), as_json=as_json)


@command.command()
@click.argument("experiment")
@click.argument("tags", metavar="KEY=VALUE...", nargs=-1, required=True, type=connection.Pair())
@connection.asks
def tag(*, experiment: str, tags: tuple[tuple[str, str], ...], server: str, as_json: bool) -> None:
    """Set tags of an experiment."""
    with connection.client(server) as client:
        _tell(client.update_experiment(experiment, set_tags=dict(tags)), as_json=as_json)


@command.command()
@click.argument("experiment")
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@connection.asks
def untag(*, experiment: str, keys: tuple[str, ...], server: str, as_json: bool) -> None:
    """Delete tags of an experiment."""
    with connection.client(server) as client:
        _tell(client.update_experiment(experiment, delete_tags=keys), as_json=as_json)


@command.command()
@click.argument("experiment")
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@connection.agreed
@connection.asks
def delete(*, experiment: str, dry_run: bool, yes: bool, server: str, as_json: bool) -> None:
    """Delete an experiment and everything in it: traces, versions, deployments, assessments."""
    with connection.client(server) as client:
        gone = client.delete_experiment(experiment, dry_run=True)
        if not any(value for _, value in gone.ListFields()):
            # The API does not tell unknown from empty; this call raises for an unknown one. What
            # remains of an experiment that is no longer listed can still be deleted.
            client.get_experiment(experiment)
        if not dry_run:
            connection.confirm(f"{experiment} would be deleted, with {_counted(gone)}", yes=yes)
            gone = client.delete_experiment(experiment)
    if as_json:
        connection.print_json(gone)
    else:
        done = "would be" if dry_run else "was"
        click.echo(f"{experiment} {done} deleted, with {_counted(gone)}.")


def _counted(gone: experiments_pb2.DeleteExperimentResponse) -> str:
    counts = [
        show.many(getattr(gone, field.name), field.name.removesuffix("_count").replace("_", " "))
        for field in gone.DESCRIPTOR.fields
    ]
    return f"{', '.join(counts[:-1])} and {counts[-1]}"


def _tell(experiment: experiments_pb2.Experiment, *, as_json: bool) -> None:
    if as_json:
        connection.print_json(experiment)
    else:
        show.record(experiment)
