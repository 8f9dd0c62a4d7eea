"""Fast generator of OTLP requests that resemble a GenAI service's, and callers that send them.

A request is built once per version and environment with protobuf, and the offsets of its ids,
timestamps and words are recorded. Making the next one copies the bytes and overwrites those
offsets, which yields about a million spans a second on one core:

    payloads = load.requests(1_000, seed=7, start_time_unix_nano=time.time_ns())
    stats = load.drive("127.0.0.1:4317", payloads, callers=16)
"""

import asyncio
import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio
import numpy as np
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.genai_trace import SPANS_PER_TRACE, TraceTemplate, resource_of

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

TRACES_EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
VERSIONS: Final = ("2.3.0", "2.3.1", "2.3.2", "2.4.0")
ENVIRONMENTS: Final = ("production", "staging")

_HEX: Final = np.frombuffer(b"".join(b"%04x" % n for n in range(65_536)), dtype="<u4")
_LETTERS: Final = np.frombuffer(b"etaoinshrdlucmfwypvbgk", dtype=np.uint8)


def _vocabulary() -> "np.ndarray[Any, Any]":
    """Return 2,048 words of seven letters and a space, as 8-byte integers."""
    rng = np.random.default_rng(1)
    words = np.full((2_048, 8), ord(" "), dtype=np.uint8)
    words[:, :7] = _LETTERS[rng.integers(0, len(_LETTERS), (2_048, 7))]
    return words.reshape(-1).view("<u8")


_WORDS: Final = _vocabulary()


class Template:
    """One request for one version and environment, and the offsets of its variable bytes.

    Args:
        service: `service.name`.
        version: `service.version`.
        environment: `deployment.environment.name`.
        spans: Number of spans.
        slower: Factor for durations and for the share of failures.
        described: Arguments of its `TraceTemplate`.
    """

    def __init__(
        self,
        service: str,
        version: str,
        environment: str,
        spans: int,
        *,
        slower: float,
        **described: Any,
    ) -> None:
        request = ExportTraceServiceRequest()
        resource_spans = request.resource_spans.add()
        resource_of(resource_spans.resource, service, version, environment)
        scope_spans = resource_spans.scope_spans.add()
        scope_spans.scope.name = "opentelemetry.instrumentation.genai"
        scope_spans.scope.version = "1.3b0"
        self.spans = spans
        self.traces = -(-spans // SPANS_PER_TRACE)
        template = TraceTemplate(failing_share=0.02 * slower, **described)
        made: list[Span] = []
        for trace in range(self.traces):
            made += template.spans(trace, version)
        scope_spans.spans.extend(made[:spans])
        self.payload = np.frombuffer(request.SerializeToString(), dtype=np.uint8)
        whole = self.payload.tobytes()
        at: dict[str, list[int]] = {kind: [] for kind in template.KINDS}
        which: dict[str, list[int]] = {kind: [] for kind in template.KINDS}
        start = 0
        for span in scope_spans.spans:
            raw = span.SerializeToString()
            start = whole.index(raw, start)
            for kind, value, marker in template.markers(raw):
                at[kind].append(start + marker)
                which[kind].append(value)
        self.at = {kind: np.array(places, dtype=np.intp) for kind, places in at.items()}
        self.which = {kind: np.array(values, dtype=np.intp) for kind, values in which.items()}
        self.offsets, self.lasts = template.timing(self.traces, slower)

    def fill(self, rng: "np.random.Generator", start: int, step: int) -> bytes:
        """Return a copy with new ids, times and words."""
        bytes_ = self.payload.copy()
        # A view of every byte offset as an 8-byte integer: unaligned on purpose.
        places: np.ndarray[Any, Any] = np.ndarray(
            (len(bytes_) - 7,), dtype="<u8", buffer=bytes_.data, strides=(1,)
        )
        at, which = self.at, self.which
        # Ids are at least 1, so none is all zeros.
        ids = rng.integers(1, 1 << 63, 2 * self.traces, dtype=np.uint64)
        places[at["trace_id"]] = ids[which["trace_id"]]
        span_ids = rng.integers(1, 1 << 63, self.traces * SPANS_PER_TRACE, dtype=np.uint64)
        places[at["span_id"]] = span_ids[which["span_id"]]
        # Duration of each trace relative to the template: lognormal, like real latencies.
        pace = rng.lognormal(0.0, 0.35, self.traces)
        begin = start + np.arange(self.traces) * step
        starts = begin[:, None] + (self.offsets * pace[:, None]).astype(np.int64)
        ends = starts + (self.lasts * pace[:, None]).astype(np.int64)
        places[at["start"]] = starts.reshape(-1)[which["start"]].astype(np.uint64)
        places[at["end"]] = ends.reshape(-1)[which["end"]].astype(np.uint64)
        places[at["word"]] = _WORDS[rng.integers(0, len(_WORDS), len(at["word"]), dtype=np.uint16)]
        # 20,000 sessions of 5,000 users, shared by the spans of a trace.
        session = rng.integers(0, 20_000, self.traces)
        low, high = session % 5_000, session // 5_000
        text = _HEX[low].astype(np.uint64) | (_HEX[high].astype(np.uint64) << np.uint64(32))
        user = _HEX[low].astype(np.uint64) | (_HEX[0].astype(np.uint64) << np.uint64(32))
        places[at["session"]] = text[which["session"]]
        places[at["user"]] = user[which["user"]]
        return bytes_.tobytes()


def requests(
    n_requests: int,
    spans_per_request: int = 512,
    *,
    seed: int,
    start_time_unix_nano: int,
    step_nano: int = 10_000_000,
    service: str = "support-assistant",
    versions: Sequence[str] = VERSIONS,
    environments: Sequence[str] = ENVIRONMENTS,
) -> Iterator[bytes]:
    """Yield serialized ExportTraceServiceRequests, deterministically for the same arguments.

    Each has one version and environment, taken in turn, and contains whole traces of eight
    spans (the last is cut off if `spans_per_request` is not a multiple of eight). In practice, ids
    never repeat between seeds. Later versions are slower and fail more often.

    Args:
        n_requests: Number of requests.
        spans_per_request: Spans in each.
        seed: Random seed; use a different one for each process.
        start_time_unix_nano: Start of the first trace.
        step_nano: Time between the starts of consecutive traces.
        service: `service.name`.
        versions: Values of `service.version`.
        environments: Values of `deployment.environment.name`.
    """
    templates = [
        Template(service, version, environment, spans_per_request, slower=1 + index * 0.15)
        for index, version in enumerate(versions)
        for environment in environments
    ]
    rng = np.random.default_rng(seed)
    start = start_time_unix_nano
    for template in itertools.islice(itertools.cycle(templates), n_requests):
        yield template.fill(rng, start, step_nano)
        start += template.traces * step_nano


@dataclass(slots=True)
class Stats:
    """Results of a drive. Latencies are seconds from send to response, in order of responses."""

    requests: int = 0
    failed: int = 0
    bytes: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list[float])
    codes: dict[str, int] = field(default_factory=dict[str, int])

    def percentile(self, share: float) -> float:
        """Return the latency that `share` (0 to 1) of the requests did not exceed."""
        return float(np.quantile(self.latencies, share)) if self.latencies else 0.0


