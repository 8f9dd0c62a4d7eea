"""`vtrack watch`: what the server's watch found about new deployments."""

import contextlib
import time
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, Final, cast

import click
import grpc

from otel_vtrack.cli import connection, show
from otel_vtrack.cli.section import Section
from otel_vtrack.cli.show import Shown, escape
from otel_vtrack.client import Client
from otel_vtrack.v1 import watch_pb2

_POLL_SECONDS: Final = 2.0
# Allowance for differing clocks of servers and for the time that storing an event takes.
_OVERLAP: Final = timedelta(minutes=10)


def _difference(found: watch_pb2.WatchEvent | watch_pb2.WatchedMetric) -> str:
    if not found.HasField("difference"):
        return "too little data"
    unit = "%" if found.metric == "latency" else "points"
    lower, upper = found.difference.lower * 100, found.difference.upper * 100
    return f"{found.difference.value * 100:+.3g} {unit} ({lower:+.3g} to {upper:+.3g})"


def _of(value: float, metric: str) -> str:
    return f"{value:.3g} ms" if metric == "latency" else f"{value * 100:.3g} %"


def _was(found: watch_pb2.WatchEvent) -> str:
    return _of(found.baseline, found.metric)


def _is(found: watch_pb2.WatchEvent) -> str:
    return _of(found.candidate, found.metric)


def _standing(found: watch_pb2.WatchedDeployment) -> str:
    worse = [each.metric for each in found.metrics if each.alarmed]
    if worse:
        return f"worse: {', '.join(worse)}"
    if any(each.HasField("difference") for each in found.metrics):
        return "nothing found"
    return "too little data"


_EVENTS: Final = (
    Shown("event_time", "found (UTC)"),
    Shown("service_name", "service"),
    Shown("environment"),
    Shown("version"),
    Shown("deployment_kind", "kind", spare=2),
    Shown("baseline_version", "before"),
    Shown("metric"),
    Shown(_was, "was", spare=1),
    Shown(_is, "is"),
    Shown(_difference, "difference"),
    Shown("experiment", spare=3),
    Shown("event_id", "event", spare=2),
)
_DEPLOYMENTS: Final = (
    Shown("service_name", "service"),
    Shown("environment"),
    Shown("version"),
    Shown("deployment_kind", "kind", spare=1),
    Shown("start_time", "since (UTC)"),
    Shown("baseline_version", "before"),
    Shown("candidate_count", "traces"),
    Shown("baseline_count", "traces before", spare=2),
    Shown(_standing, "standing"),
    Shown("experiment", spare=3),
)


def _places(function: Any) -> Any:
    function = click.option("--environment", default="", help="Only in this environment.")(function)
    function = click.option("--service", "service_name", default="", help="Only of this service.")(
        function
    )
    return click.option("--experiment", default="", help="Only in this experiment.")(function)


@click.group(cls=Section)
def command() -> None:
    """Show which deployments made something worse."""


@command.command()
@_places
@click.option("--version", default="", help="Only of this version.")
@click.option(
    "--since",
    "event_time_from",
    type=connection.Moment(),
    help="Only found since then: 1h, 7d or ISO 8601.",
)
@click.option(
    "--until",
    "event_time_until",
    type=connection.Moment(),
    help="Only found before then: 1h, 7d or ISO 8601.",
)
@click.option(
    "--follow", is_flag=True, help="Keep running, and print a line for each event as it is found."
)
@connection.limited()
@connection.asks
def events(*, follow: bool, server: str, as_json: bool, **given: Any) -> None:
    """List deployments that made something worse, newest first."""
    with connection.client(server) as client:
        found = client.list_watch_events(**given).fetch()
        if as_json and not follow:
            connection.print_json(connection.as_list("events", found))
        elif not follow:
            nothing = "No matching deployment was found to make anything worse."
            show.listing(watch_pb2.WatchEvent, found, _EVENTS, nothing)
        else:
            with contextlib.suppress(KeyboardInterrupt):
                _follow(client, found, as_json=as_json, **given)


def _follow(
    client: Client, found: Sequence[watch_pb2.WatchEvent], *, as_json: bool, **given: Any
) -> None:
    """Print events as they arrive, earliest first, until interrupted.

    Waits for a server that no longer answers.
    """
    told: set[str] = set()
    given["limit"] = None
    since = datetime.now(timezone.utc) - _OVERLAP
    is_away = False
    while True:
        for each in reversed(found):
            if each.event_id in told:
                continue
            told.add(each.event_id)
            if as_json:
                click.echo(connection.as_json(connection.as_object(each)))
            else:
                text = f"{show.moment(each.event_time)} {each.metric}: {each.summary}"
                show.console().print(escape(text), soft_wrap=True)
        time.sleep(_POLL_SECONDS)
        given["event_time_from"] = since
        asked = datetime.now(timezone.utc)
        try:
            found = client.list_watch_events(**given).fetch()
        except grpc.RpcError as error:
            if cast("grpc.Call", error).code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            if not is_away:
                click.echo("vtrack: the server does not answer any more; waiting for it", err=True)
            is_away, found = True, ()
        else:
            is_away, since = False, asked - _OVERLAP


@command.command()
@_places
@connection.asks
def status(*, server: str, as_json: bool, **given: Any) -> None:
    """List the deployments that are being watched, newest first."""
    with connection.client(server) as client:
        found = client.list_watched_deployments(**given)
    if as_json:
        connection.print_json(found)
        return
    if not found.HasField("look_time"):
        click.echo(
            "This server has not checked yet: it does so every --watch-interval-seconds, or never"
            " if that is 0."
        )
        return
    nothing = "No matching deployment of the last day replaced anything."
    show.listing(watch_pb2.WatchedDeployment, found.deployments, _DEPLOYMENTS, nothing)
    for each in found.deployments:
        for metric in each.metrics:
            click.echo(
                show.line(f"{each.service_name} {each.version}, {metric.metric}:")
                + f" {_of(metric.baseline, metric.metric)} ->"
                f" {_of(metric.candidate, metric.metric)}, {_difference(metric)}"
                + (", WORSE" if metric.alarmed else "")
            )
