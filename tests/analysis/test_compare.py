import math
import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy import stats

from otel_vtrack.analysis import compare, comparing
from otel_vtrack.analysis.compare import Category, MetricComparison, Question, Tail, Verdict
from otel_vtrack.analysis.metrics import Direction, MetricQuery, Unit
from otel_vtrack.analysis.statistics import Estimate
from otel_vtrack.errors import InvalidArgument, NotFound
from otel_vtrack.query import trace_search

_DAY_MS = 86_400_000
START_NS = 1_790_000_000_000_000_000
AB = Question(baseline_version="A", candidate_version="B")


def asking(*metrics, **fields):
    asked = [each if isinstance(each, MetricQuery) else MetricQuery(each) for each in metrics]
    return Question(baseline_version="A", candidate_version="B", metrics=asked, **fields)


@pytest.fixture
def fill(send):
    """Write traces of a version: durations in ms, which of them fail, and what spans say.

    `says` are lists of a value a trace, or one for all: `name`, and attributes with `__` for a dot.
    """
    number = 0

    def write(version, durations, failed=(), tokens=(), says=None, **resource):
        nonlocal number
        spans = []
        for index, ms in enumerate(durations):
            number += 1
            told = {
                key.replace("__", "."): value if isinstance(value, str) else value[index]
                for key, value in (says or {}).items()
            }
            name = told.pop("name", "ask")
            if index < len(tokens):
                told["gen_ai.usage.input_tokens"] = int(tokens[index])
            spans.append(
                {
                    "trace": number,
                    "span": number,
                    "at": number,
                    "ms": float(ms),
                    "name": name,
                    "status": 2 if index in failed else 0,
                    "attributes": told,
                }
            )
        if spans:
            send(*spans, service__version=version, **resource)
        return range(number - len(spans) + 1, number + 1)

    return write


def lognormal(count, scale=100.0, seed=1):
    return np.round(np.random.default_rng(seed).lognormal(math.log(scale), 0.5, count), 3)


def by_metric(found):
    return {each.metric: each for each in found.metrics}


def one(store, question):
    [found] = compare.compare(store, question).metrics
    return found


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


@pytest.mark.parametrize("count", [5, 60, 1501])
def test_quantiles_have_distribution_free_intervals(store, fill, count):
    values = {"A": lognormal(count), "B": lognormal(count, 130, seed=2)}
    for version, durations in values.items():
        fill(version, durations)
    mean, *figures = one(store, asking("latency")).figures
    assert [each.figure for each in figures] == ["p50", "p90", "p95", "p99"]
    assert mean.candidate.value == pytest.approx(values["B"].mean())
    for figure, level in zip(figures, (0.5, 0.9, 0.95, 0.99), strict=True):
        for version, estimate in (("A", figure.baseline), ("B", figure.candidate)):
            expected = exact_quantile_interval(values[version], level)
            got = (estimate.value, estimate.lower, estimate.upper)
            assert got == pytest.approx(expected, abs=1e-6), (figure.figure, version)


def test_the_tests_agree_with_scipy(store, fill):
    rng = np.random.default_rng(3)
    a, b = lognormal(150), lognormal(130, 120, seed=4)
    tokens = rng.integers(50, 60, 150), rng.integers(52, 63, 130)
    fill("A", a, failed=range(30), tokens=tokens[0])
    fill("B", b, failed=range(44), tokens=tokens[1])
    found = by_metric(compare.compare(store, AB))
    latency, errors, spent = (found[name] for name in ("latency", "error_rate", "tokens"))
    assert latency.test == "Brunner-Munzel"
    # To the logarithm, as small probabilities are compared.
    expected = stats.brunnermunzel(a, b).pvalue
    assert math.log(latency.p_value) == pytest.approx(math.log(expected), rel=0.01)
    assert spent.test == "Welch t"
    expected = stats.ttest_ind(*tokens, equal_var=False).pvalue
    # Welch's, but for the skewness that it allows for.
    assert math.log(spent.p_value) == pytest.approx(math.log(expected), rel=0.01)
    assert errors.test == "two-proportion z"
    chi_square = stats.chi2_contingency([[30, 120], [44, 86]], correction=False).statistic
    # E. S. Pearson's, of N - 1.
    expected = stats.chi2.sf(chi_square * 279 / 280, 1)
    assert errors.p_value == pytest.approx(expected, rel=1e-6)
    threshold = np.quantile(np.concatenate([a, b]), 0.95, method="inverted_cdf")
    above = [int((each > threshold).sum()) for each in (a, b)]
    assert (latency.tail.threshold, latency.tail.test) == (threshold, "two-proportion z")
    raw = [latency.p_value, errors.p_value, spent.p_value, latency.tail.p_value]
    assert latency.tail.baseline.value == pytest.approx(above[0] / 150)
    adjusted = [each.adjusted_p_value for each in (latency, errors, spent, latency.tail)]
    assert adjusted == pytest.approx(list(stats.false_discovery_control(raw)))
    assert all(each.test_reason for each in (latency, errors, spent))


@pytest.mark.parametrize(
    ("failed", "counts"),
    [((0, 6), (40, 30)), ((3, 1), (25, 90)), ((1, 0), (50, 50)), ((38, 30), (40, 30))],
)
def test_few_errors_are_tested_exactly(store, fill, failed, counts):
    for version, errors, count in zip("AB", failed, counts, strict=True):
        fill(version, [5.0] * count, failed=range(errors))
    found = one(store, asking("error_rate"))
    table = [[errors, count - errors] for errors, count in zip(failed, counts, strict=True)]
    assert found.test == "Fisher exact"
    assert found.p_value == pytest.approx(stats.fisher_exact(table).pvalue, rel=1e-6)


