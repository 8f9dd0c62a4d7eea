"""Whether few columns of a trace are read or all of them: the same comes of it."""

import random

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_vtrack.query import export, trace_spans
from otel_vtrack.store import sql

START_S = 1_790_000_000 // 60 * 60
MINUTES = [START_S]
SAID = Span.Event(name="said", time_unix_nano=1)
TAGS = [
    {},
    {"session.id": "s1", "gen_ai.usage.input_tokens": 3},
    {"service.version": "2", "vcs.ref.head.revision": "abc", "vcs.ref.head.name": "main"},
    {"mlflow.chat.tokenUsage": '{"input_tokens": 1, "output_tokens": 2, "total_tokens": 4}'},
    {"gen_ai.usage.input_tokens": "+5"},
]


def by_span(spans):
    return sorted(spans, key=lambda found: found[0].span_id)


def test_both_ways_tell_the_same(store, writer, make_spans, trace_id):
    draw = random.Random(3)
    for resource in range(8):
        of_resource = {name.replace(".", "__"): value for name, value in draw.choice(TAGS).items()}
        spans = [
            {
                "trace": 1 + resource * 5 + draw.randrange(5),
                "span": number,
                "parent": draw.choice([0, number - 1]),
                "attributes": draw.choice(TAGS),
                "events": draw.choice(
                    [[], [], [], [Span.Event(name="said", time_unix_nano=number)]]
                ),
                "trace_state": draw.choice(["", "", "", "ot=th:c"]),
            }
            for number in range(1, 21)
        ]
        request = make_spans(*spans, **of_resource)
        request.resource_spans[0].schema_url = draw.choice(["", "https://example.test/1"])
        request.resource_spans[0].scope_spans[0].scope.version = draw.choice(["", "7"])
        writer.write_traces(request.SerializeToString())
    told = 0
    for number in range(1, 41):
        whole = export.whole(store, trace_id(number), START_S, START_S)
        found = trace_spans.read(store, trace_id(number), MINUTES)
        if found is not None:
            assert by_span(found) == by_span(whole), number
            told += bool(found)
    assert 10 < told < 40


@pytest.mark.parametrize(
    ("later", "fits"),
    [
        ({"span": 3, "name": "late"}, True),
        ({"span": 1, "name": "step 1", "events": [SAID]}, True),
        ({"span": 1, "name": "step 1", "events": [SAID, SAID]}, False),
    ],
)
def test_what_arrives_before_the_events_are_read_breaks_none(store, send, monkeypatch, later, fits):
    send({"events": [SAID]}, {"parent": 1, "attributes": {"a": 1}})
    read = store.binary

    def binary(name, *asked):
        if name == "spans/events":
            send(later)
        return read(name, *asked)

    with monkeypatch.context() as patch:
        patch.setattr(store, "binary", binary)
        found = trace_spans.read(store, f"{1:032x}", MINUTES)
    assert (found is not None) == fits
    assert {span.name for span, _ in found or ()} <= {"step 1", "step 2"}
    loaded = export.spans(store, f"{1:032x}")
    assert {span.name for span, _ in loaded} == {"step 1", "step 2", later["name"]}


def test_a_span_that_is_sent_again_is_there_once(store, send, trace_id):
    for _ in range(2):
        send({"events": [SAID]}, {"parent": 1})
    found = trace_spans.read(store, trace_id(), MINUTES)
    assert found
    assert sorted([each.name for each in span.events] for span, _ in found) == [[], ["said"]]


def test_of_a_span_that_is_sent_again_changed_each_is_whole(store, send, trace_id):
    for version in ("1", "2"):
        send({"span": 1, "name": version, "attributes": {"service.version": version}})
    assert trace_spans.read(store, trace_id(), MINUTES) is None
    loaded = export.spans(store, trace_id())
    assert {(span.name, said.version) for span, said in loaded} <= {("1", b"1"), ("2", b"2")}
    assert loaded


def test_a_trace_of_several_minutes_is_whole(store, send, trace_id):
    send({}, {"parent": 1, "at": 61_000}, {"parent": 1, "at": 240_000})
    found = trace_spans.read(store, trace_id(), range(START_S, START_S + 600, 60))
    assert found
    assert by_span(found) == by_span(export.spans(store, trace_id()))
    assert len(found) == 3


def test_spans_of_before_are_told(store, send, trace_id):
    send({"events": [SAID], "attributes": {"a": 1, "b": "x"}}, service__name="shop")
    # As a store has them that was made without the column.
    store.command("ALTER TABLE spans DROP COLUMN shared")
    for statement in store.topology.render(
        sql.text("migrations", "0093_keep_what_spans_share_together")
    ):
        store.command(statement)
    send({"span": 2, "parent": 1}, service__name="shop")
    found = trace_spans.read(store, trace_id(), MINUTES)
    assert found
    assert by_span(found) == by_span(export.spans(store, trace_id()))
    whole = export.whole(store, trace_id(), START_S, START_S)
    assert by_span(found) == by_span(whole)
    assert [len(span.events) for span, _ in by_span(found)] == [1, 0]
