"""Read rows in the engine's RowBinary format, keeping bytes that are not text."""

import struct
from typing import Any, Final
from uuid import UUID

from otel_vtrack.wire.attributes import Attributes

_UINT32: Final = 4
_UINT64: Final = 8
_SCALARS: Final = struct.Struct("<?qd")
_UUID: Final = struct.Struct("<QQ")


def as_text(data: bytes) -> str:
    """Decode UTF-8; return invalid bytes as hex, as in the rows of `Store.query`.

    That happens to a column made from an attribute, such as `service.name`, whose value is an array
    or bytes.
    """
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.hex()


class Reader:
    """Reads values in sequence; the caller knows the columns' types.

    See the engine's documentation of RowBinary: numbers are little-endian, and strings, arrays and
    maps are preceded by their length as a varint.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def more(self) -> bool:
        """Whether any data is left."""
        return self._at < len(self._data)

    @property
    def at(self) -> int:
        """The number of bytes read so far."""
        return self._at

    def since(self, at: int) -> bytes:
        """Return the bytes read since the position `at`."""
        return self._data[at : self._at]

    def repeats(self, values: bytes) -> bool:
        """Skip `values` if these bytes come next; return whether they did."""
        if not self._data.startswith(values, self._at):
            return False
        self._at += len(values)
        return True

    def length(self) -> int:
        """Read a varint."""
        byte = self._data[self._at]
        self._at += 1
        if byte < 0x80:
            return byte
        value, shift = byte & 0x7F, 7
        while True:
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def _take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        self._at += size
        return taken

    def fields(self, of: struct.Struct) -> tuple[Any, ...]:
        """Read several adjacent values of fixed size."""
        at = self._at
        self._at += of.size
        return of.unpack_from(self._data, at)

    def fixed(self, size: int) -> bytes:
        """Read a FixedString."""
        return self._take(size)

    def byte(self) -> int:
        """Read a UInt8."""
        self._at += 1
        return self._data[self._at - 1]

    def uint32(self) -> int:
        """Read a UInt32."""
        return int.from_bytes(self._take(_UINT32), "little")

    def uint64(self) -> int:
        """Read a UInt64."""
        return int.from_bytes(self._take(_UINT64), "little")

    def optional_uint64(self) -> int | None:
        """Read a Nullable(UInt64)."""
        return None if self._take(1)[0] else self.uint64()

    def string(self) -> bytes:
        """Read a String."""
        data, at = self._data, self._at
        size = data[at]
        if size >= 0x80:
            return self._take(self.length())
        self._at = end = at + 1 + size
        return data[at + 1 : end]

    def text(self) -> str:
        """Read a String that should hold text; see `as_text`."""
        data = self.string()
        return as_text(data) if data else ""

    def optional_text(self) -> str | None:
        """Read a Nullable(String) that should hold text; see `as_text`."""
        return None if self._take(1)[0] else self.text()

    def uuid(self) -> UUID:
        """Read a UUID: two numbers, the half that is written first comes first."""
        first, second = self.fields(_UUID)
        return UUID(int=first << 64 | second)

    def strings(self) -> list[bytes]:
        """Read an Array(String)."""
        return [self.string() for _ in range(self.length())]

    def numbers(self, code: str) -> tuple[int, ...]:
        """Read an Array of numbers with the type code `code` of `struct`."""
        return self.fields(struct.Struct(f"<{self.length()}{code}"))

    def packed(self, size: int) -> bytes:
        """Read an Array of numbers of `size` bytes each, without decoding them."""
        return self._take(self.length() * size)

    def attributes(self) -> Attributes:
        """Read a Map(String, String) and the Array(UInt8) of kinds after it."""
        names, texts = self.pairs()
        return Attributes(names, texts, self._take(self.length()))

    def pairs(self) -> tuple[tuple[str, ...], tuple[bytes, ...]]:
        """Read a Map(String, String) as its keys and its values."""
        names: list[str] = []
        texts: list[bytes] = []
        for _ in range(self.length()):
            names.append(self.text())
            texts.append(self.string())
        return tuple(names), tuple(texts)

    def key_values(self) -> Attributes:
        """Read OTLP KeyValues in the inbox's form: every member is present, one of them is set."""
        names: list[str] = []
        texts: list[bytes] = []
        kinds = bytearray()
        for _ in range(self.length()):
            names.append(self.text())
            kind = self._take(1)[0]
            text = self.string()
            boolean, integer, double = self.fields(_SCALARS)
            nested = [self.string() for _ in range(3)]
            if kind == 2:
                text = b"true" if boolean else b"false"
            elif kind == 3:
                text = str(integer).encode()
            elif kind == 4:
                text = repr(double).encode()
            elif kind >= 5:
                text = nested[kind - 5]
            texts.append(text)
            kinds.append(kind)
        return Attributes(tuple(names), tuple(texts), bytes(kinds))
