"""What comes out of the store is the OTLP that went in, to the last field and type."""

import itertools
import math

import pytest
from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_vtrack.query import export
from otel_vtrack.wire import framing, validate

# Fields which OTLP has for profiles alone: a receiver of traces takes them as absent.
PROFILES_ONLY = {"AnyValue.string_value_strindex", "KeyValue.key_strindex"}
ID_LENGTHS = {"trace_id": 16, "span_id": 8, "parent_span_id": 8}


def sealed(data):
    """Every span by its ids, with what it sits in, as bytes and as text for people.

    Three differences mean nothing in OTLP and are evened out: an attribute's value that is
    absent or of no kind; a Resource, scope or Status that is absent or empty; how spans of one
    resource and scope are spread over messages.
    """
    found = {}
    for group in data.resource_spans:
        for scoped in group.scope_spans:
            for span in scoped.spans:
                kept = ExportTraceServiceRequest()
                outer = kept.resource_spans.add(schema_url=group.schema_url)
                outer.resource.CopyFrom(group.resource)
                inner = outer.scope_spans.add(schema_url=scoped.schema_url)
                inner.scope.CopyFrom(scoped.scope)
                inner.spans.add().CopyFrom(span)
                if not span.status.ByteSize():
                    inner.spans[0].ClearField("status")
                for owner in (
                    outer.resource,
                    inner.scope,
                    inner.spans[0],
                    *inner.spans[0].events,
                    *inner.spans[0].links,
                ):
                    for pair in owner.attributes:
                        pair.value.SetInParent()
                key = (span.trace_id, span.span_id)
                assert key not in found, "a span came twice"
                found[key] = (
                    text_format.MessageToString(kept),
                    kept.SerializeToString(deterministic=True),
                )
    return found


@pytest.fixture
def back(store, writer):
    """Write a request and return what the store gives back, sealed like the request."""

    def run(request, payload=None):
        writer.write_traces(payload or request.SerializeToString())
        found = {}
        for trace_id in {
            span.trace_id
            for group in request.resource_spans
            for scoped in group.scope_spans
            for span in scoped.spans
        }:
            found |= sealed(export.trace(store, trace_id.hex()))
        return found

    return run


# Values


def array(*values):
    made = AnyValue()
    made.array_value.SetInParent()
    made.array_value.values.extend(values)
    return made


def kvlist(*pairs):
    made = AnyValue()
    made.kvlist_value.SetInParent()
    made.kvlist_value.values.extend(KeyValue(key=key, value=value) for key, value in pairs)
    return made


def nested(depth):
    made = AnyValue(int_value=depth)
    for level in range(depth):
        made = array(made) if level % 2 else kvlist(("in", made))
    return made


VALUES = {
    "of no kind": AnyValue(),
    "text": AnyValue(string_value="plain"),
    "empty text": AnyValue(string_value=""),
    "unicode": AnyValue(string_value="naïve ß 漢字 🦜 \u202e \ufeff e\u0301"),
    "NUL and controls": AnyValue(string_value="a\x00b\t\n\r\\N\x1b\x7f"),
    "quotes and holes": AnyValue(string_value="'\"`\\ %s {x:String} {} $1 -- /* */;"),
    "text like a number": AnyValue(string_value="007"),
    "text like JSON": AnyValue(string_value='{"a": [1, null]}'),
    "long text": AnyValue(string_value="x" * 1_000_000),
    "true": AnyValue(bool_value=True),
    "false": AnyValue(bool_value=False),
    "zero": AnyValue(int_value=0),
    "greatest int": AnyValue(int_value=2**63 - 1),
    "least int": AnyValue(int_value=-(2**63)),
    "beyond a double": AnyValue(int_value=2**53 + 1),
    "zero double": AnyValue(double_value=0.0),
    "minus zero": AnyValue(double_value=-0.0),
    "whole double": AnyValue(double_value=12.0),
    "a tenth": AnyValue(double_value=0.1),
    "sum of tenths": AnyValue(double_value=0.1 + 0.2),
    "greatest double": AnyValue(double_value=1.7976931348623157e308),
    "least double": AnyValue(double_value=5e-324),
    "NaN": AnyValue(double_value=math.nan),
    "infinity": AnyValue(double_value=math.inf),
    "minus infinity": AnyValue(double_value=-math.inf),
    "bytes": AnyValue(bytes_value=bytes(range(256))),
    "no bytes": AnyValue(bytes_value=b""),
    "bytes that are text": AnyValue(bytes_value=b"text"),
    "empty array": array(),
    "array of texts": array(AnyValue(string_value="a"), AnyValue(string_value="")),
    "mixed array": array(
        AnyValue(int_value=1),
        AnyValue(string_value="1"),
        AnyValue(double_value=1),
        AnyValue(bool_value=True),
        AnyValue(bytes_value=b"\xff"),
        AnyValue(),
    ),
    "array of arrays": array(array(), array(array(AnyValue(int_value=-1)))),
    "empty kvlist": kvlist(),
    "kvlist": kvlist(("b", AnyValue(int_value=1)), ("a", AnyValue(double_value=math.nan))),
    "kvlist with a key twice": kvlist(("a", AnyValue(int_value=1)), ("a", AnyValue(int_value=2))),
    "kvlist with an empty key": kvlist(("", kvlist(("", AnyValue())))),
    "deep": nested(36),
}


