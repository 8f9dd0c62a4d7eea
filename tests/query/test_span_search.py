import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import spans

MS = 1_000_000
THROWN = [("exception", {"exception.type": "Timeout"}), ("retry", {"attempt": 2})]


@pytest.fixture
def some(send, writer, make_spans):
    """Spans of two traces, one of them with events."""
    request = make_spans(
        {"name": "POST /chat", "kind": 2, "ms": 90, "attributes": {"input.value": "Hello there"}},
        {
            "name": "chat",
            "at": 5,
            "ms": 40,
            "parent": 1,
            "attributes": {
                "gen_ai.operation.name": "chat",
                "temperature": 0.5,
                "vtrack.flag.ui": "on",
            },
        },
        {"name": "find", "at": 50, "ms": 20, "parent": 1, "status": 2},
        service__version="1",
        host__name="h1",
    )
    failed = request.resource_spans[0].scope_spans[0].spans[2]
    for name, attributes in THROWN:
        event = failed.events.add(name=name, time_unix_nano=failed.start_time_unix_nano)
        for key, value in attributes.items():
            pair = event.attributes.add(key=key)
            if isinstance(value, int):
                pair.value.int_value = value
            else:
                pair.value.string_value = value
    writer.write_traces(request.SerializeToString())
    # Sent again: still one each.
    writer.write_traces(request.SerializeToString())
    send({"trace": 2, "name": "other", "at": 200, "ms": -5}, service__name="stock")


def names(store, text="", **more):
    return [span.name for span in spans.search(store, text=text, **more).spans]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", ["other", "find", "chat", "POST /chat"]),
        ("type = 'CHAT_MODEL'", ["chat"]),
        ("span.type = 'CHAT_MODEL'", ["chat"]),
        ("type IS NULL AND service = 'shop'", ["find", "POST /chat"]),
        ("kind = 'SERVER'", ["POST /chat"]),
        ("status = 'ERROR'", ["find"]),
        ("duration > 30ms", ["chat", "POST /chat"]),
        ("duration < 0", ["other"]),
        ("attributes.temperature >= 0.5", ["chat"]),
        ("span.attributes.temperature = '0.5'", ["chat"]),
        ("resource.host.name = 'h1' AND duration BETWEEN 20 AND 40", ["find", "chat"]),
        ("event.name = 'exception'", ["find"]),
        ("event.name = 'retry' AND event.attributes.attempt > 1", ["find"]),
        ("event.name = 'exception' AND event.attributes.attempt > 1", []),
        ("exists event (name = 'exception') AND event.attributes.attempt > 1", ["find"]),
        ("NOT event.name = 'exception' AND service = 'shop'", ["chat", "POST /chat"]),
        ("has(event.attributes.exception.type)", ["find"]),
        ("text CONTAINS 'Hello'", ["POST /chat"]),
        ("content LIKE '%Timeout%'", ["find"]),
        ("content NOT LIKE '%Timeout%' AND status = 'ERROR'", []),
        ("flag.ui = 'on'", ["chat"]),
        ("parent_span_id IS NULL", ["other", "POST /chat"]),
        ("version = '1' AND (name = 'chat' OR name = 'find')", ["find", "chat"]),
        ("start_time >= '2026-09-21T14:13:20.05Z'", ["other", "find"]),
        ("trace_id = 'tr-00000000000000000000000000000002'", ["other"]),
        ("span_id = '0000000200000002'", ["chat"]),
    ],
)
def test_spans_are_found_by_what_they_say(store, some, text, wanted):
    assert names(store, text) == wanted


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        ([], ["other", "find", "chat", "POST /chat"]),
        (["start_time"], ["POST /chat", "chat", "find", "other"]),
        (["duration DESC"], ["POST /chat", "chat", "find", "other"]),
        (["type", "name"], ["chat", "POST /chat", "find", "other"]),
        (["attributes.temperature DESC"], ["chat", "other", "find", "POST /chat"]),
        (["version", "name DESC"], ["find", "chat", "POST /chat", "other"]),
    ],
)
def test_pages_join_in_every_order_while_spans_arrive(store, send, some, keys, wanted):
    seen, token = [], ""
    while True:
        page = spans.search(store, order_by=keys, page_size=1, page_token=token)
        seen += [span.name for span in page.spans if span.name in wanted]
        send({"trace": 9, "span": len(seen) + 1, "name": "new", "at": 10_000}, service__name="new")
        token = page.next_page_token
        if not token:
            break
    assert seen == wanted


