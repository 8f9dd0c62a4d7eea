"""Versions go from development through staging to production."""

import pytest

from otel_vtrack.v1.timeline_pb2 import PROGRESSION_STATE_COMPLETE, PROGRESSION_STATE_STUCK

pytestmark = pytest.mark.slow

# 2.4.0 goes all the way; 2.5.0 stays in staging, where it fails, and 2.6.0 goes past it.
PHASES = (
    ("development", 0, 6, 200, "2.4.0"),
    ("staging", 6, 24, 500, "2.4.0"),
    ("production", 0, 24, 1000, "2.3.1"),
    ("production", 24, 72, 2000, "2.4.0"),
    ("development", 30, 34, 200, "2.5.0"),
    ("staging", 34, 56, 500, "2.5.0"),
    ("staging", 56, 72, 500, "2.6.0"),
    ("production", 72, 96, 1000, "2.6.0"),
)


@pytest.fixture(scope="module")
def promotion(play):
    phases = [
        {"environment": where, "hours": [begin, end], "traces": traces, "versions": {version: 1}}
        for where, begin, end, traces, version in PHASES
    ]
    fails = {"fails": 0.2, "message": "no such column: price_{n}", "type": "OperationalError"}
    effect = {"version": "2.5.0", "environment": "staging"} | fails
    return play(
        {"name": "promotion", "services": {"shop": {"phases": phases}}, "effects": [effect]}
    )


def test_the_way_of_each_version_is_told_with_when_and_how_it_did(promotion):
    found = promotion.client.list_progressions(experiment="promotion")
    [order] = found.orders
    assert (list(order.environments), order.derived) == (
        ["development", "staging", "production"],
        True,
    )
    went = {each.version: each for each in found.progressions}
    steps = {
        name: [
            (step.environment, round(promotion.hours(step.entry_time)), step.trace_count)
            for step in each.steps
        ]
        for name, each in went.items()
    }
    assert steps["2.4.0"] == [
        ("development", 0, 200),
        ("staging", 6, 500),
        ("production", 24, 2000),
    ]
    assert steps["2.6.0"] == [("staging", 56, 500), ("production", 72, 1000)]
    assert went["2.4.0"].state == went["2.6.0"].state == PROGRESSION_STATE_COMPLETE
    assert list(went["2.6.0"].skipped_environments) == ["development"]
    rates = [step.error_rate for step in went["2.4.0"].steps]
    assert all(rate.lower < 0.02 for rate in rates)


def test_a_version_that_never_left_staging_is_stuck_there_and_it_shows_why(promotion):
    found = promotion.client.list_progressions(experiment="promotion", version="2.5.0")
    [stuck] = found.progressions
    assert (stuck.state, stuck.overtaken_by) == (PROGRESSION_STATE_STUCK, "2.6.0")
    development, staging = stuck.steps
    assert development.error_rate.upper < 0.1 < staging.error_rate.lower
    assert promotion.hours(staging.entry_time) == pytest.approx(34, abs=0.3)
    assert staging.live_duration.ToTimedelta().total_seconds() == pytest.approx(22 * 3600, rel=0.02)
    said = promotion.vtrack("versions", "progression")
    assert "2.5.0 is stuck in staging: 2.6.0 went past it." in said


def test_what_failed_in_staging_is_not_said_of_production(promotion):
    places = {(each.environment, each.version) for each in promotion.timeline().periods}
    assert ("production", "2.5.0") not in places
    assert not promotion.timeline().rollbacks
    found = promotion.compare("2.4.0", "2.5.0", environment="staging")
    assert promotion.verdicts(found) == {"error_rate": "regressed"}
    found = promotion.compare("2.4.0", "2.6.0", environment="production")
    assert promotion.verdicts(found) == {}
