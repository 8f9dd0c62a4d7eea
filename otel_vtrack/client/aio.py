"""The asyncio client."""

import asyncio
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio

from otel_vtrack.client import (
    analysis,
    assessments,
    deployments,
    experiments,
    export,
    flags,
    methods,
    notebook,
    spans,
    timeline,
    traces,
    versions,
    watch,
)
from otel_vtrack.client.call import Call
from otel_vtrack.client.connection import LOCAL, OPTIONS, Connection, exists, from_environment

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

T = TypeVar("T")


class AsyncClient:
    """Asyncio client for a running `vtrack serve`.

    It has the same methods as `Client`, but you await them, and iterate over searches with
    `async for`. An instance belongs to the event loop in which it is first used.

    Args:
        target: `HOST:PORT` of the server's gRPC endpoint; prefix it with `https://` for TLS.
        token: Sent as `authorization: Bearer`, for a server or proxy that requires it. Rejected if
            it would leave this machine unencrypted, unless `send_token_in_clear` is set.
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

    def __init__(
        self,
        target: str = LOCAL,
        *,
        token: str | None = None,
        token_file: "Path | str | None" = None,
        tls: bool = False,
        root_certificates: bytes | None = None,
        client_certificate: bytes | None = None,
        client_key: bytes | None = None,
        timeout: float = 30.0,
        retry_seconds: float = 5.0,
        send_token_in_clear: bool = False,
    ) -> None:
        self._connection = Connection(
            target=target,
            token=token,
            token_file=token_file,
            tls=tls,
            root_certificates=root_certificates,
            client_certificate=client_certificate,
            client_key=client_key,
            timeout=timeout,
            retry_seconds=retry_seconds,
            send_token_in_clear=send_token_in_clear,
        )
        # Opened on first use, when there is certainly an event loop.
        self._channel: grpc.aio.Channel | None = None
        notebook.register()

    @classmethod
    def from_env(cls, **arguments: Any) -> "Self":
        """Create a client from environment variables; arguments override them.

        OTEL_VTRACK_SERVER, OTEL_VTRACK_TOKEN, OTEL_VTRACK_TLS (true or false),
        OTEL_VTRACK_TIMEOUT (seconds), OTEL_VTRACK_TOKEN_FILE, and paths of PEM files:
        OTEL_VTRACK_CA_FILE, OTEL_VTRACK_CLIENT_CERTIFICATE_FILE, OTEL_VTRACK_CLIENT_KEY_FILE.

        Raises:
            ValueError: A variable is invalid, or its file cannot be read.
        """
        return cls(**from_environment(arguments))

    create_experiment = methods.asks_async(experiments.create_experiment)
    get_experiment = methods.asks_async(experiments.get_experiment)
    search_experiments = methods.searches_async(experiments.search_experiments)
    update_experiment = methods.asks_async(experiments.update_experiment)
    delete_experiment = methods.asks_async(experiments.delete_experiment)

    search_traces = methods.searches_async(traces.search_traces)
    count_traces = methods.asks_async(traces.count_traces)
    get_trace_histogram = methods.asks_async(traces.get_trace_histogram)
    get_trace = methods.asks_async(traces.get_trace)
    set_trace_tag = methods.asks_async(traces.set_trace_tag)
    delete_trace_tag = methods.asks_async(traces.delete_trace_tag)
    delete_traces = methods.asks_async(traces.delete_traces)

    search_spans = methods.searches_async(spans.search_spans)

    create_assessment = methods.asks_async(assessments.create_assessment)
    get_assessment = methods.asks_async(assessments.get_assessment)
    search_assessments = methods.searches_async(assessments.search_assessments)
    update_assessment = methods.asks_async(assessments.update_assessment)
    delete_assessment = methods.asks_async(assessments.delete_assessment)
    list_assessment_changes = methods.asks_async(assessments.list_assessment_changes)

    get_version = methods.asks_async(versions.get_version)
    search_versions = methods.searches_async(versions.search_versions)
    update_version = methods.asks_async(versions.update_version)
    set_version_alias = methods.asks_async(versions.set_version_alias)
    delete_version_alias = methods.asks_async(versions.delete_version_alias)

    create_deployment = methods.asks_async(deployments.create_deployment)
    get_deployment = methods.asks_async(deployments.get_deployment)
    search_deployments = methods.searches_async(deployments.search_deployments)
    update_deployment = methods.asks_async(deployments.update_deployment)
    delete_deployment = methods.asks_async(deployments.delete_deployment)

    get_timeline = methods.asks_async(timeline.get_timeline)
    list_progressions = methods.asks_async(timeline.list_progressions)

    list_watch_events = methods.searches_async(watch.list_watch_events)
    list_watched_deployments = methods.asks_async(watch.list_watched_deployments)

    compare_versions = methods.asks_async(analysis.compare_versions)
    list_differences = methods.asks_async(analysis.list_differences)

    list_flags = methods.asks_async(flags.list_flags)
    compare_variants = methods.asks_async(flags.compare_variants)
    list_interactions = methods.asks_async(flags.list_interactions)
    get_flag_exposure = methods.asks_async(flags.get_flag_exposure)
    list_flag_changes = methods.asks_async(flags.list_flag_changes)

    export_telemetry = methods.searches_async(export.export_telemetry)
    export_changes = methods.searches_async(export.export_changes)
    import_changes = methods.asks_async(export.import_changes)

    async def ask(self, call: Call[T]) -> T:
        """Send a call, retrying it if it is repeatable, and return its result."""
        send: Any = self._opened().unary_unary(
            call.path,
            request_serializer=type(call.request).SerializeToString,
            response_deserializer=call.response.FromString,
        )
        attempts = self._connection.attempts(call)
        while True:
            try:
                answer = await send(
                    call.request,
                    timeout=attempts.left,
                    metadata=(*self._connection.metadata, *call.metadata),
                )
            except grpc.RpcError as error:  # noqa: PERF203 - each attempt may fail
                if call.if_exists and exists(error):
                    follow_up = replace(call.if_exists, timeout=attempts.left)
                    return await self.ask(follow_up)
                pause = attempts.pause(error)
                if pause is None:
                    raise
                await asyncio.sleep(pause)
            else:
                return call.read(answer)

    def _opened(self) -> grpc.aio.Channel:
        if self._channel is None:
            target, credentials = self._connection.target, self._connection.credentials
            self._channel = (
                grpc.aio.insecure_channel(target, OPTIONS)
                if credentials is None
                else grpc.aio.secure_channel(target, credentials, OPTIONS)
            )
        return self._channel

    async def close(self) -> None:
        """Close the connection; idempotent."""
        if self._channel is not None:
            await self._channel.close()

    def __repr__(self) -> str:
        return f"<AsyncClient of {self._connection.target}>"

    async def __aenter__(self) -> "Self":
        """Return the client itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        await self.close()
