"""Serves the services as JSON over HTTP: unary RPCs of the Connect protocol.

POST a JSON request with the protos' field names to `/otel_vtrack.v1.TraceService/SearchTraces`.
Errors are JSON too, `{"code": "not_found", "message": "..."}`, with the HTTP status that
corresponds to the code. Source: https://connectrpc.com/docs/protocol, section "Unary".
"""

import asyncio
import json
import math
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import Any, Final, cast

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from otel_vtrack.api import messages
from otel_vtrack.api.service import Backend, Method, Service
from otel_vtrack.api.status import status_of
from otel_vtrack.errors import InvalidArgument
from otel_vtrack.ingest import body
from otel_vtrack.ingest.faults import Refused
from otel_vtrack.ingest.room import Room

JSON: Final = "application/json"
PROTOBUF: Final = "application/proto"

_BODY_SECONDS: Final = 60.0
_VALUES: Final = frozenset(f"google.protobuf.{name}" for name in ("Value", "ListValue", "Struct"))
# Prefix of messages of protobuf's parser that wrap an internal Python error.
_UNFORESEEN: Final = "Failed to parse JSON: "
_FIELD: Final = re.compile(r"Failed to parse (\S+) field: ")
_HTTP_STATUS: Final = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}
"""All other codes map to 500."""


def routes(
    services: tuple[Service, ...],
    backend: Backend,
    pool: Executor,
    *,
    max_body_bytes: int,
    room: Room,
) -> list[Route]:
    """Return a route for each method, to add to an application.

    Args:
        services: Services to serve.
        backend: Passed to the handlers.
        pool: Runs the handlers, which block.
        max_body_bytes: Size limit of a request, both compressed and decompressed.
        room: Memory budget for request bodies in transit or in processing.
    """
    return [
        Route(
            method.path,
            _answers(method, backend, pool, max_body_bytes, room),
            methods=["POST"],
            name=method.path,
        )
        for service in services
        for method in service.methods
    ]


def _answers(
    method: Method, backend: Backend, pool: Executor, limit: int, room: Room
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type not in {JSON, PROTOBUF}:
            return Response(status_code=415, headers={"accept-post": f"{JSON}, {PROTOBUF}"})
        try:
            seconds = _timeout(request.headers)
            encoding = request.headers.get("content-encoding", "")
            chunks = request.stream()
            with room.share() as share:
                reading = body.read(chunks, encoding, limit, share)
                payload = await asyncio.wait_for(reading, _BODY_SECONDS)
                loop = asyncio.get_running_loop()
                work = loop.run_in_executor(pool, _answered, method, backend, media_type, payload)
                content = await asyncio.wait_for(work, seconds)
        except ClientDisconnect:
            return Response(status_code=400)  # The client is gone.
        except (asyncio.TimeoutError, TimeoutError):
            return _error(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline was exceeded")
        except Refused as refused:
            return _error(
                refused.fault.code, refused.fault.message, refused.fault.retry_after_seconds
            )
        except Exception as error:  # noqa: BLE001 - every one has a code
            return _error(*status_of(error))
        return Response(content, media_type=media_type)

    return answer


def _answered(method: Method, backend: Backend, media_type: str, payload: bytes) -> bytes:
    # In the pool, because parsing and writing large JSON can block the event loop for seconds.
    asked = _read(method.request, media_type, payload)
    return _write(method.handler(backend, asked), media_type)


def _timeout(headers: Any) -> float | None:
    text = headers.get("connect-timeout-ms")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 10):
        raise InvalidArgument("Connect-Timeout-Ms must be a number of up to ten digits")
    return int(text) / 1_000


def _read(kind: type[Message], media_type: str, payload: bytes) -> Message:
    message = kind()
    try:
        if media_type == PROTOBUF:
            message.ParseFromString(payload)
        else:
            text = _object(payload.decode())
            json_format.Parse(text, message)
            _check_numbers(cast("Descriptor", kind.DESCRIPTOR), json.loads(text))
    except (json_format.ParseError, DecodeError, UnicodeDecodeError, RecursionError) as error:
        said = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        if said.startswith(_UNFORESEEN):
            said = "a key or value is not text, or of the wrong type"
        elif _is_of_python(error):
            said = _wrong_type(cast("Descriptor", kind.DESCRIPTOR), said)
        raise InvalidArgument(
            f"the body is not {kind.DESCRIPTOR.full_name} in {media_type}: {said}"
        ) from None
    return message


def _is_of_python(error: BaseException | None) -> bool:
    """Return whether a parser error only wraps a Python error."""
    while error is not None:
        if isinstance(error, TypeError):
            return True
        error = error.__cause__
    return False


def _wrong_type(kind: Descriptor, said: str) -> str:
    """Describe the type that a value should have, given the field names in the parser's message."""
    path: list[str] = []
    wanted = "an object"
    for name in _FIELD.findall(said):
        field = kind.fields_by_name.get(name) or kind.fields_by_camelcase_name.get(name)
        if field is None:  # A field of a list given in place of its message.
            break
        path.append(name)
        if field.message_type is None:
            wanted = "text, in quotes"
            break
        kind = field.message_type
        wanted = "text, in quotes" if kind.GetOptions().map_entry else "an object"
    return f"{'.'.join(path) or 'a value'} is of the wrong type: give {wanted}"


def _check_numbers(kind: Descriptor, content: Any) -> None:
    """Reject integers that a Value, whose numbers are doubles, cannot represent exactly.

    Raises:
        InvalidArgument: There is one.
    """
    if kind.full_name in _VALUES:
        _check_doubles(content)
    elif isinstance(content, dict):
        # Keys of a map are not field names.
        entry = kind.fields_by_name["value"] if kind.GetOptions().map_entry else None
        for name, item in cast("dict[str, Any]", content).items():
            field = (
                entry or kind.fields_by_name.get(name) or kind.fields_by_camelcase_name.get(name)
            )
            if field is not None and field.message_type is not None:
                for each in item if isinstance(item, list) else [item]:
                    _check_numbers(field.message_type, each)


def _check_doubles(content: Any) -> None:
    if isinstance(content, dict):
        content = list(cast("dict[str, Any]", content).values())
    if isinstance(content, list):
        for item in cast("list[Any]", content):
            _check_doubles(item)
    elif isinstance(content, int) and not messages.is_double(content):
        raise InvalidArgument(
            f"{str(content)[:40]} has more digits than a number in a value, a double, holds: give"
            " it as a text"
        )


def _object(text: str) -> str:
    # Protobuf's parser accepts a list as an empty object, and crashes on numbers.
    if text and not text.lstrip().startswith("{"):
        raise json_format.ParseError("expected an object")
    return text or "{}"


def _write(message: Message, media_type: str) -> bytes:
    if media_type == PROTOBUF:
        return message.SerializeToString()
    # Use the protos' field names, like the columns and docs. Protobuf's JSON parsers accept both
    # spellings.
    return json_format.MessageToJson(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
        indent=None,
        ensure_ascii=False,
    ).encode()


def _error(code: grpc.StatusCode, message: str, retry_after: float | None = None) -> Response:
    # Connect spells it with one L.
    name = "canceled" if code is grpc.StatusCode.CANCELLED else code.name.lower()
    return Response(
        json.dumps({"code": name, "message": message}),
        status_code=_HTTP_STATUS.get(code, 500),
        headers=None if retry_after is None else {"Retry-After": str(math.ceil(retry_after))},
        media_type=JSON,
    )
