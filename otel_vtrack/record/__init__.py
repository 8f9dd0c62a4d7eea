"""Writes what people say, as changes with a time that reading folds; telemetry is `ingest`'s."""
