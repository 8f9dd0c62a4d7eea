"""What is older than it is to be kept goes, and nothing else."""

import http.client
import itertools
import json
import logging
import time

import pytest

from otel_vtrack import server
from otel_vtrack.client import Client
from otel_vtrack.errors import StoreUnavailable
from otel_vtrack.query import trace_search, versions
from otel_vtrack.record import assessments, deletion, retention
from otel_vtrack.settings import load
from otel_vtrack.store import sql

DAY_MS = 86_400_000
START_NS = 1_790_000_000_000_000_000
# The midnight after what `send` sends, by default.
MIDNIGHT_NS = (START_NS // (DAY_MS * 10**6) + 1) * DAY_MS * 10**6
AT_MIDNIGHT = (MIDNIGHT_NS - START_NS) // 10**6
DAILY = ("spans", "traces", "trace_roots", "log_records")


def ids(store):
    return sorted(int(info.trace_id, 16) for info in trace_search.search(store).traces)


def count(store, table):
    return store.select(f"SELECT count() AS n FROM {table}")[0]["n"]


def days(store):
    """The days of which there are files, by table."""
    found = {}
    for row in store.select(
        "SELECT DISTINCT table, partition FROM system.parts WHERE active AND partition != 'tuple()'"
        " AND database = currentDatabase()"
    ):
        found.setdefault(row["table"], set()).add(row["partition"])
    return found


def ask(address, path, body=None):
    connection = http.client.HTTPConnection(address, timeout=60)
    kind = {"Content-Type": "application/x-protobuf"}
    connection.request("POST" if body else "GET", path, body, kind)
    answer = connection.getresponse()
    assert answer.status == 200
    content = answer.read()
    connection.close()
    return content


def retained(served):
    return json.loads(ask(served.http_address, "/statusz"))["retained"]


def assess(store, trace):
    new = assessments.NewAssessment(trace_id=trace, assessment_name="helpful", value="true")
    return assessments.create(store, new)


def test_every_table_that_is_kept_by_day_is_covered(store):
    kept = store.select(
        "SELECT name FROM system.tables WHERE database = currentDatabase()"
        " AND partition_key LIKE 'toDate(%'"
    )
    assert {row["name"] for row in kept} == set(DAILY)
    for folder in ("before", "days"):
        found = {name for name in sql.names("deletions") if name.startswith(f"{folder}/")}
        assert found == {f"{folder}/{table}" for table in DAILY}


@pytest.mark.slow
def test_what_is_older_goes_with_all_that_is_of_it(store, send, send_logs, trace_id):
    send({"trace": 1, "attributes": {"mlflow.traceTag.k": "v"}}, {"trace": 1, "span": 9})
    send({"trace": 2}, service__name="other")
    send({"trace": 3, "at": AT_MIDNIGHT, "attributes": {"mlflow.traceTag.k": "v"}})
    for trace in (1, 3):
        assess(store, trace_id(trace))
    send_logs({"trace": 1}, {"at": 5}, {"at": AT_MIDNIGHT})
    before = versions.search(store)
    assert deletion.count_before(store, MIDNIGHT_NS) == deletion.Old(2, 2)
    assert ids(store) == [1, 2, 3]
    assert deletion.delete_before(store, MIDNIGHT_NS) == deletion.Old(2, 2)
    assert ids(store) == [3]
    one_each = ("spans", "traces", "trace_roots", "log_records", "trace_tags", "assessments")
    assert {table: count(store, table) for table in one_each} == dict.fromkeys(one_each, 1)
    # What was seen of versions stays, and of a day that is gone there are no files.
    assert versions.search(store) == before
    assert {len(each) for each in days(store).values()} == {1}
    # Nothing is left to do, however often.
    assert deletion.delete_before(store, MIDNIGHT_NS) == deletion.Old(0, 0)
    assert count(store, "doomed_traces") == 0


@pytest.mark.slow
def test_the_root_decides_for_a_trace_on_both_sides(store, send, send_logs):
    # The root of 1 is old; of 2 a part that lay about is, whatever came first or together.
    for trace, (root, child) in {1: (-1, 1), 2: (1, -1)}.items():
        send({"trace": trace, "span": 9, "parent": 1, "at": AT_MIDNIGHT + child})
        send({"trace": trace, "at": AT_MIDNIGHT + root})
        send_logs({"trace": trace, "at": AT_MIDNIGHT + 2})
    send({"trace": 3, "at": AT_MIDNIGHT + 1}, {"trace": 3, "span": 9, "parent": 1, "at": -DAY_MS})
    for _ in range(2):
        deletion.delete_before(store, MIDNIGHT_NS)
        found = trace_search.search(store).traces
        assert {int(info.trace_id, 16): info.span_count for info in found} == {2: 2, 3: 2}
        assert count(store, "spans") == 4
        assert count(store, "log_records") == 1
    # And goes in time.
    deletion.delete_before(store, MIDNIGHT_NS + DAY_MS * 10**6)
    assert [count(store, table) for table in DAILY] == [0] * 4
    assert days(store) == {}


def test_what_is_broken_off_goes_on_days_later_with_what_was_chosen(store, send):
    """As after a death of the server within it, and a start after the weekend."""
    send({"trace": 1, "at": AT_MIDNIGHT + 1}, {"trace": 1, "span": 9, "parent": 1, "at": -1})
    send({"trace": 2})

    def die(_seconds):
        raise StoreUnavailable("dies")

    store.command("SYSTEM STOP MERGES spans")
    with pytest.raises(StoreUnavailable, match="dies"):
        deletion.delete_before(store, MIDNIGHT_NS, die)
    store.command(
        "ALTER TABLE doomed_traces UPDATE doomed_at = now() - INTERVAL 5 DAY WHERE true"
        " SETTINGS mutations_sync = 2"
    )
    store.command("OPTIMIZE TABLE doomed_traces FINAL")
    store.command("SYSTEM START MERGES spans")
    deletion.delete_before(store, MIDNIGHT_NS)
    found = trace_search.search(store).traces
    assert {int(info.trace_id, 16): info.span_count for info in found} == {1: 2}
    assert count(store, "spans") == 2


@pytest.mark.slow
def test_many_traces_go_in_parts(store, send, monkeypatch):
    monkeypatch.setattr(deletion, "_MOST_AT_A_TIME", 2)
    for number in range(1, 9):
        send({"trace": number, "attributes": {"mlflow.traceTag.k": "v"}})
    slices = list(deletion._slices(8))
    assert len(slices) == 5
    assert (slices[0]["first_hash"], slices[-1]["last_hash"]) == (0, 2**64 - 1)
    assert all(a["last_hash"] + 1 == b["first_hash"] for a, b in itertools.pairwise(slices))
    assert deletion.delete_before(store, MIDNIGHT_NS).trace_count == 8
    assert count(store, "trace_tags") == count(store, "spans") == 0


def test_a_day_goes_when_two_looks_in_a_row_find_it_over(store, send, caplog):
    caplog.set_level(logging.INFO)
    now = [MIDNIGHT_NS + 5 * DAY_MS * 10**6]
    kept = retention.Retention(store, 7, 600, clock=lambda: now[0])
    send({"trace": 1})
    kept.look()
    assert caplog.messages == []
    # A clock that is wrong for one look deletes nothing, but says what it would.
    now[0] += 1_000 * DAY_MS * 10**6
    kept.look()
    [said] = caplog.messages
    assert said.startswith("retention: will delete 1 traces and 0 log records from before 2029-")
    now[0] -= 1_000 * DAY_MS * 10**6
    kept.look()
    kept.look()
    assert ids(store) == [1]
    now[0] += 2 * DAY_MS * 10**6
    kept.look()
    assert ids(store) == [1]
    kept.look()
    assert ids(store) == []
    assert caplog.messages[-1].startswith("retention: deleted 1 traces and 0 log records")
    assert kept.status() == {"days": 7, "deleted_traces": 1, "deleted_log_records": 0}


@pytest.mark.slow
def test_a_stop_does_not_wait_for_it_and_the_next_start_finishes(store, send, monkeypatch):
    send({"trace": 1})
    kept = retention.Retention(store, 1, 600)
    kept._stopping.set()
    stuck = [{"table": "spans", "reason": ""}]
    select = deletion._select
    monkeypatch.setattr(
        deletion,
        "_select",
        lambda store, name, given: (
            stuck if name == "deletion/under_way" else select(store, name, given)
        ),
    )
    kept.look()
    with pytest.raises(StoreUnavailable, match="stopping"):
        kept.look()
    monkeypatch.undo()
    kept = retention.Retention(store, 1, 600)
    for _ in range(2):
        kept.look()
    assert ids(store) == []
    assert days(store) == {}


@pytest.mark.slow
def test_a_server_keeps_what_it_is_told_to(tmp_path, copy_store, make_spans, monkeypatch, caplog):
    # A look every 10 minutes would be a long test.
    monkeypatch.setattr(retention, "LOOK_EVERY_SECONDS", 0.1)
    caplog.set_level(logging.INFO)
    ports = {"grpc": "127.0.0.1:0", "http": "127.0.0.1:0"}
    given = {"store_url": f"chdb://{copy_store(tmp_path / 'store')}", "retention": "8w", **ports}
    now_ms = (time.time_ns() - START_NS) // 10**6
    old = make_spans({"trace": 1, "at": now_ms - 58 * DAY_MS})
    new = make_spans({"trace": 2, "at": now_ms - 55 * DAY_MS})
    with server.running(load(given)) as served, Client(served.grpc_address) as client:
        for request in (old, new):
            ask(served.http_address, "/v1/traces", request.SerializeToString())
        deadline = time.monotonic() + 60
        while not (kept := retained(served))["deleted_traces"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert kept == {"days": 56, "deleted_traces": 1, "deleted_log_records": 0}
        [left] = client.search_traces()
        assert int(left.trace_id, 16) == 2
    assert "Traceback" not in caplog.text
