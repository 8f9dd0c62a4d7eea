"""What attributes say: every chain of names, and the traces and versions that follow."""

import itertools

import pytest

from otel_vtrack.query import export
from otel_vtrack.store.client import Store
from otel_vtrack.store.writer import Writer
from otel_vtrack.wire import framing

SECOND = 10**9

# By column, the names that fill it; an earlier one wins.
CHAINS = {
    "version": (
        "service.version",
        "app_version",
        "app.version",
        "version",
    ),
    "environment": (
        "deployment.environment.name",
        "deployment.environment",
        "environment",
        "env",
    ),
    "deployment_id": (
        "deployment.id",
        "deployment_id",
        "deployment.name",
        "cicd.pipeline.run.id",
    ),
    "git_commit": (
        "vcs.ref.head.revision",
        "vcs.repository.ref.revision",
        "git.commit.sha",
        "git.commit",
        "heroku.release.commit",
        "mlflow.source.git.commit",
    ),
    "git_branch": (
        "vcs.ref.head.name",
        "vcs.repository.ref.name",
        "mlflow.source.git.branch",
    ),
    "repository_url": (
        "vcs.repository.url.full",
        "git.repository_url",
        "mlflow.source.git.repoURL",
    ),
    "git_dirty": ("vtrack.vcs.dirty", "mlflow.source.git.dirty"),
    "session_id": (
        "session.id",
        "gen_ai.conversation.id",
        "traceloop.association.properties.session_id",
        "langfuse.session.id",
        "mlflow.trace.session",
    ),
    "user_id": (
        "user.id",
        "enduser.id",
        "enduser.pseudo.id",
        "user.hash",
        "gen_ai.user",
        "llm.user",
        "traceloop.association.properties.user_id",
        "langfuse.user.id",
        "mlflow.trace.user",
    ),
    "input_tokens": (
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.prompt_tokens",
        "llm.token_count.prompt",
        "llm.usage.prompt_tokens",
    ),
    "output_tokens": (
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.completion_tokens",
        "llm.token_count.completion",
        "llm.usage.completion_tokens",
    ),
    "total_tokens": (
        "gen_ai.usage.total_tokens",
        "llm.token_count.total",
        "llm.usage.total_tokens",
    ),
    "cache_read_input_tokens": (
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "llm.token_count.prompt_details.cache_read",
    ),
    "cache_creation_input_tokens": (
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
        "llm.token_count.prompt_details.cache_write",
    ),
    "model": (
        "gen_ai.response.model",
        "gen_ai.request.model",
        "llm.response.model_name",
        "llm.model_name",
        "llm.request.model_name",
        "embedding.model_name",
        "mlflow.llm.model",
    ),
    "provider": (
        "gen_ai.provider.name",
        "gen_ai.system",
        "llm.provider",
        "llm.system",
        "mlflow.llm.provider",
    ),
    "cost": ("mlflow.llm.cost", "gen_ai.usage.cost", "llm.cost.total"),
}
WEAK_VERSIONS = ("traceloop.entity.version", "gen_ai.agent.version")
COLUMNS = tuple(CHAINS)
SILENT = {column: None if column.endswith("_tokens") else "" for column in COLUMNS}
REVISION = "0123456789abcdef0123456789abcdef01234567"
USAGE = '{"input_tokens": 12, "output_tokens": 3, "total_tokens": 15}'


def said(column, number):
    """A value of that column's type."""
    return number if column.endswith("_tokens") else f"{column}-{number}"


def expected(column, number):
    values = {column: said(column, number)}
    if column == "git_commit":
        values["version"] = said(column, number)[:12]
    return values


