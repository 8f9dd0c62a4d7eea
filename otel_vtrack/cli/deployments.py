"""`vtrack deployments`: which version went live, where and when."""

from datetime import datetime
from functools import partial
from typing import Any, Final

import click

from otel_vtrack.cli import connection, show
from otel_vtrack.cli.section import Section
from otel_vtrack.cli.show import Shown, escape
from otel_vtrack.v1 import deployments_pb2, timeline_pb2

_STATUSES: Final = ("in_progress", "succeeded", "failed")
_COLUMNS: Final = (
    Shown("deployment_id", "deployment"),
    Shown("service_name", "service"),
    Shown("environment"),
    Shown("version"),
    Shown("status", spare=2),
    Shown("start_time", "started (UTC)", spare=1),
    Shown("end_time", "ended (UTC)", spare=5),
    Shown("trace_count", "traces", spare=3),
    Shown("declared", spare=6),
    Shown("experiment", spare=7),
    Shown("description", spare=4, longest=60),
)


def _share(period: timeline_pb2.LivePeriod) -> str:
    return f"{period.peak_share * 100:.3g} %"


def _instances(count: int) -> str:
    return "1 instance" if count == 1 else f"{count:,} instances"


def _shares(bucket: timeline_pb2.TrafficBucket) -> str:
    return ", ".join(
        f"{each.version} {each.share * 100:.3g} %"
        + (f" ({_instances(each.instance_count)})" if each.instance_count else "")
        for each in bucket.shares
    )


def _ended(period: timeline_pb2.LivePeriod, end: datetime | None) -> str:
    if period.HasField("end_time"):
        return show.moment(period.end_time)
    if period.HasField("last_seen") and show.quiet(period.last_seen, end):
        return f"last seen {show.moment(period.last_seen)}"
    return "still live"


def _standing(period: timeline_pb2.LivePeriod) -> str:
    if not period.took_over:
        return "canary"
    since = show.moment(period.main_from)
    if period.HasField("main_until"):
        return f"main {since} to {show.moment(period.main_until)}"
    return f"main since {since}"


def _periods(end: datetime | None) -> tuple[Shown, ...]:
    return (
        Shown("service_name", "service"),
        Shown("environment"),
        Shown("version"),
        Shown("start_time", "live from (UTC)"),
        Shown(partial(_ended, end=end), "until (UTC)"),
        Shown(_standing, "standing (UTC)"),
        Shown("trace_count", "traces", spare=1),
        Shown(_share, "peak share", spare=2),
        Shown("instance_count", "instances", spare=3),
        Shown("declared", spare=4),
        Shown("experiment", spare=5),
    )


_SHARES: Final = (
    Shown("start_time", "from (UTC)"),
    Shown("service_name", "service", spare=1),
    Shown("environment", spare=2),
    Shown("trace_count", "traces"),
    Shown(_shares, "shares", longest=200),
)
_VERDICTS: Final = {
    timeline_pb2.RECOVERY_VERDICT_RETURNED: "returned",
    timeline_pb2.RECOVERY_VERDICT_NOT_RETURNED: "did not return",
    timeline_pb2.RECOVERY_VERDICT_INCONCLUSIVE: "may or may not have returned",
}


def _places(function: Any) -> Any:
    function = click.option(
        "--environment", default="", help="Needed if several environments have it."
    )(function)
    return click.option(
        "--service", "service_name", default="", help="Needed if several services have it."
    )(function)


@click.group(cls=Section)
def command() -> None:
    """Declare, list and change deployments: which version is live where, since when."""


@command.command("list")
@click.option("--experiment", default="", help="Only in this experiment.")
@click.option("--service", "service_name", default="", help="Only of this service.")
@click.option("--environment", default="", help="Only in this environment.")
@click.option("--version", default="", help="Only of this version.")
@connection.limited()
@connection.asks
def list_(*, server: str, as_json: bool, **given: Any) -> None:
    """List deployments, most recently started first."""
    with connection.client(server) as client:
        found = client.search_deployments(**given).fetch()
    if as_json:
        connection.print_json(connection.as_list("deployments", found))
        return
    nothing = "No deployments match, neither declared ones nor those that spans name."
    show.listing(deployments_pb2.Deployment, found, _COLUMNS, nothing)


