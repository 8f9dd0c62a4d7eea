"""Requires a token for every request on both transports, before reading its body.

Probes stay open: /readyz, /livez and gRPC's health service.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf import json_format
from google.rpc import status_pb2
from grpc_health.v1 import health
from starlette.types import ASGIApp, Receive, Scope, Send
from typing_extensions import override

from otel_vtrack.tokens import Tokens

_SAID: Final = (
    "this server requires a token, and the request has no valid one: send authorization: Bearer"
    " TOKEN"
)
_HEALTH: Final = f"/{health.SERVICE_NAME}/"
OPEN_PATHS: Final = frozenset({"/readyz", "/livez"})
"""Paths of the probes."""

# Limits on discarding a body before refusing: a client still sending would not read the response.
_DISCARD_SECONDS: Final = 5.0
_DISCARD_BYTES: Final = 8 << 20


class Interceptor(grpc.aio.ServerInterceptor):
    """Responds UNAUTHENTICATED to gRPC calls without a valid token."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    @override
    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Pass the call on if it has a valid token or is a health check, else refuse it."""
        details: Any = handler_call_details
        if details.method.startswith(_HEALTH) or self._tokens.admit(
            value for name, value in details.invocation_metadata or () if name == "authorization"
        ):
            return await continuation(handler_call_details)
        return _REFUSAL


async def _refuse(_: Any, context: Any) -> None:
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, _SAID)


# For methods of any kind: a stream handler is called before any message arrives.
_REFUSAL: Final = grpc.stream_stream_rpc_method_handler(_refuse)


class Middleware:
    """Responds 401 to HTTP requests without a valid token.

    Source: RFC 6750 section 3 (WWW-Authenticate).
    """

    def __init__(self, app: ASGIApp, tokens: Tokens) -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if it has a valid token or is a probe, else refuse it."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if self._tokens.admit(given):
            await self._app(scope, receive, send)
            return
        challenge = b'Bearer realm="otel-vtrack"'
        if given:
            challenge += b', error="invalid_token"'
        await refuse(
            scope,
            receive,
            send,
            http_status=401,
            code=grpc.StatusCode.UNAUTHENTICATED,
            message=_SAID,
            headers=[(b"www-authenticate", challenge)],
        )


async def refuse(
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    http_status: int,
    code: grpc.StatusCode,
    message: str,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Refuse an HTTP request, without processing it, in the error format of its path."""
    # A client that sent Expect is told before it sends the body.
    if not any(name == b"expect" for name, _ in scope["headers"]):
        with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
            await asyncio.wait_for(_discard(receive), _DISCARD_SECONDS)
    media_type, body = _answer(scope, code, message)
    sent = [
        (b"content-type", media_type),
        (b"content-length", str(len(body)).encode()),
        *headers,
        # An unread rest of the body would look like the next request.
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": http_status, "headers": sent})
    await send({"type": "http.response.body", "body": body})


async def _discard(receive: Receive) -> None:
    seen, more = 0, True
    while more and seen <= _DISCARD_BYTES:
        message = await receive()
        seen += len(message.get("body", b""))
        more = message.get("more_body", False)


def _answer(scope: Scope, code: grpc.StatusCode, message: str) -> tuple[bytes, bytes]:
    """Return media type and body: as in OTLP (google.rpc.Status), in Connect, or plain text."""
    path: str = scope["path"]
    if path.startswith("/otel_vtrack."):
        said = json.dumps({"code": code.name.lower(), "message": message})
        return b"application/json", said.encode()
    if path.startswith("/v1/"):
        status = status_pb2.Status(code=code.value[0], message=message)
        kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
        if kind.partition(b";")[0].strip().lower() == b"application/json":
            return b"application/json", json_format.MessageToJson(status, indent=None).encode()
        return b"application/x-protobuf", status.SerializeToString()
    return b"text/plain; charset=utf-8", f"{message}\n".encode()
