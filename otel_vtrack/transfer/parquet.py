"""Reads and writes Parquet: a folder of tables, for pandas, DuckDB, Spark and the like.

Attributes are maps of text, as in `attributes['http.route']`, beside the kinds of their values in
the same order: 0 none, 1 string, 2 bool, 3 int, 4 double, 5 array and 6 kvlist as OTLP JSON,
7 bytes as base64. This is lossless, yet mostly readable at a glance. Needs
`pip install 'otel-vtrack[analysis]'`.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_vtrack.errors import InvalidArgument, WireError
from otel_vtrack.transfer.items import LOG_RECORDS, SPANS, Changes, Item, Telemetry
from otel_vtrack.transfer.lines import message
from otel_vtrack.v1 import export_pb2
from otel_vtrack.wire import otlp_json

try:
    import pyarrow as pa
    from pyarrow import parquet as pq

    from otel_vtrack.transfer import parquet_reader
except ImportError as error:  # pragma: no cover - in environments without it
    raise InvalidArgument(
        "Parquet needs pyarrow: pip install 'otel-vtrack[analysis]', or choose another format"
    ) from error

Row = dict[str, Any]

_PART_ROWS: Final = 50_000
_PART_BYTES: Final = 64 << 20
_READ_ROWS: Final = 1_000
_FOR_PEOPLE: Final = frozenset({"start_time", "duration_ns", "time"})
"""Columns that repeat others in a more readable form; imports skip them."""

_LAST_TIME: Final = (1 << 63) - 1
_ABOUT: Final = "about"
_KIND: Final = b"vtrack"

_TEXTS: Final = pa.map_(pa.string(), pa.string())
_KINDS: Final = pa.list_(pa.uint8())
_TIME: Final = pa.timestamp("ns", tz="UTC")


def _attributes(prefix: str = "") -> list[Any]:
    return [
        (f"{prefix}attributes", _TEXTS),
        (f"{prefix}attribute_types", _KINDS),
        (f"{prefix}dropped_attributes_count", pa.uint32()),
    ]


_AROUND: Final = [
    ("scope_name", pa.string()),
    ("scope_version", pa.string()),
    *_attributes("scope_"),
    ("scope_schema_url", pa.string()),
    *_attributes("resource_"),
    ("resource_entity_refs", pa.list_(pa.string())),
    ("resource_schema_url", pa.string()),
]
_EVENT: Final = pa.struct([("time_unix_nano", pa.uint64()), ("name", pa.string()), *_attributes()])
_LINK: Final = pa.struct(
    [
        ("trace_id", pa.string()),
        ("span_id", pa.string()),
        ("trace_state", pa.string()),
        ("flags", pa.uint32()),
        *_attributes(),
    ]
)
_SCHEMAS: Final[Mapping[str, Any]] = {
    SPANS: pa.schema(
        [
            ("experiment", pa.string()),
            ("adjusted_count", pa.float32()),
            ("trace_id", pa.string()),
            ("span_id", pa.string()),
            ("parent_span_id", pa.string()),
            ("name", pa.string()),
            ("kind", pa.int32()),
            # An import reads the exact values below instead of these two.
            ("start_time", _TIME),
            ("duration_ns", pa.int64()),
            ("start_time_unix_nano", pa.uint64()),
            ("end_time_unix_nano", pa.uint64()),
            ("status_code", pa.int32()),
            ("status_message", pa.string()),
            *_attributes(),
            ("events", pa.list_(_EVENT)),
            ("dropped_events_count", pa.uint32()),
            ("links", pa.list_(_LINK)),
            ("dropped_links_count", pa.uint32()),
            ("trace_state", pa.string()),
            ("flags", pa.uint32()),
            *_AROUND,
        ],
        metadata={_KIND: SPANS},
    ),
    LOG_RECORDS: pa.schema(
        [
            ("experiment", pa.string()),
            ("time", _TIME),
            ("event_name", pa.string()),
            ("severity_number", pa.int32()),
            ("severity_text", pa.string()),
            ("body", pa.string()),
            ("body_type", pa.uint8()),
            ("trace_id", pa.string()),
            ("span_id", pa.string()),
            ("time_unix_nano", pa.uint64()),
            ("observed_time_unix_nano", pa.uint64()),
            *_attributes(),
            ("flags", pa.uint32()),
            *_AROUND,
        ],
        metadata={_KIND: LOG_RECORDS},
    ),
}


class Parts:
    """A folder with a subfolder per table, which contains parts of bounded size."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        # As Arrow tables, which need a fraction of the memory of rows.
        self._waiting: dict[str, list[Any]] = {}
        self._size = 0
        self._written: dict[str, int] = {}

    def write(self, item: Item) -> None:
        """Buffer the rows of an item until there are enough for a part."""
        rows: dict[str, list[Row]] = {}
        if isinstance(item, Changes):
            for change in item.changes:
                about: Any = change.WhichOneof(_ABOUT)
                rows.setdefault(about, []).append(_of_change(getattr(change, about)))
        else:
            self._size += len(item.otlp)
            rows[item.signal] = list(_rows_of(item))
        for name, some in rows.items():
            schema = _SCHEMAS.get(name) or _schema_of_change(name)
            self._waiting.setdefault(name, []).append(pa.Table.from_pylist(some, schema))

    def commit(self, *, force: bool) -> dict[str, Any] | None:
        """Write the parts, if enough rows are buffered or `force` is set."""
        most = max((sum(map(len, some)) for some in self._waiting.values()), default=0)
        if not force and self._waiting and most < _PART_ROWS and self._size < _PART_BYTES:
            return None
        for name, tables in self._waiting.items():
            number = self._written.get(name, 0)
            path = self._folder / name / f"part-{number:05}.parquet"
            path.parent.mkdir(exist_ok=True)
            new = path.with_suffix(".new")
            pq.write_table(pa.concat_tables(tables), new, compression="zstd")
            new.replace(path)
            self._written[name] = number + 1
        self._waiting.clear()
        self._size = 0
        return dict(self._written)

    def resume(self, mark: dict[str, Any]) -> None:
        """Delete the parts that were written later."""
        self._written = dict(mark)
        for path in self._folder.glob("*/part-*"):
            number = int(path.stem.removeprefix("part-"))
            if path.suffix != ".parquet" or number >= mark.get(path.parent.name, 0):
                path.unlink()

    def close(self) -> None:
        """Do nothing: no file stays open between parts."""


