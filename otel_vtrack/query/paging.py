"""Page tokens: encode where a page ended, valid for one query only."""

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
    """Return the number of items on a page; 0 stands for the default.

    Raises:
        InvalidArgument: It is out of range.
    """
    if not 0 <= asked <= LARGEST_SIZE:
        raise InvalidArgument(
            f"page_size must be from 1 to {LARGEST_SIZE}, or 0 for {DEFAULT_SIZE}"
        )
    return asked or DEFAULT_SIZE


def token(place: Sequence[Any], question: Mapping[str, Any]) -> str:
    """Encode the place at which a page ended, given as JSON values.

    Args:
        place: The sort key of its last item.
        question: The query's parameters; the token is rejected with any others.
    """
    body = json.dumps(list(place), separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_check(body, question) + body).decode().rstrip("=")


def place(text: str, question: Mapping[str, Any]) -> list[Any]:
    """Decode a token made by `token`.

    Raises:
        InvalidArgument: It is not such a token, or belongs to another query.
    """
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        check, body = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
        if check == _check(body, question):
            return cast("list[Any]", json.loads(body))
    except (binascii.Error, ValueError):
        pass
    raise InvalidArgument(
        "this page_token belongs to another query: send next_page_token unchanged, with the same"
        " filters, or none to start again"
    )


def _check(body: bytes, question: Mapping[str, Any]) -> bytes:
    # Guards against mistakes, not malice: a forged place reveals nothing that a filter would not.
    asked = json.dumps(question, sort_keys=True).encode()
    return blake2b(body + b"\0" + asked, digest_size=_CHECK_BYTES, person=b"vtrack page").digest()
