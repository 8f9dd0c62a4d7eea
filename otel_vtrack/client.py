"""Typed client of the gRPC API.

    with Client("127.0.0.1:4317") as client:
        for version in client.list_versions(environment="production"):
            print(version.version, version.trace_count)

Needs grpcio and protobuf from 6.31 on, and nothing of the server.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeVar

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otel_vtrack.v1 import analysis_pb2, traces_pb2, versions_pb2

if TYPE_CHECKING:
    from typing_extensions import Self

_Response = TypeVar("_Response", bound=Message)

_LARGEST_MESSAGE: Final = 256 << 20
_PACKAGE: Final = "otel_vtrack.v1"
# Every call reads only, so that any of them may be made again.
_CONFIG: Final = {
    "methodConfig": [
        {
            "name": [
                {"service": f"{_PACKAGE}.{service}"}
                for service in ("VersionService", "TraceService", "AnalysisService")
            ],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}


class Client:
    """Asks a running `vtrack serve`.

    Thread-safe. Every method raises `grpc.RpcError`, whose `code()` and `details()` say what is
    wrong and what to do; UNAVAILABLE is tried four times before.

    Args:
        target: `HOST:PORT` of the server's gRPC.
        token: Sent as `authorization: Bearer`, for a proxy in front that asks for one.
        tls: Whether to speak TLS.
        root_certificates: PEM of the authorities to trust, instead of the usual ones.
        timeout: Seconds that one call may take.
    """

    def __init__(
        self,
        target: str = "127.0.0.1:4317",
        *,
        token: str | None = None,
        tls: bool = False,
        root_certificates: bytes | None = None,
        timeout: float = 30.0,
    ) -> None:
        options = [
            ("grpc.service_config", json.dumps(_CONFIG)),
            ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
        ]
        if tls or root_certificates is not None:
            credentials = grpc.ssl_channel_credentials(root_certificates)
            self._channel = grpc.secure_channel(target, credentials, options)
        else:
            self._channel = grpc.insecure_channel(target, options)
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._timeout = timeout

    def list_versions(
        self,
        *,
        experiment: str = "",
        service_name: str = "",
        environment: str = "",
        page_size: int = 0,
    ) -> Iterator[versions_pb2.Version]:
        """Yield versions, the one seen last first, page by page; empty filters do not restrict."""
        request = versions_pb2.ListVersionsRequest(
            experiment=experiment,
            service_name=service_name,
            environment=environment,
            page_size=page_size,
        )
        while True:
            page = self._call(
                "VersionService/ListVersions", request, versions_pb2.ListVersionsResponse
            )
            yield from page.versions
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def search_traces(
        self,
        *,
        experiment: str = "",
        service_name: str = "",
        version: str = "",
        environment: str = "",
        deployment_id: str = "",
        state: "traces_pb2.TraceState.ValueType" = traces_pb2.TRACE_STATE_UNSPECIFIED,
        session_id: str = "",
        user_id: str = "",
        name: str = "",
        start_time_from: datetime | None = None,
        start_time_until: datetime | None = None,
        min_duration: timedelta | None = None,
        page_size: int = 0,
    ) -> Iterator[traces_pb2.TraceInfo]:
        """Yield traces, newest first, page by page; see SearchTracesRequest for the filters."""
        request = traces_pb2.SearchTracesRequest(
            experiment=experiment,
            service_name=service_name,
            version=version,
            environment=environment,
            deployment_id=deployment_id,
            state=state,
            session_id=session_id,
            user_id=user_id,
            name=name,
            start_time_from=_timestamp(start_time_from),
            start_time_until=_timestamp(start_time_until),
            min_duration=_duration(min_duration),
            page_size=page_size,
        )
        while True:
            page = self._call("TraceService/SearchTraces", request, traces_pb2.SearchTracesResponse)
            yield from page.traces
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def get_trace(self, trace_id: str) -> tuple[list[traces_pb2.TraceInfo], TracesData]:
        """Return what is known of a trace, and its spans as they were sent, earliest first."""
        request = traces_pb2.GetTraceRequest(trace_id=trace_id)
        found = self._call("TraceService/GetTrace", request, traces_pb2.GetTraceResponse)
        return list(found.traces), TracesData.FromString(found.otlp)

    def compare_versions(
        self,
        baseline_version: str,
        candidate_version: str,
        *,
        experiment: str = "",
        service_name: str = "",
        environment: str = "",
        start_time_from: datetime | None = None,
        start_time_until: datetime | None = None,
        metrics: "Sequence[analysis_pb2.Metric.ValueType]" = (),
        max_traces: int = 0,
    ) -> analysis_pb2.Comparison:
        """Compare two versions; see CompareVersionsRequest for the filters."""
        request = analysis_pb2.CompareVersionsRequest(
            baseline_version=baseline_version,
            candidate_version=candidate_version,
            experiment=experiment,
            service_name=service_name,
            environment=environment,
            start_time_from=_timestamp(start_time_from),
            start_time_until=_timestamp(start_time_until),
            metrics=metrics,
            max_traces=max_traces,
        )
        return self._call(
            "AnalysisService/CompareVersions", request, analysis_pb2.CompareVersionsResponse
        ).comparison

    def _call(self, method: str, request: Message, response: type[_Response]) -> _Response:
        # Not by the generated stubs: these insist on the grpcio they were generated with.
        call: Callable[..., Any] = self._channel.unary_unary(
            f"/{_PACKAGE}.{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=response.FromString,
        )
        return call(request, timeout=self._timeout, metadata=self._metadata)

    def close(self) -> None:
        """Close the connection; idempotent."""
        self._channel.close()

    def __enter__(self) -> "Self":
        """Return the client itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)  # One without zone is taken as UTC.
    return message


def _duration(length: timedelta | None) -> Duration | None:
    if length is None:
        return None
    message = Duration()
    message.FromTimedelta(length)
    return message