def cases():
    """Name, span's attributes, resource's attributes, what is not silent."""
    for column, chain in CHAINS.items():
        for rank, name in enumerate(chain):
            own = expected(column, rank)
            yield f"{name} on the span", {name: said(column, rank)}, {}, own
            yield f"{name} on the resource", {}, {name: said(column, rank)}, own
        for (rank, better), worse in zip(enumerate(chain), chain[1:], strict=False):
            # Worse first, so that order of arrival decides nothing.
            both = {worse: said(column, 9), better: said(column, rank)}
            yield f"{better} before {worse}", both, {}, expected(column, rank)
            yield f"{better} before {worse} on a resource", {}, both, expected(column, rank)
            yield (
                f"{better} without text before {worse}",
                {better: "", worse: said(column, rank)},
                {},
                expected(column, rank),
            )
        best, worst = chain[0], chain[-1]
        yield (
            f"{worst} on the span before {best} on the resource",
            {worst: said(column, 1)},
            {best: said(column, 2)},
            expected(column, 1),
        )
        yield (
            f"{best} without text on the span before {worst} on the resource",
            {best: ""},
            {worst: said(column, 3)},
            expected(column, 3),
        )
    commit = {"vcs.ref.head.revision": REVISION}
    short = {"git_commit": REVISION, "version": REVISION[:12]}
    for rank, name in enumerate(WEAK_VERSIONS):
        weak = {name: f"weak-{rank}"}
        yield f"{name} alone", weak, {}, {"version": f"weak-{rank}"}
        yield f"{name} on the resource", {}, weak, {"version": f"weak-{rank}"}
        yield f"{name} before a commit", weak, commit, short | {"version": f"weak-{rank}"}
        yield f"{name} after a version", weak | {"version": "1"}, {}, {"version": "1"}
        yield f"{name} after the resource's version", weak, {"app_version": "1"}, {"version": "1"}
    yield (
        "traceloop before the agent",
        {WEAK_VERSIONS[1]: "agent", WEAK_VERSIONS[0]: "entity"},
        {},
        {"version": "entity"},
    )
    yield "a commit alone", {}, commit, short
    yield "a short commit", {"git.commit": "abc"}, {}, {"git_commit": "abc", "version": "abc"}
    # One attribute of the resource is a list.
    image = {"container.image.tags": ["2.3.1-slim", "latest"]}
    yield "an image's tags", {}, image, {"version": "2.3.1-slim"}
    yield "an image's tags before a commit", {}, image | commit, short | {"version": "2.3.1-slim"}
    yield "an image's tags after a version", {}, image | {"version": "1"}, {"version": "1"}
    yield "an agent before an image's tags", {WEAK_VERSIONS[1]: "a"}, image, {"version": "a"}
    yield "no tags", {}, {"container.image.tags": []} | commit, short
    yield "an empty tag", {}, {"container.image.tags": [""]} | commit, short
    yield "tags that are no texts", {}, {"container.image.tags": [7, "x"]} | commit, short
    yield "tags as text", {}, {"container.image.tags": "2.0"}, {"version": "2.0"}
    long = "v" * 127
    yield "the longest tag", {}, {"container.image.tags": [long[:120]]}, {"version": long[:120]}
    # Types.
    yield "a version that is a number", {"service.version": 7}, {}, {"version": "7"}
    yield "a version with a point", {"service.version": 2.5}, {}, {"version": "2.5"}
    named = {"service.version": "1", "deployment.environment.name": "production", "user.id": "u"}
    expressed = {"version": "1", "environment": "production", "user_id": "u"}
    for no_text in (["x", "y"], {"a": "x"}):
        yield (
            f"{type(no_text).__name__} where a text is meant",
            {"version": no_text, "env": no_text, "user.id": no_text},
            named,
            expressed,
        )
    yield "a dirty tree", {"vtrack.vcs.dirty": True}, {}, {"git_dirty": "true"}
    yield "a clean tree", {"vtrack.vcs.dirty": False}, {}, {"git_dirty": "false"}
    for text, count in {
        "12": 12,
        "12.0": None,
        "0": 0,
        "many": None,
        "": None,
        "-3": None,
        "12.5": None,
        "nan": None,
        "inf": None,
        "1e30": None,
        "18446744073709551615": 2**64 - 1,
        "18446744073709551616": None,
    }.items():
        yield (
            f"{text!r} tokens",
            {"gen_ai.usage.input_tokens": text},
            {},
            {"input_tokens": count},
        )
    for number, count in {12.0: 12, 0.0: 0, 1e6: 1_000_000, 2.5: None, -1.0: None}.items():
        yield (
            f"{number!r} tokens as a double",
            {"llm.usage.total_tokens": number},
            {},
            {"total_tokens": count},
        )
    yield "minus one token", {"gen_ai.usage.output_tokens": -1}, {}, {}
    all_three = {"input_tokens": 12, "output_tokens": 3, "total_tokens": 15}
    usage = {"mlflow.chat.tokenUsage": USAGE}
    yield "MLflow's usage", usage, {}, all_three
    yield (
        "a count of its own before MLflow's usage",
        usage | {"llm.token_count.prompt": 7},
        {},
        all_three | {"input_tokens": 7},
    )
    yield (
        "half of MLflow's usage",
        {"mlflow.chat.tokenUsage": '{"output_tokens": 3.0, "input_tokens": null}'},
        {},
        {"output_tokens": 3},
    )
    yield (
        "MLflow's usage of a cache",
        {
            "mlflow.chat.tokenUsage": '{"cache_read_input_tokens": 2,'
            ' "cache_creation_input_tokens": 1}'
        },
        {},
        {"cache_read_input_tokens": 2, "cache_creation_input_tokens": 1},
    )
    yield (
        "one count that is none",
        {"mlflow.chat.tokenUsage": '{"input_tokens": "x", "output_tokens": 3}'},
        {},
        {"output_tokens": 3},
    )
    quoted = {"mlflow.llm.model": '"gpt-4o"', "mlflow.llm.provider": '"openai"'}
    yield "MLflow's model", quoted, {}, {"model": "gpt-4o", "provider": "openai"}
    for text in (
        "",
        "{",
        "[]",
        "12",
        '"x"',
        '{"input_tokens": "x"}',
        '{"input_tokens": {}}',
        '{"input_tokens": -1}',
    ):
        yield f"{text} as MLflow's usage", {"mlflow.chat.tokenUsage": text}, {}, {}
    yield "nothing", {}, {}, {}
    yield "names that say nothing", {"Service.Version": "1", "k8s.namespace.name": "p"}, {}, {}


