import math

import numpy as np
import pytest
from scipy import stats

from otel_vtrack.analysis import compare
from otel_vtrack.analysis.compare import Metric, Question, Verdict
from otel_vtrack.errors import InvalidArgument, NotFound
from otel_vtrack.query import trace_search

AB = Question(baseline_version="A", candidate_version="B")


@pytest.fixture
def fill(send):
    """Write traces of a version: durations in ms, and which of them fail."""
    number = 0

    def write(version, durations, failed=(), tokens=(), **resource):
        nonlocal number
        spans = []
        for index, ms in enumerate(durations):
            number += 1
            spans.append(
                {
                    "trace": number,
                    "span": number,
                    "at": number,
                    "ms": float(ms),
                    "status": 2 if index in failed else 0,
                    "attributes": (
                        {"gen_ai.usage.input_tokens": int(tokens[index])}
                        if index < len(tokens)
                        else {}
                    ),
                }
            )
        if spans:
            send(*spans, service__version=version, **resource)

    return write


def lognormal(count, scale=100.0, seed=1):
    return np.round(np.random.default_rng(seed).lognormal(math.log(scale), 0.5, count), 3)


def by_metric(found):
    return {each.metric: each for each in found.metrics}


def exact_quantile_interval(values, level):
    """The order statistics whose ranks hold a binomial count with 95 %, by scipy."""
    ordered, n = np.sort(values), len(values)
    below = stats.binom.cdf(np.arange(n + 1), n, level)
    lower = int((below <= 0.025).sum())
    upper = int(np.argmax(below >= 0.975)) + 1
    return (
        ordered[math.ceil(round(n * level, 6)) - 1],
        ordered[lower - 1] if lower else None,
        ordered[upper - 1] if upper <= n else None,
    )


@pytest.mark.parametrize("count", [5, 60, 700])
def test_quantiles_have_distribution_free_intervals(store, fill, count):
    values = {"A": lognormal(count), "B": lognormal(count, 130, seed=2)}
    for version, durations in values.items():
        fill(version, durations)
    found = by_metric(compare.compare(store, AB))[Metric.LATENCY]
    for figure, level in zip(found.figures, (0.5, 0.95, 0.99), strict=True):
        for version, estimate in (("A", figure.baseline), ("B", figure.candidate)):
            expected = exact_quantile_interval(values[version], level)
            got = (estimate.value, estimate.lower, estimate.upper)
            assert got == pytest.approx(expected, abs=1e-6), (figure.figure, version)


def test_above_a_thousand_traces_ranks_are_near_the_exact_ones(store, fill):
    values = np.arange(1, 1502)
    fill("A", values)
    fill("B", values)
    p95 = by_metric(compare.compare(store, AB))[Metric.LATENCY].figures[1].baseline
    _, lower, upper = exact_quantile_interval(values, 0.95)
    assert (p95.lower, p95.upper) == pytest.approx((lower, upper), abs=1)


def test_the_tests_agree_with_scipy(store, fill):
    rng = np.random.default_rng(3)
    a, b = lognormal(150), lognormal(130, 120, seed=4)
    tokens = rng.integers(50, 60, 150), rng.integers(52, 63, 130)
    fill("A", a, failed=range(30), tokens=tokens[0])
    fill("B", b, failed=range(44), tokens=tokens[1])
    found = by_metric(compare.compare(store, AB))
    for metric, (x, y) in ((Metric.LATENCY, (a, b)), (Metric.TOKENS, tokens)):
        expected = stats.mannwhitneyu(x, y, method="asymptotic").pvalue
        assert found[metric].p_value == pytest.approx(expected, rel=1e-6)
    pooled = 74 / 280
    z = (44 / 130 - 30 / 150) / math.sqrt(pooled * (1 - pooled) * (1 / 150 + 1 / 130))
    errors = found[Metric.ERROR_RATE]
    assert errors.test == "two-proportion z"
    assert errors.p_value == pytest.approx(2 * stats.norm.sf(z), rel=1e-6)
    raw = [each.p_value for each in found.values()]
    assert [each.adjusted_p_value for each in found.values()] == pytest.approx(
        list(stats.false_discovery_control(raw))
    )
    assert found[Metric.TOKENS].figures[0].baseline.value == pytest.approx(tokens[0].mean())


