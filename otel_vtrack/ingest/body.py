"""Reads the body of an HTTP request, decompressing it as it arrives, within a size limit."""

import sys
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Protocol

from otel_vtrack.ingest import faults
from otel_vtrack.ingest.room import Share

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# Most bytes that one call returns, so that a decompression bomb never exceeds the limit.
_STEP: Final = 1 << 20
# zstd decoders need not support windows over 8 MiB (RFC 8878 section 3.1.1.1.2).
_LARGEST_WINDOW_LOG: Final = 23


class _Decoder(Protocol):
    """Decoder of one compressed member of a body."""

    ended: bool

    def inflate(self, data: bytes, most: int) -> tuple[bytes, bytes | None]:
        """Return up to `most` bytes, and the data for the next call; None: it needs more input."""
        ...


class _Zlib:
    def __init__(self, wbits: int) -> None:
        self._stream = zlib.decompressobj(wbits)
        self.ended = False

    def inflate(self, data: bytes, most: int) -> tuple[bytes, bytes | None]:
        out = self._stream.decompress(data, most)
        self.ended = self._stream.eof
        return out, (
            self._stream.unused_data if self.ended else self._stream.unconsumed_tail
        ) or None


class _Deflate:
    """HTTP's deflate is the zlib format; some senders omit its two-byte header."""

    ended = False

    def __init__(self) -> None:
        self._inner: _Zlib | None = None

    def inflate(self, data: bytes, most: int) -> tuple[bytes, bytes | None]:
        if self._inner is None:
            has_header = data[0] & 0x0F == 8 and data[0] >> 4 <= 7
            self._inner = _Zlib(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
        out, rest = self._inner.inflate(data, most)
        self.ended = self._inner.ended
        return out, rest


class _Zstd:
    def __init__(self) -> None:
        options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _LARGEST_WINDOW_LOG}
        self._stream: Any = zstd.ZstdDecompressor(options=options)
        self.ended = False

    def inflate(self, data: bytes, most: int) -> tuple[bytes, bytes | None]:
        out = self._stream.decompress(data, most)
        self.ended = self._stream.eof
        if self.ended:
            return out, self._stream.unused_data or None
        return out, None if self._stream.needs_input else b""


_DECODERS: Final[dict[str, Callable[[], _Decoder]]] = {
    "gzip": lambda: _Zlib(16 + zlib.MAX_WBITS),
    "x-gzip": lambda: _Zlib(16 + zlib.MAX_WBITS),
    "deflate": _Deflate,
    "zlib": _Deflate,
    "zstd": _Zstd,
}


async def read(chunks: AsyncIterator[bytes], encoding: str, limit: int, share: Share) -> bytes:
    """Read and decompress a body.

    Args:
        chunks: The body as it arrives.
        encoding: Value of the Content-Encoding header; empty if there is none.
        limit: Most bytes, both as sent and decompressed.
        share: The body's share of the room for bodies; grows with the bytes held.

    Raises:
        Refused: The body is too large, there is no room, or it does not match its encoding.
    """
    encoding = encoding.strip().lower()
    if encoding in {"", "identity"}:
        new_decoder = None
    elif encoding in _DECODERS:
        new_decoder = _DECODERS[encoding]
    else:
        raise faults.bad_data(
            "this Content-Encoding is not supported; send gzip, deflate, zstd or none"
        )
    body = _Body(limit, new_decoder, share)
    async for chunk in chunks:
        body.add(chunk)
    return body.finish()


class _Body:
    def __init__(
        self, limit: int, new_decoder: Callable[[], _Decoder] | None, share: Share
    ) -> None:
        self._limit = limit
        self._share = share
        self._new_decoder = new_decoder
        self._decoder = new_decoder() if new_decoder else None
        self._parts: list[bytes] = []
        self._received = 0
        self._size = 0

    def add(self, chunk: bytes) -> None:
        self._received += len(chunk)
        if self._received > self._limit:
            self._drop()
            raise faults.too_large(self._limit)
        if self._decoder is None:
            self._keep(chunk)
            return
        try:
            self._inflate(chunk)
        except (zlib.error, zstd.ZstdError):
            raise faults.bad_data(
                "the body is not compressed as its Content-Encoding says; correct the header, or "
                "omit it"
            ) from None

    def _inflate(self, chunk: bytes) -> None:
        assert self._decoder  # noqa: S101 - for the type checker
        assert self._new_decoder  # noqa: S101
        rest: bytes | None = chunk or None
        while rest is not None:
            if self._decoder.ended:
                # A gzip or zstd body may consist of several members.
                self._decoder = self._new_decoder()
            room = self._limit - self._size + 1
            out, rest = self._decoder.inflate(rest, min(room, _STEP))
            self._size += len(out)
            if self._size > self._limit:
                # The error's traceback would keep the parts in memory for a while.
                self._drop()
                raise faults.too_large(self._limit)
            self._keep(out)

    def _drop(self) -> None:
        # The rest may take a while to arrive; hold nothing meanwhile.
        self._parts.clear()
        self._share.give_back()

    def _keep(self, part: bytes) -> None:
        try:
            self._share.grow(len(part))
        except faults.Refused:
            self._drop()
            raise
        self._parts.append(part)

    def finish(self) -> bytes:
        if self._decoder is not None and not self._decoder.ended:
            raise faults.bad_data("the compressed body is truncated; send all of it")
        return b"".join(self._parts)
