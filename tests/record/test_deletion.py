import threading
import time

import pytest

from otel_vtrack.errors import InvalidArgument, NotFound, StoreUnavailable
from otel_vtrack.query import experiments as query
from otel_vtrack.query import trace_search, traces, versions
from otel_vtrack.record import assessments, deletion, experiments
from otel_vtrack.record import versions as version_changes
from otel_vtrack.store import sql
from otel_vtrack.store.client import Store
from otel_vtrack.store.topology import Topology

# The engine takes a second or so to delete, and most tests delete more than once.
pytestmark = pytest.mark.slow

START = 1_790_000_000_000_000_000
MS = 1_000_000
NOTHING = deletion.Below(0, 0, 0, 0, 0, 0)

# Whatever keeps rows.
TABLES = """
    SELECT t.name AS table, groupArray(c.name) AS columns
    FROM system.tables AS t
    INNER JOIN system.columns AS c ON c.database = t.database AND c.table = t.name
    WHERE t.database = currentDatabase() AND t.engine LIKE '%MergeTree'
    GROUP BY t.name
"""


def tables(store):
    return {row["table"]: set(row["columns"]) for row in store.select(TABLES)}


def rows(store):
    """How many rows each table has."""
    return {
        table: store.select(f"SELECT count() AS n FROM {table}")[0]["n"]
        for table in tables(store)
        if table not in {"schema_migrations", "doomed_traces"}
    }


def assess(store, trace, **said):
    new = assessments.NewAssessment(trace_id=trace, assessment_name="helpful", value="true", **said)
    return assessments.create(store, new)


def found(store, **where):
    return sorted(
        (int(info.trace_id, 16), info.experiment)
        for info in trace_search.search(store, **where).traces
    )


def test_every_table_that_knows_experiments_or_traces_is_covered(store):
    statements = set(sql.names("deletions"))
    assert len(tables(store)) > 5
    for table, columns in tables(store).items():
        if table == "doomed_traces":
            continue
        if columns & {"experiment", "trace_id"}:
            assert f"experiments/{table}" in statements, f"{table} outlives its experiment"
        if "trace_id" in columns:
            assert f"traces/{table}" in statements, f"{table} outlives its trace"


@pytest.mark.parametrize("name", sql.names("deletions"))
def test_a_deletion_renders_for_one_node_and_for_a_cluster(store, name):
    table = name.partition("/")[2]
    [single] = Topology.SINGLE.render(sql.text("deletions", name))
    [cluster] = Topology.CLUSTER.render(sql.text("deletions", name))
    for statement in (single, cluster):
        [row] = store.select(
            "SELECT formatQueryOrNull({statement:String}) AS parsed", {"statement": statement}
        )
        assert row["parsed"], statement
    if name.startswith("days/"):
        assert f"ALTER TABLE {table} DROP PARTITION" in single
        assert f"ALTER TABLE {table}_local ON CLUSTER '{{cluster}}' DROP PARTITION" in cluster
    elif not name.startswith(("choose/", "rewrite/")):
        assert f"DELETE FROM {table}\n" in single
        assert f"DELETE FROM {table}_local ON CLUSTER '{{cluster}}'\n" in cluster


def test_an_experiment_goes_with_all_below_it(store, send, send_logs):
    send({"trace": 1}, {"trace": 1, "span": 9}, service__name="a", service__version="1")
    send({"trace": 2}, service__name="a", service__version="2")
    send_logs({"trace": 1}, {"at": 5}, service__name="a")
    experiments.update(store, "a", name="old", set_tags={"k": "v"})
    before = rows(store)
    expected = deletion.Below(2, 3, 2, 0, 2, 0)
    assert deletion.delete_experiment(store, "old", dry_run=True) == expected
    assert rows(store) == before
    assert deletion.delete_experiment(store, "old") == expected
    assert set(rows(store).values()) == {0}
    with pytest.raises(NotFound):
        query.get(store, "old")


