import numpy as np
import pytest
import statsmodels.api as sm
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from scipy import stats

from otel_vtrack.analysis import apart, differences, statistics, windows
from otel_vtrack.analysis.compare import Question
from otel_vtrack.analysis.differences import Change, Kind
from otel_vtrack.errors import InvalidArgument, NotFound
from otel_vtrack.store import sql
from otel_vtrack.store.client import Store

AB = Question(baseline_version="A", candidate_version="B")


@pytest.fixture
def traces(send):
    """Write traces of a version: of each its root as a dict."""
    number = 0

    def write(version, roots, **resource):
        nonlocal number
        spans = []
        for root in roots:
            number += 1
            spans.append({"trace": number, "span": number, "at": number, **root})
        send(*spans, service__version=version, **resource)

    return write


def found(store, *kinds, question=AB):
    listed = differences.find(store, question, kinds)
    return {(each.kind, each.key, each.value): each for each in listed.differences}


def event(name, **attributes):
    made = Span.Event(name=name)
    for key, value in attributes.items():
        made.attributes.add(key=key).value.string_value = value
    return made


def failed(message):
    return {"status": 2, "message": message}


def test_a_new_error_is_told_whatever_numbers_are_in_its_message(store, traces):
    traces("A", [{}] * 200)
    traces("B", [{}] * 150 + [failed(f"order {n} of 7f3a-{n} is gone") for n in range(50)])
    [each] = found(store, Kind.ERROR_MESSAGE).values()
    assert (each.value, each.change) == ("order # of # is gone", Change.NEW)
    assert (each.baseline_count, each.candidate_count) == (0, 50)
    assert each.difference.value == pytest.approx(0.25)
    assert each.difference.lower < 0.25 < each.difference.upper
    assert 201 + 150 <= int(each.example_trace_id, 16) <= 400


def test_what_is_in_the_baseline_alone_has_vanished(store, traces):
    traces("A", [{"name": "old"}] * 40 + [{"name": "same"}] * 60)
    traces("B", [{"name": "same"}] * 100)
    told = found(store, Kind.SPAN_NAME)
    assert told[Kind.SPAN_NAME, "", "old"].change is Change.VANISHED
    assert int(told[Kind.SPAN_NAME, "", "old"].example_trace_id, 16) <= 40
    # All of B's traces are named so, and three of five of A's.
    assert told[Kind.SPAN_NAME, "", "same"].change is Change.MORE


def test_models_attributes_and_exceptions_are_told_each_once(store, traces):
    raised = event("exception", **{"exception.type": "KeyError"})

    def made(model, tier, events=()):
        return {
            "attributes": {"gen_ai.request.model": model, "tier": tier},
            "events": events,
        }

    traces("A", [made("small", "free")] * 100)
    traces("B", [made("large", "paid", [raised])] * 100)
    told = found(store)
    assert {(kind, key, value, each.change) for (kind, key, value), each in told.items()} == {
        (Kind.MODEL, "", "small", Change.VANISHED),
        (Kind.MODEL, "", "large", Change.NEW),
        (Kind.ATTRIBUTE, "tier", "free", Change.VANISHED),
        (Kind.ATTRIBUTE, "tier", "paid", Change.NEW),
        (Kind.EXCEPTION_TYPE, "", "KeyError", Change.NEW),
    }


def answered(draw, traces, version, times=1.0, failing=0.0):
    """300 traces of two answers each; who fails says so, in as many tokens."""
    made = []
    for fails in draw.random(300) < failing:
        tokens = (draw.lognormal(5, 0.5, 2) * times).astype(int).tolist()
        made.append(
            (failed("no card") if fails else {})
            | {
                "attributes": {
                    "gen_ai.usage.output_tokens": tokens[0],
                    "score": float(draw.random()),
                    "asked.at": 1_790_000_000_000 + 1000 * len(made) + (version == "B") * 10**7,
                    "thread.id": int(draw.integers(30) + (300 if version == "B" else 0)),
                    "http.response.status_code": 500 if fails else 200,
                }
            }
        )
    traces(version, made)


