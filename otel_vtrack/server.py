"""Composition root: builds everything, and stops it in reverse.

async with Server(settings) as server:
    print(server.grpc_address)

with running(settings) as server:  # the same from a thread, for tests and notebooks
    ...
"""

import asyncio
import concurrent.futures
import contextlib
import errno
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Generator
from typing import Any, Final

import grpc.aio
import uvicorn
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from typing_extensions import Self, override

from otel_vtrack import api
from otel_vtrack.errors import SettingsError
from otel_vtrack.ingest import memory, otlp_grpc, otlp_http
from otel_vtrack.ingest.backlog import Backlog
from otel_vtrack.ingest.commit import GroupCommit
from otel_vtrack.ingest.receiver import LOGS, TRACES, Receiver
from otel_vtrack.settings import Settings, flag, join_address, split_address
from otel_vtrack.store import migrate
from otel_vtrack.store.client import Store
from otel_vtrack.store.journal import Journal
from otel_vtrack.store.writer import Writer

_log = logging.getLogger(__name__)

_SERVICES: Final = (TRACES.service, LOGS.service, *api.SERVICE_NAMES)
_API_THREADS: Final = 4
# For answers on their way out and questions under way, once what was received is stored.
_GRACE_SECONDS: Final = 2.0
# How long a query waits for what was acknowledged before it: some ten times a large insert.
_SETTLE_SECONDS: Final = 5.0
_RECOVERY_SECONDS: Final = 60.0


class Server:
    """One process's receiver and API over one store.

    Attributes:
        settings: What it was built from.
        grpc_address: HOST:PORT, once started.
        http_address: The same.
        ready: Whether it takes requests.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.grpc_address = ""
        self.http_address = ""
        self.ready = False
        self._stack = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Open the store and both ports; returns once requests are answered.

        Raises:
            SettingsError: A port cannot be had.
            StoreError: The store cannot be used; the message says why and what to do.
        """
        async with contextlib.AsyncExitStack() as stack:
            # Before the store, because a second server usually finds both taken, and the port
            # is what its user can change most easily.
            _require_free("grpc", self.settings.grpc)
            listener = _listen("http", self.settings.http)
            stack.callback(listener.close)
            store = await asyncio.to_thread(_open, self.settings)
            stack.callback(store.close)
            timeout = self.settings.drain_timeout_seconds
            backlogs = await asyncio.to_thread(_backlogs, self.settings, store)
            for backlog in backlogs:
                stack.push_async_callback(asyncio.to_thread, backlog.close, timeout)
            store.settle = lambda: [backlog.wait(_SETTLE_SECONDS) for backlog in backlogs]
            # What the last run left is there before anyone asks.
            for backlog in backlogs:
                await asyncio.to_thread(backlog.wait, _RECOVERY_SECONDS)
            receiver = await asyncio.to_thread(_receiver, self.settings, store, backlogs)
            stack.push_async_callback(asyncio.to_thread, receiver.drain, timeout)
            healthy = await self._start_grpc(stack, receiver, store)
            await self._start_http(stack, listener, receiver)
            # Again, before the transports stop: what is stored meanwhile is still answered,
            # and what arrives meanwhile is told to come again.
            stack.push_async_callback(self._drain, receiver, healthy)
            for service in ("", *_SERVICES):
                await healthy.set(service, health_pb2.HealthCheckResponse.SERVING)
            self.ready = True
            self._stack = stack.pop_all()

    async def stop(self) -> None:
        """Take no more, store and answer what was taken, close everything; idempotent."""
        await self._stack.aclose()

    async def _start_grpc(
        self, stack: contextlib.AsyncExitStack, receiver: Receiver, store: Store
    ) -> Any:
        # Handlers that are not coroutines run in the pool: the API's, which wait for the store.
        pool = concurrent.futures.ThreadPoolExecutor(_API_THREADS, thread_name_prefix="api")
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        server = grpc.aio.server(
            migration_thread_pool=pool,
            options=otlp_grpc.server_options(self.settings.max_request_bytes),
        )
        otlp_grpc.add_otlp(server, receiver)
        api.add_api(server, store)
        healthy: Any = health.aio.HealthServicer()  # pyright: ignore[reportAttributeAccessIssue]
        health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
        names = (*_SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        host, _ = split_address(self.settings.grpc)
        try:
            port = server.add_insecure_port(self.settings.grpc)
        except RuntimeError as error:
            raise SettingsError(_not_had("grpc", self.settings.grpc, error)) from error
        await server.start()
        stack.push_async_callback(server.stop, _GRACE_SECONDS)
        self.grpc_address = join_address(host, port)
        return healthy

    async def _start_http(
        self, stack: contextlib.AsyncExitStack, listener: socket.socket, receiver: Receiver
    ) -> None:
        routes = otlp_http.otlp_routes(
            receiver,
            max_body_bytes=self.settings.max_request_bytes,
            body_timeout_seconds=self.settings.body_timeout_seconds,
        )
        app = Starlette(
            routes=[*routes, Route("/readyz", self._answer_ready), Route("/livez", _answer_live)]
        )
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=int(_GRACE_SECONDS),
        )
        web = _Web(config)
        serving = asyncio.create_task(web.serve(sockets=[listener]))

        async def stop() -> None:
            web.should_exit = True
            await serving

        stack.push_async_callback(stop)
        while not web.started:  # uvicorn has no event for it
            if serving.done():
                serving.result()
            await asyncio.sleep(0.01)
        host, _ = split_address(self.settings.http)
        self.http_address = join_address(host, listener.getsockname()[1])

    async def _drain(self, receiver: Receiver, healthy: Any) -> None:
        self.ready = False
        await healthy.enter_graceful_shutdown()
        if not await asyncio.to_thread(receiver.drain, self.settings.drain_timeout_seconds):
            _log.warning(
                "not all that waited was stored within %g s; its senders were told to send it "
                "again",
                self.settings.drain_timeout_seconds,
            )

    async def _answer_ready(self, _: Request) -> Response:
        if self.ready:
            return PlainTextResponse("ready\n")
        return PlainTextResponse("stopping\n", 503)

    async def __aenter__(self) -> Self:
        """Start it."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop it."""
        await self.stop()