def test_other_experiments_stay_as_they_are(store, send, send_logs):
    for key in ("a", "b"):
        send(
            {"trace": ord(key), "attributes": {"mlflow.traceTag.k": key}},
            service__name=key,
            service__version="1",
        )
        send_logs({"trace": ord(key)}, service__name=key)
    experiments.update(store, "b", set_tags={"k": "v"})
    before = query.get(store, "b")
    whole = traces.get(store, f"{ord('b'):032x}")
    deletion.delete_experiment(store, "a")
    assert query.get(store, "b") == before
    assert traces.get(store, f"{ord('b'):032x}") == whole
    assert deletion.delete_experiment(store, "b", dry_run=True)[:3] == (1, 1, 1)


def test_spans_that_came_twice_count_once(store, send, send_logs):
    for _ in range(3):
        send({"trace": 1}, service__version="1")
        send_logs({"at": 1})
    expected = deletion.Below(1, 1, 1, 0, 1, 0)
    assert deletion.delete_experiment(store, "shop", dry_run=True) == expected
    assert deletion.delete_experiment(store, "shop") == expected


def test_a_deletion_may_be_repeated(store, send):
    send({})
    experiments.update(store, "shop", name="till")
    assert deletion.delete_experiment(store, "till").trace_count == 1
    assert deletion.delete_experiment(store, "till") == NOTHING
    assert deletion.delete_experiment(store, "never there") == NOTHING
    with pytest.raises(InvalidArgument):
        deletion.delete_experiment(store, "")


@pytest.mark.parametrize("at", ["spans", "traces", "versions"])
def test_what_was_broken_off_is_finished_by_the_next_attempt(store, send, monkeypatch, at):
    send({"attributes": {"mlflow.traceTag.k": "v"}})
    experiments.update(store, "shop", name="till")
    run = deletion._run

    def broken(store, name, parameters):
        if name == f"experiments/{at}":
            raise StoreUnavailable("the power went")
        run(store, name, parameters)

    monkeypatch.setattr(deletion, "_run", broken)
    with pytest.raises(StoreUnavailable):
        deletion.delete_experiment(store, "till")
    monkeypatch.undo()
    deletion.delete_experiment(store, "till")
    assert set(rows(store).values()) == {0}


def test_it_appears_again_empty_with_later_telemetry(store, send):
    send({"trace": 1}, {"trace": 2}, service__version="1")
    experiments.update(store, "shop", name="till", set_tags={"k": "v"}, archived=True)
    deletion.delete_experiment(store, "till")
    assert query.search(store).experiments == []
    send({"trace": 2, "at": 7}, service__version="2")
    [again] = query.search(store).experiments
    assert (again.name, again.tags, again.trace_count) == ("shop", {}, 1)
    assert again.first_seen_ns == START + 7 * MS
    assert found(store) == [(2, "shop")]
    assert [each.version for each in versions.search(store).versions] == ["2"]


def test_the_same_telemetry_sent_again_is_as_new(store, send):
    request = {"trace": 1, "attributes": {"mlflow.traceTag.k": "v"}}
    send(request)
    before = traces.get(store, f"{1:032x}")
    deletion.delete_experiment(store, "shop")
    send(request)
    assert traces.get(store, f"{1:032x}") == before


def test_a_trace_that_crosses_experiments_loses_its_part(store, send):
    send({"trace": 1, "span": 1, "name": "ask"}, service__name="web")
    send({"trace": 1, "span": 2, "parent": 1}, service__name="api")
    deletion.delete_experiment(store, "api")
    got = traces.get(store, f"{1:032x}")
    assert [(info.experiment, info.span_count) for info in got.infos] == [("web", 1)]
    assert len(got.otlp.resource_spans) == 1


