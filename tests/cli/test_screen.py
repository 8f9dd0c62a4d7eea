"""What stands on a terminal: nothing lost, nothing of a stranger's obeyed, whatever its width."""

import io
import json
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import click
import grpc
import pytest
from click.testing import CliRunner
from google.protobuf.json_format import ParseDict
from rich.console import Console

from otel_vtrack import cli
from otel_vtrack.api import Backend, add_api
from otel_vtrack.cli import show, tree, watch
from otel_vtrack.cli.group import group
from otel_vtrack.client import Client
from otel_vtrack.v1 import flags_pb2, timeline_pb2

HEADINGS = (("trace", False), ("started (UTC)", False), ("traces", True), ("said", False))
ROW = ("5b8efff798038103d269b633813fc60c", "2026-11-26 14:56:03", "1,234", "bad 日本 " + "x" * 50)
FORGED = "ask\n  feedback helpful = true by human\u2028\u202etxet\u202c \x1b[31m\x9b2J"


@pytest.mark.parametrize("width", [24, 40, 60, 80, 120])
def test_a_table_fits_a_terminal_and_loses_nothing(width):
    made = Console(width=width, file=io.StringIO())
    made.print(show.table(HEADINGS, [ROW, ROW], made))
    screen = made.file.getvalue()
    assert all(len(line.rstrip()) <= width for line in screen.splitlines())
    squeezed = "".join(screen.split())
    for word in (*ROW[:1], *ROW[1].split(), *ROW[2:3], "bad", "日本"):
        assert squeezed.count(word) == 2, screen
    assert squeezed.count("x") == 100
    assert ("─" in screen) == (width >= 80)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_tree_fits_a_terminal_and_has_every_name(width, make_spans):
    spans = (
        {"span": 1, "name": "checkout of a customer"},
        {"span": 2, "parent": 1, "name": FORGED, "status": 2},
    )
    made = Console(width=width, file=io.StringIO())
    request = make_spans(*spans, service__name="shop")
    made.print(tree.of(request, made.width))
    screen = made.file.getvalue()
    assert all(len(line.rstrip()) <= width for line in screen.splitlines())
    for word in ("checkout", "customer", "error", "duration", "feedback"):
        assert word in screen
    assert not {"\x1b", "\x9b", "\u202e"} & set(screen)


def test_a_name_is_one_line_and_turns_nothing_round(run, send):
    send({"name": FORGED}, service__version="2.4.0")
    shown = run("traces", "get", f"{1:032x}").stdout
    assert "feedback" in shown
    assert not [line for line in shown.splitlines() if line.strip().startswith("feedback")]
    printed = run("traces", "search", "--json").stdout
    assert json.loads(printed)["traces"][0]["name"] == FORGED
    for text in (shown, printed):
        assert not {"\x1b", "\x9b", "\u202e"} & set(text)


def test_help_cuts_no_summary():
    context = click.Context(group)
    for name in group.list_commands(context):
        usage, *lines = CliRunner().invoke(group, [name, "--help"]).stdout.splitlines()
        assert usage.startswith("Usage: ")
        if isinstance(group.get_command(context, name), click.Group):
            assert not [line for line in lines if line.endswith("...")]


def test_a_port_of_http_and_none_at_all_are_told_apart_from_a_server_that_is_away(run):
    def answer():
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                connection.recv(1_000)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        answering = threading.Thread(target=answer)
        answering.start()
        wrong = run("traces", "count", server=f"127.0.0.1:{listening.getsockname()[1]}")
        listening.shutdown(socket.SHUT_RDWR)
    answering.join(10)
    assert (wrong.exit_code, wrong.stdout) == (1, "")
    assert "speaks HTTP" in wrong.stderr
    none = run("traces", "count", "--server", "http://")
    assert none.exit_code == 2
    assert "write HOST:PORT" in none.stderr


def test_an_export_into_a_folder_that_is_not_there_says_so(run, tmp_path):
    wrong = run("export", "--output", str(tmp_path / "none" / "x.jsonl"))
    assert wrong.exit_code == 1
    assert "make its folder first" in wrong.stderr
    assert "Errno" not in wrong.stderr


@pytest.mark.parametrize(
    ("words", "reader", "says"),
    [
        (("export", "--output", "-"), "gone", ""),
        (("traces", "search", "--json"), "full", "vtrack: the answer cannot be written"),
    ],
)
def test_an_answer_that_nobody_takes_ends_without_a_traceback(words, reader, says, target, send):
    send({"name": "日本"}, service__version="2.4.0")
    environment = os.environ | {"OTEL_VTRACK_SERVER": target}
    if reader == "gone":
        reads, writes = os.pipe()
        os.close(reads)
    else:
        writes = os.open("/dev/full", os.O_WRONLY)
    done = subprocess.run(
        [sys.executable, "-m", "otel_vtrack", *words],
        stdout=writes,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
        check=False,
    )
    os.close(writes)
    assert done.returncode == 1
    assert done.stderr.startswith(says)
    assert done.stderr.count("\n") == bool(says)


def test_an_interrupt_while_it_loads_is_no_traceback(monkeypatch, capsys):
    class Interrupted(SimpleNamespace):
        @property
        def group(self):
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "otel_vtrack.cli.group", Interrupted())
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == "\nAborted!\n"