def test_a_slower_version_is_said_to_be_slower_with_examples(store, fill, trace_id):
    fill("2.3.1", lognormal(300), deployment__environment__name="production")
    slow = lognormal(280, 160, seed=2)
    numbers = fill("2.4.0", slow, deployment__environment__name="production")
    question = Question(
        baseline_version="2.3.1", candidate_version="2.4.0", environment="production"
    )
    found = by_metric(compare.compare(store, question))["latency"]
    assert found.verdict is Verdict.REGRESSED
    assert found.summary.startswith("2.4.0 is slower than 2.3.1 in production: p50 ")
    assert found.summary.endswith("p < 0.0001, n = 300 / 280")
    shown = {trace_id(number): ms for number, ms in zip(numbers, slow, strict=True)}
    p95 = np.quantile(slow, 0.95)
    assert len(found.example_trace_ids) == 3
    assert all(shown[each] == pytest.approx(p95, rel=0.2) for each in found.example_trace_ids)
    turned = Question(baseline_version="2.4.0", candidate_version="2.3.1", environment="production")
    found = by_metric(compare.compare(store, turned))["latency"]
    assert found.verdict is Verdict.IMPROVED
    assert "2.3.1 is faster than 2.4.0" in found.summary


def test_more_errors_and_tokens_are_regressions(store, fill, trace_id):
    fill("A", [5.0] * 100, failed=range(2), tokens=range(100, 200))
    numbers = fill("B", [5.0] * 100, failed=range(30), tokens=range(180, 280))
    found = by_metric(compare.compare(store, AB))
    errors = found["error_rate"]
    assert errors.verdict is Verdict.REGRESSED
    assert errors.summary.startswith("B fails more often than A: 2 % -> 30 %")
    assert set(errors.example_trace_ids) <= {trace_id(number) for number in numbers[:30]}
    assert found["tokens"].verdict is Verdict.REGRESSED
    assert found["latency"].verdict is Verdict.EQUIVALENT
    assert found["latency"].p_value == 1.0
    # Where none failed, one may yet.
    fill("C", [5.0] * 100)
    fill("D", [5.0] * 100)
    question = Question(baseline_version="C", candidate_version="D")
    errors = by_metric(compare.compare(store, question))["error_rate"]
    assert errors.verdict is Verdict.NO_EVIDENCE
    assert errors.more_needed > 100


def test_a_mean_that_points_the_other_way_than_most_values_is_said_to(store, fill):
    fill("A", [1.0] * 150, says={"score": [5.0] * 150})
    fill("B", [1.0] * 150, says={"score": [6.0] * 100 + [1.0] * 50})
    found = one(store, asking("attribute:score"))
    assert found.verdict is Verdict.CHANGED
    assert found.summary.startswith("attribute score is higher in B than in A: mean 5 -> 4.333")
    assert "; more values are higher, but the mean is not" in found.summary


def test_what_ends_before_it_starts_takes_no_time(store, fill):
    fill("A", [5.0] * 20)
    fill("B", [-4.0] * 20)
    for each in compare.compare(store, asking("latency", "entry_latency")).metrics:
        assert [figure.candidate.value for figure in each.figures] == [0] * 5, each.metric


def test_no_evidence_says_how_large_a_difference_may_be_and_what_it_takes(store, fill):
    fill("A", lognormal(200, seed=5))
    fill("B", lognormal(150, seed=6))
    found = one(store, asking("latency"))
    assert found.verdict is Verdict.NO_EVIDENCE
    assert found.summary.startswith("no evidence that latency differs between A and B: p50 ")
    assert f"the version with fewer traces needs {found.more_needed:,} more" in found.summary
    # Of two times n logarithms with a deviation of 0.5 each, for 80 % power at 5 %, shared with the
    # tail.
    n = 2 * (0.5 * (2.2414 + 0.8416) / math.log1p(0.05)) ** 2
    assert found.more_needed + 150 == pytest.approx(n, rel=0.2)
    # And with the error rate.
    more = by_metric(compare.compare(store, AB))["latency"].more_needed + 150
    share = ((2.394 + 0.8416) / (2.2414 + 0.8416)) ** 2
    assert more / (found.more_needed + 150) == pytest.approx(share, rel=0.001)
    coarse = MetricQuery("latency", smallest_relative_change=0.5)
    assert one(store, asking(coarse)).verdict is Verdict.EQUIVALENT


def test_what_is_surely_different_but_too_small_to_matter_is_no_regression(store, fill):
    rng = np.random.default_rng(8)
    fill("A", 100 + rng.random(500))
    fill("B", 101 + rng.random(500))
    found = one(store, asking("latency"))
    assert found.adjusted_p_value < 1e-6
    assert found.verdict is Verdict.EQUIVALENT
    assert "is less than 5 %" in found.summary
    assert one(store, asking(MetricQuery("latency", smallest_absolute_change=0.5))).verdict is (
        Verdict.REGRESSED
    )


def test_too_little_data_is_said_and_not_guessed_from(store, fill):
    fill("A", [10.0] * 50)
    fill("B", [900.0] * 13)
    found = by_metric(compare.compare(store, AB))
    assert found["latency"].verdict is Verdict.NOT_ENOUGH_DATA
    assert found["latency"].more_needed == 7
    assert "needs 7 more" in found["latency"].summary
    assert found["latency"].adjusted_p_value is None
    assert found["tokens"].p_value is None
    assert found["tokens"].more_needed == 20
    assert found["tokens"].figures[0].baseline is None


