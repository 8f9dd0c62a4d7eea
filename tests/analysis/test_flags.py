"""Flags, by telemetry in a real store with effects that are planted in it."""

import numpy as np
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_vtrack.analysis.compare import Verdict
from otel_vtrack.analysis.flags import breaks, changes, exposure, interactions, variants
from otel_vtrack.analysis.flags.changes import FlagChangeKind
from otel_vtrack.analysis.flags.interactions import Basis, InteractionVerdict
from otel_vtrack.errors import InvalidArgument, NotFound
from otel_vtrack.query import flags
from otel_vtrack.query.flags import Where

START = 1_790_000_000_000_000_000
MINUTE = 60_000
FLAG = "new-retriever"


@pytest.fixture
def chance():
    return np.random.default_rng(11)


@pytest.fixture
def traffic(send):
    """Send traces of a version: `rows` of milliseconds, whether it failed, and attributes."""
    numbers = iter(range(1, 1 << 30))

    def write(version, rows, *, at=0, every=1000, **resource):
        send(
            *(
                {
                    "trace": next(numbers),
                    "at": at + n * every,
                    "ms": ms,
                    "status": 2 * failed,
                    "attributes": attributes,
                }
                for n, (ms, failed, attributes) in enumerate(rows)
            ),
            service__version=version,
            **resource,
        )

    return write


def seen(variant, **others):
    return {f"vtrack.flag.{FLAG}": variant, **others}


@pytest.fixture
def slower_where_on(traffic, chance):
    """2.4.0 takes 40 ms more where the flag is on, and nothing else differs."""
    for version in ("2.3.1", "2.4.0"):
        rows = []
        for n in range(1200):
            on = n % 2
            mean = 100 + 10 * on + 40 * (on and version == "2.4.0")
            rows.append(
                (
                    max(1, chance.normal(mean, 20)),
                    chance.random() < 0.1,
                    seen("on" if on else "off", **{"gen_ai.usage.input_tokens": 50 + n % 7}),
                )
            )
        traffic(version, rows, deployment__environment__name="production")


VERSIONS = Where(versions=("2.3.1", "2.4.0"))


def test_an_interaction_is_found_with_its_size_and_nothing_else_is_claimed(store, slower_where_on):
    found = interactions.find(store, VERSIONS)
    first, *others = found.interactions
    assert (first.metric, first.flag, first.variant) == ("latency", FLAG, "on")
    assert first.reference_variant == "off"
    assert first.verdict is InteractionVerdict.DEPENDS
    assert first.difference.lower < 40 < first.difference.upper
    assert first.difference.upper - first.difference.lower < 12
    assert first.adjusted_p_value < 1e-10
    assert first.summary.startswith(f"2.4.0 is slower than 2.3.1 where {FLAG} = on: "), (
        first.summary
    )
    assert "no evidence of that where it is off" in first.summary
    assert [each.verdict for each in others] == [InteractionVerdict.NO_EVIDENCE] * 2
    assert (first.change.baseline_count, first.change.candidate_count) == (600, 600)


def test_a_flag_that_the_candidate_brought_is_split_against_the_whole_baseline(
    store, traffic, chance
):
    traffic("1", [(max(1, chance.normal(100, 15)), False, {}) for _ in range(400)])
    for variant, mean in (("on", 150), ("off", 100)):
        traffic("2", [(chance.normal(mean, 15), False, seen(variant)) for _ in range(400)])
    [only] = interactions.find(store, Where(versions=("1", "2")), metrics=["latency"]).interactions
    assert not only.baseline_saw_flag
    assert only.difference.lower < 50 < only.difference.upper
    assert only.reference_change.baseline_count == only.change.baseline_count == 400
    assert "no evidence of that where it is off" in only.summary
    assert (only.basis, only.shared_variant) == (Basis.CANDIDATE, "")
    assert "both are compared with all of its traces, which tests the variants of 2" in only.summary