def test_tags_go_with_the_last_part_of_a_trace(store, send):
    send({"trace": 1, "span": 1, "attributes": {"mlflow.traceTag.k": "v"}}, service__name="web")
    send({"trace": 1, "span": 2, "parent": 1}, service__name="api")
    assert rows(store)["trace_tags"] > 0
    before = rows(store)["trace_tags"]
    deletion.delete_experiment(store, "api")
    assert rows(store)["trace_tags"] == before
    deletion.delete_experiment(store, "web")
    assert rows(store)["trace_tags"] == 0


def test_assessments_go_with_their_experiment_or_the_last_part_of_their_trace(
    store, send, trace_id
):
    send({"trace": 1, "span": 1}, {"trace": 2}, service__name="web")
    send({"trace": 1, "span": 2, "parent": 1}, service__name="api")
    one = assess(store, trace_id(1), experiment="web")
    other = assess(store, trace_id(1), experiment="api")
    assess(store, trace_id(2), overrides=assess(store, trace_id(2)).assessment_id)
    assessments.update(store, one.assessment_id, rationale="because")
    assessments.delete(store, assess(store, trace_id(2)).assessment_id)
    for dry_run in (True, False):
        below = deletion.delete_experiment(store, "web", dry_run=dry_run)
        assert (below.trace_count, below.assessment_count) == (2, 3)
    assert [each.assessment_id for each in traces.get(store, trace_id(1)).infos[0].assessments] == [
        other.assessment_id
    ]
    assert deletion.delete_traces(store, [trace_id(1)]) == 1
    assert rows(store)["assessments"] == 0


def test_assessments_of_a_trace_stay_with_what_is_left_of_it(store, send, trace_id):
    send({"trace": 1, "span": 1}, service__name="web")
    send({"trace": 1, "span": 2, "parent": 1}, service__name="api")
    assess(store, trace_id(1), experiment="web")
    assert deletion.delete_traces_before(store, "web", START * 2) == 1
    assert rows(store)["assessments"] == 1
    assert deletion.delete_traces_before(store, "api", START * 2) == 1
    assert rows(store)["assessments"] == 0


def test_notes_aliases_and_flags_of_versions_go_with_their_experiment(store, send):
    send({"attributes": {"feature_flag.x": "on"}}, service__version="1")
    version_changes.update(store, "1", note="good")
    version_changes.set_alias(store, "1", "champion")
    before = rows(store)
    assert before["version_changes"] == before["version_aliases"] == 1
    deletion.delete_experiment(store, "shop")
    assert set(rows(store).values()) == {0}


def test_what_is_deleted_stays_deleted_after_a_restart_and_a_merge(store, send):
    for number in range(4):
        send({"trace": number + 1}, service__name="a")
        send({"trace": number + 11}, service__name="b")
    deletion.delete_experiment(store, "a")
    kept = found(store)
    store.close()
    with Store(f"chdb://{store.folder}") as again:
        assert found(again) == kept == [(number, "b") for number in range(11, 15)]
        deadline = time.monotonic() + 60
        while (left := _parts(again)) != {"rows": 8, "masked": 0}:
            # A merge that has begun by itself makes this one do nothing.
            assert time.monotonic() < deadline, left
            for table in ("spans", "traces", "versions"):
                again.command(f"OPTIMIZE TABLE {table} FINAL")
        assert found(again) == kept


def _parts(store):
    [parts] = store.select(
        "SELECT sum(rows) AS rows, sum(has_lightweight_delete) AS masked FROM system.parts"
        " WHERE active AND table IN ('spans', 'traces')"
    )
    return parts


def test_what_was_acknowledged_before_goes_too(store, make_spans, writer):
    waiting = [make_spans({}).SerializeToString()]

    def settle():
        while waiting:
            writer.write_traces(waiting.pop())
        return True

    store.settle = settle
    assert deletion.delete_experiment(store, "shop").span_count == 1
    assert found(store) == []


