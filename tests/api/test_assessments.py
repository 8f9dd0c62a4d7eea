import http.client
import json
import threading

import grpc
import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Value

from otel_vtrack.query import assessments
from otel_vtrack.server import running
from otel_vtrack.settings import Settings
from otel_vtrack.v1 import assessments_pb2 as pb
from otel_vtrack.v1 import assessments_pb2_grpc, traces_pb2, traces_pb2_grpc

TIMEOUT = 30


@pytest.fixture
def stub(target):
    with grpc.insecure_channel(target) as channel:
        yield assessments_pb2_grpc.AssessmentServiceStub(channel)


@pytest.fixture
def create(stub, send, trace_id):
    send({})

    def make(value=1, **fields):
        given = {"trace_id": trace_id(), "assessment_name": "it"} | fields
        if "error" not in given:
            given["value"] = value if isinstance(value, Value) else ParseDict(value, Value())
        request = pb.CreateAssessmentRequest(assessment=pb.Assessment(**given))
        return stub.CreateAssessment(request, timeout=TIMEOUT).assessment

    return make


def get(stub, assessment_id):
    request = pb.GetAssessmentRequest(assessment_id=assessment_id)
    return stub.GetAssessment(request, timeout=TIMEOUT).assessment


DEEP = json.loads("[" * 20 + "{}" + "]" * 20)
# Each with the JSON that is kept.
VALUES = [
    (5, "5"),
    (0.5, "0.5"),
    (-0.0, "-0.0"),
    (1e300, "1e+300"),
    (2**53, "9007199254740992"),
    (True, "true"),
    (False, "false"),
    ("", '""'),
    ('a/b "c" \\ \u2028 ß 🦜 \0', json.dumps('a/b "c" \\ \u2028 ß 🦜 \0', ensure_ascii=False)),
    ("yes", '"yes"'),
    ("5", '"5"'),
    ([], "[]"),
    ([1, "x", None, [True]], '[1,"x",null,[true]]'),
    ({}, "{}"),
    ({"b": 1, "a": {"c": [0.1]}}, '{"a":{"c":[0.1]},"b":1}'),
    (None, "null"),
    (DEEP, json.dumps(DEEP)),
]


def test_a_value_of_any_type_goes_there_and_comes_back(create, stub, store):
    for value, text in VALUES:
        sent = ParseDict(value, Value())
        made = create(value)
        assert made.value == sent, value
        assert get(stub, made.assessment_id) == made
        assert assessments.get(store, made.assessment_id).value == text
    request = pb.SearchAssessmentsRequest(order_by=["create_time ASC"])
    found = stub.SearchAssessments(request, timeout=TIMEOUT).assessments
    assert [each.value for each in found] == [ParseDict(value, Value()) for value, _ in VALUES]


def test_a_value_that_protobuf_cannot_nest_comes_back_as_its_json(stub, send_logs):
    deep = "[" * 200 + "]" * 200
    for number, text in enumerate([deep, "9" * 400, '{"a": 18446744073709551617}']):
        send_logs(
            {
                "trace": 1,
                "event_name": "gen_ai.evaluation.result",
                "attributes": {
                    "gen_ai.evaluation.name": "it",
                    "vtrack.assessment.id": str(number),
                    "vtrack.assessment.value": text,
                },
            }
        )
    assert get(stub, "0").value.string_value == deep
    assert get(stub, "1").value.string_value == "9" * 400
    assert get(stub, "2").value.struct_value["a"] == "18446744073709551617"


def test_every_field_goes_there_and_comes_back(create, stub, trace_id):
    made = create(
        span_id="0123456789abcdef",
        assessment_type=pb.ASSESSMENT_TYPE_FEEDBACK,
        error=pb.AssessmentError(error_code="E", error_message="m", stack_trace="s"),
        rationale="why",
        metadata={"a": "b"},
        source_type=pb.SOURCE_TYPE_HUMAN,
        source_id="ann",
        assessment_id="mine",
        session_id="s",
    )
    assert (made.assessment_id, made.trace_id, made.experiment) == ("mine", trace_id(), "shop")
    assert not made.HasField("value")
    assert made.error.stack_trace == "s"
    assert dict(made.metadata) == {"a": "b", "mlflow.trace.session": "s"}
    assert made.valid
    assert made.create_time == made.last_update_time
    assert get(stub, "mine") == made
    assert create().source_type == pb.SOURCE_TYPE_CODE


