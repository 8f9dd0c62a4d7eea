"""Python's values as those of protobuf, and back."""

import json
import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, cast

from google.protobuf import struct_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

_EXACT: Final = 1 << 53


class Unset:
    """The type of `UNSET`."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset()
"""Stands for what was not given, where None is a value."""


def timestamp(moment: datetime | None) -> Timestamp | None:
    """Make the message of a time; one without zone is taken as UTC."""
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def duration(length: timedelta | None) -> Duration | None:
    """Make the message of a duration."""
    if length is None:
        return None
    message = Duration()
    message.FromTimedelta(length)
    return message


def nanoseconds(message: Timestamp | Duration) -> int:
    """Return a Timestamp since 1970, or how long a Duration is."""
    return message.seconds * 1_000_000_000 + message.nanos


def choice(kind: Any, value: int | str | None) -> Any:
    """Return the number of an enum.

    Args:
        kind: The enum.
        value: Its number, its name, or its name without the prefix, in any case: `error` for
            TRACE_STATE_ERROR. None for the first one, which says nothing.

    Raises:
        ValueError: There is none of that name.
    """
    if value is None:
        return 0
    if not isinstance(value, str):
        return value
    names: list[str] = kind.keys()
    start = prefix(names)
    named = value.upper()
    for name in (named, start + named):
        if name in names:
            return kind.Value(name)
    known = ", ".join(name.removeprefix(start).lower() for name in names[1:])
    raise ValueError(f"{value!r} is none of {known}")


def prefix(names: list[str]) -> str:
    """Return what all names of an enum begin with; the first ends in UNSPECIFIED."""
    return names[0].removesuffix("UNSPECIFIED")


def to_value(value: Any) -> struct_pb2.Value:
    """Make the message of a number, boolean, string, None, list or mapping, however deep.

    Scalars of numpy are taken as what they hold.

    Raises:
        TypeError: It is of another type.
        ValueError: It is no finite number, or a whole one that no double is.
    """
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    if value is None:
        return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    if isinstance(value, bool):
        return struct_pb2.Value(bool_value=value)
    if isinstance(value, (int, float)):
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{value} is no finite number: say what it means in the rationale")
        if isinstance(value, int) and not _is_double(value):
            raise ValueError(
                f"{str(value)[:40]} has more digits than a number in a value, a double, holds:"
                " give it as a text"
            )
        return struct_pb2.Value(number_value=value)
    if isinstance(value, str):
        return struct_pb2.Value(string_value=value)
    if isinstance(value, Mapping):
        pairs = cast("Mapping[Any, Any]", value)
        fields = {str(key): to_value(each) for key, each in pairs.items()}
        return struct_pb2.Value(struct_value=struct_pb2.Struct(fields=fields))
    if isinstance(value, Iterable) and not isinstance(value, (bytes, bytearray)):
        values = [to_value(each) for each in cast("Iterable[Any]", value)]
        return struct_pb2.Value(list_value=struct_pb2.ListValue(values=values))
    raise TypeError(
        f"a value is a number, boolean, string, list or mapping, not {type(value).__name__}"
    )


def _is_double(number: int) -> bool:
    try:
        return int(float(number)) == number
    except OverflowError:
        return False


def from_value(message: struct_pb2.Value) -> Any:
    """Read what `to_value` made; whole numbers come back as int."""
    kind = message.WhichOneof("kind")
    if kind == "struct_value":
        return {key: from_value(each) for key, each in message.struct_value.fields.items()}
    if kind == "list_value":
        return [from_value(each) for each in message.list_value.values]
    if kind == "number_value":
        number = message.number_value
        return int(number) if number.is_integer() and abs(number) < _EXACT else number
    if kind in {"string_value", "bool_value"}:
        return getattr(message, kind)
    return None


def as_json(value: Any) -> str:
    """Write a value on one line."""
    return json.dumps(value, ensure_ascii=False, default=str)
