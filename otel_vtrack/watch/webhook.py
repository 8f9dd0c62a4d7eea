"""Posts events to a URL, signed according to Standard Webhooks 1.0.0.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any, Final

import urllib3

from otel_vtrack.query.watch import WatchEvent
from otel_vtrack.watch.delivery import Outcome
from otel_vtrack.wire.retry_after import seconds

PREFIX: Final = "whsec_"

_TIMEOUT: Final = urllib3.Timeout(connect=5.0, read=15.0)
_GONE: Final = 410


def key(secret: str) -> bytes:
    """Decode a secret in the specification's format to the bytes of the signing key.

    Raises:
        ValueError: The secret is malformed; the message does not reveal it.
    """
    try:
        found = base64.b64decode(secret.strip().removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if not 24 <= len(found) <= 64:
        raise ValueError("write whsec_, then 24 to 64 random bytes in base64")
    return found


def signature(secret: bytes, event_id: str, timestamp: int, body: bytes) -> str:
    """Return the signature of a message."""
    signed = f"{event_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()


def payload(event: WatchEvent) -> bytes:
    """Serialize an event to JSON: type, timestamp and data."""
    data = asdict(event)
    for name in ("event_time", "deployment_start_time"):
        data[name] = _text(data.pop(f"{name}_ns"))
    said = {"type": f"vtrack.watch.{event.kind}", "timestamp": data["event_time"], "data": data}
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()


class Webhook:
    """A webhook that receives events.

    Args:
        url: Where to post; never logged.
        secret: The signing key, as `key` returns it.
        clock: Returns the time in seconds since 1970.
    """

    name = "webhook"

    def __init__(self, url: str, secret: bytes, clock: Callable[[], float] = time.time) -> None:
        self._url = url
        self._secret = secret
        self._clock = clock
        self._pool = urllib3.PoolManager(retries=False, timeout=_TIMEOUT)

    def send(self, event: WatchEvent) -> Outcome:
        """Post an event; 2xx is success, and 410 means not to try again."""
        body = payload(event)
        timestamp = int(self._clock())
        headers = {
            "content-type": "application/json",
            "user-agent": "otel-vtrack",
            "webhook-id": event.event_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(self._secret, event.event_id, timestamp, body),
        }
        try:
            response = self._pool.request(
                "POST", self._url, body=body, headers=headers, redirect=False, preload_content=False
            )
            status, said = response.status, response.headers
            # The response body is irrelevant and may be endless.
            response.close()
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            # The text of the error contains the URL.
            return Outcome(delivered=False, why=_kind(error))
        if 200 <= status < 300:
            return Outcome(delivered=True)
        return Outcome(
            delivered=False,
            why=f"it answered {status}",
            retry_after=seconds(said.get("retry-after", ""), self._clock()),
            final=status == _GONE,
        )


def _kind(error: Any) -> str:
    refused = isinstance(error, urllib3.exceptions.NewConnectionError)
    if isinstance(error, urllib3.exceptions.TimeoutError) and not refused:
        return "it took too long to answer"
    cause: Any = getattr(error, "__cause__", None) or error
    return f"it cannot be reached: {type(cause).__name__}"


def _text(nanoseconds: int) -> str:
    moment = datetime.fromtimestamp(nanoseconds // 1_000_000_000, timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds % 1_000_000_000:09d}Z"
