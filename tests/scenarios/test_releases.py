"""One version replaces another: nothing is wrong, or what is, is told and nothing else."""

import pytest

POLICY = "metrics: {latency: , error_rate: , tokens: }\n"


def released(name, *effects, seed=0, traces=1500):
    """Return a scenario in which 2.4.0 replaces 2.3.1 after a day."""
    phases = [
        {"hours": [0, 24], "traces": traces, "versions": {"2.3.1": 1}},
        {"hours": [24, 48], "traces": traces, "versions": {"2.4.0": 1}},
    ]
    services = {"shop": {"phases": phases}}
    return {"name": name, "seed": seed, "services": services, "effects": effects}


@pytest.fixture
def policy(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return str(path)


@pytest.mark.slow
def test_of_a_clean_release_nothing_is_said_against(play, policy):
    played = play(released("clean"))
    found = played.compare("2.3.1", "2.4.0")
    assert played.verdicts(found) == {}
    # Not for want of data: a change of a tenth would have shown.
    change = found["latency"].figures[0].change
    assert -0.1 < change.lower < 0 < change.upper < 0.1
    assert played.differences("2.3.1", "2.4.0") == {}
    said = played.vtrack("compare", "2.3.1", "2.4.0")
    assert said.startswith("no evidence that latency differs between 2.3.1 and 2.4.0")
    said = played.vtrack("differences", "2.3.1", "2.4.0")
    assert said.startswith("Nothing distinguishes 2.4.0 from 2.3.1 beyond chance.")
    played.vtrack("gate", "2.3.1", "2.4.0", "--policy", policy)

    told = played.timeline()
    before, after = told.periods
    assert (before.version, before.took_over, before.trace_count) == ("2.3.1", True, 1500)
    assert (after.version, after.took_over, after.trace_count) == ("2.4.0", True, 1500)
    assert played.hours(before.end_time) == pytest.approx(24, abs=0.2)
    assert played.hours(after.main_from) == pytest.approx(24, abs=0.2)
    assert not after.HasField("end_time")
    assert not told.rollbacks
    assert "Nothing was rolled back." in played.vtrack("deployments", "timeline")


@pytest.mark.slow
def test_a_slower_release_is_called_slower_by_as_much_and_nothing_else(play, policy):
    played = play(released("step", {"version": "2.4.0", "slower": 1.3}))
    found = played.compare("2.3.1", "2.4.0")
    assert played.verdicts(found) == {"latency": "regressed"}
    change = found["latency"].figures[0].change
    assert change.lower < 0.3 < change.upper
    assert played.differences("2.3.1", "2.4.0") == {}
    said = played.vtrack("compare", "2.3.1", "2.4.0", "--environment", "production")
    assert said.startswith("2.4.0 is slower than 2.3.1 in production: p50 ")
    said = played.vtrack("gate", "2.3.1", "2.4.0", "--policy", policy, code=3)
    assert "latency: worse by 5 % or more" in said
    assert said.count("worse by") == 1


@pytest.mark.slow
def test_a_release_that_grows_slower_by_the_hour_is_found_once_it_shows(play):
    effect = {"version": "2.4.0", "hours": [24, 48], "grows": 1.6}
    played = play(released("growing", effect, traces=2000, seed=1))
    found = {
        until: played.compare("2.3.1", "2.4.0", **played.between(0, until))
        for until in (26, 30, 36, 42, 48)
    }
    latency = [played.verdicts(each).get("latency") for each in found.values()]
    # After two hours it is 3 % slower, by 170 traces; who looked then could not have known.
    assert latency[0] is None
    assert latency[-3:] == ["regressed"] * 3
    changes = [each["latency"].figures[0].change.value for each in found.values()]
    assert changes[1:] == sorted(changes[1:])
    assert played.verdicts(found[48]) == {"latency": "regressed"}
    assert played.differences("2.3.1", "2.4.0") == {}


@pytest.mark.slow
def test_errors_on_one_route_are_told_by_their_message_with_an_example(play):
    failing = {"fails": 0.25, "message": "card service answered {n}", "type": "CardError"}
    played = play(released("spike", {"version": "2.4.0", "route": "/pay"} | failing, seed=1))
    found = played.compare("2.3.1", "2.4.0")
    assert played.verdicts(found) == {"error_rate": "regressed"}
    differences = played.differences("2.3.1", "2.4.0")
    assert differences.keys() == {
        ("new", "error_message", "card service answered #"),
        ("new", "exception_type", "CardError"),
        ("more", "attribute", "http.response.status_code=500"),
        ("less", "attribute", "http.response.status_code=200"),
    }
    message = differences["new", "error_message", "card service answered #"]
    trace = played.client.get_trace(message.example_trace_id)
    root = next(span for span in trace.spans if not span.parent_span_id)
    assert root.name == "POST /pay"
    said = played.vtrack("differences", "2.3.1", "2.4.0", "--kind", "error_message")
    assert "card service answered #" in said
    assert message.example_trace_id in said
    assert played.by_route("2.3.1", "2.4.0") == {
        "POST /pay": {"error_rate": "regressed"},
        "POST /chat": {},
        "POST /search": {},
    }


@pytest.mark.slow
def test_longer_answers_are_one_difference_and_not_as_many_as_they_have_lengths(play):
    played = play(released("long", {"version": "2.4.0", "longer": 1.3}))
    differences = played.differences("2.3.1", "2.4.0")
    assert differences.keys() == {("more", "number", "gen_ai.usage.output_tokens=")}
    change = differences["more", "number", "gen_ai.usage.output_tokens="].averages
    assert change.relative_difference.lower < 0.3 < change.relative_difference.upper
    said = played.vtrack("differences", "2.3.1", "2.4.0")
    assert "vtrack compare 2.3.1 2.4.0 --metric attribute:gen_ai.usage.output_tokens" in said


@pytest.mark.slow
def test_one_route_that_became_slow_is_found_behind_a_median_that_did_not(play):
    played = play(released("one route", {"version": "2.4.0", "route": "/pay", "slower": 3}))
    found = played.compare("2.3.1", "2.4.0")
    assert played.verdicts(found) == {"latency": "regressed"}
    tail = found["latency"].tail
    assert tail.candidate.lower > tail.baseline.upper
    assert played.by_route("2.3.1", "2.4.0") == {
        "POST /pay": {"latency": "regressed"},
        "POST /chat": {},
        "POST /search": {},
    }
    said = played.vtrack("compare", "2.3.1", "2.4.0", "--metric", "latency", "--group-by", "route")
    assert "2.4.0 is slower than 2.3.1 where route is POST /pay: p50 " in said
    assert (
        "no evidence that latency differs between 2.3.1 and 2.4.0 where route is POST /chat" in said
    )


@pytest.mark.slow
def test_a_version_that_got_the_slow_routes_is_not_blamed_for_them(play):
    routes = {
        "/search": {"share": 1, "ms": 120, "errors": 0.005},
        "/report": {"share": 1, "ms": 600, "errors": 0.05},
    }
    phases = [
        {
            "hours": [24 * day, 24 * day + 24],
            "traces": 2000,
            "versions": {version: 1},
            "mix": {version: {"/search": searches, "/report": 1 - searches}},
        }
        for day, (version, searches) in enumerate((("2.3.1", 0.8), ("2.4.0", 0.3)))
    ]
    shop = {"routes": routes, "phases": phases}
    # It is faster everywhere, and fails as often as before on either route.
    effect = {"version": "2.4.0", "slower": 0.9}
    played = play({"name": "simpson", "services": {"shop": shop}, "effects": [effect]})
    found = played.compare("2.3.1", "2.4.0")
    assert played.verdicts(found) == {"latency": "improved"}
    latency, errors = found["latency"], found["error_rate"]
    # Whoever looks at all of it together sees it slower and failing twice as often.
    assert latency.figures[0].difference.lower > 100
    assert errors.figures[0].difference.lower > 0
    for each in (latency, errors):
        assert each.stratified.decides
        assert list(each.stratified.dimensions) == ["route"]
    assert latency.stratified.change.lower < -0.1 < latency.stratified.change.upper
    assert errors.stratified.difference.lower < 0 < errors.stratified.difference.upper
    assert played.by_route("2.3.1", "2.4.0") == {
        "POST /search": {"latency": "improved"},
        "POST /report": {"latency": "improved"},
    }
    said = played.vtrack("compare", "2.3.1", "2.4.0")
    assert said.startswith("2.4.0 is faster than 2.3.1: -")
    assert "the versions saw a different mix of routes, so compared route by route" in said
    assert "The versions saw a different mix of routes: POST /search " in said
    together = played.compare("2.3.1", "2.4.0", stratify_by=["none"])
    assert played.verdicts(together) == {"latency": "regressed", "error_rate": "regressed"}
