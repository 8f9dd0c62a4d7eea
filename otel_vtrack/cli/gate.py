"""`vtrack gate`: whether a version may be released, as an exit code."""

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import click
import grpc

from otel_vtrack.cli import connection, show
from otel_vtrack.cli.show import escape
from otel_vtrack.client import Client
from otel_vtrack.errors import SettingsError
from otel_vtrack.gate import decision, policy, report
from otel_vtrack.v1 import analysis_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

REGRESSED: Final = 3
UNKNOWN: Final = 4
_CODES: Final = {
    decision.Outcome.PASSED: 0,
    decision.Outcome.REGRESSED: REGRESSED,
    decision.Outcome.NOT_ENOUGH_DATA: UNKNOWN,
    decision.Outcome.NO_EVIDENCE: UNKNOWN,
}
_PAUSE_SECONDS: Final = 3.0
_LONGEST_WAIT: Final = timedelta(days=1)
_AWAY: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
_FILE: Final = click.Path(dir_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    baseline: str
    candidate: str
    experiment: str
    service_name: str
    environment: str
    since: datetime | None
    until: datetime | None
    baseline_since: datetime | None
    baseline_until: datetime | None
    max_traces: int | None
    filter: str
    stratify_by: Sequence[str]

    def ask(self, client: Client, rules: policy.Policy) -> "analysis_pb2.Comparison":
        return client.compare_versions(
            self.baseline,
            self.candidate,
            experiment=self.experiment,
            service_name=self.service_name,
            environment=self.environment,
            start_time_from=self.since,
            start_time_until=self.until,
            baseline_start_time_from=self.baseline_since,
            baseline_start_time_until=self.baseline_until,
            # The server adjusts p-values for the metrics of a request, so request only these.
            metrics=[
                analysis_pb2.MetricQuery(
                    metric=each.metric,
                    direction=cast("analysis_pb2.Direction.ValueType", int(each.direction)),
                    smallest_relative_change=each.smallest_relative_change,
                    smallest_absolute_change=each.smallest_absolute_change,
                )
                for each in rules.queries
            ],
            max_traces=self.max_traces or 0,
            filter=self.filter,
            stratify_by=self.stratify_by,
        ).message

    def command(self, path: Path) -> list[str]:
        """Return a command line that repeats this comparison over the same time range."""
        words = ["vtrack", "gate", "--policy", str(path)]
        for flag, value in (
            ("--experiment", self.experiment),
            ("--service", self.service_name),
            ("--environment", self.environment),
            ("--since", self.since.isoformat() if self.since else ""),
            ("--until", self.until.isoformat() if self.until else ""),
            ("--baseline-since", self.baseline_since.isoformat() if self.baseline_since else ""),
            ("--baseline-until", self.baseline_until.isoformat() if self.baseline_until else ""),
            ("--max-traces", str(self.max_traces or "")),
            ("--filter", self.filter),
            *(("--stratify-by", each) for each in self.stratify_by),
        ):
            if value:
                words += [flag, value]
        names = [self.baseline, self.candidate]
        dashed = any(name.startswith("-") for name in names)
        return [*words, *(["--"] if dashed else []), *names]


@click.command()
@click.argument("baseline")
@click.argument("candidate")
@click.option(
    "--policy",
    "policy_path",
    required=True,
    type=_FILE,
    metavar="FILE",
    help="YAML file with the metrics that count, and the changes that matter.",
)
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
    help="Use another time range for BASELINE: its traces since then.",
)
@click.option(
    "--baseline-until",
    type=connection.Moment(),
    help="Use another time range for BASELINE: its traces before then.",
)
@click.option(
    "--filter",
    "filter_",
    metavar="EXPRESSION",
    default="",
    help="Only traces that match this filter, in the search language (docs/search.md).",
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
    "--max-traces",
    type=click.IntRange(1),
    help="If more traces match, take a random sample.  [default: 50000]",
)
@click.option(
    "--wait",
    type=connection.Length(),
    help="Wait up to this long (at most a day) for the policy's minimum of traces; then test once.",
)
@click.option("--markdown", type=_FILE, metavar="FILE", help="Write a report for a pull request.")
@click.option(
    "--junit", type=_FILE, metavar="FILE", help="Write JUnit XML with a test case per metric."
)
@connection.asks
def command(
    *,
    baseline: str,
    candidate: str,
    policy_path: Path,
    experiment: str,
    service_name: str,
    environment: str,
    since: datetime | None,
    until: datetime | None,
    baseline_since: datetime | None,
    baseline_until: datetime | None,
    filter_: str,
    stratify_by: Sequence[str],
    max_traces: int | None,
    wait: timedelta | None,
    markdown: Path | None,
    junit: Path | None,
    server: str,
    as_json: bool,
) -> None:
    """Fail if version CANDIDATE is worse than version BASELINE by more than a policy allows.

    Exits with 0 if it passes, 3 if a metric is worse, 4 if there is too little data to say, 1 if
    the versions are not known or the server cannot answer, and 2 if the command or the policy
    makes no sense.
    """
    rules = _rules(policy_path)
    if wait and wait > _LONGEST_WAIT:
        connection.fail("--wait is a day at most: write 24h or less", connection.USAGE)
    for path in (markdown, junit):
        _check(path)
    question = _Question(
        baseline=baseline,
        candidate=candidate,
        experiment=experiment,
        service_name=service_name,
        environment=environment,
        since=since,
        until=until,
        baseline_since=baseline_since,
        baseline_until=baseline_until,
        max_traces=max_traces,
        filter=filter_,
        stratify_by=stratify_by,
    )
    with connection.client(server) as client:
        found = _waited(
            lambda: question.ask(client, rules), rules, wait.total_seconds() if wait else 0.0
        )
    made = report.Report(decision.decide(rules, found), found, question.command(policy_path))
    if markdown:
        _write(markdown, report.markdown(made).encode())
    if junit:
        _write(junit, report.junit(made))
    if as_json:
        connection.print_json(report.as_object(made, connection.as_object(found)))
    else:
        _print(made)
    raise click.exceptions.Exit(_CODES[decision.overall(made.decisions)])


