"""TLS of the server's own ports: one certificate for both, taken up anew when its files change.

Both transports ask at every handshake, so a renewed certificate, or a changed list of authorities,
holds from the next connection on. Files that do not fit together, as while they are being written,
change nothing.
"""

import logging
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from otel_vtrack.errors import SettingsError
from otel_vtrack.stamps import stamp

_log = logging.getLogger(__name__)

_CHANGED: Final = "they changed while they were read"


class Certificates:
    """A certificate, and whose certificates clients must show.

    Args:
        cert_file: The certificate and its chain, PEM.
        key_file: Its key, PEM, without a password.
        client_ca_file: Authorities of clients, PEM; None to ask for no certificate.

    Raises:
        SettingsError: A file cannot be read, or they do not fit together.
    """

    def __init__(self, cert_file: Path, key_file: Path, client_ca_file: Path | None = None) -> None:
        self._cert_file = cert_file
        self._key_file = key_file
        self._client_ca_file = client_ca_file
        self._lock = threading.Lock()
        self._seen = self._stamps()
        try:
            self._loaded = self._load()
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"{self._files} cannot be used ({_said(error)}): name PEM files that belong"
                " together with --tls-cert-file, --tls-key-file and --tls-client-ca-file"
            ) from None

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """Make what a port of gRPC is opened with; for one server."""
        served = self._loaded

        def renewed() -> Any:
            # None is the same as before, which the core then need not prepare again.
            nonlocal served
            loaded = self._current()
            if loaded is served:
                return None
            served = loaded
            return loaded.grpc

        return grpc.dynamic_ssl_server_credentials(
            served.grpc, renewed, require_client_authentication=bool(self._client_ca_file)
        )

    def ssl_context(self) -> ssl.SSLContext:
        """Make what a port of HTTP is opened with; for one server."""

        # Called at every handshake, whether or not the client names a server.
        def renewed(connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
            context = self._current().context
            if connection.context is not context:
                connection.context = context

        context = self._loaded.context
        context.sni_callback = renewed
        return context

    @property
    def _files(self) -> str:
        return ", ".join(map(str, filter(None, self._paths)))

    @property
    def _paths(self) -> tuple[Path | None, ...]:
        return self._cert_file, self._key_file, self._client_ca_file

    def _stamps(self) -> tuple[Any, ...]:
        return tuple(map(stamp, self._paths))

    def _current(self) -> "_Loaded":
        with self._lock:
            stamps = self._stamps()
            if stamps != self._seen:
                # Tried once each time they change, and not for every connection.
                self._seen = stamps
                try:
                    self._loaded = self._load()
                except (OSError, ValueError) as error:
                    _log.error(
                        "%s changed and cannot be used (%s): the certificate from before goes on",
                        self._files,
                        _said(error),
                    )
                else:
                    _log.info("%s changed and are used for new connections", self._files)
            return self._loaded

    def _load(self) -> "_Loaded":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # A key with a password would be asked for on the terminal.
        context.load_cert_chain(self._cert_file, self._key_file, password=lambda: "")
        authorities: bytes | None = None
        if self._client_ca_file:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self._client_ca_file)
            authorities = self._client_ca_file.read_bytes()
        pair = (self._key_file.read_bytes(), self._cert_file.read_bytes())
        # They were read twice, and one after the other.
        if self._stamps() != self._seen:
            raise ValueError(_CHANGED)
        return _Loaded(context, grpc.ssl_server_certificate_configuration([pair], authorities))


@dataclass(frozen=True, slots=True)
class _Loaded:
    context: ssl.SSLContext
    grpc: Any


def _said(error: OSError | ValueError) -> str:
    # OpenSSL's own errors are OSErrors, whose text has its name of the fault and no content.
    if isinstance(error, ssl.SSLError):
        return error.reason or "no certificate or key is in one of them"
    return (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
