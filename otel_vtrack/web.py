"""The HTTP port: timeouts and number of connections, and accepted Host names."""

import asyncio
import contextlib
import ipaddress
import logging
import re
from collections.abc import Callable, Collection, Generator
from typing import Any, Final
from urllib.parse import unquote

import grpc
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

from otel_vtrack import access, log

_log = logging.getLogger(__name__)

# For a request's head, from the connection's start or the preceding data. uvicorn closes a
# connection that is idle between two requests, but waits for a first request forever.
_HEAD_SECONDS: Final = 10.0
# Containers call their host by the second name; nobody can register it in the public DNS.
_OWN_NAMES: Final = frozenset({"localhost", "host.docker.internal"})
# RFC 9112 section 3.2.2.
_ABSOLUTE_FORM: Final = re.compile(rb"https?://([^/]+)(.*)", re.IGNORECASE | re.DOTALL)


class Web(uvicorn.Server):
    """uvicorn without its signal handlers; `serve` has its own for both transports."""

    @contextlib.contextmanager
    @override
    def capture_signals(self) -> Generator[None]:
        yield


class Protocol(H11Protocol):
    """Closes a connection that does not send a request in time."""

    _waiting: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: Any) -> None:
        """Start the timeout."""
        super().connection_made(transport)
        self._wait()

    @override
    def data_received(self, data: bytes) -> None:
        """Stop the timeout if a request has arrived, else make sure that it runs."""
        super().data_received(data)
        if self._is_asking:
            self._stop_waiting()
        elif not self._waiting:
            self._wait()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timeout."""
        self._stop_waiting()
        super().connection_lost(exc)

    @override
    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing, where uvicorn logs two lines of advice per request.

        Java's client offers an upgrade to HTTP/2 on every cleartext connection, and continues in
        HTTP/1.1 if the server ignores the offer (RFC 9110 section 7.8).
        """

    @property
    def _is_asking(self) -> bool:
        cycle: Any = self.cycle
        return cycle is not None and not cycle.response_complete

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(_HEAD_SECONDS, self._give_up)

    def _stop_waiting(self) -> None:
        if self._waiting:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        self._waiting = None
        if not self._is_asking:
            self.transport.close()


class Targets:
    """Takes whole URLs as request targets, which uvicorn passes on as if they were paths.

    Their host replaces that of the header Host (RFC 9112 section 3.2.2).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, by its path alone."""
        if scope["type"] == "http" and (found := _ABSOLUTE_FORM.fullmatch(scope["raw_path"])):
            host, path = found[1], found[2] or b"/"
            others = [header for header in scope["headers"] if header[0] != b"host"]
            scope = {
                **scope,
                "path": unquote(path.decode("ascii")),
                "raw_path": path,
                "headers": [(b"host", host), *others],
            }
        await self._app(scope, receive, send)


class Crowd:
    """Responds 503 while there are too many connections; probes always pass."""

    def __init__(self, app: ASGIApp, most: int, connections: Callable[[], int]) -> None:
        self._app = app
        self._most = most
        self._connections = connections
        self._seldom = log.Seldom()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if it is a probe or within the limit, else refuse it."""
        if (
            scope["type"] != "http"
            or scope["path"] in access.OPEN_PATHS
            or self._connections() <= self._most
        ):
            await self._app(scope, receive, send)
            return
        if self._seldom():
            _log.warning(
                "more than %d HTTP connections are open: requests are told to retry;"
                " --max-connections sets the limit",
                self._most,
            )
        await access.refuse(
            scope,
            receive,
            send,
            http_status=503,
            code=grpc.StatusCode.UNAVAILABLE,
            message=f"more than {self._most} connections are open: retry in a moment",
            headers=[(b"retry-after", b"1")],
        )


class Hosts:
    """Responds 403 to requests whose Host is not an accepted name.

    Otherwise another site could resolve its own name to this machine, and a browser on its page
    would treat this server as that site: DNS rebinding. IP addresses are accepted because no site
    controls them, and `localhost` because browsers resolve it to this machine whatever the DNS
    says.

    Sources: Fetch standard, "forbidden request-header" (a page cannot set Host); RFC 6761 section
    6.3 (localhost).
    """

    def __init__(self, app: ASGIApp, allowed: Collection[str]) -> None:
        self._app = app
        self._allowed = _OWN_NAMES | {name.lower().rstrip(".") for name in allowed}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if its Host is accepted, else refuse it."""
        if scope["type"] != "http" or all(
            self._admits(value.decode("latin-1"))
            for name, value in scope["headers"]
            if name == b"host"
        ):
            await self._app(scope, receive, send)
            return
        await access.refuse(
            scope,
            receive,
            send,
            http_status=403,
            code=grpc.StatusCode.PERMISSION_DENIED,
            message="this server does not accept the name in Host: use localhost or an IP address,"
            " or start it with --allowed-hosts and that name",
        )

    def _admits(self, host: str) -> bool:
        name, colon, port = host.strip().rpartition(":")
        if not colon or not port.isdecimal():
            name = host.strip()
        name = name.lower().rstrip(".")
        if name in self._allowed or name.endswith(".localhost"):
            return True
        try:
            ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return False
        return True
