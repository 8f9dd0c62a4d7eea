"""The commands for each entity, as typed."""

import json
import os
import pty
import re
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from otel_vtrack.cli import show
from otel_vtrack.cli.group import group
from otel_vtrack.cli.show import Shown
from otel_vtrack.v1 import traces_pb2


@pytest.fixture
def answer(run):
    """Run a command with --json, and return what it prints."""

    def ask(*words):
        result = run(*words, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return ask


@pytest.fixture
def typed(target):
    """Run `vtrack` on a terminal, and type something into it; returns exit code and screen."""

    def type_(*words, keys, width=200):
        main, secondary = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "otel_vtrack", *words],
            stdin=secondary,
            stdout=secondary,
            stderr=secondary,
            env=os.environ | {"OTEL_VTRACK_SERVER": target, "COLUMNS": str(width), "TERM": "xterm"},
        )
        os.close(secondary)
        os.write(main, keys.encode())
        screen = b""
        while True:
            try:
                part = os.read(main, 4096)
            except OSError:
                break
            if not part:
                break
            screen += part
        os.close(main)
        return process.wait(60), screen.decode()

    return type_


# Experiments


def test_an_experiment_is_made_changed_and_listed(answer, run, send):
    send({})
    made = answer("experiments", "create", "billing", "--tag", "team=a", "--tag", "x=1=2")
    assert made["tags"] == {"team": "a", "x": "1=2"}
    answer("experiments", "update", "billing", "--name", "Billing")
    answer("experiments", "tag", "Billing", "tier=1", "team=b")
    tags = answer("experiments", "untag", "billing", "x", "none")["tags"]
    assert tags == {"tier": "1", "team": "b"}
    shown = run("experiments", "list").stdout
    assert "Billing" in shown
    assert "team=b, tier=1" in shown
    [only] = answer("experiments", "list", "--name", "ILL")["experiments"]
    assert (only["experiment"], only["name"]) == ("billing", "Billing")
    answer("experiments", "update", "billing", "--archive")
    assert "Billing" not in run("experiments", "list").stdout
    assert "Billing" in run("experiments", "list", "--archived").stdout
    assert "name              Billing" in run("experiments", "get", "billing").stdout
    again = run("experiments", "create", "billing")
    assert (again.exit_code, again.stderr.count("\n")) == (1, 1)
    nothing = run("experiments", "update", "billing")
    assert (nothing.exit_code, "--archive" in nothing.stderr) == (2, True)


def test_deleting_an_experiment_says_first_what_would_go(answer, run, send, trace_id):
    send({}, {"parent": 1})
    answer("feedback", trace_id(), "good", "true")
    preview = answer("experiments", "delete", "shop", "--dry-run")
    assert (preview["trace_count"], preview["span_count"]) == ("1", "2")
    asked = run("experiments", "delete", "shop")
    assert asked.exit_code == 2
    assert "1 trace, 2 spans" in asked.stderr
    assert "say --yes" in asked.stderr
    assert len(answer("traces", "search")["traces"]) == 1
    done = run("experiments", "delete", "shop", "--yes")
    assert (done.exit_code, done.stdout[:12]) == (0, "shop was del")
    assert answer("traces", "search")["traces"] == []
    assert answer("assessments", "search")["assessments"] == []
    # Nothing is left of it, as of a name that is misspelt; what is only empty can be deleted.
    for words in (["shop", "--yes"], ["shop", "--dry-run"], ["shopp"], ["shopp", "--yes"]):
        unknown = run("experiments", "delete", *words)
        assert (unknown.exit_code, unknown.stdout) == (1, ""), words
        assert unknown.stderr == run("experiments", "get", words[0]).stderr
    answer("experiments", "create", "planned")
    assert run("experiments", "delete", "planned", "--yes").exit_code == 0


def test_on_a_terminal_deletion_asks(typed, answer, send):
    send({})
    code, screen = typed("experiments", "delete", "shop", keys="n\n")
    assert code == 2
    assert "shop would be deleted, with 1 trace," in screen
    assert "nothing was changed" in screen
    assert len(answer("traces", "search")["traces"]) == 1
    code, screen = typed("experiments", "delete", "shop", keys="y\n")
    assert code == 0
    assert "shop was deleted" in screen
    assert answer("traces", "search")["traces"] == []


# Traces and spans


