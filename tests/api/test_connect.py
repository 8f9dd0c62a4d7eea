"""The Connect protocol on a real port."""

import contextlib
import gzip
import http.client
import json
import re
import threading
import time

import pytest
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    struct_pb2,
)

from otel_vtrack.api import Backend, connect_wire
from otel_vtrack.api.service import Service
from otel_vtrack.errors import InvalidArgument, NotFound, Overloaded, StoreError
from otel_vtrack.ingest.room import Room
from otel_vtrack.server import running
from otel_vtrack.settings import Settings
from otel_vtrack.v1 import traces_pb2

SEARCH = "/otel_vtrack.v1.TraceService/SearchTraces"
GET = "/otel_vtrack.v1.TraceService/GetTrace"


@pytest.fixture(scope="module")
def address(tmp_path_factory, copy_store):
    settings = Settings(
        store_url=f"chdb://{copy_store(tmp_path_factory.mktemp('connect') / 'store')}",
        grpc="127.0.0.1:0",
        http="127.0.0.1:0",
    )
    with running(settings) as server:
        yield server.http_address


@pytest.fixture
def post(address):
    connection = http.client.HTTPConnection(address, timeout=30)

    def ask(path, body=b"{}", kind="application/json", method="POST", **headers):
        sent = {"content-type": kind} | {k.replace("_", "-"): v for k, v in headers.items()}
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers

    yield ask
    connection.close()


def test_json_goes_in_and_comes_out_named_as_in_the_protos(post):
    status, body, headers = post(SEARCH, b'{"page_size": 5}', connect_protocol_version="1")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert json.loads(body) == {"traces": [], "next_page_token": ""}
    assert post(SEARCH, b'{"pageSize": 5}')[0] == 200


@pytest.mark.parametrize(
    "value", ["9007199254740993", '{"a": [1, -9007199254740993]}', "1" + 400 * "0"]
)
def test_a_whole_number_that_would_become_another_one_is_refused(post, value):
    path = "/otel_vtrack.v1.AssessmentService/"
    for method, asked in (
        ("CreateAssessment", '{"assessment": {"traceId": "1", "value": %s}}'),
        ("UpdateAssessment", '{"value": %s}'),
    ):
        status, body, _ = post(path + method, (asked % value).encode())
        assert status == 400
        assert json.loads(body)["code"] == "invalid_argument"
        assert re.search("more digits|not otel_vtrack", json.loads(body)["message"])
    # Other fields have 64 bits, as a number or as a text.
    for count in ("9007199254740993", '"9007199254740993"'):
        asked = b'{"baseline_version": "1", "max_traces": %s}' % count.encode()
        answered = post("/otel_vtrack.v1.AnalysisService/CompareVersions", asked)
        assert b"more digits" not in answered[1]


@pytest.fixture(scope="module")
def mapped():
    """A message with a map of values, as none of ours has one yet."""
    file = descriptor_pb2.FileDescriptorProto(
        name="mapped.proto", package="mapped", dependency=["google/protobuf/struct.proto"]
    )
    message = file.message_type.add(name="Mapped")
    entry = message.nested_type.add(name="ValuesEntry", options={"map_entry": True})
    entry.field.add(name="key", number=1, type="TYPE_STRING", label="LABEL_OPTIONAL")
    value = {"type": "TYPE_MESSAGE", "type_name": ".google.protobuf.Value"}
    entry.field.add(name="value", number=2, label="LABEL_OPTIONAL", **value)
    entries = {"type": "TYPE_MESSAGE", "type_name": ".mapped.Mapped.ValuesEntry"}
    message.field.add(name="values", number=1, label="LABEL_REPEATED", **entries)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("mapped.Mapped"))


def test_so_is_one_in_a_map(mapped):
    for key in ("a", "value"):
        text = b'{"values": {"%s": [%%s]}}' % key.encode()
        read = connect_wire._read(mapped, "application/json", text % b"9007199254740992")
        assert list(read.values[key].list_value) == [1 << 53]
        with pytest.raises(InvalidArgument, match="more digits"):
            connect_wire._read(mapped, "application/json", text % b"9007199254740993")


def test_an_empty_body_is_an_empty_request(post):
    assert post(SEARCH, b"")[0] == 200


def test_protobuf_goes_in_and_comes_out(post):
    request = traces_pb2.SearchTracesRequest(page_size=5).SerializeToString()
    status, body, headers = post(SEARCH, request, "application/proto")
    assert (status, body, headers["content-type"]) == (200, b"", "application/proto")


def test_a_compressed_body_is_inflated(post):
    assert post(SEARCH, gzip.compress(b'{"page_size": 5}'), content_encoding="gzip")[0] == 200


@pytest.mark.parametrize(
    "refused",
    [
        (GET, b'{"trace_id": "%s"}' % (b"0" * 31 + b"1"), 404, "not_found", "trace"),
        (GET, b'{"trace_id": "x"}', 400, "invalid_argument", "32 hexadecimal"),
        (SEARCH, b'{"page_sise": 5}', 400, "invalid_argument", "page_sise"),
        (SEARCH, b"{", 400, "invalid_argument", "SearchTracesRequest"),
        (SEARCH, b"\xff", 400, "invalid_argument", "SearchTracesRequest"),
        (SEARCH, b"[" * 100_000, 400, "invalid_argument", "SearchTracesRequest"),
        (SEARCH, b'{"page_size": 9999999}', 400, "invalid_argument", "page_size"),
    ],
)
def test_an_error_is_json_with_the_code_of_grpc(post, refused):
    path, body, status, code, told = refused
    got, answer, headers = post(path, body)
    assert (got, headers["content-type"]) == (status, "application/json")
    said = json.loads(answer)
    assert said["code"] == code
    assert told in said["message"]
    assert len(said["message"]) <= 1000


