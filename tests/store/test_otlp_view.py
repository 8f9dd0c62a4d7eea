"""The engine's view of OTLP has every field of OTLP, by the same number and encoding."""

from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FieldDescriptor as Field
from grpc_tools import protoc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_vtrack.store import sql
from otel_vtrack.wire import framing

# Fields of OTLP that the view leaves out, and why.
LEFT_OUT = {
    "AnyValue.string_value_strindex": "an index into the dictionary of profiles",
    "KeyValue.key_strindex": "an index into the dictionary of profiles",
}
# Messages that the view keeps as the bytes they are, and why.
ENCODED = {
    "AnyValue.array_value": "recursive, which a table's type cannot be",
    "AnyValue.kvlist_value": "recursive, which a table's type cannot be",
    "Resource.entity_refs": "rare, and each column costs every insert",
    "InstrumentationScope.attributes": "rare, and each column costs every insert",
    "Span.links": "rare, and each column costs every insert",
}
# What the view calls otherwise. Its outermost message stands for both kinds of request.
RENAMED = {
    "ExportTraceServiceRequest": "Envelope",
    "ExportLogsServiceRequest": "Envelope",
    "InstrumentationScope": "Scope",
}
OURS = {
    "ResourceSpans": {
        ("experiment", framing.EXPERIMENT_FIELD),
        ("adjusted_count", framing.ADJUSTED_COUNT_FIELD),
    },
    "ResourceLogs": {("experiment", framing.EXPERIMENT_FIELD)},
}

_VARINT = {Field.TYPE_INT32, Field.TYPE_INT64, Field.TYPE_UINT32, Field.TYPE_UINT64}
_VARINT |= {Field.TYPE_BOOL, Field.TYPE_ENUM}
_LENGTH = {Field.TYPE_STRING, Field.TYPE_BYTES, Field.TYPE_MESSAGE}


def encoding(field):
    """What a reader must agree on: wire type and, where one wire type has several, which."""
    if field.type in _VARINT:
        return "varint"
    if field.type in _LENGTH:
        return "length"
    return field.type  # Fixed and zigzag types differ from each other in meaning.


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    """Messages of otlp_view.proto by name, as protoc reads them."""
    path = Path(sql.view_proto_path())
    out = tmp_path_factory.mktemp("view") / "set"
    arguments = ["protoc", f"-I{path.parent}", f"--descriptor_set_out={out}", str(path)]
    assert protoc.main(arguments) == 0
    [file] = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindFileByName(file.name).message_types_by_name


def walk(message, seen):
    """Every message of OTLP that requests are made of."""
    if message.full_name in seen:
        return
    seen[message.full_name] = message
    for field in message.fields:
        if field.message_type and f"{message.name}.{field.name}" not in ENCODED:
            walk(field.message_type, seen)


def messages():
    seen = {}
    walk(ExportTraceServiceRequest.DESCRIPTOR, seen)
    walk(ExportLogsServiceRequest.DESCRIPTOR, seen)
    return list(seen.values())


def counterpart(view, message):
    return view[RENAMED.get(message.name, message.name)]


@pytest.mark.parametrize("message", messages(), ids=lambda message: message.full_name)
def test_every_field_has_its_number_and_encoding_in_the_view(view, message):
    for field in message.fields:
        name = f"{message.name}.{field.name}"
        if name in LEFT_OUT:
            continue
        ours = counterpart(view, message).fields_by_number.get(field.number)
        assert ours is not None, f"{name} has no home in otlp_view.proto"
        assert encoding(ours) == encoding(field), name
        assert ours.is_repeated == field.is_repeated, name
        assert ours.name == field.name or message.name in RENAMED, name
        if name in ENCODED:
            assert ours.type == Field.TYPE_BYTES, name
        elif field.message_type and message.name.startswith("Export"):
            assert ours.number == 1, name
        elif field.message_type:
            assert ours.message_type is counterpart(view, field.message_type), name
        # What is text there is checked as text here, and members of a oneof are one here.
        assert (ours.type == Field.TYPE_STRING) == (field.type == Field.TYPE_STRING), name
        assert bool(ours.containing_oneof) == bool(field.containing_oneof), name


@pytest.mark.parametrize("message", messages(), ids=lambda message: message.full_name)
def test_the_view_invents_nothing_but_our_private_fields(view, message):
    if message.name in {"ExportTraceServiceRequest", "ExportLogsServiceRequest"}:
        return
    invented = {
        (field.name, field.number)
        for field in counterpart(view, message).fields
        if field.number not in message.fields_by_number
    }
    assert invented == OURS.get(message.name, set())


def test_what_is_left_out_or_encoded_exists():
    fields = {f"{message.name}.{field.name}" for message in messages() for field in message.fields}
    assert set(LEFT_OUT) | set(ENCODED) <= fields


def test_every_message_of_the_view_is_read(view):
    assert {RENAMED.get(message.name, message.name) for message in messages()} == set(view)