def test_a_number_that_grew_is_one_difference_by_its_name(store, traces):
    draw = np.random.default_rng(6)
    answered(draw, traces, "A")
    answered(draw, traces, "B", times=1.3)
    [each] = differences.find(store, AB).differences
    assert (each.kind, each.change) == (Kind.NUMBER, Change.MORE)
    assert (each.key, each.value) == ("gen_ai.usage.output_tokens", "")
    assert (each.baseline_count, each.candidate_count) == (300, 300)
    of = each.averages
    assert of.relative_difference.lower < 0.3 < of.relative_difference.upper
    assert of.candidate_mean - of.baseline_mean == pytest.approx(each.difference.value)
    assert of.candidate_median / of.baseline_median == pytest.approx(1.3, rel=0.1)
    assert 301 <= int(each.example_trace_id, 16) <= 600
    assert found(store, Kind.ATTRIBUTE) == {}


def test_a_number_counts_once_for_a_span_and_a_session(store, traces, send):
    """12 of 60 traces have large ones: of 2 sessions of 10, or of as many as traces."""
    for version, grown, each in (("A", 0, 1), ("few", 1000, 6), ("many", 1000, 1)):
        traces(
            version,
            [
                {
                    "attributes": {
                        "session.id": f"{version}{n // each}",
                        "size": n + (grown if n < 12 else 0),
                    }
                }
                for n in range(60)
            ],
        )
    late = [
        {"trace": n, "span": 900 + n, "parent": n, "at": n, "attributes": {"size": 0}}
        for n in range(121, 181)
    ]
    send(*late, service__version="many")
    few, many = (
        Question(baseline_version="A", candidate_version=version) for version in ("few", "many")
    )
    assert found(store, Kind.NUMBER, question=few) == {}
    once = found(store, Kind.NUMBER, question=many)
    [told] = once.values()
    assert told.averages.candidate_mean == pytest.approx((29.5 + 200) / 2)
    send(*late[:30], service__version="many")
    assert found(store, Kind.NUMBER, question=many) == once


@pytest.mark.parametrize("seed", range(3))
def test_a_release_with_errors_alone_is_not_blamed_for_numbers(store, traces, seed):
    draw = np.random.default_rng(seed)
    answered(draw, traces, "A")
    answered(draw, traces, "B", failing=0.1)
    assert found(store).keys() == {
        (Kind.ERROR_MESSAGE, "", "no card"),
        (Kind.ATTRIBUTE, "http.response.status_code", "200"),
        (Kind.ATTRIBUTE, "http.response.status_code", "500"),
    }


def test_flags_are_told_however_they_came(store, traces):
    told_by = event(
        "feature_flag.evaluation",
        **{"feature_flag.key": "cache", "feature_flag.result.variant": "on"},
    )
    traces("A", [{"attributes": {"vtrack.flag.search": "old"}}] * 50)
    traces("B", [{"events": [told_by]}] * 50)
    told = found(store)
    assert {key: each.change for (_, key, _), each in told.items()} == {
        "search": Change.VANISHED,
        "cache": Change.NEW,
    }
    assert {kind for kind, _, _ in told} == {Kind.FLAG}


def test_versions_that_do_not_differ_are_not_told_apart(store, traces):
    draw = np.random.default_rng(4)
    for version in "AB":
        traces(
            version,
            [
                {"name": f"step {draw.integers(20)}", "attributes": {"n": str(draw.integers(30))}}
                for _ in range(300)
            ],
        )
    listed = differences.find(store, AB)
    assert listed.differences == ()
    assert listed.tested_count == 50
    assert (listed.baseline_trace_count, listed.candidate_trace_count) == (300, 300)


def test_identities_and_what_says_the_version_are_no_differences(store, traces):
    for version in "AB":
        traces(
            version,
            [
                {"attributes": {"request.id": f"{version}{n}", "service.version": version}}
                for n in range(60)
            ],
        )
    assert found(store) == {}