CASES = {name: rest for name, *rest in cases()}


@pytest.fixture(scope="module")
def rows(otlp, tmp_path_factory, copy_store):
    """What became of each case, all written at once."""
    sent = otlp.request()
    for number, (name, (own, resource, _)) in enumerate(CASES.items(), start=1):
        one = otlp.span(number, trace=number, name=name, attributes=own)
        sent.MergeFrom(otlp.request(one, resource=resource))
    with Store(f"chdb://{copy_store(tmp_path_factory.mktemp('mapping') / 'store')}") as store:
        Writer(store).write_traces(sent.SerializeToString())
        found = store.select(f"SELECT name, {', '.join(COLUMNS)} FROM spans FINAL")
    return {row.pop("name"): row for row in found}


@pytest.mark.parametrize("case", CASES)
def test_attributes_say(rows, case):
    assert rows[case] == SILENT | CASES[case][-1]


# The experiment


def experiment_of(store):
    [row] = store.select("SELECT DISTINCT experiment FROM spans")
    for table in ("traces", "versions"):
        assert store.select(f"SELECT DISTINCT experiment FROM {table}") == [row]
    return row["experiment"]


@pytest.mark.parametrize(
    ("header", "resource", "experiment"),
    [
        (
            "from header",
            {"vtrack.experiment": "x", "service.namespace": "n", "service.name": "s"},
            "from header",
        ),
        ("", {"vtrack.experiment": "x", "service.namespace": "n", "service.name": "s"}, "x"),
        ("", {"vtrack.experiment": "", "service.namespace": "n", "service.name": "s"}, "n/s"),
        ("", {"service.namespace": "", "service.name": "s"}, "s"),
        ("", {"service.name": ""}, "unknown_service"),
        ("", {}, "unknown_service"),
    ],
)
def test_an_experiment_is_named_by(store, writer, otlp, header, *, resource, experiment):
    payload = otlp.request(otlp.span(), resource=resource).SerializeToString()
    writer.write_traces(framing.with_experiment(payload, header))
    assert experiment_of(store) == experiment