def test_a_slower_tail_alone_is_found_and_said_to_be_that(store, fill):
    a, b = lognormal(600, seed=21), lognormal(600, seed=22)
    b[np.random.default_rng(1).random(600) < 0.08] *= 6
    fill("A", a)
    fill("B", b)
    found = one(store, asking("latency"))
    assert found.p_value > 0.05
    assert found.verdict is Verdict.REGRESSED
    assert found.deciding_figure == "p95"
    assert found.summary.startswith("B's slowest traces are slower than A's: p95 ")
    assert found.tail.candidate.value > 2 * found.tail.baseline.value
    like = one(store, asking("latency", stratify_by=["route"]))
    assert (like.verdict, like.deciding_figure) == (Verdict.REGRESSED, "p95")
    # Of one route what is weighed is all there is.
    assert like.deciding_change.value == pytest.approx(found.deciding_change.value)
    assert "p95 +" in like.summary


def test_where_bulk_and_tail_are_worse_the_one_that_is_so_by_more_decides(store, fill):
    a, b = lognormal(1500, seed=23), lognormal(1500, seed=24)
    routes = ["/pay" if n % 10 == 0 else "/" for n in range(1500)]
    b[::10] *= 3
    fill("A", a, says={"name": routes})
    fill("B", b, says={"name": routes})
    found = one(store, asking("latency"))
    _, p50, _, p95, _ = found.figures
    assert found.verdict is Verdict.REGRESSED
    assert (found.adjusted_p_value < 0.05, p50.change.value < 0.1) == (True, True)
    assert (found.deciding_figure, found.deciding_change) == ("p95", p95.change)
    assert found.summary.startswith("B is slower than A: p50 ")
    assert f", p95 {p95.baseline.value:.0f} ms -> {p95.candidate.value:.0f} ms (+" in found.summary
    like = one(store, asking("latency", stratify_by=["route"]))
    assert (like.verdict, like.deciding_figure) == (Verdict.REGRESSED, "p95")
    assert re.search(r": \+\d+ % \[.*\], p95 \+\d+ % \[.*\] like for like, p < ", like.summary)
    # What is slower all over is so by its bulk.
    fill("C", a * 1.5)
    asked = replace(asking("latency"), candidate_version="C")
    assert one(store, asked).deciding_figure == "p50"


def test_turns_of_a_session_are_not_taken_for_independent(store, fill):
    rng = np.random.default_rng(30)
    values = {}
    for version in "AB":
        sessions = np.repeat(np.arange(25), 40)
        values[version] = 100 * np.exp(rng.normal(0, 0.5, 25)[sessions] + rng.normal(0, 0.1, 1000))
        failed = np.flatnonzero(rng.random(1000) < rng.beta(0.3, 1.0, 25)[sessions])
        says = {"session__id": [f"{version}{number}" for number in sessions]}
        fill(version, values[version], failed=set(failed), says=says)
    found = by_metric(compare.compare(store, asking("latency", "error_rate")))
    latency = found["latency"]
    assert stats.mannwhitneyu(values["A"], values["B"]).pvalue < 0.0001
    assert (latency.baseline_cluster_count, latency.candidate_cluster_count) == (25, 25)
    assert latency.test == "Obuchowski"
    assert latency.p_value > 0.2
    assert latency.verdict is Verdict.NO_EVIDENCE
    assert found["error_rate"].verdict is Verdict.NO_EVIDENCE
    assert "sessions" in latency.test_reason


def test_few_sessions_are_too_little_however_many_turns(store, fill):
    for version in "AB":
        says = {"session__id": [f"{version}{n % 4}" for n in range(200)]}
        fill(version, lognormal(200, 100 if version == "A" else 300), says=says)
    found = one(store, asking("latency"))
    assert found.verdict is Verdict.NOT_ENOUGH_DATA
    assert found.more_needed == 300
    assert "in 4 sessions" in found.summary


@pytest.fixture
def simpson(fill):
    """B is faster on either route, and got most of the slow one."""
    for version, counts, scales in (
        ("A", (400, 100), (100, 1000)),
        ("B", (100, 400), (80, 800)),
    ):
        for route, count, scale in zip(("fast", "slow"), counts, scales, strict=True):
            seed = count + (version == "B")
            fill(version, lognormal(count, scale, seed), says={"name": route})


def test_more_of_the_slow_route_is_not_slower(store, simpson, trace_id):
    found = compare.compare(store, asking("latency"))
    [mix] = found.mix
    assert (mix.dimension, mix.level_count) == ("route", 2)
    assert mix.cramers_v == pytest.approx(0.6, abs=0.02)
    assert {(each.value, each.baseline_count, each.candidate_count) for each in mix.levels} == {
        ("fast", 400, 100),
        ("slow", 100, 400),
    }
    [latency] = found.metrics
    p50 = next(each for each in latency.figures if each.figure == "p50")
    assert p50.change.value > 1
    assert latency.verdict is Verdict.IMPROVED
    assert latency.effect_size < 0.5
    like = latency.stratified
    assert like.decides
    assert (like.dimensions, like.strata_count, like.overlap) == (("route",), 2, 1.0)
    assert like.change.lower < -0.2 < like.change.upper
    assert like.heterogeneity_p_value > 0.05
    assert [dict(each.values) for each in like.strata] == [{"route": "fast"}, {"route": "slow"}]
    assert "B is faster than A: -2" in latency.summary
    said = "the versions saw a different mix of routes, so compared route by route"
    assert said in latency.summary
    assert "overall +" in latency.summary
    crude = one(store, asking("latency", stratify_by=["none"]))
    assert (crude.verdict, crude.stratified) == (Verdict.REGRESSED, None)
    within = compare.compare(store, asking("latency", group_by=["route"]))
    assert [(dict(each.values), each.metrics[0].verdict) for each in within.groups] == [
        ({"route": "fast"}, Verdict.IMPROVED),
        ({"route": "slow"}, Verdict.IMPROVED),
    ]
    assert "where route is fast" in within.groups[0].metrics[0].summary


