"""The tags of a trace, as loading and searching give them."""

import pytest

from otel_vtrack.query import tags, trace_search, traces
from otel_vtrack.record import trace_tags
from otel_vtrack.store import sql


@pytest.fixture
def shown(store, trace_id):
    def tell(number=1):
        found = [each.tags for each in traces.get(store, trace_id(number)).infos]
        searched = trace_search.search(store).traces
        assert [each.tags for each in searched if each.trace_id == trace_id(number)] == found
        return found[0]

    return tell


def test_tags_say_what_the_root_is(send, shown):
    send(
        {"name": "POST /chat"},
        service__version="2.4.0",
        deployment__environment__name="production",
        deployment__id="d7",
    )
    assert shown() == {
        "app_version": "2.4.0",
        "deployment_id": "d7",
        "environment": "production",
        "mlflow.traceName": "POST /chat",
    }


def test_what_the_root_says_wins_and_what_people_say_wins_over_that(store, send, shown, trace_id):
    send(
        {"name": "POST /chat", "attributes": {"mlflow.traceTag.mlflow.traceName": "chat"}},
        service__version="1",
    )
    assert shown() == {"app_version": "1", "mlflow.traceName": "chat"}
    trace_tags.set_tag(store, trace_id(), "mlflow.traceName", "by hand")
    trace_tags.set_tag(store, trace_id(), "app_version", "1.0")
    assert shown() == {"app_version": "1.0", "mlflow.traceName": "by hand"}
    trace_tags.delete_tag(store, trace_id(), "app_version")
    assert shown() == {"mlflow.traceName": "by hand"}


def test_a_page_has_the_tags_of_each_of_its_traces(store, send, trace_id):
    for number in range(1, 6):
        send({"trace": number, "attributes": {"mlflow.traceTag.n": str(number)}})
    trace_tags.set_tag(store, trace_id(3), "by", "hand")
    found = {int(each.trace_id, 16): each.tags for each in trace_search.search(store).traces}
    assert {number: each["n"] for number, each in found.items()} == {
        number: str(number) for number in range(1, 6)
    }
    assert [number for number, each in found.items() if "by" in each] == [3]


def test_a_trace_over_services_has_its_tags_in_each(store, send, trace_id):
    send({"span": 1, "attributes": {"mlflow.traceTag.a": "b"}}, service__name="web")
    send({"span": 2, "parent": 1, "kind": 2}, service__name="api")
    assert [info.tags["a"] for info in traces.get(store, trace_id()).infos] == ["b", "b"]


def test_the_tags_of_a_trace_are_found_without_reading_the_rest(store):
    store.command(
        "INSERT INTO trace_tags (key, trace_id, value, changed_at)"
        " SELECT concat('vtrack.flag.', toString(number % 5)),"
        " toFixedString(reinterpretAsString(cityHash64(number)), 16), 'on', -1 FROM numbers(100000)"
    )
    [row] = store.select("SELECT lower(hex(trace_id)) AS id FROM trace_tags LIMIT 1")
    statement = sql.text("queries", "tags/of_traces").rstrip().removesuffix(";")
    one = sql.filled(statement, tags.OF_ONE)
    for asked, which in ((statement, "trace_ids"), (one, "trace_id")):
        plan = store.select(f"EXPLAIN ESTIMATE {asked}", {which: row["id"]})
        assert plan[0]["rows"] <= 4 * 256
    assert list(tags.of_traces(store, [row["id"]])) == [row["id"]]
