import threading

import pytest

from otel_vtrack.errors import AlreadyExists, InvalidArgument, NotFound
from otel_vtrack.query import experiments as query
from otel_vtrack.record import experiments
from otel_vtrack.record.clock import now_ns
from otel_vtrack.store.client import Store


def names(store, **where):
    return [found.name for found in query.search(store, **where).experiments]


def in_parallel(*calls):
    """Call them at the same time; what they raise is returned, None where nothing."""
    raised = [None] * len(calls)
    barrier = threading.Barrier(len(calls))

    def run(place, call):
        barrier.wait(10)
        try:
            call()
        except Exception as error:  # noqa: BLE001
            raised[place] = error

    threads = [threading.Thread(target=run, args=each) for each in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return raised


def test_the_clock_never_stands_still_whoever_asks():
    times = []
    in_parallel(*[lambda: times.extend([now_ns() for _ in range(1_000)])] * 8)
    assert len(set(times)) == 8_000


def test_an_experiment_is_created_ahead_of_its_telemetry(store, send):
    made = experiments.create(store, "shop", {"team": "web"})
    assert (made.experiment, made.name, made.tags) == ("shop", "shop", {"team": "web"})
    assert (made.trace_count, made.first_seen_ns, made.service_names) == (0, None, [])
    assert made.create_time_ns == made.last_update_time_ns
    send({"at": 3})
    found = query.get(store, "shop")
    assert (found.trace_count, found.service_names) == (1, ["shop"])
    assert found.create_time_ns == made.create_time_ns != found.first_seen_ns


@pytest.mark.parametrize("name", ["", "x" * 251])
def test_names_have_a_length(store, name):
    with pytest.raises(InvalidArgument, match="250"):
        experiments.create(store, name)
    experiments.create(store, "a")
    with pytest.raises(InvalidArgument, match="250"):
        experiments.update(store, "a", name=name)


def test_a_name_is_taken_by_whatever_is_called_so(store, send):
    experiments.create(store, "made")
    send({}, service__name="seen")
    experiments.update(store, "made", name="called")
    for taken in ("made", "seen", "called"):
        with pytest.raises(AlreadyExists, match=taken):
            experiments.create(store, taken)
    for taken in ("made", "called"):
        with pytest.raises(AlreadyExists, match=taken):
            experiments.update(store, "seen", name=taken)


def test_an_experiment_is_found_by_both_of_its_names(store, send):
    send({}, service__name="svc-17")
    experiments.update(store, "svc-17", name="Checkout")
    for text in ("svc-17", "Checkout"):
        assert query.resolve(store, text) == "svc-17"
        found = query.get(store, text)
        assert (found.experiment, found.name, found.trace_count) == ("svc-17", "Checkout", 1)
    experiments.update(store, "Checkout", name="Till")
    with pytest.raises(NotFound, match="Checkout"):
        query.get(store, "Checkout")
    experiments.update(store, "Till", name="svc-17")
    assert query.resolve(store, "Till") == "Till"
    assert names(store) == ["svc-17"]


def test_what_nobody_renamed_is_itself(store):
    assert query.resolve(store, "anything") == "anything"
    assert query.resolve(store, "") == ""


def test_what_others_rename_is_noticed_when_it_is_no_longer_fresh(store, send, monkeypatch):
    send({}, service__name="a")
    assert query.resolve(store, "b") == "b"
    row = ["a", now_ns(), "b"]
    store.insert("experiment_changes", [row], ["experiment", "change_time", "name"])
    assert query.resolve(store, "b") == "b"
    assert query.resolve(store, "b", fresh=True) == "a"
    row = ["a", now_ns(), "c"]
    store.insert("experiment_changes", [row], ["experiment", "change_time", "name"])
    monkeypatch.setattr(query.time, "monotonic", lambda: float("inf"))
    assert query.resolve(store, "c") == "a"


def test_telemetry_that_brings_an_experiment_of_that_name_takes_the_name(store, send):
    send({}, service__name="a")
    experiments.update(store, "a", name="b")
    send({"trace": 2}, service__name="b")
    assert query.resolve(store, "b", fresh=True) == "b"
    assert [(e.experiment, e.name) for e in query.search(store).experiments] == [
        ("a", "a"),
        ("b", "b"),
    ]


def test_tags_and_archiving_change_one_by_one(store):
    experiments.create(store, "a", {"x": "1", "y": "1"})
    experiments.update(store, "a", set_tags={"x": "2", "z": ""})
    experiments.update(store, "a", delete_tags=["y", "never there"], archived=True)
    found = query.get(store, "a")
    assert (found.tags, found.archived) == ({"x": "2", "z": ""}, True)
    experiments.update(store, "a", set_tags={"y": "back"}, archived=False)
    found = query.get(store, "a")
    assert (found.tags, found.archived) == ({"x": "2", "y": "back", "z": ""}, False)


def test_an_update_of_nothing_changes_nothing(store):
    before = experiments.create(store, "a")
    assert experiments.update(store, "a", name="a") == before


@pytest.mark.parametrize(
    "change",
    [
        {"set_tags": {"": "x"}},
        {"set_tags": {"k" * 251: "x"}},
        {"set_tags": {"k": "x" * 4_097}},
        {"delete_tags": [""]},
        {"set_tags": {"k": "x"}, "delete_tags": ["k"]},
    ],
)
def test_tags_that_cannot_be_are_refused(store, change):
    experiments.create(store, "a")
    with pytest.raises(InvalidArgument):
        experiments.update(store, "a", **change)
    assert query.get(store, "a").tags == {}


def test_what_is_not_there_cannot_be_changed(store):
    for text in ("nothing", ""):
        with pytest.raises(NotFound):
            experiments.update(store, text, archived=True)


def test_writers_of_different_things_do_not_lose_each_others_change(store):
    experiments.create(store, "a")
    raised = in_parallel(
        *(
            lambda n=n: experiments.update(store, "a", set_tags={f"tag {n}": str(n)})
            for n in range(6)
        ),
        lambda: experiments.update(store, "a", archived=True),
        lambda: experiments.update(store, "a", name="b"),
    )
    assert raised == [None] * 8
    found = query.get(store, "b")
    assert found.tags == {f"tag {n}": str(n) for n in range(6)}
    assert (found.archived, found.experiment) == (True, "a")


def test_of_many_that_want_a_name_one_gets_it(store):
    for key in "abcd":
        experiments.create(store, key)
    raised = in_parallel(
        *(lambda key=key: experiments.update(store, key, name="best") for key in "abcd")
    )
    assert sorted(type(error).__name__ for error in raised if error) == ["AlreadyExists"] * 3
    [winner] = [key for key, error in zip("abcd", raised, strict=True) if error is None]
    assert query.resolve(store, "best") == winner
    assert sorted(names(store)) == sorted(["best", *set("abcd") - {winner}])
    # Nobody waits for the name to become free.
    experiments.update(store, "best", name="other")
    assert sorted(names(store)) == sorted(["other", *set("abcd") - {winner}])


def test_of_two_processes_that_claim_a_name_the_first_has_it(store, send):
    send({}, service__name="a")
    send({"trace": 2}, service__name="b")
    rows = [["b", now_ns(), "same"], ["a", now_ns(), "same"]]
    store.insert("experiment_changes", rows, ["experiment", "change_time", "name"])
    assert [(e.experiment, e.name) for e in query.search(store).experiments] == [
        ("a", "a"),
        ("b", "same"),
    ]


def test_all_of_it_survives_a_restart(store, send):
    send({}, service__name="a")
    experiments.update(store, "a", name="b", set_tags={"k": "v"}, archived=True)
    before = query.get(store, "b")
    store.close()
    with Store(f"chdb://{store.folder}") as again:
        assert query.get(again, "b") == before
