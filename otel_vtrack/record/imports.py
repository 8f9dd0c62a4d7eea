"""Imports what `query.changes` exported. Importing the same row again changes nothing."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from string import hexdigits
from typing import Any, Final

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import changes
from otel_vtrack.store.client import Store

_TABLES: Final = {
    "experiments": "experiment_changes",
    "deployments": "deployment_changes",
    "versions": "version_changes",
    "version_aliases": "version_aliases",
    "trace_tags": "trace_tags",
    "assessments": "assessments",
}


def rows(store: Store, noun: str, given: Sequence[Mapping[str, Any]]) -> None:
    """Store rows of one kind, in the form `changes.page` returned them.

    Raises:
        InvalidArgument: A field is malformed.
    """
    if not given:
        return
    converts = {name: _CONVERTS[name] for name in given[0] if name in _CONVERTS}
    if noun == "assessments":
        converts.pop("experiment", None)  # as in telemetry, where it may be empty
    names = list(given[0])
    try:
        made = [
            [converts[name](row[name]) if name in converts else row[name] for name in names]
            for row in given
        ]
    except ValueError as error:
        raise InvalidArgument(f"a change of {noun} is malformed: {error}") from None
    store.insert(_TABLES[noun], made, names)


def _id(digits: int) -> Callable[[str], bytes]:
    def read(text: str) -> bytes:
        # `bytes.fromhex` skips spaces.
        if len(text) != digits or not all(each in hexdigits for each in text):
            raise ValueError(f"give {digits} hexadecimal digits")
        return bytes.fromhex(text)

    return read


def _one_of(*known: str) -> Callable[[str | None], str | None]:
    def read(text: str | None) -> str | None:
        if text is not None and text not in known:
            raise ValueError(f"give one of {', '.join(each or 'nothing' for each in known)}")
        return text

    return read


def _not_empty(text: str) -> str:
    if not text:
        raise ValueError("give an experiment, and a key for a tag")
    return text


def _positive(number: int) -> int:
    if number <= 0:
        raise ValueError("give a time after 1970")
    return number


_CONVERTS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "experiment": _not_empty,
    "key": _not_empty,
    "trace_id": _id(32),
    "span_id": _id(16),
    "change_id": uuid.UUID,
    "operation": _one_of("create", "update", "delete"),
    "assessment_type": _one_of("", "feedback", "expectation"),
    "source_type": _one_of("", "HUMAN", "LLM_JUDGE", "CODE"),
    "status": _one_of("UNSPECIFIED", "IN_PROGRESS", "SUCCEEDED", "FAILED"),
    # Negative values are those of tags from telemetry, which arrive with the telemetry.
    "changed_at": _positive,
    "deleted": int,
}

assert set(_TABLES) == {kind.noun for kind in changes.KINDS}  # noqa: S101 - same kinds in both
