"""Versions on their way through environments, in a real store."""

import pytest

from otel_vtrack.analysis import progression
from otel_vtrack.analysis.progression import Change, State
from otel_vtrack.errors import InvalidArgument

START = 1_790_000_000_000_000_000
HOUR = 3_600_000


@pytest.fixture
def release(writer, make_spans):
    """Write traces of a version in an environment, two a session, over four hours."""
    made = iter(range(1, 100_000))

    def write(version, environment, hour, *, count=60, failing=0, ms=10, tokens=0, **resource):
        model = resource.pop("model", "")
        spans = []
        for n in range(count):
            number = next(made)
            ids = {"trace": number, "at": hour * HOUR + n * 4 * HOUR // count}
            spans.append(
                {
                    **ids,
                    "span": 2 * number,
                    "ms": ms + n / 10,
                    "status": 2 * (n < failing),
                    "attributes": {"session.id": f"{number // 2}"},
                }
            )
            used = {"gen_ai.usage.total_tokens": tokens + n % 2, "gen_ai.response.model": model}
            if tokens:
                child = {"span": 2 * number + 1, "parent": 2 * number, "attributes": used}
                spans.append({**ids, **child})
        writer.write_traces(
            make_spans(
                *spans,
                service__version=version,
                deployment__environment__name=environment,
                service__instance__id=f"{environment}-1",
                **resource,
            ).SerializeToString()
        )

    return write


@pytest.fixture
def three(release):
    release("1", "dev", 0, vcs__ref__head__revision="aaa", tokens=10, model="small")
    release("1", "staging", 6, vcs__ref__head__revision="aaa", tokens=10, model="small")
    release(
        "1",
        "production",
        12,
        count=400,
        failing=40,
        ms=20,
        tokens=30,
        model="large",
        vcs__ref__head__revision="bbb",
    )
    release("2", "dev", 24)
    release("3", "dev", 30)
    release("3", "production", 36)


def test_a_version_is_told_in_each_environment_side_by_side(store, three):
    found = progression.tell(store)
    assert [each.environments for each in found.orders] == [("dev", "staging", "production")]
    assert [each.version for each in found.progressions] == ["3", "2", "1"]
    one = found.progressions[-1]
    assert one.standing.state == State.COMPLETE
    assert [each.environment for each in one.steps] == ["dev", "staging", "production"]
    assert [(each.entered_ns - START) // HOUR // 1_000_000 for each in one.steps] == [0, 6, 12]
    dev, _, production = one.steps
    assert (dev.trace_count, production.trace_count, production.instance_count) == (60, 400, 1)
    assert dev.main_from_ns == dev.entered_ns
    assert dev.still_live is False
    assert dev.live_ns == 59 * 4 * HOUR // 60 * 1_000_000
    assert production.error_rate.value == pytest.approx(0.1)
    # Failures come in whole sessions of two, so that the bounds are those of half as many traces.
    assert production.error_rate.lower < 0.07
    assert dev.latency_p50.value == pytest.approx(12.9)
    assert production.latency_p95.value == pytest.approx(57.9)
    assert dev.latency_p50.lower < 12.9 < dev.latency_p50.upper
    assert production.tokens_per_trace.value == pytest.approx(30.5)
    assert one.changes == [
        Change("staging", "production", "git_commit", ("aaa",), ("bbb",)),
        Change("staging", "production", "model", ("small",), ("large",)),
    ]


def test_what_is_stuck_or_skipped_something_is_told(store, three):
    three_, two, _ = progression.tell(store).progressions
    assert (two.standing.state, two.standing.overtaken_by) == (State.STUCK, "3")
    assert three_.standing.skipped == ("staging",)
    [only] = progression.tell(store, version="2").progressions
    assert only == two


def test_where_what_was_there_from_the_beginning_was_before_is_not_told(store, three):
    later = progression.tell(store, from_ns=START + 11 * HOUR * 1_000_000)
    assert [each.environments for each in later.orders] == [("dev", "production")]
    told = {each.version: each.standing.skipped for each in later.progressions}
    assert told == {"1": (), "2": (), "3": ()}


def test_an_order_that_is_given_holds_and_restricts(store, three):
    found = progression.tell(store, environments=["production", "dev"])
    assert [each.environments for each in found.orders] == [("production", "dev")]
    assert [each.environment for each in found.progressions[-1].steps] == ["production", "dev"]
    assert progression.tell(store, environments=["nowhere"]).progressions == []
    with pytest.raises(InvalidArgument, match="twice"):
        progression.tell(store, environments=["dev", "dev"])


def test_of_many_traces_a_sample_is_looked_at(store, three, monkeypatch):
    monkeypatch.setattr("otel_vtrack.query.progression.MOST_TRACES", 100)
    [one] = progression.tell(store, version="1").progressions
    dev, _, production = one.steps
    assert (dev.sampled_one_in, production.sampled_one_in) == (1, 4)
    assert dev.latency_p50.value == pytest.approx(12.9)
    assert production.latency_p50.value == pytest.approx(40, abs=8)
    assert production.error_rate.lower < 0.1 < production.error_rate.upper
    assert production.tokens_per_trace.value == pytest.approx(30.5, abs=0.2)


def test_the_sample_is_of_the_last_days_and_not_of_what_was_before(store, release, monkeypatch):
    monkeypatch.setattr("otel_vtrack.query.progression.MOST_TRACES", 60)
    release("1", "dev", 0, count=600, failing=600)
    release("1", "dev", 24 * 9)
    [[only]] = [each.steps for each in progression.tell(store).progressions]
    assert (only.trace_count, only.sampled_one_in, only.error_rate.value) == (660, 1, 0)


def test_of_many_times_less_of_each_is_looked_at(store, three, monkeypatch):
    monkeypatch.setattr("otel_vtrack.query.progression.FEWEST_TRACES", 30)
    monkeypatch.setattr("otel_vtrack.query.progression.ALL_TRACES", 240)
    every = [step for each in progression.tell(store).progressions for step in each.steps]
    assert [(each.trace_count, each.sampled_one_in) for each in every] == [
        *((60, 2), (60, 2)),
        (60, 2),
        *((60, 2), (60, 2), (400, 10)),
    ]
    [one] = progression.tell(store, version="1").progressions
    assert [each.sampled_one_in for each in one.steps] == [1, 1, 5]


def test_at_most_so_many_versions_are_told(store, three):
    found = progression.tell(store, max_versions=1)
    assert [each.version for each in found.progressions] == ["3"]
    with pytest.raises(InvalidArgument, match="the limit is 100"):
        progression.tell(store, max_versions=101)
