"""What stands on a terminal: nothing lost, nothing of a stranger's obeyed, whatever its width."""

import io
import json
import os
import socket
import subprocess
import sys
import threading
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner
from google.protobuf.json_format import ParseDict
from rich.console import Console

from otel_vtrack import cli
from otel_vtrack.cli import show, tree
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
        (("traces", "search"), "ascii", ""),
    ],
)
def test_an_answer_that_nobody_takes_ends_without_a_traceback(words, reader, says, target, send):
    send({"name": "日本"}, service__version="2.4.0")
    environment = os.environ | {"OTEL_VTRACK_SERVER": target}
    if reader == "gone":
        reads, writes = os.pipe()
        os.close(reads)
    else:
        writes = os.open("/dev/full" if reader == "full" else os.devnull, os.O_WRONLY)
        environment["PYTHONIOENCODING"] = "ascii"
    done = subprocess.run(
        [sys.executable, "-m", "otel_vtrack", *words],
        stdout=writes,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
        check=False,
    )
    os.close(writes)
    assert done.returncode == (reader != "ascii")
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
