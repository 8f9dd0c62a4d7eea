"""Turn functions that describe calls into client methods."""

import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from google.protobuf.message import Message

from otel_vtrack.client.call import Call, Pages
from otel_vtrack.client.search import AsyncSearch, Search

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=Message)


class Blocking(Protocol):
    """A client that blocks until the result arrives."""

    def ask(self, call: Call[T]) -> T:
        """Send a call and return its result."""
        ...


class Asynchronous(Protocol):
    """A client that does not block the event loop."""

    async def ask(self, call: Call[T]) -> T:
        """Send a call and return its result."""
        ...


def asks(describe: Callable[P, Call[T]]) -> Callable[Concatenate[Blocking, P], T]:
    """Make a method that sends one call."""

    def method(self: Blocking, *args: P.args, **keywords: P.kwargs) -> T:
        return self.ask(describe(*args, **keywords))

    return _named(method, describe)


def searches(describe: Callable[P, Pages[M]]) -> Callable[Concatenate[Blocking, P], Search[M]]:
    """Make a method that returns a search."""

    def method(self: Blocking, *args: P.args, **keywords: P.kwargs) -> Search[M]:
        return Search(self.ask, describe(*args, **keywords))

    return _named(method, describe)


def asks_async(
    describe: Callable[P, Call[T]],
) -> Callable[Concatenate[Asynchronous, P], Coroutine[Any, Any, T]]:
    """Make a coroutine method that sends one call."""

    async def method(self: Asynchronous, *args: P.args, **keywords: P.kwargs) -> T:
        return await self.ask(describe(*args, **keywords))

    return _named(method, describe)


def searches_async(
    describe: Callable[P, Pages[M]],
) -> Callable[Concatenate[Asynchronous, P], AsyncSearch[M]]:
    """Make a method that returns an asynchronous search."""

    def method(self: Asynchronous, *args: P.args, **keywords: P.kwargs) -> AsyncSearch[M]:
        return AsyncSearch(self.ask, describe(*args, **keywords))

    return _named(method, describe)


def _named(method: Any, describe: Callable[..., Any]) -> Any:
    """Give a method the name, docstring and signature of the function it was made from."""
    functools.update_wrapper(method, describe)
    signature = inspect.signature(describe)
    self = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    method.__signature__ = signature.replace(
        parameters=[self, *signature.parameters.values()],
        return_annotation=inspect.Signature.empty,
    )
    method.__annotations__ = {
        name: each for name, each in describe.__annotations__.items() if name != "return"
    }
    del method.__wrapped__
    return method
