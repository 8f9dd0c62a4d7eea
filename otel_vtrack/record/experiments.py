"""Creates and changes experiments."""

import threading
import uuid
from collections.abc import Iterable, Mapping
from typing import Final

from otel_vtrack.errors import AlreadyExists, InvalidArgument
from otel_vtrack.query import experiments
from otel_vtrack.record import tags
from otel_vtrack.record.clock import now_ns
from otel_vtrack.store.client import Store

LONGEST_NAME: Final = 250
"""In characters: of an experiment's name, in telemetry or as renamed by people."""

# Serializes claims to a name in this process, so that the second sees the first.
_naming = threading.Lock()


def create(
    store: Store, experiment: str, set_tags: Mapping[str, str] | None = None
) -> experiments.Experiment:
    """Create an experiment ahead of its telemetry and return it.

    Raises:
        AlreadyExists: Telemetry or people already use this name for an experiment.
        InvalidArgument: The name or a tag is empty or too long.
    """
    _check_name("experiment", experiment)
    kept, _ = tags.changes(set_tags or {}, ())
    with _naming:
        _check_free(store, experiment)
        _insert(store, experiment, created=True, set_tags=kept)
    return experiments.get(store, experiment)


def update(
    store: Store,
    text: str,
    *,
    name: str | None = None,
    archived: bool | None = None,
    set_tags: Mapping[str, str] | None = None,
    delete_tags: Iterable[str] = (),
) -> experiments.Experiment:
    """Change an experiment and return the result; fields that are None or omitted stay unchanged.

    Concurrent changes to different fields are all kept; for the same field, the later change wins.

    Args:
        store: Where it is.
        text: Its name, as telemetry sends it or as people renamed it.
        name: The new name for people to use.
        archived: Whether to list it only on request.
        set_tags: Tags to set.
        delete_tags: Keys of tags to delete; unknown keys are ignored.

    Raises:
        NotFound: No such experiment exists.
        AlreadyExists: Telemetry or people already use this name for another experiment.
        InvalidArgument: The name or a tag is empty or too long.
    """
    if name is not None:
        _check_name("name", name)
    kept, gone = tags.changes(set_tags or {}, delete_tags)
    experiments.resolve(store, text, fresh=True)
    found = experiments.get(store, text)
    key = found.experiment
    if name is None or name == found.name:
        if archived is not None or kept or gone:
            _insert(store, key, archived=archived, set_tags=kept, deleted_tags=gone)
        return experiments.get(store, key)
    with _naming:
        _check_free(store, name, but=key)
        _insert(store, key, name=name, archived=archived, set_tags=kept, deleted_tags=gone)
        experiments.forget_names(store)
        try:
            # Another process may have been faster: the first to claim the name gets it.
            _check_free(store, name, but=key)
        except AlreadyExists:
            _insert(store, key, name=found.name)
            raise
    return experiments.get(store, key)


def _check_name(what: str, name: str) -> None:
    if not 0 < len(name) <= LONGEST_NAME:
        raise InvalidArgument(f"{what} must have from 1 to {LONGEST_NAME} characters")


def _check_free(store: Store, name: str, *, but: str = "") -> None:
    if store.query("experiments/called", {"name": name, "but": but}):
        raise AlreadyExists(f"an experiment named {name} already exists: choose another name")


def _insert(
    store: Store,
    experiment: str,
    *,
    created: bool = False,
    name: str | None = None,
    archived: bool | None = None,
    set_tags: Mapping[str, str] | None = None,
    deleted_tags: Iterable[str] = (),
) -> None:
    change = {
        "experiment": experiment,
        "change_time": now_ns(),
        "change_id": uuid.uuid4(),
        "created": created,
        "name": name,
        "archived": archived,
        "set_tags": dict(set_tags or {}),
        "deleted_tags": list(deleted_tags),
    }
    store.insert("experiment_changes", [list(change.values())], list(change))
