"""`vtrack versions`: which versions ran where, and since when."""

from typing import Any, Final

import click

from otel_vtrack.cli import connection, progression, show
from otel_vtrack.cli.section import Section
from otel_vtrack.cli.show import Shown
from otel_vtrack.v1 import versions_pb2


def _commit(version: versions_pb2.Version) -> str:
    return version.git_commit[:10] + ("+dirty" if version.git_dirty == "true" else "")


def _cost(version: versions_pb2.Version) -> str:
    return show.dollars(version.usage.cost) if version.HasField("usage") else ""


_COLUMNS: Final = (
    Shown("version"),
    Shown("aliases", spare=2, longest=40),
    Shown("places", "environment", longest=40),
    Shown("service_name", "service", spare=3),
    Shown("experiment", spare=9),
    Shown(_commit, "commit", spare=4),
    Shown("git_branch", "branch", spare=8),
    Shown("trace_count", "traces"),
    Shown("error_trace_count", "errors", spare=5),
    Shown("usage.tokens.total_tokens", "tokens", spare=1),
    Shown(_cost, "cost ($)", spare=1),
    Shown("first_seen", "first seen (UTC)", spare=7),
    Shown("last_seen", "last seen (UTC)", spare=2),
    Shown("note", spare=6, longest=60),
)


def _homes(function: Any) -> Any:
    function = click.option(
        "--service", "service_name", default="", help="Needed if several services have it."
    )(function)
    return click.option("--experiment", default="", help="Needed if several experiments have it.")(
        function
    )


@click.group(cls=Section)
def command() -> None:
    """List versions, give them aliases, and write notes about them."""


@command.command("list")
@click.option("--experiment", default="", help="Only in this experiment.")
@click.option("--service", "service_name", default="", help="Only of this service.")
@click.option("--environment", default="", help="Only in this environment.")
@click.option("--usage", is_flag=True, help="Also add up tokens and cost.")
@connection.finds("trace_count", limit=100)
@connection.asks
def list_(
    *,
    filter_: str,
    usage: bool,
    server: str,
    as_json: bool,
    **given: Any,
) -> None:
    """List versions, most recently seen first."""
    with connection.client(server) as client:
        found = client.search_versions(filter_, include_usage=usage, **given).fetch()
    if as_json:
        connection.print_json(connection.as_list("versions", found))
        return
    nothing = "No versions: nothing was received that matches."
    show.listing(versions_pb2.Version, found, _COLUMNS, nothing)


@command.command()
@click.argument("version")
@_homes
@click.option("--usage", is_flag=True, help="Also add up tokens and cost.")
@connection.asks
def get(*, version: str, usage: bool, server: str, as_json: bool, **given: Any) -> None:
    """Show one version, given as itself or as @ALIAS."""
    with connection.client(server) as client:
        _tell(client.get_version(version, include_usage=usage, **given), as_json=as_json)


@command.command()
@click.argument("version")
@_homes
@click.option(
    "--note", required=True, help="What people should know about it; '' removes the note."
)
@connection.asks
def update(*, version: str, note: str, server: str, as_json: bool, **given: Any) -> None:
    """Write a note about a version, given as itself or as @ALIAS."""
    with connection.client(server) as client:
        _tell(client.update_version(version, note=note, **given), as_json=as_json)


@command.command()
@click.argument("version")
@click.argument("alias")
@_homes
@connection.asks
def alias(*, version: str, alias: str, server: str, as_json: bool, **given: Any) -> None:
    """Make ALIAS stand for this version, and for no other of the service."""
    with connection.client(server) as client:
        named = client.set_version_alias(version, alias.removeprefix("@"), **given)
    _tell(named, as_json=as_json)


@command.command()
@click.argument("alias")
@_homes
@connection.asks
def unalias(*, alias: str, server: str, as_json: bool, **given: Any) -> None:
    """Delete an alias, if it exists."""
    with connection.client(server) as client:
        client.delete_version_alias(alias.removeprefix("@"), **given)
    if as_json:
        connection.print_json(versions_pb2.DeleteVersionAliasResponse())


command.add_command(progression.command)


def _tell(version: versions_pb2.Version, *, as_json: bool) -> None:
    if as_json:
        connection.print_json(version)
    else:
        show.record(version)
