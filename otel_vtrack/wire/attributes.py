"""The way back from the store's attributes to OTLP's, kinds included.

The store keeps attributes as names, texts and kinds, three arrays in step. A kind is the field
number of AnyValue: 0 none of them, 1 string, 2 bool, 3 int, 4 double, 5 array, 6 kvlist,
7 bytes. The text of the last three is the hex of their bytes on the wire.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from otel_vtrack.errors import StoreError


def fill(pairs: Any, names: Sequence[str], texts: Sequence[str], kinds: Sequence[int]) -> None:
    """Append KeyValues to a repeated field, in order; a name may occur more than once.

    Raises:
        StoreError: The three are not in step, or a text is not of its kind.
    """
    if not len(names) == len(texts) == len(kinds):
        raise StoreError("the store's attributes and their kinds differ in number; report this")
    for name, text, kind in zip(names, texts, kinds, strict=True):
        pair = pairs.add(key=name)
        # Without a value set, an encoder would leave out that there is one, of no kind.
        pair.value.SetInParent()
        set_value(pair.value, text, kind)


def set_value(value: AnyValue, text: str, kind: int) -> None:
    """Set one AnyValue from its text and kind.

    Raises:
        StoreError: The text is not of that kind.
    """
    try:
        match kind:
            case 0:
                pass
            case 1:
                value.string_value = text
            case 2:
                value.bool_value = text == "true"
            case 3:
                value.int_value = int(text)
            case 4:
                value.double_value = float(text)  # also reads nan, inf, -inf and -0
            case 5:
                value.array_value.SetInParent()
                value.array_value.MergeFromString(bytes.fromhex(text))
            case 6:
                value.kvlist_value.SetInParent()
                value.kvlist_value.MergeFromString(bytes.fromhex(text))
            case 7:
                value.bytes_value = bytes.fromhex(text)
            case _:
                raise StoreError(f"attribute kind {kind} is of a newer release; upgrade")
    except ValueError as error:
        raise StoreError(f"an attribute of kind {kind} does not read back: {error}") from error


def python_values(
    names: Iterable[str], texts: Iterable[str], kinds: Iterable[int]
) -> dict[str, Any]:
    """Read attributes as Python values (see `otel_vtrack.wire.anyvalue`); the first of a name."""
    from otel_vtrack.wire import anyvalue  # noqa: PLC0415

    found: dict[str, Any] = {}
    for name, text, kind in zip(names, texts, kinds, strict=True):
        if name not in found:
            message = AnyValue()
            set_value(message, text, kind)
            found[name] = anyvalue.from_message(message)
    return found
