"""Declares, changes and withdraws deployments."""

import threading
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final

from otel_vtrack.errors import AlreadyExists, InvalidArgument, NotFound
from otel_vtrack.query import deployments, experiments
from otel_vtrack.query.deployments import Deployment, DeploymentStatus
from otel_vtrack.record import tags
from otel_vtrack.record.clock import now_ns
from otel_vtrack.store.client import Store

LONGEST_NAME: Final = 250
"""In characters: of an id, a version, or the name of a service or environment."""
LONGEST_DESCRIPTION: Final = 4_096

# Serializes declarations in this process, so that the second of two identical ones sees the first.
_declaring = threading.Lock()


def create(
    store: Store,
    *,
    service_name: str,
    environment: str,
    version: str,
    deployment_id: str = "",
    experiment: str = "",
    status: DeploymentStatus = DeploymentStatus.UNSPECIFIED,
    start_time_ns: int | None = None,
    end_time_ns: int | None = None,
    description: str = "",
    set_tags: Mapping[str, str] | None = None,
) -> Deployment:
    """Declare a deployment and return it.

    Args:
        store: Where to store it.
        service_name: The service that was deployed.
        environment: Where it was deployed.
        version: The deployed version of the service.
        deployment_id: Empty to generate one.
        experiment: Its name, as telemetry sends it or as people renamed it; empty for the
            experiment in which the service was last seen, or else the one named like the service.
        status: The outcome of the deployment.
        start_time_ns: When it went live; None for now.
        end_time_ns: When it was replaced or withdrawn.
        description: Notes for people.
        set_tags: Any other data to keep with it.

    Raises:
        AlreadyExists: This id is already declared for the service and environment.
        InvalidArgument: A field is missing or too long, or the end is before the start.
    """
    for what, text in (
        ("service_name", service_name),
        ("environment", environment),
        ("version", version),
    ):
        if not text:
            raise InvalidArgument(f"{what} is missing: a deployment needs it")
        _check_length(what, text)
    _check_length("deployment_id", deployment_id)
    _check_length("experiment", experiment)
    _check_length("description", description, most=LONGEST_DESCRIPTION)
    kept, _ = tags.changes(set_tags or {}, ())
    now = now_ns()
    start = now if start_time_ns is None else start_time_ns
    _check_order(start, end_time_ns)
    place = {
        "experiment": _experiment(store, experiment, service_name),
        "service_name": service_name,
        "environment": environment,
        "deployment_id": deployment_id or uuid.uuid4().hex,
    }
    with _declaring:
        if deployment_id and any(each.declared for each in _having(store, place)):
            raise AlreadyExists(
                f"deployment {deployment_id} of {service_name} in {environment} is already"
                " declared: update it, or choose another id"
            )
        _insert(
            store,
            place,
            created=True,
            version=version,
            status=status.name,
            start_time=start,
            end_time=end_time_ns,
            description=description,
            set_tags=kept,
        )
    return _one(store, place)


def update(
    store: Store,
    deployment_id: str,
    *,
    service_name: str = "",
    environment: str = "",
    status: DeploymentStatus | None = None,
    start_time_ns: int | None = None,
    end_time_ns: int | None = None,
    description: str | None = None,
    set_tags: Mapping[str, str] | None = None,
    delete_tags: Iterable[str] = (),
) -> Deployment:
    """Change a deployment and return the result; fields that are None or omitted stay unchanged.

    A deployment known only from spans becomes a declared one. Concurrent changes to different
    fields are all kept; for the same field, the later change wins.

    Raises:
        NotFound: No declaration and no span mentions it.
        InvalidArgument: The id is used by several services or environments, a field is too
            long, or the end is before the start.
    """
    _check_length("description", description or "", most=LONGEST_DESCRIPTION)
    kept, gone = tags.changes(set_tags or {}, delete_tags)
    found = deployments.get(
        store, deployment_id, service_name=service_name, environment=environment
    )
    _check_order(
        found.start_time_ns if start_time_ns is None else start_time_ns,
        found.end_time_ns if end_time_ns is None else end_time_ns,
    )
    said: dict[str, Any] = {
        "status": None if status is None else status.name,
        "start_time": start_time_ns,
        "end_time": end_time_ns,
        "description": description,
    }
    place = _place(found)
    if kept or gone or any(value is not None for value in said.values()):
        _insert(store, place, **said, set_tags=kept, deleted_tags=gone)
    return _one(store, place)


def delete(
    store: Store, deployment_id: str, *, service_name: str = "", environment: str = ""
) -> None:
    """Withdraw what was declared about a deployment; keep span data; ignore unknown ids.

    Raises:
        InvalidArgument: The id is empty, or used by several services or environments.
    """
    for found in deployments.having_id(
        store, deployment_id, service_name=service_name, environment=environment
    ):
        if found.declared:
            _insert(store, _place(found), withdrawn=True)


def _experiment(store: Store, text: str, service_name: str) -> str:
    if text:
        return experiments.resolve(store, text, fresh=True)
    homes = store.query("deployments/home", {"service_name": service_name})
    return homes[0]["experiment"] if homes else service_name


def _place(found: Deployment) -> dict[str, str]:
    return {
        "experiment": found.experiment,
        "service_name": found.service_name,
        "environment": found.environment,
        "deployment_id": found.deployment_id,
    }


def _having(store: Store, place: Mapping[str, str]) -> list[Deployment]:
    return deployments.having_id(
        store,
        place["deployment_id"],
        service_name=place["service_name"],
        environment=place["environment"],
    )


def _one(store: Store, place: Mapping[str, str]) -> Deployment:
    for found in _having(store, place):
        if found.experiment == place["experiment"]:
            return found
    raise NotFound(f"deployment {place['deployment_id']} was withdrawn in the meantime")


def _check_length(what: str, text: str, *, most: int = LONGEST_NAME) -> None:
    if len(text) > most:
        raise InvalidArgument(f"{what} has {len(text)} characters: shorten it to {most}")


def _check_order(start_ns: int, end_ns: int | None) -> None:
    if end_ns is not None and end_ns < start_ns:
        raise InvalidArgument("end_time is before start_time: swap or correct them")


def _insert(store: Store, place: Mapping[str, str], **said: Any) -> None:
    change = {**place, "change_time": now_ns(), "change_id": uuid.uuid4(), **said}
    store.insert("deployment_changes", [list(change.values())], list(change))
