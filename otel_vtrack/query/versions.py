"""Finds versions."""

from dataclasses import dataclass
from typing import Any

from otel_vtrack.query import paging
from otel_vtrack.store.client import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version of a service in an environment; texts are empty where no span tells.

    Attributes:
        first_seen_ns: Start of its earliest span, in nanoseconds since 1970.
        last_seen_ns: Start of its latest span.
        trace_count: As the other counts, exact up to 65,536 and an estimate above.
    """

    experiment: str
    service_name: str
    version: str
    environment: str
    deployment_id: str
    git_commit: str
    git_branch: str
    git_dirty: str
    repository_url: str
    first_seen_ns: int
    last_seen_ns: int
    trace_count: int
    session_count: int
    user_count: int


@dataclass(frozen=True, slots=True)
class Page:
    """Some versions, and the token for the next ones; no token after the last."""

    versions: list[Version]
    next_page_token: str


def search(
    store: Store,
    *,
    experiment: str = "",
    service_name: str = "",
    environment: str = "",
    page_size: int = 0,
    page_token: str = "",
) -> Page:
    """List versions, the one seen last first; an empty filter does not restrict.

    Raises:
        InvalidArgument: The size is out of range, or the token of another question.
    """
    wanted = paging.size(page_size)
    question = {
        "versions": True,
        "experiment": experiment,
        "service_name": service_name,
        "environment": environment,
    }
    after: list[Any] = paging.place(page_token, question) if page_token else [0, *[""] * 5]
    names = ("ns", "experiment", "service_name", "version", "environment", "deployment_id")
    rows = store.query(
        "versions/list",
        {
            "experiment": experiment,
            "service_name": service_name,
            "environment": environment,
            "first_page": int(not page_token),
            "wanted": wanted + 1,
            **{f"after_{name}": value for name, value in zip(names, after, strict=True)},
        },
    )
    found = [Version(**row) for row in rows[:wanted]]
    if len(rows) <= wanted:
        return Page(found, "")
    last = found[-1]
    place = [last.last_seen_ns, *(getattr(last, name) for name in names[1:])]
    return Page(found, paging.token(place, question))