def test_a_span_does_not_name_the_experiment(store, writer, otlp):
    span = otlp.span(attributes={"vtrack.experiment": "mine", "service.name": "x"})
    writer.write_traces(otlp.request(span).SerializeToString())
    assert experiment_of(store) == "shop"


def test_joined_requests_keep_their_own_experiments(store, writer, otlp):
    payloads = [
        framing.with_experiment(otlp.request(otlp.span(trace=number)).SerializeToString(), name)
        for number, name in enumerate(["a", "", "b"], start=1)
    ]
    writer.write_traces(b"".join(payloads))
    found = store.select("SELECT experiment FROM spans FINAL ORDER BY trace_id")
    assert [row["experiment"] for row in found] == ["a", "shop", "b"]


def test_a_log_record_belongs_to_the_same_experiment_as_the_spans(store, writer, otlp):
    resource = {"service.namespace": "n", "service.name": "s"}
    payload = otlp.logs(otlp.record(time_unix_nano=otlp.T0), resource=resource)
    writer.write_logs(payload.SerializeToString())
    writer.write_logs(framing.with_experiment(payload.SerializeToString(), "header"))
    found = store.select("SELECT experiment FROM log_records FINAL ORDER BY experiment")
    assert [row["experiment"] for row in found] == ["header", "n/s"]


# Adjusted counts

STANDS_FOR = [
    (0, "", 1),
    (10, "", 10),
    (0, "ot=th:8", 2),
    (0, "ot=th:0", 1),
    (0, "vendor=th:c , ot=rv:123456789abcde;th:c\t,other=1", 4),
    # A sum of as many as there may be stays below 2^64.
    (0, "ot=th:ffffffffffffff", 2.0**32),
    (2.0**56, "", 2.0**32),
    (0, "ot=th:e6666666666666", 10),
    # The stricter of two samplers that ask the same randomness decides.
    (3, "ot=th:8", 3),
    (1, "ot=th:c", 4),
    # What is no threshold says nothing.
    (0, "ot=th:", 1),
    (0, "ot=th:C", 1),
    (0, "ot=th:123456789abcdef", 1),
    (0, "ot=xth:8", 1),
    (0, "bot=th:8", 1),
    (7, "ot=th:8x", 7),
]


def test_a_trace_stands_for_what_its_sampler_or_its_tracestate_says(store, writer, otlp):
    for trace, (count, state, _) in enumerate(STANDS_FOR, 1):
        spans = (otlp.span(n, trace=trace, trace_state=state) for n in (1, 2))
        payload = otlp.request(*spans).SerializeToString()
        writer.write_traces(framing.with_experiment(payload, "", count))
    for table in ("spans", "traces"):
        found = store.select(
            f"SELECT DISTINCT trace_id, adjusted_count AS n FROM {table} ORDER BY 1"
        )
        assert [row["n"] for row in found] == [
            pytest.approx(expected, rel=1e-6) for _, _, expected in STANDS_FOR
        ]


def test_each_resource_has_its_own_count_and_one_span_that_was_not_sampled_counts_least(
    store, writer, otlp
):
    def sent(trace, count, number=1):
        payload = otlp.request(otlp.span(number, trace=trace)).SerializeToString()
        return framing.with_experiment(payload, "", count)

    writer.write_traces(sent(1, 8) + sent(2, 0) + sent(3, 2))
    writer.write_traces(sent(1, 0, number=2))
    found = store.select(
        "SELECT toUInt8(reinterpretAsUInt64(reverse(t.trace_id))) AS trace, t.adjusted_count AS n"
        " FROM whole_traces AS t ORDER BY trace"
    )
    assert [(row["trace"], row["n"]) for row in found] == [(1, 8), (2, 1), (3, 2)]


# Traces

