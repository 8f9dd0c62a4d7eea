"""Deployments in a real store: which are watched, and what one look sees."""

import random

import numpy as np
import pytest

from otel_vtrack.analysis import deployed, watching
from otel_vtrack.query import watch
from otel_vtrack.query.timeline import Place
from otel_vtrack.record import deletion, deployments
from otel_vtrack.record import watch as record
from otel_vtrack.store import sql

START = 1_790_000_000_000_000_000
MINUTE = 60_000
HOUR = 60 * MINUTE
NOW = START + 5 * HOUR * 1_000_000
PRODUCTION = {"deployment__environment__name": "production"}


@pytest.fixture
def feed(send):
    """Send traces of a version that begin evenly from one hour to another."""
    numbers = iter(range(1, 1_000_000))
    rng = random.Random(1)

    def feed_(version, count, first, last, *, failing=0.01, ms=200.0, route="/buy", **resource):
        send(
            *(
                {
                    "trace": next(numbers),
                    "name": route,
                    "at": first * HOUR + n * (last - first) * HOUR / count,
                    "ms": ms * rng.lognormvariate(0, 0.5),
                    "status": 2 * (rng.random() < failing),
                    "attributes": {"session.id": f"{version} {first} {n // 2}"},
                }
                for n in range(count)
            ),
            service__version=version,
            **{"deployment__id": f"d-{version}"} | PRODUCTION | resource,
        )

    return feed_


# As samplers write into the state of a trace by what chance it was kept: one in so many.
KEPT = {1: "", 2: "ot=th:8", 4: "ot=th:c"}


def looked(store, now_ns=NOW):
    return [watching.look(store, each) for each in deployed.deployments(store, now_ns)]


def test_a_bad_canary_is_found_and_what_it_is_compared_with_and_stays_one_event(
    store, feed, monkeypatch
):
    feed("1", 700, 0, 4)
    feed("2", 300, 4, 5, failing=0.3, ms=300)
    feed("1", 300, 4, 5)
    [look] = looked(store)
    deployment = look.deployment
    assert (deployment.version, deployment.baseline.version) == ("2", "1")
    assert (deployment.deployment_id, deployment.end_time_ns) == ("d-2", None)
    assert deployment.start_time_ns == START + 4 * HOUR * 1_000_000
    assert (look.baseline_count, look.candidate_count) == (1000, 300)
    assert (look.baseline_cluster_count, look.candidate_cluster_count) == (500, 150)
    errors, latency, slow = look.metrics
    assert (errors.is_worse, latency.is_worse) == (True, True)
    assert latency.baseline == pytest.approx(200, rel=0.05)
    assert latency.difference.value == pytest.approx(0.5, abs=0.1)
    assert slow.baseline == pytest.approx(0.05, abs=0.002)
    event = watching.events(look, NOW)[0]
    assert (event.metric, event.kind, event.baseline_count) == ("error_rate", "regression", 1000)
    assert event.candidate == pytest.approx(0.3, abs=0.08)
    assert event.threshold < event.difference_lower < event.difference < event.difference_upper
    assert "shop 2 in production: more traces fail than with 1" in event.summary
    assert watching.events(look, NOW + 1)[0].event_id == event.event_id
    # Of more traces than are wanted there is a sample, of each period one of its own.
    pair = watching._pair(deployment)
    before, candidate = watch.counts(store, pair)
    assert (before[0], candidate[:6]) == (700, [0, 25, 25, 50, 100, 100])
    monkeypatch.setattr(watching, "MOST_BEFORE", 100)
    monkeypatch.setattr(watching, "MOST_A_PERIOD", 20)
    assert watching.sampling(before, candidate)[1][:6] == [8, 1, 4, 4, 8, 16]
    [sample] = looked(store)
    assert 30 < sample.candidate_count < 110
    assert 60 < sample.baseline_count < 300


