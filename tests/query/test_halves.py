"""Whether the halves of a trace are read, or all of it at once: the same comes of it."""

import contextlib
import random
import re

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_vtrack.query import export, halves
from otel_vtrack.store import sql

START_S = 1_790_000_000 // 60 * 60
MINUTES = [START_S]
NAMES = re.findall(r"'(\w+\.[\w.]+|version|env\w*)'", sql.text("mapping", "spans_from_otlp"))
TEXTS = [
    *("x", "y", '"quoted"', '"', "12", "0", "007", "+5", "-1", "1e3", " 7", "", "\u00e9", "a\nb"),
    *("9" * 19, str(2**64 - 1), str(2**64), "0123456789abcdef0123", "\n\x03\n\x01a"),
    *(12, 0, -1, 2**63 - 1, 2.5, 3.0, True, False, b"\xff", b"5", ["img:1", "img:2"]),
    '{"input_tokens": 1, "output_tokens": 2, "total_tokens": 4}',
    '{"output_tokens":3,"cache_read_input_tokens":0}',
    *('{"input_tokens": 1, "input_tokens": 2}', '{"input_tokens": "5"}', '{"input_tokens": 1.0}'),
    *('{"input_tokens": 01}', "{}", "{", "[1, 2]", '{"x": 100000000000000000000}'),
]


def drawn(draw, names):
    return {draw.choice(names): draw.choice(TEXTS) for _ in range(draw.choice([0, 1, 2, 4, 9]))}


def by_span(spans):
    return sorted(spans, key=lambda found: found[0].span_id)


def test_both_ways_tell_the_same(store, writer, make_spans, trace_id):
    draw = random.Random(3)
    for resource in range(8):
        of_resource = {name.replace(".", "__"): value for name, value in drawn(draw, NAMES).items()}
        spans = [
            {
                "trace": 1 + resource * 10 + draw.randrange(10),
                "span": number,
                "parent": draw.choice([0, number - 1]),
                "attributes": drawn(draw, NAMES),
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
    halved = 0
    for number in range(1, 81):
        whole = export.whole(store, trace_id(number), START_S, START_S)
        found = halves.read(store, trace_id(number), MINUTES)
        if found is not None:
            assert by_span(found) == by_span(whole), number
            halved += bool(found)
    assert halved > 20


@pytest.fixture
def between(store, monkeypatch):
    """Let something happen after the one half was read and before the other."""

    @contextlib.contextmanager
    def patched(happens):
        read = store.binary

        def binary(name, parameters):
            if name == "spans/contents":
                happens()
            return read(name, parameters)

        class Later:
            def submit(self, function, *arguments):
                self.result = lambda: function(*arguments)
                return self

        with monkeypatch.context() as patch:
            patch.setattr(store, "binary", binary)
            patch.setattr(halves.beside, "POOL", Later())
            yield

    return patched


@pytest.mark.parametrize(
    ("later", "fit"),
    [
        ({"span": 3, "name": "late"}, False),
        ({"span": 1, "name": "step 1"}, True),
        ({"span": 1, "name": "step 1", "attributes": {"said": "otherwise"}}, False),
    ],
)
def test_what_arrives_between_the_halves_breaks_none(store, send, between, later, fit):
    send({}, {"parent": 1, "attributes": {"a": 1}})
    with between(lambda: send(later)):
        assert (halves.read(store, f"{1:032x}", MINUTES) is not None) == fit
    loaded = export.spans(store, f"{1:032x}")
    assert {span.name for span, _ in loaded} == {"step 1", "step 2", later["name"]}


def test_a_span_that_is_sent_again_is_there_once(store, send, trace_id):
    event = Span.Event(name="said", time_unix_nano=1)
    for _ in range(2):
        send({"events": [event]}, {"parent": 1})
    found = halves.read(store, trace_id(), MINUTES)
    assert found
    assert sorted([each.name for each in span.events] for span, _ in found) == [[], ["said"]]


def test_of_a_span_that_is_sent_again_changed_each_is_whole(store, send, trace_id):
    for version in ("1", "2"):
        send({"span": 1, "name": version, "attributes": {"service.version": version}})
    assert halves.read(store, trace_id(), MINUTES) is None
    loaded = export.spans(store, trace_id())
    assert {(span.name, said.version) for span, said in loaded} <= {("1", b"1"), ("2", b"2")}
    assert loaded
