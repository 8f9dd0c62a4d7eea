"""TLS for the server's own ports: one certificate for both, reloaded when its files change.

Both transports check at every handshake, so a renewed certificate, or a changed list of
authorities, applies from the next connection on. Files that do not match, as while they are being
written, change nothing.
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

_CHANGED: Final = "they changed while being read"


class Certificates:
    """A server certificate, and the authorities of client certificates.

    Args:
        cert_file: The certificate and its chain, PEM.
        key_file: Its key, PEM, without a password.
        client_ca_file: Authorities of client certificates, PEM; None to require none.

    Raises:
        SettingsError: A file cannot be read, or the files do not match.
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
                f"{self._files} cannot be used ({_said(error)}): set --tls-cert-file,"
                " --tls-key-file and --tls-client-ca-file to PEM files that belong together"
            ) from None

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """Return credentials to open a gRPC port with; for one server."""
        served = self._loaded

        def renewed() -> Any:
            # None means unchanged, so that the core need not prepare it again.
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
        """Return a context to open an HTTP port with; for one server."""

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
                # Try once per change, not once per connection.
                self._seen = stamps
                try:
                    self._loaded = self._load()
                except (OSError, ValueError) as error:
                    _log.error(
                        "%s changed and cannot be used (%s): the previous ones stay in use",
                        self._files,
                        _said(error),
                    )
                else:
                    _log.info("%s changed: new connections use them", self._files)
            return self._loaded

    def _load(self) -> "_Loaded":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Without this, a key with a password would prompt on the terminal.
        context.load_cert_chain(self._cert_file, self._key_file, password=lambda: "")
        authorities: bytes | None = None
        if self._client_ca_file:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self._client_ca_file)
            authorities = self._client_ca_file.read_bytes()
        pair = (self._key_file.read_bytes(), self._cert_file.read_bytes())
        # The files were read twice, one after the other, so they may have changed in between.
        if self._stamps() != self._seen:
            raise ValueError(_CHANGED)
        return _Loaded(context, grpc.ssl_server_certificate_configuration([pair], authorities))


@dataclass(frozen=True, slots=True)
class _Loaded:
    context: ssl.SSLContext
    grpc: Any


def _said(error: OSError | ValueError) -> str:
    # OpenSSL's errors are OSErrors; `reason` names the fault and contains nothing of the file.
    if isinstance(error, ssl.SSLError):
        return error.reason or "one of them has no certificate or key"
    return (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