def test_traces_are_filtered_sorted_counted_and_drawn_by_time(answer, run, send):
    for number in range(1, 5):
        send(
            {"trace": number, "at": number * 60_000, "ms": 100 * number, "status": number % 2 * 2},
            service__version=str(number),
        )

    def versions(*words):
        return [each["version"] for each in answer("traces", "search", *words)["traces"]]

    assert versions("--filter", "version IN ('1', '3') OR version = '4'") == ["4", "3", "1"]
    assert versions("--filter", "version = '1' OR version = '2'", "--state", "error") == ["1"]
    assert versions("--order-by", "execution_time ASC", "--limit", "2") == ["1", "2"]
    assert answer("traces", "count", "--state", "error") == {"trace_count": "2"}
    assert run("traces", "count", "--filter", "execution_time > 150ms").stdout == "3\n"
    found = answer("traces", "histogram", "--width", "120s")
    assert found["width"] == "120s"
    assert [bucket["trace_count"] for bucket in found["buckets"]] == ["2", "2"]
    shown = run("traces", "histogram", "--width", "120s").stdout
    assert "█" in shown
    assert "each 2 min " in shown
    wrong = run("traces", "search", "--filter", "versoin = '1'")
    print(wrong.stderr)
    # The filter itself follows, with a mark where it is wrong.
    first, written, mark = wrong.stderr.splitlines()
    assert wrong.exit_code == 2
    assert "did you mean version" in first
    assert written[mark.index("^") :].startswith("versoin")


def test_traces_are_tagged_and_deleted(answer, run, send, trace_id):
    for number in (1, 2, 3):
        send({"trace": number, "at": number * 1000})
    assert answer("traces", "tag", trace_id(1), "tier=gold", "b=1") == {}
    assert answer("traces", "untag", trace_id(1), "b", "none") == {}
    [found] = answer("traces", "search", "--filter", "tag.tier = 'gold'")["traces"]
    assert found["tags"]["tier"] == "gold"
    assert "b" not in found["tags"]
    assert run("traces", "tag", trace_id(9), "a=b").exit_code == 1
    assert run("traces", "tag", trace_id(1), "novalue").exit_code == 2
    assert answer("traces", "delete", trace_id(1), "--dry-run") == {"trace_count": "1"}
    assert run("traces", "delete", trace_id(1)).exit_code == 2
    assert run("traces", "delete", trace_id(1), "--yes").stdout == "1 trace was deleted.\n"
    until = "2026-09-21T14:13:23Z"
    assert run("traces", "delete", "--until", until, "--yes").exit_code == 2
    words = ("traces", "delete", "--experiment", "shop", "--until", until, "--yes")
    assert answer(*words) == {"trace_count": "1"}
    assert len(answer("traces", "search")["traces"]) == 1


def test_spans_are_found(answer, run, send):
    send({"name": "ask", "ms": 50}, {"name": "think", "parent": 1, "ms": 20})
    found = answer("spans", "search", "--order-by", "duration ASC")["spans"]
    assert [span["name"] for span in found] == ["think", "ask"]
    assert found[0]["otlp"] == ""
    [one] = answer("spans", "search", "--filter", "name = 'ask'", "--otlp")["spans"]
    assert one["otlp"]
    shown = run("spans", "search", "--limit", "1").stdout
    assert len([line for line in shown.splitlines() if " ms " in line]) == 1
    assert run("spans", "search", "--filter", "name = 'x'").stdout == "No spans match.\n"


# Assessments


def test_an_assessment_lives(answer, run, send, trace_id):
    send({})
    made = answer("feedback", trace_id(), "relevance", "0.5", "--rationale", "half of it")
    assert (made["value"], made["source_type"]) == (0.5, "SOURCE_TYPE_HUMAN")
    name = made["assessment_id"]
    changed = answer("assessments", "update", name, "--value", "[1, 2]", "--metadata", "a=b")
    assert (changed["value"], changed["metadata"]) == ([1.0, 2.0], {"a": "b"})
    assert "half of it" in run("assessments", "get", name).stdout
    shown = run("assessments", "search", "--filter", "name = 'relevance'").stdout
    assert "[1, 2]" in shown
    assert run("assessments", "delete", name).exit_code == 2
    assert run("assessments", "delete", name, "--yes").exit_code == 0
    assert run("assessments", "delete", name).exit_code == 0
    changes = answer("assessments", "history", name)["changes"]
    assert [each["operation"].rpartition("_")[2] for each in changes] == [
        "CREATE",
        "UPDATE",
        "DELETE",
    ]
    history = run("assessments", "history", name).stdout
    assert history.index("create") < history.index("update") < history.index("delete")
    assert run("assessments", "get", name).exit_code == 1
    assert run("assessments", "history", "a-none").exit_code == 1


