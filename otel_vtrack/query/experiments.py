"""Find experiments by their name in telemetry or their display name."""

import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from otel_vtrack.errors import NotFound
from otel_vtrack.query import paging
from otel_vtrack.store.client import Store

_FRESH_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """The current state of an experiment.

    Attributes:
        experiment: Its name in telemetry; never changes.
        name: Its display name; unique.
        create_time_ns: When it was created by hand, else the time of its earliest span or log
            record. All times are in nanoseconds since 1970.
        last_update_time_ns: When it was last created or changed by hand; None if never.
        first_seen_ns: Start of its earliest span; None if it has none.
        last_seen_ns: Start of its latest span; None if it has none.
        trace_count: Exact up to 65,536, an estimate above.
        service_names: The services of its spans and log records, sorted.
    """

    experiment: str
    name: str
    tags: dict[str, str]
    archived: bool
    create_time_ns: int
    last_update_time_ns: int | None
    first_seen_ns: int | None
    last_seen_ns: int | None
    trace_count: int
    service_names: list[str]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of experiments and the token for the next page; empty after the last."""

    experiments: list[Experiment]
    next_page_token: str


class _Renamed(NamedTuple):
    until: float
    by_name: dict[str, str]


_lock = threading.Lock()
_known: weakref.WeakKeyDictionary[Store, _Renamed] = weakref.WeakKeyDictionary()


def resolve(store: Store, text: str, *, fresh: bool = False) -> str:
    """Return the telemetry name of the experiment whose display name is `text`.

    That is `text` itself unless an experiment was renamed to it. Empty stays empty. Renames by this
    process take effect at once, those by others within two seconds.

    Args:
        store: The store to query.
        text: The name in telemetry or the display name.
        fresh: Whether renames by others must take effect at once, too.
    """
    if not text:
        return ""
    with _lock:
        known = _known.get(store)
    if fresh or known is None or known.until < time.monotonic():
        until = time.monotonic() + _FRESH_SECONDS
        rows = store.query("experiments/renamed") if store.query("experiments/was_renamed") else []
        known = _Renamed(until, {row["name"]: row["experiment"] for row in rows})
        with _lock:
            _known[store] = known
    return known.by_name.get(text, text)


def forget_names(store: Store) -> None:
    """Make the next `resolve` read the store: an experiment was renamed or deleted."""
    with _lock:
        _known.pop(store, None)


def get(store: Store, text: str) -> Experiment:
    """Load the experiment with the telemetry name or display name `text`.

    Raises:
        NotFound: There is none.
    """
    found = _list(store, experiment=resolve(store, text)) if text else []
    if not found:
        raise NotFound(f"there is no experiment {text}: list them to see which exist")
    return found[0]


def search(
    store: Store,
    *,
    name_contains: str = "",
    include_archived: bool = False,
    page_size: int = 0,
    page_token: str = "",
) -> Page:
    """List experiments by name.

    Args:
        store: The store to query.
        name_contains: Only those whose name contains this, ignoring case; empty lists all.
        include_archived: Whether to list archived ones too.
        page_size: 0 for the default.
        page_token: The token from the previous page.

    Raises:
        InvalidArgument: The size is out of range, or the token belongs to another query.
    """
    wanted = paging.size(page_size)
    question = {"experiments": name_contains, "include_archived": include_archived}
    after = paging.place(page_token, question) if page_token else ["", ""]
    found = _list(
        store,
        name_contains=name_contains,
        archived=include_archived,
        after=after,
        wanted=wanted + 1,
    )
    if len(found) <= wanted:
        return Page(found, "")
    last = found[wanted - 1]
    return Page(found[:wanted], paging.token([last.name, last.experiment], question))


def _list(
    store: Store,
    *,
    experiment: str = "",
    name_contains: str = "",
    archived: bool = True,
    after: Sequence[Any] = ("", ""),
    wanted: int = 1,
) -> list[Experiment]:
    rows = store.query(
        "experiments/list",
        {
            "experiment": experiment,
            "name_contains": name_contains,
            "archived": int(archived),
            "after_name": after[0],
            "after_experiment": after[1],
            "wanted": wanted,
        },
    )
    keys = [row["experiment"] for row in rows]
    seen = {
        row.pop("experiment"): row
        for row in store.query("experiments/activity", {"experiments": keys})
    }
    unseen: dict[str, Any] = {
        "first_seen_ns": None,
        "last_seen_ns": None,
        "trace_count": 0,
        "service_names": [],
    }
    return [Experiment(**row, **seen.get(row["experiment"], unseen)) for row in rows]
