"""Requests go in whole or not at all, side by side, and only where the disk lets them."""

import contextlib
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_vtrack.errors import SettingsError, StoreError, StoreUnavailable, WireError
from otel_vtrack.store import writer
from otel_vtrack.store.client import Store
from otel_vtrack.store.writer import Writer, evaluated, rows
from otel_vtrack.wire import framing

TABLES = ("spans", "traces", "versions", "log_records")


def count(store):
    return store.select("SELECT count() AS n FROM spans FINAL")[0]["n"]


# What the engine reads


def delimited(payload):
    return b"".join(rows(payload))


def delimited_by_hand(request):
    out = b""
    for group in request.resource_spans:
        inner = group.SerializeToString()
        out += framing.varint(len(inner)) + inner
    return out


def test_a_request_becomes_its_messages_each_after_its_length(otlp):
    # Lengths of one byte, of two and of three.
    request = otlp.request(otlp.span(name="a"))
    request.MergeFrom(otlp.request(otlp.span(name="b" * 300)))
    request.MergeFrom(otlp.request(otlp.span(name="c" * 20_000)))
    request.resource_spans.add()
    assert delimited(request.SerializeToString()) == delimited_by_hand(request)


def test_no_bytes_are_no_rows():
    assert delimited(b"") == b""
    assert delimited(ExportTraceServiceRequest().SerializeToString()) == b""


def test_joined_requests_are_one_stream(otlp):
    one = otlp.request(otlp.span(1)).SerializeToString()
    two = otlp.request(otlp.span(2)).SerializeToString()
    assert delimited(one + two) == delimited(one) + delimited(two)


@pytest.mark.parametrize("found_by", ["the C library", "Python"])
def test_what_may_hold_evaluations_is_found_behind_zero_bytes(otlp, monkeypatch, found_by):
    if found_by == "Python":
        monkeypatch.setattr(writer, "_MEMMEM", None)
    without = otlp.request(otlp.span(1, name="\0" * 300)).SerializeToString()
    within = otlp.request(otlp.span(2, name="gen_ai.evaluation.name")).SerializeToString()
    assert evaluated(without) == b""
    assert evaluated(without + within + without) == within


UNKNOWN = {
    "varint": b"\x10\x96\x01",
    "fixed64": b"\x11" + bytes(8),
    "bytes": b"\x1a\x03abc",
    "group": b"\x1b\x08\x01\x1c",
    "fixed32": b"\x25" + bytes(4),
    "a number of two bytes": b"\xca\x3e\x01x",
}


@pytest.mark.parametrize("field", UNKNOWN)
def test_a_field_of_a_newer_OTLP_is_left_out(store, writer, otlp, field):  # noqa: N802
    plain = otlp.request(otlp.span(1)).SerializeToString()
    other = otlp.request(otlp.span(2)).SerializeToString()
    payload = UNKNOWN[field] + plain + UNKNOWN[field] + other + UNKNOWN[field]
    assert ExportTraceServiceRequest.FromString(payload)
    assert delimited(payload) == delimited(plain + other)
    writer.write_traces(payload)
    assert count(store) == 2


def test_unknown_fields_inside_are_skipped(store, writer, otlp):
    request = otlp.request(otlp.span())
    inner = framing.length_delimited(99, b"x" * 200)
    span = request.resource_spans[0].scope_spans[0].spans[0]
    span.MergeFromString(inner)
    request.resource_spans[0].resource.MergeFromString(inner)
    writer.write_traces(request.SerializeToString())
    assert count(store) == 1


def test_every_way_to_cut_a_request_short_is_an_error_that_says_what_to_do(otlp):
    payload = otlp.request(otlp.span(name="n" * 200)).SerializeToString()
    for end in range(1, len(payload)):
        with pytest.raises(WireError, match="send"):
            delimited(payload[:end])


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00",
        b"\xff",
        b"\x0a",
        b"\x0b",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x0a" + b"\xff" * 100_000,
        b"\x0a" + b"\x80" * 100_000 + b"\x00",
        b'{"resourceSpans": []}',
        b"\x1f\x8b\x08\x00",
    ],
    ids=lambda garbage: garbage[:8].hex(),
)
def test_garbage_is_an_error_that_says_what_to_do(garbage):
    with pytest.raises(WireError, match="send"):
        delimited(garbage)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data):
    try:
        out = delimited(data)
    except WireError:
        return
    assert len(out) <= len(data)


