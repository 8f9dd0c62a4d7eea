"""Connection settings: address, TLS, token, timeouts and retries."""

import ipaddress
import math
import os
import random
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import grpc

from otel_vtrack.client.call import Call

T = TypeVar("T")

LOCAL: Final = "127.0.0.1:4317"

_NO_SCHEMES: Final = frozenset({"grpc", "grpcs", "tcp"})
"""What people write before the address, and gRPC would take for the name of a host."""
_HOST: Final = re.compile(r"[^:/]+")
"""An address without a port, for which gRPC would take that of HTTPS."""
_LARGEST_MESSAGE: Final = 256 << 20
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
OPTIONS: Final = (
    ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
    # Retries happen in this package, which knows which calls are safe to repeat.
    ("grpc.enable_retries", 0),
    # Reconnect as soon as a server comes up, instead of a second or more later.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How to connect to the server; shared by both clients.

    Args:
        target: `HOST:PORT` of the server's gRPC endpoint; prefix it with `https://` for TLS.
        token: Sent as `authorization: Bearer`, for a server or proxy that requires it.
        token_file: File with the token, instead of `token`; reread for each call. The token is the
            first line that is neither empty nor begins with `#`.
        tls: Whether to use TLS; any certificate implies it.
        root_certificates: PEM of the authorities to trust instead of the default ones.
        client_certificate: PEM of the client's certificate chain, for mutual TLS.
        client_key: PEM of the client certificate's private key.
        timeout: Default for the seconds that a call may take, including retries.
        retry_seconds: How long to keep retrying while the server is unavailable.
        send_token_in_clear: Whether the token may leave this machine without TLS.

    Raises:
        ValueError: The arguments are invalid or contradict each other.
    """

    target: str = LOCAL
    token: str | None = field(default=None, repr=False)
    token_file: "Path | str | None" = None
    tls: bool = False
    root_certificates: bytes | None = field(default=None, repr=False)
    client_certificate: bytes | None = field(default=None, repr=False)
    client_key: bytes | None = field(default=None, repr=False)
    timeout: float = 30.0
    retry_seconds: float = 5.0
    send_token_in_clear: bool = False

    def __post_init__(self) -> None:
        scheme, separator, rest = self.target.partition("://")
        if separator and scheme in {"http", "https"}:
            object.__setattr__(self, "target", rest.rstrip("/"))
            if scheme == "https":
                object.__setattr__(self, "tls", True)
            elif self.is_secure:
                raise ValueError("http:// is without TLS: write https://, or HOST:PORT")
        elif separator and scheme in _NO_SCHEMES:
            raise ValueError(f"{scheme}:// is not understood: write HOST:PORT, or https:// for TLS")
        if not self.target.strip():
            raise ValueError("no server is named: write HOST:PORT, such as 127.0.0.1:4317")
        if not self.is_secure and _HOST.fullmatch(self.target):
            raise ValueError(f"{self.target} has no port: write {self.target}:4317, or another")
        if (self.client_certificate is None) != (self.client_key is None):
            raise ValueError("a client certificate and its key go together: give both or none")
        if self.token and self.token_file:
            raise ValueError("a token and a file that has one: give one of them")
        token = self._token()
        if token and not (self.is_secure or self.send_token_in_clear or self.is_local):
            raise ValueError(
                f"the token would go to {self.target} for everybody to read: write https:// before"
                " the address, or send_token_in_clear=True in Python if the network is safe"
            )

    @property
    def is_secure(self) -> bool:
        """Whether to use TLS."""
        certificates = (self.root_certificates, self.client_certificate)
        return self.tls or any(each is not None for each in certificates)

    @property
    def is_local(self) -> bool:
        """Whether traffic to the target stays on this machine."""
        if self.target.startswith(("unix:", "unix-abstract:")):
            return True
        host = self.target.rpartition("/")[2]
        host = host.removeprefix("ipv4:").removeprefix("ipv6:").removeprefix("dns:")
        if host.startswith("[") or host.count(":") == 1:
            host = host.rpartition(":")[0] if not host.endswith("]") else host
        host = host.strip("[]")
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    @property
    def credentials(self) -> grpc.ChannelCredentials | None:
        """Channel credentials for TLS; None without TLS."""
        if not self.is_secure:
            return None
        return grpc.ssl_channel_credentials(
            root_certificates=self.root_certificates,
            private_key=self.client_key,
            certificate_chain=self.client_certificate,
        )

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Metadata to send with every call."""
        token = self._token()
        return (("authorization", f"Bearer {token}"),) if token else ()

    def _token(self) -> str | None:
        token = self.token
        if self.token_file:
            try:
                text = Path(self.token_file).expanduser().read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                said = getattr(error, "strerror", None) or "it is not UTF-8"
                raise ValueError(f"token file {self.token_file}: {said}") from None
            # As in a server's token file, which may have several tokens and is accepted too.
            lines = [line.strip() for line in text.splitlines()]
            token = next((line for line in lines if line and not line.startswith("#")), None)
            if not token:
                raise ValueError(f"token file {self.token_file}: it is empty")
        if token and not (token.isascii() and token.isprintable()):
            raise ValueError("the token has characters that cannot be sent: is it cut or quoted?")
        return token

    def attempts(self, call: Call[Any]) -> "Attempts":
        """Start tracking the attempts of a call."""
        timeout = self.timeout if call.timeout is None else call.timeout
        return Attempts(timeout, self.retry_seconds if call.repeatable else 0.0)


class Attempts:
    """Decides whether and when to retry a call.

    Args:
        timeout: Seconds for all attempts together.
        retry_seconds: For how long new attempts may start.
    """

    def __init__(self, timeout: float, retry_seconds: float) -> None:
        now = time.monotonic()
        self._deadline = now + timeout
        self._retry_until = min(now + retry_seconds, self._deadline)
        self._pause = _FIRST_PAUSE

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return max(0.0, self._deadline - time.monotonic())

    def pause(self, error: grpc.RpcError) -> float | None:
        """Return the seconds to wait before the next attempt; None to give up."""
        code: Any = error.code()  # pyright: ignore[reportAttributeAccessIssue]
        if code is not grpc.StatusCode.UNAVAILABLE:
            return None
        # Jitter, so that clients do not all return at once when a server comes back.
        pause = self._pause * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        return pause if time.monotonic() + pause < self._retry_until else None


def exists(error: grpc.RpcError) -> bool:
    """Return whether the error says that the object to create already exists."""
    return error.code() is grpc.StatusCode.ALREADY_EXISTS  # pyright: ignore[reportAttributeAccessIssue]


def from_environment(given: Mapping[str, Any]) -> dict[str, Any]:
    """Complete the arguments of a `Connection` from environment variables.

    OTEL_VTRACK_SERVER, OTEL_VTRACK_TOKEN, OTEL_VTRACK_TLS (true or false), OTEL_VTRACK_TIMEOUT
    (seconds), and files: OTEL_VTRACK_TOKEN_FILE, OTEL_VTRACK_CA_FILE,
    OTEL_VTRACK_CLIENT_CERTIFICATE_FILE, OTEL_VTRACK_CLIENT_KEY_FILE.

    Args:
        given: Arguments, which take precedence. A given token or token file overrides the variables
            of both.

    Raises:
        ValueError: A variable is invalid, or its file cannot be read.
    """
    if given.keys() & _TOKENS:
        given = {**dict.fromkeys(_TOKENS), **given}
    return {**dict(_told(given)), **given}


def _told(given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for variable, argument in _VARIABLES.items():
        if argument in given:
            continue
        text = os.environ.get(variable, "").strip()
        if not text:
            continue
        try:
            yield argument, _READ.get(argument, str)(text)
        except OSError as error:
            raise ValueError(f"{variable}: {text}: {error.strerror}") from None
        except ValueError as error:
            raise ValueError(f"{variable}: {error}") from None


_VARIABLES: Final = {
    "OTEL_VTRACK_SERVER": "target",
    "OTEL_VTRACK_TOKEN": "token",
    "OTEL_VTRACK_TOKEN_FILE": "token_file",
    "OTEL_VTRACK_TLS": "tls",
    "OTEL_VTRACK_CA_FILE": "root_certificates",
    "OTEL_VTRACK_CLIENT_CERTIFICATE_FILE": "client_certificate",
    "OTEL_VTRACK_CLIENT_KEY_FILE": "client_key",
    "OTEL_VTRACK_TIMEOUT": "timeout",
}
_TOKENS: Final = frozenset({"token", "token_file"})


def _switch(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError(f"write true or false, and not {text!r}")
    return text.lower() == "true"


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise ValueError(f"write seconds, such as 30, and not {text!r}")
    return seconds


def _file(text: str) -> bytes:
    return Path(text).expanduser().read_bytes()


_READ: Final[Mapping[str, Any]] = {
    "tls": _switch,
    "root_certificates": _file,
    "client_certificate": _file,
    "client_key": _file,
    "timeout": _seconds,
}
