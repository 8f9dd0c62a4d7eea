"""What is told of a trace in MLflow's words: metadata, usage and cost, the same from both paths."""

import json

import pytest

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import facts, prices, trace_search, traces
from otel_vtrack.query.tokens import NO_MODEL, Cost, TokenUsage

GIT = {
    "vcs__ref__head__revision": "abc",
    "vcs__ref__head__name": "main",
    "vcs__repository__url__full": "https://example.test/shop",
    "vtrack__vcs__dirty": True,
}


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(
        '[[price]]\nmodel = "big"\ninput = 10\noutput = 20\ncache_read = 1\ncache_creation = 12\n'
        '[[price]]\nmodel = "small"\nprovider = "house"\ninput = 1\noutput = 2\n'
    )
    return prices.load(path)


@pytest.fixture
def told(store, trace_id, table):
    """Return a trace's info, which loading and searching must tell alike."""

    def tell(number=1):
        [got] = traces.get(store, trace_id(number), table).infos
        found = trace_search.search(store, table=table).traces
        assert [each for each in found if each.trace_id == trace_id(number)] == [got]
        return got

    return tell


def test_metadata_is_what_telemetry_tells_of_the_root(send, told):
    send(
        {"attributes": {"session.id": "s", "user.id": "u", "mlflow.source.type": "NOTEBOOK"}},
        {"parent": 1, "attributes": {"vcs.ref.head.revision": "of another"}},
        process__command="app.py",
        **GIT,
    )
    assert told().trace_metadata == {
        "mlflow.source.git.branch": "main",
        "mlflow.source.git.commit": "abc",
        "mlflow.source.git.dirty": "true",
        "mlflow.source.git.repoURL": "https://example.test/shop",
        "mlflow.source.name": "app.py",
        "mlflow.source.type": "NOTEBOOK",
        "mlflow.trace.session": "s",
        "mlflow.trace.user": "u",
    }


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, None),
        ({"source_name": "app.py"}, "LOCAL"),
        ({"source_name": "app.py", "pipeline_run": "7"}, "JOB"),
        ({"source_name": "a.ipynb", "source_type": "NOTEBOOK"}, "NOTEBOOK"),
        ({"pipeline_run": "7", "source_type": "PROJECT"}, "PROJECT"),
    ],
)
def test_the_type_of_the_source_is_what_was_told_else_what_follows(told, expected):
    found = facts.metadata(facts.Facts(**told), session_id="", user_id="", usage=None, cost=None)
    assert found.get("mlflow.source.type") == expected


def test_what_is_unknown_is_left_out(send, told):
    send({"name": ""})
    assert told().trace_metadata == {}
    assert told().tags == {}
    assert (told().token_usage, told().cost) == (None, None)


def test_values_are_cut_as_mlflow_does(send, told):
    send({"name": "n" * 5_000, "attributes": {"session.id": "s" * 300, "user.id": "ü" * 300}})
    metadata = told().trace_metadata
    assert metadata["mlflow.trace.session"] == "s" * facts.LONGEST_METADATA
    assert metadata["mlflow.trace.user"] == "ü" * 250
    assert told().tags == {"mlflow.traceName": "n" * facts.LONGEST_TAG}
    assert told().session_id == "s" * 300


def llm(model, taken, given, **more):
    return {
        "gen_ai.request.model": model,
        "gen_ai.usage.input_tokens": taken,
        "gen_ai.usage.output_tokens": given,
    } | {name.replace("__", "."): value for name, value in more.items()}


def test_usage_and_cost_are_told_as_mlflow_writes_them(send, told):
    send(
        {},
        {"parent": 1, "attributes": llm("big", 100_000, 10_000)},
        {"parent": 1, "attributes": llm("small", 1_000_000, 0, gen_ai__system="house")},
    )
    info = told()
    assert info.token_usage == TokenUsage(1_100_000, 10_000, 1_110_000)
    assert info.cost == Cost(2.0, 0.2, 2.2)
    assert json.loads(info.trace_metadata["mlflow.trace.tokenUsage"]) == {
        "input_tokens": 1_100_000,
        "output_tokens": 10_000,
        "total_tokens": 1_110_000,
    }
    assert json.loads(info.trace_metadata["mlflow.trace.cost"]) == {
        "input_cost": 2.0,
        "output_cost": 0.2,
        "total_cost": 2.2,
    }


def test_tokens_of_a_cache_are_told_and_priced_and_searched_for(store, send, told):
    cache = {
        "gen_ai.usage.cache_read.input_tokens": 500_000,
        "gen_ai.usage.cache_creation.input_tokens": 100_000,
    }
    send({"attributes": llm("big", 1_000_000, 0) | cache})
    info = told()
    assert info.token_usage == TokenUsage(1_000_000, 0, 1_000_000, 500_000, 100_000)
    assert info.cost.total_cost == pytest.approx(4.0 + 0.5 + 1.2)
    usage = json.loads(info.trace_metadata["mlflow.trace.tokenUsage"])
    assert usage["cache_read_input_tokens"] == 500_000
    assert usage["cache_creation_input_tokens"] == 100_000
    written = info.trace_metadata["mlflow.trace.tokenUsage"]
    clause = f"metadata.`mlflow.trace.tokenUsage` = '{written}'"
    assert trace_search.count(store, text=clause) == 1