# All or nothing

BAD = {
    "cut short": lambda good: good + good[:-3],
    "garbage after it": lambda good: good + b"\xff\xff",
    "garbage inside": lambda good: good + framing.length_delimited(1, b"\xff" * 40),
    "a length beyond its message": lambda good: (
        good + framing.length_delimited(1, b"\x12\x7f" + b"\x0a" * 40)
    ),
    "a span id too long": lambda good: (
        good + good.replace(b"\x12\x08" + bytes(7), b"\x12\x09" + bytes(8), 1)
    ),
}


@pytest.mark.parametrize("how", BAD)
def test_nothing_of_a_bad_request_is_written(store, writer, otlp, contents, how):
    good = otlp.request(otlp.span()).SerializeToString()
    bad = BAD[how](good)
    assert bad != good
    with pytest.raises((WireError, StoreError)):
        writer.write_traces(bad)
    assert not any(contents(store).values())
    writer.write_traces(good)
    assert count(store) == 1, "the writer is fit for use afterwards"


def test_text_in_another_place_than_protobuf_is_never_seen(store, writer, otlp):
    """Spans reach the engine as bytes beside the statement, so their text is no SQL."""
    hostile = "x'); DROP TABLE spans; -- \\ {x:String} %s \x00"
    writer.write_traces(
        otlp.request(
            otlp.span(name=hostile, attributes={hostile: hostile}),
            resource={"service.name": hostile},
        ).SerializeToString()
    )
    [row] = store.select(
        "SELECT name, service_name, attributes[{key:String}] AS value FROM spans", {"key": hostile}
    )
    assert set(row.values()) == {hostile}


# Side by side


def test_writers_do_not_disturb_each_other(store, otlp):
    writer = Writer(store, clients=3)

    def write(thread):
        for batch in range(8):
            number = 1 + thread * 100 + batch * 10
            spans = [otlp.span(number + offset, trace=1 + thread) for offset in range(10)]
            writer.write_traces(otlp.request(*spans).SerializeToString())

    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(write, thread) for thread in range(6)]:
            done.result()
    assert count(store) == 6 * 8 * 10
    rows = store.select(
        "SELECT length(groupUniqArrayArray(edges)) AS n FROM traces GROUP BY trace_id"
    )
    assert [row["n"] for row in rows] == [80] * 6


def test_readers_see_whole_requests_and_all_that_was_acknowledged(store, writer, otlp):
    stop = threading.Event()
    acknowledged = 0
    seen = []

    def read():
        while not stop.is_set():
            least = acknowledged
            seen.append((least, count(store)))

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        try:
            for batch in range(15):
                spans = [otlp.span(1 + batch * 7 + offset) for offset in range(7)]
                writer.write_traces(otlp.request(*spans).SerializeToString())
                acknowledged += 7
                assert count(store) == acknowledged
        finally:
            stop.set()
        for reader in readers:
            reader.result()
    assert len(seen) > 15
    assert all(found >= least and found % 7 == 0 for least, found in seen)


def test_traces_and_logs_are_written_at_the_same_time(store, writer, otlp):
    def traces():
        for number in range(1, 11):
            writer.write_traces(otlp.request(otlp.span(number)).SerializeToString())

    def logs():
        for number in range(10):
            record = otlp.record(time_unix_nano=otlp.T0 + number)
            writer.write_logs(otlp.logs(record).SerializeToString())

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(traces), pool.submit(logs)]:
            done.result()
    assert count(store) == 10
    assert store.select("SELECT count() AS n FROM log_records FINAL")[0]["n"] == 10


# On disk


def synced_files(store):
    rows = store.select(
        "SELECT sum(value) AS n FROM system.events WHERE event IN ('FileSync', 'DirectorySync')"
    )
    return rows[0]["n"]


