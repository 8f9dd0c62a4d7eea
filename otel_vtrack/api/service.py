"""What a service is here: a table of plain functions, served alike by every wire."""

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
"""Answers a request; raises an error of otel_vtrack.errors. Blocks, so it runs in a thread."""


@dataclass(frozen=True, slots=True)
class Backend:
    """What handlers work with.

    Attributes:
        store: Open, its tables up to date.
        prices: What tokens cost.
        watched: What deployments this process watches.
    """

    store: Store
    prices: Prices = BUILT_IN
    watched: Callable[[], Board] = Board


@dataclass(frozen=True, slots=True)
class Method:
    """One call of a service.

    Attributes:
        path: `/package.Service/Method`, as both wires have it.
    """

    path: str
    request: type[Message]
    response: type[Message]
    handler: Handler


class Service:
    """A service of the protos and the functions behind it.

    Args:
        file: The descriptor of its proto.
        name: Its name there.
        handlers: Functions by the names of its methods.

    A method without a function is unknown on every wire.
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
    """Read a Timestamp of a request, in nanoseconds since 1970; None if it is left out.

    Raises:
        InvalidArgument: It lies outside of what the store can hold.
    """
    if not request.HasField(name):
        return None
    return nanoseconds(getattr(request, name), name=name)


def nanoseconds(message: Any, *, name: str) -> int:
    """Read a Timestamp or Duration.

    Raises:
        InvalidArgument: It lies outside of what the store can hold.
    """
    number = message.seconds * 1_000_000_000 + message.nanos
    if not -(1 << 63) <= number < 1 << 63:
        raise InvalidArgument(f"{name} is from 1677 to 2262: give a time in between, or none")
    return number