def _rules(path: Path) -> policy.Policy:
    try:
        return policy.load(path)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None


def _waited(
    ask: "Callable[[], analysis_pb2.Comparison]", rules: policy.Policy, seconds: float
) -> "analysis_pb2.Comparison":
    """Query until there is enough data or time is up, and return the last result.

    Only counts decide when to stop: stopping on a p-value would find a regression by chance far
    more often than one time in twenty.
    """
    deadline = time.monotonic() + seconds
    answered = told = False
    while True:
        try:
            found = ask()
        except grpc.RpcError as error:
            code = cast("grpc.Call", error).code()
            # A canary has no traces at first. A server that never answered may be a wrong address.
            waits = code is grpc.StatusCode.NOT_FOUND or (answered and code in _AWAY)
            if not waits or time.monotonic() >= deadline:
                raise
            answered = True
        else:
            answered = True
            if decision.has_enough_data(rules, found) or time.monotonic() >= deadline:
                return found
        if not told:
            click.echo("vtrack: waiting for enough traces of both versions", err=True)
            told = True
        time.sleep(min(_PAUSE_SECONDS, max(0.0, deadline - time.monotonic())))


def _print(made: report.Report) -> None:
    console = show.console()
    good = made.verdict == "passed"
    colour = "green" if good else "red"
    between = report.printable(
        f"{made.found.candidate.version} against {made.found.baseline.version}"
    )
    console.print(f"[{colour}]{made.verdict}[/]: {escape(between)}", soft_wrap=True)
    for each in made.decisions:
        colour = "red" if each.failed else "default"
        console.print(f"[{colour}]{escape(each.metric)}[/]: {escape(each.reason)}", soft_wrap=True)
    if made.found.sampled_one_in > 1:
        console.print(f"{report.sampled(made.found)}.")
    if said := report.stand_for(made.found):
        console.print(f"{said}.")


def _check(path: Path | None) -> None:
    """Fail early, before any waiting, if a report could not be written to this file."""
    if path is None:
        return
    if path.exists() and not path.is_file():
        connection.fail(f"{path} is no file: name one that may be replaced", connection.USAGE)
    if not os.access(path.parent, os.W_OK):
        connection.fail(f"{path} cannot be written: make its folder first", connection.USAGE)


def _write(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        new.write_bytes(content)
        new.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink()
        connection.fail(f"{path} cannot be written: {error.strerror}")
