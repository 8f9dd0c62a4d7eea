"""Maps errors to the statuses that make a sender react correctly.

A sender retries after UNAVAILABLE and 503, and drops the data after any other status used here.
So every temporary error is UNAVAILABLE, and only what can never succeed is not.
"""

import logging
import math
from dataclasses import dataclass
from typing import Final

import grpc
from google.protobuf import duration_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from otel_vtrack.errors import Overloaded, StoreUnavailable, VtrackError, WireError

_log = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 5.0
_LONGEST_MESSAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Fault:
    """A rejection, for both transports.

    Attributes:
        code: gRPC status code.
        http_status: The equivalent HTTP status.
        message: What is wrong and what to do, in English.
        retry_after_seconds: Set if the same request may succeed later.
    """

    code: grpc.StatusCode
    http_status: int
    message: str
    retry_after_seconds: float | None = None

    def status(self) -> status_pb2.Status:
        """Build the google.rpc.Status: with RetryInfo if retryable, BadRequest for bad data."""
        status = status_pb2.Status(code=self.code.value[0], message=self.message)
        if retry := self.retry_info():
            status.details.add().Pack(retry)
        elif self.code is grpc.StatusCode.INVALID_ARGUMENT:
            bad = error_details_pb2.BadRequest()
            bad.field_violations.add(field="body", description=self.message)
            status.details.add().Pack(bad)
        return status

    def retry_info(self) -> error_details_pb2.RetryInfo | None:
        """Build the RetryInfo; None if the request must not be sent again."""
        if self.retry_after_seconds is None:
            return None
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(math.ceil(self.retry_after_seconds * 1_000))
        return error_details_pb2.RetryInfo(retry_delay=delay)


class Refused(VtrackError):
    """A rejection that carries the fault to report to the sender."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def bad_data(message: str) -> Refused:
    """Return the error for a request that can never be accepted: INVALID_ARGUMENT, 400."""
    return Refused(Fault(grpc.StatusCode.INVALID_ARGUMENT, 400, message))


def too_large(limit: int) -> Refused:
    """Return the error for an oversized request: RESOURCE_EXHAUSTED without RetryInfo, 413."""
    message = f"the request is larger than {limit} bytes after decompression; send smaller batches"
    return Refused(Fault(grpc.StatusCode.RESOURCE_EXHAUSTED, 413, message))


def too_slow(seconds: float) -> Refused:
    """Return the error for a body that arrives too slowly but may be valid: 503."""
    message = f"the body did not arrive within {seconds:g} s; retry, or send smaller batches"
    return Refused(Fault(grpc.StatusCode.UNAVAILABLE, 503, message, 1.0))


def crowded(most: int) -> Refused:
    """Return the error for a body that has no room beside those arriving: 503."""
    message = f"the limit of {most} bytes of arriving bodies is reached; retry in a moment"
    return Refused(Fault(grpc.StatusCode.UNAVAILABLE, 503, message, 1.0))


def not_ready(doing: str) -> Refused:
    """Return the error for a request that arrives before the store is ready: 503."""
    message = f"the server is {doing}; retry in a moment"
    return Refused(Fault(grpc.StatusCode.UNAVAILABLE, 503, message, 2.0))


def not_served(signal: str) -> Refused:
    """Return the error for a signal that is not accepted: UNIMPLEMENTED, 404."""
    message = f"this server does not accept {signal}; disable their exporter, or forward them"
    return Refused(Fault(grpc.StatusCode.UNIMPLEMENTED, 404, message))


def fault_of(error: BaseException) -> Fault:
    """Return what to report to the sender; an unexpected error is logged and retryable."""
    match error:
        case Refused():
            return error.fault
        case Overloaded():
            return _unavailable(error, error.retry_after_seconds)
        case StoreUnavailable():
            return _unavailable(error, _RETRY_SECONDS)
        case DecodeError():
            message = "the request is not valid OTLP; send what an OTLP encoder wrote"
            return Fault(grpc.StatusCode.INVALID_ARGUMENT, 400, message)
        case WireError():
            return Fault(grpc.StatusCode.INVALID_ARGUMENT, 400, str(error)[:_LONGEST_MESSAGE])
        case _:
            _log.error("a request failed unexpectedly", exc_info=error)
            return Fault(
                grpc.StatusCode.UNAVAILABLE,
                503,
                "the server failed unexpectedly; retry, and see its log",
                _RETRY_SECONDS,
            )


def _unavailable(error: Exception, retry_after_seconds: float) -> Fault:
    message = str(error)[:_LONGEST_MESSAGE]
    return Fault(grpc.StatusCode.UNAVAILABLE, 503, message, retry_after_seconds)