RAMP = {
    "1": (lambda n: "new" if n < 5 else "old"),
    "2": (lambda n: "new" if n % 2 else "old"),
    "3": (lambda n: "old" if n < 5 else "new"),
}


@pytest.fixture
def ramp(traffic, chance):
    """The old variant for all but a few, then half of them, then few; the new one takes 40 ms more.

    The first version fails ten times as often, whatever the variant.
    """
    for version, variant in RAMP.items():
        told = [variant(n) for n in range(600)]
        traffic(
            version,
            [
                (
                    chance.normal(100 + 40 * (each == "new"), 10),
                    chance.random() < (0.3 if version == "1" else 0.03),
                    seen(each),
                )
                for each in told
            ],
        )


def test_a_rollout_that_began_or_ended_with_a_version_is_told_apart_by_the_other(store, ramp):
    began, failed = interactions.find(store, Where(versions=("1", "2"))).interactions
    assert (began.variant, began.reference_variant) == ("new", "old")
    assert (began.basis, began.shared_variant) == (Basis.CANDIDATE, "old")
    assert began.baseline_saw_flag
    assert began.verdict is InteractionVerdict.DEPENDS
    assert began.difference.lower < 40 < began.difference.upper
    assert (began.change.baseline_count, began.change.candidate_count) == (595, 300)
    assert began.change.baseline == began.reference_change.baseline
    assert began.summary.startswith(f"2 is slower than 1 where {FLAG} = new: "), began.summary
    assert "no evidence of that where it is old" in began.summary
    assert (
        "1 has too few traces of new, so both are compared with its traces of old" in began.summary
    )
    assert "which tests the variants of 2 against each other" in began.summary
    # Fewer errors, but under both variants.
    assert (failed.metric, failed.verdict) == ("error_rate", InteractionVerdict.NO_EVIDENCE)
    assert failed.change.p_value < 1e-6

    ended, _ = interactions.find(store, Where(versions=("2", "3"))).interactions
    assert (ended.variant, ended.reference_variant) == ("old", "new")
    assert (ended.basis, ended.shared_variant) == (Basis.BASELINE, "new")
    assert ended.verdict is InteractionVerdict.DEPENDS
    assert ended.difference.lower < 40 < ended.difference.upper
    assert ended.change.candidate == ended.reference_change.candidate
    assert ended.summary.startswith(f"3 is slower than 2 where {FLAG} was old: "), ended.summary
    assert "no evidence of that where it was new" in ended.summary

    # All at once: version and variant cannot be told apart.
    at_once = interactions.find(store, Where(versions=("1", "3"))).interactions
    assert [each.verdict for each in at_once] == [InteractionVerdict.NOT_ENOUGH_DATA] * 2
    assert "3 needs 20 traces of each with this metric, and 1 20 of one" in at_once[0].summary


def test_what_one_user_of_the_baseline_saw_does_not_stand_in_the_way(store, traffic, chance):
    """Somebody tried the new variant out, forty times, before it was rolled out."""
    for version in ("1", "2"):
        rows = []
        for n in range(400):
            user = n % 40
            variant = "new" if (user % 2 if version == "2" else n < 40) else "old"
            user = "tester" if version == "1" and n < 40 else f"{version}-{user}"
            rows.append(
                (
                    chance.normal(100 + 40 * (variant == "new"), 10),
                    False,
                    seen(variant, **{"user.id": user}),
                )
            )
        traffic(version, rows)
    [only] = interactions.find(store, Where(versions=("1", "2")), metrics=["latency"]).interactions
    assert (only.basis, only.verdict) == (Basis.CANDIDATE, InteractionVerdict.DEPENDS)
    assert only.difference.lower < 40 < only.difference.upper


