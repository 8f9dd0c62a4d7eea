"""Composition root: builds everything and stops it in reverse order.

Use `async with Server(settings) as server: ...` in a coroutine, or, for tests and notebooks,
`with running(settings) as server: ...`, which runs it in its own thread.
"""

import asyncio
import concurrent.futures
import contextlib
import functools
import gc
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, Final

import grpc.aio
import uvicorn
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from typing_extensions import Self

import otel_vtrack
from otel_vtrack import access, questions, web
from otel_vtrack.certificates import Certificates
from otel_vtrack.entrance import Closed, Entrance
from otel_vtrack.errors import SettingsError
from otel_vtrack.ingest import memory, otlp_grpc, otlp_http
from otel_vtrack.ingest.room import Room
from otel_vtrack.listening import allow_files, listen, not_had, require_free
from otel_vtrack.pipeline import Pipeline, signals_taken
from otel_vtrack.settings import Settings, flag, is_loopback, join_address, split_address
from otel_vtrack.tokens import Tokens

_log = logging.getLogger(__name__)

_API_THREADS: Final = 4
# For responses being sent and queries in progress, once all received data is stored.
_GRACE_SECONDS: Final = 2.0
# How long to wait at start for data left in a journal, and how often to check for a stop meanwhile.
_RECOVERY_SECONDS: Final = 60.0
_STEP_SECONDS: Final = 0.5


