"""Interprets a backend's response: accepted, to be retried, or refused for good.

Sources: OTLP specification 1.11.0, sections "OTLP/gRPC Response" (failures, throttling) and
"OTLP/HTTP Response" (retryable response codes, throttling).
"""

import time
from dataclasses import dataclass
from enum import Enum
from typing import Final

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from otel_vtrack.wire.retry_after import seconds
from otel_vtrack.wire.signals import Signal

_LONGEST: Final = 1_000

_AGAIN_GRPC: Final = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
_AGAIN_HTTP: Final = frozenset({429, 502, 503, 504})
_LATE_HTTP: Final = 504
_THROTTLED_HTTP: Final = frozenset({429, 503})
# These concern the sender or the endpoint, so a smaller or different request would fail too.
_NOT_THE_BODY_GRPC: Final = frozenset(
    {
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.NOT_FOUND,
    }
)
_NOT_THE_BODY_HTTP: Final = frozenset({*range(300, 400), 401, 403, 404, 405, 407, 415})


class Verdict(Enum):
    """What to do next."""

    SENT = "sent"
    AGAIN = "again"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one attempt, with or without a response.

    Attributes:
        verdict: What to do next.
        status: The code, such as UNAVAILABLE or HTTP 503, or our own text; safe to log.
        message: The backend's message, in one line; may quote telemetry.
        pause_seconds: The shortest pause that the backend asks for.
        rejected: Items rejected from a request that was accepted.
        about_body: Whether a different request might succeed.
        late: Whether the response did not come in time, as it might to a smaller request.
    """

    verdict: Verdict
    status: str = ""
    message: str = ""
    pause_seconds: float = 0.0
    rejected: int = 0
    about_body: bool = False
    late: bool = False

    @property
    def reason(self) -> str:
        """Status and message in one line."""
        return f"{self.status}: {self.message}" if self.message else self.status


def taken(signal: Signal, answer: bytes) -> Outcome:
    """Interpret the response of a success, which counts as one even if it is not valid OTLP."""
    try:
        partial = signal.response.FromString(answer).partial_success
    except DecodeError:
        return Outcome(Verdict.SENT)
    rejected = max(0, getattr(partial, signal.rejected))
    return Outcome(Verdict.SENT, message=one_line(partial.error_message), rejected=rejected)


def unreachable(reason: str, *, late: bool = False) -> Outcome:
    """Return the outcome without a response; `reason` is our own text."""
    return Outcome(Verdict.AGAIN, reason, late=late)


def of_grpc(code: grpc.StatusCode, message: str, trailers: dict[str, str | bytes]) -> Outcome:
    """Interpret a gRPC status."""
    pause = _retry_delay(trailers)
    again = code in _AGAIN_GRPC or (
        code is grpc.StatusCode.RESOURCE_EXHAUSTED and pause is not None
    )
    return Outcome(
        Verdict.AGAIN if again else Verdict.REFUSED,
        code.name,
        one_line(message),
        pause or 0.0,
        about_body=code not in _NOT_THE_BODY_GRPC,
        late=code is grpc.StatusCode.DEADLINE_EXCEEDED,
    )


def of_http(status: int, retry_after: str, body: bytes) -> Outcome:
    """Interpret an HTTP status outside of 200 to 299."""
    pause = seconds(retry_after, time.time()) or 0.0
    return Outcome(
        Verdict.AGAIN if status in _AGAIN_HTTP else Verdict.REFUSED,
        f"HTTP {status}",
        _status_message(body),
        pause if status in _THROTTLED_HTTP else 0.0,
        about_body=status not in _NOT_THE_BODY_HTTP,
        late=status == _LATE_HTTP,
    )


def one_line(text: str) -> str:
    """Collapse a text of any length into one line, cut to 1,000 characters."""
    return " ".join(text[: 2 * _LONGEST].split())[:_LONGEST]


def _retry_delay(trailers: dict[str, str | bytes]) -> float | None:
    """Find RetryInfo where the specification puts it, and where Python servers do."""
    raw = trailers.get("grpc-status-details-bin")
    retry = error_details_pb2.RetryInfo()
    try:
        if isinstance(raw, bytes):
            for detail in status_pb2.Status.FromString(raw).details:
                if detail.Unpack(retry):
                    return _seconds(retry)
        raw = trailers.get("google.rpc.retryinfo-bin")
        if isinstance(raw, bytes):
            return _seconds(error_details_pb2.RetryInfo.FromString(raw))
    except DecodeError:
        pass
    return None


def _seconds(retry: error_details_pb2.RetryInfo) -> float:
    return max(0.0, retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9)


def _status_message(body: bytes) -> str:
    """Return the message of a google.rpc.Status, or the plain text sent in its place."""
    try:
        if message := status_pb2.Status.FromString(body).message:
            return one_line(message)
    except DecodeError:
        pass
    text = body[: 2 * _LONGEST].decode(errors="replace")
    return one_line("".join(each if each.isprintable() else " " for each in text))
