"""`vtrack gate` as CI runs it, against a server of its own process."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import click
import pytest
from markdown_it import MarkdownIt

from otel_vtrack.cli.group import group

HOSTILE = "2`|<b>\n::error::x](http://x)&\x1b[31m"


@pytest.fixture
def gate(tmp_path, vtrack_on, make_spans):
    served = vtrack_on(tmp_path / "store")
    number = 0

    def start(*words, policy="{latency: , error_rate: }"):
        path = tmp_path / "policy.yaml"
        path.write_text(f"metrics: {policy}\n")
        asked = ("--server", served.grpc, *words)
        return subprocess.Popen(
            [sys.executable, "-m", "otel_vtrack", "gate", "--policy", path, *asked],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )

    def run(*words, **keywords):
        process = start(*words, **keywords)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def fill(version, ms, count=60, slower=1):
        """Write traces, of which one in ten is so many times slower."""
        nonlocal number
        spans = [
            {
                "trace": number + n,
                "span": number + n,
                "ms": (ms + n * 7 % 50) * (1 if n % 10 else slower),
            }
            for n in range(1, count + 1)
        ]
        number += count
        served.export(make_spans(*spans, service__version=version))

    run.start, run.fill = start, fill
    yield run
    served.stop()


def test_a_planted_regression_stops_a_release_and_its_absence_does_not(gate, tmp_path):
    gate.fill("1", 100)
    gate.fill(HOSTILE, 150)
    gate.fill("3", 100)
    files = ("--markdown", "report.md", "--junit", "report.xml")
    slow = gate("1", HOSTILE, *files)
    assert slow.returncode == 3, slow
    assert "latency: worse by 5 % or more" in slow.stdout
    assert not any(line.startswith("::") for line in slow.stdout.splitlines())
    assert "\x1b" not in slow.stdout

    suite = ET.parse(tmp_path / "report.xml").getroot().find("testsuite")
    cases = {case.get("name"): case for case in suite.findall("testcase")}
    assert list(cases) == ["latency", "error_rate"]
    assert cases["latency"].find("failure").get("type") == "regressed"
    assert cases["error_rate"].find("failure") is None
    names = {each.get("name"): each.get("value") for each in suite.iter("property")}
    assert names["candidate"].startswith("2`|<b>\N{REPLACEMENT CHARACTER}::error")

    tokens = MarkdownIt("commonmark").enable("table").parse((tmp_path / "report.md").read_text())
    inside = [child for token in tokens for child in token.children or ()]
    assert not {token.type for token in [*tokens, *inside]} & {
        "html_inline",
        "html_block",
        "link_open",
    }
    spans = [token.content for token in inside if token.type == "code_inline"]
    assert spans[0] == names["candidate"]
    assert sum(token.type == "tr_open" for token in tokens) == 3
    [command] = [token.content for token in tokens if token.type == "fence"]
    again = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, check=True
    )
    assert again.stdout.decode().split("\0")[-3:-1] == ["1", HOSTILE]

    same = gate("1", "3", "--json")
    assert same.returncode == 0, same
    found = json.loads(same.stdout)
    assert (found["passed"], found["outcome"]) == (True, "passed")
    assert [each["metric"] for each in found["metrics"]] == ["latency", "error_rate"]
    assert not list(tmp_path.glob(".*.new"))

    assert gate("1", "3", policy="{tokens: }").returncode == 4
    lenient = "{tokens: {on_not_enough_data: pass}}"
    assert gate("1", "3", *files, policy=lenient).returncode == 0
    assert ET.parse(tmp_path / "report.xml").getroot().find(".//skipped") is not None
    assert gate("1", "none").returncode == 1
    wrong = gate("1", "3", policy="{latncy: }")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "did you mean latency?" in wrong.stderr
    assert gate("1", "3", "--junit", "none/x.xml").returncode == 2
    assert gate("1", "3", "--markdown", "/dev/null").returncode == 2
    assert gate("1", "3", "--wait", "2d").returncode == 2


def test_a_release_that_is_slow_for_one_in_ten_is_stopped_although_half_are_not(gate):
    gate.fill("1", 100, 600)
    gate.fill("2", 102, 600, slower=3)
    stopped = gate("1", "2", "--json", policy="{latency: {smallest_change: 5 %}}")
    assert stopped.returncode == 3, stopped
    [latency] = json.loads(stopped.stdout)["metrics"]
    assert latency["reason"].startswith("worse by 5 % or more, and by more than chance: p95 ")


@pytest.mark.slow
def test_waiting_ends_when_a_canary_has_its_traces_or_the_time_is_over(gate):
    gate.fill("1", 100)
    over = gate("1", "2", "--wait", "100ms")
    assert over.returncode == 1, over
    waiting = gate.start("1", "2", "--wait", "60s")
    assert "waiting" in waiting.stderr.readline()
    gate.fill("2", 150, count=30)
    waiting.communicate(timeout=60)
    assert waiting.returncode == 3
    gate.fill("3", 150, count=5)
    assert gate("1", "3", "--wait", "100ms").returncode == 4


def test_every_option_is_in_the_documentation_of_the_gate():
    docs = (Path(__file__).parents[2] / "docs" / "gate.md").read_text()
    options = {
        name
        for parameter in group.get_command(None, "gate").params
        if isinstance(parameter, click.Option)
        for name in parameter.opts
    }
    assert [name for name in sorted(options) if name not in docs] == []
