"""Versions side by side and one after another: what was live, and what was rolled back."""

import pytest

from otel_vtrack.v1.traces_pb2 import TRACE_STATE_ERROR

pytestmark = pytest.mark.slow

BAD = {
    "version": "2.4.0",
    "slower": 1.25,
    "fails": 0.12,
    "message": "no such column: price_{n}",
    "type": "OperationalError",
}


def shop(name, phases, *effects, seed=0, **service):
    """Return a scenario of one service, its phases as (from, until, traces, versions)."""
    made = [
        {"hours": [begin, end], "traces": traces, "versions": versions}
        for begin, end, traces, versions in phases
    ]
    services = {"shop": {"phases": made} | service}
    return {"name": name, "seed": seed, "services": services, "effects": effects}


def standing(told):
    """Return version, whether it took over and whether it is live of each period."""
    return [(each.version, each.took_over, not each.HasField("end_time")) for each in told.periods]


def test_a_bad_canary_is_seen_as_one_and_its_end_is_no_rollback(play):
    phases = (
        (0, 24, 1000, {"2.3.1": 1}),
        (24, 36, 3000, {"2.3.1": 0.9, "2.4.0": 0.1}),
        (36, 48, 1000, {"2.3.1": 1}),
    )
    played = play(shop("canary", phases, BAD, instances=2, seed=1))
    told = played.timeline()
    assert standing(told) == [("2.3.1", True, True), ("2.4.0", False, False)]
    assert not told.rollbacks
    stable, canary = told.periods
    assert canary.peak_share < 0.35
    assert played.hours(canary.start_time) == pytest.approx(24, abs=0.3)
    assert played.hours(canary.end_time) == pytest.approx(36, abs=0.3)
    assert played.hours(stable.main_from) == pytest.approx(0, abs=0.1)

    found = played.compare("2.3.1", "2.4.0", **played.between(24, 36))
    assert played.verdicts(found) == {
        "latency": "regressed",
        "error_rate": "regressed",
    }
    rate = found["error_rate"].figures[0].difference
    assert rate.lower < 0.12 < rate.upper
    new = {key for key in played.differences("2.3.1", "2.4.0") if key[0] == "new"}
    assert new == {
        ("new", "error_message", "no such column: price_#"),
        ("new", "exception_type", "OperationalError"),
    }
    shown = played.vtrack("deployments", "timeline")
    assert "canary" in shown
    assert "Nothing was rolled back." in shown


def test_blue_and_green_take_turns_and_nothing_is_rolled_back(play):
    phases = (
        (0, 24, 1000, {"1.0": 1}),
        (24, 27, 400, {"1.0": 0.5, "1.1": 0.5}),
        (27, 48, 1000, {"1.1": 1}),
        (48, 51, 400, {"1.1": 0.5, "1.2": 0.5}),
        (51, 72, 1000, {"1.2": 1}),
    )
    # The third release is on blue again: the place comes back, no version does.
    sides = {"1.0": "blue", "1.1": "green", "1.2": "blue"}
    played = play(shop("blue-green", phases, deployments=sides))
    told = played.timeline()
    assert standing(told) == [("1.0", True, False), ("1.1", True, False), ("1.2", True, True)]
    assert not told.rollbacks
    for each, (first, main, last) in zip(
        told.periods, ((0, 0, 27), (24, 27, 51), (48, 51, 72)), strict=True
    ):
        assert played.hours(each.start_time) == pytest.approx(first, abs=0.3)
        assert played.hours(each.main_from) == pytest.approx(main, abs=0.5)
        if each.HasField("end_time"):
            assert played.hours(each.end_time) == pytest.approx(last, abs=0.3)
    live = {
        each.deployment_id: each.version
        for each in played.client.search_deployments(experiment=played.experiment)
    }
    assert live == {"blue": "1.2", "green": "1.1"}
    for pair in (("1.0", "1.1"), ("1.1", "1.2")):
        assert played.verdicts(played.compare(*pair)) == {}
        assert played.differences(*pair) == {}