def test_one_burst_of_a_session_is_no_interaction(store, traffic, chance):
    """Ten sessions of sixty traces each: what a session has in common is no effect of a flag."""
    for version in ("1", "2"):
        rows = []
        for session in range(10):
            own = chance.normal(100, 25)
            told = seen("on" if session % 2 else "off", **{"session.id": f"{version}-{session}"})
            rows += [(max(1, own + chance.normal(0, 2)), False, told) for _ in range(60)]
        traffic(version, rows)
    [only] = interactions.find(store, Where(versions=("1", "2")), metrics=["latency"]).interactions
    assert only.verdict is InteractionVerdict.NO_EVIDENCE
    assert only.difference.upper - only.difference.lower > 30


@pytest.mark.parametrize(("users", "clusters"), [(20, 20), (19, 6)])
def test_traces_belong_together_by_user_or_where_there_are_few_by_session(
    store, traffic, users, clusters
):
    traffic("1", [(5, False, {"user.id": n % users, "session.id": n % 6}) for n in range(60)])
    assert len(np.unique(flags.sample(store, Where()).clusters)) == clusters


def test_variants_are_compared_within_a_version(store, slower_where_on):
    found = variants.compare_variants(store, Where(versions=("2.4.0",)), flag=FLAG)
    assert [each.variant for each in found.variants] == ["off", "on"]
    assert [each.trace_count for each in found.variants] == [600, 600]
    by = {(each.metric, each.variant): each for each in found.metrics}
    latency = by["latency", "on"]
    assert latency.verdict is Verdict.REGRESSED
    mean = latency.figures[0]
    assert mean.difference.lower < 50 < mean.difference.upper
    assert mean.change.lower < 0.5 < mean.change.upper
    assert by["error_rate", "on"].verdict is Verdict.NO_EVIDENCE
    assert by["tokens", "on"].count == 600
    assert by["latency", "off"].verdict is None
    swapped = variants.compare_variants(
        store, Where(versions=("2.4.0",)), flag=FLAG, reference_variant="on", metrics=["latency"]
    )
    assert swapped.metrics[1].verdict is Verdict.IMPROVED


def test_what_makes_no_sense_is_refused_with_what_to_do(store, traffic):
    traffic("2.4.0", [(5, False, seen("on")), (5, False, seen("off"))])
    only = Where(versions=("2.4.0",))
    with pytest.raises(NotFound, match="vtrack flags list"):
        variants.compare_variants(store, only, flag="other")
    with pytest.raises(InvalidArgument, match="choose from o"):
        variants.compare_variants(store, only, flag=FLAG, reference_variant="x")
    with pytest.raises(InvalidArgument, match="did you mean cost"):
        variants.compare_variants(store, only, flag=FLAG, metrics=["costs"])
    for asked, says in (
        (["cost", "latency", "cost"], "metric cost is given twice"),
        ([f"attribute:{n}" for n in range(51)], "50 metrics at most"),
    ):
        with pytest.raises(InvalidArgument, match=says):
            variants.compare_variants(store, only, flag=FLAG, metrics=asked)
    with pytest.raises(InvalidArgument, match="is given twice"):
        changes.find(store, only, metrics=["latency", "latency"])
    with pytest.raises(InvalidArgument, match="choose from latency, error_rate, tokens"):
        changes.find(store, only, metrics=["cost"])
    with pytest.raises(NotFound, match="no span of these versions has the name x"):
        variants.compare_variants(store, only, flag=FLAG, metrics=["span_latency:x"])
    with pytest.raises(NotFound, match="version 3 has no traces"):
        interactions.find(store, Where(versions=("2.4.0", "3")))
    traffic("2.4.0", [(5, False, seen("on"))], vtrack__experiment="another")
    with pytest.raises(InvalidArgument, match="--experiment another"):
        variants.compare_variants(store, only, flag=FLAG)


def event(name, **attributes):
    made = Span.Event(name=name)
    for key, value in attributes.items():
        made.attributes.add(key=f"feature_flag.{key.replace('__', '.')}").value.string_value = value
    return made


