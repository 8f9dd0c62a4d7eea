"""What is taken, what is taken out, and that good bytes pass untouched."""

import functools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_vtrack.errors import WireError
from otel_vtrack.wire import framing, validate
from otel_vtrack.wire.signals import SIGNALS

LAST_TIME = 2**63 - 1
START = 1_790_000_000_000_000_000
GOOD = {"trace_id": b"t" * 16, "span_id": b"s" * 8, "start_time_unix_nano": START}
IDS = st.one_of(st.just(b""), st.binary(max_size=20), st.binary(min_size=16, max_size=16))


def request_of(*groups) -> ExportTraceServiceRequest:
    """Make one ResourceSpans a group, and one ScopeSpans a list of spans in it."""
    request = ExportTraceServiceRequest()
    for group in groups:
        resource_spans = request.resource_spans.add()
        for spans in group:
            scope_spans = resource_spans.scope_spans.add()
            for span in spans:
                scope_spans.spans.add(**span)
    return request


def is_good(span) -> bool:
    return (
        len(span["trace_id"]) == 16
        and any(span["trace_id"])
        and len(span["span_id"]) == 8
        and any(span["span_id"])
        and len(span["parent_span_id"]) in {0, 8}
        and span["start_time_unix_nano"] <= LAST_TIME
        and span["end_time_unix_nano"] <= LAST_TIME
    )


SPANS = st.lists(
    st.fixed_dictionaries(
        {
            "trace_id": st.one_of(st.just(b"t" * 16), st.just(b"t" * 16), IDS),
            "span_id": st.one_of(st.just(b"s" * 8), st.just(b"s" * 8), IDS),
            "parent_span_id": st.sampled_from([b"", b"", b"p" * 8, bytes(8), b"p"]),
            "start_time_unix_nano": st.sampled_from([START, LAST_TIME, 2**64 - 1]),
            "end_time_unix_nano": st.sampled_from([0, START, LAST_TIME, LAST_TIME + 1]),
        }
    ),
    max_size=5,
)


@given(groups=st.lists(st.lists(SPANS, max_size=3), max_size=3))
def test_exactly_the_good_spans_are_kept_in_their_places(groups):
    checked = validate.traces(request_of(*groups).SerializeToString())
    kept = [[[span for span in spans if is_good(span)] for spans in group] for group in groups]
    total = sum(len(spans) for group in groups for spans in group)
    good = sum(len(spans) for group in kept for spans in group)
    assert (checked.items, checked.rejected) == (good, total - good)
    assert checked.payload == request_of(*kept).SerializeToString()
    assert bool(checked.message) == (good < total)


def test_a_good_request_is_the_same_object_afterwards():
    payload = request_of([[GOOD] * 3]).SerializeToString()
    assert validate.traces(payload).payload is payload


def test_an_id_given_twice_does_not_make_up_for_one_that_is_missing():
    # Two spans with two trace ids, both of them in the first, and one span id.
    both = b"\x0a\x10" + b"t" * 16 + b"\x0a\x10" + b"t" * 16
    spans = b"\x12" + bytes([len(both)]) + both + b"\x12\x0a\x12\x08" + b"s" * 8
    payload = b"\x0a" + bytes([len(spans) + 2]) + b"\x12" + bytes([len(spans)]) + spans
    checked = validate.traces(payload)
    assert (checked.items, checked.rejected) == (0, 2)


def test_a_parent_of_zeros_is_kept_as_it_came():
    payload = request_of([[GOOD | {"parent_span_id": bytes(8)}]]).SerializeToString()
    assert validate.traces(payload) == validate.Checked(payload, 1)


@pytest.mark.parametrize("field", ["start_time_unix_nano", "end_time_unix_nano"])
def test_a_time_that_the_store_cannot_say_costs_its_span_and_no_other(field):
    # The year 2500, which is beyond what 63 bits of nanoseconds reach.
    request = request_of([[GOOD, GOOD | {field: 16_725_225_600 * 10**9}]])
    checked = validate.traces(request.SerializeToString())
    assert (checked.items, checked.rejected) == (1, 1)
    assert "after 2262-04-11" in checked.message
    assert "nanoseconds since 1970" in checked.message