def test_a_rollback_says_what_it_cost_and_that_it_was_enough(play):
    phases = (
        (0, 24, 2500, {"2.3.1": 1}),
        (24, 29, 500, {"2.4.0": 1}),
        (29, 48, 2500, {"2.3.1": 1}),
    )
    played = play(shop("rollback", phases, BAD))
    told = played.timeline(service_name="shop", environment="production")
    assert standing(told) == [
        ("2.3.1", True, False),
        ("2.4.0", True, False),
        ("2.3.1", True, True),
    ]
    [found] = told.rollbacks
    assert (found.from_version, found.to_version) == ("2.4.0", "2.3.1")
    assert played.hours(found.time) == pytest.approx(29, abs=0.2)
    assert found.live_duration.ToTimedelta().total_seconds() == pytest.approx(5 * 3600, rel=0.05)
    assert not found.is_return
    assert not found.HasField("return_time")
    touched = played.client.search_traces(experiment=played.experiment, version="2.4.0").fetch()
    assert found.trace_count == len(touched) == 500
    assert found.error_count == sum(each.state == TRACE_STATE_ERROR for each in touched)
    assert found.error_count > 40
    assert found.user_count == len({each.user_id for each in touched})
    assert found.session_count == len({each.session_id for each in touched})
    assert played.recovery(found.error_rate) == "returned"
    assert played.recovery(found.latency) == "returned"
    assert found.error_rate.during.lower > found.error_rate.before.upper
    assert found.latency.during.lower > found.latency.before.upper

    said = played.vtrack("deployments", "timeline")
    assert "shop in production was rolled back from 2.4.0 to 2.3.1." in said
    assert "It had 500 traces" in said
    assert "Error rate returned" in said
    assert "Latency returned" in said


def test_a_rollback_for_what_was_not_the_versions_fault_is_not_enough(play):
    phases = (
        (0, 24, 2500, {"2.3.1": 1}),
        (24, 29, 500, {"2.4.0": 1}),
        (29, 48, 2500, {"2.3.1": 1}),
    )
    # What fails is not ours, and began an hour after the release.
    outage = {"fails": 0.5, "message": "card service answered {n}", "type": "CardError"}
    played = play(shop("outage", phases, {"hours": [25, 48], "route": "/pay"} | outage))
    [found] = played.timeline().rollbacks
    assert (found.from_version, found.to_version) == ("2.4.0", "2.3.1")
    assert played.recovery(found.error_rate) == "not_returned"
    assert played.recovery(found.latency) == "returned"
    assert found.error_rate.after.lower > found.error_rate.before.upper
    said = played.vtrack("deployments", "timeline")
    assert "Error rate did not return" in said
    assert "Latency returned" in said
    # Those who look at the errors of before and after find the reason in both versions.
    after = played.client.search_traces(
        experiment=played.experiment, version="2.3.1", state="error", **played.between(29, 48)
    )
    assert sum(each.name == "POST /pay" for each in after.fetch()) > 80


def test_a_rollback_that_is_undone_is_told_as_two(play):
    phases = (
        (0, 24, 1500, {"2.3.1": 1}),
        (24, 30, 500, {"2.4.0": 1}),
        (30, 36, 500, {"2.3.1": 1}),
        (36, 48, 1500, {"2.4.0": 1}),
    )
    played = play(shop("return", phases, seed=1))
    told = played.timeline()
    assert [each.version for each in told.periods] == ["2.3.1", "2.4.0", "2.3.1", "2.4.0"]
    first, second = told.rollbacks
    assert (first.from_version, first.to_version, first.is_return) == ("2.4.0", "2.3.1", False)
    assert (second.from_version, second.to_version, second.is_return) == ("2.3.1", "2.4.0", True)
    assert played.hours(first.time) == pytest.approx(30, abs=0.2)
    assert played.hours(first.return_time) == pytest.approx(36, abs=0.2)
    assert played.hours(second.time) == pytest.approx(36, abs=0.2)
    assert not second.HasField("return_time")
    said = played.vtrack("deployments", "timeline")
    assert "rolled back from 2.3.1 to 2.4.0, which undid a rollback." in said
    assert "2.4.0 came back at" in said
    # The first one was for nothing.
    found = played.compare("2.3.1", "2.4.0")
    assert played.verdicts(found) == {}
    assert played.differences("2.3.1", "2.4.0") == {}
