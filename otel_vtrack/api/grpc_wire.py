"""Serves the services over gRPC."""

from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from otel_vtrack.api.service import Backend, Method, Service
from otel_vtrack.api.status import status_of
from otel_vtrack.errors import InvalidArgument


def add_services(
    server: grpc.aio.Server | grpc.Server, services: tuple[Service, ...], backend: Backend
) -> None:
    """Serve `services` on `server`, alongside its other services.

    Handlers block, so a `grpc.aio` server needs a `migration_thread_pool`.
    """
    for service in services:
        handlers = {
            method.path.rpartition("/")[2]: grpc.unary_unary_rpc_method_handler(
                _answers(method, backend),
                response_serializer=method.response.SerializeToString,
            )
            for method in service.methods
        }
        generic = grpc.method_handlers_generic_handler(service.full_name, handlers)
        server.add_generic_rpc_handlers((generic,))


def _answers(method: Method, backend: Backend) -> Any:
    # A plain function, not a coroutine: the store blocks, so the server runs it in a thread.
    def answer(payload: bytes, context: Any) -> Any:
        left = context.time_remaining()
        if left is not None and left <= 0:
            # The request spent too long in the queue; its caller has given up.
            code = grpc.StatusCode.DEADLINE_EXCEEDED
            context.abort(code, "the server was too busy to start in time: retry later")
        try:
            return method.handler(backend, _read(method, payload))
        except Exception as error:
            context.abort(*status_of(error))
            raise

    return answer


def _read(method: Method, payload: bytes) -> Message:
    # Parsed here because a failure in gRPC's own deserializer becomes an UNKNOWN error.
    try:
        return method.request.FromString(payload)
    except DecodeError:
        name = method.request.DESCRIPTOR.full_name
        raise InvalidArgument(
            f"the bytes are not {name}: send the output of a protobuf encoder"
        ) from None