def evaluated(variant):
    return event("feature_flag.evaluation", key=FLAG, result__variant=variant)


@pytest.fixture
def answered(send, send_logs, chance):
    """Traces of two spans each: where the flag is on, version 2 asks for twice as many tokens.

    Its step takes 30 ms more there, and its answers are right less often. Every tenth trace that
    saw the flag on saw it off later.
    """
    spans, logs = {1: [], 2: []}, []
    for number in range(1, 801):
        on, version = number % 2, 1 + (number > 400)
        changed = on and version == 2
        first = evaluated("on" if on else "off")
        later = evaluated("off" if number % 20 == 1 else "on" if on else "off")
        step = {
            "trace": number,
            "span": 2,
            "parent": 1,
            "name": "ask",
            "at": number * 1000 + 1,
            "ms": max(1, chance.normal(40 + 30 * changed, 5)),
            "status": 2 * (chance.random() < (0.4 if changed else 0.1)),
            "attributes": {
                "gen_ai.request.model": "gpt-4o",
                "gen_ai.usage.input_tokens": 1000 * (1 + changed) + number % 50,
                "documents": 5 + changed + number % 3,
            },
        }
        root = {"trace": number, "name": "/ask", "at": number * 1000, "ms": 200}
        spans[version] += [root | {"events": [first, later]}, step]
        if number % 4 < 2:
            right = chance.random() < (0.4 if changed else 0.8)
            told = {
                "gen_ai.evaluation.name": "right",
                "gen_ai.evaluation.score.value": float(right),
            }
            of = {"trace": number, "event_name": "gen_ai.evaluation.result", "attributes": told}
            logs.append(of)
    for version, made in spans.items():
        send(*made, service__version=str(version))
    send_logs(*logs)


def test_variants_are_compared_by_whatever_versions_are(store, answered):
    asked = (
        *("latency", "cost", "entry_latency", "span_latency:ask", "span_error_rate:ask"),
        *("attribute:documents", "assessment:right"),
    )
    found = variants.compare_variants(store, Where(versions=("2",)), flag=FLAG, metrics=asked)
    by = {each.metric: each for each in found.metrics if each.variant == "on"}
    assert list(by) == list(asked)
    assert {name: each.verdict for name, each in by.items()} == {
        "latency": Verdict.NO_EVIDENCE,
        "cost": Verdict.REGRESSED,
        "entry_latency": Verdict.NO_EVIDENCE,
        "span_latency:ask": Verdict.REGRESSED,
        "span_error_rate:ask": Verdict.REGRESSED,
        "attribute:documents": Verdict.CHANGED,
        "assessment:right": Verdict.REGRESSED,
    }
    assert {each.count for each in by.values()} == {200, 100}
    assert by["cost"].unit == "USD"
    # 1,000 tokens more at 2.50 USD a million.
    assert by["cost"].figures[0].difference.value == pytest.approx(0.0025, rel=0.01)
    assert by["span_latency:ask"].figures[0].difference.value == pytest.approx(30, abs=2)
    assert by["attribute:documents"].figures[0].difference.value == pytest.approx(1, abs=0.3)
    assert "2 costs more than where it is off: $0.00" in by["cost"].summary
    documents = by["attribute:documents"].summary
    assert "attribute documents of 2 is higher than where it is off: 6" in documents
    assert "assessment right of 2 is lower than" in by["assessment:right"].summary
    assert [(each.variant, each.switched_count) for each in found.variants] == [
        ("off", 0),
        ("on", 20),
    ]
    # And what of it came with a version.
    both = Where(versions=("1", "2"))
    told = interactions.find(store, both, metrics=["cost", "span_latency:ask"]).interactions
    assert [each.verdict for each in told] == [InteractionVerdict.DEPENDS] * 2
    assert {each.change.baseline_count for each in told} == {200}
    cost = next(each for each in told if each.metric == "cost")
    assert cost.summary.startswith(f"2 costs more than 1 where {FLAG} = on: $0.0025")