@pytest.mark.parametrize("start", [0, 1_790_000_000, 1_790_000_000_000, 1_790_000_000_000_000])
def test_a_start_in_1970_is_kept_and_its_sender_is_told(start):
    payload = request_of([[GOOD, GOOD | {"start_time_unix_nano": start}]]).SerializeToString()
    checked = validate.traces(payload)
    assert (checked.payload, checked.items, checked.rejected) == (payload, 2, 0)
    assert "nanoseconds since 1970" in checked.message


def test_an_end_before_the_start_is_kept():
    payload = request_of([[GOOD | {"end_time_unix_nano": START - 1}]]).SerializeToString()
    assert validate.traces(payload) == validate.Checked(payload, 1)


@pytest.mark.parametrize("field", ["time_unix_nano", "observed_time_unix_nano"])
def test_a_log_record_beyond_the_last_time_is_rejected_alone(field):
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    records.add(**{field: LAST_TIME}, severity_text="kept")
    records.add(**{field: LAST_TIME + 1})
    checked = validate.logs(request.SerializeToString())
    assert (checked.items, checked.rejected) == (1, 1)
    assert "after 2262-04-11" in checked.message
    (kept,) = ExportLogsServiceRequest.FromString(checked.payload).resource_logs
    assert [record.severity_text for record in kept.scope_logs[0].log_records] == ["kept"]


def test_what_a_rejection_leaves_keeps_unknown_fields():
    request = request_of([[GOOD, {"trace_id": b"bad"}]])
    request.resource_spans[0].scope_spans[0].spans[0].MergeFromString(b"\xa2\x06\x03new")
    checked = validate.traces(request.SerializeToString())
    assert checked.rejected == 1
    assert b"\xa2\x06\x03new" in checked.payload


# Behind a whole message; its parsers take each for an unknown field, and the engine does not.
MISREAD = {
    "a name that is a number": (b"\x28\x05", b""),
    "a start of the wrong length": (b"\x3d\x01\x02\x03\x04", b""),
    "a list where there is none": (b"\x3a\x08" + bytes(8), b""),
    "a group": (b"\x9b\x06\x08\x01\x9c\x06", b""),
    "a key that is a number": (b"", b"\x09" + bytes(8)),
}


@pytest.mark.parametrize("what", MISREAD)
def test_what_the_engine_would_misread_is_taken_out(what):
    of_span, of_pair = MISREAD[what]
    span = Span(**GOOD).SerializeToString()
    pair = KeyValue(key="k", value=AnyValue(int_value=1)).SerializeToString()
    span += framing.length_delimited(9, pair + of_pair) + of_span
    group = framing.length_delimited(2, framing.length_delimited(2, span))
    payload = framing.length_delimited(1, group + framing.length_delimited(1001, b"spoofed"))
    wanted = ExportTraceServiceRequest.FromString(payload)
    wanted.DiscardUnknownFields()
    checked = validate.traces(payload)
    assert (checked.payload, checked.rejected) == (wanted.SerializeToString(), 0)


def test_a_field_of_a_newer_otlp_is_left_where_it_is():
    request = request_of([[GOOD]])
    request.resource_spans[0].scope_spans[0].spans[0].MergeFromString(b"\xa2\x06\x03new")
    payload = request.SerializeToString()
    assert validate.traces(payload).payload is payload


@pytest.mark.parametrize(
    "check",
    [
        validate.traces,
        validate.logs,
        *(functools.partial(validate.outline, signal) for signal in SIGNALS),
    ],
)
@pytest.mark.parametrize("payload", [b"garbage", b"\x0a\x05ab", b"\x0b"])
def test_bytes_that_are_no_request_are_refused(check, payload):
    with pytest.raises(WireError, match="an OTLP encoder wrote"):
        check(payload)


