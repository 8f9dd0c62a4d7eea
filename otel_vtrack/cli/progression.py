"""`vtrack versions progression`: how versions moved through environments."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import click

from otel_vtrack.cli import connection, show
from otel_vtrack.cli.show import escape
from otel_vtrack.v1 import analysis_pb2, timeline_pb2

_STATES: Final = {
    timeline_pb2.PROGRESSION_STATE_COMPLETE: "complete",
    timeline_pb2.PROGRESSION_STATE_UNDER_WAY: "under way",
    timeline_pb2.PROGRESSION_STATE_STUCK: "stuck",
}
_HEADINGS: Final = (
    ("version", False),
    ("environment", False),
    ("entered (UTC)", False),
    ("live for", False),
    ("main from (UTC)", False),
    ("traces", True),
    ("instances", True),
    ("error rate (%)", False),
    ("p50 (ms)", False),
    ("p95 (ms)", False),
    ("tokens", False),
    ("state", False),
)


@click.command("progression")
@click.argument("version", default="")
@click.option("--experiment", default="", help="Only in this experiment.")
@click.option("--service", "service_name", default="", help="Only of this service.")
@click.option(
    "--order",
    metavar="ENVIRONMENT,...",
    default="",
    help="Environments, first to last, such as dev,staging,production; by default as most go.",
)
@click.option(
    "--since", type=connection.Moment(), help="Only traces since then: 1h, 7d or ISO 8601."
)
@click.option(
    "--until", type=connection.Moment(), help="Only traces before then: 1h, 7d or ISO 8601."
)
@click.option(
    "--stuck-after",
    type=connection.Length(),
    help="How long a version may stay in an environment before it is stuck.  [default: 7d]",
)
@connection.limited()
@connection.asks
def command(
    *,
    order: str,
    since: datetime | None,
    until: datetime | None,
    stuck_after: timedelta | None,
    limit: int,
    server: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Show how versions moved through environments, and how each did there."""
    with connection.client(server) as client:
        found = client.list_progressions(
            environments=[name.strip() for name in order.split(",") if name.strip()],
            start_time_from=since,
            start_time_until=until,
            stuck_after=stuck_after,
            max_versions=limit,
            **given,
        )
    if as_json:
        connection.print_json(found)
        return
    if not found.progressions:
        click.echo("No matching trace has a version and an environment.")
        return
    console = show.console()
    rows = [row for each in found.progressions for row in _rows(each, until)]
    console.print(show.table(_HEADINGS, rows, console))
    for of in found.orders:
        how = "as most versions go" if of.derived else "as told"
        names = " -> ".join(of.environments)
        console.print(escape(f"{of.service_name}: {names}, {how}."), soft_wrap=True)
    for each in found.progressions:
        for said in _said(each):
            console.print(escape(said), soft_wrap=True)


def _rows(found: timeline_pb2.Progression, end: datetime | None) -> Iterable[list[str]]:
    for each in found.steps:
        last = each.environment == found.steps[-1].environment
        yield [
            found.version,
            each.environment,
            show.moment(each.entry_time),
            _live(each, end),
            show.moment(each.main_from) if each.HasField("main_from") else "never",
            f"{each.trace_count:,}",
            f"{each.instance_count:,}" if each.instance_count else "",
            _estimate(each, "error_rate", 100),
            _estimate(each, "latency_p50"),
            _estimate(each, "latency_p95"),
            _estimate(each, "tokens_per_trace"),
            _STATES.get(found.state, "") if last else "",
        ]


def _live(step: timeline_pb2.ProgressionStep, end: datetime | None) -> str:
    length = show.length(step.live_duration.ToNanoseconds())
    if not step.still_live:
        return length
    if step.HasField("last_seen") and show.quiet(step.last_seen, end):
        return f"{length}, last seen {show.moment(step.last_seen)}"
    return f"{length}, still"


_Estimated = Literal["error_rate", "latency_p50", "latency_p95", "tokens_per_trace"]


def _estimate(step: timeline_pb2.ProgressionStep, name: _Estimated, scale: float = 1) -> str:
    if not step.HasField(name):
        return ""
    found: analysis_pb2.Estimate = getattr(step, name)
    bounds = [
        f"{getattr(found, bound) * scale:.3g}" if found.HasField(bound) else "?"
        for bound in ("lower", "upper")
    ]
    return f"{found.value * scale:.3g} ({' to '.join(bounds)})"


def _said(found: timeline_pb2.Progression) -> Iterable[str]:
    if found.overtaken_by:
        where = found.steps[-1].environment
        yield f"{found.version} is stuck in {where}: {found.overtaken_by} went past it."
    elif found.state == timeline_pb2.PROGRESSION_STATE_STUCK:
        yield f"{found.version} is stuck in {found.steps[-1].environment}."
    if found.skipped_environments:
        yield f"{found.version} skipped {', '.join(found.skipped_environments)}."
    for each in found.changes:
        before, after = (", ".join(values) or "none" for values in (each.before, each.after))
        yield (
            f"{found.version}, {each.from_environment} -> {each.to_environment}:"
            f" {each.what} {before} -> {after}."
        )