class Server:
    """The receiver and API of one process over one store.

    Attributes:
        settings: The settings it was created with.
        grpc_address: HOST:PORT, once started.
        http_address: The same.
        ready: Whether it accepts requests.
        doing: What it does while not ready: starting, migrating, recovering, stopping.
        asked_to_stop: Set to True to cut a long start short; `stop` must still be called.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.grpc_address = ""
        self.http_address = ""
        self.ready = False
        self.doing = "starting"
        self.asked_to_stop = False
        self._certificates: Certificates | None = None
        self._tokens: Tokens | None = None
        self._pipeline: Pipeline | None = None
        self._stack = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Open both ports and the store; return once requests are accepted.

        A store may take long to open. Meanwhile probes get a response, and other requests are told
        to retry.

        Raises:
            SettingsError: A port cannot be bound, a certificate or the tokens cannot be used, or
                the prices or the secret are invalid.
            StoreError: The store cannot be used; the message says why and what to do.
        """
        async with contextlib.AsyncExitStack() as stack:
            asked = questions.asked_as(self.settings)
            self._lock()
            # Ports before the store: a second server usually finds both in use, and its user can
            # change the port most easily.
            require_free("grpc", self.settings.grpc)
            listener = listen("http", self.settings.http)
            stack.callback(listener.close)
            # Close the pipeline after the transports, although it is opened after them.
            stack.push_async_callback(self._close_pipeline)
            # API handlers block on the store, so on both transports they run in this pool.
            pool = concurrent.futures.ThreadPoolExecutor(_API_THREADS, thread_name_prefix="api")
            stack.callback(pool.shutdown, wait=False, cancel_futures=True)
            names = (*(each.service for each in signals_taken(self.settings)), *asked.names)
            entrance, healthy = await self._start_grpc(stack, pool, names)
            app = await self._start_http(stack, listener, entrance)
            pipeline = await asyncio.to_thread(Pipeline, self.settings, self._set_doing)
            self._pipeline = pipeline
            await self._recover(pipeline)
            asked.open(pipeline.store)
            server: Any = entrance
            otlp_grpc.add_otlp(server, pipeline.receiver)
            asked.add_to(server)
            room = Room(self.settings.arriving_max_bytes)
            app.router.routes += [
                *otlp_http.otlp_routes(
                    pipeline.receiver,
                    max_body_bytes=self.settings.max_request_bytes,
                    body_timeout_seconds=self.settings.body_timeout_seconds,
                    room=room,
                ),
                *asked.routes(pool, self.settings.max_request_bytes, room),
                Route("/statusz", functools.partial(self._answer_status, pipeline)),
            ]
            entrance.open()
            if self.settings.metrics_otlp_endpoint:
                self._send_metrics(stack, pipeline, self.settings.metrics_otlp_endpoint)
            asked.start()
            stack.push_async_callback(asyncio.to_thread, asked.stop)
            # Drain before the transports stop: requests stored meanwhile still get a response, and
            # requests arriving meanwhile are told to retry.
            stack.push_async_callback(self._drain, pipeline, healthy)
            for service in ("", *names):
                await healthy.set(service, health_pb2.HealthCheckResponse.SERVING)
            self.ready = True
            self._stack = stack.pop_all()

    async def stop(self) -> None:
        """Accept no more, store and acknowledge what was accepted, close all; idempotent."""
        await self._stack.aclose()

    def _lock(self) -> None:
        """Load the certificates and tokens, and warn if access is not restricted enough."""
        settings = self.settings
        if settings.tls_cert_file and settings.tls_key_file:
            self._certificates = Certificates(
                settings.tls_cert_file, settings.tls_key_file, settings.tls_client_ca_file
            )
        if settings.token_file:
            self._tokens = Tokens(settings.token_file)
        reached = [each for each in (settings.grpc, settings.http) if not is_loopback(each)]
        if not reached:
            return
        if not (self._tokens or settings.tls_client_ca_file):
            _log.warning(
                "anyone who can reach %s can %s: set %s or %s",
                " and ".join(reached),
                "read, write and delete" if settings.store else "send to all destinations",
                flag("token_file"),
                flag("tls_client_ca_file"),
            )
        if self._tokens and not self._certificates:
            _log.warning(
                "tokens and data reach %s unencrypted: set %s and %s, unless a proxy in front of it"
                " does TLS",
                " and ".join(reached),
                flag("tls_cert_file"),
                flag("tls_key_file"),
            )

    def _send_metrics(
        self, stack: contextlib.AsyncExitStack, pipeline: Pipeline, endpoint: str
    ) -> None:
        from otel_vtrack.metrics import Metrics  # noqa: PLC0415 - loads the SDK and its exporter

        metrics = Metrics(endpoint, functools.partial(self._status, pipeline))
        stack.push_async_callback(asyncio.to_thread, metrics.stop)

    def _set_doing(self, doing: str) -> None:
        self.doing = doing

    async def _close_pipeline(self) -> None:
        if self._pipeline:
            await asyncio.to_thread(self._pipeline.close)
            self._pipeline = None

    async def _recover(self, pipeline: Pipeline) -> None:
        self.doing = "recovering"
        # Data left by the last run has to be queryable before queries are served.
        deadline = time.monotonic() + _RECOVERY_SECONDS
        while not self.asked_to_stop and time.monotonic() < deadline:
            if await asyncio.to_thread(pipeline.recover, _STEP_SECONDS):
                return

    async def _start_grpc(
        self,
        stack: contextlib.AsyncExitStack,
        pool: concurrent.futures.ThreadPoolExecutor,
        names: Sequence[str],
    ) -> tuple[Entrance, Any]:
        server = grpc.aio.server(
            migration_thread_pool=pool,
            options=otlp_grpc.server_options(
                self.settings.max_request_bytes, self.settings.max_connections
            ),
            interceptors=[access.Interceptor(self._tokens)] if self._tokens else None,
        )
        healthy: Any = health.aio.HealthServicer()  # pyright: ignore[reportAttributeAccessIssue]
        for service in ("", *names):
            await healthy.set(service, health_pb2.HealthCheckResponse.NOT_SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
        served = (*names, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(served, server)
        entrance = Entrance(lambda: self.doing)
        server.add_generic_rpc_handlers((entrance,))
        host, _ = split_address(self.settings.grpc)
        try:
            port = (
                server.add_secure_port(self.settings.grpc, self._certificates.grpc_credentials())
                if self._certificates
                else server.add_insecure_port(self.settings.grpc)
            )
        except RuntimeError as error:
            raise SettingsError(not_had("grpc", self.settings.grpc, error)) from error
        await server.start()
        stack.push_async_callback(server.stop, _GRACE_SECONDS)
        self.grpc_address = join_address(host, port)
        return entrance, healthy

    async def _start_http(
        self,
        stack: contextlib.AsyncExitStack,
        listener: socket.socket,
        entrance: Entrance,
    ) -> Starlette:
        app = Starlette(
            routes=[Route("/readyz", self._answer_ready), Route("/livez", _answer_live)]
        )
        app.add_middleware(Closed, entrance=entrance)
        if self._tokens:
            app.add_middleware(access.Middleware, tokens=self._tokens)
        allowed = self.settings.allowed_hosts
        if allowed or (is_loopback(self.settings.http) and not self._tokens):
            app.add_middleware(web.Hosts, allowed=allowed)
        app.add_middleware(
            web.Crowd,
            most=self.settings.max_connections,
            connections=lambda: len(served.server_state.connections),
        )
        app.add_middleware(web.Targets)
        config = uvicorn.Config(
            app,
            http=web.Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=int(_GRACE_SECONDS),
        )
        if self._certificates:
            # Older uvicorn releases accept only files, which they read once.
            config.load()
            config.ssl = self._certificates.ssl_context()
        served = web.Web(config)
        serving = asyncio.create_task(served.serve(sockets=[listener]))

        async def stop() -> None:
            served.should_exit = True
            await serving

        stack.push_async_callback(stop)
        while not served.started:  # uvicorn has no event for it
            if serving.done():
                serving.result()
            await asyncio.sleep(0.01)
        host, _ = split_address(self.settings.http)
        self.http_address = join_address(host, listener.getsockname()[1])
        return app

    async def _drain(self, pipeline: Pipeline, healthy: Any) -> None:
        self.ready = False
        self.doing = "stopping"
        await healthy.enter_graceful_shutdown()
        await asyncio.to_thread(pipeline.drain)

    async def _answer_ready(self, _: Request) -> Response:
        if self.ready:
            return PlainTextResponse("ready\n")
        return PlainTextResponse(f"{self.doing}\n", 503)

    async def _answer_status(self, pipeline: Pipeline, _: Request) -> Response:
        # In a thread: a queue occasionally waits for the disk.
        return JSONResponse(await asyncio.to_thread(self._status, pipeline))

    def _status(self, pipeline: Pipeline) -> dict[str, Any]:
        return {
            "version": otel_vtrack.__version__,
            "mode": self.settings.mode,
            "unauthenticated": self._tokens.refused if self._tokens else 0,
            "received": pipeline.received(),
            "processed": pipeline.processor.status(),
            "sampled": pipeline.sampled(),
            "retained": pipeline.retention.status() if pipeline.retention else {},
            "forwarded": pipeline.forwarder.status() if pipeline.forwarder else {},
        }

    async def __aenter__(self) -> Self:
        """Start the server."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop the server."""
        await self.stop()


async def serve(settings: Settings, ready: Callable[[Server], None]) -> None:
    """Serve until SIGTERM or SIGINT, then shut down gracefully.

    Args:
        settings: The server's settings.
        ready: Called once requests are accepted.

    Raises:
        VtrackError: The server cannot start; the message says why and what to do.
    """
    server = Server(settings)
    asked_to_stop = asyncio.Event()

    def ask_to_stop() -> None:
        server.asked_to_stop = True
        asked_to_stop.set()

    loop = asyncio.get_running_loop()
    # First, so that a signal during a long migration is not lost.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask_to_stop)
    allow_files()
    if settings.store:
        memory.keep_freed_memory()
    else:
        # A server that only forwards should use little memory.
        memory.give_freed_memory_back()
    async with server:
        # Objects created so far stay alive. A garbage collection of all of them, which could delay
        # a response, takes 0.1 s.
        gc.freeze()
        if not server.asked_to_stop:
            ready(server)
        await asked_to_stop.wait()
        _log.info("stopping: storing what was received")
        for number in (signal.SIGTERM, signal.SIGINT):
            # A second signal means: do not wait. No acknowledged data is lost.
            loop.add_signal_handler(number, os._exit, 128 + number)
    _log.info("stopped")


@contextlib.contextmanager
def running(settings: Settings) -> Generator[Server]:
    """Serve from a separate thread until the block ends."""
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


async def _answer_live(_: Request) -> Response:
    return PlainTextResponse("alive\n")
