"""Converts attribute values of any kind: serialized AnyValue to Python and back, without loss.

| AnyValue | Python |
|---|---|
| no field set | `None` |
| string, bool, int, double, bytes | `str`, `bool`, `int`, `float`, `bytes` |
| array_value | `list` |
| kvlist_value | `dict`, in order; for a duplicate key, the last value |
"""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from otel_vtrack.errors import WireError

Value: TypeAlias = "str | bool | int | float | bytes | Sequence[Value] | Mapping[str, Value] | None"


def from_bytes(raw: bytes) -> Value:
    """Decode a serialized AnyValue.

    Raises:
        WireError: The bytes are not an AnyValue.
    """
    try:
        return from_message(AnyValue.FromString(raw))
    except DecodeError:
        raise WireError("the bytes are not an AnyValue; pass a serialized one") from None


def from_message(value: AnyValue) -> Value:
    """Convert an AnyValue to a Python value."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [from_message(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: from_message(pair.value) for pair in value.kvlist_value.values}
    # An index into the dictionary of profiles is meaningless outside of them.
    if kind is None or kind == "string_value_strindex":
        return None
    return cast("Value", getattr(value, kind))


def to_bytes(value: Value) -> bytes:
    """Serialize a value as AnyValue."""
    return to_message(value).SerializeToString()


def to_message(value: Value) -> AnyValue:
    """Convert a value to an AnyValue.

    Raises:
        WireError: AnyValue has no kind for its type, or an integer is too large.
    """
    message = AnyValue()
    _set(message, value)
    return message


def _set(message: AnyValue, value: Any) -> None:  # noqa: C901 - one case per kind
    # bool before int, as True is an int too.
    match value:
        case None:
            pass
        case str():
            message.string_value = value
        case bool():
            message.bool_value = value
        case int():
            try:
                message.int_value = value
            except ValueError:
                raise WireError("an integer has at most 64 bits; send it as text") from None
        case float():
            message.double_value = value
        case bytes():
            message.bytes_value = value
        case Mapping():
            message.kvlist_value.SetInParent()
            for key, item in cast("Mapping[str, Any]", value).items():
                pair = message.kvlist_value.values.add(key=key)
                pair.value.SetInParent()
                _set(pair.value, item)
        case Sequence():
            message.array_value.SetInParent()
            for item in cast("Sequence[Any]", value):
                _set(message.array_value.values.add(), item)
        case _:
            raise WireError(f"{type(value).__name__} is not an attribute value; convert it first")


def to_json(value: Value) -> str:
    """Write a value as JSON for people: bytes as base64, NaN and infinities as text.

    `to_bytes` is the lossless form.
    """
    return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case bytes():
            return base64.b64encode(value).decode()
        case str():
            return value
        case Mapping():
            return {key: _plain(item) for key, item in cast("Mapping[str, Any]", value).items()}
        case Sequence():
            return [_plain(item) for item in cast("Sequence[Any]", value)]
        case _:
            return value