def test_a_value_is_json_where_it_is_json(answer, send, trace_id):
    send({})
    for typed, value in (
        ("0.5", 0.5),
        ("true", True),
        ("good", "good"),
        ('"5"', "5"),
        ('{"a": [null]}', {"a": [None]}),
        ("NaN", "NaN"),
        ("2026-01-31", "2026-01-31"),
    ):
        made = answer("assessments", "create", trace_id(), "a", typed, "--type", "expectation")
        assert made["value"] == value
        assert made["assessment_type"] == "ASSESSMENT_TYPE_EXPECTATION"


def test_an_assessment_has_a_value_or_an_error(answer, run, send, trace_id):
    send({})
    failed = answer("feedback", trace_id(), "a", "--error", "Timeout", "--error-message", "60 s")
    assert failed["error"]["error_code"] == "Timeout"
    assert "value" not in failed
    assert run("feedback", trace_id(), "a").exit_code == 2
    # What no double is would become another number.
    refused = run("feedback", trace_id(), "a", "[9007199254740993]")
    assert (refused.exit_code, "give it as a text" in refused.output) == (2, True)
    assert run("feedback", trace_id(), "a", "1", "--error", "x").exit_code == 2
    assert run("feedback", trace_id(9), "a", "1").exit_code == 1


# Versions


def test_a_version_is_named_noted_and_found(answer, run, send):
    for version in ("1", "2"):
        send({"trace": int(version), "status": 2}, service__version=version)
    assert answer("versions", "alias", "2", "@champion")["aliases"] == ["champion"]
    answer("versions", "update", "@champion", "--note", "the good one")
    assert answer("versions", "get", "@champion")["version"] == "2"
    shown = run("versions", "list").stdout
    assert "champion" in shown
    assert "the good one" in shown
    found = answer("versions", "list", "--filter", "version = '1'", "--usage")["versions"]
    assert [each["version"] for each in found] == ["1"]
    assert answer("versions", "unalias", "champion") == {}
    assert run("versions", "get", "@champion").exit_code == 1
    assert run("versions", "alias", "9", "stable").exit_code == 1


# Deployments


def test_a_deployment_is_declared_changed_and_withdrawn(answer, run, send):
    words = ("deployments", "create", "shop", "production", "2.4.0", "--id", "d1")
    made = answer(*words, "--tag", "pipeline=7", "--start", "2026-01-31T12:00:00Z")
    assert (made["declared"], made["start_time"]) == (True, "2026-01-31T12:00:00Z")
    assert run(*words).exit_code == 1
    changed = answer("deployments", "update", "d1", "--status", "succeeded")
    assert changed["status"] == "DEPLOYMENT_STATUS_SUCCEEDED"
    assert run("deployments", "update", "d1").exit_code == 2
    answer("deployments", "tag", "d1", "a=b")
    assert answer("deployments", "untag", "d1", "pipeline")["tags"] == {"a": "b"}
    assert "SUCCEEDED" in run("deployments", "list", "--version", "2.4.0").stdout
    assert answer("deployments", "list", "--environment", "x")["deployments"] == []
    assert "a=b" in run("deployments", "get", "d1", "--service", "shop").stdout
    assert run("deployments", "delete", "d1").exit_code == 2
    assert run("deployments", "delete", "d1", "--yes").exit_code == 0
    assert run("deployments", "delete", "d1", "--yes").exit_code in {0, 1}
    assert run("deployments", "get", "d1").exit_code == 1


# All of them


def commands():
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        for each in found.commands.values() if isinstance(found, click.Group) else [found]:
            yield (name, each.name) if isinstance(found, click.Group) else (name,), each


ASKING = {
    path: command
    for path, command in commands()
    if {option.name for option in command.params} >= {"server", "as_json"}
}