@pytest.mark.parametrize(
    ("failed", "counts"),
    [((0, 6), (40, 30)), ((3, 1), (25, 90)), ((1, 0), (50, 50)), ((38, 30), (40, 30))],
)
def test_few_errors_are_tested_exactly(store, fill, failed, counts):
    for version, errors, count in zip("AB", failed, counts, strict=True):
        fill(version, [5.0] * count, failed=range(errors))
    found = by_metric(compare.compare(store, AB))[Metric.ERROR_RATE]
    table = [[errors, count - errors] for errors, count in zip(failed, counts, strict=True)]
    assert found.test == "Fisher exact"
    assert found.p_value == pytest.approx(stats.fisher_exact(table).pvalue, rel=1e-6)


def test_a_slower_version_is_said_to_be_slower(store, fill):
    fill("2.3.1", lognormal(300), deployment__environment__name="production")
    fill("2.4.0", lognormal(280, 160, seed=2), deployment__environment__name="production")
    question = Question(
        baseline_version="2.3.1", candidate_version="2.4.0", environment="production"
    )
    found = by_metric(compare.compare(store, question))[Metric.LATENCY]
    assert found.verdict is Verdict.REGRESSED
    assert found.summary.startswith("2.4.0 is slower than 2.3.1 in production: p50 ")
    assert found.summary.endswith("p < 0.0001, n = 300 / 280")
    turned = Question(baseline_version="2.4.0", candidate_version="2.3.1", environment="production")
    found = by_metric(compare.compare(store, turned))[Metric.LATENCY]
    assert found.verdict is Verdict.IMPROVED
    assert "2.3.1 is faster than 2.4.0" in found.summary


def test_more_errors_and_tokens_are_regressions(store, fill):
    fill("A", [5.0] * 100, failed=range(2), tokens=range(100, 200))
    fill("B", [5.0] * 100, failed=range(30), tokens=range(180, 280))
    found = by_metric(compare.compare(store, AB))
    assert found[Metric.ERROR_RATE].verdict is Verdict.REGRESSED
    assert found[Metric.ERROR_RATE].summary.startswith("B fails more often than A: 2 % -> 30 %")
    assert found[Metric.TOKENS].verdict is Verdict.REGRESSED
    assert found[Metric.LATENCY].verdict is Verdict.NO_EVIDENCE
    assert found[Metric.LATENCY].p_value == 1.0


def test_equal_versions_show_no_evidence_and_say_how_large_a_difference_may_be(store, fill):
    fill("A", lognormal(200, seed=5))
    fill("B", lognormal(200, seed=6))
    found = by_metric(compare.compare(store, AB))[Metric.LATENCY]
    assert found.verdict is Verdict.NO_EVIDENCE
    assert found.summary.startswith("no evidence that latency differs between A and B: p50 ")
    assert "[" in found.summary


def test_too_little_data_is_said_and_not_guessed_from(store, fill):
    fill("A", [10.0] * 50)
    fill("B", [900.0] * 13)
    found = by_metric(compare.compare(store, AB))
    assert found[Metric.LATENCY].verdict is Verdict.NOT_ENOUGH_DATA
    assert found[Metric.LATENCY].more_needed == 7
    assert "needs 7 more" in found[Metric.LATENCY].summary
    assert found[Metric.LATENCY].adjusted_p_value is None
    assert found[Metric.TOKENS].p_value is None
    assert found[Metric.TOKENS].more_needed == 20
    assert found[Metric.TOKENS].figures[0].baseline is None


def test_unfinished_traces_are_left_out_and_counted(store, send, fill):
    fill("A", [1.0] * 3)
    fill("B", [1.0] * 3)
    send({"trace": 900, "parent": 5, "ms": 9999}, service__version="A")
    found = compare.compare(store, AB)
    assert (found.baseline.trace_count, found.baseline.in_progress_count) == (3, 1)
    assert by_metric(found)[Metric.LATENCY].figures[2].baseline.value == 1.0


def test_only_metrics_asked_for_are_compared_and_adjusted_for(store, fill):
    fill("A", lognormal(50))
    fill("B", lognormal(50, 110, seed=2))
    question = Question(baseline_version="A", candidate_version="B", metrics=[Metric.LATENCY])
    [found] = compare.compare(store, question).metrics
    assert found.metric is Metric.LATENCY
    assert found.adjusted_p_value == found.p_value


