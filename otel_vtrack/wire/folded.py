"""Descriptors that fold a whole OTLP request into one message of each kind.

Protobuf merges a singular message that occurs twice, and appends to repeated fields inside it. So
a descriptor that declares `spans` singular and `trace_id` repeated parses any
ExportTraceServiceRequest into a single span that holds the trace IDs of all spans, in order. The
parse still checks every byte at every depth, including UTF-8, but creates some twenty messages
instead of thirty per span, which halves its cost. The IDs are one list instead of one Python
object per span.

The descriptors are derived from those of the opentelemetry-proto package, so they know every
field that it knows.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory
from google.protobuf.descriptor import FileDescriptor
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

_Field = descriptor_pb2.FieldDescriptorProto

TRACES: Final = trace_service_pb2.ExportTraceServiceRequest.DESCRIPTOR
LOGS: Final = logs_service_pb2.ExportLogsServiceRequest.DESCRIPTOR
METRICS: Final = metrics_service_pb2.ExportMetricsServiceRequest.DESCRIPTOR

# Scalars of which all values are needed, not only the last.
_COLLECTED: Final = frozenset(
    {
        "Span.trace_id",
        "Span.span_id",
        "Span.parent_span_id",
        "Span.start_time_unix_nano",
        "Span.end_time_unix_nano",
        "LogRecord.trace_id",
        "LogRecord.span_id",
        "LogRecord.time_unix_nano",
        "LogRecord.observed_time_unix_nano",
        "KeyValue.key_strindex",
        "AnyValue.string_value_strindex",
    }
)


def _files(file: FileDescriptor, seen: dict[str, FileDescriptor]) -> Iterable[FileDescriptor]:
    """List `file` and its imports, imports first."""
    for needed in file.dependencies:
        _files(needed, seen)
    seen.setdefault(file.name, file)
    return seen.values()


def _fold(
    kind: descriptor_pb2.DescriptorProto,
    opaque: Mapping[str, frozenset[str]],
    *,
    check_utf8: bool,
) -> None:
    for field in kind.field:
        path = f"{kind.name}.{field.name}"
        # Setting a member of a oneof would discard what the others have collected.
        field.ClearField("oneof_index")
        field.ClearField("proto3_optional")
        if field.type == _Field.TYPE_MESSAGE:
            field.label = _Field.LABEL_OPTIONAL
            if field.name in opaque.get(kind.name, ()):
                field.ClearField("type_name")
                field.type, field.label = _Field.TYPE_BYTES, _Field.LABEL_REPEATED
        elif field.type == _Field.TYPE_ENUM:
            field.type = _Field.TYPE_INT32
            field.ClearField("type_name")
        elif field.type == _Field.TYPE_STRING and not check_utf8:
            field.type = _Field.TYPE_BYTES
        if path in _COLLECTED:
            field.label = _Field.LABEL_REPEATED
    del kind.oneof_decl[:]
    for nested in kind.nested_type:
        _fold(nested, opaque, check_utf8=check_utf8)


def message_class(
    request: Any,
    opaque: Mapping[str, frozenset[str]] | None = None,
    *,
    check_utf8: bool = True,
) -> type[message.Message]:
    """Build the folded counterpart of a request's message class.

    Args:
        request: Descriptor of the message: `TRACES`, `LOGS` or `METRICS`.
        opaque: By message name, the message fields to keep as a list of their raw bytes.
        check_utf8: Whether text that is not UTF-8 fails the parse, as protobuf requires.
    """
    pool = descriptor_pool.DescriptorPool()
    for file in _files(request.file, {}):
        twin = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(twin)
        for kind in twin.message_type:
            _fold(kind, opaque or {}, check_utf8=check_utf8)
        pool.AddSerializedFile(twin.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(request.full_name))
