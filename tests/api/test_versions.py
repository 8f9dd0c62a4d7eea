"""VersionService over gRPC."""

import grpc
import pytest


@pytest.fixture
def shipped(send):
    for number, (version, environment) in enumerate([("1", "production"), ("2", "staging")]):
        send(
            *({"trace": number * 100 + n, "span": n, "at": n, "ms": n} for n in range(1, 31)),
            {"trace": number * 100 + 1, "parent": 1, "span": 99, "status": 2},
            service__version=version,
            deployment__environment__name=environment,
            vcs__ref__head__revision="abc",
        )


def refusal(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code().name, caught.value.details()


def test_a_version_comes_with_all_that_is_known_of_it(client, shipped):
    found = client.get_version("1")
    assert (found.experiment, found.service_name, found.git_commit) == ("shop", "shop", "abc")
    assert (found.trace_count, found.error_trace_count) == (30, 1)
    [place] = found.places
    assert (place.environment, place.trace_count, place.error_trace_count) == ("production", 30, 1)
    assert place.last_seen == found.last_seen
    assert not found.HasField("usage")


def test_versions_are_searched_in_the_search_language(client, shipped):
    found = client.search_versions("error_trace_count > 0", order_by=["version"])
    assert [version.version for version in found] == ["1", "2"]
    found = list(client.search_versions(environment="staging"))
    assert [version.version for version in found] == ["2"]
    code, says = refusal(lambda: list(client.search_versions("verson = '1'")))
    assert code == "INVALID_ARGUMENT"
    assert "version" in says


def test_a_note_and_an_alias_are_set_and_the_alias_deleted(client, shipped):
    assert client.update_version("1", note="the old one").note == "the old one"
    assert client.update_version("1").note == "the old one"
    assert client.update_version("1", note="").note == ""
    assert list(client.set_version_alias("2", "champion").aliases) == ["champion"]
    assert client.get_version("@champion").version == "2"
    client.delete_version_alias("champion")
    client.delete_version_alias("champion")
    assert refusal(lambda: client.get_version("@champion"))[0] == "NOT_FOUND"
    assert refusal(lambda: client.set_version_alias("2", "@x"))[0] == "INVALID_ARGUMENT"


def test_versions_are_compared_by_their_aliases(client, shipped):
    client.set_version_alias("1", "stable")
    client.set_version_alias("2", "candidate")
    found = client.compare_versions("@stable", "@candidate")
    assert (found.baseline.version, found.candidate.version) == ("1", "2")
    code, says = refusal(lambda: client.compare_versions("@nobody", "2"))
    assert (code, "alias nobody" in says) == ("NOT_FOUND", True)


def test_usage_is_added_up_where_asked_for(client, send):
    usage = {"gen_ai.usage.input_tokens": 1_000_000, "gen_ai.usage.output_tokens": 10}
    send(
        {"trace": 1, "span": 1, "attributes": {"gen_ai.request.model": "gpt-4o"} | usage},
        {"trace": 2, "span": 2, "attributes": {"gen_ai.request.model": "house-1"} | usage},
        service__version="1",
    )
    used = client.get_version("1", include_usage=True).usage
    assert (used.tokens.input_tokens, used.tokens.output_tokens) == (2_000_000, 20)
    assert used.cost.input_cost > 0
    assert list(used.cost.unknown_models) == ["house-1"]
    assert used.sampled_one_in == 1
    [found] = client.search_versions(include_usage=True)
    assert found.usage == used


def test_a_trace_comes_with_its_cost_metadata_and_tags(client, send, trace_id):
    usage = {"gen_ai.usage.input_tokens": 1_000, "gen_ai.usage.cache_read.input_tokens": 500}
    send(
        {"name": "ask", "attributes": {"gen_ai.request.model": "gpt-4o"} | usage},
        vcs__ref__head__revision="abc",
    )
    [info], _ = client.get_trace(trace_id())
    assert (info.token_usage.input_tokens, info.token_usage.cache_read_input_tokens) == (1000, 500)
    assert info.cost.total_cost > 0
    assert list(info.cost.unknown_models) == []
    assert info.trace_metadata["mlflow.source.git.commit"] == "abc"
    assert "mlflow.trace.cost" in info.trace_metadata
    assert info.tags == {"app_version": "abc", "mlflow.traceName": "ask"}
    [found] = client.search_traces()
    assert found == info


def test_a_tag_is_set_and_deleted(client, send, trace_id):
    send({"name": "ask", "attributes": {"mlflow.traceTag.team": "blue"}})
    client.set_trace_tag(trace_id(), "team", "green")
    [info], _ = client.get_trace(trace_id())
    assert info.tags["team"] == "green"
    client.delete_trace_tag(f"tr-{trace_id()}", "team")
    [info], _ = client.get_trace(trace_id())
    assert info.tags == {"mlflow.traceName": "ask"}
    for call, code in (
        (lambda: client.set_trace_tag(trace_id(9), "a", "b"), "NOT_FOUND"),
        (lambda: client.set_trace_tag(trace_id(), "", "b"), "INVALID_ARGUMENT"),
        (lambda: client.delete_trace_tag("x", "a"), "INVALID_ARGUMENT"),
    ):
        assert refusal(call)[0] == code
