import random

import pytest

from otel_vtrack.errors import InvalidArgument, NotFound
from otel_vtrack.query import partial, prices, tokens, versions
from otel_vtrack.query.tokens import Cost, TokenUsage
from otel_vtrack.query.versions import Flag

START = 1_790_000_000_000_000_000
MS = 1_000_000


def names(store, **asked):
    return [found.version for found in versions.search(store, **asked).versions]


def test_a_version_is_what_its_spans_say(store, send):
    send(
        {"attributes": {"session.id": "s", "user.id": "u", "vtrack.flag.prompt": "v2"}},
        {"parent": 1, "at": 3, "status": 2},
        service__version="1",
        vcs__ref__head__revision="abc",
        vcs__ref__head__name="main",
        vcs__repository__url__full="https://example.test/shop",
        vtrack__vcs__dirty=True,
        deployment__environment__name="production",
        deployment__id="d1",
    )
    send({"trace": 2, "at": 5}, {"trace": 3, "at": 2}, service__version="2")
    newest, oldest = versions.search(store).versions
    assert (newest.version, newest.trace_count, newest.session_count) == ("2", 2, 0)
    assert (newest.first_seen_ns, newest.last_seen_ns) == (START + 2 * MS, START + 5 * MS)
    assert (newest.flags, newest.aliases, newest.note) == ((), (), "")
    assert (oldest.experiment, oldest.service_name, oldest.version) == ("shop", "shop", "1")
    assert (oldest.git_commit, oldest.git_branch, oldest.git_dirty) == ("abc", "main", "true")
    assert oldest.repository_url == "https://example.test/shop"
    assert (oldest.trace_count, oldest.error_trace_count) == (1, 1)
    assert (oldest.session_count, oldest.user_count) == (1, 1)
    assert oldest.flags == (Flag("prompt", "v2"),)
    assert oldest.places == (versions.Place("production", "d1", START, START + 3 * MS, 1, 1, 1, 1),)


def test_a_version_is_one_wherever_it_ran_the_place_seen_last_first(store, send):
    for number, (environment, deployment) in enumerate(
        [("staging", "d1"), ("production", "d2"), ("production", "d3"), ("staging", "d1")]
    ):
        send(
            {"trace": 1 + number % 3, "span": number + 1, "at": number},
            service__version="1",
            deployment__environment__name=environment,
            deployment__id=deployment,
        )
    [found] = versions.search(store).versions
    assert found.trace_count == 3
    assert [(p.environment, p.deployment_id, p.trace_count) for p in found.places] == [
        ("staging", "d1", 1),
        ("production", "d3", 1),
        ("production", "d2", 1),
    ]
    assert (found.first_seen_ns, found.last_seen_ns) == (START, START + 3 * MS)


def test_a_retried_span_is_counted_once(store, send):
    for _ in range(3):
        send({"status": 2, "attributes": {"vtrack.flag.f": "on"}}, service__version="1")
    [found] = versions.search(store).versions
    assert (found.trace_count, found.error_trace_count) == (1, 1)
    assert found.flags == (Flag("f", "on"),)


def test_traces_that_failed_are_counted_by_the_version_that_failed(store, send):
    send({"trace": 1, "span": 1, "status": 2}, {"trace": 2, "span": 2}, service__version="1")
    send({"trace": 1, "span": 3, "parent": 1}, service__version="2")
    counts = {v.version: v.error_trace_count for v in versions.search(store).versions}
    assert counts == {"1": 1, "2": 0}


def test_a_hundred_flags_are_kept(store, send):
    attributes = {f"vtrack.flag.f{number}": "on" for number in range(90)}
    send({"attributes": attributes}, service__version="1")
    attributes = {f"vtrack.flag.g{number}": "on" for number in range(90)}
    send({"trace": 2, "attributes": attributes}, service__version="1")
    [found] = versions.search(store).versions
    assert len(found.flags) == 100
    assert list(found.flags) == sorted(found.flags)


def test_spans_without_a_version_are_one_version_without_name(store, send):
    send({"trace": 1}, {"trace": 2})
    assert names(store) == [""]
    assert versions.get(store, "").trace_count == 2


@pytest.fixture
def several(send):
    for number, (service, version, environment, deployment, status) in enumerate(
        [
            ("web", "1", "production", "d1", 0),
            ("web", "1", "staging", "d2", 2),
            ("web", "2", "staging", "d3", 0),
            ("api", "2", "production", "d4", 2),
        ]
    ):
        send(
            {"trace": number + 1, "at": number, "status": status},
            service__name=service,
            service__namespace="group",
            service__version=version,
            deployment__environment__name=environment,
            deployment__id=deployment,
        )


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ["2", "2", "1"]),
        ({"experiment": "group/api"}, ["2"]),
        ({"experiment": "nowhere"}, []),
        ({"filter_": "service_name = 'web'"}, ["2", "1"]),
        ({"filter_": "version = '1'"}, ["1"]),
        ({"filter_": "environment = 'staging'"}, ["2", "1"]),
        ({"filter_": "environment = 'nowhere'"}, []),
        ({"filter_": "deployment_id = 'd1'"}, ["1"]),
        ({"filter_": "error_trace_count > 0"}, ["2", "1"]),
        ({"filter_": "error_trace_count > 0 AND environment = 'production'"}, ["2"]),
        ({"filter_": "version = '1' OR service_name = 'api'"}, ["2", "1"]),
        ({"order_by": ["version ASC", "service_name DESC"]}, ["1", "2", "2"]),
        ({"order_by": ["trace_count DESC"]}, ["1", "2", "2"]),
    ],
)
def test_filters_restrict_and_keys_sort(store, several, *, asked, expected):
    assert names(store, **asked) == expected


