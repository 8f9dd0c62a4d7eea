"""Access by bearer tokens, read from a file and again whenever it changes."""

import hashlib
import hmac
import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from otel_vtrack import log
from otel_vtrack.errors import SettingsError
from otel_vtrack.stamps import stamp

_log = logging.getLogger(__name__)

# RFC 6750 section 2.1, b64token. Shorter tokens can be guessed.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]{16,}=*")


class Tokens:
    """The accepted tokens; for use in one thread.

    While the file cannot be read or has invalid content, the previous tokens stay valid.

    Args:
        file: Tokens, one per line; empty lines and lines that begin with # are skipped.

    Attributes:
        refused: Number of requests without a valid token.

    Raises:
        SettingsError: The file cannot be read or has no token.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.refused = 0
        self._seldom = log.Seldom()
        self._seen = stamp(file)
        try:
            self._known = _read(file)
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"no tokens can be read from {file} ({_said(error)}): write one per line, such as"
                " the output of `openssl rand -hex 32`, and name the file with --token-file"
            ) from None

    def admit(self, authorizations: Iterable[str | bytes]) -> bool:
        """Return whether to accept a request; count it if not.

        Args:
            authorizations: All values of its `authorization` header; more than one is refused.
        """
        given = list(authorizations)
        if len(given) == 1 and self._knows(given[0]):
            return True
        self.refused += 1
        if self._seldom():
            _log.warning(
                "requests without a valid token were refused: %d since the start", self.refused
            )
        return False

    def _knows(self, authorization: str | bytes) -> bool:
        self._renew()
        raw = authorization.encode() if isinstance(authorization, str) else authorization
        scheme, _, token = raw.partition(b" ")
        # Against timing attacks: hash the token, which hides its length, and compare with all.
        digest = hashlib.sha256(token.strip()).digest()
        found = False
        for known in self._known:
            found |= hmac.compare_digest(digest, known)
        return found and scheme.lower() == b"bearer"

    def _renew(self) -> None:
        seen = stamp(self._file)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._known = _read(self._file)
        except (OSError, ValueError) as error:
            _log.error(
                "%s changed, but no tokens can be read from it (%s): the previous ones stay valid",
                self._file,
                _said(error),
            )
        else:
            _log.info("%s changed: %d tokens are valid now", self._file, len(self._known))


def _read(file: Path) -> tuple[bytes, ...]:
    """Return the digests of the tokens in a file."""
    lines = map(str.strip, file.read_text(encoding="utf-8").splitlines())
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise ValueError("it is empty")
    # The message does not reveal which one.
    if not all(map(_TOKEN.fullmatch, found)):
        raise ValueError(
            "a token has at least 16 characters: letters, digits and -._~+/, with = only at the end"
        )
    return tuple(hashlib.sha256(line.encode()).digest() for line in found)


def _said(error: OSError | ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
