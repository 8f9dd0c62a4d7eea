"""Parameters of statements that take long to bind for no reason."""

from collections.abc import Iterable, Iterator

from typing_extensions import Self


class Plain(str):
    """Text of letters, digits and commas, in which nothing is to be escaped.

    clickhouse-connect looks at each character on its own, which takes half a millisecond for
    the ids of a page; this offers all of them as one.
    """

    __slots__ = ()

    @classmethod
    def joined(cls, texts: Iterable[str]) -> Self:
        """Put texts together, with commas between."""
        return cls(",".join(texts))

    def __iter__(self) -> Iterator[str]:
        return iter((str(self),))
