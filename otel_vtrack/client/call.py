"""What is asked, described once for the blocking and the asynchronous client."""

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
    """One question or change.

    Attributes:
        method: `Service/Method`.
        request: Sent as it is.
        response: Type of what comes back.
        read: Makes what the caller gets of it.
        repeatable: Whether asking twice does no harm: then it is asked again when the server was
            away, though it may have been heard the first time.
        timeout: Seconds for all attempts together; None for the client's own.
        metadata: Sent with it, besides what the client sends with every call.
        if_exists: Asked instead when ALREADY_EXISTS comes back, which then says that an attempt
            whose answer was lost had succeeded.
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
        """The method as gRPC has it."""
        return f"/{PACKAGE}.{self.method}"


def repeatable(
    method: str,
    request: Message,
    response: type[Message],
    read: Callable[[Any], T],
    timeout: float | None,
) -> Call[T]:
    """Describe what may be asked again."""
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
    """Describe what may not be."""
    return Call(
        method=method,
        request=request,
        response=response,
        read=read,
        repeatable=False,
        timeout=timeout,
    )


def nothing(_: Message) -> None:
    """Read an answer that says no more than that it was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages(Generic[M]):
    """A search, whose answer comes in pages.

    Attributes:
        method: `Service/Method`.
        request: The first one; it has a `page_token`.
        response: Type of a page.
        item: Type of what is found.
        field: Where a page has it.
        limit: At most this many; None for all.
        timeout: Seconds for each page; None for the client's own.
        sized: Whether the request has a `page_size`.
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
        """Refuse a limit that is none.

        Raises:
            ValueError: It is less than 1.
        """
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit is 1 or more, or None for all, and not {self.limit}")


class Cursor(Generic[M]):
    """Goes through the pages of a search.

    Args:
        search: Whose pages.
        page_size: For where the search itself does not say; 0 leaves it to the server.
        limit: At most so many, besides the limit of the search.
    """

    def __init__(self, search: Pages[M], *, page_size: int = 0, limit: int | None = None) -> None:
        limits = [each for each in (search.limit, limit) if each is not None]
        self._search = search
        self._left = min(limits) if limits else None
        self._size: int = (search.request.page_size or page_size) if search.sized else 0
        self._token: str | None = ""

    def next(self) -> Call[list[M]] | None:
        """Describe how to get the next page; None after the last one."""
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
