import numpy as np
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from scipy import stats

from otel_vtrack.analysis import differences, statistics
from otel_vtrack.analysis.compare import Question
from otel_vtrack.analysis.differences import Change, Kind
from otel_vtrack.errors import InvalidArgument, NotFound

AB = Question(baseline_version="A", candidate_version="B")


@pytest.fixture
def traces(send):
    """Write traces of a version: of each its root as a dict."""
    number = 0

    def write(version, roots, **resource):
        nonlocal number
        spans = []
        for root in roots:
            number += 1
            spans.append({"trace": number, "span": number, "at": number, **root})
        send(*spans, service__version=version, **resource)

    return write


def found(store, *kinds, question=AB):
    listed = differences.find(store, question, kinds)
    return {(each.kind, each.key, each.value): each for each in listed.differences}


def event(name, **attributes):
    made = Span.Event(name=name)
    for key, value in attributes.items():
        made.attributes.add(key=key).value.string_value = value
    return made


def failed(message):
    return {"status": 2, "message": message}


def test_a_new_error_is_told_whatever_numbers_are_in_its_message(store, traces):
    traces("A", [{}] * 200)
    traces("B", [{}] * 150 + [failed(f"order {n} of 7f3a-{n} is gone") for n in range(50)])
    [each] = found(store, Kind.ERROR_MESSAGE).values()
    assert (each.value, each.change) == ("order # of # is gone", Change.NEW)
    assert (each.baseline_count, each.candidate_count) == (0, 50)
    assert each.difference.value == pytest.approx(0.25)
    assert each.difference.lower < 0.25 < each.difference.upper
    assert 201 + 150 <= int(each.example_trace_id, 16) <= 400


def test_what_is_in_the_baseline_alone_has_vanished(store, traces):
    traces("A", [{"name": "old"}] * 40 + [{"name": "same"}] * 60)
    traces("B", [{"name": "same"}] * 100)
    told = found(store, Kind.SPAN_NAME)
    assert told[Kind.SPAN_NAME, "", "old"].change is Change.VANISHED
    assert int(told[Kind.SPAN_NAME, "", "old"].example_trace_id, 16) <= 40
    # All of B's traces are named so, and three of five of A's.
    assert told[Kind.SPAN_NAME, "", "same"].change is Change.MORE


def test_models_attributes_and_exceptions_are_told_each_once(store, traces):
    raised = event("exception", **{"exception.type": "KeyError"})

    def made(model, tier, events=()):
        return {
            "attributes": {"gen_ai.request.model": model, "tier": tier},
            "events": events,
        }

    traces("A", [made("small", "free")] * 100)
    traces("B", [made("large", "paid", [raised])] * 100)
    told = found(store)
    assert {(kind, key, value, each.change) for (kind, key, value), each in told.items()} == {
        (Kind.MODEL, "", "small", Change.VANISHED),
        (Kind.MODEL, "", "large", Change.NEW),
        (Kind.ATTRIBUTE, "tier", "free", Change.VANISHED),
        (Kind.ATTRIBUTE, "tier", "paid", Change.NEW),
        (Kind.EXCEPTION_TYPE, "", "KeyError", Change.NEW),
    }


def test_flags_are_told_however_they_came(store, traces):
    told_by = event(
        "feature_flag.evaluation",
        **{"feature_flag.key": "cache", "feature_flag.result.variant": "on"},
    )
    traces("A", [{"attributes": {"vtrack.flag.search": "old"}}] * 50)
    traces("B", [{"events": [told_by]}] * 50)
    told = found(store)
    assert {key: each.change for (_, key, _), each in told.items()} == {
        "search": Change.VANISHED,
        "cache": Change.NEW,
    }
    assert {kind for kind, _, _ in told} == {Kind.FLAG}


def test_versions_that_do_not_differ_are_not_told_apart(store, traces):
    draw = np.random.default_rng(4)
    for version in "AB":
        traces(
            version,
            [
                {"name": f"step {draw.integers(20)}", "attributes": {"n": int(draw.integers(30))}}
                for _ in range(300)
            ],
        )
    listed = differences.find(store, AB)
    assert listed.differences == ()
    assert listed.tested_count == 50
    assert (listed.baseline_trace_count, listed.candidate_trace_count) == (300, 300)


