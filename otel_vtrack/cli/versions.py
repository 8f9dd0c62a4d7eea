"""`vtrack versions`: what ran where, and since when."""

import itertools

import click

from otel_vtrack.cli import connection, show


@click.group()
def command() -> None:
    """List the versions that sent spans."""


@command.command("list")
@click.option("--experiment", default="", help="Only of this experiment.")
@click.option("--service", "service_name", default="", help="Only of this service.")
@click.option("--environment", default="", help="Only in this environment.")
@click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, help="At most this many."
)
@connection.asks
def list_(
    *, experiment: str, service_name: str, environment: str, limit: int, server: str, as_json: bool
) -> None:
    """List versions, the one seen last first."""
    with connection.client(server) as client:
        found = list(
            itertools.islice(
                client.search_versions(
                    experiment=experiment, service_name=service_name, environment=environment
                ),
                limit,
            )
        )
    if as_json:
        connection.print_json(connection.as_list("versions", found))
        return
    if not found:
        click.echo("No versions: nothing was received that matches.")
        return
    columns = [
        ("version", False),
        ("environment", False),
        ("service", False),
        ("experiment", False),
        ("commit", False),
        ("branch", False),
        ("traces", True),
        ("errors", True),
        ("first seen", False),
        ("last seen", False),
    ]
    rows = [
        (
            " ".join([each.version or "(none)", *(f"@{alias}" for alias in each.aliases)]),
            ", ".join(dict.fromkeys(place.environment for place in each.places)),
            each.service_name,
            each.experiment,
            each.git_commit[:10] + ("+dirty" if each.git_dirty == "true" else ""),
            each.git_branch,
            f"{each.trace_count:,}",
            f"{each.error_trace_count:,}",
            show.moment(each.first_seen),
            show.moment(each.last_seen),
        )
        for each in found
    ]
    show.console().print(show.table(columns, rows))
