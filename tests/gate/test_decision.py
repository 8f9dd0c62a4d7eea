import pytest

from otel_vtrack.gate import decision, policy
from otel_vtrack.v1 import analysis_pb2 as pb

VERDICTS = {
    "better": pb.VERDICT_IMPROVED,
    "worse": pb.VERDICT_REGRESSED,
    "none": pb.VERDICT_NO_EVIDENCE,
    "few": pb.VERDICT_NOT_ENOUGH_DATA,
    "odd": pb.VERDICT_UNSPECIFIED,
}


def compared(metric, verdict, value, *rest):
    lower, upper, count = (*rest, 50)[:3]
    estimate = pb.Estimate(value=value, lower=lower, upper=upper)
    figure = pb.FigureComparison(
        figure=decision.FIGURES[metric], difference=estimate, change=estimate
    )
    return pb.MetricComparison(
        metric=decision.METRICS[metric],
        verdict=VERDICTS[verdict],
        baseline_count=1000,
        candidate_count=count,
        figures=[figure],
        adjusted_p_value=0.01,
    )


def decided(rules, *metrics):
    return decision.decide(policy.parse(f"metrics: {rules}"), pb.Comparison(metrics=metrics))


@pytest.mark.parametrize(
    ("rules", "metric", "outcome", "failed"),
    [
        ("{latency: }", ("latency", "worse", 0.2, 0.1, 0.3), "regressed", True),
        ("{latency: }", ("latency", "worse", 0.05, 0.01, 0.1), "regressed", True),
        ("{latency: }", ("latency", "worse", 0.04, 0.01, 0.06), "no_evidence", False),
        ("{latency: }", ("latency", "worse", 0.03, 0.02, 0.04), "passed", False),
        ("{latency: }", ("latency", "worse", -0.01, -0.1, 0.1), "no_evidence", False),
        ("{latency: }", ("latency", "none", 0.2, -0.1, 0.5), "no_evidence", False),
        ("{latency: }", ("latency", "none", 0.0, -0.04, 0.04), "passed", False),
        ("{latency: }", ("latency", "none", 0.0, None, None), "no_evidence", False),
        ("{latency: }", ("latency", "better", -0.3, -0.4, -0.2), "passed", False),
        (
            "{latency: {direction: more}}",
            ("latency", "better", -0.3, -0.4, -0.2),
            "regressed",
            True,
        ),
        ("{latency: {direction: more}}", ("latency", "worse", 0.3, 0.2, 0.4), "passed", False),
        ("{error_rate: }", ("error_rate", "worse", 0.03 - 0.02, 0.001, 0.02), "regressed", True),
        ("{error_rate: }", ("error_rate", "worse", 0.009, 0.001, 0.02), "no_evidence", False),
        (
            "{latency: {on_no_evidence: fail}}",
            ("latency", "none", 0.0, -0.1, 0.1),
            "no_evidence",
            True,
        ),
        ("{latency: {on_no_evidence: fail}}", ("latency", "none", 0.0, 0.0, 0.05), "passed", False),
        ("{tokens: }", ("tokens", "few", 0.9, 0.8, 1.0, 19), "not_enough_data", True),
        ("{tokens: }", ("tokens", "odd", 0.9, 0.8, 1.0), "not_enough_data", True),
        (
            "{tokens: {minimum_traces: 51}}",
            ("tokens", "worse", 0.9, 0.8, 1.0),
            "not_enough_data",
            True,
        ),
        (
            "{tokens: {on_not_enough_data: pass}}",
            ("tokens", "few", 0.9, 0.8, 1.0, 3),
            "not_enough_data",
            False,
        ),
    ],
)
def test_a_metric_is_decided_by_the_test_and_by_the_size(rules, metric, outcome, failed):
    [found] = decided(rules, compared(*metric))
    assert (found.outcome.value, found.failed) == (outcome, failed)
    assert ("cannot rule out" in found.reason) == (outcome == "no_evidence")


def test_more_than_nothing_counts_as_worse():
    metric = compared("tokens", "worse", 100.0, 90.0, 110.0)
    metric.figures[0].ClearField("change")
    [found] = decided("{tokens: }", metric)
    assert found.outcome is decision.Outcome.REGRESSED


def test_a_metric_that_the_server_leaves_out_is_missing_data():
    [found] = decided("{tokens: }")
    assert (found.outcome, found.failed) == (decision.Outcome.NOT_ENOUGH_DATA, True)


def test_a_regression_is_said_before_missing_data():
    found = decided("{latency: , tokens: }", compared("latency", "worse", 0.2, 0.1, 0.3))
    assert decision.overall(found) is decision.Outcome.REGRESSED


def test_waiting_looks_at_counts_alone():
    rules = policy.parse("metrics: {latency: {minimum_traces: 50}}")
    for count, enough in ((49, False), (50, True)):
        for verdict in ("worse", "none"):
            metric = compared("latency", verdict, 0.2, 0.1, 0.3, count)
            assert decision.has_enough_data(rules, pb.Comparison(metrics=[metric])) is enough
