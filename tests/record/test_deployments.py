import threading
import time

import pytest

from otel_vtrack.errors import AlreadyExists, InvalidArgument, NotFound
from otel_vtrack.query import deployments as query
from otel_vtrack.query.deployments import DeploymentStatus
from otel_vtrack.record import deletion, deployments, experiments
from otel_vtrack.store.client import Store

START = 1_790_000_000_000_000_000
PLACE = {"service_name": "shop", "environment": "production"}


def declare(store, **said):
    return deployments.create(store, **PLACE | {"version": "1"} | said)


def test_a_deployment_is_declared(store):
    made = declare(
        store,
        deployment_id="d1",
        status=DeploymentStatus.IN_PROGRESS,
        start_time_ns=START,
        end_time_ns=START + 5,
        description="the first",
        set_tags={"pipeline": "17"},
    )
    assert made == query.Deployment(
        experiment="shop",
        service_name="shop",
        environment="production",
        deployment_id="d1",
        version="1",
        status=DeploymentStatus.IN_PROGRESS,
        start_time_ns=START,
        end_time_ns=START + 5,
        description="the first",
        tags={"pipeline": "17"},
        declared=True,
        first_seen_ns=None,
        last_seen_ns=None,
        trace_count=0,
    )
    assert query.get(store, "d1") == made


def test_what_is_left_out_is_made_up(store):
    one, two = declare(store), declare(store)
    assert one.deployment_id != two.deployment_id
    assert START < one.start_time_ns < two.start_time_ns
    assert (one.status, one.end_time_ns, one.description, one.tags) == (0, None, "", {})


def test_a_deployment_belongs_to_the_experiment_of_its_service(store, send, send_logs):
    assert declare(store).experiment == "shop"
    send_logs({}, service__name="shop", service__namespace="eu")
    assert declare(store).experiment == "eu/shop"
    send({"at": 1}, service__name="shop", vtrack__experiment="mall")
    assert declare(store).experiment == "mall"
    experiments.update(store, "mall", name="Mall")
    assert declare(store, experiment="Mall").experiment == "mall"
    assert declare(store, experiment="other").experiment == "other"


@pytest.mark.parametrize(
    "said",
    [
        {"service_name": ""},
        {"environment": ""},
        {"version": ""},
        {"version": "x" * 251},
        {"deployment_id": "x" * 251},
        {"description": "x" * 4_097},
        {"set_tags": {"": "x"}},
        {"start_time_ns": START, "end_time_ns": START - 1},
    ],
)
def test_what_cannot_be_is_refused(store, said):
    with pytest.raises(InvalidArgument):
        declare(store, **said)
    assert query.search(store).deployments == []


def test_an_id_is_declared_once_for_a_service_and_environment(store, send):
    send({}, deployment__id="d1", deployment__environment__name="production")
    declare(store, deployment_id="d1")
    with pytest.raises(AlreadyExists, match="d1"):
        declare(store, deployment_id="d1", experiment="another")
    declare(store, deployment_id="d1", environment="staging")
    declare(store, deployment_id="d1", service_name="other")


def test_what_was_declared_wins_over_what_spans_tell(store, send):
    send({"at": 5}, service__version="1", deployment__id="d1")
    send({"at": 6, "trace": 2}, service__version="2", deployment__id="d1")
    told = query.get(store, "d1")
    assert (told.version, told.declared, told.start_time_ns) == ("2", False, START + 5_000_000)
    assert (told.experiment, told.environment, told.trace_count) == ("shop", "", 2)
    updated = deployments.update(store, "d1", description="late", start_time_ns=START)
    assert (updated.version, updated.declared, updated.start_time_ns) == ("2", True, START)
    assert (updated.first_seen_ns, updated.trace_count) == (START + 5_000_000, 2)
    send({"at": 6}, deployment__id="d2", deployment__environment__name="production")
    made = declare(store, deployment_id="d2", version="3")
    assert (made.version, made.trace_count, made.declared) == ("3", 1, True)