def read(path: Path) -> Iterator[Item]:
    """Yield the items of a part.

    Raises:
        WireError: It is unreadable, or was not exported by vtrack.
    """
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise WireError(f"{path} cannot be read: {error}") from None
    name = ((file.schema_arrow.metadata or {}).get(_KIND) or b"").decode()
    if name not in _SCHEMAS and name not in export_pb2.Change.DESCRIPTOR.fields_by_name:
        raise WireError(f"{path} was not exported by vtrack: it has other columns")
    try:
        if name in _SCHEMAS:
            exact = [column for column in file.schema_arrow.names if column not in _FOR_PEOPLE]
            for batch in file.iter_batches(_READ_ROWS, columns=exact):
                yield from parquet_reader.telemetry(name, batch)
        else:
            for batch in file.iter_batches(_READ_ROWS):
                yield Changes([_change(name, row) for row in batch.to_pylist()])
    except (ValueError, KeyError) as error:
        raise WireError(f"{path} cannot be read: {error}") from None


# Conversion of messages to rows


def _rows_of(item: Telemetry) -> Iterator[Row]:
    data: Any = message(item.signal, item.otlp)
    is_span = item.signal == SPANS
    for group in data.resource_spans if is_span else data.resource_logs:
        outer = {
            "experiment": item.experiment,
            **({"adjusted_count": item.adjusted_count} if is_span else {}),
            **_of_attributes(group.resource, "resource_"),
            "resource_entity_refs": [otlp_json.write(it) for it in group.resource.entity_refs],
            "resource_schema_url": group.schema_url,
        }
        for scoped in group.scope_spans if is_span else group.scope_logs:
            inner = {
                **outer,
                "scope_name": scoped.scope.name,
                "scope_version": scoped.scope.version,
                **_of_attributes(scoped.scope, "scope_"),
                "scope_schema_url": scoped.schema_url,
            }
            for one in scoped.spans if is_span else scoped.log_records:
                yield inner | (_of_span(one) if is_span else _of_record(one))


