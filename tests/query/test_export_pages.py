"""Pages of all telemetry: nothing is missed, nothing comes twice, every field is there."""

import itertools
from random import Random
from struct import unpack

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import changes, export_pages
from otel_vtrack.query.export_pages import What
from otel_vtrack.record import trace_tags


def all_of(read, store, start, what=None, max_bytes=4 << 20):
    """Return every batch, and how many pages there were."""
    place, batches, pages = start, [], 0
    while place is not None:
        page = read(store, what or What(), place, max_bytes)
        batches += page.batches
        place, pages = page.place, pages + 1
    return batches, pages


def spans_of(batches):
    """Return (experiment, span) of every span, in the order given."""
    return [
        (batch.experiment, span)
        for batch in batches
        for group in TracesData.FromString(batch.otlp).resource_spans
        for scoped in group.scope_spans
        for span in scoped.spans
    ]


def records_of(batches):
    return [
        (batch.experiment, record)
        for batch in batches
        for group in LogsData.FromString(batch.otlp).resource_logs
        for scoped in group.scope_logs
        for record in scoped.log_records
    ]


@pytest.mark.parametrize("max_bytes", [1, 1_000, 4 << 20])
def test_every_span_comes_once_whatever_the_size_of_pages(store, send, max_bytes):
    sent = set()
    for trace in range(1, 8):
        request = send(
            *({"trace": trace, "span": n, "at": n * 45_000 * trace} for n in range(1, 6)),
            service__name=f"s{trace % 2}",
        )
        send(
            *({"trace": trace, "span": n, "at": n * 45_000 * trace} for n in range(1, 3)),
            service__name=f"s{trace % 2}",
        )  # retried
        spans = request.resource_spans[0].scope_spans[0].spans
        sent |= {(f"s{trace % 2}", span.trace_id, span.span_id, span.name) for span in spans}
    batches, pages = all_of(
        export_pages.spans, store, export_pages.SPANS_START, max_bytes=max_bytes
    )
    got = [(experiment, it.trace_id, it.span_id, it.name) for experiment, it in spans_of(batches)]
    assert len(got) == len(set(got)) == 35
    assert set(got) == sent
    assert sum(batch.item_count for batch in batches) == 35
    assert pages > {1: 35, 1_000: 3}.get(max_bytes, 1)


def test_pages_are_of_one_experiment_and_of_some_time_if_asked(store, send):
    send(*({"trace": n, "span": n, "at": n * 1000} for n in range(1, 9)), service__name="a")
    send({"trace": 99, "span": 99}, service__name="b")
    start = send({"trace": 3, "span": 3, "at": 3000}, service__name="a")
    at = start.resource_spans[0].scope_spans[0].spans[0].start_time_unix_nano
    what = What(experiment="a", from_ns=at, last_ns=at + 2 * 10**9)
    batches, _ = all_of(export_pages.spans, store, export_pages.SPANS_START, what)
    assert [span.trace_id[-1] for _, span in spans_of(batches)] == [3, 4, 5]
    what = What(traces=((f"{99:032x}", "b"), (f"{1:032x}", "b")))
    batches, _ = all_of(export_pages.spans, store, export_pages.SPANS_START, what)
    assert [(it, span.trace_id[-1]) for it, span in spans_of(batches)] == [("b", 99)]