def test_the_values_here_are_of_every_kind_that_AnyValue_has():  # noqa: N802
    kinds = {field.name for field in AnyValue.DESCRIPTOR.oneofs_by_name["value"].fields}
    kinds = {kind for kind in kinds if f"AnyValue.{kind}" not in PROFILES_ONLY}
    assert {value.WhichOneof("value") for value in VALUES.values()} == kinds | {None}


def owners(span, group):
    """Whatever has attributes."""
    scope = group.scope_spans[0].scope
    event, link = span.events.add(name="e"), span.links.add(trace_id=bytes(16), span_id=bytes(8))
    return {"span": span, "event": event, "link": link, "scope": scope, "resource": group.resource}


@pytest.mark.parametrize("place", ["span", "event", "link", "scope", "resource"])
def test_a_value_of_any_kind_comes_back_as_it_was(otlp, back, place):
    sent = otlp.request()
    for number, value in enumerate(VALUES.values(), start=1):
        one = otlp.request(otlp.span(number))
        group = one.resource_spans[0]
        owner = owners(group.scope_spans[0].spans[0], group)[place]
        owner.attributes.add(key="before").value.int_value = 1
        owner.attributes.add(key="it").value.CopyFrom(value)
        owner.attributes.add(key="after").value.string_value = "2"
        sent.resource_spans.append(group)
    assert back(sent) == sealed(sent)


@pytest.mark.parametrize("place", ["span", "event", "link", "scope", "resource"])
def test_keys_that_are_odd_or_repeated_keep_their_order_and_values(otlp, back, place):
    sent = otlp.request(otlp.span())
    group = sent.resource_spans[0]
    owner = owners(group.scope_spans[0].spans[0], group)[place]
    for number, key in enumerate(["z", "", "a", "z", "ключ", "a b\x00'\"\\", "z", "service.name"]):
        owner.attributes.add(key=key).value.int_value = number
    assert back(sent) == sealed(sent)


def test_a_key_without_value_comes_back_as_a_value_of_no_kind(otlp, back, store):
    sent = otlp.request(otlp.span(attributes={"first": 1}))
    span = sent.resource_spans[0].scope_spans[0].spans[0]
    span.attributes.add(key="bare")
    otlp.add_attributes(span, {"last": "x"})
    assert back(sent) == sealed(sent)


# Fields


def fill(message, count):
    """Set every field of a message and of those inside it to a value of its own."""
    for field in message.DESCRIPTOR.fields:
        name = f"{message.DESCRIPTOR.name}.{field.name}"
        if name in PROFILES_ONLY:
            continue
        if message.DESCRIPTOR.name == "KeyValue" and field.name == "value":
            fill_value(message.value, next(count))
        elif field.message_type and field.is_repeated:
            # Attributes: one of each kind of value. Others: two, to be told apart.
            for _ in range(2 if field.message_type.name != "KeyValue" else 9):
                fill(getattr(message, field.name).add(), count)
        elif field.message_type:
            fill(getattr(message, field.name), count)
        elif field.is_repeated:
            getattr(message, field.name).extend([scalar(field, count), scalar(field, count)])
        else:
            setattr(message, field.name, scalar(field, count))


