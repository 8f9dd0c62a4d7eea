"""OTLP JSON's rules, each by name, and the round trip of everything."""

import base64
import gc
import json
import math

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor as F
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_vtrack.errors import WireError
from otel_vtrack.wire import otlp_json

SCALARS = {
    F.TYPE_STRING: st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    F.TYPE_BYTES: st.binary(max_size=16),
    F.TYPE_BOOL: st.booleans(),
    F.TYPE_DOUBLE: st.floats(allow_nan=False),
    F.TYPE_ENUM: st.integers(0, 5),
    F.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    F.TYPE_SINT32: st.integers(-(2**31), 2**31 - 1),
    F.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    F.TYPE_SFIXED64: st.integers(-(2**63), 2**63 - 1),
    F.TYPE_UINT32: st.integers(0, 2**32 - 1),
    F.TYPE_FIXED32: st.integers(0, 2**32 - 1),
    F.TYPE_UINT64: st.integers(0, 2**64 - 1),
    F.TYPE_FIXED64: st.integers(0, 2**64 - 1),
}


@st.composite
def messages(draw, kind, depth=0):
    """Draw a message of any of its fields, to a depth of seven."""
    message = kind()
    fields = [f for f in kind.DESCRIPTOR.fields if depth < 7 or f.type != F.TYPE_MESSAGE]
    for field in draw(
        st.lists(
            st.sampled_from(fields or [None]),
            max_size=4 if fields else 0,
            unique_by=lambda f: f.name,
        )
    ):
        if field.type == F.TYPE_MESSAGE:
            inner = messages(field.message_type._concrete_class, depth + 1)
            if field.is_repeated:
                getattr(message, field.name).extend(draw(st.lists(inner, max_size=2)))
            else:
                getattr(message, field.name).CopyFrom(draw(inner))
                getattr(message, field.name).SetInParent()
        elif field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(SCALARS[field.type], max_size=3)))
        else:
            setattr(message, field.name, draw(SCALARS[field.type]))
    return message


REQUESTS = [ExportTraceServiceRequest, ExportLogsServiceRequest, ExportMetricsServiceRequest]


@pytest.mark.parametrize("kind", REQUESTS)
@settings(deadline=None)
@given(data=st.data())
def test_a_message_comes_back_from_json_as_it_was(kind, data):
    message = data.draw(messages(kind))
    back = kind()
    otlp_json.read(otlp_json.write(message).encode(), back)
    assert back == message


@settings(deadline=None)
@given(messages(ExportTraceServiceRequest))
def test_json_is_protobufs_own_but_for_ids_and_enums(message):
    def as_protobuf_would(value, key=""):
        if isinstance(value, dict):
            return {name: as_protobuf_would(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [as_protobuf_would(item, key) for item in value]
        if key in {"traceId", "spanId", "parentSpanId"}:
            return base64.b64encode(bytes.fromhex(value)).decode()
        return value

    theirs = json_format.MessageToJson(message, use_integers_for_enums=True)
    ours = as_protobuf_would(otlp_json.as_object(message))
    assert json_format.Parse(json.dumps(ours), ExportTraceServiceRequest()) == message
    assert ours == json.loads(theirs)


def read_span(**fields) -> Span:
    request = ExportTraceServiceRequest()
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [fields]}]}]}
    otlp_json.read(json.dumps(body).encode(), request)
    return request.resource_spans[0].scope_spans[0].spans[0]


def read_value(value):
    return read_span(attributes=[{"key": "k", "value": value}]).attributes[0].value


def refused(**fields) -> str:
    with pytest.raises(WireError) as caught:
        read_span(**fields)
    return str(caught.value)


AT = "$.resourceSpans[0].scopeSpans[0].spans[0]"


