"""Read the stored changes to assessments."""

import struct
from collections.abc import Mapping
from typing import Any, Final

from otel_vtrack.query.rowbinary import Reader, as_text
from otel_vtrack.store.client import Store

_TRACE_ID_BYTES: Final = 16
_SPAN_ID_BYTES: Final = 8
_TIME: Final = struct.Struct("<q")


def read(
    store: Store,
    name: str,
    parameters: Mapping[str, Any],
    parts: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Run a query that returns the columns of assessments/of_traces; return values by column.

    IDs of traces and spans are in hex, all zero if there is none; enumerations are numbers.
    """
    row = Reader(store.binary(name, parameters, parts))
    found: list[dict[str, Any]] = []
    while row.more:
        found.append(
            {
                "trace_id": row.fixed(_TRACE_ID_BYTES).hex(),
                "assessment_id": row.text(),
                "change_time_ns": row.fields(_TIME)[0],
                "change_id": row.uuid(),
                "operation": row.byte(),
                "experiment": row.text(),
                "session_id": row.text(),
                "assessment_name": row.optional_text(),
                "value": row.optional_text(),
                "error_code": row.text(),
                "error_message": row.text(),
                "stack_trace": row.text(),
                "rationale": row.optional_text(),
                "metadata": _texts(row),
                "span_id": row.fixed(_SPAN_ID_BYTES).hex(),
                "assessment_type": row.byte(),
                "source_type": row.byte(),
                "source_id": row.text(),
                "overrides": row.text(),
            }
        )
    return found


def _texts(row: Reader) -> dict[str, str]:
    names, texts = row.pairs()
    return dict(zip(names, map(as_text, texts), strict=True))