def test_spans_sent_twice_count_once(store, traces, send):
    traces("A", [{}] * 30)
    traces("B", [{"name": "new"}] * 30)
    once = differences.find(store, AB)
    send(*[{"trace": n, "span": n, "at": n} for n in range(1, 31)], service__version="A")
    assert differences.find(store, AB) == once


def test_the_environment_and_the_time_restrict(store, traces):
    traces("A", [{"name": "x"}] * 30, deployment__environment__name="staging")
    traces("B", [{"name": "y"}] * 30, deployment__environment__name="staging")
    staging = Question(baseline_version="A", candidate_version="B", environment="staging")
    assert len(found(store, question=staging)) == 2
    with pytest.raises(NotFound):
        found(
            store,
            question=Question(
                baseline_version="A", candidate_version="B", environment="production"
            ),
        )
    with pytest.raises(NotFound, match="has no spans here"):
        found(
            store,
            question=Question(baseline_version="A", candidate_version="B", start_time_until_ns=1),
        )


def test_a_sample_is_said_to_be_one(store, traces):
    traces("A", [{"name": "old"}] * 400)
    traces("B", [{"name": "new"}] * 400)
    listed = differences.find(
        store, Question(baseline_version="A", candidate_version="B", max_traces=200)
    )
    assert listed.sampled_one_in == 4
    assert 100 < listed.baseline_trace_count + listed.candidate_trace_count < 300
    assert {each.value for each in listed.differences} == {"old", "new"}


def test_what_one_session_met_again_and_again_was_met_once(store, traces):
    """40 of 100 traces fail in one version: of one session, or of as many sessions."""
    for version, failing in (("one", ["s1"] * 40), ("many", [f"s{n}" for n in range(40)])):
        traces("A", [{"attributes": {"session.id": f"a{n}"}} for n in range(100)])
        traces(
            version,
            [failed("no") | {"attributes": {"session.id": name}} for name in failing]
            + [{"attributes": {"session.id": f"b{n}"}} for n in range(60)],
        )
    one, many = (
        found(
            store,
            Kind.ERROR_MESSAGE,
            question=Question(baseline_version="A", candidate_version=version),
        )
        for version in ("one", "many")
    )
    assert one == {}
    [each] = many.values()
    assert each.candidate_count == 40


def test_a_burst_within_a_minute_is_no_difference_between_versions(store, traces):
    """40 of 300 traces fail, all in one minute, or in all of 30."""
    minute = 60_000

    def spread(failing):
        return [{"at": n * minute / 10} | (failed("no") if failing(n) else {}) for n in range(300)]

    traces("A", spread(lambda _: False))
    traces("burst", spread(lambda n: 100 <= n < 110))
    traces("worse", spread(lambda n: n % 30 == 0))
    burst, worse = (
        found(
            store,
            Kind.ERROR_MESSAGE,
            question=Question(baseline_version="A", candidate_version=version),
        )
        for version in ("burst", "worse")
    )
    assert burst == {}
    [each] = worse.values()
    assert each.candidate_count == 10


def test_a_mix_of_routes_is_told_from_a_change(store, traces):
    def asked(route, times, tier):
        return [{"name": route, "attributes": {"tier": tier, "cache": "on"}}] * times

    traces("A", asked("GET /a", 160, "gold") + asked("GET /b", 40, "tin"))
    traces("B", asked("GET /a", 40, "gold") + asked("GET /b", 130, "tin"))
    traces("B", [{"name": "GET /b", "attributes": {"tier": "tin"}}] * 30)
    told = found(store, Kind.ATTRIBUTE)
    gold = told[Kind.ATTRIBUTE, "tier", "gold"]
    assert (gold.route, gold.route_share) == ("GET /a", 1.0)
    assert gold.difference.value == pytest.approx(-0.6)
    assert gold.same_route_difference == 0
    cache = told[Kind.ATTRIBUTE, "cache", "on"]
    assert cache.difference.value == pytest.approx(-0.15)
    # /a: none of 160 and 40; /b: 30 of 160 less than 40 of 40. Weights 32 and 32.
    assert cache.same_route_difference == pytest.approx(-30 / 160 / 2)