_TRACE = """
    SELECT experiment,
        min(root).rank AS rank, min(root).name AS root_name, hex(min(root).span_id) AS span_id,
        min(root).status_code AS status_code, min(root).service_name AS service,
        min(root).version AS version,
        min(root).session_id AS root_session, max(session_id) AS session,
        min(root).user_id AS root_user, max(user_id) AS user,
        toUnixTimestamp64Nano(min(start_time)) AS start,
        toUnixTimestamp64Nano(max(end_time)) AS end,
        length(groupUniqArrayArray(edges)) AS spans,
        length(groupUniqArrayArray(errors)) AS errors
    FROM traces GROUP BY trace_id, experiment ORDER BY trace_id, experiment
"""


@pytest.fixture
def derived(store, writer, otlp):
    """Write spans, each in a batch of its own, and return the rows of traces."""

    def run(*spans, resource=None):
        for span in spans:
            writer.write_traces(otlp.request(span, resource=resource).SerializeToString())
        return store.select(_TRACE)

    return run


def test_a_trace_starts_with_its_first_span_and_ends_with_its_last(derived, otlp):
    [row] = derived(
        otlp.span(2, parent=1, start=otlp.T0 + 50, duration=9_000),
        otlp.span(1, name="root", duration=1_000, status=1),
        otlp.span(3, parent=1, start=otlp.T0 - 20, duration=5, status=2),
    )
    assert (row["start"], row["end"]) == (otlp.T0 - 20, otlp.T0 + 50 + 9_000)
    assert (row["rank"], row["root_name"], row["status_code"]) == (0, "root", 1)
    assert (row["spans"], row["errors"]) == (3, 1)


@pytest.mark.parametrize(
    ("fields", "rank"),
    [
        ({"parent": 0}, 0),
        ({"parent": 9, "flags": 0x300}, 1),
        ({"parent": 9, "kind": 2}, 1),
        ({"parent": 9, "kind": 5}, 1),
        ({"parent": 9}, 2),
        ({"parent": 9, "flags": 0x100}, 2),
        ({"parent": 9, "kind": 3}, 2),
    ],
)
def test_a_span_stands_for_its_trace_by_rank(derived, otlp, fields, rank):
    [row] = derived(otlp.span(1, **fields))
    assert row["rank"] == rank


def test_a_real_root_stands_for_the_trace_even_if_it_comes_last_and_starts_last(derived, otlp):
    spans = [
        otlp.span(2, parent=9, name="stray"),
        otlp.span(3, parent=9, name="server", kind=2, start=otlp.T0 + 5),
        otlp.span(4, name="root", start=otlp.T0 + 9),
    ]
    [row] = derived(spans[0])
    assert (row["rank"], row["root_name"]) == (2, "stray")
    [row] = derived(spans[1])
    assert (row["rank"], row["root_name"]) == (1, "server")
    [row] = derived(spans[2])
    assert (row["rank"], row["root_name"]) == (0, "root")


def test_a_server_span_whose_parent_is_known_to_be_here_is_no_entry(derived, otlp):
    [row] = derived(
        otlp.span(1, parent=9, name="entry", start=otlp.T0 + 9, flags=0x300),
        otlp.span(2, parent=1, name="loopback", kind=2, flags=0x100),
    )
    assert row["root_name"] == "entry"


def test_of_two_roots_the_earlier_stands_for_the_trace(derived, otlp):
    later, earlier = otlp.span(1, name="later", start=otlp.T0 + 1), otlp.span(2, name="earlier")
    [row] = derived(later, earlier)
    assert row["root_name"] == "earlier"


def test_of_two_roots_at_the_same_time_the_smaller_id_stands_for_the_trace(derived, otlp):
    [row] = derived(otlp.span(7, name="seven"), otlp.span(3, name="three"))
    assert (row["root_name"], row["span_id"]) == ("three", f"{3:016X}")


def test_a_span_that_ends_before_it_starts_ends_when_it_starts(store, derived, otlp):
    [row] = derived(otlp.span(duration=-5 * SECOND))
    assert row["start"] == row["end"] == otlp.T0
    assert store.select("SELECT duration_ns AS ns FROM spans")[0]["ns"] == -5 * SECOND


def test_a_span_without_end_ends_when_it_starts(derived, otlp):
    span = otlp.span()
    span.end_time_unix_nano = 0
    [row] = derived(span)
    assert row["start"] == row["end"] == otlp.T0


