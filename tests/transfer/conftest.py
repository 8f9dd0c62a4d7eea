"""A real server with something of everything, and empty ones to move it to."""

import itertools

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from otel_vtrack.client import Client

START_NS = 1_790_000_000_000_000_000
SECOND = 1_000_000_000


def every_kind(pairs):
    """Add attributes of every kind of AnyValue, two of them under one name."""
    pairs.add(key="twice").value.array_value.values.add().double_value = 1.5
    pairs.add(key="twice").value.string_value = "again"
    for number in (float("nan"), float("inf"), -float("inf"), -0.0, 5e-324, 0.1, 1e16):
        pairs.add(key=f"double {number}").value.double_value = number
    for number in (0, -(2**63), 2**63 - 1):
        pairs.add(key=f"int {number}").value.int_value = number
    for truth in (True, False):
        pairs.add(key=f"bool {truth}").value.bool_value = truth
    pairs.add(key="nothing").value.SetInParent()
    pairs.add(key="").value.string_value = ""
    pairs.add(key="text").value.string_value = "\x00ff \N{PILE OF POO} '\\\n"
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


def resource(group, service, full=False):
    group.resource.attributes.add(key="service.name").value.string_value = service
    group.resource.attributes.add(key="service.version").value.string_value = "1.0"
    if full:
        every_kind(group.resource.attributes)
        group.resource.dropped_attributes_count = 3
        group.resource.entity_refs.add(type="service", id_keys=["a"], schema_url="x")
        group.schema_url = "https://example.test/resource"


def scope(scoped, full=False):
    if full:
        scoped.scope.name, scoped.scope.version = "scope", "1"
        scoped.scope.dropped_attributes_count = 4
        scoped.schema_url = "https://example.test/scope"
        every_kind(scoped.scope.attributes)


def full_spans(service="shop"):
    request = ExportTraceServiceRequest()
    for number in range(2):
        group = request.resource_spans.add()
        resource(group, service, full=bool(number))
        scoped = group.scope_spans.add()
        scope(scoped, full=bool(number))
        for trace in range(1, 8):
            span = scoped.spans.add(
                trace_id=bytes([trace]) * 16,
                span_id=bytes([trace, number + 1]) * 4,
                parent_span_id=bytes([trace, 1]) * 4 if number else b"",
                name=f"step {trace}",
                kind=trace % 6,
                start_time_unix_nano=START_NS + trace * 50 * SECOND + number,
                end_time_unix_nano=START_NS + trace * 51 * SECOND,
            )
            span.attributes.add(key="session.id").value.string_value = f"s-{trace % 2}"
            if number:
                continue
            every_kind(span.attributes)
            span.trace_state, span.flags = "vendor=1", 0x301
            span.dropped_attributes_count = span.dropped_links_count = 7
            span.dropped_events_count = 2**32 - 1
            span.status.code, span.status.message = trace % 3, "broken" * (trace % 2)
            event = span.events.add(time_unix_nano=2**64 - 1, name="e", dropped_attributes_count=4)
            every_kind(event.attributes)
            span.events.add(name="bare")
            judged = span.events.add(name="gen_ai.evaluation.result", time_unix_nano=START_NS)
            judged.attributes.add(key="gen_ai.evaluation.name").value.string_value = "in span"
            judged.attributes.add(key="gen_ai.evaluation.score.value").value.double_value = 0.5
            link = span.links.add(trace_id=b"\xaa" * 16, trace_state="s", flags=7)
            every_kind(link.attributes)
    return request


def absurd_spans():
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    resource(group, "absurd")
    for number, (start, end) in enumerate([(0, 0), (2**64 - 1, 5), (2**63 - 1, 2**63)], 1):
        group.scope_spans.add().spans.add(
            trace_id=bytes([200 + number]) * 16,
            span_id=bytes([number]) * 8,
            start_time_unix_nano=start,
            end_time_unix_nano=end,
        )
    return request


