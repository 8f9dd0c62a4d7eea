import pytest

from otel_vtrack.errors import InvalidArgument, NotFound
from otel_vtrack.query import experiments
from otel_vtrack.record import experiments as changes

START = 1_790_000_000_000_000_000


def keys(store, **where):
    return [found.experiment for found in experiments.search(store, **where).experiments]


def test_an_experiment_appears_with_its_first_span(store, send):
    assert keys(store) == []
    send({"at": 5}, service__name="web", service__namespace="shop")
    send({"trace": 2, "at": 1}, service__name="api", vtrack__experiment="shop/web")
    [found] = experiments.search(store).experiments
    assert found == experiments.Experiment(
        experiment="shop/web",
        name="shop/web",
        tags={},
        archived=False,
        create_time_ns=START + 1_000_000,
        last_update_time_ns=None,
        first_seen_ns=START + 1_000_000,
        last_seen_ns=START + 5_000_000,
        trace_count=2,
        service_names=["api", "web"],
    )


def test_an_experiment_appears_with_its_first_log_record(store, send_logs):
    send_logs({"at": 7}, service__name="web")
    [found] = experiments.search(store).experiments
    assert (found.experiment, found.service_names, found.trace_count) == ("web", ["web"], 0)
    assert (found.create_time_ns, found.first_seen_ns) == (START + 7_000_000, None)


def test_spans_and_log_records_make_one_experiment(store, send, send_logs):
    send({"at": 1}, service__name="web")
    send_logs({}, service__name="web")
    [found] = experiments.search(store).experiments
    assert (found.create_time_ns, found.first_seen_ns) == (START, START + 1_000_000)
    assert found.service_names == ["web"]


def test_pages_are_by_name_and_join_up(store, send):
    for number, key in enumerate("edcba"):
        send({"trace": number + 1}, service__name=key)
    changes.update(store, "a", name="z")
    seen, token = [], ""
    while True:
        page = experiments.search(store, page_size=2, page_token=token)
        seen += [found.name for found in page.experiments]
        token = page.next_page_token
        if not token:
            break
        # What comes before the page does not move it.
        changes.create(store, f"0{len(seen)}")
    assert seen == ["b", "c", "d", "e", "z"]


def test_a_token_fits_its_question_only(store, send):
    for number, key in enumerate("ab"):
        send({"trace": number + 1}, service__name=key)
    token = experiments.search(store, page_size=1).next_page_token
    with pytest.raises(InvalidArgument, match="page_token"):
        experiments.search(store, name_contains="a", page_token=token)


def test_names_are_searched_whatever_their_case(store):
    for key in ("Élan", "checkout", "x"):
        changes.create(store, key)
    changes.update(store, "x", name="the Checkout of old")
    assert keys(store, name_contains="CHECK") == ["checkout", "x"]
    assert keys(store, name_contains="élan") == ["Élan"]
    assert keys(store, name_contains="%") == []


def test_archived_ones_are_listed_only_when_asked_for(store, send):
    changes.create(store, "a")
    changes.create(store, "b")
    changes.update(store, "a", archived=True)
    assert keys(store) == ["b"]
    assert keys(store, include_archived=True) == ["a", "b"]
    send({}, service__name="a")
    assert experiments.get(store, "a").trace_count == 1
    assert keys(store) == ["b"]


def test_what_is_not_there_is_not_found(store):
    for text in ("nothing", ""):
        with pytest.raises(NotFound):
            experiments.get(store, text)
