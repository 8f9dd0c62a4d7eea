"""`vtrack spans`: the steps that traces are made of."""

from typing import Any, Final

import click

from otel_vtrack.cli import connection, show
from otel_vtrack.cli.section import Section
from otel_vtrack.cli.show import Shown
from otel_vtrack.v1 import spans_pb2

_STATUSES: Final = ("ok", "error", "unset")
_COLUMNS: Final = (
    Shown("trace_id", "trace"),
    Shown("span_id", "span", spare=3),
    Shown("start_time", "started (UTC)", spare=1),
    Shown("name"),
    Shown("type", spare=2),
    Shown("kind", spare=9),
    Shown("status", spare=1),
    Shown("status_message", "message", spare=8, longest=60),
    Shown("duration"),
    Shown("service_name", "service", spare=6),
    Shown("version", spare=4),
    Shown("environment", spare=5),
    Shown("experiment", spare=10),
)


@click.group(cls=Section)
def command() -> None:
    """Find spans."""


@command.command()
@click.option("--experiment", default="", help="Only in this experiment.")
@click.option("--service", "service_name", default="", help="Only of this service.")
@click.option("--version", default="", help="Only of this version.")
@click.option("--environment", default="", help="Only in this environment.")
@click.option("--trace", "trace_id", default="", help="Only of this trace.")
@click.option("--name", default="", help="Only of this name.")
@click.option("--type", default="", help="Only of this type, such as CHAT_MODEL or TOOL.")
@click.option(
    "--status", type=click.Choice(_STATUSES, case_sensitive=False), help="Only with this status."
)
@click.option(
    "--since",
    "start_time_from",
    type=connection.Moment(),
    help="Only started since then: 1h, 7d or ISO 8601.",
)
@click.option(
    "--until",
    "start_time_until",
    type=connection.Moment(),
    help="Only started before then: 1h, 7d or ISO 8601.",
)
@click.option(
    "--min-duration",
    type=connection.Length(),
    help="Only if at least this long: 250ms, 2s.",
)
@connection.finds("duration")
@click.option(
    "--otlp", is_flag=True, help="With --json: also print each span as it was sent, in base64."
)
@connection.asks
def search(
    *,
    filter_: str,
    type: str,  # noqa: A002 - as in the protos
    status: str | None,
    order_by: tuple[str, ...],
    limit: int,
    otlp: bool,
    server: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Find spans, newest first."""
    with connection.client(server) as client:
        found = client.search_spans(
            filter_,
            type=type.upper(),
            status=status or "",
            order_by=order_by,
            limit=limit,
            omit_otlp=not (as_json and otlp),
            **given,
        ).fetch()
    if as_json:
        connection.print_json(connection.as_list("spans", found))
        return
    show.listing(spans_pb2.Span, found, _COLUMNS, "No spans match.")
