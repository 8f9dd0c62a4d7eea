"""Requests as real clients sent them (tests/data), replayed against a live receiver."""

from pathlib import Path

import grpc
import pytest

DATA = Path(__file__).parents[1] / "data"
BINARIES = sorted(path.name for path in DATA.glob("*.bin"))


def check(live, client):
    (group,) = live.traces.request.resource_spans
    resource = {pair.key: pair.value.string_value for pair in group.resource.attributes}
    assert (resource["service.name"], resource["service.version"]) == ("shop", "2.4.0")
    assert group.scope_spans[0].scope.name == f"{client}-client"
    spans = {span.name: span for span in live.traces.spans}
    root, chat, tool = spans["POST /chat"], spans["chat gpt-4.1"], spans["execute_tool"]
    assert {span.trace_id for span in spans.values()} == {root.trace_id}
    assert {chat.parent_span_id, tool.parent_span_id} == {root.span_id}
    values = {pair.key: pair.value for pair in chat.attributes}
    assert values["text"].string_value == "größer 🙂"
    assert [values[key].WhichOneof("value") for key in ("empty", "no", "zero", "half")] == [
        "string_value", "bool_value", "int_value", "double_value"
    ]  # fmt: skip
    assert values["large"].int_value == 2**53 - 1
    assert chat.links[0].span_id.hex() == "b7ad6b7169203331"
    assert (tool.status.code, tool.status.message) == (2, "no such order")


def test_there_is_a_capture_of_every_client():
    assert {name.partition("-")[0] for name in BINARIES} == {"node", "python", "rotel"}
    assert (DATA / "node-http.json").exists()


@pytest.mark.parametrize("name", BINARIES)
def test_a_captured_request_is_stored_byte_for_byte_over_grpc(live, name):
    payload = (DATA / name).read_bytes()
    assert live.export(payload, compression=grpc.Compression.Gzip) == b""
    assert live.traces.payloads == [payload]
    check(live, "node" if name.startswith("node") else "python")


@pytest.mark.parametrize("name", BINARIES)
def test_a_captured_request_is_stored_byte_for_byte_over_http(live, name):
    payload = (DATA / name).read_bytes()
    assert live.post(payload).status == 200
    assert live.traces.payloads == [payload]


def test_nodes_json_says_what_its_protobuf_says(live):
    body = (DATA / "node-http.json").read_bytes()
    response = live.post(
        (body[at : at + 100] for at in range(0, len(body), 100)),
        {"Content-Type": "application/json"},
    )
    assert (response.status, response.content) == (200, b"{}")
    check(live, "node")


def test_values_of_every_kind_survive_python_and_rotel(live):
    live.export((DATA / "rotel-grpc.bin").read_bytes())
    (chat,) = (span for span in live.traces.spans if span.name == "chat gpt-4.1")
    values = {pair.key: pair.value for pair in chat.attributes}
    assert values["bytes"].bytes_value == b"\x00\xff"
    assert values["map"].kvlist_value.values[0].value.int_value == 1
    number, text, nothing, pairs = values["mixed"].array_value.values
    assert (number.int_value, text.string_value) == (1, "x")
    assert nothing.WhichOneof("value") is None
    assert pairs.kvlist_value.values[0].value.bytes_value == b"\x00\xff"
