"""Sends requests to a destination: OTLP over gRPC, or over HTTP in protobuf."""

import contextlib
import functools
import gzip
import ssl
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, Protocol, cast

import grpc

from otel_vtrack.errors import SettingsError
from otel_vtrack.forward import outcome
from otel_vtrack.forward.destination import Destination
from otel_vtrack.forward.outcome import Outcome
from otel_vtrack.wire.signals import Signal

_LARGEST_ANSWER: Final = 4 << 20
# Upper bound on the time until gRPC notices that a backend is back.
_RECONNECT_MS: Final = 2_000
_PROTOBUF: Final = "application/x-protobuf"
# The header from which another vtrack reads a request's experiment; gRPC metadata is ASCII, except
# for names that end in -bin.
_EXPERIMENT: Final = "x-vtrack-experiment"
# A message of gRPC's own core, which cannot contain telemetry.
_UNREACHABLE: Final = "failed to connect to all addresses"


class Sender(Protocol):
    """A connection to a destination."""

    def send(self, signal: Signal, body: bytes, experiment: str) -> Outcome:
        """Send a request and return its outcome; expected failures do not raise.

        The experiment is sent as a header, unless the settings define that header.
        """
        ...

    def close(self) -> None:
        """Close the connection; over gRPC this aborts a request under way."""
        ...


def connect(destination: Destination) -> Sender:
    """Read a destination's files and create a sender, without using the network yet.

    Raises:
        SettingsError: A file is unreadable or invalid.
    """
    try:
        headers = destination.all_headers()
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(
            f"destination {destination.name}: headers_file {destination.headers_file}: {said}"
        ) from None
    # Also validates the files for gRPC, whose core only logs what is wrong with them.
    context = _tls(destination) if destination.secure else None
    kind = _Grpc if destination.protocol == "grpc" else _Http
    return kind(destination, headers, context)


def _tls(destination: Destination) -> ssl.SSLContext:
    tls = destination.tls
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.cert_file and tls.key_file:
            # Without a password callback, OpenSSL would prompt for one on the terminal.
            context.load_cert_chain(tls.cert_file, tls.key_file, password=lambda: "")
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"destination {destination.name}: one of {', '.join(map(str, tls.files))} cannot be "
            f"used: {error.strerror if isinstance(error, OSError) else error}"
        ) from None
    return context


class _Grpc:
    def __init__(
        self, destination: Destination, headers: dict[str, str], context: ssl.SSLContext | None
    ) -> None:
        options = [
            ("grpc.primary_user_agent", _user_agent()),
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", _RECONNECT_MS),
            ("grpc.max_receive_message_length", _LARGEST_ANSWER),
            # We retry ourselves, in order and for longer than gRPC would.
            ("grpc.enable_retries", 0),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if context is None:
            self._opened = functools.partial(grpc.insecure_channel, destination.address, options)
        else:
            tls = destination.tls
            credentials = grpc.ssl_channel_credentials(
                *(_bytes(file) for file in (tls.ca_file, tls.key_file, tls.cert_file))
            )
            self._opened = functools.partial(
                grpc.secure_channel, destination.address, credentials, options
            )
        self._channel = self._opened()
        self._headers = headers
        self._timeout = destination.timeout_seconds
        zipped = destination.compression == "gzip"
        self._compression = grpc.Compression.Gzip if zipped else grpc.Compression.NoCompression

    def send(self, signal: Signal, body: bytes, experiment: str) -> Outcome:
        metadata: dict[str, str | bytes] = {**self._headers}
        if experiment and experiment.isascii() and experiment.isprintable():
            metadata.setdefault(_EXPERIMENT, experiment)
        elif experiment and _EXPERIMENT not in metadata:
            metadata[f"{_EXPERIMENT}-bin"] = experiment.encode()
        call: Any = self._channel.unary_unary(f"/{signal.service}/Export")
        try:
            answer = call(
                body,
                timeout=self._timeout,
                metadata=tuple(metadata.items()),
                compression=self._compression,
            )
        except grpc.RpcError as error:
            found = cast("Any", error)
            if found.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                # The connection may lead to a machine that is gone, or behind a load balancer to a
                # backend that hangs. gRPC would keep it; a new one may lead elsewhere.
                self._channel.close()
                self._channel = self._opened()
            return self._judged(found)
        return outcome.taken(signal, answer)

    @staticmethod
    def _judged(error: Any) -> Outcome:
        said = error.details() or ""
        if said.startswith(_UNREACHABLE):
            return outcome.unreachable(f"it cannot be reached ({outcome.one_line(said)})")
        trailers = dict(error.trailing_metadata() or ())
        return outcome.of_grpc(error.code(), said, trailers)

    def close(self) -> None:
        self._channel.close()


class _Http:
    def __init__(
        self, destination: Destination, headers: dict[str, str], context: ssl.SSLContext | None
    ) -> None:
        # Imported here to save 1.5 MB where all destinations use gRPC.
        import urllib3  # noqa: PLC0415

        self._errors = urllib3.exceptions.HTTPError
        self._late = urllib3.exceptions.TimeoutError
        self._unconnected = urllib3.exceptions.ConnectTimeoutError  # or refused, a subclass
        self._base = destination.base_url
        self._timeout = destination.timeout_seconds
        self._zips = destination.compression == "gzip"
        self._headers = {"user-agent": _user_agent(), **headers, "content-type": _PROTOBUF}
        if self._zips:
            self._headers["content-encoding"] = "gzip"
        self._pool = urllib3.PoolManager(
            1,
            retries=False,
            timeout=urllib3.Timeout(destination.timeout_seconds),
            ssl_context=context,
        )

    def send(self, signal: Signal, body: bytes, experiment: str) -> Outcome:
        headers = self._headers
        if experiment and experiment.isprintable() and _is_latin(experiment):
            headers = {_EXPERIMENT: experiment, **headers}
        content = gzip.compress(body, 1) if self._zips else body
        try:
            response = self._pool.request(
                "POST",
                f"{self._base}/v1/{signal.name}",
                body=content,
                headers=headers,
                redirect=False,
                preload_content=False,
            )
            with contextlib.closing(response):
                answer = self._read(response)
        except self._errors as error:
            late = isinstance(error, self._late) and not isinstance(error, self._unconnected)
            return outcome.unreachable(f"there was no response ({_why(error)})", late=late)
        if 200 <= response.status < 300:
            return outcome.taken(signal, answer)
        return outcome.of_http(response.status, response.headers.get("retry-after", ""), answer)

    def _read(self, response: Any) -> bytes:
        """Read a response, and keep the connection if that was all.

        The pool's timeout is for each read, and never ends a response that arrives byte by byte.
        """
        until = time.monotonic() + self._timeout
        answer = b""
        while part := response.read1(_LARGEST_ANSWER):
            answer += part
            if len(answer) >= _LARGEST_ANSWER:
                return answer
            if time.monotonic() > until:
                raise self._late
        response.release_conn()
        return answer

    def close(self) -> None:
        self._pool.clear()


def _is_latin(text: str) -> bool:
    """Return whether an HTTP header can carry the text."""
    return max(text) <= "\xff"


def _why(error: BaseException) -> str:
    """Describe the innermost cause by type and system error; messages may quote a URL."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    said = getattr(error, "strerror", None) or getattr(error, "verify_message", None)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _bytes(file: Path | None) -> bytes | None:
    return file.read_bytes() if file else None


def _user_agent() -> str:
    try:
        return f"otel-vtrack/{version('otel-vtrack')}"
    except PackageNotFoundError:
        return "otel-vtrack"
