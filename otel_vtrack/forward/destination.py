"""The settings of one backend: its address, what it accepts, and how much may queue for it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ByteSize, ConfigDict, Field, field_validator, model_validator
from typing_extensions import Self

from otel_vtrack.variables import expanded

SignalName = Literal["traces", "logs", "metrics"]
Size = Annotated[ByteSize, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]

_GRPC_PORT: Final = 4317
_DEFAULT_PORTS: Final = {"grpc": _GRPC_PORT, "http": 80, "https": 443}
# RFC 9110 section 5.1 and gRPC's HTTP/2 mapping, which has names in lower case.
_HEADER: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_OURS: Final = frozenset({"content-type", "content-encoding", "content-length", "host", "te"})


class Tls(BaseModel):
    """The TLS settings of a connection.

    Attributes:
        ca_file: Certificates to trust, PEM, instead of the system's.
        cert_file: Client certificate and its chain, PEM, for a backend that requires one.
        key_file: The client certificate's key, PEM, without a password.
        insecure: Do not use TLS; only for an endpoint of the form HOST:PORT.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    insecure: bool = False

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("a certificate needs its key: give both cert_file and key_file")
        return self

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are read."""
        return tuple(filter(None, (self.ca_file, self.cert_file, self.key_file)))


class Destination(BaseModel):
    """The settings of a backend.

    Attributes:
        name: The name in logs, counts and file names.
        endpoint: http://HOST:PORT, https://HOST:PORT or HOST:PORT; a path precedes /v1/traces.
        protocol: The OTLP protocol; by default gRPC for HOST:PORT and for port 4317, else HTTP.
        headers: Sent with every request.
        headers_file: Further headers, one `name: value` per line; reloaded when it changes.
        compression: The compression of requests.
        timeout_seconds: How long to wait for a response.
        tls: The TLS settings.
        signals: What it accepts.
        batch_max_bytes: Size up to which consecutive requests are merged; larger ones go alone.
        queue_max_bytes: Most bytes queued per signal; above that, the oldest are dropped.
        queue_max_age_seconds: How long a request may wait.
        retry_initial_seconds: The first pause after a failure; each further one is twice as long.
        retry_max_seconds: The longest pause, unless the backend asks for a longer one.
        dead_letter_max_bytes: Most bytes of refused requests kept; above that, the oldest go.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    endpoint: str
    protocol: Literal["grpc", "http/protobuf"] | None = None
    headers: dict[str, str] = Field(default_factory=dict, repr=False)
    headers_file: Path | None = None
    compression: Literal["none", "gzip"] = "none"
    timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] = 10.0
    tls: Tls = Tls()
    signals: frozenset[SignalName] = frozenset(("traces", "logs", "metrics"))
    # Some 1,500 spans. More needs more memory, and gRPC servers accept 4 MiB by default.
    batch_max_bytes: Size = ByteSize(1 << 20)
    queue_max_bytes: Size = ByteSize(512 << 20)
    queue_max_age_seconds: Seconds = 86_400.0
    retry_initial_seconds: Seconds = 1.0
    retry_max_seconds: Seconds = 30.0
    dead_letter_max_bytes: Size = ByteSize(64 << 20)

    @model_validator(mode="before")
    @classmethod
    def _from_environment(cls, given: Any) -> Any:
        return expanded(given)

    @field_validator("headers")
    @classmethod
    def _sendable(cls, headers: dict[str, str]) -> dict[str, str]:
        return checked_headers(headers)

    @field_validator("signals")
    @classmethod
    def _some(cls, signals: frozenset[SignalName]) -> frozenset[SignalName]:
        if not signals:
            raise ValueError("name at least one of traces, logs and metrics")
        return signals

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        # Errors never quote the endpoint, which may contain a password.
        reason = "endpoint: write http://HOST:PORT, https://HOST:PORT or, for gRPC, HOST:PORT"
        try:
            parts = urlsplit(self._url)
            port = parts.port
        except ValueError:
            raise ValueError(reason) from None
        if parts.scheme not in {"http", "https", "grpc"} or not parts.hostname:
            raise ValueError(reason)
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("endpoint: a user, password or query is not allowed; use headers")
        protocol = self.protocol
        if protocol is None:
            protocol = "grpc" if parts.scheme == "grpc" or port == _GRPC_PORT else "http/protobuf"
            object.__setattr__(self, "protocol", protocol)
        if protocol == "grpc" and parts.path not in {"", "/"}:
            raise ValueError("endpoint: gRPC has no path; leave it out or use http/protobuf")
        if protocol != "grpc" and parts.scheme == "grpc":
            raise ValueError("endpoint: http/protobuf needs http:// or https:// before HOST:PORT")
        if self.tls.insecure and parts.scheme == "https":
            raise ValueError("tls.insecure: contradicts https://; leave one of the two out")
        if self.tls.files and not self.secure:
            raise ValueError("tls: files are used with TLS only; write https://")
        if self.retry_max_seconds < self.retry_initial_seconds:
            raise ValueError("retry_max_seconds: less than retry_initial_seconds")
        return self

    @property
    def _url(self) -> str:
        return self.endpoint if "://" in self.endpoint else f"grpc://{self.endpoint}"

    @property
    def secure(self) -> bool:
        """Whether the connection uses TLS."""
        scheme = urlsplit(self._url).scheme
        return scheme == "https" or (scheme == "grpc" and not self.tls.insecure)

    @property
    def address(self) -> str:
        """The address, as HOST:PORT."""
        parts = urlsplit(self._url)
        host = parts.hostname or ""
        host = f"[{host}]" if ":" in host else host
        return f"{host}:{parts.port or _DEFAULT_PORTS[parts.scheme]}"

    @property
    def base_url(self) -> str:
        """The URL to which /v1/traces is appended."""
        scheme = "https" if self.secure else "http"
        return f"{scheme}://{self.address}{urlsplit(self._url).path.rstrip('/')}"

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that its connection depends on."""
        return (*self.tls.files, *filter(None, (self.headers_file,)))

    def all_headers(self) -> dict[str, str]:
        """Return the headers of the settings and of the file, which takes precedence.

        Raises:
            OSError: The file cannot be read.
            ValueError: The file contains something other than headers.
        """
        if not self.headers_file:
            return self.headers
        found: dict[str, str] = {}
        for line in self.headers_file.read_text(encoding="utf-8").splitlines():
            if not line.strip() or line.startswith("#"):
                continue
            name, colon, value = line.partition(":")
            if not colon:
                raise ValueError("write one header per line, as in authorization: Bearer TOKEN")
            found[name] = value
        return self.headers | checked_headers(found)


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers in the form in which they are sent, with lower-case names.

    Raises:
        ValueError: A header cannot be sent; the message omits its value.
    """
    found: dict[str, str] = {}
    for name, value in headers.items():
        key = name.strip().lower()
        text = value.strip()
        if not _HEADER.fullmatch(key) or key in _OURS or key.startswith("grpc-"):
            raise ValueError(f"{key[:60]!r} is not a header that can be set")
        if key.endswith("-bin"):
            raise ValueError(f"{key[:60]}: binary headers are not supported; leave -bin out")
        if not (text.isascii() and text.isprintable()):
            raise ValueError(f"the value of {key[:60]} is more than one line of printable ASCII")
        found[key] = text
    return found


def header_list(text: str) -> dict[str, str]:
    """Parse `name=value,name=value`, percent-encoded, as in OTEL_EXPORTER_OTLP_HEADERS.

    Source: OTLP exporter specification, "Specifying headers via environment variables".

    Raises:
        ValueError: It is not such a list.
    """
    pairs = [item.partition("=") for item in text.split(",") if item.strip()]
    if not all(equals for _, equals, _ in pairs):
        raise ValueError("write name=value,name=value")
    return checked_headers({unquote(name): unquote(value) for name, _, value in pairs})
