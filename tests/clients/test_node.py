"""Node's OTLP exporters against a live receiver."""

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EXPERIMENT = b"\xca\x3e\x04node"


def url_of(live, exporter):
    if exporter == "grpc":
        return f"http://{live.target}"
    return f"http://127.0.0.1:{live.port}/v1/traces"


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("exporter", ["http", "proto", "grpc"])
def test_what_node_sends_is_stored_with_its_types(live, node_send, exporter, compression):
    node_send(exporter, url_of(live, exporter), compression)
    spans = {span.name: span for span in live.traces.spans}
    assert set(spans) == {"POST /chat", "chat gpt-4.1", "execute_tool"}
    root, chat, tool = spans["POST /chat"], spans["chat gpt-4.1"], spans["execute_tool"]
    assert (len(root.trace_id), len(root.span_id), root.parent_span_id) == (16, 8, b"")
    assert {chat.parent_span_id, tool.parent_span_id} == {root.span_id}
    assert (root.kind, chat.kind, tool.kind) == (2, 3, 1)
    assert 0 < chat.start_time_unix_nano <= chat.end_time_unix_nano
    values = {pair.key: pair.value for pair in chat.attributes}
    assert values["text"].string_value == "größer 🙂"
    assert [values[key].WhichOneof("value") for key in ("empty", "no", "zero", "half")] == [
        "string_value", "bool_value", "int_value", "double_value"
    ]  # fmt: skip
    assert values["large"].int_value == 2**53 - 1
    assert values["negative"].int_value == -7
    assert [item.string_value for item in values["texts"].array_value.values] == ["a", "b"]
    assert chat.links[0].trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert chat.links[0].span_id.hex() == "b7ad6b7169203331"
    assert chat.events[0].name == "first token"
    assert (tool.status.code, tool.status.message) == (2, "no such order")
    assert tool.events[0].name == "exception"
    assert EXPERIMENT in b"".join(live.traces.payloads)