@pytest.mark.parametrize("body", [b"[]", b"null", b"7", b'"\\ud800"', b'{"\\ud800": 1}'])
def test_json_that_is_no_such_object_is_refused_in_plain_words(post, body):
    status, answer, _ = post(SEARCH, body)
    said = json.loads(answer)["message"]
    assert (status, "Error" in said) == (400, False)
    assert "the body is not otel_vtrack.v1.SearchTracesRequest" in said


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"metadata": {"a": 1}}, "metadata is of the wrong type: give text, in quotes"),
        ({"error": {"stackTrace": 5}}, "error.stackTrace is of the wrong type: give text, in"),
        ({"error": 5}, "error is of the wrong type: give an object"),
        ({"error": [None]}, "error is of the wrong type: give an object"),
        ({"error": [[]]}, "error is of the wrong type: give an object"),
        ({"assessment_id": {"a": [1]}}, "assessment_id is of the wrong type: give text, in"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_the_right_one(post, asked, said):
    path = "/otel_vtrack.v1.AssessmentService/UpdateAssessment"
    status, answer, _ = post(path, json.dumps(asked).encode())
    assert status == 400
    assert json.loads(answer)["message"].partition("application/json: ")[2].startswith(said)


def test_an_error_is_json_also_for_who_sent_protobuf(post):
    _, answer, headers = post(GET, b"", "application/proto")
    assert headers["content-type"] == "application/json"
    assert json.loads(answer)["code"] == "invalid_argument"


def test_another_content_type_is_told_which_ones_are_taken(post):
    status, _, headers = post(SEARCH, b"a=1", "application/x-www-form-urlencoded")
    assert (status, headers["accept-post"]) == (415, "application/json, application/proto")


def test_a_method_that_is_not_there_is_not_found(post):
    assert post("/otel_vtrack.v1.TraceService/Nothing")[0] == 404
    assert post("/otel_vtrack.v1.NoService/SearchTraces")[0] == 404


def test_only_post_asks(post):
    status, _, headers = post(SEARCH, method="PUT")
    assert (status, headers["allow"]) == (405, "POST")


def test_a_timeout_that_is_no_number_is_refused(post):
    status, answer, _ = post(SEARCH, connect_timeout_ms="soon")
    assert (status, json.loads(answer)["code"]) == (400, "invalid_argument")


def test_a_body_past_the_limit_is_refused(post):
    bomb = gzip.compress(b" " * (65 << 20))
    status, answer, _ = post(SEARCH, bomb, content_encoding="gzip")
    assert (status, json.loads(answer)["code"]) == (429, "resource_exhausted")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (NotFound("no such thing"), 404, "not_found"),
        (Overloaded("full"), 503, "unavailable"),
        (StoreError("refused"), 500, "internal"),
        (KeyError("a bug"), 500, "internal"),
    ],
)
def test_what_a_handler_raises_has_its_status(serve_handler, error, status, code):
    def fail(_backend, _request):
        raise error

    got, answer = serve_handler(fail)
    assert (got, json.loads(answer)["code"]) == (status, code)


def test_a_handler_that_takes_longer_than_allowed_is_not_waited_for(serve_handler):
    done = threading.Event()

    def wait(_backend, _request):
        done.wait(20)
        return traces_pb2.SearchTracesResponse()

    begun = time.monotonic()
    status, answer = serve_handler(wait, {"connect-timeout-ms": "200"})
    assert (status, json.loads(answer)["code"]) == (504, "deadline_exceeded")
    assert time.monotonic() - begun < 15
    done.set()


def test_json_is_read_and_written_beside_the_event_loop(serve_handler, monkeypatch):
    threads = []

    def noted(work):
        def noting(*given):
            threads.append(threading.current_thread())
            return work(*given)

        return noting

    monkeypatch.setattr(connect_wire, "_read", noted(connect_wire._read))
    monkeypatch.setattr(connect_wire, "_write", noted(connect_wire._write))
    handler = noted(lambda *_: traces_pb2.SearchTracesResponse())
    assert serve_handler(handler)[0] == 200
    assert len(threads) == 3
    assert {thread.name.partition("-")[0] for thread in threads} == {"ThreadPoolExecutor"}


@pytest.fixture
def serve_handler():
    """Serve one handler of our own as SearchTraces, and ask it."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    import uvicorn  # noqa: PLC0415
    from starlette.applications import Starlette  # noqa: PLC0415

    stops = []

    def ask(handler, headers=None):
        pool = ThreadPoolExecutor(1)
        service = Service(traces_pb2.DESCRIPTOR, "TraceService", {"SearchTraces": handler})
        app = Starlette(
            routes=connect_wire.routes(
                (service,), Backend(None), pool, max_body_bytes=1 << 20, room=Room()
            )
        )
        server = uvicorn.Server(
            uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, lifespan="off")
        )
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        stops.append((server, thread, pool))
        port = server.servers[0].sockets[0].getsockname()[1]
        opened = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        with contextlib.closing(opened) as connection:
            sent = {"content-type": "application/json"} | (headers or {})
            connection.request("POST", SEARCH, b"{}", sent)
            answer = connection.getresponse()
            return answer.status, answer.read()

    yield ask
    for server, thread, pool in stops:
        server.should_exit = True
        thread.join(10)
        pool.shutdown(wait=False)