@pytest.mark.parametrize("levels", [40, 60])
def test_values_nest_as_deep_as_protobuf_parsers_go(levels):
    request = request_of([[GOOD]])
    value = request.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="k").value
    for _ in range(levels):
        value = value.array_value.values.add()
    payload = request.SerializeToString()
    if levels == 40:
        assert validate.traces(payload).items == 1
    else:
        with pytest.raises(WireError, match="nested deeper than 100 levels"):
            validate.traces(payload)


def broken_text(request):
    return request.SerializeToString().replace(b"TEXT", b"\xff\xff\xff\xff")


def test_text_that_is_not_utf8_is_refused_at_every_depth():
    spots = []
    for place in range(5):
        request = request_of([[GOOD]])
        group = request.resource_spans[0]
        span = group.scope_spans[0].spans[0]
        if place == 0:
            span.trace_state = "TEXT"
        elif place == 1:
            group.resource.attributes.add(key="TEXT")
        elif place == 2:
            span.events.add().attributes.add(key="k").value.string_value = "TEXT"
        elif place == 3:
            inner = span.attributes.add(key="k").value.array_value.values.add()
            inner.kvlist_value.values.add(key="TEXT")
        else:
            group.scope_spans[0].schema_url = "TEXT"
        spots.append(broken_text(request))
    for payload in spots:
        with pytest.raises(WireError, match="not UTF-8"):
            validate.traces(payload)


def test_bytes_values_need_not_be_utf8():
    request = request_of([[GOOD]])
    pair = request.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="k")
    pair.value.bytes_value = b"\xff\xfe"
    assert validate.traces(request.SerializeToString()).items == 1


def test_log_records_are_counted_over_all_scopes():
    request = ExportLogsServiceRequest()
    for records in (2, 0, 3):
        scope_logs = request.resource_logs.add().scope_logs.add()
        for _ in range(records):
            scope_logs.log_records.add(trace_id=bytes(16))
    payload = request.SerializeToString()
    assert validate.logs(payload) == validate.Checked(payload, 5)


def test_an_index_in_the_body_of_a_log_record_is_warned_of():
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add()
    record.body.string_value_strindex = 4
    checked = validate.logs(request.SerializeToString())
    assert checked.items == 1
    assert "string_value_strindex were ignored" in checked.message


def test_one_answer_tells_all_that_became_of_log_records():
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    good = {"trace_id": b"t" * 16, "span_id": b"s" * 8}
    for odd in ({"time_unix_nano": 1 << 63}, {"trace_id": b"t"}, {"span_id": b"s"}, {}):
        records.add(**good | odd)
    records.add().body.string_value_strindex = 4
    checked = validate.logs(request.SerializeToString())
    del records[0]
    records[0].ClearField("trace_id")
    for record in records[:2]:
        record.ClearField("span_id")
    assert ExportLogsServiceRequest.FromString(checked.payload) == request
    assert (checked.items, checked.rejected) == (4, 1)
    assert re.fullmatch(
        r"1 of 5 log records were rejected .*\. 2 of 4 log records are stored without an id .*\."
        r" .*string_value_strindex were ignored.*",
        checked.message,
    )


def test_rejected_spans_do_not_hide_the_warning_about_the_others():
    request = request_of([[GOOD]])
    scope = request.resource_spans[0].scope_spans[0]
    scope.spans[0].attributes.add(key_strindex=3)
    assert "were rejected" not in validate.traces(request.SerializeToString()).message
    scope.spans.add(name="without ids")
    message = validate.traces(request.SerializeToString()).message
    assert re.match(r"1 of 2 spans were rejected: .* key_strindex", message)


@pytest.mark.parametrize("field", ["trace_id", "span_id"])
def test_of_an_id_that_a_log_record_has_twice_the_last_is_kept(field):
    size = {"trace_id": 16, "span_id": 8}[field]
    records = [LogRecord(**{field: bytes([n]) * size}) for n in (1, 2)]
    both = b"".join(each.SerializeToString() for each in records)
    scope = framing.length_delimited(2, framing.length_delimited(2, both))
    payload = framing.length_delimited(1, scope)
    wanted = ExportLogsServiceRequest.FromString(payload).SerializeToString()
    assert len(wanted) < len(payload)
    assert validate.logs(payload).payload == wanted