def test_ids_are_hex_in_either_case_everywhere():
    link = {"traceId": "AbCd" * 8, "spanId": "eF" * 8}
    span = read_span(traceId="5B8EFFF798038103D269B633813FC60C", spanId="eee19b7ec3c1b174",
                     parentSpanId="EEE19b7ec3c1b173", links=[link])  # fmt: skip
    assert span.trace_id.hex() == "5b8efff798038103d269b633813fc60c"
    assert span.span_id.hex() == "eee19b7ec3c1b174"
    assert span.parent_span_id.hex() == "eee19b7ec3c1b173"
    assert span.links[0].trace_id == b"\xab\xcd" * 8
    assert span.links[0].span_id == b"\xef" * 8
    logs = ExportLogsServiceRequest()
    record = {"traceId": "01" * 16, "spanId": "02" * 8}
    otlp_json.read(
        json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}).encode(), logs
    )
    assert logs.resource_logs[0].scope_logs[0].log_records[0].trace_id == b"\x01" * 16


@pytest.mark.parametrize("given", ["W47/95gDgQPSabYzgT/GDA==", "abc", "zz", 5, "0x01"])
def test_an_id_that_is_not_hex_is_refused(given):
    assert refused(traceId=given).startswith(f"{AT}.traceId: ")
    assert "hex" in refused(traceId=given)


@pytest.mark.parametrize("given", ["/wD+", "_wD-", "/w=="])
def test_other_bytes_are_base64_of_either_alphabet(given):
    expected = base64.b64decode(given.replace("_", "/").replace("-", "+"))
    assert read_value({"bytesValue": given}).bytes_value == expected


def test_bytes_that_are_not_base64_are_refused():
    assert "not base64" in refused(attributes=[{"key": "k", "value": {"bytesValue": "?"}}])


def test_enums_are_numbers():
    span = read_span(kind=2, status={"code": 2})
    assert (span.kind, span.status.code) == (2, 2)


@pytest.mark.parametrize("name", ["SPAN_KIND_SERVER", "2", ""])
def test_an_enum_by_name_is_refused_where_it_stands(name):
    assert refused(kind=name) == (
        f"{AT}.kind: OTLP JSON writes enums as numbers, not names; send the number"
    )


def test_an_enum_number_nobody_knows_is_kept():
    assert read_span(kind=77).kind == 77


def test_only_lower_camel_case_keys_are_known():
    span = read_span(trace_id="01" * 16, start_time_unix_nano="5", Name="x", name="y")
    assert (span.trace_id, span.start_time_unix_nano, span.name) == (b"", 0, "y")


def test_unknown_fields_are_ignored_at_every_depth():
    unknown = {"new": {"deep": [1, {"a": None}]}, "other": "x"}
    request = ExportTraceServiceRequest()
    body = {
        **unknown,
        "resourceSpans": [
            {
                **unknown,
                "resource": {**unknown, "attributes": [{**unknown, "key": "k"}]},
                "scopeSpans": [{**unknown, "spans": [{**unknown, "name": "s"}]}],
            }
        ],
    }
    otlp_json.read(json.dumps(body).encode(), request)
    assert request.resource_spans[0].scope_spans[0].spans[0] == Span(name="s")
    assert request.resource_spans[0].resource.attributes[0].key == "k"


@pytest.mark.parametrize("given", [2**63 - 1, str(2**63 - 1), -5, "-5", 3.0, 0, "0"])
def test_64_bit_integers_are_strings_or_numbers(given):
    assert read_value({"intValue": given}).int_value == int(given)


def test_times_are_strings_or_numbers():
    latest = 2**64 - 1
    span = read_span(startTimeUnixNano=latest, endTimeUnixNano=str(latest))
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (latest, latest)


@pytest.mark.parametrize("given", [2**64, -1, "-1", str(2**64), 0.5, "1.5", "x", True, [], {}])
def test_a_time_that_does_not_fit_is_refused(given):
    assert refused(startTimeUnixNano=given).startswith(f"{AT}.startTimeUnixNano: ")


@pytest.mark.parametrize(
    ("given", "expected"),
    [("Infinity", math.inf), ("-Infinity", -math.inf), (1, 1.0), ("2.5", 2.5), (-0.0, -0.0)],
)
def test_doubles_are_numbers_or_their_names(given, expected):
    assert read_value({"doubleValue": given}).double_value == expected


def test_nan_is_a_double():
    assert math.isnan(read_value({"doubleValue": "NaN"}).double_value)


