"""Convert values between Python and protobuf."""

import json
import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar, cast

from google.protobuf import struct_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

T = TypeVar("T")

_EXACT: Final = 1 << 53


class Unset:
    """The type of `UNSET`."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset()
"""Default of arguments for which None is a valid value."""


def listed(values: Iterable[T]) -> list[T]:
    """Return values as a list; a single text is the only one, and not a list of its letters."""
    return [cast("T", values)] if isinstance(values, str) else list(values)


def timestamp(moment: datetime | None) -> Timestamp | None:
    """Convert a time to a Timestamp; one without a time zone is taken as UTC."""
    if moment is None:
        return None
    assert_time(moment)
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def assert_time(moment: Any) -> None:
    """Check the type of a time.

    Raises:
        TypeError: It is not a datetime, but for example a text.
    """
    if not isinstance(moment, datetime):
        raise TypeError(f"a time is a datetime, such as datetime.now(timezone.utc), not {moment!r}")


def duration(length: timedelta | None) -> Duration | None:
    """Convert a timedelta to a Duration."""
    if length is None:
        return None
    assert_duration(length)
    message = Duration()
    message.FromTimedelta(length)
    return message


def assert_duration(length: Any) -> None:
    """Check the type of a duration.

    Raises:
        TypeError: It is not a timedelta, but for example a number.
    """
    if not isinstance(length, timedelta):
        raise TypeError(f"a duration is a timedelta, such as timedelta(seconds=2), not {length!r}")


def nanoseconds(message: Timestamp | Duration) -> int:
    """Return a Timestamp as nanoseconds since 1970, or a Duration as nanoseconds."""
    return message.seconds * 1_000_000_000 + message.nanos


def choice(kind: Any, value: int | str | None) -> Any:
    """Return the number of an enum value.

    Args:
        kind: The enum.
        value: Number, name, or name without the enum's prefix, case-insensitive: `error` for
            TRACE_STATE_ERROR. None means unspecified, which is 0.

    Raises:
        ValueError: The enum has no value of that name.
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
    """Return the common prefix of an enum's names; the first name ends in UNSPECIFIED."""
    return names[0].removesuffix("UNSPECIFIED")


def to_value(value: Any) -> struct_pb2.Value:
    """Convert a number, boolean, string, None, list or mapping, nested to any depth, to a Value.

    NumPy scalars are converted to their Python equivalents.

    Raises:
        TypeError: A value is of another type.
        ValueError: A number is not finite, or is an integer that no double represents exactly.
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
    """Convert a Value to Python; whole numbers below 2^53 in magnitude become int."""
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
    """Serialize a value as JSON on one line."""
    return json.dumps(value, ensure_ascii=False, default=str)
