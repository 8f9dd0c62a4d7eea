"""The rules, on traffic made by hand: a minute a bucket."""

import random

import pytest

from otel_vtrack.analysis import timeline
from otel_vtrack.analysis.timeline import Declared
from otel_vtrack.query.timeline import Activity

MINUTE = 60_000_000_000


def traffic(*minutes):
    """Activity of dicts of traces by version; None is a minute without any."""
    return [
        Activity(version, at * MINUTE, count, at * MINUTE + 1, at * MINUTE + 9)
        for at, counts in enumerate(minutes)
        for version, count in (counts or {}).items()
        if count
    ]


def mains(activity, *declared):
    return [
        (each.version, each.from_ns // MINUTE)
        for each in timeline.mains(activity, [Declared(at, version) for at, version in declared])
    ]


def told(activity):
    """Version, first and last minute (None: still live), and whether it took over."""
    found, _ = timeline.periods(activity)
    return [
        (
            each.version,
            each.start_time_ns // MINUTE,
            None if each.end_time_ns is None else each.end_time_ns // MINUTE,
            each.took_over,
        )
        for each in found
    ]


def rollbacks(activity, *declared):
    found = timeline.mains(activity, [Declared(at, version) for at, version in declared])
    return [
        (each.time_ns // MINUTE, each.from_main.version, each.after.version, each.is_return)
        for each in timeline.rollbacks(found)
    ]


A, B, C = ({version: 100} for version in "abc")


def test_no_traffic_has_no_timeline():
    assert timeline.periods([]) == ([], [])
    assert timeline.rollbacks([]) == []
    assert mains([], (5, "a")) == []


def test_a_clean_release():
    activity = traffic(A, A, A, {"a": 40, "b": 60}, B, B)
    assert mains(activity) == [("a", 0), ("b", 4)]
    assert told(activity) == [("a", 0, 3, True), ("b", 3, None, True)]
    assert rollbacks(activity) == []


def test_an_aborted_canary_never_takes_over():
    canary = {"a": 95, "b": 5}
    activity = traffic(A, canary, canary, canary, *[A] * 30)
    assert mains(activity) == [("a", 0)]
    assert told(activity) == [("a", 0, None, True), ("b", 1, 3, False)]
    [_, found] = timeline.periods(activity)[0]
    assert (found.peak_share, found.trace_count) == (0.05, 15)
    assert rollbacks(activity) == []


def test_a_few_sampled_traces_are_few_whatever_they_stand_for():
    """Of a hundred traces one is stored: one of another version is a stray one."""
    all_of_them = traffic({"a": 9000}, {"b": 100}, {"a": 9000})
    sampled = [each._replace(stored_count=each.trace_count // 100) for each in all_of_them]
    assert mains(sampled) == [("a", 0)]
    assert mains(all_of_them) == [("a", 0), ("b", 1), ("a", 2)]


def test_a_version_takes_over_where_it_has_its_share_and_not_a_little_before():
    assert mains(traffic(A, {"a": 10, "b": 1}, {"b": 1000}, B)) == [("a", 0), ("b", 2)]


def test_a_rolling_update_changes_the_main_version_once():
    steps = [{"a": 100 - 10 * n, "b": 10 * n} for n in range(11)]
    assert mains(traffic(A, *steps, B)) == [("a", 0), ("b", 9)]


def test_blue_and_green_side_by_side_do_not_flip():
    chance = random.Random(7)
    for size in (3, 20, 100):
        minutes = []
        for _ in range(400):
            a = sum(chance.random() < 0.5 for _ in range(size))
            minutes.append({"a": a, "b": size - a})
        alone = [{"a": size}] * 20
        assert mains(traffic(*alone, *minutes)) == [("a", 0)], size
        after = traffic(*alone, *minutes, *[{"b": size}] * 60)
        assert [version for version, _ in mains(after)] == ["a", "b"], size


def test_a_rollback():
    activity = traffic(A, A, B, B, A, A)
    assert rollbacks(activity) == [(4, "b", "a", False)]
    [found] = timeline.rollbacks(timeline.mains(activity))
    assert found.came_back_ns is None
    assert found.before.until_ns == found.from_main.from_ns
    assert told(activity) == [("a", 0, 1, True), ("b", 2, 3, True), ("a", 4, None, True)]


def test_a_rollback_of_a_rollback_is_one_too():
    activity = traffic(A, B, A, B)
    assert rollbacks(activity) == [(2, "b", "a", False), (3, "a", "b", True)]
    first, second = timeline.rollbacks(timeline.mains(activity))
    assert first.came_back_ns == 3 * MINUTE + 1
    assert second.came_back_ns is None


def test_a_version_that_comes_back_from_another_one_undoes_no_rollback():
    assert rollbacks(traffic(A, B, A, C, B)) == [(2, "b", "a", False), (4, "c", "b", False)]


def test_a_rollback_over_two_versions_at_once():
    assert rollbacks(traffic(A, B, C, A)) == [(3, "c", "a", False)]


def test_a_stray_trace_alone_in_its_time_has_a_small_share():
    night = [None] * 60
    activity = traffic(A, A, B, B, *night, {"a": 1}, *night, B, B)
    found, _ = timeline.periods(activity)
    [stray] = [each for each in found if each.trace_count == 1]
    assert (stray.version, stray.took_over) == ("a", False)
    assert stray.peak_share == pytest.approx(1 / 101)
    # What is known ends with it: what came before tells.
    found, _ = timeline.periods(traffic(A, A, B, B, *night, {"a": 1}))
    assert found[-1].peak_share == pytest.approx(1 / 101)
    assert found[1].peak_share == 1


def test_what_is_there_from_the_beginning_is_not_known_to_have_come():
    def came(*minutes):
        return {each.version: each.came for each in timeline.periods(traffic(*minutes))[0]}

    assert came(A, A, B) == {"a": False, "b": True}
    # At its share, 9 or 10 traces of the canary would have been seen before.
    assert came({"a": 95}, {"a": 95, "b": 5}, A) == {"a": False, "b": False}
    assert came(A, A, {"a": 95, "b": 5}, A) == {"a": False, "b": True}
    # Of one that went and came back it is known, and of one that was declared.
    found, _ = timeline.periods(traffic(A, B, B, A), [Declared(MINUTE, "b")])
    assert [each.came for each in found] == [False, True, True]


def test_a_release_that_was_a_canary_before_is_no_rollback():
    assert rollbacks(traffic(A, {"a": 90, "b": 10}, *[A] * 20, B)) == []


def test_a_version_that_drains_has_a_period_of_each_time_it_was_the_main_one():
    most = [{"a": 95, "b": 5}, {"a": 5, "b": 95}]
    activity = traffic(most[0], most[0], most[1], most[1], most[0], most[0])
    assert mains(activity) == [("a", 0), ("b", 2), ("a", 4)]
    assert told(activity) == [("a", 0, 3, True), ("b", 0, None, True), ("a", 4, None, True)]


def test_nights_without_traffic_end_nothing():
    activity = traffic(A, *[None] * 600, A, *[None] * 600)
    assert told(activity) == [("a", 0, None, True)]


def test_a_canarys_traces_at_night_change_nothing():
    day = {"a": 95, "b": 5}
    activity = traffic(day, day, {"b": 1}, None, {"a": 1}, {"b": 2}, None, day, day)
    assert mains(activity) == [("a", 0)]
    assert told(activity) == [("a", 0, None, True), ("b", 0, None, False)]


def test_a_trace_a_minute_is_enough_for_a_release_and_its_rollback():
    one, two = {"a": 1}, {"b": 1}
    activity = traffic(*[one] * 20, *[two] * 15, *[one] * 200)
    assert mains(activity) == [("a", 0), ("b", 20), ("a", 35)]
    assert rollbacks(activity) == [(35, "b", "a", False)]


def test_when_the_main_version_is_gone_the_one_with_the_most_traces_takes_over():
    activity = traffic(A, A, *[{"b": 60, "c": 40}] * 5)
    assert mains(activity) == [("a", 0), ("b", 2)]


def test_what_is_declared_is_the_main_version_from_then_on():
    activity = traffic(A, A, {"a": 90, "b": 10}, {"a": 50, "b": 50}, B, B)
    declared = 2 * MINUTE + 5
    assert mains(activity, (declared, "b")) == [("a", 0), ("b", 2)]
    [_, b] = timeline.mains(activity, [Declared(declared, "b")])
    assert (b.from_ns, b.declared) == (declared, True)
    assert rollbacks(activity, (declared, "b")) == []


def test_what_ran_until_the_first_declaration_was_the_main_version_before_it():
    assert mains(traffic(A, B, B), (5, "b")) == [("a", 0), ("b", 0)]
    # What came only afterwards was not there to be replaced.
    assert mains(traffic(A, B, B), (0, "b")) == [("b", 0)]


def test_a_declared_rollback_counts_at_its_time():
    activity = traffic(A, A, B, B, {"a": 50, "b": 50}, A)
    assert rollbacks(activity, (3 * MINUTE + 5, "a")) == [(3, "b", "a", False)]


def test_a_declared_version_that_came_and_went_was_rolled_back():
    some = {"a": 70, "b": 30}
    activity = traffic(A, A, some, some, A, A, A)
    assert rollbacks(activity, (2 * MINUTE, "b")) == [(4, "b", "a", False)]


def test_a_declared_version_without_a_trace_stays_the_main_one():
    activity = traffic(A, A, A, A)
    assert mains(activity, (MINUTE, "b")) == [("a", 0), ("b", 1)]
    found = timeline.periods(activity, [Declared(MINUTE, "b")])[0]
    assert [(each.version, each.trace_count, each.end_time_ns) for each in found] == [
        ("a", 400, None),
        ("b", 0, None),
    ]


def test_a_declared_version_without_a_trace_ends_where_the_next_one_is_declared():
    declared = [Declared(MINUTE, "b"), Declared(2 * MINUTE, "a")]
    found = timeline.periods(traffic(A, A, A, A), declared)[0]
    [b] = [each for each in found if each.version == "b"]
    assert (b.start_time_ns, b.end_time_ns) == (MINUTE, 2 * MINUTE)


def test_what_was_declared_before_the_time_asked_for_says_nothing_of_it():
    assert mains(traffic(None, A, A), (5, "b")) == [("a", 1)]
