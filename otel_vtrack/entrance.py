"""Both ports while the server starts: whoever sends or asks is told to come again.

The transports are there before the store is, so that probes get an answer. What they serve beside
that is added once it can be, which a server of gRPC does not allow.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import grpc
from starlette.types import ASGIApp, Receive, Scope, Send
from typing_extensions import override

from otel_vtrack import access
from otel_vtrack.ingest import faults, otlp_grpc


class Entrance(grpc.GenericRpcHandler):
    """Handlers of calls over gRPC, behind which nothing is until they are opened.

    Args:
        doing: Says what the server does meanwhile, in a word.
    """

    def __init__(self, doing: Callable[[], str]) -> None:
        self._doing = doing
        self._handlers: list[grpc.GenericRpcHandler] = []
        self._later: Final = grpc.stream_stream_rpc_method_handler(self._refuse)
        self.is_open = False

    def open(self) -> None:
        """Serve what was added."""
        self.is_open = True

    def fault(self) -> faults.Fault:
        """Say why not yet."""
        return faults.not_ready(self._doing()).fault

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Add some, as to a server of gRPC."""
        self._handlers += handlers

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Do nothing: they are the same as those before, for a server that looks them up sooner."""

    @override
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        if not self.is_open:
            return self._later
        for each in self._handlers:
            if handler := each.service(handler_call_details):
                return handler
        return None

    async def _refuse(self, _: Any, context: Any) -> None:
        await otlp_grpc.abort(context, self.fault())


class Closed:
    """Answers 503 over HTTP until the entrance is open; probes are answered always."""

    def __init__(self, app: ASGIApp, entrance: Entrance) -> None:
        self._app = app
        self._entrance = entrance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or not."""
        if scope["type"] != "http" or scope["path"] in access.OPEN_PATHS or self._entrance.is_open:
            await self._app(scope, receive, send)
            return
        fault = self._entrance.fault()
        seconds = math.ceil(fault.retry_after_seconds or 0)
        await access.refuse(
            scope,
            receive,
            send,
            http_status=fault.http_status,
            code=fault.code,
            message=fault.message,
            headers=[(b"retry-after", str(seconds).encode())],
        )
