"""Passes OTLP requests to the engine, which does the rest.

The engine parses the bytes by `sql/otlp_view.proto` into an inbox table that keeps nothing, and
the views of `sql/mapping/` fill the tables from it.
"""

import ctypes
import queue
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from otel_vtrack.errors import SettingsError, StoreError, StoreUnavailable, WireError
from otel_vtrack.store import sql
from otel_vtrack.store.client import Store, translated
from otel_vtrack.wire import framing, plain

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

Durability = Literal["process", "fsync"]

_MESSAGES: Final = {"ResourceSpans": ResourceSpans, "ResourceLogs": ResourceLogs}
# Least size of one with a span, which has two IDs, or with a log record, which may be empty.
_LEAST_BYTES: Final = {"ResourceSpans": 32, "ResourceLogs": 4}
# Tag of ResourceSpans and ResourceLogs in a request: field 1, length-delimited.
_ROW_TAG: Final = 0x0A
# Endings of the names that begin an evaluation; see mapping/assessments_from_otlp.sql.
_EVALUATED: Final = (b"evaluation.name", b"annotation.name")
# Evaluate all branches of a condition for all rows: branches are cheap here, and selecting the
# rows for each takes longer. So no branch may fail on rows that take another.
_EAGER: Final[Mapping[str, Any]] = {"short_circuit_function_evaluation": "disable"}
_NONE: Final[Mapping[str, Any]] = {}
# One insert may use this fraction (1/4) of all memory. A usual batch takes some 0.3 GiB, but empty
# attributes or scopes are two bytes on the wire, and 64 MiB of them would take 8 to 12 GiB.
_SHARE: Final = 4
_LEAST_MEMORY, _MOST_MEMORY = 1 << 30, 4 << 30
_ALL_MEMORY: Final = (
    "SELECT toUInt64(value) AS bytes FROM system.server_settings"
    " WHERE name = 'max_server_memory_usage'"
)
# In the engine's message when a statement exceeds its own limit, and not the server's.
_OWN_LIMIT: Final = "Query memory limit exceeded"


class Writer:
    """Writes requests into the store.

    Thread-safe; up to `clients` writes run at a time.

    Args:
        store: Store to write to.
        durability: With `process`, writes return once the operating system has the data, which
            then survives a crash of this process; with `fsync`, once the disk has it, which
            survives a crash of the machine.
        clients: Number of concurrent writes.
    """

    def __init__(
        self, store: Store, *, durability: Durability = "process", clients: int = 2
    ) -> None:
        if durability not in {"process", "fsync"}:
            raise SettingsError(f"durability must be process or fsync, not {durability}")
        self._clients: queue.SimpleQueue[Client] = queue.SimpleQueue()
        for _ in range(clients):
            self._clients.put(store.connect())
        self._settings: dict[str, Any] = {
            "input_format_protobuf_oneof_presence": 1,
            # Deduplicating a block before writing it costs a third of an insert. Merges do it.
            "optimize_on_insert": 0,
            # The plan is as simple as it gets, and optimizing it costs 10 ms.
            "query_plan_enable_optimizations": 0,
            # Late spans or a wrong clock may spread one request over many days.
            "max_partitions_per_insert_block": 0,
            # Compiling a few sums to machine code takes 0.4 s at each start and saves no time.
            "compile_expressions": 0,
            "compile_aggregate_expressions": 0,
            "compile_sort_description": 0,
        }
        if store.embedded:
            self._settings["max_memory_usage"] = _most_memory(store)
            self._schema = {"format_schema": sql.view_proto_path()}
        else:
            self._schema = {"format_schema_source": "string", "format_schema": sql.view_proto()}
        self._embedded = store.embedded
        self._store = store
        _set_fsync(store, on=durability == "fsync")

    def write_traces(self, payload: bytes) -> None:
        """Store one or more serialized ExportTraceServiceRequests, concatenated.

        Returns once they are durable and can be queried. Writing the same data again changes
        nothing.

        Raises:
            WireError: The bytes are not such requests, and nothing was written; or writing them
                would take more memory than one insert may use.
            StoreUnavailable: Temporary; the same call may succeed later.
            StoreError: Any other failure of the store.
        """
        self._write("otlp_traces_inbox", "ResourceSpans", payload, _EAGER)
        self._write("otlp_evaluations_inbox", "ResourceSpans", evaluated(payload))

    def write_logs(self, payload: bytes) -> None:
        """Store one or more serialized ExportLogsServiceRequests, like `write_traces`."""
        self._write("otlp_logs_inbox", "ResourceLogs", payload)

    def _write(
        self, inbox: str, message: str, payload: bytes, settings: Mapping[str, Any] = _NONE
    ) -> None:
        if not (found := rows(payload, _LEAST_BYTES[message])):
            return
        try:
            self._insert(inbox, message, found, settings)
        except StoreUnavailable as error:
            if _OWN_LIMIT in str(error.__cause__):
                raise WireError(
                    "storing it takes too much memory: send smaller batches, and fewer attributes"
                ) from error
            raise
        except StoreError:
            # The engine accepts less than protobuf's parsers, which have accepted these bytes.
            anew = plain.encoded_anew(payload, _MESSAGES[message])
            if anew == payload:
                raise
            self._insert(inbox, message, rows(anew), settings)

    def _insert(
        self,
        inbox: str,
        message: str,
        parts: Sequence[bytes | memoryview],
        settings: Mapping[str, Any],
    ) -> None:
        settings = {**self._settings, **self._schema, **settings}
        if self._embedded:
            settings["format_schema"] = f"{settings['format_schema']}:{message}"
        else:
            settings["format_schema_message_name"] = message
        client = self._clients.get()
        try:
            if self._store.doubtful:
                self._store.mend()
            with self._store.gate.open(), self._store.written(client), translated(asks=False):
                # The embedded engine gets them one by one, so that not all are in memory twice.
                block = (bytes(part) for part in parts) if self._embedded else b"".join(parts)
                client.raw_insert(inbox, insert_block=block, fmt="Protobuf", settings=settings)
        finally:
            self._clients.put(client)