async def _drive(
    target: str, payloads: Iterator[bytes], callers: int, timeout: float, retries: int
) -> Stats:
    stats = Stats()

    async def call_in_turn(export: Any) -> None:
        for payload in payloads:
            for attempt in range(retries + 1):
                sent = time.perf_counter()
                try:
                    await export(payload, timeout=timeout)
                except grpc.aio.AioRpcError as error:
                    name = error.code().name
                    stats.codes[name] = stats.codes.get(name, 0) + 1
                    if attempt == retries:
                        stats.failed += 1
                    else:
                        await asyncio.sleep(0.1)
                    continue
                stats.latencies.append(time.perf_counter() - sent)
                stats.requests += 1
                stats.bytes += len(payload)
                break

    async with grpc.aio.insecure_channel(target) as channel:
        export = channel.unary_unary(TRACES_EXPORT)
        await channel.channel_ready()
        started = time.perf_counter()
        await asyncio.gather(*(call_in_turn(export) for _ in range(callers)))
        stats.seconds = time.perf_counter() - started
    return stats


def drive(
    target: str,
    payloads: Iterable[bytes],
    callers: int,
    *,
    timeout: float = 60.0,
    retries: int = 0,
) -> Stats:
    """Send every payload to `target` (host:port, no TLS) over one channel, and wait for completion.

    Each caller has one request in flight; together they share `payloads`. Pass a list to
    exclude the generation of requests from the measured time.

    Args:
        target: Address of the gRPC server.
        payloads: Serialized ExportTraceServiceRequests.
        callers: Requests in flight at any time.
        timeout: Seconds until one request counts as failed.
        retries: How often to resend a failed request, 0.1 s later.
    """
    return asyncio.run(_drive(target, iter(payloads), callers, timeout, retries))
