"""OTEL_VTRACK_* variables of the traced application, each with its documentation.

Registered in the entry point group ``opentelemetry_environment_variables``, so each is also an
option of ``opentelemetry-instrument``: ``OTEL_VTRACK_VERSION`` is ``--vtrack_version``.
"""

import os
from typing import Final
from urllib.parse import unquote

OTEL_VTRACK_ENABLED: Final = "OTEL_VTRACK_ENABLED"
"""`false` disables the zero-code hook. Default: true."""

OTEL_VTRACK_VERSION: Final = "OTEL_VTRACK_VERSION"
"""Version of the running code: `service.version` on every span."""

OTEL_VTRACK_ENVIRONMENT: Final = "OTEL_VTRACK_ENVIRONMENT"
"""Where it runs, such as production: `deployment.environment.name`."""

OTEL_VTRACK_DEPLOYMENT_ID: Final = "OTEL_VTRACK_DEPLOYMENT_ID"
"""Which rollout of the version this is: `deployment.id`."""

OTEL_VTRACK_COMMIT: Final = "OTEL_VTRACK_COMMIT"
"""Commit the code was built from: `vcs.ref.head.revision`."""

OTEL_VTRACK_BRANCH: Final = "OTEL_VTRACK_BRANCH"
"""Branch it was built from: `vcs.ref.head.name`."""

OTEL_VTRACK_REPOSITORY: Final = "OTEL_VTRACK_REPOSITORY"
"""Address of the repository: `vcs.repository.url.full`; credentials in it are removed."""

OTEL_VTRACK_DIRTY: Final = "OTEL_VTRACK_DIRTY"
"""`true` or `false`, whether the code had uncommitted changes: `vtrack.vcs.dirty`."""

OTEL_VTRACK_EXPERIMENT: Final = "OTEL_VTRACK_EXPERIMENT"
"""Experiment the traces belong to: `vtrack.experiment`, and a header of the vtrack exporter."""

OTEL_VTRACK_TAGS: Final = "OTEL_VTRACK_TAGS"
"""Further static tags, in the format of OTEL_RESOURCE_ATTRIBUTES: `team=search,region=eu%2Dwest`.
"""

OTEL_VTRACK_BAGGAGE_KEYS: Final = "OTEL_VTRACK_BAGGAGE_KEYS"
"""Attribute names, comma-separated, that dynamic tags may carry to other processes by W3C baggage,
and that received baggage may set here. Exact names only. Default: none, so no tag leaves."""

OTEL_VTRACK_GIT: Final = "OTEL_VTRACK_GIT"
"""`false` disables running git. Default: true, for at most 1 s in total."""

OTEL_VTRACK_DISTRIBUTION: Final = "OTEL_VTRACK_DISTRIBUTION"
"""Name of the installed distribution whose version is the application's."""

OTEL_VTRACK_PODINFO: Final = "OTEL_VTRACK_PODINFO"
"""Folder with the files `labels` and `annotations` of Kubernetes' downward API.
Default: /etc/podinfo."""

OTEL_VTRACK_OPENFEATURE: Final = "OTEL_VTRACK_OPENFEATURE"
"""`true` registers the OpenFeature hook at start. Default: false, as it imports openfeature."""

OTEL_VTRACK_ENDPOINT: Final = "OTEL_VTRACK_ENDPOINT"
"""Where OTEL_TRACES_EXPORTER=vtrack sends spans. Default: the standard OTLP variables, then
http://127.0.0.1:4317 (http://127.0.0.1:4318 for http/protobuf). No scheme means http."""

OTEL_VTRACK_PROTOCOL: Final = "OTEL_VTRACK_PROTOCOL"
"""`grpc` or `http/protobuf`, for that exporter. Default: the standard OTLP variables, then grpc."""

OTEL_VTRACK_RAISE_ERRORS: Final = "OTEL_VTRACK_RAISE_ERRORS"
"""`true` raises our own errors instead of logging them once. For tests only. Default: false."""

_YES: Final = frozenset({"1", "true", "yes", "on"})
_NO: Final = frozenset({"0", "false", "no", "off"})


def text(name: str) -> str | None:
    """Read a variable; None when it is unset or blank."""
    return os.environ.get(name, "").strip() or None


def switch(name: str, *, default: bool | None) -> bool | None:
    """Read a boolean variable; if it is unset or unrecognized, return the default."""
    value = os.environ.get(name, "").strip().lower()
    return True if value in _YES else False if value in _NO else default


def sdk_disabled() -> bool:
    """Return whether OTEL_SDK_DISABLED, read as the SDK does, has turned all tracing off."""
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def names(name: str) -> frozenset[str]:
    """Read a comma-separated list of names."""
    return frozenset(part.strip() for part in os.environ.get(name, "").split(",")) - {""}


def pairs(name: str) -> dict[str, str]:
    """Read `key=value,key=value`, percent-decoded as in OTEL_RESOURCE_ATTRIBUTES.

    A member without `=` or without a key is skipped.
    """
    members = (part.partition("=") for part in os.environ.get(name, "").split(","))
    return {
        unquote(key.strip()): unquote(value.strip())
        for key, equals, value in members
        if equals and key.strip()
    }
