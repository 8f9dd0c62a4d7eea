"""`vtrack traces`: finds, counts, tags, deletes and shows traces."""

from datetime import datetime, timedelta
from typing import Any, Final

import click

from otel_vtrack.cli import connection, show, tree
from otel_vtrack.cli.section import Section
from otel_vtrack.cli.show import Shown, escape
from otel_vtrack.client.values import nanoseconds
from otel_vtrack.v1 import assessments_pb2, traces_pb2
from otel_vtrack.wire import otlp_json

_STATES: Final = ("ok", "error", "in_progress")
_BAR: Final = 40
_BESIDE_BAR: Final = 50
_IN_HEADLINE: Final = {"mlflow.trace.tokenUsage", "mlflow.trace.cost"}


def _cost(info: traces_pb2.TraceInfo) -> str:
    return show.dollars(info.cost) if info.HasField("cost") else ""


_COLUMNS: Final = (
    Shown("trace_id", "trace"),
    Shown("request_time", "started (UTC)", spare=1),
    Shown("name"),
    Shown("state"),
    Shown("execution_duration", "duration"),
    Shown("span_count", "spans", spare=6),
    Shown("token_usage.total_tokens", "tokens", spare=5),
    Shown(_cost, "cost ($)", spare=7),
    Shown("version", spare=2),
    Shown("environment", spare=4),
    Shown("request_preview", "request", spare=3, longest=60),
)


@click.group(cls=Section)
def command() -> None:
    """Find, count, tag and delete traces, and show one."""


def _finds(function: Any) -> Any:
    """Add the options that select traces to a command."""
    for option in reversed(
        (
            click.option("--experiment", default="", help="Only in this experiment."),
            click.option("--service", "service_name", default="", help="Only of this service."),
            click.option("--version", default="", help="Only if the root span has this version."),
            click.option("--environment", default="", help="Only in this environment."),
            click.option(
                "--deployment", "deployment_id", default="", help="Only of this deployment."
            ),
            click.option(
                "--state",
                type=click.Choice(_STATES, case_sensitive=False),
                help="Only in this state.",
            ),
            click.option("--session", "session_id", default="", help="Only of this session."),
            click.option("--user", "user_id", default="", help="Only of this user."),
            click.option("--name", default="", help="Only if the root span has this name."),
            click.option(
                "--since",
                "start_time_from",
                type=connection.Moment(),
                help="Only since then: 1h, 7d or ISO 8601.",
            ),
            click.option(
                "--until",
                "start_time_until",
                type=connection.Moment(),
                help="Only before then: 1h, 7d or ISO 8601.",
            ),
            click.option(
                "--min-duration",
                type=connection.Length(),
                help="Only if at least this long: 250ms, 2s.",
            ),
            connection.filtered,
        )
    ):
        function = option(function)
    return function


