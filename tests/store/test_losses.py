"""Writes that fail in the embedded engine, which counts them and goes on."""

import contextlib
import os
import resource
import time

import pytest

from otel_vtrack import pipeline
from otel_vtrack.errors import StoreError, StoreUnavailable
from otel_vtrack.settings import Settings
from otel_vtrack.store.writer import Writer


@contextlib.contextmanager
def failing(longest):
    """Let no file of this process grow beyond so many bytes, as if the disk were full then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (longest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def spans(store):
    return store.select("SELECT count() AS n, uniq(span_id) AS spans FROM spans FINAL")


def test_an_insert_the_disk_did_not_take_fails_and_succeeds_later(store, writer, send, make_spans):
    send({"span": 1})
    request = make_spans({"span": 2}).SerializeToString()
    # More than the request, which passes through a file, and less than a part's columns.txt.
    assert len(request) < 1_000
    with failing(1_000), pytest.raises(StoreUnavailable, match="disk"):
        writer.write_traces(request)
    writer.write_traces(request)
    assert spans(store) == [{"n": 2, "spans": 2}]
    assert store.select("SELECT count() AS n FROM trace_roots") != [{"n": 0}]
    found = store.select("SELECT DISTINCT reason FROM system.detached_parts")
    assert found == [{"reason": "broken-on-start"}]


def test_what_is_broken_is_told_of_and_goes_after_a_month(store, writer, send, make_spans, caplog):
    send({"span": 1})
    with failing(1_000), pytest.raises(StoreUnavailable, match="disk"):
        writer.write_traces(make_spans({"span": 2}).SerializeToString())
    store.mend()
    asked = "SELECT table, name, path FROM system.detached_parts ORDER BY path"
    found = store.select(asked)
    assert found
    # As a part that was written long before it broke.
    os.utime(found[0]["path"], (0, 0))
    for days, left in ((29, found), (31, [])):
        caplog.clear()
        store.clear(time.time() + days * 86_400)
        assert store.select(asked) == left
        assert len(caplog.messages) == bool(left)
    assert spans(store) == [{"n": 1, "spans": 1}]


def test_a_merge_the_disk_did_not_take_costs_nothing_that_was_there(store, send):
    for number in (1, 2, 3):
        send({"span": number})
    with failing(0), pytest.raises(StoreUnavailable, match="disk"):
        store.command("OPTIMIZE TABLE spans FINAL")
    # When this no longer fails, the engine says itself what it could not write.
    with pytest.raises(StoreError):
        spans(store)
    store.mend()
    assert spans(store) == [{"n": 3, "spans": 3}]
    store.command("OPTIMIZE TABLE spans FINAL")
    assert spans(store) == [{"n": 3, "spans": 3}]


def test_rows_of_ours_the_disk_did_not_take_are_told_of(store):
    rows = [["00000000-0000-0000-0000-000000000001"]]
    # They pass through a file of 35 bytes.
    with failing(100), pytest.raises(StoreUnavailable, match="disk"):
        store.insert("doomed_traces", rows, ["deletion_id"])
    store.mend()
    store.insert("doomed_traces", rows, ["deletion_id"])
    assert store.select("SELECT count() AS n FROM doomed_traces") == [{"n": 1}]


def test_no_table_refuses_to_load_for_what_is_broken_in_it(store):
    limited = store.select(
        "SELECT name FROM system.tables WHERE database = currentDatabase()"
        " AND engine LIKE '%MergeTree' AND (position(engine_full, 'broken_parts = 1000000,') = 0"
        " OR position(engine_full, 'broken_parts_bytes = 1000000000000000') = 0)"
    )
    assert limited == []


def test_a_reload_that_was_cut_short_is_taken_up(store, send):
    send({"span": 1})
    store.command("DETACH TABLE spans")
    with failing(0), pytest.raises(StoreUnavailable):
        store.command("OPTIMIZE TABLE traces FINAL")
    store.mend()
    assert spans(store) == [{"n": 1, "spans": 1}]


def test_what_a_failed_merge_hides_is_soon_there_again_when_nobody_writes(
    tmp_path, copy_store, make_spans, monkeypatch, caplog
):
    monkeypatch.setattr(pipeline, "_MEND_EVERY_SECONDS", 0.05)
    monkeypatch.setattr(pipeline, "_CLEAR_EVERY_SECONDS", 0.0)
    folder = copy_store(tmp_path / "store")
    opened = pipeline.Pipeline(Settings(store_url=f"chdb://{folder}"))
    give_way, failures = opened.store.give_way, [ZeroDivisionError(), OSError()]

    def fail_at_first():
        if failures:
            raise failures.pop()
        give_way()

    try:
        # What nobody foresaw does not end it.
        opened.store.give_way = fail_at_first
        deadline = time.monotonic() + 20
        while failures and time.monotonic() < deadline:
            time.sleep(0.05)
        Writer(opened.store).write_traces(make_spans({"span": 1}).SerializeToString())
        with failing(0), pytest.raises(StoreUnavailable):
            opened.store.command("OPTIMIZE TABLE spans FINAL")
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(StoreError):
                # And what is left of the merge is told of.
                told = any("are deleted 30 days after" in each for each in caplog.messages)
                if told and spans(opened.store) == [{"n": 1, "spans": 1}]:
                    break
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        opened.close()