def test_a_trace_of_several_services_has_a_row_in_each_experiment(store, writer, otlp, derived):
    shop = {"service.name": "shop", "service.version": "1"}
    bank = {"service.name": "bank", "service.version": "2"}
    derived(otlp.span(1, name="buy"), otlp.span(2, parent=1), resource=shop)
    rows = derived(otlp.span(3, parent=2, name="pay", kind=2), resource=bank)
    found = [(row["experiment"], row["root_name"], row["version"], row["rank"]) for row in rows]
    assert found == [("bank", "pay", "2", 1), ("shop", "buy", "1", 0)]
    assert [row["spans"] for row in rows] == [1, 2]


def test_a_trace_of_one_experiment_and_several_versions_is_one_row_of_the_roots_version(
    store, derived, otlp
):
    old = {"vtrack.experiment": "e", "service.name": "shop", "service.version": "1"}
    derived(otlp.span(2, parent=1), resource=old | {"service.version": "2"})
    [row] = derived(otlp.span(1), resource=old)
    assert (row["experiment"], row["version"], row["spans"]) == ("e", "1", 2)
    seen = store.select("SELECT version, uniqMerge(traces) AS n FROM versions GROUP BY ALL")
    assert sorted((row["version"], row["n"]) for row in seen) == [("1", 1), ("2", 1)]


def test_a_trace_has_its_roots_session_and_user_and_knows_those_of_others(derived, otlp):
    [row] = derived(
        otlp.span(1, attributes={"session.id": "a", "user.id": "ann"}),
        otlp.span(2, parent=1, attributes={"session.id": "b", "user.id": "bob"}),
    )
    assert (row["root_session"], row["root_user"]) == ("a", "ann")
    assert (row["session"], row["user"]) == ("b", "bob")


def test_a_session_and_user_that_only_a_child_knows_are_found(derived, otlp):
    [row] = derived(
        otlp.span(2, parent=1, attributes={"gen_ai.conversation.id": "c", "llm.user": "u"}),
        otlp.span(1),
    )
    assert (row["root_session"], row["root_user"]) == ("", "")
    assert (row["session"], row["user"]) == ("c", "u")


def test_usage_of_a_span_has_a_total_even_if_only_the_parts_were_sent(store, derived, otlp):
    derived(
        otlp.span(1, attributes={"gen_ai.usage.input_tokens": 5}),
        otlp.span(2, attributes={"llm.token_count.prompt": 5, "llm.token_count.completion": 2}),
        otlp.span(3, attributes={"llm.usage.total_tokens": 9}),
        otlp.span(4, attributes={"gen_ai.usage.input_tokens": 0}),
        otlp.span(5),
    )
    [row] = store.select(
        "SELECT arraySort(arrayMap(u -> [u.input_tokens, u.output_tokens, u.total_tokens],"
        " groupUniqArrayArray(usage))) AS usage FROM traces"
    )
    assert row["usage"] == [[0, 0, 0], [0, 0, 9], [5, 0, 5], [5, 2, 7]]


# Versions


def test_a_version_knows_its_code_when_it_was_seen_and_by_how_many(store, writer, otlp):
    resource = {
        "service.name": "shop",
        "service.version": "2.3.1",
        "deployment.environment.name": "prod",
        "deployment.id": "d1",
        "vcs.ref.head.revision": REVISION,
        "vcs.ref.head.name": "main",
        "vcs.repository.url.full": "git.example/shop",
        "vtrack.vcs.dirty": True,
    }
    spans = [
        otlp.span(1, start=otlp.T0 + 5, attributes={"session.id": "s", "user.id": "a"}),
        otlp.span(2, trace=2, start=otlp.T0 - 5, attributes={"session.id": "s", "user.id": "b"}),
        otlp.span(3, trace=2, parent=2),
    ]
    for span in spans:
        writer.write_traces(otlp.request(span, resource=resource).SerializeToString())
    [row] = store.select(
        "SELECT experiment, service_name, version, environment, deployment_id,"
        " max(git_commit) AS git_commit, max(git_branch) AS git_branch,"
        " max(git_dirty) AS git_dirty, max(repository_url) AS repository_url,"
        " toUnixTimestamp64Nano(min(first_seen)) AS first,"
        " toUnixTimestamp64Nano(max(last_seen)) AS last, uniqMerge(traces) AS traces,"
        " uniqMerge(sessions) AS sessions, uniqMerge(users) AS users FROM versions GROUP BY ALL"
    )
    assert row == {
        "experiment": "shop",
        "service_name": "shop",
        "version": "2.3.1",
        "environment": "prod",
        "deployment_id": "d1",
        "git_commit": REVISION,
        "git_branch": "main",
        "git_dirty": "true",
        "repository_url": "git.example/shop",
        "first": otlp.T0 - 5,
        "last": otlp.T0 + 5,
        "traces": 2,
        "sessions": 1,
        "users": 2,
    }


