"""What counts as a deployment, by rules alone."""

from otel_vtrack.analysis import deployed
from otel_vtrack.query.timeline import Place
from otel_vtrack.query.watch import DeclaredDeployment, DeploymentActivity, SeenVersion, Side

HOUR = 3_600_000_000_000
BUCKET = HOUR // 12
PLACE = Place("shop", "shop", "production")


def at(hour):
    """Hours count from a day before the time since which deployments are wanted."""
    return 20_000 * 24 * HOUR + round(hour * 12) * BUCKET


def rows(*work):
    """Each is a version, its deployment id, from which hour until which, and traces a bucket."""
    return sorted(
        (
            DeploymentActivity(
                version, id_, at(first) + n * BUCKET, count, *[at(first) + n * BUCKET] * 2
            )
            for version, id_, first, last, count in work
            for n in range(round((last - first) * 12))
        ),
        key=lambda each: each.bucket_ns,
    )


def found(*work, old=("1",), said=()):
    activity = rows(*work)
    versions = {each.version for each in activity}
    seen = [
        SeenVersion(
            PLACE,
            version,
            at(-500)
            if version in old
            else min(each.first_ns for each in activity if each.version == version),
            "",
            1,
        )
        for version in sorted(versions)
    ]
    declared = [DeclaredDeployment(PLACE, id_, version, at(hour)) for id_, version, hour in said]
    return sorted(
        deployed.of_place(PLACE, seen, activity, declared, at(24)),
        key=lambda each: each.start_time_ns,
    )


def told(*work, **how):
    return [
        (each.kind, each.version, (each.start_time_ns - at(0)) / HOUR, each.baseline.version)
        for each in found(*work, **how)
    ]


def test_a_rollback_and_its_return_are_deployments_each_until_the_next_of_its_version():
    deployments = found(
        ("1", "", 0, 26, 20), ("2", "", 26, 30, 20), ("1", "", 30, 35, 20), ("2", "", 35, 40, 20)
    )
    told = [(each.kind, each.version, each.baseline.version) for each in deployments]
    assert told == [("new_version", "2", "1"), ("return", "1", "2"), ("return", "2", "1")]
    starts = [(each.start_time_ns - at(0)) / HOUR for each in deployments]
    assert starts == [26, 30, 35]
    new, back, again = deployments
    assert (new.until_ns, new.trace_count) == (at(35), 4 * 12 * 20)
    assert (back.until_ns - back.start_time_ns, back.trace_count) == (24 * HOUR, 5 * 12 * 20)
    assert (back.end_time_ns, again.end_time_ns) == (at(35) - BUCKET, None)
    assert new.identity == (*PLACE, "2")
    assert not new.moments


def test_a_start_that_moves_is_the_same_return_and_another_return_is_not():
    _, early, _ = found(
        ("1", "", 0, 26, 20), ("2", "", 26, 30, 20), ("1", "", 30, 35, 20), ("2", "", 35, 40, 20)
    )
    _, late, _ = found(
        ("1", "", 0, 26, 20),
        ("2", "", 26, 30.25, 20),
        ("1", "", 30.25, 35, 20),
        ("2", "", 35, 40, 20),
    )
    assert early.moments[0] in late.moments
    assert late.moments[0] in early.moments
    assert early.identity == late.identity
    _, first, _, second = found(
        ("1", "", 0, 26, 20),
        ("2", "", 26, 30, 20),
        ("1", "", 30, 30.5, 20),
        ("2", "", 30.5, 31.25, 20),
        ("1", "", 31.25, 33, 20),
    )
    assert (first.version, second.version) == ("1", "1")
    assert second.moments[0] not in first.moments


def test_a_canary_that_comes_and_goes_is_one_deployment_and_its_promotion_is_none():
    canary = [("2", "", first, first + 1, 4) for first in (26, 30, 34, 38)]
    assert told(("1", "", 0, 44, 40), *canary) == [("new_version", "2", 26, "1")]
    # One of the day before, which nothing tells to be new, is none at all.
    assert told(("1", "", 0, 44, 40), *canary, old=("1", "2")) == []
    assert told(("1", "", 0, 40, 40), ("2", "", 10, 40, 4), ("2", "", 40, 44, 44), old="12") == []
    # That comes back to take over, after it was withdrawn.
    work = ("1", "", 0, 40, 40), ("2", "", 10, 12, 4), ("2", "", 38, 40, 4), ("2", "", 40, 44, 44)
    assert told(*work, old="12") == [("return", "2", 38, "1")]


def test_a_canary_that_is_declared_to_be_put_live_is_promoted():
    work = ("1", "", 0, 44, 40), ("2", "", 10, 44, 4)
    assert told(*work, old="12", said=[("r2", "2", 40)]) == [("promotion", "2", 40, "1")]
    # Within its first day it is under watch as what is new, and no more than once.
    work = ("1", "", 0, 44, 40), ("2", "", 20, 44, 4)
    assert told(*work, old="12", said=[("r2", "2", 30)]) == []


