"""The way back from the store's attributes to OTLP's, kinds included.

The store keeps attributes as names, texts and kinds, three lists in step. A kind is the field
number of AnyValue: 0 none of them, 1 string, 2 bool, 3 int, 4 double, 5 array, 6 kvlist,
7 bytes. The text of the last three is what they are on the wire.
"""

from typing import Any, NamedTuple

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from otel_vtrack.errors import StoreError


class Attributes(NamedTuple):
    """Attributes as the store has them, in the order in which they came.

    Attributes:
        names: One may occur more than once.
        texts: The value of each as bytes.
        kinds: The kind of each.
    """

    names: tuple[str, ...]
    texts: tuple[bytes, ...]
    kinds: bytes

    def fill(self, pairs: Any) -> None:
        """Append them to a repeated field of KeyValue.

        Raises:
            StoreError: The lists are not in step, or a text is not of its kind.
        """
        for name, text, kind in self._each():
            pair = pairs.add(key=name)
            # A value that is never touched would be absent and not empty.
            pair.value.SetInParent()
            set_value(pair.value, text, kind)

    def get(self, name: str) -> tuple[int, bytes]:
        """Return kind and text of the first attribute of that name; (0, b"") if there is none."""
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
        StoreError: The text is not of the kind, or the kind is unknown.
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
                value.double_value = float(text)  # which reads nan, inf, -inf and -0 as well
            case 5:
                value.array_value.SetInParent()
                value.array_value.MergeFromString(text)
            case 6:
                value.kvlist_value.SetInParent()
                value.kvlist_value.MergeFromString(text)
            case 7:
                value.bytes_value = text
            case _:
                raise StoreError(f"attributes of kind {kind} are of a newer release: upgrade")
    except (ValueError, DecodeError) as error:
        raise StoreError(f"an attribute of kind {kind} does not read back: {error}") from error
