"""`vtrack differences`: what distinguishes two versions."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import click

from otel_vtrack.analysis import words
from otel_vtrack.cli import connection, show
from otel_vtrack.cli.show import escape
from otel_vtrack.v1 import analysis_pb2 as pb

_KINDS: Final = tuple(
    name.removeprefix("DIFFERENCE_KIND_").lower()
    for name, number in pb.DifferenceKind.items()
    if number
)
_COLUMNS: Final = (
    ("change", False),
    ("kind", False),
    ("what", False),
    ("", True),
    ("", True),
    ("difference", True),
    ("adjusted p", True),
    ("mostly in", False),
    ("example", False),
)
_ONLY_MIX: Final = "a mix of routes"
_MIX: Final = 0.25
"""A difference only reflects a mix of routes if less than this share remains within routes."""


@click.command()
@click.argument("baseline", metavar="A")
@click.argument("candidate", metavar="B")
@click.option("--experiment", default="", help="Only spans of this experiment.")
@click.option("--service", "service_name", default="", help="Only spans of this service.")
@click.option("--environment", default="", help="Only spans in this environment.")
@click.option(
    "--since", type=connection.Moment(), help="Only traces since then: 1h, 7d or ISO 8601."
)
@click.option(
    "--until", type=connection.Moment(), help="Only traces before then: 1h, 7d or ISO 8601."
)
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(_KINDS, case_sensitive=False),
    help="List only this kind; may be given more than once. Default: all.",
)
@click.option(
    "--max-traces",
    type=click.IntRange(1),
    help="If more traces match, take a sample.  [default: 10000]",
)
@click.option(
    "--limit", type=click.IntRange(1), default=30, show_default=True, help="At most this many."
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
    kinds: Sequence[str],
    max_traces: int | None,
    limit: int,
    server: str,
    as_json: bool,
) -> None:
    """List what is new in version B, what vanished, and what is in more or fewer traces.

    Error messages, exception types, span names, models, variants of feature flags and values of
    attributes are compared by the share of traces that have them; measured attributes, such as
    tokens, by their means. Only differences beyond chance are listed (0.05, adjusted for everything
    that was looked at), the surest first. The list says which differences lie mostly in one route,
    and which only reflect a different mix of routes.
    """
    with connection.client(server) as client:
        found = client.list_differences(
            baseline,
            candidate,
            experiment=experiment,
            service_name=service_name,
            environment=environment,
            start_time_from=since,
            start_time_until=until,
            kinds=kinds,
            max_traces=max_traces or 0,
        )
    if as_json:
        connection.print_json(found)
        return
    console = show.console()
    if found.differences:
        columns = list(_COLUMNS)
        columns[3], columns[4] = (baseline, True), (candidate, True)
        rows = [_row(found, each) for each in found.differences[:limit]]
        console.print(show.table(columns, rows, console))
    else:
        console.print(escape(f"Nothing distinguishes {candidate} from {baseline} beyond chance."))
    told = f"{show.many(found.tested_count, 'thing')} checked"
    if len(found.differences) > limit:
        told += f", {len(found.differences) - limit:,} more differ (--limit)"
    if found.sampled_one_in > 1:
        told += f"; a sample of windows of time: about one trace of {found.sampled_one_in}"
    console.print(f"{told}.")
    number = next((each.key for each in found.differences if each.HasField("averages")), "")
    if number:
        asked = f"vtrack compare {baseline} {candidate} --metric attribute:{number}"
        console.print(escape(f"For more about a number, run `{asked}`."), soft_wrap=True)


def _row(found: pb.ListDifferencesResponse, each: pb.Difference) -> tuple[str, ...]:
    kind = pb.DifferenceKind.Name(each.kind).removeprefix("DIFFERENCE_KIND_")
    change = pb.DifferenceChange.Name(each.change).removeprefix("DIFFERENCE_CHANGE_")
    value = " ".join(each.value.split())
    return (
        change.lower(),
        kind.lower().replace("_", " "),
        " = ".join(filter(None, (each.key, value))),
        *(_means(each) if each.HasField("averages") else _shares(found, each)),
        words.probability(each.adjusted_p_value),
        _route(each),
        each.example_trace_id,
    )


def _route(each: pb.Difference) -> str:
    """Name the route in which most of a difference lies, and say if it only reflects the mix."""
    said = [f"{each.route} ({each.route_share:.0%})"] if each.route else []
    same = each.same_route_difference
    if each.HasField("same_route_difference") and abs(same) < _MIX * abs(each.difference.value):
        said.append(_ONLY_MIX)
    return ", ".join(said)


def _shares(found: pb.ListDifferencesResponse, each: pb.Difference) -> tuple[str, str, str]:
    gap = each.difference
    return (
        _share(each.baseline_count, found.baseline_trace_count),
        _share(each.candidate_count, found.candidate_trace_count),
        f"{gap.value * 100:+.3g} [{gap.lower * 100:.3g}, {gap.upper * 100:.3g}] points",
    )


def _means(each: pb.Difference) -> tuple[str, str, str]:
    """Format means and their difference, relative to the baseline's mean if defined."""
    of, gap, unit, times = each.averages, each.difference, "", 1
    if of.HasField("relative_difference"):
        gap, unit, times = of.relative_difference, " %", 100
    bounds = (
        f"{getattr(gap, name) * times:.3g}" if gap.HasField(name) else "?"
        for name in ("lower", "upper")
    )
    return (
        f"mean {of.baseline_mean:.4g}",
        f"mean {of.candidate_mean:.4g}",
        f"{gap.value * times:+.3g} [{', '.join(bounds)}]{unit}",
    )


def _share(count: int, total: int) -> str:
    return f"{count / total * 100:.3g} % of {total:,}"
