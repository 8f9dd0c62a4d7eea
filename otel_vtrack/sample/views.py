"""Partial protobuf views of a request: only the fields that sampling needs; the rest stays bytes.

Fields that a view does not declare are kept as unknown fields and serialized again with it.
"""

from collections.abc import Callable
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from otel_vtrack.wire import framing

_Field = descriptor_pb2.FieldDescriptorProto
_ONE: Final = _Field.LABEL_OPTIONAL
_MANY: Final = _Field.LABEL_REPEATED

# Message: name, number, type (or the name of another message) and whether it is repeated.
_MESSAGES: Final[dict[str, tuple[tuple[str, int, Any, Any], ...]]] = {
    "Request": (("groups", 1, "Group", _MANY),),
    "Group": (
        ("resource", 1, "Attributed1", _ONE),
        ("scopes", 2, "Scope", _MANY),
        ("experiment", framing.EXPERIMENT_FIELD, _Field.TYPE_BYTES, _ONE),
        ("adjusted_count", framing.ADJUSTED_COUNT_FIELD, _Field.TYPE_FLOAT, _ONE),
    ),
    "Scope": (("spans", 2, "Span", _MANY),),
    "Span": (
        ("trace_id", 1, _Field.TYPE_BYTES, _ONE),
        ("trace_state", 3, _Field.TYPE_BYTES, _ONE),
        ("parent_span_id", 4, _Field.TYPE_BYTES, _ONE),
        ("kind", 6, _Field.TYPE_INT32, _ONE),
        ("start", 7, _Field.TYPE_FIXED64, _ONE),
        ("end", 8, _Field.TYPE_FIXED64, _ONE),
        ("status", 15, "Status", _ONE),
        ("flags", 16, _Field.TYPE_FIXED32, _ONE),
    ),
    "Status": (("code", 3, _Field.TYPE_INT32, _ONE),),
    "Attributed1": (("attributes", 1, "KeyValue", _MANY),),
    "Attributed9": (("attributes", 9, "KeyValue", _MANY),),
    "KeyValue": (("key", 1, _Field.TYPE_BYTES, _ONE), ("value", 2, "AnyValue", _ONE)),
    "AnyValue": (
        ("string_value", 1, _Field.TYPE_BYTES, _ONE),
        ("bool_value", 2, _Field.TYPE_BOOL, _ONE),
        ("int_value", 3, _Field.TYPE_INT64, _ONE),
        ("double_value", 4, _Field.TYPE_DOUBLE, _ONE),
        ("array_value", 5, _Field.TYPE_BYTES, _ONE),
        ("bytes_value", 7, _Field.TYPE_BYTES, _ONE),
    ),
    "Raw": (("groups", 1, _Field.TYPE_BYTES, _MANY),),
    # Fields declared only to be written in order are lists, as they may arrive in pieces.
    "RawGroup": (
        ("resource", 1, _Field.TYPE_BYTES, _MANY),
        ("scopes", 2, "RawScope", _MANY),
        ("schema_url", 3, _Field.TYPE_BYTES, _MANY),
        ("experiment", framing.EXPERIMENT_FIELD, _Field.TYPE_BYTES, _MANY),
        ("adjusted_count", framing.ADJUSTED_COUNT_FIELD, _Field.TYPE_FLOAT, _ONE),
    ),
    "RawScope": (
        ("scope", 1, _Field.TYPE_BYTES, _MANY),
        ("spans", 2, _Field.TYPE_BYTES, _MANY),
        ("schema_url", 3, _Field.TYPE_BYTES, _MANY),
    ),
}


def _reader() -> Callable[[str], Any]:
    # proto2, which distinguishes an absent field from a zero one.
    file = descriptor_pb2.FileDescriptorProto(name="sample.proto", package="sample")
    for name, fields in _MESSAGES.items():
        kind = file.message_type.add(name=name)
        for field, number, type_, label in fields:
            made = kind.field.add(name=field, number=number, label=label)
            if isinstance(type_, str):
                made.type, made.type_name = _Field.TYPE_MESSAGE, f".sample.{type_}"
            else:
                made.type = type_
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return lambda name: message_factory.GetMessageClass(
        pool.FindMessageTypeByName(f"sample.{name}")
    )


_class: Final = _reader()
Request: Final = _class("Request")
Span: Final = _class("Span")
SpanAttributes: Final = _class("Attributed9")
Raw: Final = _class("Raw")
RawGroup: Final = _class("RawGroup")