def test_an_assessment_is_changed_deleted_and_remembered(create, stub, target, trace_id):
    first = create(metadata={"a": "1"})
    second = create(overrides=first.assessment_id)
    request = pb.UpdateAssessmentRequest(
        assessment_id=first.assessment_id,
        assessment_name="renamed",
        value=Value(string_value="x"),
        rationale="",
        metadata={"b": "2"},
    )
    now = stub.UpdateAssessment(request, timeout=TIMEOUT).assessment
    assert (now.assessment_name, now.value.string_value, now.valid) == ("renamed", "x", False)
    assert dict(now.metadata) == {"a": "1", "b": "2"}
    delete = pb.DeleteAssessmentRequest(assessment_id=second.assessment_id)
    for _ in range(2):
        assert stub.DeleteAssessment(delete, timeout=TIMEOUT) == pb.DeleteAssessmentResponse()
    assert get(stub, first.assessment_id).valid
    with grpc.insecure_channel(target) as channel:
        traces = traces_pb2_grpc.TraceServiceStub(channel)
        [info] = traces.GetTrace(
            traces_pb2.GetTraceRequest(trace_id=trace_id()), timeout=TIMEOUT
        ).traces
        assert list(info.assessments) == [get(stub, first.assessment_id)]
        [info] = traces.SearchTraces(traces_pb2.SearchTracesRequest(), timeout=TIMEOUT).traces
        assert [each.assessment_id for each in info.assessments] == [first.assessment_id]
    asked = pb.ListAssessmentChangesRequest(assessment_id=first.assessment_id)
    changes = stub.ListAssessmentChanges(asked, timeout=TIMEOUT).changes
    assert [each.operation for each in changes] == [
        pb.ASSESSMENT_OPERATION_CREATE,
        pb.ASSESSMENT_OPERATION_UPDATE,
    ]
    assert changes[0].assessment == first
    assert changes[1].change_time == now.last_update_time
    asked = pb.ListAssessmentChangesRequest(assessment_id="nobody")
    assert not stub.ListAssessmentChanges(asked, timeout=TIMEOUT).changes


def test_what_makes_no_sense_is_refused(create, stub):
    create(assessment_id="mine")
    nan = Value(list_value={"values": [Value(number_value=float("nan"))]})
    code = grpc.StatusCode
    for fields, status in [
        ({"trace_id": "f" * 32}, code.NOT_FOUND),
        ({"overrides": "nobody"}, code.NOT_FOUND),
        ({"assessment_id": "mine"}, code.ALREADY_EXISTS),
        ({"assessment_type": 9}, code.INVALID_ARGUMENT),
        ({"source_type": 9}, code.INVALID_ARGUMENT),
        ({"value": nan}, code.INVALID_ARGUMENT),
        ({"value": Value()}, code.INVALID_ARGUMENT),
        ({"error": None}, code.INVALID_ARGUMENT),
    ]:
        with pytest.raises(grpc.RpcError) as caught:
            create(**fields)
        assert caught.value.code() is status, fields
    for call, request, status in [
        (stub.GetAssessment, pb.GetAssessmentRequest(), code.NOT_FOUND),
        (stub.UpdateAssessment, pb.UpdateAssessmentRequest(rationale="x"), code.NOT_FOUND),
        (stub.SearchAssessments, pb.SearchAssessmentsRequest(filter="x ="), code.INVALID_ARGUMENT),
        (
            stub.SearchAssessments,
            pb.SearchAssessmentsRequest(page_token="x"),
            code.INVALID_ARGUMENT,
        ),
    ]:
        with pytest.raises(grpc.RpcError) as caught:
            call(request, timeout=TIMEOUT)
        assert caught.value.code() is status, request


def test_assessments_are_found_by_filter_and_order(create, stub):
    for name, value in [("a", 0.2), ("b", 0.9), ("b", 0.4), ("b", "yes"), ("b", True)]:
        create(value, assessment_name=name)
    request = pb.SearchAssessmentsRequest(
        filter="name = 'b' AND value < 1", order_by=["value DESC"], page_size=1
    )
    found = []
    while True:
        page = stub.SearchAssessments(request, timeout=TIMEOUT)
        found += [each.value.number_value for each in page.assessments]
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    assert found == [0.9, 0.4]


WRITERS, ROUNDS = 16, 4