def fill_value(value, number):
    kinds = [VALUES[name] for name in ("text", "true", "bytes", "mixed array", "kvlist", "deep")]
    kinds += [AnyValue(int_value=number), AnyValue(double_value=number / 7), AnyValue()]
    value.CopyFrom(kinds[number % len(kinds)])


def scalar(field, count):
    number = next(count)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        if field.type == FieldDescriptor.TYPE_BYTES:
            return number.to_bytes(ID_LENGTHS[field.name], "big")
        return f"{field.name}-{number}"
    if field.enum_type:
        return max(field.enum_type.values_by_number)
    # Times, counts and flags.
    return 1_780_000_000_000_000_000 + number if field.name.endswith("nano") else number


def full_request():
    sent = ExportTraceServiceRequest()
    fill(sent, itertools.count(1))
    for group in sent.resource_spans:
        for scoped in group.scope_spans:
            for span in scoped.spans:
                span.trace_id = bytes(15) + b"\x01"
    return sent


def set_fields(message, found):
    for field, value in message.ListFields():
        found.add(f"{message.DESCRIPTOR.name}.{field.name}")
        if field.message_type:
            for inner in value if field.is_repeated else [value]:
                set_fields(inner, found)
    return found


def declared_fields(descriptor, found):
    for field in descriptor.fields:
        name = f"{descriptor.name}.{field.name}"
        if name not in found:
            found.add(name)
            if field.message_type:
                declared_fields(field.message_type, found)
    return found


def test_every_field_of_OTLP_comes_back(back):  # noqa: N802
    sent = full_request()
    declared = declared_fields(ExportTraceServiceRequest.DESCRIPTOR, set())
    assert set_fields(sent, set()) == declared - PROFILES_ONLY
    found, expected = back(sent), sealed(sent)
    assert len(expected) == 8
    assert found == expected


def test_nothing_but_the_ids_comes_back_as_nothing(back, otlp):
    sent = ExportTraceServiceRequest()
    sent.resource_spans.add().scope_spans.add().spans.add(
        trace_id=otlp.trace_id(5), span_id=otlp.span_id(6)
    )
    assert back(sent) == sealed(sent)


def test_an_enum_value_of_the_future_comes_back(back, otlp):
    sent = otlp.request(otlp.span(kind=77, status=99, flags=2**32 - 1))
    assert back(sent) == sealed(sent)


def test_a_parent_of_zeros_comes_back_as_none(back, otlp):
    span = otlp.span()
    span.parent_span_id = bytes(8)
    found = back(otlp.request(span))
    span.parent_span_id = b""
    assert found == sealed(otlp.request(span))


def test_links_may_have_ids_of_any_length(back, otlp):
    span = otlp.span()
    span.links.add()
    span.links.add(trace_id=b"\xff" * 20, span_id=b"\x00")
    sent = otlp.request(span)
    assert back(sent) == sealed(sent)


def test_resources_scopes_and_spans_stay_apart_when_many_come_at_once(back, otlp):
    sent = ExportTraceServiceRequest()
    count = itertools.count(1)
    # Empty ones between them must not shift anything.
    for resource in range(4):
        group = sent.resource_spans.add(schema_url=f"r{resource}" if resource % 2 else "")
        if resource != 2:
            otlp.add_attributes(group.resource, {"service.name": f"s{resource}", "n": resource})
        for scope in range(resource):
            scoped = group.scope_spans.add(schema_url=f"s{scope}" if scope % 2 else "")
            if scope:
                scoped.scope.name = f"scope{scope}"
            for _ in range(scope * 2):
                number = next(count)
                span = scoped.spans.add()
                span.CopyFrom(
                    otlp.span(number, trace=1 + number % 2, name=f"n{number}", status=number % 3)
                )
                if number % 3 == 0:
                    span.ClearField("status")
                for event in range(number % 4):
                    span.events.add(name=f"e{event}").attributes.add(key="k")
    expected = sealed(sent)
    assert len(expected) == 8
    assert back(sent) == expected


