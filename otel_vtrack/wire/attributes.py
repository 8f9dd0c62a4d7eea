"""Converts the store's attributes back to OTLP, including their kinds.

The store keeps attributes as three parallel lists: names, texts and kinds. A kind is the field
number of AnyValue: 0 none, 1 string, 2 bool, 3 int, 4 double, 5 array, 6 kvlist, 7 bytes. The
text of the last three is their bytes on the wire.
"""

from typing import Any, NamedTuple

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from otel_vtrack.errors import StoreError


class Attributes(NamedTuple):
    """Attributes as the store has them, in the order received.

    Attributes:
        names: Their names, which may repeat.
        texts: Their values as bytes.
        kinds: Their kinds.
    """

    names: tuple[str, ...]
    texts: tuple[bytes, ...]
    kinds: bytes

    def fill(self, pairs: Any) -> None:
        """Append them to a repeated KeyValue field.

        Raises:
            StoreError: The lists differ in length, or a text does not fit its kind.
        """
        for name, text, kind in self._each():
            pair = pairs.add(key=name)
            # Otherwise a value without a kind would be absent instead of empty.
            pair.value.SetInParent()
            set_value(pair.value, text, kind)

    def get(self, name: str) -> tuple[int, bytes]:
        """Return kind and text of the first attribute of this name; (0, b"") if there is none."""
        if name not in self.names:
            return 0, b""
        at = self.names.index(name)
        return self.kinds[at], self.texts[at]

    def _each(self) -> "zip[tuple[str, bytes, int]]":
        if len(self.kinds) != len(self.names):
            raise StoreError("the store's attributes and their kinds differ in number; report it")
        return zip(self.names, self.texts, self.kinds, strict=True)


def set_value(value: AnyValue, text: bytes, kind: int) -> None:
    """Set a value from its text and kind.

    Raises:
        StoreError: The text does not fit the kind, or the kind is unknown.
    """
    try:
        match kind:
            case 0:
                pass
            case 1:
                value.string_value = text.decode()
            case 2:
                value.bool_value = text == b"true"
            case 3:
                value.int_value = int(text)
            case 4:
                value.double_value = float(text)  # reads nan, inf, -inf and -0 too
            case 5:
                value.array_value.SetInParent()
                value.array_value.MergeFromString(text)
            case 6:
                value.kvlist_value.SetInParent()
                value.kvlist_value.MergeFromString(text)
            case 7:
                value.bytes_value = text
            case _:
                raise StoreError(f"attributes of kind {kind} are from a newer release: upgrade")
    except (ValueError, DecodeError) as error:
        raise StoreError(f"an attribute of kind {kind} cannot be read back: {error}") from error
