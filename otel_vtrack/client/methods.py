"""Turns what describes a call into a method of a client."""

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
    """Asks, and waits for the answer."""

    def ask(self, call: Call[T]) -> T:
        """Return the answer."""
        ...


class Asynchronous(Protocol):
    """Asks, and lets others work until the answer is there."""

    async def ask(self, call: Call[T]) -> T:
        """Return the answer."""
        ...


def asks(describe: Callable[P, Call[T]]) -> Callable[Concatenate[Blocking, P], T]:
    """Make a method that asks once."""

    def method(self: Blocking, *args: P.args, **keywords: P.kwargs) -> T:
        return self.ask(describe(*args, **keywords))

    return _named(method, describe)


def searches(describe: Callable[P, Pages[M]]) -> Callable[Concatenate[Blocking, P], Search[M]]:
    """Make a method that gives a search."""

    def method(self: Blocking, *args: P.args, **keywords: P.kwargs) -> Search[M]:
        return Search(self.ask, describe(*args, **keywords))

    return _named(method, describe)


def asks_async(
    describe: Callable[P, Call[T]],
) -> Callable[Concatenate[Asynchronous, P], Coroutine[Any, Any, T]]:
    """Make a coroutine method that asks once."""

    async def method(self: Asynchronous, *args: P.args, **keywords: P.kwargs) -> T:
        return await self.ask(describe(*args, **keywords))

    return _named(method, describe)


def searches_async(
    describe: Callable[P, Pages[M]],
) -> Callable[Concatenate[Asynchronous, P], AsyncSearch[M]]:
    """Make a method that gives a search."""

    def method(self: Asynchronous, *args: P.args, **keywords: P.kwargs) -> AsyncSearch[M]:
        return AsyncSearch(self.ask, describe(*args, **keywords))

    return _named(method, describe)


def _named(method: Any, describe: Callable[..., Any]) -> Any:
    """Give a method the name, documentation and arguments of what it was made from."""
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
