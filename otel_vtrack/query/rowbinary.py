"""Reads the engine's RowBinary form of the columns in which bytes may be that are not text."""

from typing import Final

from otel_vtrack.wire.attributes import Attributes

_UINT32: Final = 4
_UINT64: Final = 8


class Reader:
    """Reads one value after the other; the caller knows the columns' types.

    See the engine's documentation of RowBinary: numbers are little-endian, and before strings,
    arrays and maps stands their length as a varint.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def length(self) -> int:
        """Read a varint."""
        value = shift = 0
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

    def uint32(self) -> int:
        """Read a UInt32."""
        return int.from_bytes(self._take(_UINT32), "little")

    def uint64(self) -> int:
        """Read a UInt64."""
        return int.from_bytes(self._take(_UINT64), "little")

    def string(self) -> bytes:
        """Read a String."""
        return self._take(self.length())

    def strings(self) -> list[bytes]:
        """Read an Array(String)."""
        return [self.string() for _ in range(self.length())]

    def attributes(self) -> Attributes:
        """Read a Map(String, String) and the Array(UInt8) of kinds after it."""
        names: list[str] = []
        texts: list[bytes] = []
        for _ in range(self.length()):
            names.append(self.string().decode())
            texts.append(self.string())
        return Attributes(tuple(names), tuple(texts), self._take(self.length()))