def test_versions_of_a_service_that_is_called_are_told_apart(store, send):
    """Their entry spans are another service's, of one version all along."""
    for version, name, first in (("A", "old", 1), ("B", "new", 101)):
        asked = range(first, first + 100)
        send(
            *({"trace": n, "span": 1, "at": n * 1000} for n in asked),
            service__version="web 1",
            vtrack__experiment="x",
        )
        send(
            *(
                {"trace": n, "span": 2, "parent": 1, "at": n * 1000 + 5, "name": name}
                for n in asked
            ),
            service__version=version,
            service__name="api",
            vtrack__experiment="x",
        )
    told = found(store, Kind.SPAN_NAME)
    assert {value: each.change for (_, _, value), each in told.items()} == {
        "old": Change.VANISHED,
        "new": Change.NEW,
    }


def test_spans_that_begin_minutes_after_their_trace_count(store, traces, send):
    traces("A", [{"ms": 200_000}] * 40)
    traces("B", [{"ms": 200_000}] * 40)
    late = [
        {"trace": n, "span": 900 + n, "parent": n, "at": 190_000, "name": "late"}
        for n in range(41, 81)
    ]
    send(*late, service__version="B")
    assert found(store, Kind.SPAN_NAME)[Kind.SPAN_NAME, "", "late"].candidate_count == 40


@pytest.mark.slow
def test_what_is_read_is_bounded_however_much_is_stored(store, monkeypatch):
    """Four times the traces, over four times the time, cost about as many rows of spans."""
    of = {
        "spans": (
            "trace_id, span_id, start_time, experiment, version, name",
            "id, 'span', at, 'x', version, 'work'",
        ),
        "trace_roots": (
            "trace_id, start_time, experiment, root, said",
            "id, at, 'x', (0, 'work', '', version, '', '', 0::Int32) AS root, xxHash32(root)",
        ),
    }
    # What else is derived from spans is not asked for here, and takes most of the time.
    for name in set(sql.names("mapping")) - {"versions_from_spans"}:
        store.command(f"DROP VIEW {name}")
    read = []
    for first, last in ((0, 300_000), (300_000, 1_200_000)):
        for table, (columns, values) in of.items():
            store.command(
                f"INSERT INTO {table} ({columns}) SELECT {values} FROM (SELECT"
                " reinterpretAsFixedString(sipHash128(number)) AS id, "
                " toDateTime64('2026-09-21 12:00:00', 9, 'UTC')"
                " + toIntervalMillisecond(number * 100) AS at,"
                " ['A', 'B', 'C'][number % 3 + 1] AS version"
                f" FROM numbers({first}, {last - first}))"
            )
            store.command(f"OPTIMIZE TABLE {table} FINAL")
        asked = {}

        def binary(name, bound, asked=asked):
            asked[name] = bound
            return Store.binary(store, name, bound)

        monkeypatch.setattr(store, "binary", binary)
        question = Question(baseline_version="A", candidate_version="B", max_traces=2000)
        listed = differences.find(store, question)
        assert 1900 < listed.baseline_trace_count + listed.candidate_trace_count < 2400
        name = "analysis/differences"
        plan = store.select(f"EXPLAIN ESTIMATE {sql.text('queries', name)}", asked[name])
        read.append(sum(row["rows"] for row in plan if row["table"] == "spans"))
    assert read[1] < 1.3 * read[0]
    # Two granules for each window, should the versions' not be the same, and twice: for how long
    # the traces last, and for what is in them.
    assert read[1] < 2 * 2 * 2 * 2048 * 1.2 * windows.WINDOWS


def clustered(draw, sessions, each, share, spread):
    """Things in traces of sessions, whose shares vary between sessions; one row a trace."""
    a, b = share * (1 - spread) / spread, (1 - share) * (1 - spread) / spread
    return np.repeat(draw.beta(a, b, (sessions, len(share))), each, axis=0)


