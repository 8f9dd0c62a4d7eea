import json
from datetime import datetime, timedelta, timezone

import click
import pytest

from otel_vtrack.cli import compare, connection
from otel_vtrack.cli.group import group
from otel_vtrack.v1 import analysis_pb2

NOW = int(datetime.now(timezone.utc).timestamp() * 1000) - 1_790_000_000_000


def answer(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_versions_are_listed_for_people_and_for_programs(run, send):
    send(
        {},
        service__version="2.4.0",
        deployment__environment__name="production",
        vcs__ref__head__revision="0123456789abcdef",
        vtrack__vcs__dirty=True,
    )
    shown = run("versions", "list").stdout
    for word in ("2.4.0", "production", "shop", "0123456789+dirty", "2026-09-21 14:13:20"):
        assert word in shown
    [version] = answer(run("versions", "list", "--json"))["versions"]
    assert (version["version"], version["trace_count"]) == ("2.4.0", "1")
    assert version["git_branch"] == ""
    nothing = run("versions", "list", "--environment", "x")
    assert (nothing.exit_code, nothing.stdout[:11]) == (0, "No versions")


def test_a_comparison_says_in_words_which_version_is_slower(run, send):
    for version, ms in (("2.3.1", 100), ("2.4.0", 150)):
        send(
            *({"trace": ms * 1000 + n, "span": n, "ms": ms + n} for n in range(1, 61)),
            service__version=version,
            deployment__environment__name="production",
        )
    words = ("compare", "2.3.1", "2.4.0", "--environment", "production")
    result = run(*words)
    assert result.exit_code == 0
    assert "2.4.0 is slower than 2.3.1 in production: p50 130 ms -> 180 ms (+38 %" in result.stdout
    assert "not enough data on tokens per trace" in result.stdout
    assert (
        "latency: Brunner-Munzel (p < 0.0001, adjusted p < 0.0001), for durations" in result.stdout
    )
    found = answer(run(*words, "--metric", "latency", "--json"))
    assert [metric["verdict"] for metric in found["metrics"]] == ["VERDICT_REGRESSED"]
    assert found["metrics"][0]["figures"][3]["baseline"]["value"] == 157.0
    assert found["metrics"][0]["adjusted_p_value"] < 0.0001
    chosen = (
        "--metric",
        "latency",
        "--filter",
        "execution_time > 120ms",
        "--group-by",
        "environment",
    )
    within = run(*words, *chosen, "--smallest-change", "latency=200%", "--stratify-by", "none")
    least = "any difference in latency between 2.3.1 and 2.4.0 in production is less than 200 %"
    assert least in within.stdout
    assert "environment production: 40 / 60 traces" in within.stdout
    turned = answer(run(*words, "--direction", "latency=more", "--json"))["metrics"][0]
    assert (turned["verdict"], turned["direction"]) == ("VERDICT_IMPROVED", "DIRECTION_MORE")
    for option, value, says in (
        ("--direction", "latency=up", "write less or more"),
        ("--direction", "attribute:x=less", "add --metric attribute:x"),
        ("--smallest-change", "latency=5 apples", "write 5%, 0.5points"),
        ("--smallest-change", "latency", "write METRIC=VALUE"),
        ("--metric", "latncy", "did you mean latency"),
    ):
        wrong = run(*words, option, value)
        assert wrong.exit_code == 2
        assert says in wrong.stderr


def test_a_mix_is_told_without_the_counts_that_an_older_server_leaves_out():
    levels = [
        analysis_pb2.MixLevel(value="pay", baseline_count=1, candidate_count=3),
        analysis_pb2.MixLevel(value="look", baseline_count=3, candidate_count=1),
    ]
    mix = analysis_pb2.MixDifference(dimension="route", levels=levels)
    assert "pay 25 % -> 75 %, look 75 % -> 25 %" in compare.mixed(mix)
    assert compare.mixed(analysis_pb2.MixDifference(dimension="route"))


def test_a_version_that_began_no_traces_is_said_to_be_compared_by_its_spans(run, send):
    for base, version, pays in ((0, "5", 45), (1000, "6", 15)):
        traces = [{"trace": base + n, "name": "pay" if n <= pays else "look"} for n in range(1, 61)]
        send(*({**each, "span": 1} for each in traces), service__version="front")
        entries = [{**each, "span": 2, "parent": 1, "kind": 2} for each in traces]
        send(*entries, service__version=version)
    told = run("compare", "5", "6", "--metric", "entry_latency").stdout
    assert told.endswith(
        "5: began no traces here, compared by its spans: entry_latency by 60\n"
        "6: began no traces here, compared by its spans: entry_latency by 60\n"
    )
    assert "a different mix of routes" in told
    assert "pay 75 % -> 25 %" in told


def test_what_tells_two_versions_apart_is_listed_with_an_example(run, send, trace_id):
    for number, (version, failing) in enumerate((("2.3.1", 0), ("2.4.0", 30))):
        send(
            *(
                {"trace": number * 1000 + n, "span": n, "name": "pay"}
                | ({"status": 2, "message": f"card {n} [red]" * 20} if n <= failing else {})
                for n in range(1, 61)
            ),
            service__version=version,
        )
    words = ("differences", "2.3.1", "2.4.0")
    result = run(*words)
    assert result.exit_code == 0
    for word in ("new", "error message", "card # [red]", "50 % of 60", "+50 ", trace_id(1001)):
        assert word in result.stdout
    [found] = answer(run(*words, "--json"))["differences"]
    assert (found["kind"], found["change"]) == (
        "DIFFERENCE_KIND_ERROR_MESSAGE",
        "DIFFERENCE_CHANGE_NEW",
    )
    assert found["value"] == ("card # [red]" * 20)[:200]
    assert found["same_route_difference"] == 0.5
    nothing = run(*words, "--kind", "model")
    assert (nothing.exit_code, nothing.stdout) == (
        0,
        "Nothing distinguishes 2.4.0 from 2.3.1 beyond chance.\n0 things checked.\n",
    )


def test_what_differs_because_other_routes_were_asked_for_says_so(run, send):
    for number, (version, share) in enumerate((("2.3.1", 20), ("2.4.0", 80))):
        send(
            *(
                {"trace": number * 1000 + n, "span": n, "name": "pay" if n <= share else "look"}
                | {
                    "attributes": {"gen_ai.request.model": "m", "bytes": 1000 + n}
                    if n <= share
                    else {"bytes": n}
                }
                for n in range(1, 101)
            ),
            service__version=version,
        )
    told = run("differences", "2.3.1", "2.4.0", "--kind", "model").stdout
    assert "pay (100%), a mix of routes" in told
    told = run("differences", "2.3.1", "2.4.0", "--kind", "number").stdout
    for word in (
        "more",
        "number",
        "bytes",
        "mean 250.5",
        "mean 850.5",
        "+240 [",
        "a mix of routes",
    ):
        assert word in told
    assert "`vtrack compare 2.3.1 2.4.0 --metric attribute:bytes`" in told


def test_traces_are_searched_for_people_and_for_programs(run, send, trace_id):
    send({"trace": 1, "at": NOW, "ms": 300, "name": "slow", "attributes": {"input.value": "hi"}})
    send({"trace": 2, "at": NOW - 7_200_000, "status": 2, "name": "old"})
    shown = run("traces", "search").stdout
    assert shown.index(trace_id(1)) < shown.index(trace_id(2))
    assert "300 ms" in shown
    assert "hi" in shown

    def names(*words):
        found = answer(run("traces", "search", "--json", *words))
        return [trace["name"] for trace in found["traces"]]

    assert names() == ["slow", "old"]
    assert names("--since", "1h") == ["slow"]
    assert names("--until", "1h") == ["old"]
    assert names("--state", "error") == ["old"]
    assert names("--min-duration", "250ms") == ["slow"]
    assert names("--limit", "1") == ["slow"]
    assert names("--name", "none") == []


def test_a_trace_is_shown_with_what_was_said_of_it(run, send, trace_id):
    send({"trace": 1})
    said = ("feedback", trace_id(1), "helpful")
    run(*said, "false", "--rationale", "wrong\nyear", "--source", "ada")
    shown = run("traces", "get", trace_id(1)).stdout
    assert "  feedback helpful = false by human ada: wrong year\n" in shown


def test_a_version_is_shown_with_the_variants_of_its_flags(run, send):
    send({"attributes": {"vtrack.flag.search": "new"}}, service__version="2.4.0")
    assert "search=new" in run("versions", "get", "2.4.0").stdout


def test_what_telemetry_says_is_neither_style_nor_command_of_the_terminal(run, send, trace_id):
    telemetry = "[/] [bold]\x1b]0;owned\x07\x1b[2J\x9b2J"
    for number in (1, 2):
        send(
            {"trace": number, "name": telemetry, "status": 2, "message": telemetry},
            service__version=f"{telemetry}{number}",
        )
    versions = (f"{telemetry}1", f"{telemetry}2")
    for words in (
        ("versions", "list"),
        ("versions", "get", versions[0]),
        ("traces", "search"),
        ("traces", "get", trace_id()),
        ("compare", *versions),
    ):
        shown = run(*words)
        assert shown.exit_code == 0, shown.output
        assert not set(shown.output) & {"\x1b", "\x07", "\x9b"}, words
        assert "[/] [bold]\N{REPLACEMENT CHARACTER}]0;owned" in shown.output, words
    refused = run("versions", "get", f"{telemetry}3")
    assert refused.exit_code == 1
    assert "\x1b" not in refused.output


def test_a_trace_is_drawn_as_a_tree(run, send, trace_id):
    send(
        {"span": 1, "name": "POST /chat", "ms": 100},
        {"span": 2, "parent": 1, "name": "agent", "at": 10, "ms": 80},
        {
            "span": 3,
            "parent": 2,
            "name": "chat gpt",
            "at": 20,
            "ms": 50,
            "status": 2,
            "attributes": {"gen_ai.usage.input_tokens": 12, "gen_ai.usage.output_tokens": 30},
        },
        {"span": 4, "parent": 1, "name": "save", "at": 95, "ms": 5},
        {"span": 5, "parent": 99, "name": "lost"},
        {"span": 6, "parent": 7, "name": "hen"},
        {"span": 7, "parent": 6, "name": "egg"},
    )
    shown = run("traces", "get", trace_id()).stdout
    lines = [line.rstrip() for line in shown.splitlines()]
    names = [line.split("shop")[0].strip(" ") for line in lines if " shop " in line]
    assert names == [
        "POST /chat",
        "├ agent",
        "│ └ chat gpt",
        "└ save",
        "lost",
        "hen",
        "└ egg",
    ]
    chat = next(line for line in lines if "chat gpt" in line)
    assert "error" in chat
    assert "12 + 30" in chat
    assert "50 ms" in chat
    assert "42 tokens (12 in, 30 out)" in shown


def test_a_trace_as_json_has_its_spans_as_otlp(run, send, trace_id):
    send({"name": "a", "attributes": {"n": 1}})
    found = answer(run("traces", "get", trace_id(), "--json"))
    assert found["traces"][0]["trace_id"] == trace_id()
    assert found["traces"][0]["state"] == "TRACE_STATE_OK"
    [span] = found["otlp"]["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert (span["traceId"], span["name"]) == (trace_id(), "a")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("traces", "get", "1" * 32), 1, "vtrack traces search"),
        (("traces", "get", "xyz"), 2, "32 hexadecimal digits"),
        (("compare", "A", "B"), 1, "vtrack versions list"),
        (("compare", "A", "A"), 2, "two different"),
        (("compare", "A"), 2, "Missing argument 'B'"),
        (("differences", "A", "B"), 1, "vtrack versions list"),
        (("differences", "A", "B", "--kind", "colour"), 2, "'span_name'"),
        (("compare", "A", "B", "--since", "soon"), 2, "write 1h, 7d or 2026"),
        (("compare", "A", "B", "--since", "0001-01-01T00:00:00+23:59"), 2, "write 1h, 7d or 2026"),
        (("traces", "search", "--min-duration", "long"), 2, "write 250ms"),
        (("traces", "search", "--min-duration", "9" * 12 + "d"), 2, "too long"),
        (("traces", "search", "--state", "odd"), 2, "in_progress"),
    ],
)
def test_errors_are_one_line_that_says_what_to_do(run, words, code, says):
    result = run(*words)
    assert result.exit_code == code
    assert says in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "words", [("versions", "list"), ("compare", "A", "B"), ("traces", "search")]
)
def test_without_a_server_it_says_how_to_start_one(run, words):
    result = run(*words, server="127.0.0.1:1")
    assert result.exit_code == 1
    assert result.stderr == (
        "vtrack: no server answers at 127.0.0.1:1: start one with `vtrack serve`, or say where it"
        " is with --server HOST:PORT or OTEL_VTRACK_SERVER\n"
    )