async def serve(settings: Settings, ready: Callable[[Server], None]) -> None:
    """Serve until SIGTERM or SIGINT, then stop in order.

    Args:
        settings: What to serve.
        ready: Called once requests are answered.

    Raises:
        VtrackError: It cannot start; the message says why and what to do.
    """
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # First of all, so that a signal during a long migration is not lost.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_stop.set)
    memory.keep_freed_memory()
    async with Server(settings) as server:
        if not asked_to_stop.is_set():
            ready(server)
        await asked_to_stop.wait()
        _log.info("stopping: storing what was received")
        for number in (signal.SIGTERM, signal.SIGINT):
            # Whoever asks twice does not want to wait; nothing acknowledged is lost by it.
            loop.add_signal_handler(number, os._exit, 128 + number)
    _log.info("stopped")


@contextlib.contextmanager
def running(settings: Settings) -> Generator[Server]:
    """Serve from a thread until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="vtrack-server", daemon=True)
    thread.start()
    server = Server(settings)
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result()
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class _Web(uvicorn.Server):
    """uvicorn without its signal handlers: `serve` has its own, for both transports."""

    @contextlib.contextmanager
    @override
    def capture_signals(self) -> Generator[None]:
        yield


async def _answer_live(_: Request) -> Response:
    return PlainTextResponse("alive\n")


def _open(settings: Settings) -> Store:
    store = Store(settings.store_url, cluster=settings.cluster)
    try:
        if store.embedded or settings.migrate:
            for file in migrate.apply(store):
                _log.info("applied %s/%s", file.kind, file.name)
        else:
            _require_current(store)
    except BaseException:
        store.close()
        raise
    return store


def _require_current(store: Store) -> None:
    behind = [file.name for file in migrate.status(store) if file.state != "applied"]
    if behind:
        raise SettingsError(
            f"the store's tables are not up to date ({len(behind)} files, {behind[0]} first): run "
            "vtrack migrate, or start with --migrate"
        )


def _backlogs(settings: Settings, store: Store) -> list[Backlog]:
    """Take up the journals of an embedded store; a remote one is written without."""
    if store.folder is None:
        return []
    writer = Writer(store, durability=settings.durability)
    fsync = settings.durability == "fsync"
    return [
        Backlog(
            Journal(store.folder / f"journal-{name}.sqlite", fsync=fsync),
            write,
            name=name,
            max_bytes=settings.backlog_max_bytes,
        )
        for name, write in ((TRACES.name, writer.write_traces), (LOGS.name, writer.write_logs))
    ]


def _receiver(settings: Settings, store: Store, backlogs: list[Backlog]) -> Receiver:
    if backlogs:
        writes = [backlog.append for backlog in backlogs]
    else:
        writer = Writer(store, durability=settings.durability)
        writes = [writer.write_traces, writer.write_logs]
    traces, logs = (
        GroupCommit(
            write,
            name=name,
            max_batch_bytes=settings.max_batch_bytes,
            max_waiting_bytes=settings.queue_max_bytes,
            max_waiting_requests=settings.queue_max_requests,
        )
        for name, write in zip((TRACES.name, LOGS.name), writes, strict=True)
    )
    return Receiver(traces, logs)


def _listen(name: str, address: str) -> socket.socket:
    host, port = split_address(address)
    try:
        family, _, _, _, found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(found, family=family, backlog=2048)
    except OSError as error:
        raise SettingsError(_not_had(name, address, error)) from error


def _require_free(name: str, address: str) -> None:
    # gRPC's own refusal names no reason.
    _listen(name, address).close()


def _not_had(name: str, address: str, error: Exception) -> str:
    match getattr(error, "errno", None):
        case errno.EADDRINUSE | None:
            reason, remedy = "another program does", "stop that one"
        case errno.EACCES | errno.EPERM:
            reason, remedy = "this user may not use the port", "give it the right to"
        case errno.EADDRNOTAVAIL:
            reason, remedy = "this machine has no such address", "name an address of this machine"
        case _:
            reason, remedy = "the name is not known", "name an address of this machine"
    return (
        f"cannot listen on {address}, because {reason}: {remedy}, or choose another with "
        f"{flag(name)} HOST:PORT, where port 0 picks a free one"
    )