def full_logs(trace=1):
    request = ExportLogsServiceRequest()
    for number in range(2):
        group = request.resource_logs.add()
        resource(group, "shop", full=bool(number))
        scoped = group.scope_logs.add()
        scope(scoped, full=bool(number))
        for at in range(6):
            record = scoped.log_records.add(
                time_unix_nano=START_NS + at * 40 * SECOND if at else 0,
                observed_time_unix_nano=START_NS,
                severity_number=at,
                severity_text="INFO" if at else "",
                event_name=["", "b"][at % 2],
                dropped_attributes_count=at,
                flags=1,
                trace_id=bytes([at]) * 16 if at else b"",
                span_id=bytes([at, 1]) * 4 if at > 1 else b"",
            )
            every_kind(record.attributes)
            if at == 1:
                record.body.string_value = ""
            elif at == 2:
                record.body.array_value.values.add().bytes_value = b"\x80"
            elif at == 3:
                record.body.double_value = float("nan")
            elif at == 4:
                record.body.bytes_value = b"\xff"
    scoped = request.resource_logs[0].scope_logs[0]
    record = scoped.log_records.add(
        time_unix_nano=START_NS,
        event_name="gen_ai.evaluation.result",
        trace_id=bytes([trace]) * 16,
        span_id=bytes([trace, 1]) * 4,
    )
    record.attributes.add(key="gen_ai.evaluation.name").value.string_value = "in log"
    record.attributes.add(key="gen_ai.evaluation.score.label").value.string_value = "good"
    return request


def write_everything(client):
    """Write what people write: each noun, each kind of change."""
    first, second = "01" * 16, "02" * 16
    kept = client.create_assessment(
        first, "relevance", 0.5, rationale="why", metadata={"a": "1"}, source_id="me"
    )
    client.update_assessment(kept.assessment_id, value={"x": [1, None, "y"]}, metadata={"b": "2"})
    client.create_assessment(first, "relevance", True, overrides=kept.assessment_id)
    gone = client.create_assessment(second, "answer", "Bern", assessment_type="expectation")
    client.delete_assessment(gone.assessment_id)
    client.create_assessment(second, "judge", error=ValueError("no answer"), span_id="0201" * 4)
    client.create_assessment(second, "mood", "good", session_id="s-0")
    client.set_trace_tag(first, "color", "blue")
    client.set_trace_tag(first, "color", "red")
    client.set_trace_tag(second, "gone", "x")
    client.delete_trace_tag(second, "gone")
    client.create_experiment("made by hand", tags={"team": "a"})
    client.update_experiment("shop", name="The Shop", set_tags={"k": "v", "l": "w"})
    client.update_experiment("shop", archived=True, delete_tags=["l"])
    client.create_deployment("shop", "production", "1.0", deployment_id="d-1", description="first")
    client.update_deployment("d-1", status="succeeded", set_tags={"ci": "7"})
    client.update_version("1.0", service_name="shop", experiment="shop", note="the good one")
    client.set_version_alias("1.0", "champion", service_name="shop", experiment="shop")
    client.set_version_alias("1.0", "old", service_name="shop", experiment="shop")
    client.delete_version_alias("old", service_name="shop", experiment="shop")


@pytest.fixture(scope="session")
def empty(vtrack_on, tmp_path_factory):
    """Start an empty server."""
    numbers = itertools.count()

    def start():
        return vtrack_on(tmp_path_factory.mktemp(f"server{next(numbers)}") / "store")

    return start


@pytest.fixture(scope="session")
def full(empty):
    """A server with something of everything."""
    served = empty()
    served.export(full_spans())
    named = full_spans("elsewhere")
    for group in named.resource_spans:
        for scoped in group.scope_spans:
            for span in scoped.spans:
                span.trace_id = bytes([span.trace_id[0] + 100]) * 16
    served.export(named, metadata=(("x-vtrack-experiment", "by header"),))
    umlaut = ExportTraceServiceRequest()
    group = umlaut.resource_spans.add()
    resource(group, "früh")
    group.scope_spans.add().spans.add(
        trace_id=b"\x90" * 16, span_id=b"\x90" * 8, start_time_unix_nano=START_NS
    )
    served.export(umlaut, metadata=(("x-vtrack-adjusted-count", "3.3333333"),))
    answer = ExportTraceServiceResponse.FromString(served.export(absurd_spans()))
    served.rejected = answer.partial_success.rejected_spans
    served.export(full_logs(), "logs")
    served.export(full_logs(101), "logs", metadata=(("x-vtrack-experiment", "by header"),))
    with Client(served.grpc) as client:
        write_everything(client)
    return served


@pytest.fixture
def kinds():
    """Return what adds attributes of every kind."""
    return every_kind
