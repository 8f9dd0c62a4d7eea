"""Which version in which environment a trace is of, as far as its minimum goes.

As in store/sql/mapping/spans_from_otlp.sql, but that a list of image tags is taken as it is.
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
_EXPERIMENT: Final = ("vtrack.experiment", "service.name", "service.namespace")
_WANTED: Final = {name.encode(): name for name in (*VERSION, *ENVIRONMENT, *_EXPERIMENT)}

# A KeyValue begins with field 1, its key, behind that one's length.
SAYS: Final = re.compile(
    rb"\n(?:"
    + b"|".join(re.escape(bytes([len(name)]) + name.encode()) for name in (*VERSION, *ENVIRONMENT))
    + rb")"
)
"""Finds bytes that may have an attribute of a version or an environment."""


class Version(NamedTuple):
    """What a minimum is counted for."""

    experiment: str
    service_name: str
    version: str
    environment: str


def told(attributes: Iterable[Any]) -> dict[str, str]:
    """Read what attributes say, by name, of all that matters here."""
    found: dict[str, str] = {}
    for pair in attributes:
        if (name := _WANTED.get(pair.key)) and name not in found and (text := _text(pair.value)):
            found[name] = text
    return found


def version_of(experiment: bytes, resource: Mapping[str, str]) -> Version:
    """Say which version a Resource is of; `experiment` is the one a header named."""
    service = resource.get("service.name", "")
    namespace = resource.get("service.namespace", "")
    by_service = f"{namespace}/{service}" if namespace else service
    named = experiment.decode("utf-8", "replace") or resource.get("vtrack.experiment", "")
    return Version(
        named or by_service, service, first(VERSION, resource), first(ENVIRONMENT, resource)
    )


def first(chain: Iterable[str], said: Mapping[str, str]) -> str:
    """Return what the first name of a chain says that says anything."""
    return next((said[name] for name in chain if name in said), "")


def _text(value: Any) -> str:
    if value.HasField("int_value"):
        return str(value.int_value)
    if value.HasField("double_value"):
        return str(value.double_value)
    if value.HasField("bool_value"):
        return str(value.bool_value)
    raw: bytes = value.string_value or value.array_value or value.bytes_value
    return raw.decode("utf-8", "replace")
