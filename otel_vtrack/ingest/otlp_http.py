"""OTLP over HTTP: POST to /v1/traces, /v1/logs and /v1/metrics, in protobuf or JSON.

app = Starlette(routes=[*otlp_http.otlp_routes(receiver), *others])
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from google.protobuf import json_format
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from otel_vtrack.ingest import body, faults
from otel_vtrack.ingest.otlp_grpc import MAX_MESSAGE_BYTES
from otel_vtrack.ingest.receiver import Receiver, adjusted_count_of, experiment_of
from otel_vtrack.ingest.room import Room, Share
from otel_vtrack.wire import otlp_json
from otel_vtrack.wire.signals import SIGNALS, Signal

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"

# Larger JSON is decoded in a thread, so that it does not block other requests.
_LARGE_JSON: Final = 64 << 10
# How long to discard a rejected body: a sender reads the response only after sending.
_DISCARD_SECONDS: Final = 5.0


def otlp_routes(
    receiver: Receiver,
    *,
    max_body_bytes: int = MAX_MESSAGE_BYTES,
    body_timeout_seconds: float = 60.0,
    room: Room | None = None,
) -> list[Route]:
    """Create the OTLP routes, for an application that may have others.

    Args:
        receiver: Takes the requests.
        max_body_bytes: Limit of a body, both as sent and decompressed.
        body_timeout_seconds: How long a body may take to arrive.
        room: Room for arriving bodies; shared with other routes that read bodies.
    """
    room = room or Room()
    return [
        Route(
            f"/v1/{signal.name}",
            _export(receiver, signal, max_body_bytes, body_timeout_seconds, room),
            methods=["POST"],
            name=f"otlp_{signal.name}",
        )
        for signal in SIGNALS
    ]


def _export(
    receiver: Receiver, signal: Signal, limit: int, timeout: float, room: Room
) -> Callable[[Request], Awaitable[Response]]:
    async def export(request: Request) -> Response:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type not in {PROTOBUF, JSON}:
            return PlainTextResponse(
                f"This content type is not OTLP; send {PROTOBUF} or {JSON}.\n", 415
            )
        payload: bytes | None = None
        try:
            headers = request.headers.items()
            experiment, count = experiment_of(headers), adjusted_count_of(headers)
            with room.share() as share:
                payload = await _payload(request, limit, timeout, share)
                if media_type == JSON:
                    payload = await _from_json(receiver, signal, payload)
                # Still counted: processing may take longer than arriving.
                ready = await receiver.prepare(signal, payload, experiment, count)
            # From here on the queue's own limit applies.
            answer = await receiver.store(ready)
        except ClientDisconnect:
            # Nobody reads this response; the sender retries the request.
            return Response(status_code=400)
        except Exception as error:  # noqa: BLE001 - every error becomes a response
            return _refusal(faults.fault_of(error), media_type, unread=payload is None)
        if media_type == JSON:
            answer = otlp_json.write(signal.response.FromString(answer)).encode()
        return Response(answer, media_type=media_type)

    return export


async def _payload(request: Request, limit: int, timeout: float, share: Share) -> bytes:
    chunks = request.stream()
    encoding = request.headers.get("content-encoding", "")
    length = request.headers.get("content-length", "")
    is_too_large = length.isdecimal() and int(length) > limit
    if is_too_large and request.headers.get("expect", "").lower() == "100-continue":
        # The client waits for 100 Continue, which reading the body would send.
        raise faults.too_large(limit)
    try:
        if is_too_large:
            raise faults.too_large(limit)
        return await asyncio.wait_for(body.read(chunks, encoding, limit, share), timeout)
    except asyncio.TimeoutError:
        raise faults.too_slow(timeout) from None
    except faults.Refused as refused:
        if refused.fault.http_status in {413, 503}:
            with contextlib.suppress(asyncio.TimeoutError, ClientDisconnect):
                await asyncio.wait_for(_discard(chunks, limit), _DISCARD_SECONDS)
        raise


async def _discard(chunks: AsyncIterator[bytes], limit: int) -> None:
    seen = 0
    async for chunk in chunks:
        seen += len(chunk)
        if seen > limit:
            return


async def _from_json(receiver: Receiver, signal: Signal, raw: bytes) -> bytes:
    def convert() -> bytes:
        message = signal.request()
        otlp_json.read(raw, message)
        return message.SerializeToString()

    return await receiver.in_thread(convert) if len(raw) > _LARGE_JSON else convert()


def _refusal(fault: faults.Fault, media_type: str, *, unread: bool) -> Response:
    """Answer with a google.rpc.Status in the request's encoding."""
    # The rest of a body that was not read whole would look like the next request.
    headers = {"Connection": "close"} if unread else {}
    if fault.retry_after_seconds is not None:
        headers["Retry-After"] = str(math.ceil(fault.retry_after_seconds))
    status = fault.status()
    content = (
        json_format.MessageToJson(status, indent=None)
        if media_type == JSON
        else status.SerializeToString()
    )
    return Response(content, fault.http_status, headers, media_type)
