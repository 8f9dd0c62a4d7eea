"""A fresh store for each test, and short builders of OTLP."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_vtrack.store.client import Store
from otel_vtrack.wire import anyvalue

T0 = 1_780_000_000_000_000_000  # 2026-05-28, in ns


def trace_id(number):
    return number.to_bytes(16, "big")


def span_id(number):
    return number.to_bytes(8, "big")


def add_attributes(owner, attributes):
    for key, value in (attributes or {}).items():
        owner.attributes.add(key=key).value.CopyFrom(anyvalue.to_message(value))


def span(
    number=1,
    *,
    trace=1,
    parent=0,
    name="work",
    start=T0,
    duration=1_000,
    attributes=None,
    status=0,
    **fields,
):
    """Make a span; ids are given as numbers, and a parent of 0 is none."""
    made = Span(
        trace_id=trace_id(trace),
        span_id=span_id(number),
        parent_span_id=span_id(parent) if parent else b"",
        name=name,
        start_time_unix_nano=start,
        end_time_unix_nano=start + duration,
        **fields,
    )
    if status:
        made.status.code = status
    add_attributes(made, attributes)
    return made


def request(*spans, resource=None):
    """Make the request that holds these spans, all of one resource."""
    made = ExportTraceServiceRequest()
    group = made.resource_spans.add()
    add_attributes(group.resource, {"service.name": "shop"} if resource is None else resource)
    group.scope_spans.add().spans.extend(spans)
    return made


def logs(*records, resource=None):
    made = ExportLogsServiceRequest()
    group = made.resource_logs.add()
    add_attributes(group.resource, {"service.name": "shop"} if resource is None else resource)
    group.scope_logs.add().log_records.extend(records)
    return made


def record(*, body=None, attributes=None, **fields):
    made = LogRecord(**fields)
    if body is not None:
        made.body.CopyFrom(anyvalue.to_message(body))
    add_attributes(made, attributes)
    return made


@pytest.fixture(scope="session")
def otlp():
    """Builders; a fixture, as test modules do not import each other."""
    return SimpleNamespace(
        T0=T0,
        trace_id=trace_id,
        span_id=span_id,
        add_attributes=add_attributes,
        span=span,
        request=request,
        logs=logs,
        record=record,
    )


@pytest.fixture
def url(tmp_path):
    return f"chdb://{tmp_path}/store"


_SPANS = "SELECT toString(tuple(*)) AS row FROM spans FINAL ORDER BY row"
_RECORDS = "SELECT toString(tuple(*)) AS row FROM log_records FINAL ORDER BY row"
# Arrays of states come in any order, which means nothing.
_TRACES = """
    SELECT hex(trace_id) AS id, experiment, toString(min(start_time)) AS start,
        toString(max(end_time)) AS end, toString(min(root)) AS root, max(session_id) AS session,
        max(user_id) AS user, max(adjusted_count) AS adjusted_count,
        arraySort(groupUniqArrayArray(edges)) AS edges,
        arraySort(groupUniqArrayArray(errors)) AS errors,
        toString(arraySort(groupUniqArrayArray(usage))) AS usage
    FROM traces GROUP BY trace_id, experiment ORDER BY ALL
"""
_VERSIONS = """
    SELECT experiment, service_name, version, environment, deployment_id,
        max(git_commit), max(git_branch), max(git_dirty), max(repository_url),
        toString(min(first_seen)), toString(max(last_seen)),
        uniqMerge(traces), uniqMerge(sessions), uniqMerge(users)
    FROM versions GROUP BY ALL ORDER BY ALL
"""
_ACTIVITY = """
SELECT experiment, service_name, environment, minute, version, min(first_seen) AS first,
    max(last_seen) AS last, uniqMerge(traces) AS traces, uniqMerge(instances) AS instances
    FROM activity_minutes GROUP BY ALL ORDER BY ALL
"""
_HOURS = _ACTIVITY.replace("minute", "hour")


@pytest.fixture(scope="session")
def contents() -> Callable[[Store], dict]:
    """All that a store answers: rows and what is derived from them."""

    def read(store):
        return {
            "spans": store.select(_SPANS),
            "traces": store.select(_TRACES),
            "versions": store.select(_VERSIONS),
            "activity_minutes": store.select(_ACTIVITY),
            "activity_hours": store.select(_HOURS),
            "log_records": store.select(_RECORDS),
        }

    return read
