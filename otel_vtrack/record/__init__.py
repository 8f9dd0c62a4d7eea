"""Writes what users record, as timestamped changes folded on read; `ingest` writes telemetry."""