def test_flags_are_listed_however_they_came_and_retries_count_once(store, send, send_logs):
    for _ in range(2):
        send(
            {"trace": 1, "attributes": seen("on")},
            {
                "trace": 2,
                "at": 5,
                "events": [event("feature_flag.evaluation", key=FLAG, result__variant="on")],
            },
            {"trace": 3, "at": 9, "events": [event("feature_flag", key=FLAG, variant="off")]},
            # Twice in a trace, and not alike: the first counts.
            {"trace": 4, "span": 1, "at": 20, "attributes": seen("off")},
            {"trace": 4, "span": 2, "parent": 1, "at": 21, "attributes": seen("on")},
            {"trace": 5, "at": 30},
            {"trace": 6, "at": 40},
            service__version="1",
        )
        send_logs(
            {
                "trace": 5,
                "at": 31,
                "event_name": "feature_flag.evaluation",
                "attributes": {"feature_flag.key": FLAG, "feature_flag.result.variant": "on"},
            },
            service__version="1",
        )
    found, one_in = variants.usages(store, Where())
    assert one_in == 1
    assert [(each.variant, each.trace_count) for each in found] == [("on", 3), ("off", 2)]
    on = found[0]
    assert on.group == ("shop", "shop", "", "1")
    assert (on.first_seen_ns - START, on.last_seen_ns - START) == (0, 30_000_000)
    assert on.share.value == 0.5
    assert on.share.lower < 0.5 < on.share.upper
    [bucket] = exposure.expose(store, Where(), flag=FLAG, width_s=60).buckets
    assert (bucket.trace_count, bucket.unevaluated_count) == (6, 1)
    # One of four was kept by a sampler, so that it stands for four.
    send(
        {"trace": 7, "at": 50, "attributes": seen("off"), "trace_state": "ot=th:c"},
        service__version="1",
    )
    found, _ = variants.usages(store, Where())
    assert [(each.variant, each.trace_count) for each in found] == [("off", 6), ("on", 3)]
    assert found[0].share.value == 0.6
    [bucket] = exposure.expose(store, Where(), flag=FLAG, width_s=60).buckets
    assert (bucket.trace_count, bucket.unevaluated_count) == (10, 1)


