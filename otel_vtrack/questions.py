"""Serves queries: the API over a store, with its watch, or an error if there is no store.

The API, and with it the engine, is loaded only if there is a store.
"""

from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, Final, Protocol

import grpc
import grpc.aio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from typing_extensions import override

from otel_vtrack.ingest.room import Room
from otel_vtrack.settings import Settings

if TYPE_CHECKING:
    from otel_vtrack.store.client import Store

_PACKAGE: Final = "/otel_vtrack.v1."
_NO_STORE: Final = (
    "this server has no store, it only forwards: query the server it forwards to, or start this"
    " one with --store"
)


class Questions(Protocol):
    """What is served alongside the receiver.

    Attributes:
        names: Full service names, for health checks and reflection.
    """

    names: tuple[str, ...]

    def open(self, store: "Store | None") -> None:
        """Set the store to query; call this before anything else."""
        ...

    def add_to(self, server: grpc.aio.Server) -> None:
        """Add the gRPC services to a server."""
        ...

    def routes(self, pool: Executor, max_body_bytes: int, room: Room) -> list[Route]:
        """Return the HTTP routes."""
        ...

    def start(self) -> None:
        """Start the threads behind it."""
        ...

    def stop(self) -> None:
        """Stop them; may wait for the store."""
        ...


def asked_as(settings: Settings) -> Questions:
    """Return the implementation for these settings.

    Raises:
        SettingsError: The prices or the webhook's secret are invalid.
    """
    return _Api(settings) if settings.store else _Nobody()


class _Api:
    def __init__(self, settings: Settings) -> None:
        from otel_vtrack import api  # noqa: PLC0415
        from otel_vtrack.query import prices  # noqa: PLC0415
        from otel_vtrack.watch.channels import channels  # noqa: PLC0415

        self._api = api
        self._prices = prices.load(settings.prices)
        self._channels = channels(settings)
        self._interval = settings.watch_interval_seconds
        self.names = api.SERVICE_NAMES

    def open(self, store: "Store | None") -> None:
        from otel_vtrack.query.recent import Recent  # noqa: PLC0415
        from otel_vtrack.watch import Watcher  # noqa: PLC0415
        from otel_vtrack.watch.delivery import Delivery  # noqa: PLC0415

        assert store  # noqa: S101 - for the type checker
        deliveries = [Delivery(store, each, self._interval) for each in self._channels]
        self._watcher = Watcher(store, self._interval, deliveries)
        self._recent = Recent(store)
        self._backend = self._api.Backend(
            store, self._prices, self._watcher.board, self._recent.minute
        )

    def add_to(self, server: grpc.aio.Server) -> None:
        self._api.add_api(server, self._backend)

    def routes(self, pool: Executor, max_body_bytes: int, room: Room) -> list[Route]:
        return self._api.api_routes(self._backend, pool, max_body_bytes=max_body_bytes, room=room)

    def start(self) -> None:
        self._recent.start()
        if self._interval:
            self._watcher.start()

    def stop(self) -> None:
        self._recent.stop()
        if self._interval:
            self._watcher.stop()


class _Nobody:
    names = ()

    def open(self, store: "Store | None") -> None:
        del store

    def add_to(self, server: grpc.aio.Server) -> None:
        server.add_generic_rpc_handlers((_Refusal(),))

    def routes(self, pool: Executor, max_body_bytes: int, room: Room) -> list[Route]:
        del pool, max_body_bytes, room
        return [Route(_PACKAGE + "{method:path}", _refuse_http, methods=["POST"])]

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass


class _Refusal(grpc.GenericRpcHandler):
    @override
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        if handler_call_details.method.startswith(_PACKAGE):
            return grpc.unary_unary_rpc_method_handler(_refuse_grpc)
        return None


async def _refuse_grpc(_: bytes, context: Any) -> bytes:
    return await context.abort(grpc.StatusCode.UNIMPLEMENTED, _NO_STORE)


async def _refuse_http(_: Request) -> Response:
    # In Connect's error format.
    return JSONResponse({"code": "unimplemented", "message": _NO_STORE}, 501)
