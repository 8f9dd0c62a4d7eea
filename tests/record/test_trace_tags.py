"""Tags of traces: what telemetry says, what people change, and which of both holds."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from otel_vtrack.errors import InvalidArgument, NotFound
from otel_vtrack.query import tags
from otel_vtrack.record import trace_tags
from otel_vtrack.store import migrate
from otel_vtrack.store.client import Store
from otel_vtrack.store.writer import Writer
from otel_vtrack.wire import anyvalue

FAR_AHEAD_MS = 400 * 365 * 86_400_000 // 10


def told(store, trace_id):
    return tags.of_traces(store, [trace_id]).get(trace_id, {})


def with_events(request, *events):
    """Add events, each a name and attributes, to the first span of a request."""
    span = request.resource_spans[0].scope_spans[0].spans[0]
    for name, attributes in events:
        event = span.events.add(name=name, time_unix_nano=span.start_time_unix_nano)
        for key, value in attributes.items():
            event.attributes.add(key=key, value=anyvalue.to_message(value))
    return request


# What telemetry says


def test_attributes_of_the_root_are_tags_by_mlflows_prefix(store, send, trace_id):
    send(
        {"attributes": {"mlflow.traceTag.team": "blue", "mlflow.traceTag.tries": 3, "other": "x"}},
        {"parent": 1, "attributes": {"mlflow.traceTag.below": "no"}},
    )
    assert told(store, trace_id()) == {"team": "blue", "tries": "3"}


def test_what_is_no_text_is_no_tag(store, send, trace_id):
    send({"attributes": {"mlflow.traceTag.list": [1], "mlflow.traceTag.": "x", "vtrack.flag.": 1}})
    assert told(store, trace_id()) == {}


def test_a_root_whose_parent_is_in_another_process_has_tags(store, send, trace_id):
    tag = {"attributes": {"mlflow.traceTag.a": "b"}, "span": 2, "parent": 1}
    send({**tag, "trace": 1, "kind": 2}, {**tag, "trace": 2, "span": 3, "flags": 0x300})
    send({**tag, "trace": 3, "span": 4, "kind": 2, "flags": 0x100})
    assert told(store, trace_id(1)) == told(store, trace_id(2)) == {"a": "b"}
    assert told(store, trace_id(3)) == {}


@pytest.mark.parametrize("first", [0, 1])
def test_of_two_roots_the_earlier_says_it_in_whatever_order_they_come(store, send, trace_id, first):
    roots = [
        {"span": 1, "at": 0, "attributes": {"mlflow.traceTag.a": "early"}},
        {"span": 2, "at": 5, "attributes": {"mlflow.traceTag.a": "late"}},
    ]
    send(roots[first])
    send(roots[1 - first])
    assert told(store, trace_id()) == {"a": "early"}


def test_long_values_are_cut_and_long_keys_left_out(store, send, trace_id):
    send(
        {
            "attributes": {
                "mlflow.traceTag.long": "ä" * 5_000,
                "mlflow.traceTag." + "k" * 250: "fits",
                "mlflow.traceTag." + "k" * 251: "does not",
            }
        }
    )
    assert told(store, trace_id()) == {"long": "ä" * 4_096, "k" * 250: "fits"}


def test_mlflows_own_tags_are_not_taken_from_telemetry(store, send, trace_id):
    send({"attributes": {"mlflow.traceTag.mlflow.artifactLocation": "s3://elsewhere"}})
    assert told(store, trace_id()) == {}


def test_flags_are_tags_from_attributes_of_any_span(store, send, trace_id):
    send({}, {"parent": 1, "attributes": {"vtrack.flag.prompt": "v2", "vtrack.flag.beta": True}})
    assert told(store, trace_id()) == {"vtrack.flag.prompt": "v2", "vtrack.flag.beta": "true"}


@pytest.mark.parametrize("name", ["feature_flag.evaluation", "feature_flag"])
@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"feature_flag.result.variant": "on", "feature_flag.variant": "old"}, "on"),
        ({"feature_flag.variant": "old", "feature_flag.result.value": "v"}, "old"),
        ({"feature_flag.result.value": "v"}, "v"),
        ({"feature_flag.result.value": '"quoted"'}, "quoted"),
        ({"feature_flag.result.value": False}, "false"),
        ({"feature_flag.result.value": 7}, "7"),
        ({"feature_flag.result.value": 0.5}, "0.5"),
        ({"feature_flag.result.value": '{"a": 1}'}, '{"a": 1}'),
        ({}, None),
    ],
)
def test_flags_are_tags_from_events_of_any_span(
    store, writer, make_spans, trace_id, *, name, attributes, expected
):
    request = make_spans({"parent": 9})
    with_events(request, (name, {"feature_flag.key": "k"} | attributes), ("other", attributes))
    writer.write_traces(request.SerializeToString())
    assert told(store, trace_id()) == ({"vtrack.flag.k": expected} if expected else {})


def log_event(trace_id, attributes, body=None, name="feature_flag.evaluation"):
    request = ExportLogsServiceRequest()
    record = (
        request.resource_logs.add()
        .scope_logs.add()
        .log_records.add(
            event_name=name,
            trace_id=bytes.fromhex(trace_id),
            time_unix_nano=1_790_000_000_000_000_000,
        )
    )
    for key, value in attributes.items():
        record.attributes.add(key=key, value=anyvalue.to_message(value))
    if body is not None:
        record.body.CopyFrom(anyvalue.to_message(body))
    return request.SerializeToString()


@pytest.mark.parametrize(
    ("attributes", "body", "expected"),
    [
        ({"feature_flag.result.variant": "on"}, None, "on"),
        ({"feature_flag.variant": "old"}, {"value": "x"}, "old"),
        ({"feature_flag.result.value": '"q"'}, None, "q"),
        ({}, {"value": "body text"}, "body text"),
        ({}, {"value": True}, "true"),
        ({}, {"value": False}, "false"),
        ({}, "text", None),
    ],
)
def test_flags_are_tags_from_log_events(store, writer, trace_id, *, attributes, body, expected):
    named = {"feature_flag.key": "k"} | attributes
    writer.write_logs(log_event(trace_id(), named, body))
    writer.write_logs(log_event(trace_id(2), named, body, name="something.else"))
    assert told(store, trace_id()) == ({"vtrack.flag.k": expected} if expected else {})
    assert told(store, trace_id(2)) == {}


def test_an_event_that_belongs_to_no_trace_tags_none(store, writer):
    writer.write_logs(log_event("", {"feature_flag.key": "k", "feature_flag.variant": "on"}))
    assert store.select("SELECT count() AS n FROM trace_tags") == [{"n": 0}]


def test_a_retry_of_telemetry_changes_nothing(store, send, trace_id):
    for _ in range(3):
        send({"attributes": {"mlflow.traceTag.a": "b", "vtrack.flag.f": "on"}})
    assert told(store, trace_id()) == {"a": "b", "vtrack.flag.f": "on"}
    store.command("OPTIMIZE TABLE trace_tags FINAL")
    assert store.select("SELECT count() AS n FROM trace_tags") == [{"n": 2}]


# What people change


def test_a_tag_is_set_changed_and_deleted(store, send, trace_id):
    send({})
    trace_tags.set_tag(store, trace_id(), "reviewed", "no")
    trace_tags.set_tag(store, f"tr-{trace_id().upper()}", "reviewed", "yes")
    assert told(store, trace_id()) == {"reviewed": "yes"}
    trace_tags.delete_tag(store, trace_id(), "reviewed")
    assert told(store, trace_id()) == {"reviewed": None}
    trace_tags.set_tag(store, trace_id(), "reviewed", "")
    assert told(store, trace_id()) == {"reviewed": ""}


@pytest.mark.parametrize("ahead", [0, FAR_AHEAD_MS])
def test_people_win_over_telemetry_whenever_it_comes_and_whatever_its_clock_says(
    store, send, trace_id, ahead
):
    span = {"at": ahead, "attributes": {"mlflow.traceTag.team": "blue", "mlflow.traceTag.x": "1"}}
    send(span)
    trace_tags.set_tag(store, trace_id(), "team", "green")
    trace_tags.delete_tag(store, trace_id(), "x")
    send(span)
    send({**span, "span": 7, "at": ahead - 5})
    assert told(store, trace_id()) == {"team": "green", "x": None}
    store.command("OPTIMIZE TABLE trace_tags FINAL")
    assert told(store, trace_id()) == {"team": "green", "x": None}


def test_a_tag_set_before_the_root_arrives_stays(store, send, trace_id):
    send({"span": 2, "parent": 1})
    trace_tags.set_tag(store, trace_id(), "team", "green")
    send({"span": 1, "attributes": {"mlflow.traceTag.team": "blue", "mlflow.traceTag.b": "c"}})
    assert told(store, trace_id()) == {"team": "green", "b": "c"}


def test_deleting_what_is_not_there_succeeds(store, send, trace_id):
    send({})
    trace_tags.delete_tag(store, trace_id(), "nothing")
    assert told(store, trace_id()) == {"nothing": None}


def test_a_trace_nobody_sent_is_not_found(store, trace_id):
    for call in (
        lambda: trace_tags.set_tag(store, trace_id(), "a", "b"),
        lambda: trace_tags.delete_tag(store, trace_id(), "a"),
    ):
        with pytest.raises(NotFound, match=trace_id()):
            call()
    with pytest.raises(InvalidArgument, match="not a trace id"):
        trace_tags.set_tag(store, "nonsense", "a", "b")


def test_values_are_cut_and_keys_have_a_length(store, send, trace_id):
    send({})
    trace_tags.set_tag(store, trace_id(), "k" * 250, "🦜" * 5_000)
    assert told(store, trace_id()) == {"k" * 250: "🦜" * 4_096}
    for key in ("", "k" * 251):
        with pytest.raises(InvalidArgument, match="from 1 to 250"):
            trace_tags.set_tag(store, trace_id(), key, "x")


@pytest.mark.parametrize(
    ("key", "deletable"),
    [
        ("mlflow.artifactLocation", False),
        ("mlflow.trace.spansLocation", False),
        ("mlflow.trace.archiveLocation", False),
        ("mlflow.trace.archivalFailure", True),
    ],
)
def test_mlflows_own_tags_cannot_be_set(store, send, trace_id, key, deletable):
    send({})
    with pytest.raises(InvalidArgument, match=key):
        trace_tags.set_tag(store, trace_id(), key, "x")
    if deletable:
        trace_tags.delete_tag(store, trace_id(), key)
    else:
        with pytest.raises(InvalidArgument, match=key):
            trace_tags.delete_tag(store, trace_id(), key)


def test_writers_do_not_lose_each_others_tags(store, send, trace_id):
    send({})

    def write(number):
        for step in range(5):
            trace_tags.set_tag(store, trace_id(), f"of {number}", str(step))
            trace_tags.set_tag(store, trace_id(), "shared", f"{number} {step}")

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write, range(16)))
    found = told(store, trace_id())
    assert {found[f"of {number}"] for number in range(16)} == {"4"}
    assert found["shared"].endswith(" 4")


def test_tags_outlive_a_restart(tmp_path, make_spans, trace_id):
    url = f"chdb://{tmp_path / 'kept'}"
    for _ in range(2):
        with Store(url) as store:
            migrate.apply(store)
            Writer(store).write_traces(
                make_spans({"attributes": {"mlflow.traceTag.a": "b"}}).SerializeToString()
            )
            known = told(store, trace_id())
            trace_tags.set_tag(store, trace_id(), "a", "by hand")
    assert known == {"a": "by hand"}
