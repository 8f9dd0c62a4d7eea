import pytest

from otel_vtrack.errors import InvalidArgument, NotFound
from otel_vtrack.query import deployments
from otel_vtrack.record import deployments as changes
from otel_vtrack.record import experiments

START = 1_790_000_000_000_000_000


@pytest.fixture
def some(store, send):
    """Three that spans tell of and two declared, one of them both."""
    for number, environment in ((1, "production"), (2, "staging"), (3, "production")):
        send(
            {"trace": number, "at": number},
            service__version=str(number),
            deployment__id=f"d{number}",
            deployment__environment__name=environment,
        )
    send({"trace": 9, "at": 9}, service__name="api")
    for id_, version, at in (("d3", "3b", 0), ("d4", "4", 4)):
        changes.create(
            store,
            service_name="shop",
            environment="production",
            deployment_id=id_,
            version=version,
            start_time_ns=START + at * 1_000_000,
        )


def ids(store, **where):
    return [each.deployment_id for each in deployments.search(store, **where).deployments]


def test_declared_and_told_ones_come_as_one_the_last_started_first(store, some):
    assert ids(store) == ["d4", "d2", "d1", "d3"]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"environment": "staging"}, ["d2"]),
        ({"service_name": "api"}, []),
        ({"version": "3b"}, ["d3"]),
        ({"version": "3"}, []),
        ({"version": "1"}, ["d1"]),
        ({"experiment": "shop", "environment": "production"}, ["d4", "d1", "d3"]),
        ({"experiment": "nowhere"}, []),
    ],
)
def test_every_filter_restricts(store, some, where, expected):
    assert ids(store, **where) == expected


def test_an_experiment_is_found_by_either_name(store, some):
    experiments.update(store, "shop", name="Shop")
    assert ids(store, experiment="Shop") == ids(store, experiment="shop") == ids(store)


def test_pages_join_up(store, some, send):
    seen, token = [], ""
    while True:
        page = deployments.search(store, page_size=1, page_token=token)
        seen += [each.deployment_id for each in page.deployments]
        token = page.next_page_token
        if not token:
            break
        send({"trace": 50 + len(seen), "at": 60}, deployment__id=f"new {len(seen)}")
    assert seen == ["d4", "d2", "d1", "d3"]


def test_deployments_that_started_at_once_are_not_lost_between_pages(store):
    for number in range(5):
        changes.create(
            store,
            service_name="shop",
            environment="production",
            deployment_id=str(number),
            version="1",
            start_time_ns=START,
        )
    seen, token = [], ""
    while True:
        page = deployments.search(store, page_size=2, page_token=token)
        seen += [each.deployment_id for each in page.deployments]
        token = page.next_page_token
        if not token:
            break
    assert seen == ["4", "3", "2", "1", "0"]


def test_a_token_fits_its_question_only(store, some):
    token = deployments.search(store, page_size=1).next_page_token
    with pytest.raises(InvalidArgument, match="page_token"):
        deployments.search(store, version="1", page_token=token)


def test_what_is_not_there_is_not_found(store, some):
    with pytest.raises(NotFound, match="d9"):
        deployments.get(store, "d9")
    with pytest.raises(NotFound):
        deployments.get(store, "d1", environment="staging")


def test_a_deployment_has_what_spans_tell_of_it(store, some):
    found = deployments.get(store, "d3")
    assert (found.version, found.declared, found.start_time_ns) == ("3b", True, START)
    assert (found.first_seen_ns, found.last_seen_ns) == (START + 3_000_000,) * 2
    assert found.trace_count == 1
