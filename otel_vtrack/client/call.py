"""Descriptions of API calls, shared by the blocking and the asyncio client."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from google.protobuf.message import Message

T = TypeVar("T")
M = TypeVar("M", bound=Message)

PACKAGE: Final = "otel_vtrack.v1"
LARGEST_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """A single API call.

    Attributes:
        method: `Service/Method`.
        request: The request message.
        response: Type of the response message.
        read: Converts the response to the result for the caller.
        repeatable: Whether repeating the call is harmless. If so, it is retried when the server was
            unavailable, although the server may have processed an earlier attempt.
        timeout: Seconds for all attempts together; None for the client's default.
        metadata: Sent in addition to the client's own metadata.
        if_exists: Sent instead after ALREADY_EXISTS, which then means that an earlier attempt
            succeeded but its response was lost; has what is left of `timeout`.
    """

    method: str
    request: Message
    response: type[Message]
    read: Callable[[Any], T]
    repeatable: bool
    timeout: float | None = None
    metadata: tuple[tuple[str, str | bytes], ...] = ()
    if_exists: "Call[T] | None" = None

    @property
    def path(self) -> str:
        """Full name of the gRPC method."""
        return f"/{PACKAGE}.{self.method}"


def repeatable(
    method: str,
    request: Message,
    response: type[Message],
    read: Callable[[Any], T],
    timeout: float | None,
) -> Call[T]:
    """Describe a call that may be retried."""
    return Call(
        method=method,
        request=request,
        response=response,
        read=read,
        repeatable=True,
        timeout=timeout,
    )


def once(
    method: str,
    request: Message,
    response: type[Message],
    read: Callable[[Any], T],
    timeout: float | None,
) -> Call[T]:
    """Describe a call that must not be retried."""
    return Call(
        method=method,
        request=request,
        response=response,
        read=read,
        repeatable=False,
        timeout=timeout,
    )


def nothing(_: Message) -> None:
    """Read a response that carries no data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages(Generic[M]):
    """A search whose results come in pages.

    Attributes:
        method: `Service/Method`.
        request: Request for the first page; its type has a field `page_token`.
        response: Type of the response, which holds one page.
        item: Type of the results.
        field: Field of the response that holds the results.
        limit: Maximum number of results; None for all.
        timeout: Seconds for each page; None for the client's default.
        sized: Whether the request has a field `page_size`.
    """

    method: str
    request: Any
    response: type[Message]
    item: type[M]
    field: str
    limit: int | None = None
    timeout: float | None = None
    sized: bool = True

    def __post_init__(self) -> None:
        """Validate the limit.

        Raises:
            ValueError: It is less than 1.
        """
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit is 1 or more, or None for all, and not {self.limit}")


class Cursor(Generic[M]):
    """Walks through the pages of a search.

    Args:
        search: The search.
        page_size: Page size if the search sets none; 0 for the server's default.
        limit: Maximum number of results; the search's own limit applies as well.
    """

    def __init__(self, search: Pages[M], *, page_size: int = 0, limit: int | None = None) -> None:
        limits = [each for each in (search.limit, limit) if each is not None]
        self._search = search
        self._left = min(limits) if limits else None
        self._size: int = (search.request.page_size or page_size) if search.sized else 0
        self._token: str | None = ""

    def next(self) -> Call[list[M]] | None:
        """Return the call for the next page; None after the last one."""
        if self._token is None:
            return None
        search = self._search
        request = type(search.request)()
        request.CopyFrom(search.request)
        if search.sized:
            size = self._size
            if self._left is not None:
                size = min(self._left, size or LARGEST_PAGE)
            request.page_size = size
        request.page_token = self._token
        return repeatable(search.method, request, search.response, self._read, search.timeout)

    def _read(self, page: Any) -> list[M]:
        found: list[M] = list(getattr(page, self._search.field))[: self._left]
        self._token = page.next_page_token or None
        if self._left is not None:
            self._left -= len(found)
            if self._left <= 0:
                self._token = None
        return found
