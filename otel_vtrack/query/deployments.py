"""Find deployments, whether declared or only seen in spans."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from otel_vtrack.errors import InvalidArgument, NotFound
from otel_vtrack.query import experiments, paging
from otel_vtrack.store.client import Store

_PLACE: Final = ("experiment", "service_name", "environment", "deployment_id")


class DeploymentStatus(IntEnum):
    """The state of a deployment; numbers as in deployments.proto, names as in the store."""

    UNSPECIFIED = 0
    IN_PROGRESS = 1
    SUCCEEDED = 2
    FAILED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A version of a service, put live in an environment; deployments.proto explains each field.

    Attributes:
        version: As declared, else the version last seen in spans.
        start_time_ns: As declared, else the start of its first span. All times are in nanoseconds
            since 1970.
        end_time_ns: None if not declared.
        declared: Whether it was declared, rather than only seen in spans.
        first_seen_ns: Start of its earliest span; None if it has none.
        last_seen_ns: Start of its latest span; None if it has none.
        trace_count: Exact up to 65,536, an estimate above.
    """

    experiment: str
    service_name: str
    environment: str
    deployment_id: str
    version: str
    status: DeploymentStatus
    start_time_ns: int
    end_time_ns: int | None
    description: str
    tags: dict[str, str]
    declared: bool
    first_seen_ns: int | None
    last_seen_ns: int | None
    trace_count: int


@dataclass(frozen=True, slots=True)
class Page:
    """A page of deployments and the token for the next page; empty after the last."""

    deployments: list[Deployment]
    next_page_token: str


def search(
    store: Store,
    *,
    experiment: str = "",
    service_name: str = "",
    environment: str = "",
    version: str = "",
    page_size: int = 0,
    page_token: str = "",
) -> Page:
    """List deployments, the latest started first; an empty argument does not restrict.

    Args:
        store: The store to query.
        experiment: Its name in telemetry or its display name.
        service_name: An exact match, like the other arguments.
        environment: Where it was put live.
        version: What was put live.
        page_size: 0 for the default.
        page_token: The token from the previous page.

    Raises:
        InvalidArgument: The size is out of range, or the token belongs to another query.
    """
    wanted = paging.size(page_size)
    where = {
        "experiment": experiments.resolve(store, experiment),
        "service_name": service_name,
        "environment": environment,
        "version": version,
    }
    question: dict[str, Any] = {"deployments": True, **where}
    after = paging.place(page_token, question) if page_token else None
    found = _list(store, where, after=after, wanted=wanted + 1)
    if len(found) <= wanted:
        return Page(found, "")
    last = found[wanted - 1]
    place = [last.start_time_ns, *(getattr(last, name) for name in _PLACE)]
    return Page(found[:wanted], paging.token(place, question))


def get(
    store: Store, deployment_id: str, *, service_name: str = "", environment: str = ""
) -> Deployment:
    """Load a deployment; if several experiments have it, the declared one, else the latest.

    Raises:
        NotFound: It was neither declared nor seen in a span.
        InvalidArgument: The ID is empty, or used by several services or environments.
    """
    found = having_id(store, deployment_id, service_name=service_name, environment=environment)
    if not found:
        raise NotFound(f"there is no deployment {deployment_id}: list them to see which exist")
    return min(found, key=lambda each: not each.declared)


def having_id(
    store: Store, deployment_id: str, *, service_name: str = "", environment: str = ""
) -> list[Deployment]:
    """Load a deployment from each experiment that has it, the latest started first.

    Raises:
        InvalidArgument: The ID is empty, or used by several services or environments.
    """
    if not deployment_id:
        raise InvalidArgument("deployment_id is empty: name one")
    where = {
        "deployment_id": deployment_id,
        "service_name": service_name,
        "environment": environment,
    }
    found = _list(store, where, wanted=paging.LARGEST_SIZE)
    for what in ("service_name", "environment"):
        if len(several := sorted({getattr(each, what) for each in found})) > 1:
            raise InvalidArgument(
                f"several deployments have the id {deployment_id}: give {what} too, one of"
                f" {', '.join(repr(each) for each in several[:10])}"
            )
    return found


def _list(
    store: Store,
    where: dict[str, str],
    *,
    after: Sequence[Any] | None = None,
    wanted: int,
) -> list[Deployment]:
    everything = dict.fromkeys((*_PLACE, "version"), "")
    names = ("ns", *_PLACE)
    rows = store.query(
        "deployments/list",
        {
            **everything,
            **where,
            "first_page": int(after is None),
            "wanted": wanted,
            **{f"after_{n}": v for n, v in zip(names, after or [0, *[""] * 4], strict=True)},
        },
    )
    for row in rows:
        row["status"] = DeploymentStatus[row["status"]]
    return [Deployment(**row) for row in rows]