@command.command()
@click.argument("deployment_id")
@_places
@connection.asks
def get(*, server: str, as_json: bool, **given: Any) -> None:
    """Show one deployment."""
    with connection.client(server) as client:
        _tell(client.get_deployment(**given), as_json=as_json)


@command.command()
@click.argument("service_name", metavar="SERVICE")
@click.argument("environment")
@click.argument("version")
@click.option("--id", "deployment_id", default="", help="Its `deployment.id`; made up if left out.")
@click.option("--experiment", default="", help="Experiment, if not the service's own.")
@click.option("--status", type=click.Choice(_STATUSES, case_sensitive=False), help="How it went.")
@click.option(
    "--start", "start_time", type=connection.Moment(), help="When it went live: 1h, 7d or ISO 8601."
)
@click.option(
    "--end", "end_time", type=connection.Moment(), help="When it was replaced: 1h, 7d or ISO 8601."
)
@click.option("--description", default="", help="What people should know about it.")
@click.option(
    "--tag",
    "tags",
    multiple=True,
    type=connection.Pair(),
    help="Store this with it; may be given more than once.",
)
@connection.asks
def create(*, tags: tuple[tuple[str, str], ...], server: str, as_json: bool, **given: Any) -> None:
    """Declare that VERSION of SERVICE went live in ENVIRONMENT; now, unless --start is given."""
    with connection.client(server) as client:
        _tell(client.create_deployment(**given, tags=dict(tags)), as_json=as_json)


command.add_command(create, "record")


