"""`vtrack compare`: two versions side by side."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import click
from rich.markup import escape

from otel_vtrack.analysis import words
from otel_vtrack.cli import connection, show
from otel_vtrack.v1 import analysis_pb2

_METRICS: Final = {
    "latency": analysis_pb2.METRIC_LATENCY,
    "error_rate": analysis_pb2.METRIC_ERROR_RATE,
    "tokens": analysis_pb2.METRIC_TOKENS,
}
_COLOURS: Final = {
    analysis_pb2.VERDICT_IMPROVED: "green",
    analysis_pb2.VERDICT_REGRESSED: "red",
    analysis_pb2.VERDICT_NO_EVIDENCE: "default",
    analysis_pb2.VERDICT_NOT_ENOUGH_DATA: "yellow",
}


@click.command()
@click.argument("baseline", metavar="A")
@click.argument("candidate", metavar="B")
@click.option("--experiment", default="", help="By traces of this experiment.")
@click.option("--service", "service_name", default="", help="By traces of this service.")
@click.option("--environment", default="", help="By traces in this environment.")
@click.option("--since", type=connection.Moment(), help="By traces since: 1h, 7d or ISO 8601.")
@click.option("--until", type=connection.Moment(), help="By traces before: 1h, 7d or ISO 8601.")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    type=click.Choice(list(_METRICS)),
    help="Compare this; may be given more than once. Default: everything.",
)
@click.option(
    "--max-traces",
    type=click.IntRange(1),
    help="Take a random sample where more traces match.  [default: 50000]",
)
@connection.asks
def command(
    *,
    baseline: str,
    candidate: str,
    experiment: str,
    service_name: str,
    environment: str,
    since: datetime | None,
    until: datetime | None,
    metrics: Sequence[str],
    max_traces: int | None,
    server: str,
    as_json: bool,
) -> None:
    """Say whether version B differs from version A, by how much, and how sure that is.

    The verdict rests on p-values after adjustment for the number of metrics, at 0.05. In
    brackets are 95 % confidence intervals.
    """
    with connection.client(server) as client:
        found = client.compare_versions(
            baseline,
            candidate,
            experiment=experiment,
            service_name=service_name,
            environment=environment,
            start_time_from=since,
            start_time_until=until,
            metrics=[_METRICS[name] for name in metrics],
            max_traces=max_traces or 0,
        )
    if as_json:
        connection.print_json(found.message)
        return
    console = show.console()
    for metric in found.metrics:
        console.print(f"[{_COLOURS[metric.verdict]}]{escape(metric.summary)}[/]", soft_wrap=True)
    columns = [
        ("", False),
        ("", False),
        (found.baseline.version, True),
        (found.candidate.version, True),
        ("difference", True),
        ("change", True),
    ]
    console.print(show.table(columns, [row for each in found.metrics for row in _rows(each)]))
    for sample in (found.baseline, found.candidate):
        console.print(escape(_described(sample)), soft_wrap=True)
    if found.sampled_one_in > 1:
        console.print(f"A random sample: one trace of {found.sampled_one_in}.")


def _rows(metric: analysis_pb2.MetricComparison) -> list[tuple[str, ...]]:
    name = analysis_pb2.Metric.Name(metric.metric).removeprefix("METRIC_").lower()
    rows: list[tuple[str, ...]] = []
    for figure in metric.figures:
        cells = [
            _estimate(metric.metric, getattr(figure, field)) if figure.HasField(field) else ""
            for field in ("baseline", "candidate", "difference")
        ]
        change = f"{figure.change.value * 100:+.1f} %" if figure.HasField("change") else ""
        rows.append((name if not rows else "", figure.figure, *cells, change))
    if metric.HasField("adjusted_p_value"):
        raw, adjusted = (
            words.probability(each) for each in (metric.p_value, metric.adjusted_p_value)
        )
        rows.append(("", f"{metric.test}: {raw}, adjusted {adjusted}", "", "", "", ""))
    return rows


def _estimate(metric: int, found: analysis_pb2.Estimate) -> str:
    bounds = [
        words.amount(metric, getattr(found, field)) if found.HasField(field) else "?"
        for field in ("lower", "upper")
    ]
    return f"{words.amount(metric, found.value)} [{bounds[0]}, {bounds[1]}]"


def _described(sample: analysis_pb2.VersionSample) -> str:
    said = f"{sample.version}: {sample.trace_count:,} traces, {sample.error_count:,} failed"
    if sample.in_progress_count:
        said += f", {sample.in_progress_count:,} unfinished left out"
    if sample.HasField("first_seen"):
        said += f", {show.moment(sample.first_seen)} to {show.moment(sample.last_seen)} UTC"
    return said
