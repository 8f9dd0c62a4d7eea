"""Every field of a log record is kept in its column."""

import math

import pytest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from otel_vtrack.wire import anyvalue

# By kind of value: what is kept as text, before hexadecimal.
BODIES = [
    (None, 0, b""),
    ("text \x00 ß", 1, "text \x00 ß".encode()),
    ("", 1, b""),
    (True, 2, b"true"),
    (-(2**63), 3, b"-9223372036854775808"),
    (0.1, 4, b"0.1"),
    (math.inf, 4, b"inf"),
    (["a", 1], 5, anyvalue.to_message(["a", 1]).array_value.SerializeToString()),
    ({"a": {"b": [1]}}, 6, anyvalue.to_message({"a": {"b": [1]}}).kvlist_value.SerializeToString()),
    (b"\xff\x00", 7, b"\xff\x00"),
]


@pytest.mark.parametrize(("body", "kind", "text"), BODIES, ids=lambda value: repr(value)[:20])
def test_a_body_and_an_attribute_of_any_kind_are_kept(store, writer, otlp, *, body, kind, text):
    record = otlp.record(time_unix_nano=otlp.T0, body=body, attributes={"first": 1, "it": body})
    writer.write_logs(otlp.logs(record).SerializeToString())
    [row] = store.select(
        "SELECT hex(body) AS body, body_type, mapKeys(attributes) AS names,"
        " arrayMap(t -> hex(t), mapValues(attributes)) AS texts, attribute_types FROM log_records"
    )
    assert (row["body"], row["body_type"]) == (text.hex().upper(), kind)
    assert row["names"] == ["first", "it"]
    assert row["texts"] == [b"1".hex().upper(), text.hex().upper()]
    assert row["attribute_types"] == [3, kind]


def test_every_other_field_is_kept(store, writer, otlp):
    record = LogRecord(
        time_unix_nano=otlp.T0 + 1,
        observed_time_unix_nano=otlp.T0 + 2,
        severity_number=17,
        severity_text="ERROR",
        event_name="feature_flag.evaluation",
        dropped_attributes_count=5,
        flags=0xFFFFFFFF,
        trace_id=bytes(range(16)),
        span_id=bytes(range(8)),
    )
    sent = otlp.logs(record, resource={"service.name": "shop", "n": 1})
    group = sent.resource_logs[0]
    group.schema_url = "resource schema"
    group.resource.dropped_attributes_count = 6
    group.resource.entity_refs.add(type="service", id_keys=["service.name"])
    scoped = group.scope_logs[0]
    scoped.schema_url = "scope schema"
    scoped.scope.name, scoped.scope.version = "scope", "1"
    scoped.scope.dropped_attributes_count = 7
    otlp.add_attributes(scoped.scope, {"a": [1], "b": "x"})
    tested = {field.name for field, _ in record.ListFields()} | {"body", "attributes"}
    assert tested == {field.name for field in LogRecord.DESCRIPTOR.fields}

    writer.write_logs(sent.SerializeToString())
    [row] = store.select(
        "SELECT * REPLACE (toUnixTimestamp64Nano(time) AS time, hex(trace_id) AS trace_id,"
        " hex(span_id) AS span_id, arrayMap(a -> hex(a), scope_attributes) AS scope_attributes,"
        " arrayMap(r -> hex(r), resource_entity_refs) AS resource_entity_refs) FROM log_records"
    )
    assert row.pop("record_id")
    assert row == {
        "time": otlp.T0 + 1,
        "time_unix_nano": otlp.T0 + 1,
        "observed_time_unix_nano": otlp.T0 + 2,
        "severity_number": 17,
        "severity_text": "ERROR",
        "event_name": "feature_flag.evaluation",
        "body": "",
        "body_type": 0,
        "attributes": {},
        "attribute_types": [],
        "dropped_attributes_count": 5,
        "flags": 0xFFFFFFFF,
        "trace_id": bytes(range(16)).hex().upper(),
        "span_id": bytes(range(8)).hex().upper(),
        "scope_name": "scope",
        "scope_version": "1",
        "scope_attributes": [
            pair.SerializeToString().hex().upper() for pair in scoped.scope.attributes
        ],
        "scope_dropped_attributes_count": 7,
        "scope_schema_url": "scope schema",
        "resource_attributes": {"service.name": "shop", "n": "1"},
        "resource_attribute_types": [1, 3],
        "resource_dropped_attributes_count": 6,
        "resource_entity_refs": [group.resource.entity_refs[0].SerializeToString().hex().upper()],
        "resource_schema_url": "resource schema",
        "experiment": "shop",
        "service_name": "shop",
    }


def test_a_record_without_time_has_the_time_it_was_observed(store, writer, otlp):
    record = otlp.record(observed_time_unix_nano=otlp.T0)
    writer.write_logs(otlp.logs(record).SerializeToString())
    [row] = store.select(
        "SELECT toUnixTimestamp64Nano(time) AS time, time_unix_nano AS sent FROM log_records"
    )
    assert row == {"time": otlp.T0, "sent": 0}


@pytest.mark.parametrize("at", [0, 1, 2**32 * 10**9, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_record_at_an_absurd_time_is_kept(store, writer, otlp, at):
    payload = otlp.logs(otlp.record(time_unix_nano=at, body="x")).SerializeToString()
    writer.write_logs(payload)
    writer.write_logs(payload)
    assert store.select("SELECT time_unix_nano AS at FROM log_records FINAL") == [{"at": at}]


def variations(otlp):
    """Requests of one record that differ in one thing each."""
    fields = {"time_unix_nano": otlp.T0, "body": "x", "attributes": {"a": 1}}
    yield "plain", otlp.logs(otlp.record(**fields))
    for name, value in {
        "body": 1,
        "attributes": {"a": "1"},
        "severity_number": 1,
        "severity_text": "s",
        "event_name": "e",
        "flags": 1,
        "dropped_attributes_count": 1,
        "trace_id": bytes(16),
        "span_id": bytes(8),
        "observed_time_unix_nano": 1,
        "time_unix_nano": otlp.T0 + 1,
    }.items():
        yield name, otlp.logs(otlp.record(**fields | {name: value}))
    yield "resource", otlp.logs(otlp.record(**fields), resource={"service.name": "bank"})
    yield "resource's kind", otlp.logs(otlp.record(**fields), resource={"service.name": b"shop"})
    for path in (
        ("schema_url", "u"),
        ("resource.dropped_attributes_count", 1),
        ("scope_logs.schema_url", "u"),
        ("scope_logs.scope.name", "n"),
        ("scope_logs.scope.version", "1"),
        ("scope_logs.scope.dropped_attributes_count", 1),
    ):
        sent = otlp.logs(otlp.record(**fields))
        owner = sent.resource_logs[0]
        *outer, last = path[0].split(".")
        for name in outer:
            owner = getattr(owner, name)
            owner = owner[0] if name == "scope_logs" else owner
        setattr(owner, last, path[1])
        yield path[0], sent
    sent = otlp.logs(otlp.record(**fields))
    sent.resource_logs[0].scope_logs[0].scope.attributes.append(KeyValue(key="k"))
    yield "scope's attributes", sent


def test_records_that_differ_in_anything_are_two(store, writer, otlp):
    different = dict(variations(otlp))
    payload = b"".join(request.SerializeToString() for request in different.values())
    writer.write_logs(payload)
    writer.write_logs(payload)
    [row] = store.select("SELECT count() AS n, uniqExact(record_id) AS ids FROM log_records FINAL")
    assert row == {"n": len(different), "ids": len(different)}
