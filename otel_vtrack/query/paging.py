"""Cursors: where a page ended, as a token that fits one question only."""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, cast

from otel_vtrack.errors import InvalidArgument

DEFAULT_SIZE: Final = 100
LARGEST_SIZE: Final = 1_000
_CHECK_BYTES: Final = 12


def size(asked: int) -> int:
    """Return how many items a page has; `asked` is 0 for as many as usual.

    Raises:
        InvalidArgument: It is out of range.
    """
    if not 0 <= asked <= LARGEST_SIZE:
        raise InvalidArgument(f"page_size is from 1 to {LARGEST_SIZE}, or 0 for {DEFAULT_SIZE}")
    return asked or DEFAULT_SIZE


def token(place: Sequence[Any], question: Mapping[str, Any]) -> str:
    """Write where a page ended, as JSON values.

    Args:
        place: The sort key of its last item.
        question: What the page answers; the token is refused with any other.
    """
    body = json.dumps(list(place), separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_check(body, question) + body).decode().rstrip("=")


def place(text: str, question: Mapping[str, Any]) -> list[Any]:
    """Read what `token` wrote.

    Raises:
        InvalidArgument: It wrote no such thing, or for another question.
    """
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        check, body = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
        if check == _check(body, question):
            return cast("list[Any]", json.loads(body))
    except (binascii.Error, ValueError):
        pass
    raise InvalidArgument(
        "this page_token is not of this question: send next_page_token as it came, with the same"
        " filters, or none to begin again"
    )


def _check(body: bytes, question: Mapping[str, Any]) -> bytes:
    # Against mistakes, not against malice: a forged place shows nothing that a filter would not.
    asked = json.dumps(question, sort_keys=True).encode()
    return blake2b(body + b"\0" + asked, digest_size=_CHECK_BYTES, person=b"vtrack page").digest()