def test_conditions_on_places_restrict_the_figures(store, several):
    [found] = versions.search(
        store, filter_="version = '1' AND environment = 'production'"
    ).versions
    assert (found.trace_count, found.error_trace_count) == (1, 0)
    assert [place.environment for place in found.places] == ["production"]
    assert found.last_seen_ns == START


def test_flags_are_of_the_places_asked_for(store, send):
    for number, environment in enumerate(["staging", "production"]):
        send(
            {"trace": number + 1, "attributes": {"vtrack.flag.f": environment}},
            service__version="1",
            deployment__environment__name=environment,
        )
    [found] = versions.search(store, filter_="environment = 'staging'").versions
    assert found.flags == (Flag("f", "staging"),)
    assert names(store, filter_="flag.f = 'staging'") == ["1"]
    assert names(store, filter_="flag.f = 'else'") == []


def test_pages_join_up(store, send):
    for number in range(7):
        send({"trace": number + 1, "at": number // 2}, service__version=str(number))
    seen, token = [], ""
    while True:
        page = versions.search(store, order_by=["last_seen DESC"], page_size=2, page_token=token)
        seen += [found.version for found in page.versions]
        token = page.next_page_token
        if not token:
            break
    assert seen == ["6", "4", "5", "2", "3", "0", "1"]


def test_a_page_has_from_1_to_1000_versions(store):
    for size in (-1, 1001):
        with pytest.raises(InvalidArgument, match="page_size"):
            versions.search(store, page_size=size)


def test_a_page_token_of_another_question_is_refused(store, send):
    send({"trace": 1}, service__version="1")
    send({"trace": 2}, service__version="2")
    token = versions.search(store, page_size=1).next_page_token
    for other in ({"filter_": "version = '1'"}, {"order_by": ["version"]}, {"experiment": "x"}):
        with pytest.raises(InvalidArgument, match="page_token"):
            versions.search(store, **other, page_token=token)


@pytest.mark.parametrize("key", ["environment", "deployment", "deployment_id DESC", "alias"])
def test_nothing_is_sorted_by_what_a_version_has_many_of(store, key):
    with pytest.raises(InvalidArgument, match="nothing can be sorted by it"):
        versions.search(store, order_by=[key])


def test_one_version_is_given_by_its_name(store, several):
    found = versions.get(store, "2", service_name="api")
    assert (found.service_name, found.experiment) == ("api", "group/api")
    assert versions.get(store, "2", experiment="group/web").service_name == "web"


def test_a_version_of_several_services_needs_to_be_told_apart(store, several):
    with pytest.raises(InvalidArgument, match=r"api in group/api, web in group/web.*choose one"):
        versions.get(store, "2")


def test_a_version_that_is_not_there_is_not_found(store, several):
    for where in ({}, {"service_name": "web"}, {"experiment": "group/api"}):
        with pytest.raises(NotFound, match=r"no version 9.*list"):
            versions.get(store, "9", **where)
    with pytest.raises(NotFound, match="no version has the alias champion"):
        versions.get(store, "@champion")


# Usage

FILE = """
[[price]]
model = "big"
input = 10
output = 20
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(FILE)
    return prices.load(path)


def llm(model="big", taken=100_000, given=0):
    return {
        "attributes": {
            "gen_ai.request.model": model,
            "gen_ai.usage.input_tokens": taken,
            "gen_ai.usage.output_tokens": given,
        }
    }


def test_usage_is_of_the_traces_whose_root_the_version_made(store, send, table):
    send(
        {"trace": 1, "span": 1, **llm(given=1_000)},
        {"trace": 2, "span": 2},
        {"trace": 2, "span": 3, "parent": 2, **llm()},
        service__version="1",
    )
    send({"trace": 1, "span": 4, "parent": 1, **llm()}, service__version="2")
    found = versions.get(store, "1", usage_by=table).usage
    assert found.tokens == TokenUsage(200_000, 1_000, 201_000)
    assert found.cost[:3] == pytest.approx((2.0, 0.02, 2.02))
    assert found.sampled_one_in == 1
    assert versions.get(store, "2", usage_by=table).usage is None
    assert versions.get(store, "1").usage is None


def test_usage_counts_retries_once_and_waits_for_the_root(store, send, table):
    for _ in range(2):
        send({"span": 2, "parent": 1, **llm()}, service__version="1")
    send({"span": 1}, service__version="2")
    assert versions.get(store, "1", usage_by=table).usage is None
    assert versions.get(store, "2", usage_by=table).usage.cost.total_cost == 1.0


def test_usage_with_unknown_models_is_unknown(store, send, table):
    send({"trace": 1, **llm()}, {"trace": 2, **llm("house")}, service__version="1")
    found = versions.get(store, "1", usage_by=table).usage
    assert found.cost == Cost(1.0, 0.0, 1.0, ("house",))
    assert found.tokens.input_tokens == 200_000


def test_usage_is_of_the_places_asked_for(store, send, table):
    for number, environment in enumerate(["staging", "production", "production"]):
        send(
            {"trace": number + 1, **llm()},
            service__version="1",
            deployment__environment__name=environment,
        )
    for where, dollars in (("", 3.0), ("environment = 'production'", 2.0)):
        [found] = versions.search(store, filter_=where, usage_by=table).versions
        assert found.usage.cost.total_cost == dollars


def test_of_many_traces_a_sample_is_added_up(store, send, table, monkeypatch):
    monkeypatch.setattr(versions, "MOST_TRACES", 250)
    monkeypatch.setattr(versions, "_FEWEST_TRACES", 1)
    for start in range(0, 1_000, 250):
        send(
            *({"trace": n + 1, "span": n + 1, **llm()} for n in range(start, start + 250)),
            service__version="1",
        )
    found = versions.get(store, "1", usage_by=table).usage
    assert found.sampled_one_in == 4
    assert found.cost.total_cost == pytest.approx(1_000, rel=0.25)
    assert found.tokens.input_tokens % 4 == 0


def test_usage_counts_what_agents_report_again_once(store, send, table):
    send(
        {"span": 1, **llm(taken=300_000)},
        {"span": 2, "parent": 1},
        {"span": 3, "parent": 2, **llm(taken=300_000)},
        service__version="1",
    )
    found = versions.get(store, "1", usage_by=table).usage
    assert (found.tokens.input_tokens, found.cost.total_cost) == (300_000, 3.0)


def used_in_some_way(pick):
    """Attributes of a span that tells what it used, in one of many ways."""
    told = llm(pick.choice(["big", "house", "gemini-2.5-pro"]), pick.randrange(9_000), 7)
    counts = told["attributes"]
    for name, likely in (
        ("gen_ai.usage.cache_read.input_tokens", 0.3),
        ("gen_ai.usage.total_tokens", 0.2),
    ):
        if pick.random() < likely:
            counts[name] = pick.randrange(12_000)
    if pick.random() < 0.25:
        # A total alone.
        del counts["gen_ai.usage.input_tokens"], counts["gen_ai.usage.output_tokens"]
        counts["gen_ai.usage.total_tokens"] = 5
    if pick.random() < 0.1:
        del counts["gen_ai.request.model"]
    if pick.random() < 0.1:
        counts["gen_ai.usage.cost"] = 0.25
    return told


def test_usage_is_what_traces_say_one_by_one(store, send, tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text("built_in = true\n" + FILE + "cache_read = 1\n")
    table = prices.load(path)
    pick = random.Random(5)
    sent = {"1": range(100, 160), "2": range(200, 260)}
    for version, traces in sent.items():
        spans = []
        for trace in traces:
            state = "ot=th:c" if trace % 5 == 0 else ""
            for span in range(1 + trace % 4):
                parent = {"parent": trace * 10 + pick.randrange(span)} if span else {}
                told = used_in_some_way(pick) if pick.random() < 0.8 else {}
                where = {"trace": trace, "span": trace * 10 + span, "trace_state": state}
                spans.append({**where, **parent, **told})
        pick.shuffle(spans)
        # In several rows, and some spans twice.
        for start in range(0, len(spans), 40):
            send(*spans[start : start + 45], service__version=version)
    for version, traces in sent.items():
        found = versions.get(store, version, usage_by=table).usage
        used, costs, unknown = [0.0] * 5, [0.0] * 3, set()
        for whole in partial.traces(store, [trace.to_bytes(16, "big").hex() for trace in traces]):
            usage = tokens.usage(whole.usage, whole.edges, whole.billing)
            at_ns = whole.root.start_time_ns
            cost = tokens.cost(whole.usage, whole.edges, whole.billing, table, at_ns)
            for sums, more in ((used, usage or ()), (costs, cost[:3] if cost else ())):
                for place, each in enumerate(more):
                    sums[place] += whole.adjusted_count * each
            unknown.update(cost.unknown_models if cost else ())
        assert found.tokens == tuple(map(round, used))
        assert found.cost[:3] == pytest.approx(costs)
        assert set(found.cost.unknown_models) == unknown
        assert unknown == {"big", "gemini-2.5-pro", "house", tokens.NO_MODEL}
