import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from otel_vtrack.v1 import deployments_pb2 as pb
from otel_vtrack.v1 import deployments_pb2_grpc

START = 1_790_000_000


@pytest.fixture
def stub(target):
    with grpc.insecure_channel(target) as channel:
        yield deployments_pb2_grpc.DeploymentServiceStub(channel)


def code(call, request):
    with pytest.raises(grpc.RpcError) as caught:
        call(request)
    return caught.value.code().name


def declared(stub, **said):
    place = {"service_name": "shop", "environment": "production", "version": "1"}
    request = pb.CreateDeploymentRequest(deployment=pb.Deployment(**place | said))
    return stub.CreateDeployment(request).deployment


def test_a_deployment_is_declared_changed_found_and_withdrawn(stub, send):
    made = declared(
        stub,
        deployment_id="d1",
        status=pb.DEPLOYMENT_STATUS_IN_PROGRESS,
        start_time=Timestamp(seconds=START, nanos=5),
        description="canary",
        tags={"pipeline": "17", "by": "ci"},
    )
    assert (made.experiment, made.declared, made.start_time.nanos) == ("shop", True, 5)
    assert made.status == pb.DEPLOYMENT_STATUS_IN_PROGRESS
    assert not made.HasField("end_time")
    assert not made.HasField("first_seen")
    send(
        {"at": 1, "trace": 7},
        service__version="1",
        deployment__id="d1",
        deployment__environment__name="production",
    )
    changed = stub.UpdateDeployment(
        pb.UpdateDeploymentRequest(
            deployment_id="d1",
            status=pb.DEPLOYMENT_STATUS_SUCCEEDED,
            end_time=Timestamp(seconds=START + 9),
            set_tags={"by": "hand"},
            delete_tags=["pipeline"],
        )
    ).deployment
    assert (changed.status, changed.description) == (pb.DEPLOYMENT_STATUS_SUCCEEDED, "canary")
    assert (dict(changed.tags), changed.end_time.seconds) == ({"by": "hand"}, START + 9)
    assert (changed.trace_count, changed.first_seen.nanos) == (1, 1_000_000)
    request = pb.GetDeploymentRequest(deployment_id="d1", environment="production")
    assert stub.GetDeployment(request).deployment == changed
    assert list(stub.SearchDeployments(pb.SearchDeploymentsRequest()).deployments) == [changed]
    withdrawal = pb.DeleteDeploymentRequest(deployment_id="d1", service_name="shop")
    for _ in range(2):
        assert stub.DeleteDeployment(withdrawal) == pb.DeleteDeploymentResponse()
        told = stub.GetDeployment(request).deployment
        assert (told.declared, told.version, told.tags) == (False, "1", {})
        assert told.status == pb.DEPLOYMENT_STATUS_UNSPECIFIED


def test_deployments_are_listed_over_pages(stub):
    for number in range(5):
        environment = "staging" if number == 3 else "production"
        declared(
            stub,
            deployment_id=str(number),
            environment=environment,
            start_time=Timestamp(seconds=START + number),
        )
    seen, request = [], pb.SearchDeploymentsRequest(environment="production", page_size=2)
    while True:
        page = stub.SearchDeployments(request)
        seen.append([found.deployment_id for found in page.deployments])
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert seen == [["4", "2"], ["1", "0"]]


def test_what_is_left_out_is_made_up(stub):
    made = declared(stub)
    assert made.deployment_id
    assert made.start_time.seconds > START


def test_a_description_is_emptied_only_when_told(stub):
    declared(stub, deployment_id="d1", description="x")
    request = pb.UpdateDeploymentRequest(deployment_id="d1")
    assert stub.UpdateDeployment(request).deployment.description == "x"
    request.description = ""
    assert stub.UpdateDeployment(request).deployment.description == ""


def test_refusals_have_their_codes(stub):
    declared(stub, deployment_id="d1")
    declared(stub, deployment_id="d2")
    declared(stub, deployment_id="d2", environment="staging")
    place = {"service_name": "shop", "environment": "production", "version": "1"}
    late = Timestamp(seconds=1 << 40)
    for call, request, expected in (
        (
            stub.CreateDeployment,
            pb.CreateDeploymentRequest(deployment=pb.Deployment(**place, deployment_id="d1")),
            "ALREADY_EXISTS",
        ),
        (stub.CreateDeployment, pb.CreateDeploymentRequest(), "INVALID_ARGUMENT"),
        (
            stub.CreateDeployment,
            pb.CreateDeploymentRequest(deployment=pb.Deployment(**place, status=7)),
            "INVALID_ARGUMENT",
        ),
        (
            stub.CreateDeployment,
            pb.CreateDeploymentRequest(deployment=pb.Deployment(**place, start_time=late)),
            "INVALID_ARGUMENT",
        ),
        (stub.GetDeployment, pb.GetDeploymentRequest(deployment_id="d3"), "NOT_FOUND"),
        (stub.GetDeployment, pb.GetDeploymentRequest(), "INVALID_ARGUMENT"),
        (stub.GetDeployment, pb.GetDeploymentRequest(deployment_id="d2"), "INVALID_ARGUMENT"),
        (stub.UpdateDeployment, pb.UpdateDeploymentRequest(deployment_id="d3"), "NOT_FOUND"),
        (
            stub.UpdateDeployment,
            pb.UpdateDeploymentRequest(deployment_id="d1", status=7),
            "INVALID_ARGUMENT",
        ),
        (
            stub.DeleteDeployment,
            pb.DeleteDeploymentRequest(deployment_id="d2"),
            "INVALID_ARGUMENT",
        ),
        (stub.SearchDeployments, pb.SearchDeploymentsRequest(page_size=1_001), "INVALID_ARGUMENT"),
    ):
        assert code(call, request) == expected, request