def test_traces_that_failed_before_they_asked_a_model_are_no_other_mix(store, fill):
    says = {"gen_ai__request__model": "small"}
    for version, failures in (("A", 5), ("B", 60)):
        fill(version, lognormal(400 - failures), tokens=[5] * 400, says=says)
        fill(version, lognormal(failures, seed=failures), failed=range(failures))
    found = compare.compare(store, asking("error_rate"))
    assert found.mix == ()
    assert found.metrics[0].stratified is None
    assert found.metrics[0].verdict is Verdict.REGRESSED


def test_a_model_is_the_version_s_own_choice_and_is_shown_only(store, fill):
    fill("A", lognormal(200), tokens=[5] * 200, says={"gen_ai__request__model": "small"})
    fill("B", lognormal(20), tokens=[5] * 20, says={"gen_ai__request__model": "small"})
    slow = lognormal(180, 300, seed=3)
    fill("B", slow, tokens=[5] * 180, says={"gen_ai__request__model": "large"})
    found = compare.compare(store, asking("latency"))
    assert [each.dimension for each in found.mix] == ["model"]
    [latency] = found.metrics
    assert latency.verdict is Verdict.REGRESSED
    assert (latency.stratified.decides, latency.stratified.dimensions) == (False, ("model",))
    assert "the versions saw a different mix of models" in latency.summary
    like = one(store, asking("latency", stratify_by=["model"]))
    assert like.verdict is not Verdict.REGRESSED


def test_versions_that_have_nothing_alike_are_not_compared_unless_asked_to(store, fill):
    fill("A", lognormal(100), deployment__environment__name="production")
    fill("B", lognormal(100, 300), deployment__environment__name="staging")
    found = one(store, asking("latency"))
    assert found.verdict is Verdict.NOT_ENOUGH_DATA
    assert "--stratify-by none" in found.summary
    assert one(store, asking("latency", stratify_by=["none"])).verdict is Verdict.REGRESSED


def test_users_are_held_equal_where_both_versions_have_them(store, fill):
    heavy = [f"u{n % 10}" for n in range(200)]
    for version, counts in (("A", (200, 40)), ("B", (40, 200))):
        fill(version, lognormal(counts[0], 100, 1), says={"user__id": heavy[: counts[0]]})
        light = [f"v{n % 10}" for n in range(counts[1])]
        fill(version, lognormal(counts[1], 300, 2), says={"user__id": light})
    found = compare.compare(store, asking("latency"))
    assert [each.dimension for each in found.mix] == ["user"]
    [latency] = found.metrics
    assert latency.stratified.strata_count == 20
    assert latency.verdict is not Verdict.REGRESSED


@pytest.fixture
def assess(send_logs):
    """Write feedback on traces, a value each."""

    def write(name, numbers, values):
        send_logs(
            *(
                {
                    "trace": number,
                    "at": number,
                    "event_name": "gen_ai.evaluation.result",
                    "attributes": {
                        "gen_ai.evaluation.name": name,
                        "gen_ai.evaluation.score.label"
                        if isinstance(value, str)
                        else "gen_ai.evaluation.score.value": value,
                    },
                }
                for number, value in zip(numbers, values, strict=True)
            )
        )

    return write


def test_assessments_are_compared_as_what_they_are(store, fill, assess, trace_id):
    rng = np.random.default_rng(4)
    numbers = {version: fill(version, [5.0] * 120) for version in "AB"}
    for version, good, tones in (
        ("A", 90, ("kind", "plain", "rude")),
        ("B", 50, ("rude", "rude", "plain")),
    ):
        assess("right", numbers[version], ["yes"] * good + ["no"] * (120 - good))
        assess("score", numbers[version], rng.normal(3 if version == "A" else 4, 1, 120).tolist())
        assess("tone", numbers[version], [tones[n % 3] for n in range(120)])
    asked = ("assessment:right", "assessment:score", "assessment:tone")
    found = by_metric(compare.compare(store, asking(*asked)))
    right, score, tone = (found[name] for name in asked)
    assert (right.unit, right.verdict) == ("share", Verdict.REGRESSED)
    assert [right.figures[0].baseline.value, right.figures[0].candidate.value] == [0.75, 50 / 120]
    assert right.summary.startswith(
        "assessment right is lower in B than in A, which is worse: 75 %"
    )
    assert (score.unit, score.verdict) == ("", Verdict.IMPROVED)
    assert tone.verdict is Verdict.CHANGED
    assert tone.direction is Direction.UNSPECIFIED
    assert {each.category: each.candidate_count for each in tone.categories} == {
        "rude": 80,
        "plain": 40,
        "kind": 0,
    }
    rude = {trace_id(number) for n, number in enumerate(numbers["B"]) if n % 3 < 2}
    assert len(rude.intersection(tone.example_trace_ids)) == 3
    table = [[40, 40, 40], [0, 40, 80]]
    assert tone.p_value == pytest.approx(stats.chi2_contingency(table).pvalue, rel=0.05)
    assert tone.summary.startswith("assessment tone differs between A and B: rude 33.3 % -> 66.7 %")
    turned = MetricQuery("assessment:right", Direction.LESS)
    assert one(store, asking(turned)).verdict is Verdict.IMPROVED
    with pytest.raises(NotFound, match=r"has the name rigth; the most similar: right"):
        compare.compare(store, asking("assessment:rigth"))