@command.command()
@click.option("--experiment", default="", help="Only in this experiment.")
@click.option("--service", "service_name", default="", help="Only of this service.")
@click.option("--environment", default="", help="Only in this environment.")
@click.option(
    "--since", type=connection.Moment(), help="Only traces since then: 1h, 7d or ISO 8601."
)
@click.option(
    "--until", type=connection.Moment(), help="Only traces before then: 1h, 7d or ISO 8601."
)
@click.option(
    "--shares", is_flag=True, help="Also show each version's share of the traffic over time."
)
@click.option(
    "--error-rate-margin",
    type=float,
    help="Error rates closer than this count as equal.  [default: 0.01, one point]",
)
@click.option(
    "--latency-margin",
    type=float,
    help="Latencies closer than this count as equal.  [default: 0.05, which is 5 %]",
)
@connection.asks
def timeline(
    *,
    since: datetime | None,
    until: datetime | None,
    shares: bool,
    server: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Show which version was live when, and what was rolled back."""
    with connection.client(server) as client:
        found = client.get_timeline(
            start_time_from=since, start_time_until=until, include_shares=shares, **given
        )
    if as_json:
        connection.print_json(found)
        return
    nothing = "No matching trace has a version."
    show.listing(timeline_pb2.LivePeriod, found.periods, _periods(until), nothing)
    console = show.console()
    for each in found.rollbacks:
        console.print(escape(_rolled_back(each)), soft_wrap=True)
    if found.periods and not found.rollbacks:
        console.print("Nothing was rolled back.")
    if found.buckets:
        show.listing(timeline_pb2.TrafficBucket, found.buckets, _SHARES, nothing)


def _rolled_back(found: timeline_pb2.Rollback) -> str:
    where = f" in {found.environment}" if found.environment else ""
    undone = ", which undid a rollback" if found.is_return else ""
    said = [
        (
            f"{show.moment(found.time)} UTC: {found.service_name}{where} was rolled back from"
            f" {found.from_version} to {found.to_version}{undone}."
            f" {found.from_version} had been the main version for"
            f" {show.length(found.live_duration.ToNanoseconds())}."
        )
    ]
    if found.HasField("trace_count"):
        said.append(
            f"It had {found.trace_count:,} traces, {found.error_count:,} failed;"
            f" {found.session_count:,} sessions and {found.user_count:,} users met it."
        )
        said.append(f"Error rate {_recovery(found.error_rate, 100, ' %')}.")
        said.append(f"Latency {_recovery(found.latency, 1, ' ms')}.")
    if found.HasField("return_time"):
        said.append(f"{found.from_version} came back at {show.moment(found.return_time)}.")
    return " ".join(said)


def _recovery(found: timeline_pb2.Recovery, scale: float, unit: str) -> str:
    figures = [
        f"{getattr(found, name).value * scale:.3g}{unit}" if found.HasField(name) else "unknown"
        for name in ("before", "during", "after")
    ]
    # A newer server may have further verdicts.
    verdict = _VERDICTS.get(found.verdict, "has a verdict that this vtrack does not know")
    return f"{verdict}: {' -> '.join(figures)}"


@command.command()
@click.argument("deployment_id")
@_places
@click.option("--status", type=click.Choice(_STATUSES, case_sensitive=False), help="How it went.")
@click.option(
    "--start", "start_time", type=connection.Moment(), help="When it went live: 1h, 7d or ISO 8601."
)
@click.option(
    "--end", "end_time", type=connection.Moment(), help="When it was replaced: 1h, 7d or ISO 8601."
)
@click.option("--description", help="What people should know about it.")
@connection.asks
def update(
    *,
    deployment_id: str,
    service_name: str,
    environment: str,
    status: str | None,
    start_time: datetime | None,
    end_time: datetime | None,
    description: str | None,
    server: str,
    as_json: bool,
) -> None:
    """Change what was declared about a deployment; only what is given changes."""
    if status is None and start_time is None and end_time is None and description is None:
        raise click.UsageError("say what to change: --status, --start, --end or --description")
    with connection.client(server) as client:
        changed = client.update_deployment(
            deployment_id,
            service_name=service_name,
            environment=environment,
            status=status,
            start_time=start_time,
            end_time=end_time,
            description=description,
        )
    _tell(changed, as_json=as_json)


@command.command()
@click.argument("deployment_id")
@click.argument("tags", metavar="KEY=VALUE...", nargs=-1, required=True, type=connection.Pair())
@_places
@connection.asks
def tag(*, tags: tuple[tuple[str, str], ...], server: str, as_json: bool, **given: Any) -> None:
    """Set tags of a deployment."""
    with connection.client(server) as client:
        _tell(client.update_deployment(**given, set_tags=dict(tags)), as_json=as_json)


@command.command()
@click.argument("deployment_id")
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@_places
@connection.asks
def untag(*, keys: tuple[str, ...], server: str, as_json: bool, **given: Any) -> None:
    """Delete tags of a deployment."""
    with connection.client(server) as client:
        _tell(client.update_deployment(**given, delete_tags=keys), as_json=as_json)


@command.command()
@click.argument("deployment_id")
@_places
@connection.agreed
@connection.asks
def delete(*, deployment_id: str, yes: bool, server: str, as_json: bool, **given: Any) -> None:
    """Withdraw the declaration of a deployment; what spans say about it stays.

    It is no error if there is none.
    """
    with connection.client(server) as client:
        found = connection.found(lambda: client.get_deployment(deployment_id, **given))
        if found is not None and found.declared:
            connection.confirm(_described(found), yes=yes)
        client.delete_deployment(deployment_id, **given)
    if as_json:
        connection.print_json(deployments_pb2.DeleteDeploymentResponse())
    elif found is None:
        click.echo(f"There is no deployment {show.line(deployment_id)}.")
    elif not found.declared:
        click.echo(f"{deployment_id} is not declared; what spans say about it stays.")
    else:
        click.echo(f"The declaration of {deployment_id} is withdrawn.")


def _described(found: deployments_pb2.Deployment) -> str:
    return (
        f"the declaration of {found.deployment_id}, {found.service_name} {found.version} in"
        f" {found.environment}, would be withdrawn"
    )


def _tell(deployment: deployments_pb2.Deployment, *, as_json: bool) -> None:
    if as_json:
        connection.print_json(deployment)
    else:
        show.record(deployment)
