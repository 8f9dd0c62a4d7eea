import pytest

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import versions

START = 1_790_000_000_000_000_000


def test_versions_are_listed_the_one_seen_last_first(store, send):
    send(
        {"trace": 1, "at": 1, "attributes": {"session.id": "s"}},
        service__version="1",
        vcs__ref__head__revision="abc",
        vcs__ref__head__name="main",
        deployment__environment__name="production",
    )
    send({"trace": 2, "at": 5}, {"trace": 3, "at": 2}, service__version="2")
    newest, oldest = versions.search(store).versions
    assert (newest.version, newest.trace_count, newest.session_count) == ("2", 2, 0)
    assert (newest.first_seen_ns, newest.last_seen_ns) == (START + 2_000_000, START + 5_000_000)
    assert (oldest.version, oldest.environment) == ("1", "production")
    assert (oldest.git_commit, oldest.git_branch, oldest.session_count) == ("abc", "main", 1)


def test_a_retried_span_is_counted_once(store, send):
    for _ in range(3):
        send({}, service__version="1")
    assert [found.trace_count for found in versions.search(store).versions] == [1]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"experiment": "group/web"}, ["1"]),
        ({"service_name": "api"}, ["2"]),
        ({"environment": "staging"}, ["2"]),
        ({"environment": "nowhere"}, []),
        ({}, ["2", "1"]),
    ],
)
def test_every_filter_restricts(store, send, where, expected):
    send({"at": 1}, service__name="web", service__namespace="group", service__version="1")
    send(
        {"trace": 2, "at": 2},
        service__name="api",
        service__version="2",
        deployment__environment__name="staging",
    )
    assert [found.version for found in versions.search(store, **where).versions] == expected


def test_pages_join_up(store, send):
    for number in range(7):
        send({"trace": number + 1, "at": number // 2}, service__version=str(number))
    seen, token = [], ""
    while True:
        page = versions.search(store, page_size=2, page_token=token)
        seen += [found.version for found in page.versions]
        token = page.next_page_token
        if not token:
            break
    assert seen == ["6", "5", "4", "3", "2", "1", "0"]


def test_a_page_has_from_1_to_1000_versions(store):
    for size in (-1, 1001):
        with pytest.raises(InvalidArgument, match="page_size"):
            versions.search(store, page_size=size)


def test_a_page_token_of_another_question_is_refused(store, send):
    send({"trace": 1}, service__version="1")
    send({"trace": 2}, service__version="2")
    token = versions.search(store, page_size=1).next_page_token
    with pytest.raises(InvalidArgument, match="page_token"):
        versions.search(store, environment="x", page_token=token)
