"""Reads the engine's RowBinary form of the columns in which bytes may be that are not text."""

import struct
from typing import Final

from otel_vtrack.wire.attributes import Attributes

_UINT32: Final = 4
_UINT64: Final = 8
_SCALARS: Final = struct.Struct("<?qd")


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

    def key_values(self) -> Attributes:
        """Read an array of OTLP's KeyValue as the inbox has them: all members, one of them set."""
        names: list[str] = []
        texts: list[bytes] = []
        kinds = bytearray()
        for _ in range(self.length()):
            names.append(self.string().decode())
            kind = self._take(1)[0]
            text = self.string()
            boolean, integer, double = _SCALARS.unpack(self._take(_SCALARS.size))
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