@pytest.mark.parametrize(("durability", "on"), [("fsync", 1), ("process", 0)])
def test_durability_decides_whether_parts_are_synced(store, otlp, durability, on):
    Writer(store, durability="process" if on else "fsync")
    writer = Writer(store, durability=durability)
    tables = store.select(
        "SELECT name FROM system.tables WHERE engine LIKE '%MergeTree'"
        " AND database = currentDatabase()"
    )
    kept = {table["name"] for table in tables}
    # What searches and people's changes rest on is as durable as spans.
    assert kept >= {*TABLES, "trace_roots", "log_sources", "assessments", "experiment_changes"}
    for table in kept:
        [row] = store.select(f"SHOW CREATE TABLE {table}")
        assert f"fsync_after_insert = {on}" in row["statement"]
        assert f"fsync_part_directory = {on}" in row["statement"]
    before = synced_files(store)
    writer.write_traces(otlp.request(otlp.span()).SerializeToString())
    # At least a file and a folder for each of spans, traces and versions.
    grown = synced_files(store) - before
    assert grown >= 6 if on else grown == 0


def test_another_durability_does_not_exist(store):
    with pytest.raises(SettingsError, match="process or fsync"):
        Writer(store, durability="hope")


@pytest.fixture
def small_disk(tmp_path):
    """A folder with room for 48 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=48m", "none", str(folder)]
    if not sys.platform.startswith("linux"):
        pytest.skip("needs tmpfs")
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small disk to fill")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_unavailable_until_there_is_room_again(small_disk, copy_store, otlp):
    with Store(f"chdb://{copy_store(small_disk / 'store')}") as store:
        writer = Writer(store)
        writer.write_traces(otlp.request(otlp.span(1)).SerializeToString())
        ballast = small_disk / "ballast"
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 16))
        payload = otlp.request(*(otlp.span(n, name="n" * n) for n in range(2, 400)))
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="at the moment"):
                writer.write_traces(payload.SerializeToString())
        assert count(store) == 1
        ballast.unlink()
        writer.write_traces(payload.SerializeToString())
        assert count(store) == 399


def test_nothing_is_kept_of_groups_in_which_nothing_is(store, writer):
    smallest = ExportTraceServiceRequest()
    smallest.resource_spans.add().scope_spans.add().spans.add(trace_id=b"t" * 16, span_id=b"s" * 8)
    empty = b"\n\0" * 1_000
    payload = smallest.SerializeToString()
    writer.write_traces(empty + payload + empty)
    assert rows(empty + payload + empty, 32) == rows(payload)
    assert rows(b"\x12\0" + empty + payload, 32) == rows(payload)
    logs = ExportLogsServiceRequest()
    logs.resource_logs.add().scope_logs.add().log_records.add()
    writer.write_logs(empty + logs.SerializeToString())
    for table in ("spans", "log_records"):
        assert store.select(f"SELECT count() AS n FROM {table} FINAL") == [{"n": 1}]


def test_a_request_that_takes_too_much_memory_by_itself_is_refused_for_good(
    store, writer, make_spans, monkeypatch
):
    assert writer._settings["max_memory_usage"] >= 1 << 30
    small, large = make_spans({"trace": 1}), make_spans({"trace": 2})
    # Two bytes on the wire, and a hundred times as many in a column or a few.
    for _ in range(200_000):
        large.resource_spans[0].scope_spans[0].spans[0].attributes.add()
    with monkeypatch.context() as patch:
        patch.setitem(writer._settings, "max_memory_usage", 30 << 20)
        writer.write_traces(small.SerializeToString())
        with pytest.raises(WireError, match="send smaller batches"):
            writer.write_traces(large.SerializeToString())
    assert [row["n"] for row in store.select("SELECT count() AS n FROM spans FINAL")] == [1]


def test_an_insert_for_which_memory_is_too_short_may_succeed_later(writer, make_spans, monkeypatch):
    request = make_spans({}).SerializeToString()
    with monkeypatch.context() as patch:
        patch.setitem(writer._settings, "max_memory_usage_for_user", 100_000)
        with pytest.raises(StoreUnavailable, match=r"at the moment: .*memory limit"):
            writer.write_traces(request)
    writer.write_traces(request)