def test_an_unknown_model_makes_the_cost_unknown_and_never_nothing(send, told):
    send(
        {},
        {"parent": 1, "attributes": llm("big", 100_000, 0)},
        {"parent": 1, "attributes": llm("secret-1", 7, 7)},
        {"parent": 1, "attributes": {"gen_ai.usage.input_tokens": 7}},
    )
    info = told()
    assert info.cost == Cost(1.0, 0.0, 1.0, (NO_MODEL, "secret-1"))
    assert "mlflow.trace.cost" not in info.trace_metadata


def test_a_cost_that_telemetry_tells_wins_over_the_table(send, told):
    told_cost = '{"input_cost": 1.5, "output_cost": 0.5, "total_cost": 2.0}'
    send({"attributes": llm("big", 1, 1) | {"mlflow.llm.cost": told_cost}})
    send({"trace": 2, "attributes": {"gen_ai.usage.cost": 0.125}})
    assert told().cost == Cost(1.5, 0.5, 2.0)
    assert told(2).cost == Cost(0.0, 0.0, 0.125)
    assert told(2).token_usage is None


def test_an_agents_total_is_priced_by_the_models_below_it(send, told):
    send(
        {"attributes": llm("", 300_000, 0)},
        {"parent": 1, "name": "step"},
        {"parent": 2, "attributes": llm("big", 100_000, 0)},
        {"parent": 2, "attributes": llm("small", 200_000, 0, gen_ai__system="house")},
    )
    assert told().cost.total_cost == pytest.approx(1.2)
    assert told().token_usage.input_tokens == 300_000


def test_a_retry_and_a_late_root_change_no_cost(send, told):
    call = {"span": 2, "parent": 1, "attributes": llm("big", 100_000, 0)}
    for _ in range(3):
        send(call)
    assert told().cost == Cost(1.0, 0.0, 1.0)
    send({"span": 1, "attributes": llm("", 100_000, 0)})
    assert told().cost == Cost(1.0, 0.0, 1.0)
    assert told().token_usage.input_tokens == 100_000


def test_of_a_trace_over_services_each_has_its_own_cost(store, send, trace_id, table):
    send({"span": 1, "attributes": llm("big", 100_000, 0)}, service__name="web")
    send(
        {"span": 2, "parent": 1, "kind": 2, "attributes": llm("big", 200_000, 0)},
        service__name="api",
    )
    infos = traces.get(store, trace_id(), table).infos
    assert {info.experiment: info.cost.total_cost for info in infos} == {"web": 1.0, "api": 2.0}


def test_all_metadata_that_is_shown_is_found_by_it_or_refused(store, send, told, table):
    """By the very text; what is longer than is shown, by what is shown of it."""
    long = "é" * 300
    send(
        {"attributes": {"session.id": long, "user.id": long, **llm("big", taken=7, given=9)}},
        {"parent": 1, "attributes": {"session.id": "of another"}},
        process__command_line=long,
        **{name: str(value) + long for name, value in GIT.items()},
    )
    # One in two inserts, whose root says nothing of a session; one of a pipeline; one that says.
    send({"trace": 2, "span": 2, "parent": 1, "attributes": {"session.id": "s"}})
    send({"trace": 2, "span": 1}, cicd__pipeline__run__id="7", process__executable__path="/bin/a")
    said = {"mlflow.source.type": "NOTEBOOK", "mlflow.source.name": "a.ipynb", "user.id": "u"}
    send({"trace": 3, "attributes": said}, process__command="not it", **GIT)
    shown = {number: told(number).trace_metadata for number in (1, 2, 3)}
    names = set().union(*shown.values())
    assert len(names) == 10
    for name in names:
        key = f"metadata.`{name}`"
        if name == "mlflow.trace.cost":
            for asked in ({"text": f"{key} = '1'"}, {"text": f"has({key})"}, {"order_by": [key]}):
                with pytest.raises(InvalidArgument, match="for display only: query the cost"):
                    trace_search.search(store, **asked, table=table)
            continue
        for value in {each[name] for each in shown.values() if name in each}:
            wanted = {number for number, each in shown.items() if each.get(name) == value}
            there = {number for number, each in shown.items() if name in each}
            for text, found in (
                (f"{key} = '{value}'", wanted),
                (f"{key} != '{value}'", there - wanted),
                (f"{key} IS NULL", {1, 2, 3} - there),
            ):
                page = trace_search.search(store, text=text, table=table).traces
                assert {int(each.trace_id, 16) for each in page} == found, text
        assert trace_search.search(store, order_by=[key], table=table).traces
