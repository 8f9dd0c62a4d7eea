import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from otel_vtrack.v1 import traces_pb2 as pb
from otel_vtrack.v1 import traces_pb2_grpc

START = 1_790_000_000


@pytest.fixture
def stub(target):
    with grpc.insecure_channel(target) as channel:
        yield traces_pb2_grpc.TraceServiceStub(channel)


def ids(stub):
    found = stub.SearchTraces(pb.SearchTracesRequest()).traces
    return sorted(int(info.trace_id, 16) for info in found)


def test_traces_are_deleted_by_id_and_by_time(stub, send, trace_id):
    for number in range(1, 6):
        send({"trace": number, "at": number * 1_000})
    for request, count, left in (
        (pb.DeleteTracesRequest(trace_ids=[trace_id(2), f"tr-{trace_id(9)}"]), 1, [1, 3, 4, 5]),
        (
            pb.DeleteTracesRequest(
                experiment="shop", start_time_until=Timestamp(seconds=START + 4)
            ),
            2,
            [4, 5],
        ),
    ):
        before = ids(stub)
        preview = pb.DeleteTracesRequest()
        preview.CopyFrom(request)
        preview.dry_run = True
        assert stub.DeleteTraces(preview).trace_count == count
        assert ids(stub) == before
        assert stub.DeleteTraces(request).trace_count == count
        assert ids(stub) == left
        assert stub.DeleteTraces(request).trace_count == 0


@pytest.mark.parametrize(
    "request_",
    [
        pb.DeleteTracesRequest(),
        pb.DeleteTracesRequest(experiment="shop"),
        pb.DeleteTracesRequest(start_time_until=Timestamp(seconds=START)),
        pb.DeleteTracesRequest(trace_ids=["0" * 31 + "1"], experiment="shop"),
        pb.DeleteTracesRequest(trace_ids=["xyz"]),
    ],
)
def test_a_choice_that_is_none_or_two_is_refused(stub, request_):
    with pytest.raises(grpc.RpcError) as caught:
        stub.DeleteTraces(request_)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
