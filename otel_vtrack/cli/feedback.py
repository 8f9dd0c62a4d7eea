"""`vtrack feedback`: a shorthand for `vtrack assessments create`."""

from typing import Any

import click

from otel_vtrack.cli import assessments, connection


@click.command()
@assessments.creates
@connection.asks
def command(**given: Any) -> None:
    """Record your judgement of a trace, as in: vtrack feedback TRACE_ID helpful true.

    VALUE is read as JSON if it is valid JSON, such as 0.5, true or {"a": 1}, else as text.
    """
    assessments.create_one("feedback", **given)
