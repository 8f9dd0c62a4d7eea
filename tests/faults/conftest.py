"""Senders that never stop, and what must be true of a store after them."""

import itertools
import threading
import time

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_SPANS = 64
_TRACE = 8


class Senders:
    """Threads that export unique spans, one request at a time each.

    Attributes:
        acknowledged: First span number of each request that was answered with success.
        unanswered: Those whose sender does not know whether they are stored.
        codes: What else was answered.
    """

    def __init__(self, count=4):
        self._count = count
        self._numbers = itertools.count(1, _SPANS)
        self._lock = threading.Lock()
        self.acknowledged = []
        self.unanswered = []
        self.codes = []
        self._threads = []
        self._stopping = threading.Event()

    def start(self, served, *, patient=False):
        """Send to this process until `join`.

        A sender gives up at the first failed call, or tries again when it is patient.
        """
        self._stopping.clear()
        self._threads = [
            threading.Thread(target=self._run, args=[served.grpc, patient])
            for _ in range(self._count)
        ]
        for thread in self._threads:
            thread.start()

    def wait_for(self, requests, timeout=60):
        """Wait until so many more were acknowledged."""
        target = len(self.acknowledged) + requests
        deadline = time.monotonic() + timeout
        while len(self.acknowledged) < target:
            assert time.monotonic() < deadline, self.codes
            time.sleep(0.002)

    def join(self):
        """End all senders."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(90)
            assert not thread.is_alive()

    def retry(self, served, more=()):
        """Send again what was not answered, as an exporter does, and `more`."""
        with grpc.insecure_channel(served.grpc) as channel:
            export = channel.unary_unary(_EXPORT)
            for first in [*self.unanswered, *more]:
                assert self._until_taken(export, first) == b""
        self.acknowledged += self.unanswered
        self.unanswered = []

    def _until_taken(self, export, first, timeout=60):
        """Send until it is taken: an insert that was under way when it got better fails yet."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                return export(self.request(first), timeout=60)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE or time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def _run(self, target, patient):
        with grpc.insecure_channel(target) as channel:
            export = channel.unary_unary(_EXPORT)
            while not self._stopping.is_set():
                with self._lock:
                    first = next(self._numbers)
                try:
                    if patient:
                        self._until_taken(export, first)
                    else:
                        export(self.request(first), timeout=60)
                except grpc.RpcError as error:
                    with self._lock:
                        self.unanswered.append(first)
                        self.codes.append(error.code())
                    return
                self.acknowledged.append(first)

    @staticmethod
    def request(first):
        """Make the request whose first span has this number: the same one each time."""
        made = ExportTraceServiceRequest()
        group = made.resource_spans.add()
        group.resource.attributes.add(key="service.name").value.string_value = "shop"
        group.resource.attributes.add(key="service.version").value.string_value = "2.4.0"
        spans = group.scope_spans.add().spans
        for number in range(first, first + _SPANS):
            root = number - (number - 1) % _TRACE
            spans.add(
                trace_id=root.to_bytes(16, "big"),
                # A trace tells its spans apart by the first four bytes, as ids are random.
                span_id=number.to_bytes(4, "big") * 2,
                parent_span_id=b"" if number == root else root.to_bytes(4, "big") * 2,
                name=f"step {number % 7}",
                start_time_unix_nano=1_790_000_000_000_000_000 + number * 1_000_000,
                end_time_unix_nano=1_790_000_000_000_500_000 + number * 1_000_000,
            )
        return made.SerializeToString()

    def check(self, store):
        """Every acknowledged span is there, none twice, and traces agree."""
        expected = {
            number for first in self.acknowledged for number in range(first, first + _SPANS)
        }
        rows = store.select(
            "SELECT reinterpretAsUInt32(reverse(substring(span_id, 1, 4))) AS number,"
            " count() AS n FROM spans FINAL GROUP BY number"
        )
        found = {row["number"]: row["n"] for row in rows}
        lost = expected - found.keys()
        assert not lost, f"{len(lost)} of {len(expected)} acknowledged spans are lost"
        assert set(found.values()) == {1}
        in_doubt = {number for first in self.unanswered for number in range(first, first + _SPANS)}
        assert found.keys() <= expected | in_doubt
        if self.unanswered:
            # A request is whole in `spans` before it is in `traces`, and may not get that far.
            return
        (traces,) = store.select(
            "SELECT count() AS traces, sum(n) AS spans, min(n) AS fewest, max(n) AS most"
            " FROM (SELECT trace_id, length(groupUniqArrayArray(edges)) AS n FROM traces"
            " GROUP BY trace_id)"
        )
        assert traces == {
            "traces": len(expected) // _TRACE,
            "spans": len(expected),
            "fewest": _TRACE,
            "most": _TRACE,
        }


@pytest.fixture
def senders():
    """Senders for one test; they are ended after it."""
    made = Senders()
    yield made
    made._stopping.set()
    for thread in made._threads:
        thread.join(90)
