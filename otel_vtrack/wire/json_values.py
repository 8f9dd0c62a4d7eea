"""Converts one OTLP JSON value to the value of one protobuf field, and back.

Readers raise `Unfit` for a value of the wrong kind. Its text never contains the value, which may
be a secret.
"""

import base64
import binascii
import math
import re
from collections.abc import Callable
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor

_HEX_FIELDS: Final = frozenset({"trace_id", "span_id", "parent_span_id"})
_FROM_URL_ALPHABET: Final = str.maketrans("-_", "+/")
_INTEGER: Final = re.compile(r"-?[0-9]+\Z")
_SPECIAL_NUMBERS: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

Scalar = Callable[[Any], Any]

_F = FieldDescriptor
_LONG: Final = frozenset(
    {_F.TYPE_INT64, _F.TYPE_UINT64, _F.TYPE_SINT64, _F.TYPE_FIXED64, _F.TYPE_SFIXED64}
)
_DOUBLES: Final = frozenset({_F.TYPE_DOUBLE, _F.TYPE_FLOAT})


class Unfit(ValueError):
    """Reports what is wrong with a value, and its path, innermost step first."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.path: list[str] = []


def reader(field: FieldDescriptor) -> Scalar:
    """Return the converter from JSON values to values of a non-message field."""
    if field.type == _F.TYPE_STRING:
        return _text
    if field.type == _F.TYPE_BYTES:
        return _hex if field.name in _HEX_FIELDS else _base64
    if field.type == _F.TYPE_BOOL:
        return _bool
    if field.type == _F.TYPE_ENUM:
        return _enum
    return _double if field.type in _DOUBLES else _integer


def _text(value: Any) -> str:
    if type(value) is not str:
        raise Unfit(f"expected a string, got {kind_of(value)}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Unfit("the string has half of a surrogate pair; send whole ones") from None
    return value


def _hex(value: Any) -> bytes:
    if type(value) is not str:
        raise Unfit(f"expected an id in hex, got {kind_of(value)}")
    try:
        return binascii.unhexlify(value)
    except ValueError:
        raise Unfit("the id is not hex; OTLP JSON writes ids in hex, not base64") from None


def _base64(value: Any) -> bytes:
    if type(value) is not str:
        raise Unfit(f"expected base64, got {kind_of(value)}")
    # Both alphabets, with and without padding, as protobuf's JSON mapping accepts them.
    text = value.translate(_FROM_URL_ALPHABET).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise Unfit("the bytes are not base64; encode them as base64") from None


def _bool(value: Any) -> bool:
    if type(value) is not bool:
        raise Unfit(f"expected true or false, got {kind_of(value)}")
    return value


def _enum(value: Any) -> int:
    if type(value) is str:
        raise Unfit("OTLP JSON writes enums as numbers, not names; send the number")
    return _integer(value)


def _integer(value: Any) -> int:
    kind = type(value)
    if kind is int:
        return value
    if kind is str and len(value) <= 20 and _INTEGER.match(value):
        return int(value)
    if kind is float and value.is_integer():
        return int(value)
    raise Unfit(f"expected an integer, as a number or a string, got {kind_of(value)}")


def _double(value: Any) -> float:
    kind = type(value)
    if kind is float:
        return value
    if kind is int:
        try:
            return float(value)
        except OverflowError:
            raise Unfit("the number is too large for a double; send it as a string") from None
    if kind is str:
        special = _SPECIAL_NUMBERS.get(value)
        if special is not None:
            return special
        try:
            return float(value)
        except ValueError:
            pass
    raise Unfit(f"expected a number, got {kind_of(value)}")


def kind_of(value: Any) -> str:
    """Return the name of a JSON value's type, for errors: the value may be a secret."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}
    return names.get(type(value), "null" if value is None else "a number")


def writer(field: FieldDescriptor) -> Scalar:
    """Return the converter from values of a non-message field to JSON."""
    if field.type == _F.TYPE_BYTES:
        return bytes.hex if field.name in _HEX_FIELDS else _base64_of
    if field.type in _LONG:
        return str
    return _number_of if field.type in _DOUBLES else _same


def _base64_of(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _number_of(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _same(value: Any) -> Any:
    return value