def test_an_empty_value_has_no_kind():
    span = read_span(attributes=[{"key": "k", "value": {}}, {"key": "l"}])
    assert [pair.HasField("value") for pair in span.attributes] == [True, False]
    assert span.attributes[0].value.WhichOneof("value") is None


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"stringValue": ""}, "string_value"),
        ({"boolValue": False}, "bool_value"),
        ({"intValue": "0"}, "int_value"),
        ({"doubleValue": 0}, "double_value"),
        ({"bytesValue": ""}, "bytes_value"),
        ({"arrayValue": {}}, "array_value"),
        ({"kvlistValue": {"values": []}}, "kvlist_value"),
    ],
)
def test_an_empty_value_of_a_kind_keeps_it(given, kind):
    assert read_value(given).WhichOneof("value") == kind


def test_key_value_lists_nest():
    value = read_value(
        {"kvlistValue": {"values": [{"key": "a", "value": {"arrayValue": {"values": [{}]}}}]}}
    )
    (pair,) = value.kvlist_value.values
    assert pair.key == "a"
    assert len(pair.value.array_value.values) == 1


def test_null_is_a_field_that_is_not_there():
    response = ExportTraceServiceResponse()
    otlp_json.read(b'{"partialSuccess":null}', response)
    assert response == ExportTraceServiceResponse()
    assert read_span(status=None, name=None, attributes=None, events=[None]) == Span(events=[{}])


def nested(levels: int) -> dict:
    value: dict = {"stringValue": "x"}
    for _ in range(levels):
        value = {"arrayValue": {"values": [value]}}
    return value


def test_values_nest_as_deep_as_protobuf_parsers_go():
    deep = read_value(nested(40))
    assert Span.FromString(Span(attributes=[{"key": "k", "value": deep}]).SerializeToString())
    assert "nested deeper than 100 levels" in refused(
        attributes=[{"key": "k", "value": nested(60)}]
    )


def test_json_of_any_depth_is_refused_without_harm():
    with pytest.raises(WireError, match="nested deeper"):
        otlp_json.read(b"[" * 1_000_000, Span())


@pytest.mark.parametrize("given", [b"", b"{", b"\xff{}", b"nul", b'{"a":1}x', b"[]", b"1", b"null"])
def test_what_is_no_json_object_is_refused(given):
    with pytest.raises(WireError):
        otlp_json.read(given, Span())


def test_garbage_is_looked_for_again_after_a_body_good_or_bad():
    many = b'{"name": [%s{}]}' % (b"[]," * 20_000)
    collections = []
    gc.callbacks.append(lambda *told: collections.append(told))
    try:
        with pytest.raises(WireError):
            otlp_json.read(many, Span())
        # One or two may come of what is around it; of its parse there would be some thirty.
        assert len(collections) < 10
    finally:
        gc.callbacks.pop()
    with pytest.raises(WireError):
        otlp_json.read(b"{", Span())
    assert gc.isenabled()


def test_a_number_of_thousands_of_digits_is_refused_in_words_that_help_its_sender():
    with pytest.raises(WireError) as caught:
        otlp_json.read(b'{"name": %s}' % (b"1" * 5_000), Span())
    assert "set_int_max_str_digits" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"name": 5}, ".name"),
        ({"attributes": {}}, ".attributes"),
        ({"attributes": [{"key": "a"}, 5]}, ".attributes[1]"),
        ({"status": "OK"}, ".status"),
        ({"attributes": [{"key": "a", "value": {"boolValue": "true"}}]},
         ".attributes[0].value.boolValue"),
        ({"droppedAttributesCount": -1}, ".droppedAttributesCount"),
        ({"name": "\ud800"}, ".name"),
    ],
)  # fmt: skip
def test_an_error_names_the_path_and_not_the_value(fields, path):
    assert refused(**fields).startswith(f"{AT}{path}: ")


def test_what_is_refused_is_not_repeated():
    said = refused(attributes=[{"key": "a", "value": {"intValue": "hunter2"}}])
    assert "hunter2" not in said
