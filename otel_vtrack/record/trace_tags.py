"""Sets and deletes tags of traces. The last writer wins, and always wins over telemetry."""

from typing import Final

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import export, tags
from otel_vtrack.record.clock import now_ns
from otel_vtrack.store.client import Store

LONGEST_KEY: Final = 250
LONGEST_VALUE: Final = 4_096
"""In characters; longer values are truncated, as in MLflow."""

_NOT_DELETED: Final = tags.NOT_TOLD - {tags.ARCHIVAL_FAILURE}


def set_tag(store: Store, trace_id: str, key: str, value: str) -> None:
    """Set a tag.

    Args:
        store: Where the trace is.
        trace_id: 32 hex digits, optionally prefixed with `tr-`.
        key: The tag's key.
        value: Truncated to `LONGEST_VALUE` characters; may be empty.

    Raises:
        InvalidArgument: The trace id is malformed; or the key is empty, too long, or one of those
            that MLflow uses to track its own files.
        NotFound: No span of the trace is stored.
    """
    _check(key, tags.NOT_TOLD, "set")
    _change(store, trace_id, key, value[:LONGEST_VALUE], deleted=False)


def delete_tag(store: Store, trace_id: str, key: str) -> None:
    """Delete a tag, whether or not it exists; raises the same errors as `set_tag`.

    Telemetry that arrives later with the same tag does not bring it back.
    """
    _check(key, _NOT_DELETED, "deleted")
    _change(store, trace_id, key, "", deleted=True)


def _check(key: str, refused: frozenset[str], what: str) -> None:
    if not 0 < len(key) <= LONGEST_KEY:
        raise InvalidArgument(f"the key of a tag must have from 1 to {LONGEST_KEY} characters")
    if key in refused:
        raise InvalidArgument(f"the tag {key} is MLflow's own and cannot be {what}")


def _change(store: Store, trace_id: str, key: str, value: str, *, deleted: bool) -> None:
    digits = export.trace_id_from_text(trace_id)
    if not tags.has_trace(store, digits):
        raise export.missing(digits)
    change = {
        "key": key,
        "trace_id": bytes.fromhex(digits),
        "value": value,
        "changed_at": now_ns(),
        "deleted": int(deleted),
    }
    store.insert("trace_tags", [list(change.values())], list(change))
