"""Days of traffic in a real store."""

import functools
import time

import pytest
from google.protobuf import timestamp_pb2

from otel_vtrack import api
from otel_vtrack.analysis import rollbacks
from otel_vtrack.analysis.rollbacks import RecoveryVerdict
from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import timeline
from otel_vtrack.record import deletion, deployments
from otel_vtrack.store import migrate, sql

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
            "ms": ms + n % 7 / 20,  # no two sessions alike: else nothing varies
            "status": 2 * (n < failing),
            "attributes": {"session.id": f"s{n % 40}", "user.id": f"u{n % 30}"},
        }
        for n in range(count)
    ]


@pytest.fixture
def rolled_back(send):
    """Two days: 1 by day, then 2 with errors, then 1 again."""
    send(*spans(1000, 600, 0), service__version="1", **PRODUCTION)
    send(*spans(2000, 100, 24, failing=30, ms=50), service__version="2", **PRODUCTION)
    send(*spans(3000, 600, 30), service__version="1", **PRODUCTION)


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
    assert (measured.before_count, measured.after_count) == (600, 600)
    assert measured.error_rate.during.value == pytest.approx(0.3)
    assert measured.error_rate.verdict == RecoveryVerdict.RETURNED
    assert measured.latency.verdict == RecoveryVerdict.RETURNED
    assert measured.latency.before.value == pytest.approx(5.1, abs=0.05)


def test_what_did_not_return_is_told(store, send):
    send(*spans(1000, 600, 0), service__version="1", **PRODUCTION)
    send(*spans(2000, 100, 24), service__version="2", **PRODUCTION)
    send(*spans(3000, 600, 30, failing=60, ms=9), service__version="1", **PRODUCTION)
    [only] = rollbacks.tell(store).rollbacks
    assert only.measured.error_rate.verdict == RecoveryVerdict.NOT_RETURNED
    assert only.measured.latency.verdict == RecoveryVerdict.NOT_RETURNED


def test_a_retry_counts_once(store, rolled_back, send):
    before = rollbacks.tell(store)
    send(*spans(1000, 600, 0), service__version="1", **PRODUCTION)
    send(*spans(2000, 100, 24, failing=30, ms=50), service__version="2", **PRODUCTION)
    after = rollbacks.tell(store)
    assert after.periods == before.periods
    [one], [two] = before.rollbacks, after.rollbacks
    assert one.rollback == two.rollback
    assert one.measured.error_rate == two.measured.error_rate
    assert one.measured.touched.trace_count == two.measured.touched.trace_count
    assert [each.period.trace_count for each in before.periods] == [600, 100, 600]


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