def test_a_hundred_thousand_attributes_on_a_span_come_back(back, otlp):
    sent = otlp.request(otlp.span(attributes={f"key.{n}": n for n in range(100_000)}))
    assert back(sent) == sealed(sent)


# What encoders seldom write, and parsers read


def test_of_a_field_that_is_there_twice_the_last_counts_and_messages_are_merged(back, otlp):
    """Between spans that have it once or not, so that no count of all of them tells."""
    count = itertools.count(1)
    part = framing.length_delimited

    def filled(kind):
        message = kind()
        fill(message, count)
        return message

    def twice(kind):
        return filled(kind).SerializeToString() + filled(kind).SerializeToString()

    first, last = filled(Span), filled(Span)
    # Of these it is known how many there are.
    for name in ("trace_id", "span_id", "start_time_unix_nano", "end_time_unix_nano"):
        first.ClearField(name)
    last.status.ClearField("code")
    first.status.ClearField("message")
    span = first.SerializeToString() + part(11, twice(Span.Event)) + last.SerializeToString()
    others = [otlp.span(number, trace=7, name="other") for number in range(1, 5)]
    spans = [each.SerializeToString() for each in others]
    spans[2:2] = [span]
    scoped = part(1, twice(InstrumentationScope)) * 2 + b"".join(part(2, each) for each in spans)
    group = part(1, twice(Resource)) * 2 + part(2, scoped + part(3, b"a") + part(3, b"b"))
    payload = part(1, group + part(3, b"c") + part(3, b"d"))
    # The engine reads these very bytes.
    assert validate.traces(payload).payload is payload
    request = ExportTraceServiceRequest.FromString(payload)
    assert back(request, payload) == sealed(request)


ODD = {
    # Field 1, string_value, before or after the int_value that is there: the last one counts.
    "a value of two kinds": (b"\x0a\x01x", b""),
    "a value of two kinds, turned": (b"", b"\x0a\x01x"),
    "a kind of another wire type": (b"", b"\x25\x00\x00\x00\x00"),
    "an unknown group": (b"", b"\x9b\x06\x08\x01\x9c\x06"),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("signal", ["traces", "logs"])
def test_what_a_parser_reads_is_kept_however_it_was_written(store, writer, otlp, *, signal, odd):
    value = AnyValue(int_value=7).SerializeToString()
    before, after = ODD[odd]
    pair = framing.length_delimited(1, b"k") + framing.length_delimited(2, before + value + after)
    neighbours = []
    for number in (1, 2):
        if signal == "traces":
            request = otlp.request(otlp.span(number, trace=number))
            inner = request.resource_spans[0].scope_spans[0].spans[0]
        else:
            request = otlp.logs(otlp.record(time_unix_nano=otlp.T0 + number))
            inner = request.resource_logs[0].scope_logs[0].log_records[0]
        neighbours.append((request, inner))
    (request, inner), (good, _) = neighbours
    attributes = {"traces": 9, "logs": 6}[signal]
    item = inner.SerializeToString() + framing.length_delimited(attributes, pair)
    odd_request = framing.with_experiment(
        framing.length_delimited(1, framing.length_delimited(2, framing.length_delimited(2, item))),
        "mine",
    )
    check = getattr(validate, signal)
    payload = odd_request + good.SerializeToString()
    assert check(payload).payload[-20:] == payload[-20:]
    getattr(writer, f"write_{signal}")(payload)
    table = {"traces": "spans", "logs": "log_records"}[signal]
    rows = store.select(f"SELECT experiment, attributes FROM {table} ORDER BY experiment = 'mine'")
    expected = inner.FromString(item).attributes[-1].value
    text = expected.string_value or str(expected.int_value)
    assert [row["attributes"].get("k") for row in rows] == [None, text]
    assert rows[1]["experiment"] == "mine"
