"""Maps vtrack's errors to gRPC status codes."""

import logging
from typing import Final

import grpc

from otel_vtrack.errors import (
    AlreadyExists,
    InvalidArgument,
    NotFound,
    Overloaded,
    StoreUnavailable,
    VtrackError,
)

_log = logging.getLogger(__name__)

# The first match applies; subclasses precede their base classes.
_CODES: Final[tuple[tuple[type[VtrackError], grpc.StatusCode], ...]] = (
    (InvalidArgument, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (AlreadyExists, grpc.StatusCode.ALREADY_EXISTS),
    (Overloaded, grpc.StatusCode.UNAVAILABLE),
    (StoreUnavailable, grpc.StatusCode.UNAVAILABLE),
)
_LONGEST: Final = 1_000


def status_of(error: BaseException) -> tuple[grpc.StatusCode, str]:
    """Return the code and message for an error; log unexpected errors without revealing them."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code, str(error)[:_LONGEST]
    _log.error("a query failed with an unexpected error", exc_info=error)
    return (
        grpc.StatusCode.INTERNAL,
        "the server failed with an unexpected error: see its log",
    )