def sample_of(found, sessions, sides, weights=None):
    """Rows as the query answers."""
    ids = (np.arange(1, len(found) + 1) * 2 + sides).astype(np.uint64)
    weights = np.ones(len(ids)) if weights is None else weights
    rows = [{"kind": "", "key": "", "value": "", "traces": ids}]
    rows += [
        {
            "kind": kind,
            "told_traces": ids,
            "numbers": np.asarray(numbers, float),
            "ids": np.zeros(0, "V16"),
        }
        for kind, numbers in (("SESSION", sessions), ("WEIGHT", weights))
    ]
    things = [
        {
            "kind": "ATTRIBUTE",
            "key": "n",
            "value": str(n),
            "traces": ids[has],
        }
        for n, has in enumerate(found.T)
    ]
    return rows, things


@pytest.mark.parametrize("kept", [1.0, pytest.param(0.2, marks=pytest.mark.slow)])
def test_versions_without_a_difference_are_told_apart_in_one_of_twenty_sessions_or_not(kept):
    """Sessions of 1 to 12 traces, longer ones in one version; things that stick to sessions.

    Of half of the things a sampler kept every trace, of what has none of them a part.
    """
    draw = np.random.default_rng(8)
    rounds, alarms = 300, 0
    for _ in range(rounds):
        share = draw.uniform(0.01, 0.5, 20)
        sizes = np.concatenate([draw.integers(1, 12, 60), draw.integers(1, 5, 120)])
        sessions = np.repeat(np.arange(180), sizes)
        has = draw.random((len(sessions), 20)) < clustered(draw, 180, sizes, share, 0.4)
        whole = has[:, :10].any(axis=1)
        there = whole | (draw.random(len(has)) < kept)
        weights = np.where(whole, 1.0, 1 / kept)[there]
        has, sessions = has[there], sessions[there]
        rows, things = sample_of(has, sessions, (sessions >= 60).astype(int), weights)
        alarms += bool(apart.Sample.of(rows, [1, 1]).told_apart(things)[1])
    assert alarms / rounds < 0.05 + 3 * (0.05 * 0.95 / rounds) ** 0.5


def test_what_is_only_in_what_was_sampled_varies_as_much_as_it_does():
    """Half fail and are kept, of the others one in ten is, and of these a fifth has something."""
    draw = np.random.default_rng(13)
    alarms = 0
    for _ in range(40):
        failed = draw.random(2000) < 0.5
        kept = failed | (draw.random(2000) < 0.1)
        has = (draw.random((2000, 20)) < 0.2) & ~failed[:, None]
        sides, weights = np.arange(2000) % 2, np.where(failed, 1.0, 10.0)
        rows, things = sample_of(has[kept], np.flatnonzero(kept), sides[kept], weights[kept])
        found = apart.Sample.of(rows, [1, 1])._shares(things)
        alarms += sum(each.p_value < 0.05 for each in found)
    assert alarms / 800 < 0.075


def test_the_test_of_clusters_agrees_with_a_regression_that_knows_them():
    draw = np.random.default_rng(9)
    sizes = draw.integers(1, 9, 400)
    sessions = np.repeat(np.arange(400), sizes)
    sides = sessions % 2
    has = draw.random((len(sessions), 30)) < clustered(draw, 400, sizes, np.full(30, 0.3), 0.3)
    rows, _ = sample_of(has, sessions, sides)
    sample = apart.Sample.of(rows, [1, 1])
    places = [np.flatnonzero(each) for each in has.T]
    pairs = apart.Found(
        np.repeat(np.arange(30), [len(each) for each in places]), np.concatenate(places)
    )
    effects, freedoms = sample.effects(pairs, has.mean(axis=0))
    assert 380 < freedoms.min() <= freedoms.max() <= 398
    for each, effect, freedom in zip(has.T, effects, freedoms, strict=True):
        fitted = sm.OLS(each.astype(float), sm.add_constant(sides)).fit(
            cov_type="cluster", cov_kwds={"groups": sessions}, use_t=True
        )
        ours = apart.p_value(
            (int(each[sides == 0].sum()), int(each[sides == 1].sum())),
            (int((sides == 0).sum()), int((sides == 1).sum())),
            tuple(map(float, effect)),
            float(freedom),
        )
        assert stats.norm.isf(ours / 2) == pytest.approx(
            stats.norm.isf(fitted.pvalues[1] / 2), rel=0.15, abs=0.05
        )
        # Independent traces would be far surer.
        assert effect.min() > 1.5