@pytest.mark.parametrize(
    ("words", "method", "answer", "fields"),
    [
        (
            ("flags", "compare", "search", "2"),
            "compare_variants",
            flags_pb2.VariantComparison(),
            {"metrics": [{"summary": "said", "verdict": 99}]},
        ),
        (
            ("flags", "interactions", "1", "2"),
            "list_interactions",
            flags_pb2.ListInteractionsResponse(),
            {"interactions": [{"summary": "said", "verdict": 99}]},
        ),
        (
            ("deployments", "timeline"),
            "get_timeline",
            timeline_pb2.GetTimelineResponse(),
            {"periods": [{}], "rollbacks": [{"trace_count": 1, "latency": {"verdict": 99}}]},
        ),
    ],
)
def test_a_verdict_of_a_newer_server_is_no_traceback(monkeypatch, words, method, answer, fields):
    made = ParseDict(fields, answer)
    monkeypatch.setattr(Client, method, lambda *_, **__: made)
    ended = CliRunner().invoke(group, words)
    assert ended.exit_code == 0, ended.exception
    assert ("said" if words[0] == "flags" else "this vtrack does not know: ") in ended.stdout


def test_bars_and_branches_are_drawn_in_what_the_encoding_has(target, send):
    send({"span": 1, "name": "ask"}, {"span": 2, "parent": 1, "name": "日"}, service__version="1")
    environment = os.environ | {"OTEL_VTRACK_SERVER": target, "PYTHONIOENCODING": "ascii"}
    words = (sys.executable, "-m", "otel_vtrack", "traces", "get", f"{1:032x}")
    screen = subprocess.run(words, env=environment, capture_output=True, check=True, timeout=60)
    [first] = [line for line in screen.stdout.decode("ascii").splitlines() if "|ask" in line]
    assert "====" in first
    assert b"` \\u65e5" in screen.stdout
    assert screen.stderr == b""
    assert b"\\u25" not in screen.stdout


def test_following_outlives_a_restart_of_the_server(store, monkeypatch):
    def serve(address):
        server = grpc.server(ThreadPoolExecutor(2))
        add_api(server, Backend(store))
        servers.append(server)
        port = server.add_insecure_port(address)
        server.start()
        return f"127.0.0.1:{port}"

    def sleep(_):
        polls.append(None)
        if len(polls) in {1, 4}:
            servers[-1].stop(None).wait(10)
        if len(polls) == 3:
            serve(target)
        if len(polls) == 4:
            raise KeyboardInterrupt

    servers, polls = [], []
    target = serve("127.0.0.1:0")
    monkeypatch.setattr(watch, "time", SimpleNamespace(sleep=sleep))
    result = CliRunner().invoke(group, ["watch", "events", "--follow", "--server", target])
    assert (result.exit_code, result.stdout, len(polls)) == (0, "", 4)
    assert result.stderr == "vtrack: the server does not answer any more; waiting for it\n"


def test_a_slip_is_pointed_out():
    for words, code, says in (
        ("trace search", 2, "Did you mean 'traces'?"),
        ("zzz", 2, "No such command 'zzz'."),
        ("traces count --since 1h --until 2h", 2, "swap them?"),
        ("watch events --since 2026-01-02 --until 2026-01-02", 2, "swap them?"),
        ("traces count --server grpc://127.0.0.1:4317", 2, "write HOST:PORT"),
        ("traces count --server 127.0.0.1", 2, "write 127.0.0.1:4317"),
    ):
        result = CliRunner().invoke(group, words.split())
        assert result.exit_code == code
        assert says in result.stderr


def test_deleting_what_is_not_there_does_not_claim_to_have_deleted_it(run):
    for kind in ("assessment", "deployment"):
        result = run(f"{kind}s", "delete", "misspelt", "--yes")
        assert result.exit_code == 0
        assert result.stdout.startswith(f"There is no {kind} misspelt")


def test_a_filter_that_matches_nothing_is_named_as_the_reason(run, send):
    for number, version in enumerate("12"):
        send({"trace": number + 1, "name": "ask"}, service__version=version)
    shown = run("compare", "1", "2", "--filter", "tag.tier = 'paid'")
    assert shown.exit_code == 0
    assert "1: none of its traces matches the filter" in shown.stdout
    assert "figure" not in shown.stdout


def test_spans_and_assessments_are_found_by_options(run, send):
    send(
        {"span": 1, "name": "ask", "ms": 20},
        {"span": 2, "parent": 1, "name": "look up", "ms": 10, "status": 2},
        service__version="2.4.0",
        deployment__environment__name="production",
    )
    send({"trace": 2, "name": "ask"}, service__version="2.3.1")
    for number in (1, 2):
        run("feedback", f"{number:032x}", "helpful", "false", "--source", f"ann{number}")

    def names(*words):
        return {each["name"] for each in json.loads(run(*words, "--json").stdout)["spans"]}

    search = ("spans", "search")
    assert names(*search, "--version", "2.4.0", "--min-duration", "15ms") == {"ask"}
    assert names(*search, "--status", "ERROR", "--environment", "production") == {"look up"}
    assert names(*search, "--trace", f"{2:032x}", "--name", "look up") == set()
    assert names(*search, "--until", "1000d") == set()
    assert run("traces", "count", "--state", "IN_PROGRESS").stdout == "0\n"
    found = json.loads(run("assessments", "search", "--trace", f"{2:032x}", "--json").stdout)
    assert [each["source_id"] for each in found["assessments"]] == ["ann2"]
    found = json.loads(run("assessments", "search", "--type", "expectation", "--json").stdout)
    assert found["assessments"] == []