def test_spans_are_measured_by_name_entry_and_attribute(store, send):
    rng = np.random.default_rng(6)
    for version, base, scale in (("A", 0, 1.0), ("B", 1000, 2.0)):
        spans, entries = [], []
        for number in range(base + 1, base + 61):
            of = {"trace": number, "ms": float(rng.lognormal(3, 0.3) * scale)}
            said = {"attributes": {"found": int(10 * scale), "label": "x"}, "status": 2}
            spans.append({"trace": number, "span": 1, "name": "ask", "ms": 1000.0})
            spans.append(of | said | {"span": 2, "parent": 1, "name": "search"})
            entries.append(of | {"span": 3, "parent": 2, "name": "take", "kind": 2})
        of = {"service__version": version, "vtrack__experiment": "shop"}
        send(*spans, **of)
        for _ in range(2):
            send(*entries, service__name="index", **of)
    asked = ("span_latency:search", "span_error_rate:search", "attribute:found", "entry_latency")
    found = by_metric(compare.compare(store, asking(*asked)))
    assert [found[name].baseline_count for name in asked] == [60, 60, 60, 120]
    assert found["span_latency:search"].verdict is Verdict.REGRESSED
    assert found["span_error_rate:search"].figures[0].baseline.value == 1.0
    attribute = found["attribute:found"]
    assert (attribute.verdict, attribute.measured.value) == (Verdict.CHANGED, "span")
    assert attribute.summary.startswith("attribute found is higher in B than in A: mean 10 -> 20")
    entry = one(store, asking("entry_latency", service_name="index"))
    assert (entry.baseline_count, entry.candidate_count) == (60, 60)
    assert entry.summary.startswith("B responds more slowly than A")
    for metric, near in (("span_latency:serch", "search"), ("attribute:fond", "found")):
        with pytest.raises(NotFound, match=f"the most similar: {near}"):
            compare.compare(store, asking(metric))


def test_a_service_that_begins_no_traces_is_compared_by_its_spans(store, send):
    rng = np.random.default_rng(12)
    for version, base, counts in (("A", 0, (120, 40)), ("B", 1000, (40, 120))):
        roots, entries = [], []
        for number in range(sum(counts)):
            slow = number >= counts[0]
            ms = float(rng.lognormal(math.log((300 if slow else 100) * (1 - base / 5000)), 0.3))
            trace = {"trace": base + number + 1, "ms": ms}
            roots.append(trace | {"span": 1, "name": "slow" if slow else "fast"})
            entries.append(trace | {"span": 2, "parent": 1, "kind": 2})
        send(*roots, service__version="front", vtrack__experiment="shop")
        send(*entries, service__version=version, vtrack__experiment="shop")
    found = compare.compare(store, asking("entry_latency"))
    assert [each.dimension for each in found.mix] == ["route"]
    assert found.metrics[0].stratified.dimensions == ("route",)
    assert found.metrics[0].verdict is Verdict.IMPROVED
    with pytest.raises(NotFound, match="compare it by --metric entry_latency"):
        compare.compare(store, asking("latency"))


def test_cost_is_that_of_a_trace_s_info_and_names_models_without_a_price(store, send):
    rng = np.random.default_rng(9)
    spans = {"A": [], "B": []}
    for number in range(1, 80):
        usage = {
            "gen_ai.usage.input_tokens": int(rng.integers(1, 9999)),
            "gen_ai.usage.output_tokens": int(rng.integers(1, 999)),
            "gen_ai.request.model": "gpt-4o" if number % 8 else "nobody's",
        }
        # A span above that reports the same, and so must not count twice.
        root = {"trace": number, "span": 1, "attributes": usage}
        spans["AB"[number % 2]] += [root, root | {"span": 2, "parent": 1}]
    for version, sent in spans.items():
        send(*sent, service__version=version)
    infos = trace_search.search(store, page_size=1000).traces
    found = one(store, asking("cost"))
    figure = found.figures[0]
    for version, estimate in (("A", figure.baseline), ("B", figure.candidate)):
        costs = [
            each.cost.total_cost
            for each in infos
            if each.version == version and not each.cost.unknown_models
        ]
        assert estimate.value == pytest.approx(np.mean(costs))
    assert (found.unpriced_count, found.unpriced_models) == (9, ("nobody's",))
    assert "9 traces without a price excluded (nobody's)" in found.summary


def test_models_without_a_price_are_those_of_the_place_that_is_compared(store, send):
    for number, (version, place) in enumerate(product("AB", ("production", "staging"))):
        usage = {"gen_ai.usage.input_tokens": 5, "gen_ai.request.model": f"nobody's in {place}"}
        send(
            *({"trace": 40 * number + n + 1, "attributes": usage} for n in range(30)),
            service__version=version,
            deployment__environment__name=place,
        )
    found = one(store, asking("cost", environment="staging"))
    assert (found.unpriced_count, found.unpriced_models) == (60, ("nobody's in staging",))


