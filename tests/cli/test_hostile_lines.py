"""Whatever is written after `vtrack`: an exit code that is documented, and never a traceback."""

import re
import traceback
from collections import Counter

import click
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from otel_vtrack.cli.group import group
from otel_vtrack.client import Client

EXAMPLES = 12
# These run until they are told to stop, or open a store of their own.
LEFT_OUT = {("serve",), ("migrate",)}
# What says where the server is, waits, or goes on for ever.
OPTIONS_LEFT_OUT = {"server", "token_file", "ca_file", "wait", "follow"}
USUAL = {0, 1, 2}
CODES = {("gate",): USUAL | {3, 4}}
INSIDE = re.compile(
    r"Traceback|DB::|SELECT |WHERE |Code: \d|Exception\b|[a-z]Error\b|<class|<method|object at 0x"
    r"|NoneType|has no attribute|\.py\b|line \d+, in |otel_vtrack\.(?!v1)|StatusCode"
    r"|unexpected error|(?i:clickhouse|chdb)|Nullable|/site-packages/"
)

NUMBERS = ["0", "-1", "1", "1000", "1.5", "1e400", "nan", "inf", "9" * 30, "0x10", "\u0661", "1_0"]
TIMES = ["1h", "7d", "-1h", "0s", "250ms", "999999999999w", "99999999999999999999d", "2026-10-01"]
TIMES += ["2026-13-45", "2026-10-01T00:00:00Z", "9999-12-31T23:59:59+23:59", "now"]
TIMES += ["0001-01-01T00:00:00+23:59"]
PAIRS = ["=", "a=", "=b", "a=b", "a=b=c", "mlflow.artifactLocation=x", "a=" + "x" * 5_000]
WORDS = [*NUMBERS, *TIMES, *PAIRS, "", " ", "\n", "@", "@champion", "--json", "-", "--", "é", "🦜"]
WORDS += ["\udcff", "latency", "latency:less", "latency:sideways", "latency:less:0.1", "latency::"]
WORDS += ["latency:less:nan", "assessment:", "attribute:n", "{}", "[", '{"a": 1}', "true", "NaN"]
WORDS += ["'", "\\", "%", "`", "shop", "1.0", "2.0", "production", "\x1b[31m", "[red]", "ui"]
WORDS += [f"{1:032x}", "tr-1", "a-1", "d-1", "name DESC", "name SIDEWAYS", "tags.*"]
FILES = ["folder", "bytes", "empty", "object.json", "lines.jsonl", "policy.yaml", "nul.yaml"]
FILES += ["missing", "/dev/null", "/nowhere/x/y", "", "a" * 300, "~", "-"]
FILTERS = ["", "name = 'ask'", "nam = 'ask'", "name =", "(", "duration > 1ms", "tag.x IS NULL"]
FILTERS += ["trace_count > 1", "value > 0.5", "a" * 10_001, "name RLIKE '('", "cost > 0", "'"]
BY_TYPE = {"time": TIMES, "duration": TIMES, "integer range": NUMBERS, "float": NUMBERS}
BY_TYPE |= {"KEY=VALUE": PAIRS, "path": FILES}
GOOD = {
    "version": ["1.0", "@champion"],
    "baseline": ["1.0"],
    "candidate": ["2.0"],
    "trace_id": [f"{1:032x}", f"tr-{2:032x}"],
    "trace_ids": [f"{3:032x}"],
    "experiment": ["shop"],
    "service_name": ["shop"],
    "environment": ["production"],
    "flag": ["ui"],
    "alias": ["champion"],
    "assessment_id": ["a-1"],
    "assessment_name": ["relevance"],
    "deployment_id": ["d-1"],
    "filter_": FILTERS,
    "paths": FILES,
    "output": FILES,
}


def leaves(command, words=()):
    if not isinstance(command, click.Group):
        return [(words, command)] if words not in LEFT_OUT else []
    context = click.Context(command)
    return [
        leaf
        for name in command.list_commands(context)
        for leaf in leaves(command.get_command(context, name), (*words, name))
    ]


COMMANDS = dict(leaves(group))