def test_spans_and_changes_are_of_the_same_traces_by_the_start_of_the_root(store, send):
    second = 10**9
    # The child of 1 starts long before its root, in the same experiment; that of 2 in another.
    send({"trace": 1, "span": 2, "parent": 1, "at": 1_000}, service__name="a")
    send({"trace": 2, "span": 2, "parent": 1, "at": 1_000}, service__name="b")
    late = [{"trace": trace, "span": 1, "at": 9_000} for trace in (1, 2)]
    start = send(*late, service__name="a").resource_spans[0].scope_spans[0].spans[0]
    root_ns = start.start_time_unix_nano
    for trace in (1, 2):
        trace_tags.set_tag(store, f"{trace:032x}", "color", "red")

    def of(experiment, from_ns, last_ns):
        what = What(experiment=experiment, from_ns=from_ns, last_ns=last_ns)
        found = export_pages.found(
            store,
            what,
            "span_count > 0",
            export_pages.FOUND_START,
            max_bytes=4 << 20,
            read=export_pages.Reads(export_pages.spans, export_pages.SPANS_START),
        )
        of_spans = {span.trace_id[-1] for _, span in spans_of(found.batches)}
        wanted = changes.Traces(from_ns=from_ns, until_ns=last_ns + 1)
        page = changes.page(
            store,
            ["trace_tags", "", "0" * 32],
            experiment=experiment,
            traces=wanted,
            max_rows=10,
        )
        assert {int(row["trace_id"], 16) for row in page.rows} == of_spans
        return of_spans

    assert of("a", root_ns - 5 * second, root_ns - 1) == set()
    assert of("a", root_ns, root_ns) == {1, 2}
    assert of("a", root_ns - 9 * second, root_ns - 5 * second) == set()
    assert of("b", root_ns - 9 * second, root_ns - 5 * second) == {2}
    assert of("a", root_ns + 1, root_ns + second) == set()


@pytest.mark.parametrize("start", [0, 2**63 - 1, 2**64 - 1, 10**19])
def test_absurd_times_are_exported_too(store, send, start):
    send({"span": 1, "start_time_unix_nano": start, "end_time_unix_nano": 5}, {"span": 2})
    batches, _ = all_of(export_pages.spans, store, export_pages.SPANS_START, max_bytes=1)
    assert {span.start_time_unix_nano for _, span in spans_of(batches)} >= {start}
    assert len(spans_of(batches)) == 2


def full_logs():
    request = ExportLogsServiceRequest()
    for resource in range(2):
        group = request.resource_logs.add(schema_url=f"r{resource}")
        group.resource.attributes.add(key="service.name").value.string_value = f"s{resource}"
        group.resource.attributes.add(key="bytes").value.bytes_value = b"\xff"
        group.resource.dropped_attributes_count = resource
        group.resource.entity_refs.add(type="service", id_keys=["service.name"])
        scoped = group.scope_logs.add(schema_url="s")
        scoped.scope.name, scoped.scope.version = "scope", "1"
        scoped.scope.attributes.add(key="k").value.double_value = -0.0
        for number in range(5):
            record = scoped.log_records.add(
                time_unix_nano=1_790_000_000_000_000_000 + number * 40 * 10**9,
                observed_time_unix_nano=7,
                severity_number=9,
                severity_text="INFO",
                event_name=["", "b", "a.b"][number % 3],
                dropped_attributes_count=2**32 - 1,
                flags=1,
                trace_id=bytes([number]) * 16 if number else b"",
                span_id=bytes([number]) * 8 if number > 1 else b"",
            )
            values = record.attributes
            values.add(key="a").value.int_value = number
            values.add(key="a").value.kvlist_value.values.add(key="x").value.bool_value = True
            values.add(key="nothing").value.SetInParent()
            if number == 1:
                record.body.string_value = ""
            elif number == 2:
                record.body.array_value.values.add().bytes_value = b"\x80"
            elif number == 3:
                record.body.double_value = 0.1
    return request


@pytest.mark.parametrize("max_bytes", [1, 600, 4 << 20])
def test_every_log_record_comes_once_with_every_field(store, writer, max_bytes):
    sent = full_logs()
    for _ in range(2):  # retried
        writer.write_logs(sent.SerializeToString())
    batches, pages = all_of(
        export_pages.log_records, store, export_pages.LOG_RECORDS_START, max_bytes=max_bytes
    )
    whole = LogsData()
    for batch in batches:
        whole.MergeFromString(batch.otlp)
    assert sealed(whole) == sealed(sent)
    assert len(sealed(whole)) == 10
    assert pages > {1: 10, 600: 2}.get(max_bytes, 1)


def sealed(data):
    """Return every record with what it sits in, as bytes."""
    found = set()
    for group in data.resource_logs:
        for scoped in group.scope_logs:
            for record in scoped.log_records:
                one = LogsData()
                outer = one.resource_logs.add(schema_url=group.schema_url)
                outer.resource.CopyFrom(group.resource)
                inner = outer.scope_logs.add(schema_url=scoped.schema_url)
                inner.scope.CopyFrom(scoped.scope)
                inner.log_records.add().CopyFrom(record)
                assert one.SerializeToString() not in found
                found.add(one.SerializeToString())
    return found