def test_a_time_range_environment_and_service_restrict(store, fill):
    fill("A", [1.0] * 4, deployment__environment__name="production")
    fill("B", [1.0] * 4, deployment__environment__name="production")
    fill("B", [1.0] * 2, deployment__environment__name="staging")
    start = 1_790_000_000_000_000_000
    question = Question(
        baseline_version="A",
        candidate_version="B",
        environment="production",
        service_name="shop",
        start_time_from_ns=start + 2_000_000,
        start_time_until_ns=start + 8_000_000,
    )
    found = compare.compare(store, question)
    assert (found.baseline.trace_count, found.candidate.trace_count) == (3, 3)
    assert found.candidate.last_seen_ns == start + 7_000_000


def test_many_traces_are_sampled_and_that_is_said(store, fill):
    fill("A", lognormal(400))
    fill("B", lognormal(400, seed=2))
    question = Question(baseline_version="A", candidate_version="B", max_traces=200)
    found = compare.compare(store, question)
    assert found.sampled_one_in == 4
    assert 50 < found.baseline.trace_count < 160
    assert compare.compare(store, AB).sampled_one_in == 1


def test_retried_traces_count_once(store, fill, writer, make_spans):
    request = make_spans(
        {"ms": 5, "attributes": {"gen_ai.usage.input_tokens": 7}}, service__version="A"
    )
    for _ in range(3):
        writer.write_traces(request.SerializeToString())
    fill("B", [1.0] * 2)
    found = compare.compare(store, AB)
    assert found.baseline.trace_count == 1
    assert by_metric(found)[Metric.TOKENS].figures[0].baseline.value == 7


def test_tokens_are_summed_as_a_trace_s_info_sums_them(store, send):
    rng = np.random.default_rng(7)
    totals = {}
    for number in range(1, 60):
        count = int(rng.choice([1, 2, 5, 20, 70]))
        spans = []
        for index in range(1, count + 1):
            # Parents of every sort: earlier, later, itself, missing; circles among them.
            parent = 0 if index == 1 else int(rng.integers(1, count + 3))
            usage = {"gen_ai.usage.input_tokens": int(rng.integers(1, 999))}
            spans.append(
                {
                    "trace": number,
                    "span": index,
                    "parent": parent if rng.random() < 0.3 else index // 2,
                    "attributes": usage if rng.random() < 0.5 else {},
                }
            )
        spans[0]["parent"] = 0
        send(*spans, service__version="A")
    for info in trace_search.search(store, page_size=1000).traces:
        if info.token_usage:
            totals[info.trace_id] = info.token_usage.total_tokens
    send({"trace": 1000}, service__version="B")
    mean = by_metric(compare.compare(store, AB))[Metric.TOKENS].figures[0].baseline
    assert len(totals) > 20
    assert mean.value == pytest.approx(np.mean(list(totals.values())))


def test_versions_of_several_experiments_are_not_mixed(store, fill):
    fill("A", [1.0], service__name="shop")
    fill("B", [1.0], service__name="stock")
    with pytest.raises(InvalidArgument, match=r"shop, stock.*--experiment"):
        compare.compare(store, AB)


def test_an_unknown_version_is_not_found(store, fill):
    fill("A", [1.0])
    with pytest.raises(NotFound, match="version B has no traces here"):
        compare.compare(store, AB)


@pytest.mark.parametrize(("baseline", "candidate"), [("", "B"), ("A", ""), ("A", "A")])
def test_two_versions_are_needed(store, baseline, candidate):
    with pytest.raises(InvalidArgument, match="two"):
        compare.compare(store, Question(baseline_version=baseline, candidate_version=candidate))


def test_the_effect_size_is_the_share_of_pairs_in_which_the_candidate_is_greater(store, fill):
    a, b = lognormal(80), lognormal(60, scale=140.0, seed=2)
    a[:10] = b[:10] = 100.0
    fill("A", a, failed=range(8), tokens=[5, 6, 6])
    fill("B", b, failed=range(30))
    found = by_metric(compare.compare(store, AB))
    greater = (b[:, None] > a).mean() + (b[:, None] == a).mean() / 2
    assert found[Metric.LATENCY].effect_size == pytest.approx(greater)
    assert found[Metric.ERROR_RATE].effect_size == pytest.approx(
        2 * (math.asin(math.sqrt(0.5)) - math.asin(math.sqrt(0.1)))
    )
    assert found[Metric.TOKENS].effect_size is None
