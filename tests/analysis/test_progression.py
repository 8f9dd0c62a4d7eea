"""The rules, on entries made by hand: hours, by version and environment."""

import pytest

from otel_vtrack.analysis import progression
from otel_vtrack.analysis.progression import Change, Standing, State

ORDER = ("dev", "staging", "production")


def stand(version, entries, *, now=10, patience=100, came=ORDER):
    return progression.standing(
        version, entries, ORDER, now_ns=now, stuck_after_ns=patience, came=came
    )


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        # One that went to production at once does not turn the others around.
        (
            {
                "1": {"dev": 1, "staging": 2, "production": 3},
                "2": {"dev": 4, "staging": 5, "production": 6},
                "hotfix": {"production": 7, "dev": 8},
            },
            ORDER,
        ),
        # Names say nothing against what versions do.
        ({"1": {"production": 1, "dev": 2}}, ("production", "dev")),
        # Nothing tells of staging and production: usual names.
        ({"1": {"dev": 1, "production": 2}, "2": {"dev": 3, "staging": 4}}, ORDER),
        ({"1": {"b": 1}, "2": {"a": 2}}, ("b", "a")),
        ({"1": {"b": 1}, "2": {"a": 2}, "3": {"b": 5}}, ("b", "a")),
        # What shares no version with the others does not come between them.
        ({"sha": {"dev": 1}, "1": {"staging": 2, "production": 3}}, ORDER),
        ({"1": {"dev": 2, "staging": 3}, "2": {"production": 1}}, ORDER),
        (
            {"1": {"b": 1}, "2": {"production": 1}, "3": {"staging": 1}},
            ("staging", "b", "production"),
        ),
        ({}, ()),
    ],
)
def test_environments_are_in_the_order_in_which_most_versions_enter_them(entries, expected):
    assert progression.order(entries) == expected


def test_one_that_came_to_the_end_is_complete_whatever_it_skipped():
    entries = {"1": {"dev": 1, "production": 2}}
    assert stand("1", entries) == Standing(State.COMPLETE, ("staging",), "")


def test_one_that_was_there_from_the_beginning_is_not_said_to_have_skipped():
    only = {"1": {"production": 1}}
    assert stand("1", only).skipped == ("dev", "staging")
    assert stand("1", only, came=()).skipped == ()
    # From staging it went on to production, and what was before that is not known.
    assert stand("1", {"1": {"staging": 1, "production": 2}}, came=["production"]).skipped == ()
    assert stand("1", {"1": {"dev": 1, "production": 2}}, came=["production"]).skipped == (
        "staging",
    )


def test_one_that_waits_is_under_way_until_it_has_waited_too_long():
    entries = {"1": {"dev": 1, "staging": 2}}
    assert stand("1", entries, patience=8).state == State.UNDER_WAY
    assert stand("1", entries, patience=7).state == State.STUCK


def test_one_that_a_later_one_went_past_is_stuck():
    entries = {
        "0": {"dev": 0, "staging": 1, "production": 2},
        "1": {"dev": 1},
        "2": {"dev": 2},
        "3": {"dev": 3, "production": 9},
        "4": {"dev": 4, "staging": 5},
    }
    assert stand("1", entries) == Standing(State.STUCK, (), "4")
    assert stand("2", entries).overtaken_by == "4"
    # Nothing is past staging but what came there before.
    assert stand("4", entries) == Standing(State.UNDER_WAY, (), "")


def test_the_one_that_went_past_first_is_named():
    entries = {
        "1": {"dev": 1},
        "2": {"dev": 2, "staging": 5, "production": 9},
        "3": {"dev": 3, "staging": 7},
    }
    assert stand("1", entries).overtaken_by == "2"


def test_changes_are_those_from_one_environment_to_the_next():
    def of(**values):
        return {name.replace("__", ":"): frozenset(each) for name, each in values.items()}

    found = progression.changes(
        [
            ("dev", of(git_commit="a", model=["m1"], flag__new=["on"], deployment_id=())),
            ("staging", of(git_commit="a", model=["m2", "m1"], deployment_id="d")),
            ("production", of(git_commit="b", model=["m2", "m1"], deployment_id="e")),
        ]
    )
    assert found == [
        Change("dev", "staging", "flag:new", ("on",), ()),
        Change("dev", "staging", "model", ("m1",), ("m1", "m2")),
        Change("staging", "production", "deployment_id", ("d",), ("e",)),
        Change("staging", "production", "git_commit", ("a",), ("b",)),
    ]