def test_fields_and_tags_change_one_by_one(store):
    declare(store, deployment_id="d1", set_tags={"a": "1", "b": "1"}, description="x")
    deployments.update(store, "d1", status=DeploymentStatus.SUCCEEDED, set_tags={"b": "2"})
    deployments.update(store, "d1", description="", delete_tags=["a", "never there"])
    found = deployments.update(store, "d1")
    assert (found.status, found.description) == (DeploymentStatus.SUCCEEDED, "")
    assert found.tags == {"b": "2"}
    with pytest.raises(InvalidArgument, match="end_time"):
        deployments.update(store, "d1", end_time_ns=found.start_time_ns - 1)
    ended = deployments.update(store, "d1", end_time_ns=found.start_time_ns + 1)
    with pytest.raises(InvalidArgument, match="end_time"):
        deployments.update(store, "d1", start_time_ns=ended.end_time_ns + 1)


def test_writers_of_different_things_do_not_lose_each_others_change(store):
    declare(store, deployment_id="d1")
    barrier = threading.Barrier(6)

    def change(**said):
        barrier.wait(10)
        deployments.update(store, "d1", **said)

    changes = [
        {"status": DeploymentStatus.FAILED},
        {"description": "broke"},
        *({"set_tags": {f"tag {n}": str(n)}} for n in range(4)),
    ]
    threads = [threading.Thread(target=change, kwargs=each) for each in changes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    found = query.get(store, "d1")
    assert (found.status, found.description) == (DeploymentStatus.FAILED, "broke")
    assert found.tags == {f"tag {n}": str(n) for n in range(4)}


def test_a_withdrawn_declaration_leaves_what_spans_tell(store, send):
    send({}, service__version="1", deployment__id="d1", deployment__environment__name="production")
    told = query.get(store, "d1")
    declare(store, deployment_id="d1", version="9", set_tags={"a": "b"})
    for _ in range(2):
        deployments.delete(store, "d1")
        assert query.get(store, "d1") == told
    declare(store, deployment_id="d1", version="8")
    found = query.get(store, "d1")
    assert (found.version, found.tags) == ("8", {})


def test_a_withdrawn_declaration_alone_is_gone(store):
    declare(store, deployment_id="d1")
    deployments.delete(store, "d1")
    with pytest.raises(NotFound):
        query.get(store, "d1")
    with pytest.raises(NotFound):
        deployments.update(store, "d1", description="x")
    deployments.delete(store, "d1")
    deployments.delete(store, "never there")


def test_an_id_that_several_use_has_to_be_told_apart(store):
    for place in ({}, {"environment": "staging"}, {"service_name": "api"}):
        declare(store, deployment_id="d1", **place)
    for call in (query.get, deployments.update, deployments.delete):
        with pytest.raises(InvalidArgument, match=r"service_name too.*'api', 'shop'"):
            call(store, "d1")
        with pytest.raises(InvalidArgument, match="environment too"):
            call(store, "d1", service_name="shop")
        with pytest.raises(InvalidArgument, match="empty"):
            call(store, "")
    deployments.delete(store, "d1", service_name="shop", environment="staging")
    assert query.get(store, "d1", service_name="shop").environment == "production"


def test_deployments_go_with_their_experiment(store, send):
    send({}, deployment__id="d1")
    declare(store, deployment_id="d2")
    declare(store, deployment_id="d3")
    deployments.delete(store, "d3")
    assert deletion.delete_experiment(store, "shop", dry_run=True).deployment_count == 1
    assert deletion.delete_experiment(store, "shop").deployment_count == 1
    assert query.search(store).deployments == []


def test_all_of_it_survives_a_restart(store):
    declare(store, deployment_id="d1", set_tags={"a": "b"})
    before = deployments.update(store, "d1", status=DeploymentStatus.FAILED)
    store.close()
    with Store(f"chdb://{store.folder}") as again:
        assert query.get(again, "d1") == before


def test_an_event_declares_a_deployment(store, send_logs):
    """As a pipeline sends it, whose resource is its own."""

    def event(at, status, **more):
        return {
            "at": at,
            "event_name": "deployment",
            "attributes": {
                "service.name": "shop",
                "service.version": "2.4.0",
                "deployment.environment.name": "production",
                "deployment.id": "4711",
                "deployment.status": status,
                **more,
            },
        }

    told = (
        event(1000, "in_progress", **{"cicd.pipeline.run.url.full": "https://ci.example/1"}),
        event(61_000, "succeeded"),
    )
    for _ in range(2):  # Once more, as exporters retry.
        send_logs(*told, service__name="pipeline")
    [found] = query.search(store).deployments
    assert (found.experiment, found.service_name) == ("shop", "shop")
    assert (found.deployment_id, found.version) == ("4711", "2.4.0")
    assert (found.environment, found.declared) == ("production", True)
    assert found.status == DeploymentStatus.SUCCEEDED
    assert found.start_time_ns == START + 1_000_000_000
    assert found.end_time_ns is None
    assert found.tags == {"cicd.pipeline.run.url.full": "https://ci.example/1"}
    deployments.update(store, "4711", status=DeploymentStatus.FAILED)
    assert query.get(store, "4711").status == DeploymentStatus.FAILED


def told(at, status, version="1", *, of="deploy-shop"):
    """Return an event of a deployment, `at` seconds after the start."""
    said = {
        "deployment.environment.name": "production",
        "deployment.name": of,
        "deployment.status": status,
        "service.version": version,
    }
    return {"at": at * 1000, "event_name": "deployment", "attributes": said}


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([(1, ""), (9, "succeeded")], (1, "SUCCEEDED", None), id="succeeded"),
        pytest.param([(1, ""), (5, ""), (9, "failed")], (1, "FAILED", 9), id="failed"),
        pytest.param([(1, ""), (7, "failed"), (9, "failed")], (1, "FAILED", 7), id="failed twice"),
        pytest.param(
            [(1, ""), (7, "failed"), (9, "succeeded")], (1, "SUCCEEDED", None), id="mended"
        ),
        pytest.param(
            [(1, ""), (3, "succeeded"), (8, "")], (8, "IN_PROGRESS", None), id="once more"
        ),
        pytest.param(
            [(1, ""), (3, "failed"), (8, "")], (8, "IN_PROGRESS", None), id="next attempt"
        ),
        pytest.param(
            [(1, "succeeded", "0"), (5, "succeeded"), (6, "succeeded")],
            (5, "SUCCEEDED", None),
            id="only results, of two versions",
        ),
    ],
)
def test_events_of_a_deployment_are_one_whenever_they_arrive(store, send_logs, events, expected):
    made = [told(*each) for each in events]
    for order in (made, made[::-1], made[1:] + made):
        for each in order:
            send_logs(each)
        [found] = query.search(store).deployments
        start, status, end = expected
        assert (found.version, found.status) == ("1", DeploymentStatus[status])
        assert found.start_time_ns == START + start * 1_000_000_000
        assert found.end_time_ns == (None if end is None else START + end * 1_000_000_000)
        store.command("TRUNCATE TABLE deployment_changes")