def test_times_are_how_long_ago_or_iso():
    read = connection.Moment().convert
    now = datetime.now(timezone.utc)
    for text, age in (("1h", 3600), ("7d", 604_800), ("90s", 90), ("1.5m", 90)):
        assert abs(now - read(text, None, None) - timedelta(seconds=age)) < timedelta(seconds=5)
    noon = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
    for text in ("2026-01-31T12:00:00Z", "2026-01-31T13:00:00+01:00", "2026-01-31T12:00"):
        assert read(text, None, None) == noon


@pytest.mark.parametrize(
    "words",
    [
        ("traces", "histogram", "--width"),
        ("flags", "exposure", "ui", "--width"),
        ("flags", "changes", "--window"),
    ],
)
def test_no_length_at_all_is_not_taken_for_the_default(run, words):
    for nothing in ("0s", "0ms", "0.0h"):
        result = run(*words, nothing, server="127.0.0.1:1")
        assert result.exit_code == 2
        assert f"'{words[-1]}': '{nothing}' is too short" in result.stderr


def test_every_option_of_every_command_is_explained():
    context = click.Context(group)
    for name in ("versions", "compare", "traces"):
        command = group.get_command(context, name)
        commands = command.commands.values() if isinstance(command, click.Group) else [command]
        for each in commands:
            assert each.help
            for option in each.params:
                if isinstance(option, click.Option):
                    assert option.help, f"{name} {option.name}"
