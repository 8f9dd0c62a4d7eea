"""`vtrack compare`: two versions side by side."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

import click
from rich.console import Console

from otel_vtrack.analysis import words
from otel_vtrack.analysis.metrics import DEFAULT
from otel_vtrack.analysis.statistics import Estimate
from otel_vtrack.cli import connection, show
from otel_vtrack.cli.show import escape
from otel_vtrack.v1 import analysis_pb2

_DIRECTIONS: Final = {
    "less": analysis_pb2.DIRECTION_LESS,
    "more": analysis_pb2.DIRECTION_MORE,
}
_CHANGE: Final = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(%|points?|)")
_DIMENSION: Final = "route, model, environment, service, user or flag:KEY"
_MOST_STRATA: Final = 5
_MOST_LEVELS: Final = 3


@click.command()
@click.argument("baseline", metavar="A")
@click.argument("candidate", metavar="B")
@click.option("--experiment", default="", help="Only traces of this experiment.")
@click.option("--service", "service_name", default="", help="Only traces of this service.")
@click.option("--environment", default="", help="Only traces in this environment.")
@click.option(
    "--since", type=connection.Moment(), help="Only traces since then: 1h, 7d or ISO 8601."
)
@click.option(
    "--until", type=connection.Moment(), help="Only traces before then: 1h, 7d or ISO 8601."
)
@click.option(
    "--baseline-since",
    type=connection.Moment(),
    help="Use another time range for A: its traces since then.",
)
@click.option(
    "--baseline-until",
    type=connection.Moment(),
    help="Use another time range for A: its traces before then.",
)
@click.option(
    "--filter",
    "filter_",
    metavar="EXPRESSION",
    default="",
    help="Only traces that match this filter, in the search language (docs/search.md).",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="METRIC",
    help=(
        "Compare this; may be given more than once: latency, error_rate, tokens, cost (the"
        " default), entry_latency, span_latency:NAME, span_error_rate:NAME, attribute:KEY,"
        " assessment:NAME."
    ),
)
@click.option(
    "--group-by",
    multiple=True,
    metavar="DIMENSION",
    help=f"Also compare within each: {_DIMENSION}.",
)
@click.option(
    "--stratify-by",
    multiple=True,
    metavar="DIMENSION",
    help=(
        "Hold this equal, instead of whatever the versions saw a different mix of; none holds"
        " nothing equal."
    ),
)
@click.option(
    "--direction",
    "directions",
    multiple=True,
    metavar="METRIC=less|more",
    help="Which direction is better.",
)
@click.option(
    "--smallest-change",
    "smallest_changes",
    multiple=True,
    metavar="METRIC=CHANGE",
    help="The smallest change that matters: 5%, 0.5points, or a number in the metric's unit.",
)
@click.option(
    "--max-traces",
    type=click.IntRange(1),
    help="If more traces match, take a random sample.  [default: 50000]",
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
    baseline_since: datetime | None,
    baseline_until: datetime | None,
    filter_: str,
    metrics: Sequence[str],
    group_by: Sequence[str],
    stratify_by: Sequence[str],
    directions: Sequence[str],
    smallest_changes: Sequence[str],
    max_traces: int | None,
    server: str,
    as_json: bool,
) -> None:
    """Show whether version B differs from version A, by how much, and how sure that is.

    The verdict rests on p-values, adjusted for everything that is tested, at 0.05, and on the
    smallest change that matters. Brackets hold 95 % confidence intervals. docs/comparison.md
    explains the details.
    """
    asked = _asked(metrics, directions, smallest_changes)
    with connection.client(server) as client:
        found = client.compare_versions(
            baseline,
            candidate,
            experiment=experiment,
            service_name=service_name,
            environment=environment,
            start_time_from=since,
            start_time_until=until,
            baseline_start_time_from=baseline_since,
            baseline_start_time_until=baseline_until,
            metrics=asked,
            max_traces=max_traces or 0,
            filter=filter_,
            group_by=group_by,
            stratify_by=stratify_by,
        ).message
    if as_json:
        connection.print_json(found)
        return
    _print(found)


def _asked(
    metrics: Sequence[str], directions: Iterable[str], smallest_changes: Iterable[str]
) -> list[analysis_pb2.MetricQuery]:
    asked = {name: analysis_pb2.MetricQuery(metric=name) for name in metrics or DEFAULT}
    for option, given in (("--direction", directions), ("--smallest-change", smallest_changes)):
        for text in given:
            name, equals, value = text.rpartition("=")
            if not equals:
                raise click.UsageError(f"{option} {text}: write METRIC=VALUE")
            if name not in asked:
                raise click.UsageError(
                    f"{option} {text}: {name} is not compared; add --metric {name}"
                )
            if option == "--direction":
                if value not in _DIRECTIONS:
                    raise click.UsageError(f"{option} {text}: write less or more")
                asked[name].direction = _DIRECTIONS[value]
            else:
                _set_smallest(asked[name], value, f"{option} {text}")
    return list(asked.values())


def _set_smallest(asked: analysis_pb2.MetricQuery, value: str, told: str) -> None:
    found = _CHANGE.fullmatch(value.strip())
    if not found or not float(found[1]):
        raise click.UsageError(f"{told}: write 5%, 0.5points, or a number in the metric's unit")
    number = float(found[1])
    if found[2] == "%":
        asked.smallest_relative_change = number / 100
    else:
        asked.smallest_absolute_change = number / 100 if found[2] else number


def _print(found: analysis_pb2.Comparison) -> None:
    console = show.console()
    for metric in found.metrics:
        _say(console, metric)
    for mix in found.mix:
        console.print(f"[yellow]{escape(mixed(mix))}[/]", soft_wrap=True)
    columns = [
        ("metric", False),
        ("figure", False),
        (found.baseline.version, True),
        (found.candidate.version, True),
        ("difference", True),
        ("change", True),
    ]
    rows = [row for each in found.metrics for row in _rows(each)]
    if rows:
        console.print(show.table(columns, rows, console))
    for said in filter(None, map(_tested, found.metrics)):
        console.print(escape(said), soft_wrap=True)
    for group in found.groups:
        named = ", ".join(f"{name} {value or '(none)'}" for name, value in group.values.items())
        counts = f"{group.baseline_count:,} / {group.candidate_count:,} traces"
        console.print(f"[bold]{escape(named)}[/]: {counts}", soft_wrap=True)
        for metric in group.metrics:
            _say(console, metric, indent="  ")
    if found.groups_left_out:
        console.print(f"{found.groups_left_out:,} groups with fewer traces are left out.")
    for sample, count in (
        (found.baseline, "baseline_count"),
        (found.candidate, "candidate_count"),
    ):
        of_spans = {
            metric.metric: getattr(metric, count)
            for metric in found.metrics
            if metric.unit_of_analysis == "span"
        }
        console.print(escape(_described(sample, of_spans)), soft_wrap=True)


def _say(console: Console, metric: analysis_pb2.MetricComparison, indent: str = "") -> None:
    console.print(indent + show.summary(metric.summary, metric.verdict), soft_wrap=True)


def mixed(mix: analysis_pb2.MixDifference) -> str:
    """Describe a difference in mix, with the values whose shares differ most."""
    # A server that does not report the totals leaves them 0; then use the sums of the levels.
    before = mix.baseline_count or sum(each.baseline_count for each in mix.levels) or 1
    after = mix.candidate_count or sum(each.candidate_count for each in mix.levels) or 1
    shares = [
        (each.value, each.baseline_count / before, each.candidate_count / after)
        for each in mix.levels
    ]
    shares.sort(key=lambda each: -abs(each[2] - each[1]))
    told = ", ".join(
        f"{value or '(none)'} {100 * before:.0f} % -> {100 * after:.0f} %"
        for value, before, after in shares[:_MOST_LEVELS]
    )
    return (
        f"The versions saw a different mix of {mix.dimension}s: {told}"
        f" (Cramer's V {mix.cramers_v:.2f}, {words.probability(mix.p_value)})."
    )


def _rows(metric: analysis_pb2.MetricComparison) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    unit = metric.unit
    for figure in metric.figures:
        if not figure.HasField("baseline") and not figure.HasField("candidate"):
            continue
        cells = [
            words.estimate(unit, getattr(figure, field)) if figure.HasField(field) else ""
            for field in ("baseline", "candidate", "difference")
        ]
        rows.append((figure.figure, *cells, _change(figure)))
    for each in metric.categories:
        cells = [
            words.estimate(unit, getattr(each, field)) if each.HasField(field) else ""
            for field in ("baseline", "candidate", "difference")
        ]
        rows.append((each.category, *cells, ""))
    if metric.HasField("tail"):
        tail = metric.tail
        shares = [words.estimate("share", each) for each in (tail.baseline, tail.candidate)]
        rows.append((f"above {words.amount(unit, tail.threshold)}", *shares, "", ""))
    if metric.HasField("stratified"):
        rows += _alike(unit, metric.stratified)
    return [(metric.metric if not n else "", *row) for n, row in enumerate(rows)]


def _tested(metric: analysis_pb2.MetricComparison) -> str:
    """Describe the test, why it was chosen, and an example trace; empty if nothing was tested."""
    if not metric.HasField("p_value"):
        return ""
    told = [f"{metric.test} ({_p_values(metric)}), for {metric.test_reason}"]
    if metric.HasField("tail"):
        told.append(f"tail: {metric.tail.test} ({_p_values(metric.tail)})")
    if metric.HasField("effect_size"):
        told.append(f"effect size {metric.effect_size:.3g}")
    if metric.example_trace_ids:
        told.append(f"see trace {metric.example_trace_ids[0]}")
    return f"{metric.metric}: {'; '.join(told)}"


def _p_values(found: analysis_pb2.MetricComparison | analysis_pb2.TailTest) -> str:
    said = words.probability(found.p_value)
    if found.HasField("adjusted_p_value"):
        said += f", adjusted {words.probability(found.adjusted_p_value)}"
    return said


def _alike(unit: str, found: analysis_pb2.StratifiedResult) -> list[tuple[str, ...]]:
    """Return table rows for the stratified comparison and its largest strata."""
    by = " and ".join(found.dimensions)
    difference = words.estimate(unit, found.difference) if found.HasField("difference") else ""
    change = _percent(found.change) if found.HasField("change") else ""
    said = f"{by} by {by}"
    if found.HasField("crude_p_value"):
        said += f" (without: {words.probability(found.crude_p_value)})"
    rows: list[tuple[str, ...]] = [(said, "", "", difference, change)]
    for each in found.strata[:_MOST_STRATA]:
        named = ", ".join(value or "(none)" for value in each.values.values())
        cells = [
            f"{words.amount(unit, value)} (n = {count:,})" if count else "(n = 0)"
            for value, count in (
                (each.baseline, each.baseline_count),
                (each.candidate, each.candidate_count),
            )
        ]
        gap = words.estimate(unit, each.difference) if each.HasField("difference") else ""
        rows.append((f"  {named}", *cells, gap, ""))
    left = found.strata_count - min(_MOST_STRATA, len(found.strata))
    if left > 0:
        rows.append((f"  and {left:,} more", "", "", "", ""))
    if found.HasField("heterogeneity_p_value") and found.heterogeneity_p_value < 0.05:
        said = words.probability(found.heterogeneity_p_value)
        rows.append((f"  not the same in each: {said}", "", "", "", ""))
    return rows


def _change(figure: analysis_pb2.FigureComparison) -> str:
    return _percent(figure.change) if figure.HasField("change") else ""


def _percent(found: analysis_pb2.Estimate) -> str:
    bounds = [
        getattr(found, field) if found.HasField(field) else None for field in ("lower", "upper")
    ]
    made = Estimate(found.value, *bounds)
    return f"{words.percent(made)} %{words.interval(made)}"


def _described(sample: analysis_pb2.VersionSample, of_spans: Mapping[str, int]) -> str:
    """Describe a version's sample: its traces or, if it started none, its spans in others'."""
    if not sample.trace_count and not sample.in_progress_count and any(of_spans.values()):
        told = ", ".join(f"{metric} by {count:,}" for metric, count in of_spans.items())
        return f"{sample.version}: began no traces here, compared by its spans: {told}"
    if not sample.trace_count and not sample.in_progress_count:
        # Without a filter, the server would have said that there are none.
        return f"{sample.version}: none of its traces matches the filter"
    said = f"{sample.version}: {sample.trace_count:,} traces, {sample.error_count:,} failed"
    if sample.in_progress_count:
        said += f", {sample.in_progress_count:,} unfinished left out"
    if sample.HasField("first_seen"):
        said += f", {show.moment(sample.first_seen)} to {show.moment(sample.last_seen)} UTC"
    if sample.adjusted_count > sample.trace_count:
        said += f"; they stand for {sample.adjusted_count:,}, as some were not stored"
    if sample.sampled_one_in > 1:
        said += f"; a random sample, one of {sample.sampled_one_in:,}"
    return said
