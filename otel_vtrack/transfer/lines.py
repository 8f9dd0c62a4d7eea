"""Reads and writes the formats of one JSON object per line: OTLP JSON, and single entities."""

import json
from collections.abc import Iterator
from typing import Any, Final, cast

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otel_vtrack.errors import WireError
from otel_vtrack.transfer import json_text
from otel_vtrack.transfer.items import LOG_RECORDS, SPANS, Changes, Item, Telemetry
from otel_vtrack.v1 import export_pb2
from otel_vtrack.wire import otlp_json

EXPERIMENT: Final = "vtrackExperiment"
"""A key beside `resourceSpans`: readers of OTLP JSON ignore unknown keys."""

ADJUSTED_COUNT: Final = "vtrackAdjustedCount"
"""Likewise a key beside `resourceSpans`."""

CHANGE: Final = "vtrackChange"


def of_otlp(item: Item) -> Iterator[str]:
    """Yield an item as OTLP JSON, one request per line, like the Collector's file exporter."""
    if isinstance(item, Changes):
        for change in item.changes:
            yield _dumps({CHANGE: _change(change)})
        return
    names = (
        ("resourceSpans", "scopeSpans", "spans")
        if item.signal == SPANS
        else ("resourceLogs", "scopeLogs", "logRecords")
    )
    groups: list[str] = []
    inside: list[str] = []
    for resource, scope, items, is_last in json_text.scopes(item.signal, item.otlp):
        inside.append(_with(scope, "scope", names[2], items))
        if is_last:
            groups.append(_with(resource, "resource", names[1], inside))
            inside = []
    beside: dict[str, Any] = {EXPERIMENT: item.experiment}
    if item.adjusted_count:
        beside[ADJUSTED_COUNT] = item.adjusted_count
    yield f'{{"{names[0]}":[{",".join(groups)}],{_dumps(beside)[1:]}'


def _with(group: Any, name: str, items_name: str, items: list[str]) -> str:
    """Convert a group to JSON, with its fields in the order of their numbers."""
    members: list[str] = []
    if group.HasField(name):
        members.append(f'"{name}":{otlp_json.write(getattr(group, name))}')
    if items:
        members.append(f'"{items_name}":[{",".join(items)}]')
    if group.schema_url:
        members.append(f'"schemaUrl":{_dumps(group.schema_url)}')
    return "{" + ",".join(members) + "}"


_NOT_STORED: Final = frozenset({"resourceMetrics", "resourceProfiles"})
"""What the Collector's file exporter may write beside traces and logs."""


def of_entities(item: Item) -> Iterator[str]:
    """Yield an item as lines of one span, log record or change each."""
    if isinstance(item, Changes):
        for change in item.changes:
            yield _dumps(_change(change))
        return
    kind, field = ("span", "span") if item.signal == SPANS else ("log_record", "logRecord")
    for resource, scope, items, _ in json_text.scopes(item.signal, item.otlp):
        told: dict[str, Any] = {"type": kind, "experiment": item.experiment}
        if item.adjusted_count:
            told["adjusted_count"] = item.adjusted_count
        told |= _around("resource", resource) | _around("scope", scope)
        head = f'{_dumps(told)[:-1]},"{field}":'
        for one in items:
            yield f"{head}{one}}}"


def read(line: bytes) -> Item | None:  # noqa: PLR0911 - one for each kind of line
    """Parse a line of either format; return None if it has only signals that are not stored.

    Raises:
        WireError: It is malformed.
    """
    try:
        found: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise WireError(f"this is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise WireError("a line must be one JSON object")
    known = cast("dict[str, Any]", found)
    experiment = str(known.get(EXPERIMENT, "") or known.get("experiment", ""))
    if "resourceSpans" in known:
        return _spans(known, experiment, known)
    if "resourceLogs" in known:
        return _telemetry(LOG_RECORDS, experiment, known, LogsData())
    if CHANGE in known:
        return Changes([_read_change(known[CHANGE])])
    match known.get("type"):
        case None if known and not known.keys() & _NOT_STORED:
            raise WireError(
                "this is neither OTLP in JSON nor a line of `vtrack export`: it has no key"
                " resourceSpans, resourceLogs or type"
            )
        case None:
            return None
        case "span":
            whole = _whole(known, "scopeSpans", {"spans": [known.get("span")]})
            return _spans(known, experiment, {"resourceSpans": [whole]})
        case "log_record":
            whole = _whole(known, "scopeLogs", {"logRecords": [known.get("logRecord")]})
            return _telemetry(LOG_RECORDS, experiment, {"resourceLogs": [whole]}, LogsData())
        case _:
            return Changes([_read_change(known)])


def message(signal: str, otlp: bytes) -> TracesData | LogsData:
    """Parse serialized telemetry."""
    return TracesData.FromString(otlp) if signal == SPANS else LogsData.FromString(otlp)


def count(data: Any) -> int:
    """Count the spans or log records of a TracesData or LogsData."""
    if isinstance(data, TracesData):
        return sum(len(it.spans) for group in data.resource_spans for it in group.scope_spans)
    return sum(len(it.log_records) for group in data.resource_logs for it in group.scope_logs)


def _around(name: str, group: Any) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if group.HasField(name):
        told[name] = otlp_json.as_object(getattr(group, name))
    if group.schema_url:
        told[f"{name}SchemaUrl"] = group.schema_url
    return told


def _whole(line: dict[str, Any], scopes: str, items: dict[str, Any]) -> dict[str, Any]:
    inner = {"scope": line.get("scope"), "schemaUrl": line.get("scopeSchemaUrl"), **items}
    outer = {"resource": line.get("resource"), "schemaUrl": line.get("resourceSchemaUrl")}
    return {**outer, scopes: [inner]}


def _spans(line: dict[str, Any], experiment: str, document: Any) -> Telemetry:
    told = line.get(ADJUSTED_COUNT, line.get("adjusted_count", 0))
    if not isinstance(told, (int, float)) or isinstance(told, bool):
        raise WireError("the adjusted count must be a number")
    found = _telemetry(SPANS, experiment, document, TracesData())
    return found._replace(adjusted_count=float(told))


def _telemetry(signal: str, experiment: str, document: Any, data: Any) -> Telemetry:
    otlp_json.fill(data, document)
    return Telemetry(signal, experiment, data.SerializeToString(), count(data))


def _change(change: export_pb2.Change) -> dict[str, Any]:
    about: Any = change.WhichOneof("about")
    told = MessageToDict(
        getattr(change, about),
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )
    # Protobuf maps are unordered, but the same change must always give the same line.
    ordered = {
        name: dict(sorted(cast("dict[str, Any]", it).items())) if isinstance(it, dict) else it
        for name, it in told.items()
    }
    return {"type": about, **ordered}


def _read_change(line: dict[str, Any]) -> export_pb2.Change:
    told = {name: value for name, value in line.items() if name != "type"}
    try:
        return ParseDict({line.get("type", ""): told}, export_pb2.Change())
    except ParseError as error:
        raise WireError(f"this is not a change: {error}") from None


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