def test_sums_are_those_of_least_squares_with_a_level_for_each_route(store, send, monkeypatch):
    # /c and /d are the others; the candidate has no /old.
    monkeypatch.setattr(watch, "MOST_ROUTES", 3)
    rng = random.Random(2)
    made = []
    for number in range(1, 401):
        version = 1 + (number > 300)
        route = rng.choices(
            ["/a", "/b", "/c", "/d"], (9, 5, 2, 1) if version == 1 else (1, 5, 2, 1)
        )
        ms = rng.lognormvariate(4 + 2 * (route == ["/b"]), 0.5)
        failed, session = rng.random() < 0.2, f"{version} {rng.randrange(80)}"
        # A trace of which one in so many was kept stands for as many.
        stands_for = rng.choice((1, 1, 2, 4))
        made.append((number, version, route[0], failed, session, round(ms, 3), stands_for))
    made += [(500 + n, 1, "/old", True, f"old {n}", 9, 1) for n in range(60)]
    for version in (1, 2):
        spans = [
            {"trace": number, "at": number, "name": name, "ms": ms, "status": 2 * failed}
            | {"attributes": {"session.id": session}, "trace_state": KEPT[stands_for]}
            for number, of, name, failed, session, ms, stands_for in made
            if of == version
        ]
        send(*spans, service__version=f"{version}", **PRODUCTION)
        send(*spans[:20], service__version=f"{version}", **PRODUCTION)
    pair = watch.Pair(
        place=Place("shop", "shop", "production"),
        baseline=watch.Side("1"),
        candidate=watch.Side("2"),
        start_ns=START,
        from_ns=START,
        until_ns=NOW,
        since_ns=[START],
    )
    sides = watch.sums(store, pair, [1], [1])
    assert [each.trace_count for each in sides] == [360, 100]
    assert {each.route_count for each in sides} == {3}
    routes = {"/a": 0, "/b": 1, "/old": 2}
    data = [(of - 1, routes.get(name, 3), *more) for _, of, name, *more in made]
    shared = [each for each in data if each[1] != 2]
    side, route, failed, session, ms, weight = (
        np.array(each) for each in zip(*shared, strict=True)
    )
    route[route == 3] = 2
    levels = [np.repeat(ms, weight * (side == 0) * (route == each)) for each in range(3)]
    slow = ms >= np.array([sorted(each)[int(0.95 * len(each))] for each in levels])[route]
    design = np.column_stack([side, *(route == each for each in range(3))]).astype(float)
    bread = np.linalg.inv(design.T * weight @ design)
    mean = design @ bread[0] * weight
    for each, told in enumerate(sides):
        # Of so many traces a plain mean would vary as much.
        assert told.effective_count == pytest.approx(1 / (mean[side == each] ** 2).sum())
    for number, values in enumerate((failed, np.log(ms), slow)):
        fitted = bread @ (design.T * weight @ values.astype(float))
        assert sides[1].means[number] - sides[0].means[number] == pytest.approx(fitted[0])
        influence = mean * (values - design @ fitted)
        for each, told in enumerate(sides):
            clusters = np.unique(session[side == each], return_inverse=True)[1]
            scores = np.bincount(clusters, weights=influence[side == each])
            assert told.squares[number] == pytest.approx((scores**2).sum())
            assert (told.cluster_count, told.compared_count) == (len(scores), sum(side == each))


def test_nobody_is_alarmed_by_a_version_that_got_the_slow_routes_and_is_faster_on_each(store, feed):
    for version, begin, quick, slow in (("1", 0, 900, 100), ("2", 4, 60, 540)):
        feed(version, quick, begin, begin + 1, ms=100, route="/quick", failing=0.01)
        faster = 1.1 - begin / 20
        feed(version, slow, begin, begin + 1, ms=800 * faster, route="/slow", failing=0.08)
    [look] = looked(store)
    assert not any(each.is_worse for each in look.metrics)
    latency = look.metrics[1]
    assert latency.difference.value == pytest.approx(-0.17, abs=0.09)
    # What is new is compared with nothing.
    feed("2", 300, 4, 5, ms=9000, route="/new", failing=1)
    [again] = looked(store)
    assert again.candidate_count == 900
    assert again.metrics == look.metrics


def test_nothing_is_found_of_a_clean_release_and_only_what_replaced_something_is_watched(
    store, feed
):
    feed("1", 400, 0, 4)
    feed("2", 200, 4, 5)
    feed("1", 50, 0, 5, deployment__environment__name="staging")
    feed("3", 15, 4.9, 5)
    three, two = looked(store)
    assert watching.events(two, NOW) == []
    assert all(each.difference is not None for each in two.metrics)
    # Too few to say anything.
    assert (three.deployment.baseline.version, three.metrics) == ("2", ())
    # A day later none of them is new.
    assert looked(store, NOW + deployed.WATCHED_NS) == []


def test_a_version_that_comes_back_is_compared_with_what_it_replaced_and_not_with_itself(
    store, feed
):
    feed("1", 300, -30, -20)
    feed("2", 400, -20, 0)
    feed("1", 200, 0, 5, failing=0.5)
    [look] = looked(store)
    deployment = look.deployment
    assert (deployment.kind, deployment.version) == (deployed.RETURN, "1")
    assert deployment.baseline.version == "2"
    # Nothing of the time when it was there before.
    assert (look.baseline_count, look.candidate_count) == (400, 200)
    [event] = watching.events(look, NOW)
    assert (event.metric, event.deployment_kind) == ("error_rate", "return")
    assert "shop 1 back in production: more traces fail than with 2" in event.summary


def test_the_same_version_under_another_id_or_declared_anew_is_compared_with_what_it_was_before(
    store, feed
):
    feed("1", 400, -20, 0)
    feed("1", 200, 0, 4, failing=0.4, deployment__id="d-config")
    feed("1", 400, -20, 0, service__name="cart")
    feed("1", 200, 0, 4, service__name="cart", failing=0.4)
    place = {"experiment": "cart", "service_name": "cart", "environment": "production"}
    start_ns = START - 60_000_000_000
    deployments.create(store, **place, version="1", deployment_id="r7", start_time_ns=start_ns)
    cart, shop = sorted(looked(store), key=lambda each: each.deployment.place)
    assert (shop.deployment.kind, shop.deployment.deployment_id) == ("redeployment", "d-config")
    assert shop.deployment.baseline == watch.Side("1", "d-1")
    assert (cart.deployment.kind, cart.deployment.deployment_id) == ("redeployment", "r7")
    assert cart.deployment.start_time_ns == start_ns
    for look in (cart, shop):
        assert (look.baseline_count, look.candidate_count) == (400, 200)
    [event] = watching.events(shop, NOW)
    assert (event.version, event.baseline_version) == ("1", "1")
    assert event.baseline_deployment_id == "d-1"
    assert "shop 1 as d-config in production: more traces fail than with 1 as d-1" in event.summary
    assert "cart 1 as r7" in watching.events(cart, NOW)[0].summary


