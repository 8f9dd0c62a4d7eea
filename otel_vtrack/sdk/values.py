"""Converts any value to one that a span attribute may hold in every SDK version.

The guarded merge bypasses the SDK's own checks, so its values are checked here, once.
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from otel_vtrack.sdk import guest

Scalar: TypeAlias = str | bool | int | float
Value: TypeAlias = Scalar | Sequence[str] | Sequence[bool] | Sequence[int] | Sequence[float]
Attributes: TypeAlias = Mapping[str, Value]

_INT64: Final = range(-(2**63), 2**63)


def clean(value: object) -> Value | None:
    """Return the value as a span attribute may hold it, or None for None.

    Lists, tuples and sets become tuples of one scalar type (text if mixed). Other types become
    text. Lone surrogates, as in undecodable environment variables, become `?`, and integers beyond
    64 bits become text: either would make the exporter drop the batch.
    """
    if value is None:
        return None
    if isinstance(value, list | tuple | set | frozenset):
        members = [_scalar(member) for member in value if member is not None]
        kinds = {type(member) for member in members}
        return tuple(members) if len(kinds) <= 1 else tuple(map(str, members))  # pyright: ignore[reportReturnType] - all of one type
    return _scalar(value)


def clean_all(attributes: Mapping[str, object]) -> dict[str, Value]:
    """Clean every value; drop those that are None, have no name or raise when read."""
    cleaned: dict[str, Value] = {}
    for name, given in attributes.items():
        try:
            value = clean(given)
        except Exception as error:  # noqa: BLE001 - raised by this value; the others are still good
            guest.swallow(error, f"reading the value of {name!r}")
            continue
        if name and value is not None:
            cleaned[_text(str(name))] = value
    return cleaned


def longest(attributes: Attributes) -> int:
    """Return the length of the longest text among the values, including members of sequences.

    Zero if there is no text.
    """
    return max(map(_length, attributes.values()), default=0)


def shorten(value: Value, length: int) -> Value:
    """Truncate a value's texts to a length, as the SDK would."""
    if isinstance(value, str):
        return value[:length]
    if isinstance(value, tuple):
        return tuple(member[:length] if isinstance(member, str) else member for member in value)  # pyright: ignore[reportReturnType] - member types do not change
    return value


def _length(value: Value) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, tuple):
        return max((len(member) for member in value if isinstance(member, str)), default=0)
    return 0


def _scalar(value: object) -> Scalar:
    # Exact types, even for a str-based Enum or a NumPy float, so that later code is not surprised.
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        number = int(value)
        return number if number in _INT64 else str(number)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return _text(str.__str__(value))
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return _text(str(value))


def _text(value: str) -> str:
    if value.isascii():
        return str(value)
    return value.encode(errors="replace").decode()
