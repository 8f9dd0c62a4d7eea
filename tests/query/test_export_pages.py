"""Pages of all telemetry: nothing is missed, nothing comes twice, every field is there."""

import itertools

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import export_pages
from otel_vtrack.query.export_pages import What


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
        for group in batch.otlp.resource_spans
        for scoped in group.scope_spans
        for span in scoped.spans
    ]


def records_of(batches):
    return [
        (batch.experiment, record)
        for batch in batches
        for group in batch.otlp.resource_logs
        for scoped in group.scope_logs
        for record in scoped.log_records
    ]


@pytest.mark.parametrize("max_bytes", [1, 2_000, 4 << 20])
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
    assert pages > {1: 35, 2_000: 3}.get(max_bytes, 1)


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
        whole.resource_logs.extend(batch.otlp.resource_logs)
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
