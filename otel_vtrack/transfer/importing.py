"""Imports files into a server."""

import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceResponse,
)

from otel_vtrack.client import Client
from otel_vtrack.client.call import Call
from otel_vtrack.errors import InvalidArgument
from otel_vtrack.transfer import incoming, lines, splitting
from otel_vtrack.transfer.items import SPANS, Changes, Counts, Telemetry
from otel_vtrack.v1 import export_pb2

_EXPERIMENT_HEADER: Final = "x-vtrack-experiment"
_COUNT_HEADER: Final = "x-vtrack-adjusted-count"
_LONGEST_EXPERIMENT: Final = 250
_CHUNK_BYTES: Final = incoming.PIECE_BYTES
_AT_A_TIME: Final = 4
_CHUNK_CHANGES: Final = 1_000
_CALL_SECONDS: Final = 120.0
_PATIENCE_SECONDS: Final = 300.0
_NOT_NOW: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
    }
)


def import_from(
    paths: Iterable[str | Path],
    client: Client,
    *,
    on_send: Callable[[Counts], object] = lambda _: None,
) -> Counts:
    """Send the content of files and folders to a server, and return how much that was.

    The format is detected from the content: any format of `export_to` or of the Collector's file
    exporter. The server counts data that it already has only once, so an interrupted import can
    be started again.

    Args:
        paths: Files and folders; `-` for lines from standard input.
        client: A client of the server.
        on_send: Called after each request with what was sent so far.

    Raises:
        InvalidArgument: A path does not exist, or is an incomplete export.
        WireError: A file is malformed.
        grpc.RpcError: The server rejects a request, or does not respond for five minutes.
    """
    with ThreadPoolExecutor(_AT_A_TIME, "vtrack-import") as pool:
        sender = _Sender(client, on_send, pool)
        for name in incoming.files([str(path) for path in paths]):
            for item in incoming.read(name):
                sender.add(item)
        sender.flush()
    return sender.counts


@dataclass(slots=True)
class _Chunk:
    parts: list[bytes] = field(default_factory=list[bytes])
    size: int = 0
    count: int = 0


