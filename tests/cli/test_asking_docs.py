"""docs/asking.md names every command and option that asks, and what it shows runs."""

import re
import shlex
from pathlib import Path

import click
import pytest

from otel_vtrack.cli.group import group
from otel_vtrack.client import Client, connection

DOCS = (Path(__file__).parents[2] / "docs" / "asking.md").read_text()
ELSEWHERE = {"serve", "migrate", "completion"}
MOVING = {"export", "import"}


def asking():
    context = click.Context(group)
    for name in set(group.list_commands(context)) - ELSEWHERE:
        yield name, group.get_command(context, name)


def test_every_command_that_asks_is_in_the_table_and_no_other():
    table = {}
    for row in re.findall(r"^\| (`vtrack .*?) \|", DOCS, re.MULTILINE):
        first, *more = re.findall(r"`([^`]+)`", row)
        words = first.split()
        if words[1] in MOVING:
            table |= {name: set() for name in (words[1], *more)}
            continue
        known = group.get_command(None, words[1])
        inside = {words[2], *more} if isinstance(known, click.Group) else set()
        table.setdefault(words[1], set()).update(inside)
    assert table == {
        name: set(found.commands) if isinstance(found, click.Group) else set()
        for name, found in asking()
    }


def test_every_option_of_a_command_that_asks_is_named_and_exists():
    options = {
        option
        for name, found in asking()
        if name not in MOVING
        for each in (found.commands.values() if isinstance(found, click.Group) else [found])
        for parameter in each.params
        if isinstance(parameter, click.Option)
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", DOCS)) == options | {"--help"}


def test_every_variable_that_the_client_reads_is_named_and_exists():
    assert set(re.findall(r"OTEL_VTRACK_[A-Z_]+", DOCS)) == set(connection._VARIABLES)


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL))
def test_the_python_shown_runs(code, target, send):
    trace = int("5b8efff798038103d269b633813fc60c", 16)
    for number, version in enumerate(("2.4.0", "2.3.1")):
        send(
            {"trace": trace + number, "ms": 3000, "status": 2},
            service__version=version,
            deployment__environment__name="production",
        )
    exec(code.replace("127.0.0.1:4317", target), {})
    with Client(target) as client:
        made = client.search_assessments(assessment_name="helpful").fetch()
        assert len(made) == code.count("create_assessment")


def test_the_commands_shown_run(run, send):
    send({"trace": int("5b8efff798038103d269b633813fc60c", 16)}, service__version="2.4.0")
    shown = [
        line
        for block in re.findall(r"```sh\n(.*?)```", DOCS, re.DOTALL)
        for line in block.splitlines()
    ]
    assert shown
    for line in shown:
        result = run(*shlex.split(line)[1:])
        assert result.exit_code == 0, (line, result.output)
