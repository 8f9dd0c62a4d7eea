"""`vtrack assessments`: judgements of traces by people, code and LLM judges."""

import json
from typing import Any, Final

import click

from otel_vtrack.cli import connection, show
from otel_vtrack.cli.section import Section
from otel_vtrack.cli.show import Shown
from otel_vtrack.client import UNSET, values
from otel_vtrack.v1 import assessments_pb2

_TYPES: Final = ("feedback", "expectation")
_SOURCES: Final = ("human", "llm_judge", "code")
_COLUMNS: Final = (
    Shown("assessment_id", "assessment"),
    Shown("trace_id", "trace", spare=4),
    Shown("span_id", "span", spare=8),
    Shown("session_id", "session", spare=7),
    Shown("assessment_name", "name"),
    Shown("assessment_type", "type", spare=6),
    Shown("value", longest=60),
    Shown("error.error_code", "error", spare=1),
    Shown("rationale", spare=2, longest=60),
    Shown("source_type", "by", spare=1),
    Shown("source_id", "who", spare=5),
    Shown("create_time", "created (UTC)", spare=3),
    Shown("valid", spare=9),
)


class Value(click.ParamType):  # pyright: ignore[reportMissingTypeArgument]
    """An argument parsed as JSON if it is valid JSON, else taken as text."""

    name = "value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse the argument."""
        if not isinstance(value, str):
            return value
        try:
            read = json.loads(value, parse_constant=_not_json)
        except ValueError:
            return value
        try:
            values.to_value(read)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return read


def _not_json(text: str) -> Any:
    raise ValueError(text)


@click.group(cls=Section)
def command() -> None:
    """Record, find, change and delete assessments: judgements of traces."""


