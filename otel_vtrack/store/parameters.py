"""Statement parameters that would be needlessly slow to bind."""

from collections.abc import Iterable, Iterator

from typing_extensions import Self


class Plain(str):
    """Text of letters, digits and commas, which needs no escaping.

    clickhouse-connect examines each character, which takes half a millisecond for the IDs of a
    page; this iterates over the whole text as one item.
    """

    __slots__ = ()

    @classmethod
    def joined(cls, texts: Iterable[str]) -> Self:
        """Join texts with commas."""
        return cls(",".join(texts))

    def __iter__(self) -> Iterator[str]:
        return iter((str(self),))
