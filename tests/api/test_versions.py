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