def values(parameter):
    """Mostly what a command takes there, as otherwise it stops at the first word."""
    any_word = st.one_of(
        st.sampled_from(WORDS), st.text(st.characters(exclude_categories=()), max_size=6)
    )
    right = GOOD.get(parameter.name, BY_TYPE.get(parameter.type.name, []))
    if isinstance(parameter.type, click.Choice):
        right = list(parameter.type.choices)
    if not right:
        return any_word
    return st.one_of(st.sampled_from(right), st.sampled_from(right), any_word)


def lines(words, command):
    """Words after `vtrack`: a command's, with any options and any arguments."""
    options = []
    arguments = []
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            most = 2 if parameter.nargs < 0 else 1
            given_most = st.lists(values(parameter), min_size=1, max_size=most)
            arguments.append(st.one_of(given_most, given_most, given_most, st.just([])))
        elif parameter.name not in OPTIONS_LEFT_OUT:
            name = st.sampled_from([*parameter.opts, *parameter.secondary_opts])
            options.append(
                name.map(lambda it: [it])
                if parameter.is_flag
                else st.tuples(name, values(parameter)).map(list)
            )
    some = st.lists(st.one_of(options), max_size=3) if options else st.just([])
    return st.tuples(some, *arguments).map(
        lambda drawn: [*words, *(word for one in (*drawn[0], *drawn[1:]) for word in one)]
    )


@pytest.fixture(scope="module")
def vtrack(vtrack_on, make_spans, tmp_path_factory):
    """Run a line against a server with something in it, in a folder with files of all kinds."""
    folder = tmp_path_factory.mktemp("lines")
    served = vtrack_on(folder / "store")
    for version in (1, 2):
        said = {"session.id": "s", "vtrack.flag.ui": f"v{version}", "n": 5}
        served.export(
            make_spans(
                *(
                    {"trace": number, "span": number, "name": "ask", "attributes": said}
                    for number in range(20 * version, 20 * version + 20)
                ),
                {"trace": version, "name": "ask", "ms": version, "attributes": said},
                service__version=f"{version}.0",
                deployment__environment__name="production",
            )
        )
    here = folder / "here"
    (here / "folder").mkdir(parents=True)
    (here / "bytes").write_bytes(bytes(range(256)))
    (here / "nul.yaml").write_bytes(b"metrics: [\x00")
    for name, text in {
        "empty": "",
        "object.json": '{"a": 1}',
        "lines.jsonl": '{"type": "span"}\n',
        "policy.yaml": "metrics: {latency: {}}\n",
    }.items():
        (here / name).write_text(text)

    codes = Counter()

    def run(words):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(here)
            patch.setenv("HOME", str(here))
            patch.setenv("OTEL_VTRACK_SERVER", served.grpc)
            done = CliRunner().invoke(group, words, input="", prog_name="vtrack")
        codes[done.exit_code] += 1
        return done

    with Client(served.grpc, timeout=60) as client:
        client.set_version_alias("1.0", "champion")
        client.create_assessment(f"{1:032x}", "relevance", 1, assessment_id="a-1")
        client.create_deployment("shop", "production", "1.0", deployment_id="d-1")
    yield run
    assert served.stop() == 0
    assert "Traceback" not in served.log
    if codes.total() >= EXAMPLES * len(COMMANDS):
        # Were all of them misused, nothing would have been tried.
        assert codes[0] > codes.total() / 4, codes


@pytest.mark.slow
@pytest.mark.parametrize("words", COMMANDS, ids="-".join)
def test_no_line_ends_in_a_traceback_or_an_undocumented_code(vtrack, words):
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(line=lines(words, COMMANDS[words]))
    def ends_well(line):
        done = vtrack(line)
        note(f"vtrack {line}\n-> {done.exit_code} {done.stderr[-1_000:]}")
        if done.exception and not isinstance(done.exception, SystemExit):
            pytest.fail("".join(traceback.format_exception(done.exception))[-1_500:])
        assert done.exit_code in CODES.get(words, USUAL)
        if done.exit_code in {1, 2}:
            # Of a report that says what is wrong, the rest is on stdout.
            assert re.match(r"vtrack: .|Usage: vtrack |Error: ", done.stderr), done.output[:500]
        if found := INSIDE.search(done.stderr):
            pytest.fail(f"it tells of its inside ({found[0]!r}): {done.stderr[-500:]}")

    ends_well()