def _most_memory(store: Store) -> int:
    (row,) = store.select(_ALL_MEMORY)
    return min(max(row["bytes"] // _SHARE, _LEAST_MEMORY), _MOST_MEMORY)


def _set_fsync(store: Store, *, on: bool) -> None:
    """Turn fsync on insert on or off for all tables that keep rows, as views write to many."""
    tables = store.select(
        "SELECT name, position(engine_full, 'fsync_after_insert = 1') > 0 AS fsynced"
        " FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'"
    )
    for table in tables:
        if bool(table["fsynced"]) != on:
            store.command(
                f"ALTER TABLE {table['name']} MODIFY SETTING fsync_after_insert = {int(on)},"
                f" fsync_part_directory = {int(on)}"
            )


def rows(payload: bytes, least_bytes: int = 0) -> Sequence[bytes | memoryview]:
    """Split a request into the messages of its field 1, each with its length before it.

    Joined, they are the input of the engine's Protobuf format, one row per message: it suffices to
    omit the tags, so nothing is copied. Other fields of the request (there are none in OTLP 1.11)
    are omitted too, which takes a copy.

    Args:
        payload: One or more concatenated requests.
        least_bytes: Omit messages smaller than this: of empty ones, two bytes each, there may be
            millions.

    Raises:
        WireError: The bytes are not protobuf.
    """
    found: list[memoryview] = []
    view = memoryview(payload)
    at, end = 0, len(payload)
    while at < end:
        if payload[at] != _ROW_TAG:
            return _without_other_fields(payload, least_bytes)
        start = at + 1
        length, at = framing.read_varint(payload, start)
        at += length
        if at > end:
            raise WireError("an OTLP request is truncated: send all of it")
        if length >= least_bytes:
            found.append(view[start:at])
    return found


def evaluated(payload: bytes) -> bytes:
    """Return the parts of a request that may contain evaluations: rarely any, perhaps a few extra.

    A view on spans would find them too, but every insert would pay for its analysis, which takes
    longer than scanning all the bytes.
    """
    if not any(_holds(payload, name) for name in _EVALUATED):
        return b""
    return b"".join(
        payload[start:end]
        for _, _, start, value, end in framing.fields(payload)
        if any(name in payload[value:end] for name in _EVALUATED)
    )


def _memmem() -> Callable[[bytes, int, bytes, int], int | None] | None:
    try:
        found = ctypes.CDLL(None).memmem
    except (OSError, AttributeError, TypeError):
        return None
    found.restype = ctypes.c_void_p
    found.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    return found


_MEMMEM: Final = _memmem()


def _holds(payload: bytes, name: bytes) -> bool:
    """Return whether a payload contains a name.

    Like `in`, but uses the C library if possible: that takes a third of the time, and lets other
    threads run.
    """
    if _MEMMEM is None:
        return name in payload
    return _MEMMEM(payload, len(payload), name, len(name)) is not None


def _without_other_fields(payload: bytes, least_bytes: int) -> Sequence[bytes]:
    return [
        framing.varint(end - value) + payload[value:end]
        for number, wire_type, _, value, end in framing.fields(payload)
        if number == _ROW_TAG >> 3 and wire_type == _ROW_TAG & 7 and end - value >= least_bytes
    ]
