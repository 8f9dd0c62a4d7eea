r"""Credentials in URLs, `scheme://user:password@host`, of which only the host may stay.

Source: RFC 3986 section 3.2.1. A password that is not percent-encoded may have an `@`, so all up
to the last one goes. Without a password it is a token in http and https, and a name elsewhere, as
in `ssh://git@host`. JSON may write `:\/\/`.

Written with the standard library, because every server looks for them in every request.
"""

import re
from typing import Final

HIDDEN: Final = b"***"

_NOT_IN_USERINFO: Final = rb"\x00-\x20\x7f/?#\"<>\\`"
_URL: Final = re.compile(rb":(?://|\\/\\/)([^%s]+)@" % _NOT_IN_USERINFO)
_CLEAN: Final = re.compile(rb"[^%s]*" % _NOT_IN_USERINFO)
_TOKEN_SCHEMES: Final = (b"http", b"https")

# Beyond it a regular expression is faster, which else costs four times as much.
_MOST_STEPS: Final = 1_000


def credentials(text: bytes) -> list[tuple[int, int]]:
    """Find where credentials are in a text, without the `@`."""
    if b"@" not in text:
        return []
    return [found.span(1) for found in _URL.finditer(text) if _is_secret(text, found)]


def suspects(raw: bytes) -> list[tuple[int, int]]:
    """Find where in a serialized message there may be some; none where there are none.

    Most requests have an `@` in ids only, some in a hundred bytes of them, and no URL before it.
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
