"""Find the tags of traces, whether from telemetry or set by users."""

import struct
from collections.abc import Sequence
from typing import Final

from otel_vtrack.query.rowbinary import Reader
from otel_vtrack.store.client import Store
from otel_vtrack.store.parameters import Plain

_CHANGE: Final = struct.Struct("<q?")

ARTIFACT_LOCATION: Final = "mlflow.artifactLocation"
SPANS_LOCATION: Final = "mlflow.trace.spansLocation"
ARCHIVE_LOCATION: Final = "mlflow.trace.archiveLocation"
ARCHIVAL_FAILURE: Final = "mlflow.trace.archivalFailure"
OF_ONE: Final = {"which": "trace_id = unhex({trace_id:String})"}
"""Parts of `tags/of_traces` for a single trace, which are faster to analyse than a list."""

NOT_TOLD: Final = frozenset({ARTIFACT_LOCATION, SPANS_LOCATION, ARCHIVE_LOCATION, ARCHIVAL_FAILURE})
"""Tags in which MLflow tracks its own files; never taken from telemetry."""


def of_traces(store: Store, trace_ids: Sequence[str]) -> dict[str, dict[str, str | None]]:
    """Query the tags of several traces at once.

    Args:
        store: The store to query.
        trace_ids: Each is 32 hex digits in lower case.

    Returns:
        Values by trace ID and key; None if a user deleted the tag. Traces without tags are left
        out.
    """
    if not trace_ids:
        return {}
    if len(trace_ids) == 1:
        rows = Reader(store.binary("tags/of_traces", {"trace_id": trace_ids[0]}, OF_ONE))
    else:
        rows = Reader(store.binary("tags/of_traces", {"trace_ids": Plain.joined(trace_ids)}))
    last: dict[tuple[str, str], tuple[int, bool, str]] = {}
    while rows.more:
        place = rows.fixed(16).hex(), rows.text()
        value, (changed_at, deleted) = rows.text(), rows.fields(_CHANGE)
        change = changed_at, deleted, value
        last[place] = max(change, last.get(place, change))
    found: dict[str, dict[str, str | None]] = {}
    for (trace_id, key), (_, deleted, value) in last.items():
        if key not in NOT_TOLD:
            found.setdefault(trace_id, {})[key] = None if deleted else value
    return found


def has_trace(store: Store, trace_id: str) -> bool:
    """Return whether any span of a trace is stored; the ID is 32 hex digits in lower case."""
    return bool(store.query("tags/knows_trace", {"trace_id": trace_id}))