class _Sender:
    """Groups small pieces into requests, by experiment, within a bounded size.

    Several requests are in flight at a time, so that the server can store them together.
    """

    def __init__(self, client: Client, on_send: Callable[[Counts], object], pool: Executor) -> None:
        self.counts = Counts()
        self._pool = pool
        self._under_way: deque[tuple[Telemetry, Future[int]]] = deque()
        self._client = client
        self._on_send = on_send
        self._chunks: dict[tuple[str, str, float], _Chunk] = {}
        self._waiting = 0
        self._changes: list[export_pb2.Change] = []

    def add(self, item: Telemetry | Changes) -> None:
        """Add an item, and send a request if enough has accumulated."""
        if isinstance(item, Changes):
            self._changes += item.changes
            if len(self._changes) >= _CHUNK_CHANGES:
                self._send_changes()
            return
        if len(item.otlp) > _CHUNK_BYTES:
            for piece in splitting.pieces(item.otlp, _CHUNK_BYTES):
                self._gather(_part(item, piece))
        else:
            self._gather(item)

    def _gather(self, item: Telemetry) -> None:
        key = (item.signal, item.experiment, item.adjusted_count)
        chunk = self._chunks.setdefault(key, _Chunk())
        if chunk.size + len(item.otlp) > _CHUNK_BYTES and chunk.parts:
            self._send(key)
            chunk = self._chunks.setdefault(key, _Chunk())
        chunk.parts.append(item.otlp)
        chunk.size += len(item.otlp)
        chunk.count += item.items
        self._waiting += len(item.otlp)
        if chunk.size >= _CHUNK_BYTES:
            self._send(key)
        elif self._waiting >= 4 * _CHUNK_BYTES:
            # There are many experiments, each with little data.
            for each in list(self._chunks):
                self._send(each)

    def flush(self) -> None:
        """Send the rest, and wait until the server has accepted everything."""
        for key in list(self._chunks):
            self._send(key)
        while self._under_way:
            self._taken()
        self._send_changes()

    def _send(self, key: tuple[str, str, float]) -> None:
        chunk = self._chunks.pop(key)
        self._waiting -= chunk.size
        signal, experiment, adjusted_count = key
        # Concatenating serialized messages merges them into one.
        whole = b"".join(chunk.parts)
        if signal == SPANS:
            call = _Otlp(
                method="trace.v1.TraceService/Export",
                request=_AsItIs(whole),  # pyright: ignore[reportArgumentType]
                response=ExportTraceServiceResponse,
                read=_rejected_spans,
                repeatable=True,
                timeout=_CALL_SECONDS,
                metadata=(*_experiment(experiment), *_adjusted_count(adjusted_count)),
            )
        else:
            call = _Otlp(
                method="logs.v1.LogsService/Export",
                request=_AsItIs(whole),  # pyright: ignore[reportArgumentType]
                response=ExportLogsServiceResponse,
                read=_rejected_records,
                repeatable=True,
                timeout=_CALL_SECONDS,
                metadata=_experiment(experiment),
            )
        if len(self._under_way) == _AT_A_TIME:
            self._taken()
        sent = Telemetry(signal, experiment, whole, chunk.count)
        self._under_way.append((sent, self._pool.submit(self._patiently, call)))

    def _taken(self) -> None:
        """Wait for the response to the oldest request in flight."""
        sent, answer = self._under_way.popleft()
        self.counts.rejected += answer.result()
        self.counts.add(sent)
        self._on_send(self.counts)

    def _send_changes(self) -> None:
        changes, self._changes = self._changes, []
        if not changes:
            return
        self._patiently(
            Call(
                method="ExportService/ImportChanges",
                request=export_pb2.ImportChangesRequest(changes=changes),
                response=export_pb2.ImportChangesResponse,
                read=_taken,
                repeatable=True,
                timeout=_CALL_SECONDS,
            )
        )
        self.counts.changes += len(changes)
        self._on_send(self.counts)

    def _patiently(self, call: Call[int]) -> int:
        """Call the server, retrying while it is busy, as it may be during a large import."""
        give_up = time.monotonic() + _PATIENCE_SECONDS
        pause = 0.5
        while True:
            try:
                return self._client.ask(call)
            except grpc.RpcError as error:
                code: Any = error.code()  # pyright: ignore[reportAttributeAccessIssue]
                if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise InvalidArgument(
                        "a span or log record is larger than the server accepts: raise its"
                        " --max-request-bytes"
                    ) from error
                if code not in _NOT_NOW or time.monotonic() + pause > give_up:
                    raise
            time.sleep(pause)
            pause = min(pause * 2, 10.0)


class _AsItIs:
    """A request that is already serialized."""

    def __init__(self, whole: bytes) -> None:
        self._whole = whole

    def SerializeToString(self) -> bytes:  # noqa: N802 - the name that messages use
        return self._whole


def _part(item: Telemetry, otlp: bytes) -> Telemetry:
    return item._replace(otlp=otlp, items=lines.count(lines.message(item.signal, otlp)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Otlp(Call[int]):
    """A call of one of OTLP's own services."""

    @property
    def path(self) -> str:
        """The method's path in gRPC."""
        return f"/opentelemetry.proto.collector.{self.method}"


def _experiment(name: str) -> tuple[tuple[str, str | bytes], ...]:
    if not name or len(name) > _LONGEST_EXPERIMENT:
        return ()  # a header never named it, so the server derives it from the resource
    if name.isascii() and name.isprintable():
        return ((_EXPERIMENT_HEADER, name),)
    return ((f"{_EXPERIMENT_HEADER}-bin", name.encode()),)


def _adjusted_count(number: float) -> tuple[tuple[str, str], ...]:
    # Sent even if it is 1, so that the server does not sample again what was sampled elsewhere.
    return ((_COUNT_HEADER, f"{number:.9g}"),) if number else ()


def _rejected_spans(answer: Any) -> int:
    return answer.partial_success.rejected_spans


def _rejected_records(answer: Any) -> int:
    return answer.partial_success.rejected_log_records


def _taken(answer: Any) -> int:
    return answer.change_count