@command.command()
@click.option("--trace", "trace_id", default="", help="Only of this trace.")
@click.option("--name", "assessment_name", default="", help="Only of this name.")
@click.option(
    "--type",
    "assessment_type",
    type=click.Choice(_TYPES, case_sensitive=False),
    help="Only of this type.",
)
@click.option(
    "--source-type",
    type=click.Choice(_SOURCES, case_sensitive=False),
    help="Only by this kind of source.",
)
@click.option("--source", "source_id", default="", help="Only by this person, model or program.")
@click.option("--session", "session_id", default="", help="Only of this whole session.")
@connection.finds("create_time")
@connection.asks
def search(
    *,
    filter_: str,
    assessment_type: str | None,
    source_type: str | None,
    server: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Find assessments, newest first."""
    with connection.client(server) as client:
        found = client.search_assessments(
            filter_, assessment_type=assessment_type or "", source_type=source_type or "", **given
        ).fetch()
    if as_json:
        connection.print_json(connection.as_list("assessments", found))
        return
    show.listing(assessments_pb2.Assessment, found, _COLUMNS, "No assessments match.")


@command.command()
@click.argument("assessment_id")
@connection.asks
def get(*, assessment_id: str, server: str, as_json: bool) -> None:
    """Show one assessment."""
    with connection.client(server) as client:
        tell(client.get_assessment(assessment_id), as_json=as_json)


def creates(function: Any) -> Any:
    """Add the arguments and options for recording an assessment to a command."""
    for option in reversed(
        (
            click.argument("trace_id"),
            click.argument("assessment_name", metavar="NAME"),
            click.argument("value", required=False, type=Value(), default=None),
            click.option(
                "--error", help="Instead of a value: the kind of error that prevented one."
            ),
            click.option("--error-message", default="", help="What went wrong."),
            click.option("--rationale", default="", help="Why this value."),
            click.option(
                "--metadata",
                multiple=True,
                type=connection.Pair(),
                help="Store this with it; may be given more than once.",
            ),
            click.option(
                "--source-type",
                type=click.Choice(_SOURCES, case_sensitive=False),
                default="human",
                show_default=True,
                help="Who assessed.",
            ),
            click.option(
                "--source", "source_id", default="", help="Which person, model or program."
            ),
            click.option(
                "--span", "span_id", default="", help="About this span, not the whole trace."
            ),
            click.option("--session", "session_id", default="", help="About this whole session."),
            click.option("--overrides", default="", help="Id of the assessment it replaces."),
        )
    ):
        function = option(function)
    return function


def create_one(
    assessment_type: str,
    *,
    value: Any,
    error: str | None,
    error_message: str,
    metadata: tuple[tuple[str, str], ...],
    server: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Record an assessment from the arguments and options of `creates`."""
    if (value is None) == (error is None):
        raise click.UsageError("give a VALUE, or --error where there is none")
    failed = None
    if error is not None:
        failed = assessments_pb2.AssessmentError(error_code=error, error_message=error_message)
    with connection.client(server) as client:
        made = client.create_assessment(
            given.pop("trace_id"),
            given.pop("assessment_name"),
            UNSET if error is not None else value,
            error=failed,
            metadata=dict(metadata),
            assessment_type=assessment_type,
            **given,
        )
    tell(made, as_json=as_json)


@command.command()
@creates
@click.option(
    "--type",
    "assessment_type",
    type=click.Choice(_TYPES, case_sensitive=False),
    default="feedback",
    show_default=True,
    help="feedback judges what was done, expectation says what should have been done.",
)
@connection.asks
def create(*, assessment_type: str, **given: Any) -> None:
    """Record an assessment of a trace.

    VALUE is read as JSON if it is valid JSON, such as 0.5, true or {"a": 1}, else as text.
    """
    create_one(assessment_type, **given)


@command.command()
@click.argument("assessment_id")
@click.option("--name", "assessment_name", help="Its new name.")
@click.option("--value", type=Value(), default=UNSET, help="Its new value, as create takes it.")
@click.option("--rationale", help="The new reason.")
@click.option(
    "--metadata",
    multiple=True,
    type=connection.Pair(),
    help="Add this; may be given more than once.",
)
@connection.asks
def update(
    *,
    assessment_id: str,
    metadata: tuple[tuple[str, str], ...],
    server: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Change an assessment; only what is given changes."""
    with connection.client(server) as client:
        changed = client.update_assessment(assessment_id, metadata=dict(metadata), **given)
    tell(changed, as_json=as_json)


@command.command()
@click.argument("assessment_id")
@connection.agreed
@connection.asks
def delete(*, assessment_id: str, yes: bool, server: str, as_json: bool) -> None:
    """Delete an assessment; what it overrode becomes valid again.

    Deleting one that is not there succeeds.
    """
    with connection.client(server) as client:
        found = connection.found(lambda: client.get_assessment(assessment_id))
        if found is not None:
            connection.confirm(_described(found), yes=yes)
        client.delete_assessment(assessment_id)
    if as_json:
        connection.print_json(assessments_pb2.DeleteAssessmentResponse())
    elif found is None:
        click.echo(f"There is no assessment {show.line(assessment_id)}, or it was deleted before.")
    else:
        click.echo(f"{assessment_id} is deleted.")


@command.command()
@click.argument("assessment_id")
@connection.asks
def history(*, assessment_id: str, server: str, as_json: bool) -> None:
    """List every change of an assessment, even a deleted one, oldest first."""
    with connection.client(server) as client:
        found = client.list_assessment_changes(assessment_id)
    if as_json:
        connection.print_json(connection.as_list("changes", found))
        return
    if not found:
        connection.fail(f"there has never been an assessment {assessment_id}")
    rows = [
        (
            show.moment(change.change_time),
            assessments_pb2.AssessmentOperation.Name(change.operation)
            .removeprefix("ASSESSMENT_OPERATION_")
            .lower(),
            change.assessment.assessment_name,
            show.field(change.assessment, "value"),
            change.assessment.error.error_code,
            change.assessment.rationale,
        )
        for change in found
    ]
    headings = ("time (UTC)", "change", "name", "value", "error", "rationale")
    console = show.console()
    console.print(show.table([(heading, False) for heading in headings], rows, console))


def _described(found: assessments_pb2.Assessment) -> str:
    value = show.field(found, "value") or found.error.error_code
    return f"{found.assessment_name} = {value} of trace {found.trace_id} would be deleted"


def tell(assessment: assessments_pb2.Assessment, *, as_json: bool) -> None:
    """Print an assessment."""
    if as_json:
        connection.print_json(assessment)
    else:
        show.record(assessment)
