"""A service: a table of plain functions that every protocol serves in the same way."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from otel_vtrack.analysis.watching import Board
from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query.prices import BUILT_IN, Prices
from otel_vtrack.store.client import Store

Handler = Callable[["Backend", Any], Message]
"""Handles a request; raises errors of otel_vtrack.errors. Blocks, so it runs in a thread."""


def _unknown(_: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Backend:
    """What handlers work with.

    Attributes:
        store: Open, with its tables up to date.
        prices: Price table for tokens.
        watched: Returns the deployments that this process watches.
        minute_of: Returns in which minute a trace probably started; see `query.recent`.
    """

    store: Store
    prices: Prices = BUILT_IN
    watched: Callable[[], Board] = Board
    minute_of: Callable[[str], int | None] = _unknown


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC of a service.

    Attributes:
        path: `/package.Service/Method`, as in both protocols.
    """

    path: str
    request: type[Message]
    response: type[Message]
    handler: Handler


class Service:
    """A service defined in the protos, and the functions that implement it.

    Args:
        file: Descriptor of its proto file.
        name: Its name in that file.
        handlers: Functions, by method name.

    Every protocol treats a method without a function as unknown.
    """

    def __init__(self, file: FileDescriptor, name: str, handlers: Mapping[str, Handler]) -> None:
        descriptor = file.services_by_name[name]
        known: Mapping[str, MethodDescriptor] = descriptor.methods_by_name
        self.full_name: Final[str] = descriptor.full_name
        self.methods: Final = tuple(
            Method(
                path=f"/{descriptor.full_name}/{method}",
                request=GetMessageClass(known[method].input_type),
                response=GetMessageClass(known[method].output_type),
                handler=handler,
            )
            for method, handler in handlers.items()
        )


def moment(request: Any, name: str) -> int | None:
    """Return a request's Timestamp in nanoseconds since 1970, or None if it is not set.

    Raises:
        InvalidArgument: It is outside the range that the store can hold.
    """
    if not request.HasField(name):
        return None
    return nanoseconds(getattr(request, name), name=name)


def nanoseconds(message: Any, *, name: str) -> int:
    """Convert a Timestamp or Duration to nanoseconds.

    Raises:
        InvalidArgument: It is outside the range that the store can hold.
    """
    number = message.seconds * 1_000_000_000 + message.nanos
    if not -(1 << 63) <= number < 1 << 63:
        raise InvalidArgument(
            f"{name} must be from 1677 to 2262: give a time in this range, or none"
        )
    return number
