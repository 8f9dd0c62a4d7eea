"""Combines enrichment and redaction, and counts what they did."""

import threading
from collections import Counter
from typing import Any

from otel_vtrack.process.enrich import Enricher
from otel_vtrack.process.enrichment import Enrich
from otel_vtrack.process.redact import Redactor
from otel_vtrack.process.redaction import Redact
from otel_vtrack.wire.signals import LOGS, TRACES, Signal


class Processor:
    """Enriches requests, then redacts them; thread-safe.

    Args:
        enrich: Which attributes Resources are to have.
        redact: What to hide.

    Raises:
        SettingsError: The hash key cannot be read.
    """

    def __init__(self, enrich: Enrich, redact: Redact) -> None:
        self._enrich = Enricher(enrich)
        self._redact = Redactor(redact)
        self._lock = threading.Lock()
        self._enriched = dict.fromkeys((TRACES.name, LOGS.name), 0)
        self._redacted: dict[str, Counter[str]] = {name: Counter() for name in self._enriched}

    def __call__(self, signal: Signal, payload: bytes) -> bytes:
        """Return a checked request of traces or logs as it is to be stored and forwarded."""
        if self._enrich:
            payload, enriched = self._enrich(payload)
            with self._lock:
                self._enriched[signal.name] += enriched
        if self._redact:
            payload, redacted = self._redact(signal, payload)
            if redacted:
                with self._lock:
                    self._redacted[signal.name] += redacted
        return payload

    def status(self) -> dict[str, Any]:
        """Return, by signal, how many Resources were enriched and how much each rule hid."""
        with self._lock:
            return {
                name: {"enriched_resources": count, "redacted": dict(self._redacted[name])}
                for name, count in self._enriched.items()
            }
