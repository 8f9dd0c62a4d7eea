r"""Finds credentials in URLs, `scheme://user:password@host`, of which only the host may stay.

Source: RFC 3986 section 3.2.1. A password that is not percent-encoded may contain `@`, so
everything up to the last one is hidden. Userinfo without a password is a token in http and https,
but a plain user name elsewhere, as in `ssh://git@host`. JSON may write `:\/\/`.

Uses only the standard library, because every server searches every request for them.
"""

import re
from typing import Final

HIDDEN: Final = b"***"

_NOT_IN_USERINFO: Final = rb"\x00-\x20\x7f/?#\"<>\\`"
_URL: Final = re.compile(rb":(?://|\\/\\/)([^%s]+)@" % _NOT_IN_USERINFO)
_CLEAN: Final = re.compile(rb"[^%s]*" % _NOT_IN_USERINFO)
_TOKEN_SCHEMES: Final = (b"http", b"https")

# Above this number of `@`, a regular expression is faster; below, it costs four times as much.
_MOST_STEPS: Final = 1_000


def credentials(text: bytes) -> list[tuple[int, int]]:
    """Find the byte ranges of credentials in a text, without the `@`."""
    if b"@" not in text:
        return []
    return [found.span(1) for found in _URL.finditer(text) if _is_secret(text, found)]


def suspects(raw: bytes) -> list[tuple[int, int]]:
    """Find where a serialized message may contain credentials; an empty list means nowhere.

    In most requests, `@` is only a byte of an id here and there, with no URL before it.
    """
    found: list[tuple[int, int]] = []
    last, at = 0, raw.find(b"@")
    for _ in range(_MOST_STEPS):
        if at < 0:
            return found
        slash = raw.rfind(b"/", last, at)
        if slash > 0 and raw[slash - 1] in b"/\\" and _CLEAN.fullmatch(raw, slash + 1, at):
            found.append((slash, at))
        last, at = at, raw.find(b"@", at + 1)
    found.extend(each.span() for each in _URL.finditer(raw, last))
    return found


def _is_secret(text: bytes, found: re.Match[bytes]) -> bool:
    userinfo = found[1]
    if userinfo == HIDDEN:
        return False
    scheme = text[max(0, found.start() - 5) : found.start()].lower()
    return b":" in userinfo or scheme.endswith(_TOKEN_SCHEMES)
