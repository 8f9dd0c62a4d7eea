import pytest

from otel_vtrack.gate import decision, policy, report
from otel_vtrack.v1 import analysis_pb2 as pb

VERDICTS = {
    "better": pb.VERDICT_IMPROVED,
    "worse": pb.VERDICT_REGRESSED,
    "none": pb.VERDICT_NO_EVIDENCE,
    "same": pb.VERDICT_EQUIVALENT,
    "other": pb.VERDICT_CHANGED,
    "few": pb.VERDICT_NOT_ENOUGH_DATA,
    "odd": pb.VERDICT_UNSPECIFIED,
}
FIGURES = {"latency": "p50", "error_rate": "rate", "tokens": "mean", "assessment:right": "rate"}


def compared(metric, verdict, value, *rest):
    """What a server answers, by a smallest change of 5 %, or of one point."""
    lower, upper, count = (*rest, 50)[:3]
    of_share = FIGURES[metric] == "rate"
    found = pb.MetricComparison(
        metric=metric,
        unit="share" if of_share else "ms",
        unit_of_analysis="trace",
        direction=pb.DIRECTION_MORE if ":" in metric else pb.DIRECTION_LESS,
        verdict=VERDICTS[verdict],
        baseline_count=1000,
        candidate_count=count,
        deciding_figure=FIGURES[metric],
        deciding_change=pb.Estimate(value=value, lower=lower, upper=upper),
        adjusted_p_value=0.01,
    )
    if of_share:
        found.smallest_absolute_change = 0.01
    else:
        found.smallest_relative_change = 0.05
    return found


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
        ("{latency: }", ("latency", "same", 0.01, -0.02, 0.04), "passed", False),
        (
            "{'assessment:right': }",
            ("assessment:right", "worse", -0.3, -0.4, -0.2),
            "regressed",
            True,
        ),
        ("{'assessment:right': }", ("assessment:right", "better", 0.3, 0.2, 0.4), "passed", False),
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
            "{tokens: {minimum_count: 51}}",
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
    metric.ClearField("deciding_change")
    metric.figures.add(figure="mean", difference=pb.Estimate(value=100.0))
    [found] = decided("{tokens: }", metric)
    assert found.outcome is decision.Outcome.REGRESSED


def test_a_difference_without_a_direction_is_none_that_stops_a_release_by_itself():
    metric = compared("assessment:right", "other", 0.3, 0.2, 0.4)
    rules = "{'assessment:right': {on_no_evidence: %s}}"
    for on_no_evidence, failed in (("pass", False), ("fail", True)):
        [found] = decided(rules % on_no_evidence, metric)
        assert (found.outcome, found.failed) == (decision.Outcome.NO_EVIDENCE, failed)
        assert "neither direction counts as better" in found.reason


def test_the_reason_says_what_the_verdict_rests_on():
    metric = compared("latency", "worse", 0.5, 0.2, 0.9)
    metric.deciding_figure = "p95"
    metric.tail.adjusted_p_value = 0.002
    metric.stratified.decides = True
    metric.stratified.dimensions.append("route")
    [found] = decided("{latency: }", metric)
    assert "p95 50 % worse [20 %, 90 %], p = 0.002" in found.reason
    assert found.reason.endswith("like compared with like, route by route")


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        (
            ("latency", "better", -0.3, -0.4, None),
            (
                "better by more than chance; cannot rule out a worsening of more than 5 %:"
                " p50 30 % better [-40 %, ?], p = 0.01, n = 1,000 / 50"
            ),
        ),
        (
            ("latency", "same", 0.01, -0.02, 0.04),
            (
                "no evidence of a difference that matters; the interval rules out a worsening of"
                " more than 5 %: p50 1 % worse [-2 %, 4 %], p = 0.01, n = 1,000 / 50"
            ),
        ),
        (
            ("error_rate", "none", 0.02, None, None),
            (
                "no evidence of a difference that matters; cannot rule out a worsening of more than"
                " 1 point: rate 2 points worse, p = 0.01, n = 1,000 / 50"
            ),
        ),
    ],
)
def test_what_does_not_stop_a_release_is_told_in_full_as_well(metric, reason):
    measured = compared(*metric)
    measured.stratified.dimensions.append("route")  # Looked at, but the mix was the same.
    # It is not what decides.
    measured.tail.adjusted_p_value = 0.9
    measured.tail.change.CopyFrom(pb.Estimate(value=0.01, lower=-0.02, upper=0.04))
    [found] = decided(f"{{{metric[0]}: }}", measured)
    assert found.reason == reason


def test_what_may_have_happened_to_the_tail_is_not_ruled_out_by_the_median():
    rules = "{latency: {on_no_evidence: fail}}"
    for verdict in ("none", "better"):
        metric = compared("latency", verdict, -0.02, -0.04, 0.0)
        metric.tail.change.CopyFrom(pb.Estimate(value=0.1, lower=-0.05, upper=0.3))
        [found] = decided(rules, metric)
        assert (found.outcome, found.failed) == (decision.Outcome.NO_EVIDENCE, True)
        assert "cannot rule out that p95 worsened by more than 5 %" in found.reason
        metric.tail.change.upper = 0.04
        assert decided(rules, metric)[0].outcome is decision.Outcome.PASSED
        metric.tail.change.ClearField("upper")
        assert decided(rules, metric)[0].failed
    metric = compared("latency", "better", -0.2, -0.4, -0.1)
    metric.deciding_figure = "p95"
    metric.tail.change.CopyFrom(metric.deciding_change)
    metric.figures.add(figure="p50", change=pb.Estimate(value=0.02, lower=-0.1, upper=0.12))
    assert "cannot rule out that p50 worsened" in decided(rules, metric)[0].reason
    metric.stratified.decides = True
    metric.stratified.change.CopyFrom(pb.Estimate(value=0.01, lower=-0.01, upper=0.03))
    assert decided(rules, metric)[0].outcome is decision.Outcome.PASSED


def test_a_metric_that_the_server_leaves_out_is_missing_data():
    [found] = decided("{tokens: }")
    assert (found.outcome, found.failed) == (decision.Outcome.NOT_ENOUGH_DATA, True)


def test_a_regression_is_said_before_missing_data():
    found = decided("{latency: , tokens: }", compared("latency", "worse", 0.2, 0.1, 0.3))
    assert decision.overall(found) is decision.Outcome.REGRESSED


def test_waiting_looks_at_counts_alone():
    rules = policy.parse("metrics: {latency: {minimum_count: 50}}")
    for count, enough in ((49, False), (50, True)):
        for verdict in ("worse", "none"):
            metric = compared("latency", verdict, 0.2, 0.1, 0.3, count)
            assert decision.has_enough_data(rules, pb.Comparison(metrics=[metric])) is enough


def test_a_report_says_what_those_that_were_stored_stand_for():
    stored = pb.VersionSample(version="B", trace_count=400, adjusted_count=4000)
    found = pb.Comparison(
        baseline=pb.VersionSample(version="A", trace_count=900, adjusted_count=900),
        candidate=stored,
        metrics=[compared("latency", "none", 0.0, -0.01, 0.01)],
    )
    made = report.Report(decided("{latency: }", *found.metrics), found, ["vtrack"])
    assert (
        "Not all traces were stored: 900 stand for 900 (baseline), 400 stand for 4,000 (candidate)."
        in report.markdown(made)
    )
    stored.adjusted_count = 400
    found.candidate.CopyFrom(stored)
    assert "stand for" not in report.markdown(made)
