"""The server watches releases by itself: it warns of what got worse, and else is quiet."""

import time

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server_options():
    return ("--watch-interval-seconds", "0.3")


def released(name, *effects):
    """Return a scenario in which 2.4.0 replaces 2.3.1 after a day, some hours ago."""
    phases = [
        {"hours": [0, 24], "traces": 2000, "versions": {"2.3.1": 1}},
        {"hours": [24, 44], "traces": 2000, "versions": {"2.4.0": 1}},
    ]
    return {"name": name, "services": {"shop": {"phases": phases}}, "effects": effects}


def watched(played):
    """Wait until the server has looked at all there is, and return what it watches."""
    periods = played.timeline().periods
    there = sum(each.trace_count for each in periods if each.version == "2.4.0")
    deadline = time.monotonic() + 30
    while True:
        found = played.client.list_watched_deployments(experiment=played.experiment).deployments
        if found and found[0].candidate_count == there:
            [only] = found
            return only
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def test_of_a_release_that_grows_slower_the_server_warns_by_itself(play):
    effect = {"version": "2.4.0", "hours": [24, 44], "grows": 1.6}
    played = play(released("watched growing", effect), until_now=True)
    found = watched(played)
    assert (found.version, found.baseline_version) == ("2.4.0", "2.3.1")
    assert {each.metric: each.alarmed for each in found.metrics} == {
        "error_rate": False,
        "latency": True,
        "slow_rate": True,
    }
    events = played.client.list_watch_events(experiment=played.experiment).fetch()
    assert sorted(each.metric for each in events) == ["latency", "slow_rate"]
    latency = next(each for each in events if each.metric == "latency")
    assert (latency.service_name, latency.environment) == ("shop", "production")
    assert (latency.version, latency.baseline_version) == ("2.4.0", "2.3.1")
    assert played.hours(latency.deployment_start_time) == pytest.approx(24, abs=0.2)
    assert latency.summary.startswith(
        "shop 2.4.0 in production: traces take longer than with 2.3.1: "
    )
    assert latency.difference.lower > latency.threshold == 0.05
    rows = [line for line in played.vtrack("watch", "events").splitlines() if "evt_" in line]
    assert len(rows) == 2
    assert all("2.4.0" in row and "2.3.1" in row for row in rows)
    assert "worse: latency, slow_rate" in played.vtrack("watch", "status")


def test_of_a_clean_release_the_server_says_nothing(play):
    played = play(released("watched clean"), until_now=True)
    found = watched(played)
    assert (found.version, found.baseline_version) == ("2.4.0", "2.3.1")
    # There is enough to say something: the bounds of latency are within a tenth of it.
    difference = next(each.difference for each in found.metrics if each.metric == "latency")
    assert -0.1 < difference.lower < 0 < difference.upper < 0.1
    assert not any(each.alarmed for each in found.metrics)
    assert not played.client.list_watch_events(experiment=played.experiment).fetch()
    said = played.vtrack("watch", "events")
    assert said == "No matching deployment was found to make anything worse.\n"
    assert "worse" not in played.vtrack("watch", "status").lower()


def test_of_a_canary_that_fails_often_the_server_warns_though_few_saw_it(play):
    phases = [
        {"hours": [0, 24], "traces": 3000, "versions": {"2.3.1": 1}},
        {"hours": [24, 44], "traces": 1200, "versions": {"2.3.1": 0.9, "2.4.0": 0.1}},
    ]
    bad = {"version": "2.4.0", "fails": 0.15, "message": "no such column", "type": "OSError"}
    played = play(
        {"name": "watched canary", "services": {"shop": {"phases": phases}}, "effects": [bad]},
        until_now=True,
    )
    found = watched(played)
    assert 80 < found.candidate_count < 180
    assert "error_rate" in {each.metric for each in found.metrics if each.alarmed}


def test_of_a_release_that_got_the_slow_routes_the_server_says_nothing(play):
    routes = {
        "/search": {"share": 1, "ms": 120, "errors": 0.005},
        "/report": {"share": 1, "ms": 600, "errors": 0.05},
    }
    phases = [
        {"hours": hours, "traces": 2000, "versions": {version: 1}, "mix": {version: mix}}
        for hours, version, mix in (
            ([0, 24], "2.3.1", {"/search": 0.8, "/report": 0.2}),
            ([24, 44], "2.4.0", {"/search": 0.3, "/report": 0.7}),
        )
    ]
    shop = {"routes": routes, "phases": phases}
    effect = {"version": "2.4.0", "slower": 0.9}
    played = play(
        {"name": "watched mix", "services": {"shop": shop}, "effects": [effect]}, until_now=True
    )
    found = watched(played)
    latency = next(each for each in found.metrics if each.metric == "latency")
    # Taken together it is twice as slow; on each route it is faster.
    assert -0.15 < latency.difference.value < -0.05
    assert not any(each.alarmed for each in found.metrics)
    assert not played.client.list_watch_events(experiment=played.experiment).fetch()


def test_of_a_rollback_that_makes_it_worse_the_server_warns_and_of_what_it_undid_it_does_not(play):
    phases = [
        {"hours": [hour, until], "traces": 1500, "versions": {version: 1}}
        for hour, until, version in ((0, 24, "2.3.1"), (24, 34, "2.4.0"), (34, 44, "2.3.1"))
    ]
    # What the earlier version needs is there no more.
    bad = {
        "version": "2.3.1",
        "hours": [34, 44],
        "fails": 0.2,
        "message": "gone",
        "type": "OSError",
    }
    scenario = {"name": "watched rollback", "services": {"shop": {"phases": phases}}}
    played = play(scenario | {"effects": [bad]}, until_now=True)
    deadline = time.monotonic() + 30
    while True:
        asked = played.client.list_watched_deployments(experiment=played.experiment)
        found = {each.deployment_kind: each for each in asked.deployments}
        if len(found) == 2 and any(each.alarmed for each in found["return"].metrics):
            break
        assert time.monotonic() < deadline, asked
        time.sleep(0.1)
    back, new = found["return"], found["new_version"]
    assert (back.version, back.baseline_version) == ("2.3.1", "2.4.0")
    assert (new.version, new.baseline_version) == ("2.4.0", "2.3.1")
    assert played.hours(back.start_time) == pytest.approx(34, abs=0.2)
    assert not any(each.alarmed for each in new.metrics)
    [event] = played.client.list_watch_events(experiment=played.experiment).fetch()
    assert (event.metric, event.deployment_kind) == ("error_rate", "return")
    assert event.summary.startswith(
        "shop 2.3.1 back in production: more traces fail than with 2.4.0: "
    )
