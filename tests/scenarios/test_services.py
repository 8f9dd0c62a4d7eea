"""Two services of one application, released at the same time: each has its own story."""

import pytest

pytestmark = pytest.mark.slow

# Both go live together, gradually and each by itself: for two hours all four pairs meet.
TOGETHER = {
    "gateway": {
        "routes": {"/buy": {"share": 1, "ms": 60}},
        "calls": "pricing",
        "phases": [
            {"hours": [0, 24], "traces": 1000, "versions": {"1.0": 1}},
            {"hours": [24, 26], "traces": 1200, "versions": {"1.0": 0.5, "1.1": 0.5}},
            {"hours": [26, 48], "traces": 1000, "versions": {"1.1": 1}},
        ],
    },
    "pricing": {
        "routes": {"/quote": {"share": 1, "ms": 100, "errors": 0}},
        "phases": [
            {"hours": [0, 24], "versions": {"5": 1}},
            {"hours": [24, 26], "versions": {"5": 0.5, "6": 0.5}},
            {"hours": [26, 48], "versions": {"6": 1}},
        ],
    },
}


@pytest.fixture(scope="module")
def together(play):
    slower = {"service": "pricing", "version": "6", "slower": 1.6}
    return play({"name": "together", "services": TOGETHER, "effects": [slower]})


def test_each_of_two_services_has_its_own_timeline(together):
    told = together.timeline()
    assert not told.rollbacks
    found = [(each.service_name, each.version, each.took_over) for each in told.periods]
    assert found == [
        ("gateway", "1.0", True),
        ("gateway", "1.1", True),
        ("pricing", "5", True),
        ("pricing", "6", True),
    ]
    for before, after in (told.periods[:2], told.periods[2:]):
        assert before.trace_count + after.trace_count == 3200
        assert together.hours(after.start_time) == pytest.approx(24, abs=0.1)
        assert together.hours(after.main_from) == pytest.approx(26, abs=0.2)
        assert together.hours(before.end_time) == pytest.approx(26, abs=0.2)


def test_a_version_released_beside_the_guilty_one_is_cleared_where_both_meet(together):
    # Over all, traces of 1.1 are slower, for most of them meet 6.
    over_all = together.compare("1.0", "1.1")
    assert together.verdicts(over_all)["latency"] == "regressed"
    # In the two hours in which each of them met 5 as often as 6 they are not.
    rolling = together.compare("1.0", "1.1", **together.between(24, 26))
    assert together.verdicts(rolling) == {}
    assert together.differences("1.0", "1.1") == {}
    assert together.differences("5", "6") == {}


def test_one_trace_goes_through_both_services(together):
    trace = together.client.search_traces(experiment="together", version="1.1").first()
    spans = together.client.get_trace(trace.trace_id).spans
    assert [span.name for span in spans if not span.parent_span_id] == ["POST /buy"]
    assert {span.name for span in spans} >= {"POST pricing", "POST /quote"}


def test_the_service_and_the_step_that_became_slow_are_named(together):
    steps = ["span_latency:query index", "span_latency:chat gpt-4o-mini"]
    found = together.compare("5", "6", service_name="pricing", metrics=["entry_latency", *steps])
    assert together.verdicts(found) == {
        "entry_latency": "regressed",
        "span_latency:query index": "regressed",
    }
    change = found["entry_latency"].deciding_change
    assert change.lower < 0.6 < change.upper
    # All that the gateway does itself takes as long as before; what it waits for does not.
    found = together.compare(
        "1.0", "1.1", service_name="gateway", metrics=[*steps, "span_latency:POST pricing"]
    )
    assert together.verdicts(found) == {"span_latency:POST pricing": "regressed"}
    said = together.vtrack("compare", "5", "6", "--metric", "entry_latency")
    assert said.startswith("6 responds more slowly than 5: p50 ")
