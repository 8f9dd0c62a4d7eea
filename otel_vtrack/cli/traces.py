"""`vtrack traces`: find executions, and look at one."""

import itertools
from datetime import datetime, timedelta
from typing import Any, Final

import click
from google.protobuf.duration_pb2 import Duration
from rich.markup import escape

from otel_vtrack.cli import connection, show, tree
from otel_vtrack.v1 import traces_pb2
from otel_vtrack.wire import otlp_json

_STATES: Final = {
    "ok": traces_pb2.TRACE_STATE_OK,
    "error": traces_pb2.TRACE_STATE_ERROR,
    "in_progress": traces_pb2.TRACE_STATE_IN_PROGRESS,
}


@click.group()
def command() -> None:
    """Find traces, and look at one."""


@command.command()
@click.option("--experiment", default="", help="Only of this experiment.")
@click.option("--service", "service_name", default="", help="Only whose root has this service.")
@click.option("--version", default="", help="Only whose root has this version.")
@click.option("--environment", default="", help="Only in this environment.")
@click.option("--deployment", "deployment_id", default="", help="Only of this deployment.")
@click.option("--state", type=click.Choice(list(_STATES)), help="Only that went this way.")
@click.option("--session", "session_id", default="", help="Only of this session.")
@click.option("--user", "user_id", default="", help="Only of this user.")
@click.option("--name", default="", help="Only whose root span has this name.")
@click.option("--since", type=connection.Moment(), help="Only since: 1h, 7d or ISO 8601.")
@click.option("--until", type=connection.Moment(), help="Only before: 1h, 7d or ISO 8601.")
@click.option("--min-duration", type=connection.Length(), help="Only as long as: 250ms, 2s.")
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="At most this many."
)
@connection.asks
def search(
    *,
    state: str | None,
    since: datetime | None,
    until: datetime | None,
    min_duration: timedelta | None,
    limit: int,
    server: str,
    as_json: bool,
    **texts: Any,
) -> None:
    """Find traces, newest first."""
    with connection.client(server) as client:
        traces = client.search_traces(
            **texts,
            state=_STATES[state] if state else traces_pb2.TRACE_STATE_UNSPECIFIED,
            start_time_from=since,
            start_time_until=until,
            min_duration=min_duration,
            page_size=min(limit, 100),
        )
        found = list(itertools.islice(traces, limit))
    if as_json:
        connection.print_json(connection.as_list("traces", found))
        return
    if not found:
        click.echo("No traces match.")
        return
    columns = [
        ("trace", False),
        ("started (UTC)", False),
        ("name", False),
        ("state", False),
        ("duration", True),
        ("spans", True),
        ("tokens", True),
        ("version", False),
        ("environment", False),
        ("request", False),
    ]
    rows = [
        (
            each.trace_id,
            show.moment(each.request_time),
            each.name,
            state_name(each),
            show.length(nanoseconds(each.execution_duration)),
            str(each.span_count),
            f"{each.token_usage.total_tokens:,}" if each.HasField("token_usage") else "",
            each.version,
            each.environment,
            " ".join(each.request_preview[:60].split()),
        )
        for each in found
    ]
    show.console().print(show.table(columns, rows))


@command.command()
@click.argument("trace_id")
@connection.asks
def get(*, trace_id: str, server: str, as_json: bool) -> None:
    """Show one trace as a tree of its spans.

    TRACE_ID has 32 hexadecimal digits.
    """
    with connection.client(server) as client:
        infos, otlp = client.get_trace(trace_id)
    if as_json:
        # The spans as OTLP's own JSON has them, in place of their bytes.
        shown = connection.as_list("traces", infos)
        connection.print_json(shown | {"otlp": otlp_json.as_object(otlp)})
        return
    console = show.console()
    for info in infos:
        console.print(escape(_headline(info)), soft_wrap=True)
        for name, text in (("request", info.request_preview), ("response", info.response_preview)):
            if text:
                console.print(escape(f"  {name}: {' '.join(text.split())}"), soft_wrap=True)
        for tag in sorted(info.tags):
            console.print(escape(f"  {tag} = {info.tags[tag]}"), soft_wrap=True)
    console.print(tree.of(otlp))


def _headline(info: traces_pb2.TraceInfo) -> str:
    said = [
        f"{info.trace_id} {info.name} ({info.experiment})",
        state_name(info),
        show.length(nanoseconds(info.execution_duration)),
        f"{info.span_count} spans, {info.error_count} with errors",
        f"{show.moment(info.request_time)} UTC",
    ]
    if info.HasField("token_usage"):
        usage = info.token_usage
        parts = f"{usage.input_tokens:,} in, {usage.output_tokens:,} out"
        said.append(f"{usage.total_tokens:,} tokens ({parts})")
    return ", ".join(said)


def state_name(info: traces_pb2.TraceInfo) -> str:
    """Return a trace's state as `--state` takes it."""
    return traces_pb2.TraceState.Name(info.state).removeprefix("TRACE_STATE_").lower()


def nanoseconds(duration: Duration) -> int:
    """Return how long a Duration is."""
    return duration.seconds * 1_000_000_000 + duration.nanos