def test_a_release_that_renames_its_routes_is_compared_with_all_of_them_together(store, feed):
    feed("1", 500, 0, 4)
    feed("1", 20, 0, 4, route="/health", ms=1)
    feed("2", 300, 4, 5, route="/v2/buy", failing=0.3)
    feed("2", 5, 4, 5, route="/health", ms=1)
    [look] = looked(store)
    assert look.routes_pooled
    assert (look.baseline_count, look.candidate_count) == (520, 305)
    assert look.baseline_cluster_count == 250
    errors, latency, slow = look.metrics
    assert (errors.is_worse, latency.is_worse, slow.is_worse) == (True, False, False)
    assert errors.baseline == pytest.approx(0.01, abs=0.01)
    [event] = watching.events(look, NOW)
    assert event.routes_pooled
    assert event.summary.endswith("; all routes combined, as they share hardly any")
    # Where a twentieth is on a route of both, that is what is compared.
    feed("2", 60, 4, 5, route="/health", ms=1)
    [look] = looked(store)
    assert not look.routes_pooled
    assert look.baseline_cluster_count == 10


def test_a_version_that_follows_within_a_minute_replaces_the_one_before(store, feed):
    feed("1", 30, 0, 1 / 60)
    feed("2", 90, 1 / 60, 2 / 60)
    [deployment] = deployed.deployments(store, NOW)
    assert (deployment.version, deployment.baseline.version) == ("2", "1")


def test_a_look_reads_two_days_whatever_was_before(store, feed):
    feed("1", 200, -24, 4)
    feed("2", 100, 4, 5)

    def rows():
        for table in ("traces", "trace_roots"):
            store.command(f"OPTIMIZE TABLE {table} FINAL")
        [deployment] = deployed.deployments(store, NOW)
        pair = watching._pair(deployment)
        bound = watch._bound(pair)
        ones = [1] * len(pair.since_ns)
        sample = {
            "baseline_one_in": ones,
            "candidate_one_in": ones,
            "most_routes": 50,
            "fewest_shared": 0.05,
        }
        days = {"rows_from_ns": pair.from_ns - watch._DAY_NS, "rows_until_ns": pair.until_ns}
        return [
            sum(
                row["rows"]
                for row in store.select(f"EXPLAIN ESTIMATE {sql.text('queries', name)}", parameters)
            )
            for name, parameters in (
                ("watch/counts", bound),
                ("watch/sums", bound | sample | days),
            )
        ]

    before = rows()
    assert all(before)
    feed("1", 3000, -24 * 30, -24 * 3)
    assert rows() == before


def test_the_sample_of_a_period_is_told_by_the_period_before():
    day = 24 * 12 * watching.MOST_A_PERIOD
    baseline, candidate = watching.sampling([day * 4, 5, 5, 5], [0, 10_001, 40_000, 9])
    assert baseline == [512, 4, 1, 1]
    assert candidate == [512, 4, 2, 4]


@pytest.mark.slow  # the engine takes a second or so to delete
def test_an_event_is_stored_once_and_goes_with_its_experiment(store, feed):
    feed("1", 800, 0, 4)
    feed("2", 600, 4, 5, failing=0.5, ms=900)
    [look] = looked(store)
    found = watching.events(look, NOW)
    assert len(found) == 3
    assert record.add_events(store, found[:2]) == found[:2]
    later = watching.events(look, NOW + 5)
    assert record.add_events(store, later) == later[2:]
    # Another server, which did not see them yet.
    rows = [watch.columns(each) for each in later]
    store.insert("watch_events", [list(row.values()) for row in rows], list(rows[0]))
    listed = watch.search(store, service_name="shop").events
    assert listed[0] == later[2]
    assert sorted(listed[1:], key=lambda each: each.metric) == found[:2]
    page = watch.search(store, page_size=2)
    rest = watch.search(store, page_size=2, page_token=page.next_page_token)
    assert [*page.events, *rest.events] == listed
    for where in ({"version": "1"}, {"environment": "x"}, {"from_ns": NOW + 6}, {"until_ns": NOW}):
        assert watch.search(store, **where).events == []
    record.end_delivery(store, found[0], "webhook", delivered=True, attempts=1)
    assert len(watch.undelivered(store, "webhook", NOW, 10)) == 2
    assert len(watch.undelivered(store, "otlp", NOW, 10)) == 3
    deletion.delete_experiment(store, "shop")
    assert watch.search(store).events == []
    assert store.select("SELECT count() AS n FROM watch_deliveries") == [{"n": 0}]
