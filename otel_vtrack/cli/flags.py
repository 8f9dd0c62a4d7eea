"""`vtrack flags`: which variants traces saw, their effects, and when they changed."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import click

from otel_vtrack.analysis import words
from otel_vtrack.cli import connection, show
from otel_vtrack.cli.section import Section
from otel_vtrack.cli.show import Shown, escape
from otel_vtrack.v1 import analysis_pb2, flags_pb2

_Command = TypeVar("_Command", bound=Callable[..., Any])

_METRICS: Final = ("latency", "error_rate", "tokens")
_DEPENDS: Final[Mapping[int, str]] = {
    flags_pb2.INTERACTION_VERDICT_DEPENDS: "red",
    flags_pb2.INTERACTION_VERDICT_NOT_ENOUGH_DATA: "yellow",
}


def _share(each: flags_pb2.FlagVariant) -> str:
    return f"{each.share.value * 100:.3g} %"


_VARIANTS: Final = (
    Shown("flag"),
    Shown("variant", longest=60),
    Shown("service_name", "service"),
    Shown("environment", spare=1),
    Shown("version"),
    Shown("trace_count", "traces"),
    Shown(_share, "share"),
    Shown("first_seen", "first seen (UTC)", spare=2),
    Shown("last_seen", "last seen (UTC)", spare=3),
    Shown("experiment", spare=4),
)


def _traces(command: _Command) -> _Command:
    """Add the options that select traces to a command."""
    for option in (
        click.option(
            "--until", type=connection.Moment(), help="Only traces before then: 1h, 7d or ISO 8601."
        ),
        click.option(
            "--since", type=connection.Moment(), help="Only traces since then: 1h, 7d or ISO 8601."
        ),
        click.option("--environment", default="", help="Only traces in this environment."),
        click.option("--service", "service_name", default="", help="Only traces of this service."),
        click.option("--experiment", default="", help="Only traces of this experiment."),
    ):
        command = option(command)
    return command


_most: Final = click.option(
    "--max-traces",
    type=click.IntRange(1),
    help="If more traces match, take a random sample.  [default: 50000]",
)
_measured: Final = click.option(
    "--metric",
    "metrics",
    multiple=True,
    help="Compare this: latency, error_rate, tokens, cost, entry_latency, span_latency:NAME,"
    " span_error_rate:NAME, attribute:KEY or assessment:NAME; may be given more than once. Default:"
    " the first three.",
)
_measured_anywhere: Final = click.option(
    "--metric",
    "metrics",
    multiple=True,
    type=click.Choice(_METRICS, case_sensitive=False),
    help="Compare this; may be given more than once. Default: all three.",
)
_against: Final = click.option(
    "--reference",
    "reference_variant",
    default="",
    help="Compare with this variant.  [default: control, off or false, else the most frequent]",
)


@click.group(cls=Section)
def command() -> None:
    """Show what feature flags do, and when they changed."""


@command.command("list")
@click.option("--flag", default="", help="Only this flag.")
@_traces
@click.option("--version", default="", help="Only traces of this version.")
@_most
@connection.asks
def list_(
    *,
    since: datetime | None,
    until: datetime | None,
    max_traces: int | None,
    server: str,
    as_json: bool,
    **given: Any,
) -> None:
    """List the flags and variants that each version saw, and where.

    A trace counts for the variant of a flag that it saw first.
    """
    with connection.client(server) as client:
        found = client.list_flags(
            start_time_from=since, start_time_until=until, max_traces=max_traces or 0, **given
        )
    if as_json:
        connection.print_json(found)
        return
    nothing = "No matching trace saw a flag."
    show.listing(flags_pb2.FlagVariant, found.variants, _VARIANTS, nothing)
    _sampled(found.sampled_one_in)


@command.command()
@click.argument("flag")
@click.argument("version")
@_traces
@_measured
@_against
@_most
@connection.asks
def compare(
    *,
    flag: str,
    version: str,
    since: datetime | None,
    until: datetime | None,
    metrics: Sequence[str],
    max_traces: int | None,
    server: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Compare the variants of FLAG within VERSION.

    Brackets hold 95 % confidence intervals.
    """
    with connection.client(server) as client:
        found = client.compare_variants(
            flag,
            version,
            start_time_from=since,
            start_time_until=until,
            metrics=metrics,
            max_traces=max_traces or 0,
            **given,
        )
    if as_json:
        connection.print_json(found)
        return
    console = show.console()
    for each in found.metrics:
        if each.summary:
            console.print(show.summary(each.summary, each.verdict), soft_wrap=True)
    headings = [
        ("metric", False),
        (flag, False),
        ("traces", True),
        ("independent", True),
        ("figure", False),
        ("value", True),
        (f"difference to {found.reference_variant}", True),
        ("change", True),
    ]
    rows = [row for each in found.metrics for row in _rows(each)]
    console.print(show.table(headings, rows, console))
    console.print(
        f"{sum(each.trace_count for each in found.variants):,} traces of {escape(version)} saw the"
        f" flag, {found.unevaluated_count:,} did not."
    )
    if switched := sum(each.switched_count for each in found.variants):
        console.print(f"{switched:,} of them saw another variant later; they count for the first.")
    _sampled(found.sampled_one_in)