def test_what_people_declare_and_change_wins_over_events(store, send_logs):
    declare(store, deployment_id="d1", start_time_ns=START, version="1")
    later = (time.time_ns() - START) // 1_000_000_000 + 100
    send_logs(told(later, "succeeded", of="d1"))
    found = query.get(store, "d1")
    assert (found.start_time_ns, found.status) == (START, DeploymentStatus.SUCCEEDED)
    send_logs(told(5, "", of="d2"))
    deployments.update(store, "d2", start_time_ns=START + 1)
    send_logs(told(6, "", of="d2"), told(later, "succeeded", of="d2"))
    assert query.get(store, "d2").start_time_ns == START + 1


def test_an_event_of_a_service_itself_needs_no_more_than_where_it_is(store, send_logs):
    send_logs(
        {"event_name": "deployment", "body": "rolled out by hand"},
        service__version="2",
        deployment__environment__name="dev",
        vtrack__experiment="mine",
    )
    send_logs({"event_name": "deployment"}, service__version="3")
    send_logs({"event_name": "other"}, service__version="4", deployment__environment__name="dev")
    [found] = query.search(store).deployments
    assert (found.experiment, found.environment, found.version) == ("mine", "dev", "2")
    assert found.deployment_id
    assert found.description == "rolled out by hand"
    assert found.start_time_ns == START
