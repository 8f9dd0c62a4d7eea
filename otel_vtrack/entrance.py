"""Both ports while the server starts: requests other than probes are told to retry later.

The transports start before the store, so that probes get a response. The other handlers are added
once they exist, which a gRPC server does not allow after its start.
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
    """gRPC handlers that can be added after the server's start; calls are refused until `open`.

    Args:
        doing: Returns what the server is doing meanwhile, in a word.
    """

    def __init__(self, doing: Callable[[], str]) -> None:
        self._doing = doing
        self._handlers: list[grpc.GenericRpcHandler] = []
        self._later: Final = grpc.stream_stream_rpc_method_handler(self._refuse)
        self.is_open = False

    def open(self) -> None:
        """Serve the added handlers from now on."""
        self.is_open = True

    def fault(self) -> faults.Fault:
        """Return the error for requests before `open`."""
        return faults.not_ready(self._doing()).fault

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Add handlers, as to a gRPC server."""
        self._handlers += handlers

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Do nothing: these are the generic handlers again, for a server's faster lookup."""

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
    """Responds 503 over HTTP until the entrance is open; probes always pass."""

    def __init__(self, app: ASGIApp, entrance: Entrance) -> None:
        self._app = app
        self._entrance = entrance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if the entrance is open or it is a probe, else refuse it."""
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