def test_each_environment_and_deployment_of_a_version_is_seen_apart(store, writer, otlp):
    for number, (environment, deployment) in enumerate(
        itertools.product(["dev", "prod"], ["d1", "d2"]), start=1
    ):
        resource = {"service.name": "s", "version": "1", "env": environment}
        span = otlp.span(number, trace=number, attributes={"deployment.id": deployment})
        writer.write_traces(otlp.request(span, resource=resource).SerializeToString())
    found = store.select(
        "SELECT environment, deployment_id, uniqMerge(traces) AS n FROM versions GROUP BY ALL"
        " ORDER BY ALL"
    )
    assert [tuple(row.values()) for row in found] == [
        ("dev", "d1", 1),
        ("dev", "d2", 1),
        ("prod", "d1", 1),
        ("prod", "d2", 1),
    ]


# Absurd times

INT64, UINT64 = 2**63 - 1, 2**64 - 1
LAST_OF_DATETIME64 = 9_223_286_399 * SECOND  # 2262-04-10T23:59:59
TIMES = {
    "zero": 0,
    "one": 1,
    "1970-01-02": 86_400 * SECOND,
    "1999-12-31": 946_684_799 * SECOND,
    "before seconds have 33 bits": (2**32 - 1) * SECOND,
    "2106-02-07, after them": 2**32 * SECOND,
    "2149-06-07, after days have 16 bits": 2**16 * 86_400 * SECOND,
    "2262-04-10": LAST_OF_DATETIME64,
    "2262-04-11": INT64,
    "the first beyond": INT64 + 1,
    "the last": UINT64,
}


@pytest.mark.parametrize("end", ["zero", "2149-06-07, after days have 16 bits", "the last"])
def test_absurd_times_are_kept_and_found(store, writer, otlp, contents, end):
    sent = {}
    for number, start in enumerate(TIMES.values(), start=1):
        span = otlp.span(number, trace=number, attributes={"service.version": f"{number}"})
        span.start_time_unix_nano, span.end_time_unix_nano = start, TIMES[end]
        sent[span.trace_id.hex()] = span
    payload = otlp.request(*sent.values()).SerializeToString()
    writer.write_traces(payload)
    once = contents(store)
    writer.write_traces(payload)
    assert contents(store) == once
    for table in ("spans", "traces", "versions"):
        assert len(once[table]) == len(sent)
    for trace_id, span in sent.items():
        [group] = export.trace(store, trace_id).resource_spans
        assert list(group.scope_spans[0].spans) == [span]


def test_one_request_may_spread_over_hundreds_of_days(store, writer, otlp, contents):
    spans = [
        otlp.span(number, parent=number - 1, start=number * 86_400 * SECOND * 90, duration=number)
        for number in range(1, 200)
    ] + [otlp.span(400 + number, start=at, duration=0) for number, at in enumerate(TIMES.values())]
    payload = otlp.request(*spans).SerializeToString()
    writer.write_traces(payload)
    once = contents(store)
    assert len(once["spans"]) == len(spans)
    writer.write_traces(payload)
    assert contents(store) == once
    assert len(
        export.trace(store, spans[0].trace_id.hex()).resource_spans[0].scope_spans[0].spans
    ) == len(spans)
