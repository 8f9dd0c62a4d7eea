"""`vtrack spans`: the steps that traces are made of."""

from typing import Final

import click

from otel_vtrack.cli import connection, show
from otel_vtrack.cli.section import Section
from otel_vtrack.cli.show import Shown
from otel_vtrack.v1 import spans_pb2

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
@connection.finds("duration")
@click.option(
    "--otlp", is_flag=True, help="With --json: also print each span as it was sent, in base64."
)
@connection.asks
def search(
    *,
    experiment: str,
    filter_: str,
    order_by: tuple[str, ...],
    limit: int,
    otlp: bool,
    server: str,
    as_json: bool,
) -> None:
    """Find spans, newest first."""
    with connection.client(server) as client:
        found = client.search_spans(
            filter_,
            experiment=experiment,
            order_by=order_by,
            limit=limit,
            omit_otlp=not (as_json and otlp),
        ).fetch()
    if as_json:
        connection.print_json(connection.as_list("spans", found))
        return
    show.listing(spans_pb2.Span, found, _COLUMNS, "No spans match.")