def test_one_wrong_clock_makes_no_bucket_wider(store, rolled_back, send):
    """A trace of 1970, from before a machine knew the time."""
    before = rollbacks.tell(store)
    send({"trace": 1, "at": -START // 1_000_000 + 1000}, service__version="1", **PRODUCTION)
    after = rollbacks.tell(store)
    assert after.bucket_width_ns <= 2 * before.bucket_width_ns
    [only], [same] = before.rollbacks, after.rollbacks
    assert only.rollback.time_ns == same.rollback.time_ns
    assert [each.period.version for each in after.periods][-2:] == ["2", "1"]


def test_an_instance_whose_clock_is_ahead_rolls_nothing_back(store, send):
    """At the end of what is known it is alone, with the version that the others left."""
    now = (time.time_ns() - START) // 1_000_000
    send(*spans(1000, 600, (now / HOUR) - 10), service__version="1", **PRODUCTION)
    send(*spans(2000, 600, (now / HOUR) - 5), service__version="2", **PRODUCTION)
    send(*spans(3000, 600, (now / HOUR) - 4), service__version="1", **PRODUCTION)
    [method] = [m for s in api.SERVICES for m in s.methods if m.path.endswith("/GetTimeline")]
    ask = functools.partial(method.handler, api.Backend(store))
    assert not ask(method.request()).rollbacks
    until = timestamp_pb2.Timestamp()
    until.FromNanoseconds(time.time_ns() + 3_600_000_000_000)
    assert ask(method.request(start_time_until=until)).rollbacks


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
    # The earliest time that a request can name.
    assert timeline.declared(store, until_ns=-(1 << 63)) == []


def test_margins_decide_what_returned(store, rolled_back):
    strict = rollbacks.tell(store, margins=rollbacks.Margins(1e-6, 1e-9)).rollbacks[0].measured
    assert strict.error_rate.verdict == RecoveryVerdict.INCONCLUSIVE
    assert strict.latency.verdict == RecoveryVerdict.INCONCLUSIVE
    for wrong in ({"error_rate": 0}, {"error_rate": 1}, {"latency": 0}, {"latency": float("inf")}):
        with pytest.raises(InvalidArgument, match="margin"):
            rollbacks.Margins(**wrong)


def test_sessions_and_not_traces_are_what_is_independent(store, send):
    """Of ten sessions of 40 traces one fails wholly: that may be chance."""

    def of(first, hour, *, failing):
        return [
            {**each, "status": 2 * (n // 40 < failing), "attributes": {"session.id": f"{n // 40}"}}
            for n, each in enumerate(spans(first, 400, hour))
        ]

    send(*of(1000, 0, failing=0), service__version="1", **PRODUCTION)
    send(*spans(2000, 100, 24), service__version="2", **PRODUCTION)
    send(*of(3000, 30, failing=1), service__version="1", **PRODUCTION)
    [only] = rollbacks.tell(store).rollbacks
    assert only.measured.error_rate.after.value == pytest.approx(0.1)
    assert only.measured.error_rate.verdict == RecoveryVerdict.INCONCLUSIVE


def test_work_that_another_service_asks_for_counts_for_both(store, send):
    """A trace through two services of one experiment, each with a version of its own."""
    outer, inner = [], []
    for n in range(60):
        ids = {"trace": 1 + n, "at": n * 1000}
        outer.append({**ids, "span": 1 + n, "kind": 2})
        # Its parent is in another process: by its kind, or its flags where they say so.
        told = {"kind": 2} if n % 2 else {"flags": 0x300}
        inner.append({**ids, "span": 101 + n, "parent": 1 + n, **told})
        inner.append({**ids, "span": 201 + n, "parent": 101 + n})
    send(*outer, service__version="1", vtrack__experiment="all")
    send(*inner, service__name="stock", service__version="8", vtrack__experiment="all")
    found = rollbacks.tell(store, experiment="all").periods
    assert [
        (each.place.service_name, each.period.version, each.period.trace_count) for each in found
    ] == [("shop", "1", 60), ("stock", "8", 60)]


def instance(name):
    return {"service__instance__id": name}


@pytest.fixture
def fleet(writer, make_spans):
    """Write minutes of sixty traces, which instances answer in turn; versions by instance."""

    def write(minutes):
        # From a whole minute on.
        first = 60_000 - START // 1_000_000 % 60_000
        requests = [
            make_spans(
                *(
                    {"trace": n, "span": n, "at": first + minute * 60_000 + n % 60 * 1000}
                    for n in range(60 * minute + number, 60 * minute + 60, len(versions))
                ),
                service__version=version,
                **instance(name),
                **PRODUCTION,
            )
            for minute, versions in enumerate(minutes, 1)
            for number, (name, version) in enumerate(versions.items())
        ]
        writer.write_traces(b"".join(each.SerializeToString() for each in requests))

    return write


def counted(store):
    return [(each.period.version, *each.instances) for each in rollbacks.tell(store).periods]


ROLLING = [{f"i{at}": "2" if at < done else "1" for at in range(4)} for done in range(5)]
BLUE, GREEN = {"b1": "1", "b2": "1"}, {"g1": "2", "g2": "2"}
CANARY = {**{f"i{at}": "1" for at in range(19)}, "c1": "2"}


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        pytest.param(
            [ROLLING[0], *ROLLING, ROLLING[4]],
            [("1", 4, 4), ("2", 4, 4)],
            id="rolling update",
        ),
        pytest.param(
            [BLUE, BLUE, BLUE | GREEN, GREEN], [("1", 2, 2), ("2", 2, 2)], id="blue green"
        ),
        pytest.param([CANARY] * 3, [("1", 19, 19), ("2", 1, 1)], id="canary"),
        pytest.param(
            [{f"pod{at}": "1"} for at in range(5)], [("1", 5, 1)], id="one after the other"
        ),
    ],
)
def test_instances_and_shares_of_a_deployment(store, fleet, minutes, expected):
    for _ in range(2):  # Once more, as exporters retry.
        fleet(minutes)
        assert counted(store) == expected
    [rows] = rollbacks.tell(store).activity.values()
    by_minute = {}
    for row in rows:
        of = by_minute.setdefault(row.bucket_ns // 60_000_000_000 - START // 60_000_000_000 - 2, {})
        of[row.version] = of.get(row.version, 0) + row.trace_count
    for at, versions in enumerate(minutes):
        for version in set(versions.values()):
            share = sum(each == version for each in versions.values()) / len(versions)
            assert by_minute[at][version] == pytest.approx(60 * share)


def test_an_instance_is_told_by_its_id_else_by_place_and_process(store, send):
    places = [
        {"service__instance__id": "a"},
        {"service__instance__id": "a", "process__pid": 7},
        {"k8s__pod__name": "p", "process__pid": 1},
        {"k8s__pod__name": "p", "process__pid": 2},
        {"host__name": "web-1", "process__pid": 12},
        {"host__name": "web-11", "process__pid": 2},
        {"container__id": "c"},
        {},
    ]
    for number, each in enumerate(places):
        send({"trace": 1 + number, "at": number}, service__version="1", **each)
    assert counted(store) == [("1", 6, 6)]


FILL = """
INSERT INTO spans (trace_id, span_id, parent_span_id, start_time, experiment, service_name, version, resource_attributes)
SELECT
    reinterpretAsFixedString(toUInt128(number))::FixedString(16),
    reinterpretAsFixedString(number * 8 + each)::FixedString(8),
    if(each = 1, toFixedString('', 8), reinterpretAsFixedString(number * 8 + 1)::FixedString(8)),
    fromUnixTimestamp64Nano({start:Int64} + toInt64(number) * 60000000000, 'UTC'),
    'shop', 'shop',
    leftPad(toString(intDiv(number * {versions:UInt64}, {count:UInt64}) % 90), 3, '0'),
    map('service.instance.id', toString(number % 3))
FROM numbers({count:UInt64})
ARRAY JOIN [1, 2, 3, 4]::Array(UInt64) AS each
SETTINGS max_partitions_per_insert_block = 0
"""  # noqa: E501


def fill(store, *, versions, days):
    """A trace of four spans a minute, of one version after the other; after 90 the first again."""
    for view in ("traces_from_spans", "versions_from_spans", "trace_tags_from_spans"):
        store.command(f"DROP TABLE {view} SYNC")
    store.command(FILL, {"start": START, "versions": versions, "count": days * 1440})


def reads(store, name, parameters, parts=()):
    """How many rows of which table a question reads, by its index."""
    text = sql.filled(sql.text("queries", name), dict(parts))
    rows = store.select(f"EXPLAIN ESTIMATE {text}", parameters)
    return {row["table"]: row["rows"] for row in rows}


def test_a_month_of_a_hundred_versions_is_read_from_a_row_a_minute(store, monkeypatch):
    fill(store, versions=100, days=30)
    asked = []
    query = store.query
    monkeypatch.setattr(store, "query", lambda *given: (asked.append(given), query(*given))[1])
    found = rollbacks.tell(store)
    assert [each.period.version for each in found.periods] == [f"{n % 90:03}" for n in range(100)]
    assert {each.instances.instance_count for each in found.periods} == {3}
    # The last ten versions were there before. However many rollbacks, it is one question.
    assert len([each for each in found.rollbacks if each.measured.touched.trace_count]) == 10
    questions = {name: given for name, *given in asked if name.startswith("timeline/")}
    assert sum(name == "timeline/windows" for name, *_ in asked) == 1
    # Of 30 days 6: those in which they were at work before and after.
    assert reads(store, "timeline/windows", *questions.pop("timeline/windows"))["spans"] < 45_000
    # A row an hour and version. Only how many instances there were at once, where they take turns,
    # is told by a row a minute.
    for name in ("extent", "activity", "instance_hours"):
        read = reads(store, f"timeline/{name}", *questions.pop(f"timeline/{name}"))
        assert read.keys() <= {"activity_hours", "activity_minutes"}
        assert read["activity_hours"] <= 720 + 100
        assert read.get("activity_minutes", 0) <= 1024
    assert questions.keys() == {"timeline/instances", "timeline/was_declared"}
    read = reads(store, "timeline/instances", *questions["timeline/instances"])
    assert read.keys() == {"activity_minutes"}
    assert read["activity_minutes"] <= 43_200 + 100
    asked.clear()
    assert rollbacks.tell(store, measures=False).periods == found.periods
    assert "timeline/windows" not in {name for name, *_ in asked}


def test_what_was_there_before_the_rollup_is_in_it(store, monkeypatch):
    fill(store, versions=3, days=1)
    before = counted(store)
    assert [count for _, count, _ in before] == [3, 3, 3]
    monkeypatch.setattr(timeline, "_MOST_TIMES", 2)
    assert counted(store) == before
    for table in ("activity_hours_from_activity_minutes", "activity_minutes_from_spans"):
        store.command(f"DROP TABLE {table} SYNC")
    for table in ("activity_hours", "activity_minutes"):
        store.command(f"DROP TABLE {table} SYNC")
    store.command(
        "ALTER TABLE schema_migrations DELETE WHERE name LIKE '%activity%'"
        " SETTINGS mutations_sync = 2"
    )
    ran = [file.name for file in migrate.apply(store)]
    assert {"0060_create_activity", "activity_minutes_from_spans"} <= set(ran)
    assert counted(store) == before
    # The table that was in between is gone.
    assert store.select("EXISTS TABLE activity") == [{"result": 0}]


def test_hours_tell_what_minutes_do(store, fleet, monkeypatch):
    """Over a range that cuts hours, of versions that come and go, and whose instances do."""
    three = {"i1": "1", "i2": "1", "i3": "1"}
    churn = [{f"pod{at // 7}": "2", f"pod{at // 9}b": "2", "c": "1"} for at in range(80)]
    fleet([three] * 50 + churn + [three] * 40 + churn[:30])
    minute = 60_000_000_000
    given = {"from_ns": START + 21 * minute, "until_ns": START + 170 * minute}
    monkeypatch.setattr(timeline, "MOST_BUCKETS", 2)
    place = timeline.Place("shop", "shop", "production")
    cuts = [(0, 300), (21, 170), (40, 60), (61, 62), (35, 155), (120, 240)]
    times = [
        timeline.Time(place, version, START + first * minute, START + end * minute)
        for version in ("1", "2", "3")
        for first, end in cuts
    ]
    by_hours = [timeline.activity(store, **given), timeline.instances(store, times)]
    assert by_hours[0].width_ns >= 60 * minute
    ranges, asked = timeline._range, timeline._asked
    monkeypatch.setattr(timeline, "_range", lambda *of, **_: ranges(*of, by_hours=False))
    cut = [(at, {"is_cut": True}) for at in range(len(times))]
    monkeypatch.setattr(
        timeline, "_asked", lambda s, n, t: cut if n.endswith("hours") else asked(s, n, t)
    )
    assert [timeline.activity(store, **given), timeline.instances(store, times)] == by_hours
    assert {each.peak_instance_count for each in by_hours[1]} >= {0, 2, 3}


def test_a_deleted_experiment_has_no_timeline(store, rolled_back):
    deletion.delete_experiment(store, "shop")
    assert rollbacks.tell(store).periods == []


def test_many_traces_in_a_short_time_are_told_by_the_minute(store, monkeypatch):
    fill(store, versions=1, days=1)
    until = START + 3_600_000_000_000 - START % 60_000_000_000
    assert timeline.activity(store, until_ns=until).width_ns < 60_000_000_000
    monkeypatch.setattr(timeline, "MOST_BY_SECONDS", 30)
    found = timeline.activity(store, until_ns=until)
    assert found.width_ns == 60_000_000_000
    assert sum(row.trace_count for row in next(iter(found.places.values()))) == 60