def test_windows_are_as_many_as_asked_and_the_same_each_time():
    minutes = list(range(1_000, 11_000))
    counts = [20 + n % 7 for n in range(10_000)]
    chosen = windows.choose(minutes, counts, counts, 10_000)
    assert chosen == windows.choose(minutes[::-1], counts[::-1], counts[::-1], 10_000)
    assert (chosen.width, chosen.is_sample) == (10, True)
    assert 0.8 < chosen.share <= 1
    assert len(chosen.windows) == pytest.approx(windows.WINDOWS, abs=10)
    # Spread: as many from the first half as from the second, but for chance.
    assert 12 < sum(number < 600 for number in chosen.windows) < 38
    # Busy minutes are not taken whole.
    busy = windows.choose(minutes, [9_000] * 10_000, [9_000] * 10_000, 10_000)
    assert (busy.width, len(busy.windows)) == (1, windows.WINDOWS)
    assert busy.share == pytest.approx(10_000 / (50 * 9_000))
    # A version that is rare among others is not looked for until the whole store is read.
    rare = windows.choose(minutes, [2] * 10_000, [9_000] * 10_000, 10_000)
    taken = 2 * rare.width * len(rare.windows) * rare.share
    assert taken == pytest.approx(10_000 / 7, rel=0.2)


def test_one_version_cannot_be_told_from_itself(store):
    with pytest.raises(InvalidArgument):
        differences.find(store, Question(baseline_version="A", candidate_version="A"))


@pytest.mark.parametrize(
    ("successes", "trials", "others", "other_trials"),
    [
        (0, 40, 6, 35),
        (3, 10, 1, 400),
        (2, 5000, 0, 9000),
        (10, 10, 7, 10),
        (0, 5, 0, 9),
        (4, 4, 9, 9),
    ],
)
def test_few_are_tested_as_by_scipy(successes, trials, others, other_trials):
    table = [[successes, trials - successes], [others, other_trials - others]]
    assert statistics.two_proportions(successes, trials, others, other_trials) == pytest.approx(
        stats.fisher_exact(table).pvalue, rel=1e-6
    )


@pytest.mark.parametrize(
    ("successes", "trials", "others", "other_trials"),
    [(40, 400, 60, 350), (500, 5000, 1000, 9000), (30, 60, 30, 60)],
)
def test_many_are_tested_as_by_scipy(successes, trials, others, other_trials):
    table = [[successes, trials - successes], [others, other_trials - others]]
    chi2 = stats.chi2_contingency(table, correction=False)
    assert statistics.two_proportions(successes, trials, others, other_trials) == pytest.approx(
        chi2.pvalue
    )


def test_versions_without_a_difference_are_told_apart_in_one_of_twenty_at_most():
    """50 things each, by simulation: as many as that, and three standard errors."""
    draw = np.random.default_rng(5)
    rounds = 600
    alarms = 0
    for _ in range(rounds):
        shares = draw.uniform(0.005, 0.5, 50)
        counts = draw.binomial(300, shares), draw.binomial(200, shares)
        raw = [
            statistics.two_proportions(int(a), 300, int(b), 200)
            for a, b in zip(*counts, strict=True)
        ]
        alarms += min(statistics.adjusted(raw)) < 0.05
    assert alarms / rounds < 0.05 + 3 * (0.05 * 0.95 / rounds) ** 0.5
