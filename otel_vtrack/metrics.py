"""Exports the server's own counters as OpenTelemetry metrics over OTLP/HTTP.

All values are read from existing counters when the SDK collects.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

import otel_vtrack

_SECONDS: Final = 10.0
# The last export is not worth delaying the end of the process any longer.
_LAST_SECONDS: Final = 2.0
# All instruments of one collection read the same snapshot.
_FRESH_SECONDS: Final = 1.0

COUNTER: Final = "counter"
UP_DOWN: Final = "updowncounter"
GAUGE: Final = "gauge"

_OUTCOMES: Final = ("overloaded", "draining", "unavailable", "poisoned", "abandoned")
_FORWARDED: Final = ("sent", "rejected", "dead_lettered", "dropped")

Status = Mapping[str, Any]
_Read = Callable[[Status], Iterable[Observation]]


def _received(key: str) -> _Read:
    def read(status: Status) -> Iterator[Observation]:
        for signal, counts in status["received"].items():
            yield Observation(counts[key], {"vtrack.signal": signal})

    return read


def _requests(status: Status) -> Iterator[Observation]:
    for signal, counts in status["received"].items():
        about = {"vtrack.signal": signal}
        yield Observation(counts["accepted_requests"], about | {"vtrack.outcome": "accepted"})
        for outcome in _OUTCOMES:
            yield Observation(counts[outcome], about | {"vtrack.outcome": outcome})


def _unauthenticated(status: Status) -> Iterator[Observation]:
    yield Observation(status["unauthenticated"])


def _lanes(status: Status) -> Iterator[tuple[dict[str, str], Status]]:
    for destination, found in status["forwarded"].items():
        for signal, lane in found["signals"].items():
            yield {"vtrack.destination": destination, "vtrack.signal": signal}, lane


def _forwarded(key: str) -> _Read:
    return lambda status: (Observation(lane[key], about) for about, lane in _lanes(status))


def _items(status: Status) -> Iterator[Observation]:
    for about, lane in _lanes(status):
        for outcome in _FORWARDED:
            yield Observation(lane[f"{outcome}_items"], about | {"vtrack.outcome": outcome})


def _failing(status: Status) -> Iterator[Observation]:
    for about, lane in _lanes(status):
        yield Observation(int(bool(lane["failing"])), about)


def _dead_letters(status: Status) -> Iterator[Observation]:
    for destination, found in status["forwarded"].items():
        yield Observation(found["dead_letter_bytes"], {"vtrack.destination": destination})


def _deleted(status: Status) -> Iterator[Observation]:
    if kept := status["retained"]:
        yield Observation(kept["deleted_traces"], {"vtrack.signal": "traces"})
        yield Observation(kept["deleted_log_records"], {"vtrack.signal": "logs"})


class Instrument(NamedTuple):
    """A metric, and how to read it from `/statusz`."""

    name: str
    kind: str
    unit: str
    read: _Read


INSTRUMENTS: Final = (
    Instrument("vtrack.received.requests", COUNTER, "{request}", _requests),
    Instrument("vtrack.received.items", COUNTER, "{item}", _received("accepted_items")),
    Instrument("vtrack.received.size", COUNTER, "By", _received("accepted_bytes")),
    Instrument("vtrack.received.rejected", COUNTER, "{item}", _received("rejected_items")),
    Instrument("vtrack.received.unauthenticated", COUNTER, "{request}", _unauthenticated),
    Instrument("vtrack.written.batches", COUNTER, "{batch}", _received("batches")),
    Instrument("vtrack.written.time", COUNTER, "s", _received("write_seconds")),
    Instrument("vtrack.waiting.requests", UP_DOWN, "{request}", _received("waiting_requests")),
    Instrument("vtrack.waiting.size", UP_DOWN, "By", _received("waiting_bytes")),
    Instrument("vtrack.forwarded.items", COUNTER, "{item}", _items),
    Instrument("vtrack.forwarded.retries", COUNTER, "{request}", _forwarded("retries")),
    Instrument("vtrack.forwarded.failing", GAUGE, "1", _failing),
    Instrument("vtrack.forwarded.waiting.size", UP_DOWN, "By", _forwarded("queued_bytes")),
    Instrument("vtrack.forwarded.waiting.age", GAUGE, "s", _forwarded("oldest_seconds")),
    Instrument("vtrack.forwarded.dead_letters.size", UP_DOWN, "By", _dead_letters),
    Instrument("vtrack.retained.deleted", COUNTER, "{item}", _deleted),
)
"""All instruments; docs/server.md describes each."""


class Metrics:
    """Exports the metrics periodically until stopped.

    Args:
        endpoint: Base URL of OTLP/HTTP, to which `/v1/metrics` is appended. Headers, certificates
            and Resource attributes come from the environment, as for every exporter.
        status: Returns the content of `/statusz`.
    """

    def __init__(self, endpoint: str, status: Callable[[], Status]) -> None:
        self._status = status
        self._lock = threading.Lock()
        self._seen: Status = {}
        self._seen_at = -_FRESH_SECONDS
        exporter = OTLPMetricExporter(
            endpoint=endpoint.rstrip("/") + "/v1/metrics", timeout=_SECONDS
        )
        about = {
            "service.name": "otel-vtrack",
            "service.version": otel_vtrack.__version__,
            "service.instance.id": str(uuid.uuid4()),
        }
        self._provider = MeterProvider(
            [PeriodicExportingMetricReader(exporter)],
            resource=Resource.create(about),
            shutdown_on_exit=False,
        )
        meter = self._provider.get_meter("otel_vtrack")
        for each in INSTRUMENTS:
            self._make(meter, each)

    def stop(self) -> None:
        """Export once more, then stop."""
        self._provider.shutdown(timeout_millis=_LAST_SECONDS * 1_000)

    def _make(self, meter: Meter, instrument: Instrument) -> None:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            return instrument.read(self._look())

        make = {
            COUNTER: meter.create_observable_counter,
            UP_DOWN: meter.create_observable_up_down_counter,
            GAUGE: meter.create_observable_gauge,
        }[instrument.kind]
        make(instrument.name, [observe], unit=instrument.unit)

    def _look(self) -> Status:
        with self._lock:
            now = time.monotonic()
            if now - self._seen_at >= _FRESH_SECONDS:
                self._seen, self._seen_at = self._status(), now
            return self._seen