def test_sixteen_writers_on_one_trace_lose_nothing(create, stub, target, send_logs, trace_id):
    shared = create(metadata={"start": "x"})
    ready = threading.Barrier(WRITERS)
    failed = []

    def write(me):
        try:
            with grpc.insecure_channel(target) as channel:
                own = assessments_pb2_grpc.AssessmentServiceStub(channel)
                ready.wait(TIMEOUT)
                for number in range(ROUNDS):
                    about = pb.Assessment(
                        trace_id=trace_id(),
                        assessment_name=f"{me} {number}",
                        assessment_id=f"{me}-{number}" if number % 2 else "",
                        value=Value(number_value=number),
                        overrides=shared.assessment_id if number == 0 else "",
                    )
                    request = pb.CreateAssessmentRequest(assessment=about)
                    made = own.CreateAssessment(request, timeout=60).assessment
                    change = pb.UpdateAssessmentRequest(
                        assessment_id=shared.assessment_id, metadata={f"{me} {number}": "x"}
                    )
                    now = own.UpdateAssessment(change, timeout=60).assessment
                    assert now.metadata[f"{me} {number}"] == "x"
                    if number == 0:
                        gone = pb.DeleteAssessmentRequest(assessment_id=made.assessment_id)
                        own.DeleteAssessment(gone, timeout=60)
        except Exception as error:  # noqa: BLE001 - told in the test's own thread
            failed.append((me, error))

    threads = [threading.Thread(target=write, args=(me,)) for me in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert not failed
    now = get(stub, shared.assessment_id)
    assert dict(now.metadata) == {"start": "x"} | {
        f"{me} {number}": "x" for me in range(WRITERS) for number in range(ROUNDS)
    }
    # Each that had overridden it was deleted.
    assert now.valid
    request = pb.SearchAssessmentsRequest(page_size=1000)
    found = stub.SearchAssessments(request, timeout=TIMEOUT).assessments
    assert sorted(each.assessment_name for each in found) == sorted(
        ["it", *(f"{me} {number}" for me in range(WRITERS) for number in range(1, ROUNDS))]
    )
    asked = pb.ListAssessmentChangesRequest(assessment_id=shared.assessment_id)
    assert len(stub.ListAssessmentChanges(asked, timeout=TIMEOUT).changes) == 1 + WRITERS * ROUNDS


def test_of_many_who_want_the_same_id_one_gets_it(create, stub, target, trace_id):
    ready = threading.Barrier(8)
    got = []

    def write(me):
        about = pb.Assessment(
            trace_id=trace_id(),
            assessment_name=str(me),
            assessment_id="wanted",
            value=Value(number_value=me),
        )
        with grpc.insecure_channel(target) as channel:
            own = assessments_pb2_grpc.AssessmentServiceStub(channel)
            ready.wait(TIMEOUT)
            try:
                own.CreateAssessment(pb.CreateAssessmentRequest(assessment=about), timeout=60)
                got.append(str(me))
            except grpc.RpcError as error:
                got.append(error.code())

    threads = [threading.Thread(target=write, args=(me,)) for me in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    [winner] = [each for each in got if isinstance(each, str)]
    assert got.count(grpc.StatusCode.ALREADY_EXISTS) == 7
    assert get(stub, "wanted").assessment_name == winner


def test_what_was_acknowledged_can_be_assessed_at_once_on_either_wire(
    tmp_path, copy_store, make_spans, trace_id
):
    folder = copy_store(tmp_path / "store")
    settings = Settings(store_url=f"chdb://{folder}", grpc="127.0.0.1:0", http="127.0.0.1:0")
    with running(settings) as server, grpc.insecure_channel(server.grpc_address) as channel:
        export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        export(make_spans({}).SerializeToString(), timeout=TIMEOUT)
        stub = assessments_pb2_grpc.AssessmentServiceStub(channel)
        connection = http.client.HTTPConnection(server.http_address, timeout=TIMEOUT)
        about = {"trace_id": trace_id(), "assessment_name": "it", "value": {"a": [1, None]}}
        connection.request(
            "POST",
            "/otel_vtrack.v1.AssessmentService/CreateAssessment",
            json.dumps({"assessment": about}),
            {"content-type": "application/json"},
        )
        answer = connection.getresponse()
        made = json.loads(answer.read())["assessment"]
        connection.close()
        assert answer.status == 200
        assert made["value"] == {"a": [1, None]}
        assert made["source_type"] == "SOURCE_TYPE_CODE"
        assert get(stub, made["assessment_id"]).value == ParseDict(about["value"], Value())
