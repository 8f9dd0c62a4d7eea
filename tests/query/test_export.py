import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_vtrack.errors import InvalidArgument, NotFound
from otel_vtrack.query import export


def every_kind(pairs):
    """Add attributes of every kind of AnyValue, two of them under one name."""
    pairs.add(key="twice").value.array_value.values.add().double_value = 1.5
    pairs.add(key="twice").value.string_value = "again"
    for number in (float("nan"), float("inf"), -float("inf"), -0.0, 5e-324, 0.1):
        pairs.add(key=f"double {number}").value.double_value = number
    for number in (0, -(2**63), 2**63 - 1):
        pairs.add(key=f"int {number}").value.int_value = number
    for truth in (True, False):
        pairs.add(key=f"bool {truth}").value.bool_value = truth
    pairs.add(key="nothing").value.SetInParent()
    pairs.add(key="empty text").value.string_value = ""
    pairs.add(key="text").value.string_value = "\x00ff \N{PILE OF POO} '\\"
    pairs.add(key="bytes that are text").value.bytes_value = b"ff00"
    pairs.add(key="bytes").value.bytes_value = b"\xff\x00"
    pairs.add(key="no bytes").value.bytes_value = b""
    pairs.add(key="no array").value.array_value.SetInParent()
    pairs.add(key="no kvlist").value.kvlist_value.SetInParent()
    deep = pairs.add(key="deep").value
    for _ in range(5):
        pair = deep.kvlist_value.values.add(key="in")
        pair.value.array_value.values.add().bytes_value = b"\x80"
        deep = pair.value.array_value.values.add()
    deep.int_value = 7


def full_request(trace_id=b"\xff" * 16, start=10**18, end=10**18 + 5):
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add(schema_url="https://example.test/resource")
    every_kind(group.resource.attributes)
    group.resource.dropped_attributes_count = 3
    group.resource.entity_refs.add(type="service", id_keys=["a"], schema_url="x")
    scoped = group.scope_spans.add(schema_url="https://example.test/scope")
    scoped.scope.name, scoped.scope.version = "scope", "1"
    scoped.scope.dropped_attributes_count = 4
    every_kind(scoped.scope.attributes)
    span = scoped.spans.add(
        trace_id=trace_id,
        span_id=b"\x01" * 8,
        parent_span_id=b"\xfe" * 8,
        trace_state="vendor=1",
        flags=0x301,
        name="whole",
        kind=3,
        start_time_unix_nano=start,
        end_time_unix_nano=end,
        dropped_attributes_count=1,
        dropped_events_count=2**32 - 1,
        dropped_links_count=6,
    )
    every_kind(span.attributes)
    span.status.code, span.status.message = 2, "broken"
    event = span.events.add(time_unix_nano=2**64 - 1, name="said", dropped_attributes_count=4)
    every_kind(event.attributes)
    span.events.add(name="bare")
    link = span.links.add(
        trace_id=b"\xaa" * 16, trace_state="s", dropped_attributes_count=1, flags=7
    )
    every_kind(link.attributes)
    return request


def test_every_field_comes_back_as_it_was_sent(store, writer):
    sent = full_request()
    writer.write_traces(sent.SerializeToString())
    got = export.trace(store, "ff" * 16)
    assert got.SerializeToString() == sent.SerializeToString()


@pytest.mark.parametrize("function", ["formatRow", "formatRowNoNewline"])
def test_a_newline_that_ends_a_link_comes_back(store, writer, function):
    column = "name = 'rare' AND table = 'spans' AND database = currentDatabase()"
    [made] = store.select(f"SELECT default_expression AS by FROM system.columns WHERE {column}")
    assert "formatRow(" in made["by"]
    # The other one is of an earlier build.
    by = made["by"].replace("formatRow(", f"{function}(")
    store.command(f"ALTER TABLE spans MODIFY COLUMN rare String MATERIALIZED {by}")
    sent = full_request()
    sent.resource_spans[0].scope_spans[0].spans[0].links[0].CopyFrom(
        Span.Link(trace_id=b"\xaa" * 16, span_id=b"\n" * 8)
    )
    writer.write_traces(sent.SerializeToString())
    assert export.trace(store, "ff" * 16).SerializeToString() == sent.SerializeToString()


@pytest.mark.parametrize(
    ("start", "end"), [(0, 0), (10**18, 1), (2**64 - 1, 2**64 - 1), (2**63, 1), (10**19, 10**19)]
)
def test_absurd_times_come_back_as_they_were_sent(store, writer, start, end):
    sent = full_request(start=start, end=end)
    writer.write_traces(sent.SerializeToString())
    assert export.trace(store, "ff" * 16).SerializeToString() == sent.SerializeToString()


def test_spans_of_several_resources_are_grouped_and_sorted(store, send, trace_id):
    send({"span": 1, "at": 5}, {"span": 2, "at": 1, "parent": 1}, service__name="shop")
    send({"span": 3, "at": 3, "parent": 1}, service__name="stock")
    send({"span": 4, "trace": 2}, service__name="other")
    groups = [
        (
            group.resource.attributes[0].value.string_value,
            [span.span_id[3] for scoped in group.scope_spans for span in scoped.spans],
        )
        for group in export.trace(store, trace_id()).resource_spans
    ]
    assert groups == [("shop", [2, 1]), ("stock", [3])]


def test_a_retried_span_comes_once(store, writer, make_spans, trace_id):
    request = make_spans({}, {"parent": 1}, {"parent": 2})
    for payload in (request, request):
        writer.write_traces(payload.SerializeToString())
    [group] = export.trace(store, trace_id()).resource_spans
    assert [span.name for span in group.scope_spans[0].spans] == ["step 1", "step 2", "step 3"]


def test_ids_are_understood_as_mlflow_writes_them(store, send, trace_id):
    send({})
    assert export.trace(store, f"tr-{trace_id()}") == export.trace(store, trace_id().upper())


def test_an_unknown_trace_is_not_found(store, trace_id):
    with pytest.raises(NotFound, match="vtrack traces search"):
        export.trace(store, trace_id(9))


@pytest.mark.parametrize("text", ["", "12", "g" * 32, "' OR 1", "0" * 33])
def test_what_is_no_trace_id_is_refused(store, text):
    with pytest.raises(InvalidArgument, match="32 hexadecimal digits"):
        export.trace(store, text)