@pytest.mark.parametrize("path", ASKING, ids=" ".join)
def test_every_command_explains_itself_and_its_options(path):
    command = ASKING[path]
    assert command.help
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, option.name


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("TLS", "perhaps", "OTEL_VTRACK_TLS: write true or false"),
        ("CA_FILE", "/none", "OTEL_VTRACK_CA_FILE"),
        ("CLIENT_KEY_FILE", __file__, "both or none"),
    ],
)
def test_a_connection_that_makes_no_sense_is_misuse(monkeypatch, name, value, says):
    monkeypatch.setenv(f"OTEL_VTRACK_{name}", value)
    result = CliRunner().invoke(group, ["versions", "list"])
    assert result.exit_code == 2
    assert says in result.stderr


def test_a_token_is_not_sent_to_another_machine_in_clear(run, monkeypatch):
    monkeypatch.setenv("OTEL_VTRACK_TOKEN", "secret")
    assert run("versions", "list").exit_code == 0
    away = run("versions", "list", server="192.0.2.1:4317")
    assert (away.exit_code, "secret" in away.output) == (2, False)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell(shell):
    result = CliRunner().invoke(group, ["completion", shell])
    assert result.exit_code == 0
    assert "_VTRACK_COMPLETE" in result.stdout


def test_words_are_completed():
    environment = os.environ | {
        "_VTRACK_COMPLETE": "bash_complete",
        "COMP_WORDS": "vtrack traces ",
        "COMP_CWORD": "2",
    }
    done = subprocess.run(
        [sys.executable, "-c", "from otel_vtrack.cli import main; main()"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "plain,histogram" in done.stdout.split()


def test_help_groups_the_commands():
    shown = CliRunner().invoke(group, ["--help"]).stdout
    order = [shown.index(word) for word in ("Ask:", "  versions ", "Run:", "  serve ")]
    assert order == sorted(order)


def test_a_table_fits_a_narrow_terminal_and_pipes_a_line_for_each_row(typed, run, send):
    send(
        {"name": "a long name of a root", "attributes": {"input.value": "x" * 300}},
        service__version="2.4.0",
        deployment__environment__name="production",
    )
    code, screen = typed("traces", "search", keys="", width=80)
    assert code == 0
    lines = re.sub(r"\x1b\[[0-9;]*m", "", screen).splitlines()
    assert "environment" not in screen
    assert any(f"{1:032x}" in line and "a long name of a root" in line for line in lines)
    assert all(len(line.rstrip()) <= 80 for line in lines)
    piped = run("traces", "search").stdout
    assert "\x1b" not in piped
    [row] = [line for line in piped.splitlines() if "production" in line]
    assert "xxx" in row


def test_what_comes_from_outside_is_no_markup(capsys):
    hostile = traces_pb2.TraceInfo(name="[red]x[/]", trace_id="1", request_preview="[/]")
    shown = [Shown("trace_id"), Shown("name"), Shown("request_preview")]
    show.listing(traces_pb2.TraceInfo, [hostile], shown, "none")
    show.record(hostile)
    assert capsys.readouterr().out.count("[red]x[/]") == 2


@pytest.mark.parametrize("path", sorted(set(ASKING) - {("export",), ("import",)}), ids=" ".join)
def test_without_a_server_every_command_ends_in_one_line(path, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text("metrics:\n  latency:\n")
    needed = {
        "tags": ["a=b"],
        "keys": ["a"],
        "value": ["1"],
        "trace_ids": ["1" * 32],
        "paths": ["/none"],
    }
    words = [
        word
        for each in ASKING[path].params
        if isinstance(each, click.Argument)
        for word in needed.get(each.name, ["1" * 32])
    ]
    extra = {
        ("experiments", "update"): ["--archive"],
        ("deployments", "update"): ["--status", "failed"],
        ("versions", "update"): ["--note", "a"],
        ("gate",): ["--policy", str(policy)],
    }.get(path, [])
    result = CliRunner().invoke(group, [*path, *words, *extra, "--server", "127.0.0.1:1"])
    assert result.exit_code == 1, result.output
    assert result.stderr.count("\n") == 1
    assert "vtrack serve" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("versions", "unalias", "\udcff"),
        ("deployments", "untag", "d-1", "a", "\udcff"),
        ("flags", "changes", "--window", "99999999999999999999d"),
        ("flags", "exposure", "ui", "--max-traces", str(2**64)),
        ("versions", "progression", "--stuck-after", "9" * 30 + "ms"),
    ],
)
def test_what_makes_no_sense_is_told_in_a_line(run, words):
    result = run(*words)
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert "write" in result.stderr.splitlines()[-1]
