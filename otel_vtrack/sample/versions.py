"""Determines the version and environment of a trace, for counting its minimum.

As in store/sql/mapping/spans_from_otlp.sql, except that a list of image tags is taken as is.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

VERSION: Final = (
    *("service.version", "app_version", "app.version", "version"),
    *("traceloop.entity.version", "gen_ai.agent.version", "container.image.tags"),
    *("vcs.ref.head.revision", "vcs.repository.ref.revision", "git.commit.sha", "git.commit"),
    *("heroku.release.commit", "mlflow.source.git.commit"),
)
ENVIRONMENT: Final = (
    *("deployment.environment.name", "deployment.environment", "environment", "env"),
)
_TAGS: Final = "container.image.tags"
_EXPERIMENT: Final = ("vtrack.experiment", "service.name", "service.namespace")
_WANTED: Final = {name.encode(): name for name in (*VERSION, *ENVIRONMENT, *_EXPERIMENT)}

# A KeyValue starts with its key: field 1, then the length.
SAYS: Final = re.compile(
    rb"\n(?:"
    + b"|".join(re.escape(bytes([len(name)]) + name.encode()) for name in (*VERSION, *ENVIRONMENT))
    + rb")"
)
"""Matches bytes that may contain a version or environment attribute."""


class Version(NamedTuple):
    """The unit for which a minimum is counted."""

    experiment: str
    service_name: str
    version: str
    environment: str


def told(attributes: Iterable[Any]) -> dict[str, str]:
    """Read the attributes that matter here, by name."""
    found: dict[str, str] = {}
    for pair in attributes:
        if (
            (name := _WANTED.get(pair.key))
            and name not in found
            and (text := _text(name, pair.value))
        ):
            found[name] = text
    return found


def version_of(experiment: bytes, resource: Mapping[str, str]) -> Version:
    """Return the version a Resource belongs to; `experiment` is the one named by a header."""
    service = resource.get("service.name", "")
    namespace = resource.get("service.namespace", "")
    by_service = f"{namespace}/{service}" if namespace else service
    named = experiment.decode("utf-8", "replace") or resource.get("vtrack.experiment", "")
    return Version(
        named or by_service, service, first(VERSION, resource), first(ENVIRONMENT, resource)
    )


def first(chain: Iterable[str], said: Mapping[str, str]) -> str:
    """Return the value of the first name in a chain that has one; empty if none has."""
    return next((said[name] for name in chain if name in said), "")


def _text(name: str, value: Any) -> str:
    if value.HasField("int_value"):
        return str(value.int_value)
    if value.HasField("double_value"):
        return str(value.double_value)
    if value.HasField("bool_value"):
        return str(value.bool_value)
    raw: bytes = (
        value.string_value or value.bytes_value or (value.array_value if name == _TAGS else b"")
    )
    return raw.decode("utf-8", "replace")
