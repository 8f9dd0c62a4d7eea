"""Days of traffic in a real store."""

import pytest

from otel_vtrack.analysis import rollbacks
from otel_vtrack.analysis.rollbacks import RecoveryVerdict
from otel_vtrack.query import timeline
from otel_vtrack.record import deployments

START = 1_790_000_000_000_000_000
HOUR = 3_600_000
PRODUCTION = {"deployment__environment__name": "production"}


def spans(first, count, hour, *, failing=0, ms=5):
    """Traces that begin evenly within five hours."""
    return [
        {
            "trace": first + n,
            "span": first + n,
            "at": hour * HOUR + n * 5 * HOUR // count,
            "ms": ms + n % 3 / 10,
            "status": 2 * (n < failing),
            "attributes": {"session.id": f"s{n % 40}", "user.id": f"u{n % 30}"},
        }
        for n in range(count)
    ]


@pytest.fixture
def rolled_back(send):
    """Two days: 1 by day, then 2 with errors, then 1 again."""
    send(*spans(1000, 400, 0), service__version="1", **PRODUCTION)
    send(*spans(2000, 100, 24, failing=30, ms=50), service__version="2", **PRODUCTION)
    send(*spans(3000, 400, 30), service__version="1", **PRODUCTION)


def test_a_rollback_is_found_with_what_it_cost_and_whether_it_helped(store, rolled_back):
    found = rollbacks.tell(store, service_name="shop", environment="production")
    assert [each.period.version for each in found.periods] == ["1", "2", "1"]
    [only] = found.rollbacks
    assert only.rollback.time_ns == START + 30 * HOUR * 1_000_000
    assert only.rollback.time_ns - only.rollback.from_main.from_ns == 6 * HOUR * 1_000_000
    measured = only.measured
    touched = measured.touched
    assert (touched.trace_count, touched.error_count) == (100, 30)
    assert (touched.session_count, touched.user_count) == (40, 30)
    assert (measured.before_count, measured.after_count) == (400, 400)
    assert measured.error_rate.during.value == pytest.approx(0.3)
    assert measured.error_rate.verdict == RecoveryVerdict.RETURNED
    assert measured.latency.verdict == RecoveryVerdict.RETURNED
    assert measured.latency.before.value == pytest.approx(5.1, abs=0.05)


def test_what_did_not_return_is_told(store, send):
    send(*spans(1000, 400, 0), service__version="1", **PRODUCTION)
    send(*spans(2000, 100, 24), service__version="2", **PRODUCTION)
    send(*spans(3000, 400, 30, failing=40, ms=9), service__version="1", **PRODUCTION)
    [only] = rollbacks.tell(store).rollbacks
    assert only.measured.error_rate.verdict == RecoveryVerdict.NOT_RETURNED
    assert only.measured.latency.verdict == RecoveryVerdict.NOT_RETURNED


def test_a_retry_counts_once(store, rolled_back, send):
    before = rollbacks.tell(store)
    send(*spans(1000, 400, 0), service__version="1", **PRODUCTION)
    send(*spans(2000, 100, 24, failing=30, ms=50), service__version="2", **PRODUCTION)
    after = rollbacks.tell(store)
    assert after.periods == before.periods
    [one], [two] = before.rollbacks, after.rollbacks
    assert one.rollback == two.rollback
    assert one.measured.error_rate == two.measured.error_rate
    assert one.measured.touched.trace_count == two.measured.touched.trace_count
    assert [each.period.trace_count for each in before.periods] == [400, 100, 400]


def test_places_are_told_apart_and_restrict(store, rolled_back, send):
    send(*spans(4000, 20, 0), service__version="7", deployment__environment__name="staging")
    assert {each.place.environment for each in rollbacks.tell(store).periods} == {
        "production",
        "staging",
    }
    [one] = rollbacks.tell(store, environment="staging").periods
    assert (one.period.version, one.period.trace_count) == ("7", 20)
    assert rollbacks.tell(store, service_name="nothing").periods == []


def test_a_time_range_restricts(store, rolled_back):
    found = rollbacks.tell(store, from_ns=START + 20 * HOUR * 1_000_000)
    assert [each.period.version for each in found.periods] == ["2", "1"]
    assert found.rollbacks == []


def test_buckets_adapt_to_the_range(store, rolled_back):
    whole = timeline.activity(store)
    part = timeline.activity(store, until_ns=START + HOUR * 1_000_000)
    assert part.width_ns < whole.width_ns
    for each in (whole, part):
        [rows] = each.places.values()
        assert len({row.bucket_ns for row in rows}) <= timeline.MOST_BUCKETS


def test_a_declared_deployment_overrides(store, rolled_back):
    at = START + 2 * HOUR * 1_000_000
    deployments.create(
        store,
        service_name="shop",
        environment="production",
        version="3",
        start_time_ns=at,
    )
    found = rollbacks.tell(store)
    [declared] = [each.period for each in found.periods if each.period.declared]
    assert (declared.version, declared.main_from_ns) == ("3", at)