def _of_span(span: Span) -> Row:
    start, end = span.start_time_unix_nano, span.end_time_unix_nano
    return {
        **_copied(span, _SPAN_FIELDS),
        **_ids(span, "trace_id", "span_id", "parent_span_id"),
        "start_time": start if start <= _LAST_TIME else None,
        "duration_ns": end - start if abs(end - start) <= _LAST_TIME else None,
        "status_code": span.status.code,
        "status_message": span.status.message,
        **_of_attributes(span),
        "events": [
            {**_copied(it, ("time_unix_nano", "name")), **_of_attributes(it)} for it in span.events
        ],
        "links": [
            {
                **_ids(it, "trace_id", "span_id"),
                **_copied(it, ("trace_state", "flags")),
                **_of_attributes(it),
            }
            for it in span.links
        ],
    }


_SPAN_FIELDS: Final = (
    "name",
    "kind",
    "start_time_unix_nano",
    "end_time_unix_nano",
    "dropped_events_count",
    "dropped_links_count",
    "trace_state",
    "flags",
)
_RECORD_FIELDS: Final = (
    "event_name",
    "severity_number",
    "severity_text",
    "time_unix_nano",
    "observed_time_unix_nano",
    "flags",
)


def _of_record(record: LogRecord) -> Row:
    kind, text = _text(record.body)
    time = record.time_unix_nano or record.observed_time_unix_nano
    return {
        **_copied(record, _RECORD_FIELDS),
        **_ids(record, "trace_id", "span_id"),
        "time": time if time <= _LAST_TIME else None,
        "body": text,
        "body_type": kind,
        **_of_attributes(record),
    }


def _copied(one: Any, names: Sequence[str]) -> Row:
    return {name: getattr(one, name) for name in names}


def _ids(one: Any, *names: str) -> Row:
    return {name: getattr(one, name).hex() for name in names}


def _of_attributes(one: Any, prefix: str = "") -> Row:
    told = [(pair.key, *_text(pair.value)) for pair in one.attributes]
    return {
        f"{prefix}attributes": [(key, text) for key, _, text in told],
        f"{prefix}attribute_types": [kind for _, kind, _ in told],
        f"{prefix}dropped_attributes_count": one.dropped_attributes_count,
    }


def _text(value: AnyValue) -> tuple[int, str]:  # noqa: PLR0911 - one for each kind
    """Return the kind and the text of a value."""
    match value.WhichOneof("value"):
        case "string_value":
            return 1, value.string_value
        case "bool_value":
            return 2, "true" if value.bool_value else "false"
        case "int_value":
            return 3, str(value.int_value)
        case "double_value":
            return 4, repr(value.double_value)
        case "array_value":
            return 5, otlp_json.write(value.array_value)
        case "kvlist_value":
            return 6, otlp_json.write(value.kvlist_value)
        case "bytes_value":
            return 7, base64.b64encode(value.bytes_value).decode()
        case _:
            return 0, ""


# Changes: the columns are the fields of the message

_TYPES: Final[Mapping[int, Any]] = {
    FieldDescriptor.TYPE_STRING: pa.string(),
    FieldDescriptor.TYPE_BOOL: pa.bool_(),
    FieldDescriptor.TYPE_SFIXED64: pa.int64(),
    FieldDescriptor.TYPE_FIXED64: pa.uint64(),
}


def _schema_of_change(about: str) -> Any:
    kind: Any = export_pb2.Change.DESCRIPTOR.fields_by_name[about].message_type
    fields = [(field.name, _type(field)) for field in kind.fields]
    return pa.schema(fields, metadata={_KIND: about})


def _type(field: FieldDescriptor) -> Any:
    if field.message_type:
        return _TEXTS
    return pa.list_(pa.string()) if field.is_repeated else _TYPES[field.type]


def _of_change(change: Message) -> Row:
    row: Row = {}
    for field in change.DESCRIPTOR.fields:
        value = getattr(change, field.name)
        if field.message_type:
            row[field.name] = sorted(cast("Mapping[str, str]", value).items())
        elif field.is_repeated:
            row[field.name] = list(value)
        else:
            absent = field.has_presence and not change.HasField(field.name)
            row[field.name] = None if absent else value
    return row


def _change(about: str, row: Row) -> export_pb2.Change:
    kind: Any = export_pb2.Change.DESCRIPTOR.fields_by_name[about].message_type
    maps = {field.name for field in kind.fields if field.message_type}
    told: Any = {
        name: dict(value) if name in maps else value
        for name, value in row.items()
        if value is not None
    }
    return export_pb2.Change(**{about: told})
