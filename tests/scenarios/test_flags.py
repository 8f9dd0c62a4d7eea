"""A flag makes requests slower: it is the one that is named, and neither another nor a version."""

from datetime import timedelta

import pytest

from otel_vtrack.v1 import flags_pb2
from otel_vtrack.v1.analysis_pb2 import (
    VERDICT_NO_EVIDENCE,
    VERDICT_REGRESSED,
    VERDICT_UNSPECIFIED,
)

pytestmark = pytest.mark.slow

OLD = {"new": 0, "old": 1}
HALF = {"new": 0.5, "old": 0.5}
SLOWER = {"flag": "ranker=new", "slower": 1.4, "in": "rank"}


def flagged(name, *phases, effect):
    """Return a scenario whose phases, a day each, are (version, shares of the flag `ranker`).

    Another flag, `dark`, is on for half of the users all the time and does nothing.
    """
    made = [
        {
            "hours": [24 * day, 24 * day + 24],
            "traces": 1500,
            "versions": {version: 1},
            "flags": {"ranker": shares, "dark": {"on": 0.5, "off": 0.5}},
        }
        for day, (version, shares) in enumerate(phases)
    ]
    return {"name": name, "services": {"shop": {"phases": made}}, "effects": [effect]}


def test_a_flag_that_is_turned_on_without_a_deployment_is_found_with_what_it_did(play):
    played = play(flagged("flip", ("2.4.0", OLD), ("2.4.0", HALF), effect=SLOWER))
    told = played.timeline()
    assert [(each.version, each.took_over) for each in told.periods] == [("2.4.0", True)]
    assert not told.rollbacks

    asked = {"experiment": "flip", "environment": "production", "window": timedelta(hours=12)}
    [change] = played.client.list_flag_changes(**asked).changes
    assert (change.flag, change.version) == ("ranker", "")
    assert change.kind == flags_pb2.FLAG_CHANGE_KIND_VARIANTS
    assert played.hours(change.time) == pytest.approx(24, abs=0.5)
    new = next(shift for shift in change.shifts if shift.variant == "new")
    assert new.before.value == 0
    assert 0.3 < new.after.value < 0.6
    worse = [each.metric for each in change.metrics if each.verdict == VERDICT_REGRESSED]
    assert worse == ["latency"]
    said = played.vtrack("flags", "changes", "--window", "12h")
    assert said.startswith("ranker changed in shop in production at ")
    for words in (", without a deployment: ", "; latency rose: ", "no evidence that error rate"):
        assert words in said
    around = ("flags", "changes", "--at", played.at(24.5).isoformat(), "--window", "3h")
    assert played.vtrack(*around).startswith("ranker changed in shop in production at ")

    for flag, worse in (("ranker", [("new", "latency")]), ("dark", [])):
        found = played.client.compare_variants(
            flag, "2.4.0", experiment="flip", **played.between(24, 48)
        )
        said = [(each.variant, each.metric, each.verdict) for each in found.metrics]
        assert [each[:2] for each in said if each[2] == VERDICT_REGRESSED] == worse
        assert {each[2] for each in said if each[:2] not in worse} <= {
            VERDICT_UNSPECIFIED,
            VERDICT_NO_EVIDENCE,
        }


def test_a_release_that_is_slower_only_under_a_flag_says_so(play):
    effect = SLOWER | {"version": "2.4.0"}
    played = play(flagged("behind", ("2.3.1", HALF), ("2.4.0", HALF), effect=effect))
    assert played.verdicts(played.compare("2.3.1", "2.4.0")) == {"latency": "regressed"}
    found = played.client.list_interactions("2.3.1", "2.4.0", experiment="behind").interactions
    depends = [each for each in found if each.verdict == flags_pb2.INTERACTION_VERDICT_DEPENDS]
    [latency] = depends
    assert (latency.flag, latency.variant, latency.metric) == ("ranker", "new", "latency")
    assert latency.change.difference.lower > 40
    assert latency.reference_change.difference.lower < 0 < latency.reference_change.difference.upper
    no_evidence = flags_pb2.INTERACTION_VERDICT_NO_EVIDENCE
    assert {each.flag for each in found if each.verdict == no_evidence} == {"ranker", "dark"}
    said = played.vtrack("flags", "interactions", "2.3.1", "2.4.0")
    assert "2.4.0 is slower than 2.3.1 where ranker = new: " in said
    assert "dark" not in said.splitlines()[0]
    # The flag was as much on before, so that its exposure is not what changed.
    assert not played.client.list_flag_changes(experiment="behind", version="2.4.0").changes
