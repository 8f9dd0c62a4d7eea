import grpc
import pytest

from otel_vtrack.v1 import experiments_pb2 as pb
from otel_vtrack.v1 import experiments_pb2_grpc

START = 1_790_000_000_000_000_000


@pytest.fixture
def stub(target):
    with grpc.insecure_channel(target) as channel:
        yield experiments_pb2_grpc.ExperimentServiceStub(channel)


def code(call, request):
    with pytest.raises(grpc.RpcError) as caught:
        call(request)
    return caught.value.code()


def test_an_experiment_is_made_changed_found_and_deleted(stub, send, send_logs):
    made = stub.CreateExperiment(
        pb.CreateExperimentRequest(experiment="shop", tags={"team": "web"})
    ).experiment
    assert (made.experiment, made.name, dict(made.tags)) == ("shop", "shop", {"team": "web"})
    assert made.HasField("create_time")
    assert not made.HasField("first_seen")
    assert not made.HasField("last_seen")
    send({"at": 1}, {"at": 3}, service__version="1")
    send_logs({"trace": 1})
    changed = stub.UpdateExperiment(
        pb.UpdateExperimentRequest(
            experiment="shop",
            name="Shop",
            archived=True,
            set_tags={"a": "b"},
            delete_tags=["team", "never there"],
        )
    ).experiment
    assert (changed.experiment, changed.name, changed.archived) == ("shop", "Shop", True)
    assert dict(changed.tags) == {"a": "b"}
    assert changed.first_seen.ToNanoseconds() == START + 1_000_000
    assert changed.last_seen.ToNanoseconds() == START + 3_000_000
    assert (changed.trace_count, changed.service_names) == (1, ["shop"])
    assert changed.last_update_time.ToNanoseconds() > made.last_update_time.ToNanoseconds()
    for name in ("shop", "Shop"):
        got = stub.GetExperiment(pb.GetExperimentRequest(experiment=name)).experiment
        assert got == changed
    request = pb.DeleteExperimentRequest(experiment="Shop", dry_run=True)
    preview = stub.DeleteExperiment(request)
    assert preview == pb.DeleteExperimentResponse(
        trace_count=1, span_count=2, log_record_count=1, version_count=1
    )
    request.dry_run = False
    assert stub.DeleteExperiment(request) == preview
    assert stub.DeleteExperiment(request) == pb.DeleteExperimentResponse()
    assert code(stub.GetExperiment, pb.GetExperimentRequest(experiment="shop")) == (
        grpc.StatusCode.NOT_FOUND
    )


def test_what_is_left_out_of_an_update_stays(stub):
    stub.CreateExperiment(pb.CreateExperimentRequest(experiment="a"))
    request = pb.UpdateExperimentRequest(experiment="a", name="b", archived=True)
    stub.UpdateExperiment(request)
    kept = stub.UpdateExperiment(pb.UpdateExperimentRequest(experiment="b")).experiment
    assert (kept.name, kept.archived) == ("b", True)
    request = pb.UpdateExperimentRequest(experiment="b", archived=False)
    assert not stub.UpdateExperiment(request).experiment.archived


def test_experiments_are_listed_over_pages(stub, send):
    for number, key in enumerate("cab"):
        send({"trace": number + 1}, service__name=key)
    stub.CreateExperiment(pb.CreateExperimentRequest(experiment="d"))
    stub.UpdateExperiment(pb.UpdateExperimentRequest(experiment="b", archived=True))
    seen, request = [], pb.SearchExperimentsRequest(page_size=2)
    while True:
        page = stub.SearchExperiments(request)
        seen.append([found.name for found in page.experiments])
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert seen == [["a", "c"], ["d"]]
    request = pb.SearchExperimentsRequest(name_contains="B", include_archived=True)
    assert [found.name for found in stub.SearchExperiments(request).experiments] == ["b"]


def test_refusals_have_their_codes(stub):
    stub.CreateExperiment(pb.CreateExperimentRequest(experiment="a"))
    stub.CreateExperiment(pb.CreateExperimentRequest(experiment="b"))
    for call, request, expected in (
        (stub.CreateExperiment, pb.CreateExperimentRequest(experiment="a"), "ALREADY_EXISTS"),
        (stub.CreateExperiment, pb.CreateExperimentRequest(), "INVALID_ARGUMENT"),
        (
            stub.UpdateExperiment,
            pb.UpdateExperimentRequest(experiment="a", name="b"),
            "ALREADY_EXISTS",
        ),
        (
            stub.UpdateExperiment,
            pb.UpdateExperimentRequest(experiment="a", name=""),
            "INVALID_ARGUMENT",
        ),
        (stub.UpdateExperiment, pb.UpdateExperimentRequest(experiment="c"), "NOT_FOUND"),
        (stub.GetExperiment, pb.GetExperimentRequest(), "NOT_FOUND"),
        (stub.DeleteExperiment, pb.DeleteExperimentRequest(), "INVALID_ARGUMENT"),
        (
            stub.SearchExperiments,
            pb.SearchExperimentsRequest(page_size=1_001),
            "INVALID_ARGUMENT",
        ),
        (
            stub.SearchExperiments,
            pb.SearchExperimentsRequest(page_token="x"),
            "INVALID_ARGUMENT",
        ),
    ):
        assert code(call, request).name == expected, request