def _rows(found: flags_pb2.VariantMetric) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for figure in found.figures:
        head = ("", "", "", "")
        if not rows:
            head = (found.metric, found.variant, f"{found.count:,}", f"{found.cluster_count:,}")
        rows.append(
            (
                *head,
                figure.figure,
                _estimate(found.unit, figure.candidate) if figure.HasField("candidate") else "",
                _estimate(found.unit, figure.difference) if figure.HasField("difference") else "",
                f"{figure.change.value * 100:+.1f} %" if figure.HasField("change") else "",
            )
        )
    if found.HasField("adjusted_p_value"):
        raw, adjusted = (
            words.probability(each) for each in (found.p_value, found.adjusted_p_value)
        )
        rows.append(("", "", "", "", f"{found.test}: {raw}, adjusted {adjusted}", "", "", ""))
    return rows


@command.command()
@click.argument("baseline", metavar="A")
@click.argument("candidate", metavar="B")
@click.option("--flag", default="", help="Only this flag; by default every flag that B saw.")
@_traces
@_measured
@_against
@_most
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="At most this many."
)
@connection.asks
def interactions(
    *,
    baseline: str,
    candidate: str,
    since: datetime | None,
    until: datetime | None,
    metrics: Sequence[str],
    max_traces: int | None,
    limit: int,
    server: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Show how far the changes from version A to B depend on flags.

    As in "B is slower only where the flag is on". The test is of the difference between the
    changes under two variants; the surest come first.
    """
    with connection.client(server) as client:
        found = client.list_interactions(
            baseline,
            candidate,
            start_time_from=since,
            start_time_until=until,
            metrics=metrics,
            max_traces=max_traces or 0,
            **given,
        )
    if as_json:
        connection.print_json(found)
        return
    console = show.console()
    if not found.interactions:
        console.print(escape(f"No flag that {candidate} saw had two variants."))
    for each in found.interactions[:limit]:
        console.print(show.summary(each.summary, each.verdict, _DEPENDS), soft_wrap=True)
    if len(found.interactions) > limit:
        console.print(f"{len(found.interactions) - limit:,} more (--limit).")
    _sampled(found.sampled_one_in)


@command.command()
@click.argument("flag")
@_traces
@click.option("--version", default="", help="Only traces of this version.")
@click.option(
    "--width",
    type=connection.Length(above_zero=True),
    help="Width of a bucket: 60s, 1h; by default about 60 fit.",
)
@_most
@connection.asks
def exposure(
    *,
    flag: str,
    since: datetime | None,
    until: datetime | None,
    width: timedelta | None,
    max_traces: int | None,
    server: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Show what share of the traces saw which variant of FLAG, over time."""
    with connection.client(server) as client:
        found = client.get_flag_exposure(
            flag,
            start_time_from=since,
            start_time_until=until,
            width=width,
            max_traces=max_traces or 0,
            **given,
        )
    if as_json:
        connection.print_json(found)
        return
    if not found.buckets:
        click.echo(f"No matching trace saw the flag {flag}.")
        return
    headings = [
        ("from (UTC)", False),
        ("traces", True),
        *((each.variant, True) for each in found.buckets[0].variants),
        ("not evaluated", True),
    ]
    rows = [
        (
            show.moment(bucket.start_time),
            f"{bucket.trace_count:,}",
            *(f"{each.share.value * 100:.1f} %" for each in bucket.variants),
            f"{bucket.unevaluated_count / bucket.trace_count * 100:.1f} %",
        )
        for bucket in found.buckets
    ]
    console = show.console()
    console.print(show.table(headings, rows, console))
    _sampled(found.sampled_one_in)


@command.command()
@click.option("--flag", default="", help="Only of this flag.")
@_traces
@click.option("--at", "time", type=connection.Moment(), help="Only around this moment.")
@click.option(
    "--version", default="", help="Only around the first trace of this version in each place."
)
@click.option(
    "--window",
    type=connection.Length(above_zero=True),
    help="How far from the moment to look, and how long before and after a change to compare."
    "  [default: 1h]",
)
@_measured_anywhere
@_most
@connection.asks
def changes(
    *,
    since: datetime | None,
    until: datetime | None,
    time: datetime | None,
    window: timedelta | None,
    metrics: Sequence[str],
    max_traces: int | None,
    server: str,
    as_json: bool,
    **given: Any,
) -> None:
    """List when the variants of flags changed, and what metrics did before and after.

    Changes are detected automatically, with or without a deployment. Something other than the flag
    may have changed at the same time.
    """
    if time is not None and given["version"]:
        raise click.UsageError("give --at or --version, not both")
    with connection.client(server) as client:
        found = client.list_flag_changes(
            start_time_from=since,
            start_time_until=until,
            time=time,
            window=window,
            metrics=metrics,
            max_traces=max_traces or 0,
            **given,
        )
    if as_json:
        connection.print_json(found)
        return
    console = show.console()
    for each in found.changes:
        console.print(escape(each.summary), soft_wrap=True)
    if not found.changes:
        looked = show.many(found.tested_count, "flag") + " checked"
        if found.tested_count > 1:
            looked += ", counted in each service and environment"
        console.print(f"No flag changed ({looked}).")
    _sampled(found.sampled_one_in)


def _estimate(unit: str, found: analysis_pb2.Estimate) -> str:
    scale = 100 if unit == "share" else 1
    value, lower, upper = (
        f"{number * scale:,.0f}" if abs(number * scale) >= 100 else f"{number * scale:.3g}"
        for number in (found.value, found.lower, found.upper)
    )
    after = {"share": " %", "ms": " ms", "USD": " USD"}.get(unit, "")
    bounds = [
        bound if known else "?"
        for known, bound in ((found.HasField("lower"), lower), (found.HasField("upper"), upper))
    ]
    return f"{value}{after} [{bounds[0]}, {bounds[1]}]"


def _sampled(one_in: int) -> None:
    if one_in > 1:
        click.echo(f"A random sample: about one trace of {one_in}.")