def test_identities_and_what_says_the_version_are_no_differences(store, traces):
    for version in "AB":
        traces(
            version,
            [
                {"attributes": {"request.id": f"{version}{n}", "service.version": version}}
                for n in range(60)
            ],
        )
    assert found(store) == {}


def test_spans_sent_twice_count_once(store, traces, send):
    traces("A", [{}] * 30)
    traces("B", [{"name": "new"}] * 30)
    once = differences.find(store, AB)
    send(*[{"trace": n, "span": n, "at": n} for n in range(1, 31)], service__version="A")
    assert differences.find(store, AB) == once


def test_the_environment_and_the_time_restrict(store, traces):
    traces("A", [{"name": "x"}] * 30, deployment__environment__name="staging")
    traces("B", [{"name": "y"}] * 30, deployment__environment__name="staging")
    staging = Question(baseline_version="A", candidate_version="B", environment="staging")
    assert len(found(store, question=staging)) == 2
    with pytest.raises(NotFound):
        found(
            store,
            question=Question(
                baseline_version="A", candidate_version="B", environment="production"
            ),
        )
    with pytest.raises(NotFound, match="has no spans here"):
        found(
            store,
            question=Question(baseline_version="A", candidate_version="B", start_time_until_ns=1),
        )


def test_a_sample_is_said_to_be_one(store, traces):
    traces("A", [{"name": "old"}] * 400)
    traces("B", [{"name": "new"}] * 400)
    listed = differences.find(
        store, Question(baseline_version="A", candidate_version="B", max_traces=200)
    )
    assert listed.sampled_one_in == 4
    assert 100 < listed.baseline_trace_count + listed.candidate_trace_count < 300
    assert {each.value for each in listed.differences} == {"old", "new"}


def test_one_version_cannot_be_told_from_itself(store):
    with pytest.raises(InvalidArgument):
        differences.find(store, Question(baseline_version="A", candidate_version="A"))


@pytest.mark.parametrize(
    ("successes", "trials", "others", "other_trials"),
    [
        (0, 40, 6, 35),
        (3, 10, 1, 400),
        (2, 5000, 0, 9000),
        (10, 10, 7, 10),
        (0, 5, 0, 9),
        (4, 4, 9, 9),
    ],
)
def test_few_are_tested_as_by_scipy(successes, trials, others, other_trials):
    table = [[successes, trials - successes], [others, other_trials - others]]
    assert statistics.two_proportions(successes, trials, others, other_trials) == pytest.approx(
        stats.fisher_exact(table).pvalue, rel=1e-6
    )


@pytest.mark.parametrize(
    ("successes", "trials", "others", "other_trials"),
    [(40, 400, 60, 350), (500, 5000, 1000, 9000), (30, 60, 30, 60)],
)
def test_many_are_tested_as_by_scipy(successes, trials, others, other_trials):
    table = [[successes, trials - successes], [others, other_trials - others]]
    chi2 = stats.chi2_contingency(table, correction=False)
    assert statistics.two_proportions(successes, trials, others, other_trials) == pytest.approx(
        chi2.pvalue
    )


def test_versions_without_a_difference_are_told_apart_in_one_of_twenty_at_most():
    """50 things each, by simulation: as many as that, and three standard errors."""
    draw = np.random.default_rng(5)
    rounds = 600
    alarms = 0
    for _ in range(rounds):
        shares = draw.uniform(0.005, 0.5, 50)
        counts = draw.binomial(300, shares), draw.binomial(200, shares)
        raw = [
            statistics.two_proportions(int(a), 300, int(b), 200)
            for a, b in zip(*counts, strict=True)
        ]
        alarms += min(statistics.adjusted(raw)) < 0.05
    assert alarms / rounds < 0.05 + 3 * (0.05 * 0.95 / rounds) ** 0.5