@pytest.fixture
def flipped(traffic, chance):
    """At minute 120 the flag goes from 10 % to 90 %, which costs 24 ms; version 2 comes later."""
    rows = []
    for n in range(1440):
        on = chance.random() < (0.1 if n < 720 else 0.9)
        rows.append((max(1, chance.normal(100 + 30 * on, 10)), False, seen("on" if on else "off")))
    traffic("1", rows, every=MINUTE // 6, deployment__environment__name="production")
    traffic(
        "2",
        [
            (max(1, chance.normal(127, 10)), False, seen("on" if chance.random() < 0.9 else "off"))
            for _ in range(360)
        ],
        at=240 * MINUTE,
        every=MINUTE // 6,
        deployment__environment__name="production",
    )


def test_a_flip_without_deployment_is_found_by_itself_with_what_it_did(store, flipped):
    found = changes.find(store, Where())
    [only] = found.changes
    assert (only.flag, only.kind, only.version) == (FLAG, FlagChangeKind.VARIANTS, "")
    assert abs((only.time_ns - START) / 1e6 / MINUTE - 120) <= 1
    shift = next(each for each in only.shifts if each.variant == "on")
    assert shift.before.value == pytest.approx(0.1, abs=0.03)
    assert shift.after.value == pytest.approx(0.9, abs=0.03)
    latency = next(each for each in only.metrics if each.metric == "latency")
    assert latency.verdict is Verdict.REGRESSED
    assert latency.change.difference.lower < 24 < latency.change.difference.upper
    # An hour before and after, ten seconds apart.
    assert latency.change.candidate_count == pytest.approx(360, abs=2)
    assert "without a deployment" in only.summary
    # Around the moment, and around one at which nothing happened.
    at = only.time_ns + 20 * MINUTE * 1_000_000
    assert changes.find(store, Where(), time_ns=at).changes[0].time_ns == only.time_ns
    assert changes.find(store, Where(), version="2").changes == []


def test_a_flag_that_comes_with_a_deployment_says_which(store, traffic):
    traffic("1", [(5, False, {}) for _ in range(300)], every=MINUTE // 6)
    traffic("2", [(5, False, seen("on")) for _ in range(300)], at=50 * MINUTE, every=MINUTE // 6)
    [only] = changes.find(store, Where(), version="2").changes
    assert (only.kind, only.version) == (FlagChangeKind.STARTED, "2")
    assert only.time_ns == START + 50 * MINUTE * 1_000_000
    assert "began to be evaluated" in only.summary


def test_what_a_deployment_shortly_before_did_is_not_put_down_to_the_flag(store, traffic):
    told = [("on" if n % 2 else "off") for n in range(200)]
    traffic("1", [(5, False, seen(each)) for each in told])
    traffic("2", [(50, False, seen(each)) for each in told[:100]], at=200_000)
    traffic("2", [(50, False, seen("on")) for _ in told], at=300_000)
    [only] = changes.find(store, Where(), metrics=["latency"]).changes
    assert (only.version, only.version_time_ns) == ("2", START + 200_000 * 1_000_000)
    assert only.time_ns == pytest.approx(START + 300_000 * 1_000_000, abs=3e9)
    assert only.metrics[0].change.baseline.value == only.metrics[0].change.candidate.value == 50
    assert "s after 2 got more of the traffic" in only.summary


def test_exposure_tells_shares_over_time(store, flipped):
    found = exposure.expose(store, Where(), flag=FLAG)
    assert 30 <= len(found.buckets) <= 62
    for bucket in found.buckets:
        minute = (bucket.start_ns - START) / 1e6 / MINUTE
        if 115 < minute < 121:
            continue
        by = {each.variant: each for each in bucket.variants}
        truth = 0.1 if minute < 120 else 0.9
        assert by["on"].share.value == pytest.approx(truth, abs=0.25)
        assert sum(each.trace_count for each in bucket.variants) == bucket.trace_count
    covered = [
        each.share.lower
        <= (0.1 if bucket.start_ns - START < 115 * MINUTE * 1e6 else 0.9)
        <= each.share.upper
        for bucket in found.buckets
        for each in bucket.variants
        if each.variant == "on"
    ]
    assert sum(covered) >= 0.8 * len(covered)
    # One in so many stands for as many.
    sampled = exposure.expose(store, Where(), flag=FLAG, max_traces=200)
    assert sampled.sampled_one_in == 9
    assert sum(each.trace_count for each in sampled.buckets) == pytest.approx(1800, rel=0.3)
    assert exposure.expose(store, Where(), flag="none").buckets == []


def test_nothing_is_found_where_nothing_changes():
    chance = np.random.default_rng(5)
    claimed = 0
    for run in range(60):
        if run % 2:
            codes, clusters = chance.integers(0, 2, 600), np.arange(600)
        else:
            # Sessions of twelve, each with a variant of its own.
            codes, clusters = np.repeat(chance.integers(0, 2, 50), 12), np.repeat(np.arange(50), 12)
        claimed += bool(breaks.find(codes, clusters))
    # A twentieth would be allowed; the bound is a wide one.
    assert claimed <= 3


def test_each_step_of_a_rollout_is_found():
    chance = np.random.default_rng(6)
    steps = (0.0, 0.05, 0.5, 1.0)
    codes = np.concatenate([chance.random(800) < share for share in steps]).astype(int)
    found = [each.at for each in breaks.find(codes, np.arange(len(codes)))]
    assert len(found) == 3
    for at, truth in zip(found, (800, 1600, 2400), strict=True):
        assert abs(at - truth) < 60