def test_a_page_goes_on_where_the_last_ended_though_more_arrives(store, send):
    send(*({"trace": n, "span": n, "at": n * 60_000} for n in range(1, 9)))
    seen = []
    place = export_pages.SPANS_START
    for late in itertools.count(20):
        page = export_pages.spans(store, What(), place, 1)
        seen += [span.trace_id[-1] for _, span in spans_of(page.batches)]
        if page.place is None:
            break
        place = page.place
        if late < 24:
            send({"trace": late, "span": late, "at": -60_000 * late})  # behind the reader
    assert seen == list(range(1, 9))


def test_the_size_of_a_page_has_bounds():
    assert export_pages.size(0) == export_pages.DEFAULT_BYTES
    with pytest.raises(InvalidArgument, match="max_bytes"):
        export_pages.size(export_pages.MOST_BYTES + 1)


def test_what_the_engine_writes_is_what_was_sent(store, writer):
    """Lengths and numbers of every size of varint, and every kind of value, in spans and events."""
    random = Random(7)
    doubles = [*(unpack("<d", random.randbytes(8))[0] for _ in range(200)), 0.0, -0.0, 5e-324]
    doubles += [float("nan"), float("inf"), -float("inf"), 0.1, 1e16, 1.0]
    sizes = [0, 1, 125, 126, 127, 128, 16_381, 16_382, 16_383, 16_384, 2_097_149, 2_097_152]
    sent = ExportTraceServiceRequest()
    spans = sent.resource_spans.add().scope_spans.add().spans
    sent.resource_spans[0].resource.attributes.add(key="service.name").value.string_value = "s"
    for number in range(1, 7):
        span = spans.add(
            trace_id=bytes([number]) + bytes(15),
            span_id=bytes([number]) + bytes(7),
            parent_span_id=b"\x01" + bytes(7) if number % 2 else bytes(7) + b"\x01",
            name="n" * number * 60,
            start_time_unix_nano=10**18 + number,
            end_time_unix_nano=10**18,
            kind=3,
            flags=2**32 - 1,
        )
        every_kind(span.attributes)
        event = span.events.add(name="e" * 50 * number, dropped_attributes_count=number)
        every_kind(event.attributes)
        every_kind(span.links.add(trace_id=b"\x01" * 16).attributes)
        if number == 1:
            for power in range(64):
                span.attributes.add(key=f"{power}").value.int_value = (1 << power) - 1
                event.attributes.add(key=f"{power}").value.int_value = -(1 << power)
        if number == 2:
            for double in doubles:
                span.attributes.add(key="double").value.double_value = double
                event.attributes.add(key="double").value.double_value = double
        if number == 3:
            for size in sizes:
                span.attributes.add(key="text").value.string_value = "t" * size
                event.attributes.add(key="k" * min(size, 20_000)).value.bytes_value = b"b" * size
            span.events.add()
    writer.write_traces(sent.SerializeToString())
    batches, _ = all_of(export_pages.spans, store, export_pages.SPANS_START, max_bytes=1 << 25)
    got = TracesData.FromString(b"".join(batch.otlp for batch in batches))
    assert got.SerializeToString() == sent.SerializeToString()


def every_kind(pairs):
    pairs.add(key="nothing").value.SetInParent()
    pairs.add(key="").value.string_value = ""
    pairs.add(key="text").value.string_value = "\x00ff \N{PILE OF POO} '\\\n"
    for truth in (True, False):
        pairs.add(key="bool").value.bool_value = truth
    pairs.add(key="zero").value.int_value = 0
    pairs.add(key="bytes").value.bytes_value = b"\xff\x00"
    pairs.add(key="no bytes").value.bytes_value = b""
    pairs.add(key="no array").value.array_value.SetInParent()
    pairs.add(key="no kvlist").value.kvlist_value.SetInParent()
    pairs.add(key="array").value.array_value.values.add().double_value = -0.0
    pairs.add(key="kvlist").value.kvlist_value.values.add(key="k").value.int_value = -1