@pytest.mark.parametrize("dry_run", [True, False])
def test_nothing_is_deleted_while_more_may_be_waiting(store, send, dry_run):
    send({})
    store.settle = lambda: False
    for delete in (
        lambda: deletion.delete_experiment(store, "shop", dry_run=dry_run),
        lambda: deletion.delete_traces(store, [f"{1:032x}"], dry_run=dry_run),
        lambda: deletion.delete_traces_before(store, "shop", START * 2, dry_run=dry_run),
    ):
        with pytest.raises(StoreUnavailable, match="acknowledged"):
            delete()
    store.settle = lambda: True
    assert found(store) == [(1, "shop")]


def test_what_arrives_meanwhile_is_gone_from_every_table_or_from_none(store, make_spans, writer):
    stop = threading.Event()
    sent = []

    def send_on():
        while not stop.is_set():
            trace = len(sent) + 1
            writer.write_traces(make_spans({"trace": trace}).SerializeToString())
            sent.append(trace)

    threads = [threading.Thread(target=send_on) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        before = len(sent)
        while len(sent) < before + 3:
            time.sleep(0.01)
        deletion.delete_experiment(store, "shop")
    stop.set()
    for thread in threads:
        thread.join(60)
    [spans] = store.select("SELECT groupUniqArray(hex(trace_id)) AS ids FROM spans")
    [infos] = store.select("SELECT groupUniqArray(hex(trace_id)) AS ids FROM traces")
    assert set(spans["ids"]) == set(infos["ids"])
    [counted] = store.select("SELECT uniqMerge(traces) AS n FROM versions")
    assert counted["n"] == len(infos["ids"])
    assert len(infos["ids"]) < len(sent)


def test_space_comes_back_though_nothing_more_is_written(store, send):
    for number in range(4):
        send({"trace": number + 1}, service__name="a")
        send({"trace": number + 11}, service__name="b")
    deletion.delete_experiment(store, "a")
    masked = "SELECT count() AS n FROM system.parts WHERE active AND has_lightweight_delete"
    masked += " AND table IN ('spans', 'traces', 'log_records')"
    deadline = time.monotonic() + 60
    while store.select(masked)[0]["n"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    [kept] = store.select(
        "SELECT sum(rows) AS n FROM system.parts WHERE active AND table = 'spans'"
    )
    assert kept["n"] == 4


def test_a_deletion_that_the_store_cannot_finish_yet_says_so(store, send, monkeypatch):
    send({})
    select = deletion._select

    def stuck(store, name, parameters):
        if name == "deletion/under_way":
            return [{"table": "spans", "reason": "no space"}]
        return select(store, name, parameters)

    monkeypatch.setattr(deletion, "_select", stuck)
    with pytest.raises(StoreUnavailable, match=r"spans are not deleted yet.*no space"):
        deletion.delete_experiment(store, "shop")
    monkeypatch.undo()
    deletion.delete_experiment(store, "shop")
    assert found(store) == []


# Traces


@pytest.fixture
def four(send, send_logs):
    """Traces 1 to 4, 10 ms apart; the last one is in two experiments."""
    for number in range(1, 5):
        send(
            {
                "trace": number,
                "at": number * 10,
                "ms": 3,
                "attributes": {"mlflow.traceTag.k": "v"},
            },
            {"trace": number, "at": number * 10 + 1, "parent": 1},
            service__name="web",
        )
        send_logs({"trace": number, "at": number * 10}, service__name="web")
    send({"trace": 4, "at": 42, "parent": 1, "span": 7}, service__name="api")
    send_logs({"trace": 4, "at": 42}, {"trace": 4, "at": 43}, service__name="mail")


def test_traces_are_deleted_by_their_ids_in_all_experiments(store, four, trace_id):
    ids = [trace_id(2), trace_id(4).upper(), trace_id(4), trace_id(99)]
    before = rows(store)
    assert deletion.delete_traces(store, ids, dry_run=True) == 2
    assert rows(store) == before
    assert deletion.delete_traces(store, ids) == 2
    assert found(store) == [(1, "web"), (3, "web")]
    left = rows(store)
    assert (left["spans"], left["traces"], left["log_records"], left["trace_tags"]) == (
        4,
        2,
        2,
        before["trace_tags"] // 2,
    )
    assert deletion.delete_traces(store, ids) == 0


def test_log_records_of_a_trace_without_spans_go_by_its_id(store, send_logs, trace_id):
    send_logs({"trace": 5}, {"trace": 6}, {})
    assert deletion.delete_traces(store, [trace_id(5)]) == 0
    assert rows(store)["log_records"] == 2


@pytest.mark.parametrize("ids", [["xyz"], [""], ["0" * 31], [f"{n:032x}" for n in range(1, 1_002)]])
def test_ids_that_cannot_be_are_refused(store, ids):
    with pytest.raises(InvalidArgument):
        deletion.delete_traces(store, ids)


def test_many_ids_fit_one_call(store, send, trace_id):
    send({"trace": 1_000}, {"trace": 1_001})
    assert deletion.delete_traces(store, [trace_id(n) for n in range(1, 1_001)]) == 1
    assert found(store) == [(1_001, "shop")]


def test_traces_are_deleted_up_to_a_time(store, four):
    until = START + 30 * MS
    before = rows(store)
    assert deletion.delete_traces_before(store, "web", until, dry_run=True) == 2
    assert rows(store) == before
    assert deletion.delete_traces_before(store, "web", until) == 2
    assert found(store) == [(3, "web"), (4, "api"), (4, "web")]
    assert rows(store)["log_records"] == 4
    assert deletion.delete_traces_before(store, "web", until) == 0
    assert deletion.delete_traces_before(store, "never there", until) == 0


def test_of_a_trace_that_crosses_experiments_the_part_of_one_goes(store, four):
    tags = rows(store)["trace_tags"]
    assert deletion.delete_traces_before(store, "web", START * 2) == 4
    assert found(store) == [(4, "api")]
    left = rows(store)
    assert left["trace_tags"] == tags // 4
    assert left["log_records"] == 2
    assert deletion.delete_traces_before(store, "api", START * 2) == 1
    assert rows(store)["trace_tags"] == 0


def test_the_root_decides_and_not_the_rows_it_is_kept_in(store, send):
    # The root began in time, its child after it, and they came in two requests.
    send({"trace": 1, "span": 1, "at": 0}, service__name="web")
    send({"trace": 1, "span": 2, "at": 60_000, "parent": 1}, service__name="web")
    # The other way round: the child began first, by a clock that is wrong.
    send({"trace": 2, "span": 2, "at": 0, "parent": 1}, service__name="web")
    send({"trace": 2, "span": 1, "at": 60_000}, service__name="web")
    assert deletion.delete_traces_before(store, "web", START + 30_000 * MS) == 1
    assert found(store) == [(2, "web")]
    assert rows(store)["spans"] == 2


def test_many_traces_are_deleted_in_rounds(store, four, monkeypatch):
    monkeypatch.setattr(deletion, "_MOST_AT_A_TIME", 2)
    assert deletion.delete_traces_before(store, "web", START * 2) == 4
    assert found(store) == [(4, "api")]


def test_versions_keep_what_they_counted(store, send, trace_id):
    send({"trace": 1}, {"trace": 2}, service__version="1")
    deletion.delete_traces(store, [trace_id(1)])
    [version] = versions.search(store).versions
    assert version.trace_count == 2
    assert query.get(store, "shop").trace_count == 2


def test_a_renamed_experiment_is_found_by_either_name(store, four):
    experiments.update(store, "web", name="front")
    assert deletion.delete_traces_before(store, "front", START * 2, dry_run=True) == 4
    assert deletion.delete_traces_before(store, "web", START * 2, dry_run=True) == 4
    with pytest.raises(InvalidArgument):
        deletion.delete_traces_before(store, "", START * 2)
