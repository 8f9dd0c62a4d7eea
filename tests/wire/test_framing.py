"""Framing by hand agrees with protobuf's own, and never runs past the end."""

import struct

import pytest
from google.protobuf.internal.encoder import _VarintBytes
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_vtrack.errors import WireError
from otel_vtrack.wire import framing

MARK = framing.length_delimited(framing.EXPERIMENT_FIELD, b"cart")


@given(st.integers(0, 2**64 - 1))
def test_numbers_are_encoded_as_protobuf_encodes_them(number):
    assert framing.varint(number) == _VarintBytes(number)


def a_request() -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    for name in ("a", "b"):
        group = request.resource_spans.add(schema_url=name)
        group.resource.attributes.add(key="service.name").value.string_value = name
        group.scope_spans.add().spans.add(name=name * 200)
    return request


def test_the_experiment_is_appended_to_every_resource_and_nothing_else_changes():
    plain = a_request()
    marked = framing.with_experiment(plain.SerializeToString(), "cart")
    read = ExportTraceServiceRequest.FromString(marked)
    for group in read.resource_spans:
        assert group.SerializeToString().endswith(MARK)
        group.DiscardUnknownFields()
    assert read == plain


def test_the_adjusted_count_stands_beside_the_experiment():
    payload = a_request().SerializeToString()
    marked = framing.with_experiment(payload, "cart", 2.5)
    count = b"\xd5\x3e" + struct.pack("<f", 2.5)
    assert framing.adjusted_count(2.5) == count
    for group in ExportTraceServiceRequest.FromString(marked).resource_spans:
        assert group.SerializeToString().endswith(MARK + count)
    assert framing.with_experiment(marked, "cart") == framing.with_experiment(payload, "cart")
    assert framing.with_experiment(marked, "") == payload


def test_marking_twice_leaves_the_last_mark_only():
    payload = a_request().SerializeToString()
    twice = framing.with_experiment(framing.with_experiment(payload, "first"), "cart")
    assert twice == framing.with_experiment(payload, "cart")
    assert framing.with_experiment(twice, "") == payload


# Number 1001 as varint, fixed64, length-delimited, group and fixed32.
FORGED = [
    b"\xc8\x3e\x01",
    b"\xc9\x3e" + bytes(8),
    b"\xca\x3e\x01x",
    b"\xcb\x3e\x0a\x01x\x13\x14\xcc\x3e",
    b"\xcd\x3e" + bytes(4),
    b"\xca\xbe\x00\x01x",
    # Number 1002 as fixed32 and varint.
    b"\xd5\x3e" + bytes(4),
    b"\xd0\x3e\x01",
]


@pytest.mark.parametrize("forged", FORGED)
def test_the_field_is_taken_out_in_every_wire_type(forged):
    inner = a_request().resource_spans[0].SerializeToString()
    payload = framing.length_delimited(1, forged + inner + forged)
    assert framing.with_experiment(payload, "") == framing.length_delimited(1, inner)


def test_other_top_level_fields_are_kept():
    payload = b"\x98\x06\x01" + framing.length_delimited(1, b"") + b"\xa2\x06\x01x"
    assert framing.with_experiment(payload, "") == payload


@given(st.binary(max_size=60))
def test_no_bytes_make_it_loop_or_fail_otherwise(raw):
    try:
        covered = b"".join(raw[start:end] for _, _, start, _, end in framing.fields(raw))
    except WireError:
        return
    assert covered == raw