@command.command()
@_finds
@connection.ordered("execution_time")
@connection.limited()
@connection.asks
def search(
    *,
    filter_: str,
    order_by: tuple[str, ...],
    limit: int,
    server: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Find traces, newest first."""
    with connection.client(server) as client:
        found = client.search_traces(filter_, order_by=order_by, limit=limit, **given).fetch()
    if as_json:
        connection.print_json(connection.as_list("traces", found))
        return
    show.listing(traces_pb2.TraceInfo, found, _COLUMNS, "No traces match.")


@command.command()
@_finds
@connection.asks
def count(*, filter_: str, server: str, as_json: bool, **given: Any) -> None:
    """Count traces."""
    with connection.client(server) as client:
        number = client.count_traces(filter_, **given)
    if as_json:
        connection.print_json(traces_pb2.CountTracesResponse(trace_count=number))
    else:
        click.echo(number)


@command.command()
@_finds
@click.option(
    "--width",
    type=connection.Length(above_zero=True),
    help="Width of a bucket: 60s, 1h; by default about 60 fit.",
)
@connection.asks
def histogram(
    *,
    filter_: str,
    width: timedelta | None,
    server: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Count traces by when they started."""
    with connection.client(server) as client:
        found = client.get_trace_histogram(filter_, width=width, **given)
    if as_json:
        connection.print_json(found.message)
        return
    if not found:
        click.echo("No traces match.")
        return
    most = max(bucket.trace_count for bucket in found)
    console = show.console()
    bar = min(_BAR, max(1, console.width - _BESIDE_BAR))
    rows = [
        (
            show.moment(bucket.start_time),
            f"{bucket.trace_count:,}",
            f"{bucket.error_count:,}",
            "█" * max(1, round(bar * bucket.trace_count / most)),
        )
        for bucket in found
    ]
    headings = [
        ("start (UTC)", False),
        ("traces", True),
        ("errors", True),
        (f"each {show.length(found.width / timedelta(microseconds=1) * 1000)}", False),
    ]
    console.print(show.table(headings, rows, console))


@command.command()
@click.argument("trace_id")
@click.argument("tags", metavar="KEY=VALUE...", nargs=-1, required=True, type=connection.Pair())
@connection.asks
def tag(*, trace_id: str, tags: tuple[tuple[str, str], ...], server: str, as_json: bool) -> None:
    """Set tags of a trace; an existing value is replaced."""
    with connection.client(server) as client:
        for key, value in tags:
            client.set_trace_tag(trace_id, key, value)
    if as_json:
        connection.print_json(traces_pb2.SetTraceTagResponse())


@command.command()
@click.argument("trace_id")
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@connection.asks
def untag(*, trace_id: str, keys: tuple[str, ...], server: str, as_json: bool) -> None:
    """Delete tags of a trace, if they exist."""
    with connection.client(server) as client:
        for key in keys:
            client.delete_trace_tag(trace_id, key)
    if as_json:
        connection.print_json(traces_pb2.DeleteTraceTagResponse())


@command.command()
@click.argument("trace_ids", metavar="[TRACE_ID]...", nargs=-1)
@click.option("--experiment", default="", help="With --until: traces of this experiment.")
@click.option(
    "--until", type=connection.Moment(), help="Traces that started before then: 30d or ISO 8601."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@connection.agreed
@connection.asks
def delete(
    *,
    trace_ids: tuple[str, ...],
    experiment: str,
    until: datetime | None,
    dry_run: bool,
    yes: bool,
    server: str,
    as_json: bool,
) -> None:
    """Delete traces with their spans, tags and assessments.

    Give either trace ids, or an experiment and a time.
    """
    if bool(trace_ids) == bool(experiment and until) or bool(experiment) != bool(until):
        raise click.UsageError("name traces, or give both --experiment and --until")
    with connection.client(server) as client:
        number = client.delete_traces(
            trace_ids, experiment=experiment, start_time_until=until, dry_run=True
        )
        if not dry_run:
            connection.confirm(f"{_many(number)} would be deleted", yes=yes)
            number = client.delete_traces(trace_ids, experiment=experiment, start_time_until=until)
    if as_json:
        connection.print_json(traces_pb2.DeleteTracesResponse(trace_count=number))
    else:
        done = "would be" if dry_run else "was" if number == 1 else "were"
        click.echo(f"{_many(number)} {done} deleted.")


def _many(number: int) -> str:
    return show.many(number, "trace")


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
        # Spans in OTLP's JSON encoding, instead of serialized bytes.
        shown = connection.as_list("traces", infos)
        connection.print_json(shown | {"otlp": otlp_json.as_object(otlp)})
        return
    console = show.console()
    for info in infos:
        console.print(escape(_headline(info)), soft_wrap=True)
        for name, text in (("request", info.request_preview), ("response", info.response_preview)):
            if text:
                console.print(escape(f"  {name}: {' '.join(text.split())}"), soft_wrap=True)
        for told in (info.trace_metadata, info.tags):
            for key in sorted(set(told) - _IN_HEADLINE):
                console.print(escape(f"  {key} = {told[key]}"), soft_wrap=True)
        for each in info.assessments:
            console.print(escape(f"  {_assessed(each)}"), soft_wrap=True)
    console.print(tree.of(otlp, console.width))


def _assessed(found: assessments_pb2.Assessment) -> str:
    kind = assessments_pb2.AssessmentType.Name(found.assessment_type)
    source = assessments_pb2.SourceType.Name(found.source_type)
    value = show.field(found, "value") or f"error {found.error.error_code}"
    by = " ".join(
        text
        for text in (
            source.removeprefix("SOURCE_TYPE_").lower().replace("unspecified", ""),
            found.source_id,
        )
        if text
    )
    said = f"{kind.removeprefix('ASSESSMENT_TYPE_').lower()} {found.assessment_name} = {value}"
    if by:
        said += f" by {by}"
    if found.span_id:
        said += f" of span {found.span_id}"
    if not found.valid:
        said += ", overridden"
    return f"{said}: {' '.join(found.rationale.split())}" if found.rationale else said


def _headline(info: traces_pb2.TraceInfo) -> str:
    said = [
        f"{info.trace_id} {info.name} ({info.experiment})",
        state_name(info),
        show.length(nanoseconds(info.execution_duration)),
        f"{show.many(info.span_count, 'span')}, {info.error_count} with errors",
        f"{show.moment(info.request_time)} UTC",
    ]
    if info.HasField("token_usage"):
        usage = info.token_usage
        parts = f"{usage.input_tokens:,} in, {usage.output_tokens:,} out"
        said.append(f"{usage.total_tokens:,} tokens ({parts})")
    if info.HasField("cost"):
        unknown = ", ".join(info.cost.unknown_models)
        said.append(f"cost unknown: no price of {unknown}" if unknown else f"${_cost(info)}")
    if info.adjusted_count > 1:
        said.append(f"stands for {info.adjusted_count:,.4g} traces")
    return ", ".join(said)


def state_name(info: traces_pb2.TraceInfo) -> str:
    """Return the state of a trace, as `--state` accepts it."""
    return traces_pb2.TraceState.Name(info.state).removeprefix("TRACE_STATE_").lower()
