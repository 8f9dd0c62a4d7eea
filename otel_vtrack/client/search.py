"""Lazy search results: nothing is queried until they are read, and then page by page."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic

import grpc

from otel_vtrack.client import html
from otel_vtrack.client.call import LARGEST_PAGE, Call, Cursor, M, Pages
from otel_vtrack.client.frames import Table
from otel_vtrack.client.results import Records

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


class _Described(Generic[M]):
    def __init__(self, search: Pages[M]) -> None:
        self._search = search

    def __repr__(self) -> str:
        request = self._search.request
        given = ", ".join(
            f"{field.name}={_plain(value)!r}"
            for field, value in request.ListFields()
            if field.name not in {"page_size", "page_token"}
        )
        limit = "" if self._search.limit is None else f", limit={self._search.limit}"
        return f"<{type(self).__name__} of {self._search.field}: {given or 'all'}{limit}>"


def _plain(value: Any) -> Any:
    if isinstance(value, (str, int, float)):
        return value
    to_json = getattr(value, "ToJsonString", None)
    return to_json() if to_json else list(value)


class Search(_Described[M]):
    """The results of a search, in the requested order.

    Each iteration queries the server again. Data that arrives meanwhile neither shifts nor repeats
    a page.
    """

    def __init__(self, ask: Callable[[Call[list[M]]], list[M]], search: Pages[M]) -> None:
        super().__init__(search)
        self._ask = ask

    def __iter__(self) -> Iterator[M]:
        """Yield the results, fetching pages as needed."""
        for page in self._pages():
            yield from page

    def pages(self) -> Iterator[Records[M]]:
        """Yield pages of `page_size`."""
        for page in self._pages():
            yield Records(self._search.item, page)

    def first(self) -> M | None:
        """Return the first result, or None if nothing matches."""
        return next(iter(self.fetch(1)), None)

    def fetch(self, limit: int | None = None) -> Records[M]:
        """Fetch all results, or at most `limit`, into memory."""
        pages = self._pages(page_size=LARGEST_PAGE, limit=limit)
        return Records(self._search.item, (each for page in pages for each in page))

    def to_arrow(self, columns: Sequence[str] | None = None) -> "pa.Table":  # pyright: ignore[reportUnknownParameterType]
        """Fetch all results into an Arrow table with a column for each field of the proto.

        Times become timestamps in UTC and durations become durations, both in nanoseconds; maps
        become maps, and values of any type become JSON. Fields of nested messages become columns
        such as `token_usage.total_tokens`.

        Args:
            columns: Which columns, in which order: fields, or `*` for all of them; `tags.<key>` or
                `attributes.<key>` for an entry of a map; `assessments.<name>` for the value of a
                trace's latest valid assessment; or `tags.*` and the like for every entry.

        Raises:
            ImportError: `otel-vtrack[analysis]` is not installed.
            ValueError: There is no such column.
        """
        return self._gathered(columns).arrow()

    def to_pandas(self, columns: Sequence[str] | None = None) -> "pd.DataFrame":
        """Fetch all into a DataFrame; like `to_arrow`, with maps and values as Python objects."""
        return self._gathered(columns).pandas()

    def _gathered(self, columns: Sequence[str] | None) -> Table:
        table = Table(self._search.item.DESCRIPTOR, columns)
        for page in self._pages(page_size=LARGEST_PAGE):
            table.add(page)
        return table

    def _pages(self, *, page_size: int = 0, limit: int | None = None) -> Iterator[list[M]]:
        cursor = Cursor(self._search, page_size=page_size, limit=limit)
        while call := cursor.next():
            yield self._ask(call)

    def _repr_html_(self) -> str:
        try:
            found = self.fetch(html.ROWS + 1)
        except grpc.RpcError as error:
            said: Any = error.details()  # pyright: ignore[reportAttributeAccessIssue]
            return html.preformatted(str(said))
        note = f"{self._search.field}: the first {html.ROWS}" if len(found) > html.ROWS else ""
        return html.messages(self._search.item, found, note or ("" if found else "none"))


class AsyncSearch(_Described[M]):
    """The asynchronous counterpart of `Search`, for `async for` and `await`."""

    def __init__(
        self, ask: Callable[[Call[list[M]]], Awaitable[list[M]]], search: Pages[M]
    ) -> None:
        super().__init__(search)
        self._ask = ask

    async def __aiter__(self) -> AsyncIterator[M]:
        """Yield the results, fetching pages as needed."""
        async for page in self._pages():
            for each in page:
                yield each

    async def pages(self) -> AsyncIterator[Records[M]]:
        """Yield pages of `page_size`."""
        async for page in self._pages():
            yield Records(self._search.item, page)

    async def first(self) -> M | None:
        """Return the first result, or None if nothing matches."""
        return next(iter(await self.fetch(1)), None)

    async def fetch(self, limit: int | None = None) -> Records[M]:
        """Fetch all results, or at most `limit`, into memory."""
        pages = self._pages(page_size=LARGEST_PAGE, limit=limit)
        return Records(self._search.item, [each async for page in pages for each in page])

    async def to_arrow(self, columns: Sequence[str] | None = None) -> "pa.Table":  # pyright: ignore[reportUnknownParameterType]
        """Fetch all results into an Arrow table; see `Search.to_arrow`."""
        table = await self._gathered(columns)
        return await asyncio.to_thread(table.arrow)

    async def to_pandas(self, columns: Sequence[str] | None = None) -> "pd.DataFrame":
        """Fetch all results into a DataFrame; see `Search.to_pandas`."""
        table = await self._gathered(columns)
        return await asyncio.to_thread(table.pandas)

    async def _gathered(self, columns: Sequence[str] | None) -> Table:
        # In a thread: pyarrow is slow to import, and large pages are slow to convert.
        table = await asyncio.to_thread(Table, self._search.item.DESCRIPTOR, columns)
        async for page in self._pages(page_size=LARGEST_PAGE):
            await asyncio.to_thread(table.add, page)
        return table

    async def _pages(
        self, *, page_size: int = 0, limit: int | None = None
    ) -> AsyncIterator[list[M]]:
        cursor = Cursor(self._search, page_size=page_size, limit=limit)
        while call := cursor.next():
            yield await self._ask(call)
