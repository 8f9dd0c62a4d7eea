"""Finds the tags of traces: what telemetry says of them and what people set."""

from collections.abc import Sequence
from typing import Final

from otel_vtrack.store.client import Store

ARTIFACT_LOCATION: Final = "mlflow.artifactLocation"
SPANS_LOCATION: Final = "mlflow.trace.spansLocation"
ARCHIVE_LOCATION: Final = "mlflow.trace.archiveLocation"
ARCHIVAL_FAILURE: Final = "mlflow.trace.archivalFailure"
NOT_TOLD: Final = frozenset({ARTIFACT_LOCATION, SPANS_LOCATION, ARCHIVE_LOCATION, ARCHIVAL_FAILURE})
"""Tags by which MLflow keeps track of its own files: never taken from telemetry."""


def of_traces(store: Store, trace_ids: Sequence[str]) -> dict[str, dict[str, str | None]]:
    """Ask for the tags of traces at once.

    Args:
        store: Where to look.
        trace_ids: 32 hex digits in lower case each.

    Returns:
        By trace id and key; None where people deleted the tag. Traces without any are left out.
    """
    found: dict[str, dict[str, str | None]] = {}
    for row in store.query("tags/of_traces", {"trace_ids": list(trace_ids)}):
        if row["key"] not in NOT_TOLD:
            value, deleted = row["kept"]
            found.setdefault(row["trace_id"], {})[row["key"]] = None if deleted else value
    return found


def has_trace(store: Store, trace_id: str) -> bool:
    """Say whether a span of a trace is stored; the id is 32 hex digits in lower case."""
    return bool(store.query("tags/knows_trace", {"trace_id": trace_id}))