def test_a_span_is_described_and_comes_as_it_was_sent(store, some):
    [span] = spans.search(store, text="status = 'ERROR'").spans
    assert (span.trace_id, span.span_id) == (f"{1:032x}", "0000000300000003")
    assert (span.parent_span_id, span.experiment) == ("0000000100000001", "shop")
    assert (span.name, span.type, span.kind, span.status) == ("find", "", "", 2)
    assert (span.duration_ns, span.service_name, span.version) == (20 * MS, "shop", "1")
    data = TracesData.FromString(span.otlp)
    [sent] = data.resource_spans[0].scope_spans[0].spans
    assert [event.name for event in sent.events] == ["exception", "retry"]
    [bare] = spans.search(store, text="status = 'ERROR'", omit_otlp=True).spans
    assert bare.otlp == b""


def test_an_experiment_restricts(store, some):
    assert names(store, experiment="stock") == ["other"]


@pytest.mark.parametrize("text", ["nam = 'x'", "type > 'x'", "duration = 'x'", "feedback.x = 'y'"])
def test_what_spans_do_not_take_is_refused(store, text):
    with pytest.raises(InvalidArgument, match="\\^"):
        spans.search(store, text=text)


def test_a_token_is_good_for_its_own_question_only(store, some):
    token = spans.search(store, page_size=1).next_page_token
    with pytest.raises(InvalidArgument, match="page_token"):
        spans.search(store, text="name = 'chat'", page_size=1, page_token=token)


@pytest.mark.parametrize(
    ("attributes", "type_"),
    [
        ({"mlflow.spanType": '"LLM"'}, "LLM"),
        ({"mlflow.spanType": "Own", "openinference.span.kind": "TOOL"}, "Own"),
        ({"openinference.span.kind": "retriever"}, "RETRIEVER"),
        ({"gen_ai.operation.name": "invoke_agent"}, "AGENT"),
        ({"gen_ai.operation.name": "embeddings"}, "EMBEDDING"),
        ({"traceloop.span.kind": "workflow"}, "WORKFLOW"),
        ({"ai.operationId": "ai.toolCall"}, "TOOL"),
        ({"ai.operationId": "ai.streamText.doStream"}, "LLM"),
        ({"lmnr.span.type": "LLM"}, "LLM"),
        ({"langfuse.observation.type": "generation"}, "LLM"),
        ({"langfuse.observation.type": "span"}, ""),
        ({"span.type": "task"}, "TASK"),
        ({"http.route": "/"}, ""),
    ],
)
def test_a_span_s_type_is_what_its_convention_says(store, send, attributes, type_):
    send({"attributes": attributes})
    [span] = spans.search(store).spans
    assert span.type == type_


def test_whole_numbers_are_compared_digit_by_digit(store, send):
    limit = 1 << 53
    for number, value in enumerate((limit - 1, limit, limit + 1, float(limit * 2)), 1):
        send({"trace": number, "attributes": {"n": value}})
    for text, wanted in (
        (f"attributes.n > {limit}", {3, 4}),
        (f"attributes.n >= {limit + 1}", {3, 4}),
        (f"attributes.n < {limit + 1}", {1, 2}),
        (f"attributes.n = {limit + 1}", {3}),
        (f"attributes.n BETWEEN {limit} AND {limit + 1}", {2, 3}),
    ):
        found = spans.search(store, text=text).spans
        assert {int(each.trace_id, 16) for each in found} == wanted, text