def test_a_filter_and_groups_restrict_to_what_they_say(store, fill):
    for version, scale in (("A", 100), ("B", 100)):
        for route, times in (("pay", 1 if version == "A" else 3), ("look", 1)):
            for variant in ("on", "off"):
                says = {"name": route, "vtrack__flag__cache": variant}
                fill(version, lognormal(60, scale * times), says=says)
    found = compare.compare(store, asking("latency", filter="name = 'look'"))
    assert (found.baseline.trace_count, found.filter) == (120, "name = 'look'")
    assert found.metrics[0].p_value == 1.0
    assert compare.compare(store, asking("latency", filter="execution_time > 1d")).metrics[
        0
    ].verdict is (Verdict.NOT_ENOUGH_DATA)
    found = compare.compare(store, asking("latency", group_by=["route", "flag:cache"]))
    groups = {tuple(each.values.values()): each for each in found.groups}
    assert set(groups) == {("pay", "on"), ("pay", "off"), ("look", "on"), ("look", "off")}
    assert groups["pay", "on"].metrics[0].verdict is Verdict.REGRESSED
    assert groups["look", "off"].metrics[0].verdict is Verdict.NO_EVIDENCE
    assert (groups["look", "off"].baseline_count, groups["look", "off"].candidate_count) == (60, 60)
    raw = [each.p_value for part in (found, *found.groups) for each in part.metrics]
    raw += [part.metrics[0].tail.p_value for part in (found,)]
    latency = found.metrics[0]
    assert latency.adjusted_p_value == pytest.approx(stats.false_discovery_control(raw)[0])


