"""ExportService."""

from collections.abc import Collection, Iterator
from itertools import groupby
from typing import Any, Final

from google.protobuf.message import Message

from otel_vtrack.api.service import Backend, Service, moment
from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import changes, experiments, export_pages, paging
from otel_vtrack.record import imports
from otel_vtrack.v1 import export_pb2

_FIELDS: Final = {
    "experiments": "experiment",
    "deployments": "deployment",
    "versions": "version",
    "version_aliases": "version_alias",
    "trace_tags": "trace_tag",
    "assessments": "assessment",
}
_NOUNS: Final = {field: noun for noun, field in _FIELDS.items()}


def _export_telemetry(
    backend: Backend, request: export_pb2.ExportTelemetryRequest
) -> export_pb2.ExportTelemetryResponse:
    kinds = {
        export_pb2.TELEMETRY_SIGNAL_SPANS: export_pages.Reads(
            export_pages.spans, export_pages.SPANS_START
        ),
        export_pb2.TELEMETRY_SIGNAL_LOG_RECORDS: export_pages.Reads(
            export_pages.log_records, export_pages.LOG_RECORDS_START
        ),
    }
    if request.signal not in kinds:
        raise InvalidArgument("signal is not a TelemetrySignal: choose spans or log records")
    read = kinds[request.signal]
    start = export_pages.FOUND_START if request.filter else read.start
    size = export_pages.size(request.max_bytes)
    question = _question(request, "max_bytes")
    place = paging.place(request.page_token, question) if request.page_token else start
    from_ns, until_ns = moment(request, "start_time_from"), moment(request, "start_time_until")
    what = export_pages.What(
        experiment=experiments.resolve(backend.store, request.experiment),
        from_ns=export_pages.EARLIEST_NS if from_ns is None else from_ns,
        last_ns=(
            export_pages.LATEST_NS
            if until_ns is None
            else max(until_ns - 1, export_pages.EARLIEST_NS)
        ),
    )
    if request.filter:
        page = export_pages.found(
            backend.store,
            what,
            request.filter,
            place,
            max_bytes=size,
            read=read,
            table=backend.prices,
        )
    else:
        page = read.page(backend.store, what, place, size)
    return export_pb2.ExportTelemetryResponse(
        batches=[
            export_pb2.TelemetryBatch(
                experiment=batch.experiment,
                otlp=batch.otlp,
                item_count=batch.item_count,
                adjusted_count=batch.adjusted_count,
            )
            for batch in page.batches
        ],
        next_page_token="" if page.place is None else paging.token(page.place, question),
    )


def _export_changes(
    backend: Backend, request: export_pb2.ExportChangesRequest
) -> export_pb2.ExportChangesResponse:
    if request.page_size > changes.MOST_ROWS:
        raise InvalidArgument(
            f"page_size must be from 1 to {changes.MOST_ROWS}, or 0 for {changes.DEFAULT_ROWS}"
        )
    question = _question(request, "page_size")
    experiment = experiments.resolve(backend.store, request.experiment)

    def choose(trace_ids: Collection[str]) -> Collection[str]:
        return export_pages.chosen(
            backend.store, experiment, request.filter, trace_ids, backend.prices
        )

    page = changes.page(
        backend.store,
        paging.place(request.page_token, question) if request.page_token else changes.START,
        experiment=experiment,
        traces=changes.Traces(
            from_ns=moment(request, "start_time_from"),
            until_ns=moment(request, "start_time_until"),
            choose=choose if request.filter else None,
        ),
        max_rows=request.page_size or changes.DEFAULT_ROWS,
    )
    return export_pb2.ExportChangesResponse(
        changes=[_message(page.noun, row) for row in page.rows],
        next_page_token="" if page.place is None else paging.token(page.place, question),
    )


def _import_changes(
    backend: Backend, request: export_pb2.ImportChangesRequest
) -> export_pb2.ImportChangesResponse:
    if len(request.changes) > changes.MOST_ROWS:
        raise InvalidArgument(f"there are more than {changes.MOST_ROWS} changes: send fewer")
    taken = 0
    for about, group in groupby(request.changes, lambda change: change.WhichOneof("about")):
        if about is None:
            raise InvalidArgument("a change is of a kind unknown to this server: upgrade it")
        rows = [_row(getattr(change, about)) for change in group]
        imports.rows(backend.store, _NOUNS[about], rows)
        taken += len(rows)
    return export_pb2.ImportChangesResponse(change_count=taken)


def _question(request: Any, size: str) -> dict[str, Any]:
    asked = type(request)()
    asked.CopyFrom(request)
    asked.ClearField(size)
    asked.ClearField("page_token")
    return {"asked": asked.SerializeToString(deterministic=True).hex()}


def _message(noun: str, row: dict[str, Any]) -> export_pb2.Change:
    # None marks a field that a change left as it was; the message omits it.
    told: Any = {name: value for name, value in row.items() if value is not None}
    return export_pb2.Change(**{_FIELDS[noun]: told})


def _row(message: Message) -> dict[str, Any]:
    return dict(_values(message))


def _values(message: Any) -> Iterator[tuple[str, Any]]:
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type:
            yield field.name, dict(value)
        elif field.is_repeated:
            yield field.name, list(value)
        else:
            absent = field.has_presence and not message.HasField(field.name)
            yield field.name, None if absent else value


SERVICE = Service(
    export_pb2.DESCRIPTOR,
    "ExportService",
    {
        "ExportTelemetry": _export_telemetry,
        "ExportChanges": _export_changes,
        "ImportChanges": _import_changes,
    },
)