def test_another_id_that_takes_over_is_a_redeployment_of_the_version():
    [found_] = found(("1", "a", 0, 30, 20), ("1", "b", 30, 40, 20), ("1", "", 0, 40, 1))
    assert (found_.kind, found_.version, found_.deployment_id) == ("redeployment", "1", "b")
    assert (found_.baseline, found_.candidate) == (Side("1", "a"), Side("1", "b"))
    assert (found_.start_time_ns, found_.trace_count) == (at(30), 10 * 12 * 20)
    # One that took over before, and one that took over again, each from then on.
    ids = ("1", "a", 0, 10, 20), ("1", "b", 10, 30, 20), ("1", "a", 30, 34, 20)
    [back, again] = found(*ids, ("1", "b", 34, 40, 20))
    assert (back.baseline, back.candidate, back.start_time_ns) == (
        Side("1", "b"),
        Side("1", "a"),
        at(30),
    )
    assert (again.candidate, again.start_time_ns) == (Side("1", "b"), at(34))
    # A place is new: it is not known whether its second id came later.
    ids = ("1", "a", 30, 36, 20), ("1", "b", 30 + 1 / 12, 36, 1), ("1", "b", 36, 44, 20)
    assert found(*ids, old=()) == []
    # A canary of the same version, and ids of two clusters, which take nothing over.
    assert found(("1", "a", 0, 40, 20), ("1", "b", 30, 40, 15)) == []
    # Of a version that is new, or comes back, it is no deployment of its own.
    assert told(("1", "a", 0, 30, 20), ("2", "b", 30, 34, 20), ("1", "c", 34, 40, 20)) == [
        ("new_version", "2", 30, "1"),
        ("return", "1", 34, "2"),
    ]
    # A version is looked at whatever ids it has meanwhile.
    new, anew = found(("1", "a", 0, 30, 20), ("2", "b", 30, 34, 20), ("2", "c", 34, 40, 20))
    assert (new.trace_count, new.until_ns) == (10 * 12 * 20, at(54))
    assert (anew.kind, anew.baseline) == ("redeployment", Side("2", "b"))


def test_what_is_declared_once_more_is_a_redeployment_unless_it_is_another_deployment_told_late():
    work = ("1", "", 0, 40, 20)
    [anew] = found(work, said=[("r2", "1", 30)])
    assert (anew.kind, anew.deployment_id, anew.start_time_ns) == ("redeployment", "r2", at(30))
    assert (anew.baseline, anew.candidate) == (Side("1"), Side("1"))
    assert anew.trace_count == 10 * 12 * 20
    # By an id that spans have: what they tell of it counts.
    work = ("1", "r1", 0, 31, 20), ("1", "r2", 31, 40, 20)
    [anew] = found(*work, said=[("r2", "1", 31.5)])
    assert (anew.candidate, anew.start_time_ns) == (Side("1", "r2"), at(31))
    # Declared a little after or before its first trace, or with none so far.
    release = ("1", "", 0, 30, 20), ("2", "", 30, 40, 20)
    for hour in (29.5, 30.5):
        [only] = found(*release, said=[("r2", "2", hour)])
        assert (only.kind, only.start_time_ns) == ("new_version", min(at(hour), at(30)))
    assert found(("1", "", 0, 40, 20), said=[("r3", "3", 39)]) == []
    # Also where the deployment itself began a little more than a day ago.
    release = ("1", "", 0, 23.5, 20), ("2", "", 23.5, 40, 20)
    assert found(*release, said=[("r2", "2", 24.25)]) == []


def test_only_its_own_traces_count_for_what_is_deployed_once_more():
    # Beside a canary of another version.
    [anew] = found(("1", "", 0, 40, 20), ("2", "", 8, 40, 2), old="12", said=[("r2", "1", 30)])
    assert (anew.version, anew.trace_count) == ("1", 10 * 12 * 20)
    # While the instances of before are still draining.
    [anew] = found(("1", "a", 0, 31, 20), ("1", "b", 30, 40, 30))
    assert (anew.start_time_ns, anew.trace_count) == (at(30), 10 * 12 * 30)
    # It is the main version of then that is declared, not one of before.
    release = ("1", "", 0, 10, 20), ("2", "", 10, 40, 20)
    assert told(*release, old="12", said=[("r2", "2", 30)]) == [("redeployment", "2", 30, "2")]
    assert told(*release, old="12", said=[("r2", "2", 30), ("r1", "1", 35)])[0][:3] == (
        "redeployment",
        "2",
        30,
    )


def test_what_was_there_in_the_last_two_days_alone_is_no_deployment():
    assert found(("1", "", 0, 40, 20)) == []
    # The first in a place, and what began more than a day ago.
    assert found(("1", "", 30, 40, 20), old=()) == []
    assert told(("1", "", 0, 10, 20), ("2", "", 10, 40, 20)) == []