@pytest.mark.parametrize(
    ("question", "says"),
    [
        (asking("latncy"), "did you mean latency"),
        (asking("assessment"), "write assessment:NAME"),
        (asking("latency:x"), "write latency"),
        (asking("latency", "latency"), "is given twice"),
        (asking(MetricQuery("error_rate", smallest_relative_change=0.1)), "write points"),
        (asking(MetricQuery("latency", smallest_absolute_change=-1.0)), "above 0"),
        (asking("latency", group_by=["rout"]), "did you mean route"),
        (asking("latency", stratify_by=["flag:"]), "is not a dimension"),
        (asking("latency", filter="nam = 'x'"), "name"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_to_write(store, fill, question, says):
    fill("A", [1.0])
    fill("B", [1.0])
    with pytest.raises(InvalidArgument, match=says):
        compare.compare(store, question)


def test_unfinished_traces_are_left_out_and_counted(store, send, fill):
    fill("A", [1.0] * 3)
    fill("B", [1.0] * 3)
    send({"trace": 900, "parent": 5, "ms": 9999}, service__version="A")
    found = compare.compare(store, AB)
    assert (found.baseline.trace_count, found.baseline.in_progress_count) == (3, 1)
    assert by_metric(found)["latency"].figures[-1].baseline.value == 1.0


def test_only_metrics_asked_for_are_compared_and_adjusted_for(store, fill):
    fill("A", lognormal(50))
    fill("B", lognormal(50, 110, seed=2))
    found = one(store, asking("latency"))
    assert found.metric == "latency"
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


def test_the_baseline_may_have_a_time_range_of_its_own(store, send):
    def sent(version, days, scale, seed):
        values = lognormal(60, scale, seed)
        number = 1000 * seed
        send(
            *(
                {
                    "trace": number + n,
                    "span": number + n,
                    "at": days * _DAY_MS + n,
                    "ms": float(ms),
                    "name": "ask",
                    "status": 2 * (n < 6),
                }
                for n, ms in enumerate(values)
            ),
            service__version=version,
        )

    sent("A", 0, 100, 1)
    sent("A", 5, 400, 2)
    sent("B", 5, 150, 3)
    day_5 = START_NS + 5 * _DAY_MS * 1_000_000
    before = {"baseline_start_time_until_ns": day_5 - 1, "start_time_from_ns": day_5}
    for metric in ("latency", "span_latency:ask"):
        assert one(store, asking(metric)).verdict is Verdict.IMPROVED
        found = compare.compare(store, asking(metric, **before))
        assert (found.baseline.trace_count, found.candidate.trace_count) == (60, 60)
        assert found.metrics[0].verdict is Verdict.REGRESSED
        assert found.metrics[0].baseline_count == 60
    assert found.baseline.last_seen_ns < day_5 <= found.candidate.first_seen_ns
    later = asking("latency", baseline_start_time_from_ns=day_5, max_traces=150)
    assert compare.compare(store, later).baseline.trace_count == 60


def test_categories_and_the_tail_are_compared_like_with_like(store, fill, assess):
    rng = np.random.default_rng(8)
    for version, counts in (("A", (300, 100)), ("B", (100, 300))):
        for route, count, scale, rude in (("look", counts[0], 50, 3), ("pay", counts[1], 400, 7)):
            numbers = fill(
                version, rng.lognormal(math.log(scale), 0.4, count), says={"name": route}
            )
            tones = ["rude" if n % 10 < rude else "plain" for n in range(count)]
            tones[::20] = ["kind"] * len(tones[::20])
            assess("tone", numbers, tones)
    found = by_metric(compare.compare(store, asking("assessment:tone", "latency")))
    tone, latency = found["assessment:tone"], found["latency"]
    assert tone.stratified.decides
    assert tone.stratified.crude_p_value < 1e-6
    assert tone.verdict is Verdict.NO_EVIDENCE
    assert tone.test == "generalized Mantel-Haenszel chi-square"
    assert {
        tuple(each.values.values()): each.baseline_count for each in tone.stratified.strata
    } == {
        ("look",): 300,
        ("pay",): 100,
    }
    rude = next(each for each in tone.categories if each.category == "rude")
    assert rude.candidate.value - rude.baseline.value > 0.15
    assert abs(rude.difference.value) < 0.02
    assert latency.tail.change.lower < 0 < latency.tail.change.upper
    assert latency.tail.change.upper - latency.tail.change.lower < 0.6
    asked = asking("assessment:tone", stratify_by=["none"])
    assert one(store, asked).verdict is Verdict.CHANGED


def test_traces_that_stand_for_others_count_as_many(store, send):
    rng = np.random.default_rng(5)
    for version, base in (("A", 0), ("B", 10_000)):
        spans = []
        for n, ms in enumerate(rng.lognormal(math.log(100), 0.5, 2000)):
            failed = n % 25 == 0
            kept = failed or ms > 220
            if version == "B" and not kept and rng.random() > 0.1:
                continue
            spans.append(
                {
                    "trace": base + n + 1,
                    "span": base + n + 1,
                    "at": n,
                    "ms": float(ms),
                    "name": "ask",
                    "status": 2 * failed,
                    # One in ten was kept of what neither failed nor was slow.
                    "trace_state": "" if version == "A" or kept else "ot=th:e6666666666666",
                }
            )
        send(*spans, service__version=version)
    found = compare.compare(store, asking("latency", "error_rate"))
    assert found.baseline.adjusted_count == found.baseline.trace_count == 2000
    assert 400 > found.candidate.trace_count > 250
    assert found.candidate.adjusted_count == pytest.approx(2000, rel=0.06)
    latency, errors = found.metrics
    assert Verdict.REGRESSED not in {latency.verdict, errors.verdict}
    assert errors.test == "weighted two-proportion z"
    assert errors.figures[0].candidate.value == pytest.approx(0.04, rel=0.07)
    p95 = next(each for each in latency.figures if each.figure == "p95")
    assert abs(p95.change.value) < 0.1
    count = found.candidate.trace_count
    assert f"2,000 and {count:,} that were stored stand for 2,000 and" in latency.test_reason
    assert not found.mix


def test_many_traces_are_sampled_the_smaller_version_the_least(store, fill):
    fill("A", lognormal(1200), tokens=[1] * 1200)
    fill("B", lognormal(100, seed=2), tokens=[1] * 100)
    found = compare.compare(store, asking("latency", "tokens", max_traces=400))
    assert (found.baseline.sampled_one_in, found.candidate.sampled_one_in) == (4, 1)
    assert found.sampled_one_in == 4
    assert 220 < found.baseline.trace_count < 380
    assert found.candidate.trace_count == 100
    tokens = by_metric(found)["tokens"]
    assert 20 < tokens.candidate_count < 60
    assert compare.compare(store, AB).sampled_one_in == 1
    dense = compare.compare(
        store, asking("latency", max_traces=400, filter="execution_time < 50ms")
    )
    assert dense.baseline.sampled_one_in == 1


def test_retried_traces_count_once(store, fill, writer, make_spans):
    request = make_spans(
        {"ms": 5, "attributes": {"gen_ai.usage.input_tokens": 7}}, service__version="A"
    )
    for _ in range(3):
        writer.write_traces(request.SerializeToString())
    fill("B", [1.0] * 2)
    found = compare.compare(store, AB)
    assert found.baseline.trace_count == 1
    assert by_metric(found)["tokens"].figures[0].baseline.value == 7


def test_it_does_not_matter_in_how_many_parts_traces_came(store, send):
    rng = np.random.default_rng(15)
    for version, scale in (("A", 100.0), ("B", 130.0)):
        parts = {"whole": [], "parts": []}
        for number in range(1, 41):
            ms, used = float(rng.lognormal(0, 0.4) * scale), int(rng.integers(10, 900))
            nested = number % 4 == 0
            usage = {
                "gen_ai.usage.input_tokens": used,
                "gen_ai.usage.output_tokens": 5,
                "gen_ai.request.model": "gpt-4o",
            }
            for base, spans in enumerate(parts.values()):
                trace = {"trace": number + 1000 * base + (5000 if version == "B" else 0)}
                root = trace | {"span": 1, "ms": ms, "name": "pay" if number % 2 else "look"}
                asks = trace | {"span": 2, "parent": 1, "ms": 2 * ms, "attributes": usage}
                told = {"session.id": f"{base}-{version}-{number // 2}"}
                # Of every fourth the one above reports the same.
                also = usage if nested else {}
                spans.append((root | {"attributes": also, "status": 2 * (number % 5 == 0)}, asks))
                spans[-1][1]["attributes"] = usage | told
        of = {"service__version": version}
        send(*(each for pair in parts["whole"] for each in pair), vtrack__experiment="whole", **of)
        for place in (1, 0):
            send(*(pair[place] for pair in parts["parts"]), vtrack__experiment="parts", **of)
    asked = ("latency", "error_rate", "tokens", "cost", "span_latency:pay")
    for said in ("", "status = 'OK'", "session_id LIKE '%-A-%' OR total_tokens > 100"):
        question = asking(*asked, filter=said, group_by=["route"])
        whole, parts = (
            compare.compare(store, replace(question, experiment=name))
            for name in ("whole", "parts")
        )
        assert whole.metrics[0].baseline_count > 20
        for one_of, other in zip((whole, *whole.groups), (parts, *parts.groups), strict=True):
            for each, like in zip(one_of.metrics, other.metrics, strict=True):
                told, alike = (
                    (of.baseline_count, of.candidate_cluster_count, of.verdict, of.test)
                    for of in (each, like)
                )
                assert told == alike, each.metric
                assert like.p_value == pytest.approx(each.p_value), each.metric
                for figure, also in zip(each.figures, like.figures, strict=True):
                    for of, by in (
                        (figure.baseline, also.baseline),
                        (figure.candidate, also.candidate),
                    ):
                        assert (by and by.value) == pytest.approx(of and of.value), each.metric


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
    mean = one(store, asking("tokens")).figures[0].baseline
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
    assert found["latency"].effect_size == pytest.approx(greater)
    assert found["error_rate"].effect_size == pytest.approx(
        2 * (math.asin(math.sqrt(0.5)) - math.asin(math.sqrt(0.1)))
    )
    assert found["tokens"].effect_size is None


WORSE, BETTER = Estimate(0.3, 0.2, 0.4), Estimate(-0.3, -0.4, -0.2)
MUCH_WORSE, HARDLY = Estimate(0.9, 0.7, 1.1), Estimate(0.02, 0.01, 0.03)
UNSURE = Estimate(0.02, -0.1, 0.2)


def tail(change, *, up=True, p=0.01):
    share = Estimate(0.05)
    return Tail(
        threshold=1.0,
        baseline=share,
        candidate=share,
        test="",
        p_value=p,
        candidate_is_greater=up,
        change=change,
        adjusted_p_value=p,
    )


@pytest.mark.parametrize(
    ("found", "verdict", "findings", "deciding"),
    [
        ({}, "REGRESSED", "p50", "p50"),
        ({"direction": Direction.MORE}, "IMPROVED", "p50", "p50"),
        ({"direction": Direction.UNSPECIFIED}, "CHANGED", "p50", "p50"),
        ({"deciding_change": BETTER, "candidate_is_greater": False}, "IMPROVED", "p50", "p50"),
        ({"adjusted_p_value": None}, "NOT_ENOUGH_DATA", "", "p50"),
        ({"adjusted_p_value": 0.05}, "NO_EVIDENCE", "", "p50"),
        ({"deciding_change": UNSURE, "adjusted_p_value": 0.6}, "NO_EVIDENCE", "", "p50"),
        # However certain: too small to matter. Less than 5 % is, and 5 % is not.
        ({"deciding_change": HARDLY}, "EQUIVALENT", "", "p50"),
        (
            {
                "deciding_change": HARDLY,
                "smallest_relative_change": None,
                "smallest_absolute_change": 0.05,
            },
            "EQUIVALENT",
            "",
            "p50",
        ),
        ({"deciding_change": Estimate(0.03, 0.01, 0.05)}, "REGRESSED", "p50", "p50"),
        ({"deciding_change": Estimate(-0.01, -0.05, 0.01)}, "REGRESSED", "p50", "p50"),
        ({"deciding_change": Estimate(0.02, None, 0.03)}, "REGRESSED", "p50", "p50"),
        # From nothing to something.
        ({"deciding_change": None}, "REGRESSED", "p50", "p50"),
        ({"deciding_change": None, "tail": tail(WORSE)}, "REGRESSED", "p50 p95", "p50"),
        # Categories have no order; without any of them there is no difference.
        ({"candidate_is_greater": None}, "NO_EVIDENCE", "", "p50"),
        (
            {"candidate_is_greater": None, "categories": (Category("", 1, 1, *[None] * 3),)},
            "CHANGED",
            "p50",
            "p50",
        ),
        # The worse one of bulk and tail decides, and of two the one that is worse by more.
        ({"tail": tail(UNSURE, p=0.6)}, "REGRESSED", "p50", "p50"),
        ({"tail": tail(MUCH_WORSE)}, "REGRESSED", "p50 p95", "p95"),
        ({"tail": tail(WORSE), "deciding_change": MUCH_WORSE}, "REGRESSED", "p50 p95", "p50"),
        ({"tail": tail(BETTER, up=False)}, "REGRESSED", "p50 p95", "p50"),
        (
            {"tail": tail(WORSE), "deciding_change": BETTER, "candidate_is_greater": False},
            "REGRESSED",
            "p50 p95",
            "p95",
        ),
        (
            {
                "tail": tail(Estimate(-0.9, -1.1, -0.7), up=False),
                "deciding_change": BETTER,
                "candidate_is_greater": False,
                "direction": Direction.MORE,
            },
            "REGRESSED",
            "p50 p95",
            "p95",
        ),
        ({"tail": tail(WORSE), "deciding_change": HARDLY}, "REGRESSED", "p95", "p95"),
        ({"tail": tail(None), "deciding_change": HARDLY}, "REGRESSED", "p95", "p95"),
        ({"tail": tail(WORSE, p=0.05), "deciding_change": HARDLY}, "NO_EVIDENCE", "", "p50"),
        ({"tail": tail(WORSE, up=None), "deciding_change": HARDLY}, "NO_EVIDENCE", "", "p50"),
        ({"tail": tail(HARDLY), "deciding_change": HARDLY}, "EQUIVALENT", "", "p50"),
    ],
)
def test_the_verdict_is_about_what_matters_and_goes_by_what_is_worse(
    found, verdict, findings, deciding
):
    measured = MetricComparison(
        metric="latency",
        unit="ms",
        measured=Unit.TRACE,
        baseline_count=500,
        candidate_count=500,
        deciding_figure="p50",
        **{
            "direction": Direction.LESS,
            "adjusted_p_value": 0.01,
            "candidate_is_greater": True,
            "deciding_change": WORSE,
            "smallest_relative_change": 0.05,
            "smallest_absolute_change": None,
        }
        | found,
    )
    judged = comparing.verdict(measured)
    assert (judged.verdict.name, " ".join(judged.findings)) == (verdict, findings)
    assert judged.deciding_figure == deciding
    assert judged.deciding_change == (
        measured.tail.change if deciding == "p95" else measured.deciding_change
    )
