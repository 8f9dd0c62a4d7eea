"""Adds missing attributes to Resources, without parsing what is below them.

Each distinct Resource is parsed once: equal bytes give equal results.
"""

import functools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from otel_vtrack import semconv
from otel_vtrack.process import sources
from otel_vtrack.process.enrichment import Enrich, EnrichRule
from otel_vtrack.wire import framing

_LOOK_EVERY_SECONDS: Final = 1.0
_MOST_RESOURCES: Final = 2_048
# In bytes; larger Resources are not cached but parsed each time.
_LARGEST_RESOURCE: Final = 4 << 10

_LENGTH_DELIMITED: Final = 2

CHAINS: Final[Mapping[str, tuple[str, ...]]] = {
    semconv.SERVICE_VERSION: ("app_version", "app.version", "version"),
    semconv.DEPLOYMENT_ENVIRONMENT_NAME: ("deployment.environment", "environment", "env"),
    semconv.DEPLOYMENT_ID: ("deployment_id", "deployment.name", "cicd.pipeline.run.id"),
    semconv.VCS_REF_HEAD_REVISION: (
        "vcs.repository.ref.revision",
        "git.commit.sha",
        "git.commit",
        "heroku.release.commit",
        "mlflow.source.git.commit",
    ),
    semconv.VCS_REF_HEAD_NAME: ("vcs.repository.ref.name", "mlflow.source.git.branch"),
    semconv.VCS_REPOSITORY_URL_FULL: ("git.repository_url", "mlflow.source.git.repoURL"),
    semconv.VTRACK_VCS_DIRTY: ("mlflow.source.git.dirty",),
}
"""Alternative names of attributes in a Resource; docs/mapping.md lists the same."""


class _Layer(NamedTuple):
    """Attributes from one source; without a rule, they apply to every service."""

    attributes: Mapping[str, str]
    override: bool
    rule: EnrichRule | None = None


class Enricher:
    """Enriches requests of traces and logs alike.

    Args:
        settings: What to enrich them with.
        environment: The environment variables of this process.
    """

    def __init__(self, settings: Enrich, environment: Mapping[str, str] = os.environ) -> None:
        self._settings = settings
        self._variables = sources.of_environment(environment) if settings.variables else {}
        self._pod = sources.podinfo(settings.podinfo) if settings.podinfo else None
        self._file = (
            sources.deployment_file(settings.deployment_file) if settings.deployment_file else None
        )
        self._watched = tuple(filter(None, (self._pod, self._file)))
        self._look_at = time.monotonic() + _LOOK_EVERY_SECONDS
        self._make = self._remembering()

    def __bool__(self) -> bool:
        return bool(self._watched or self._layers())

    def __call__(self, payload: bytes) -> tuple[bytes, int]:
        """Return a checked request, and how many of its Resources were enriched."""
        if self._watched and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _LOOK_EVERY_SECONDS
            changed = [each.look() for each in self._watched]
            if any(changed):
                self._make = self._remembering()
        out: list[bytes | memoryview] = []
        kept = enriched = 0
        # A memoryview, so that the request is copied only once.
        view = memoryview(payload)
        for number, wire_type, start, value, end in framing.fields(payload):
            if number != 1 or wire_type != _LENGTH_DELIMITED:
                continue
            group = self._group(view[value:end])
            if group is None:
                continue
            enriched += 1
            size = sum(map(len, group))
            out += (view[kept:start], b"\x0a", framing.varint(size), *group)
            kept = end
        return (b"".join((*out, view[kept:])), enriched) if enriched else (payload, 0)

    def _group(self, raw: memoryview) -> list[bytes | memoryview] | None:
        """Return an enriched ResourceSpans or ResourceLogs in parts; None if nothing changes."""
        found = [
            (start, value, end)
            for number, wire_type, start, value, end in framing.fields(raw)
            if number == 1 and wire_type == _LENGTH_DELIMITED
        ]
        # If there are several, which no encoder writes, concatenating them merges them.
        old = b"".join([raw[value:end] for _, value, end in found])
        new = self._make(old) if len(old) <= _LARGEST_RESOURCE else _enriched(self._layers(), old)
        if new is None:
            return None
        parts: list[bytes | memoryview] = [framing.length_delimited(1, new)]
        at = 0
        for start, _, end in found:
            parts.append(raw[at:start])
            at = end
        parts.append(raw[at:])
        return parts

    def _remembering(self) -> Callable[[bytes], bytes | None]:
        layers = self._layers()

        @functools.lru_cache(_MOST_RESOURCES)
        def make(raw: bytes) -> bytes | None:
            return _enriched(layers, raw)

        return make

    def _layers(self) -> list[_Layer]:
        override = self._settings.override
        said = self._file.value if self._file else None
        rules = [_of_rule(rule, override) for rule in self._settings.rules]
        found = [
            *rules,
            _Layer(self._settings.attributes, override),
            _Layer(self._variables, override),
            _Layer(self._pod.value if self._pod else {}, override),
            *(_of_rule(rule, override) for rule in (said.rules if said else ())),
            _Layer(said.attributes if said else {}, override),
        ]
        return [layer for layer in found if layer.attributes]


def _of_rule(rule: EnrichRule, override: bool) -> _Layer:
    chosen = override if rule.override is None else rule.override
    return _Layer(rule.attributes, chosen, rule)


def _enriched(layers: Sequence[_Layer], raw: bytes) -> bytes | None:
    """Return a serialized Resource enriched; None if nothing changes."""
    resource = Resource.FromString(raw)
    has = {pair.key: _text(pair.value) for pair in resource.attributes}
    service = has.get(semconv.SERVICE_NAME, "")
    namespace = has.get(semconv.SERVICE_NAMESPACE, "")
    environment = _first(has, semconv.DEPLOYMENT_ENVIRONMENT_NAME)
    wanted: dict[str, tuple[str, bool]] = {}
    for layer in layers:
        if layer.rule and not layer.rule.matches(service, namespace, environment):
            continue
        for name, value in layer.attributes.items():
            wanted.setdefault(name, (value, layer.override))
    lacking = {
        name: value
        for name, (value, override) in wanted.items()
        if has.get(name) != value and (override or not _first(has, name))
    }
    if not lacking:
        return None
    if has.keys().isdisjoint(lacking):
        return raw + b"".join(
            framing.length_delimited(1, _pair(name, value)) for name, value in lacking.items()
        )
    for pair in resource.attributes:
        if pair.key in lacking:
            pair.value.string_value = lacking[pair.key]
    for name in lacking.keys() - has.keys():
        resource.attributes.add(key=name).value.string_value = lacking[name]
    return resource.SerializeToString()


def _pair(name: str, value: str) -> bytes:
    pair = KeyValue(key=name)
    pair.value.string_value = value
    return pair.SerializeToString()


def _first(has: Mapping[str, str], name: str) -> str:
    """Return a Resource's value for an attribute or the first of its alternative names, or ""."""
    return next(filter(None, (has.get(each) for each in (name, *CHAINS.get(name, ())))), "")


def _text(value: Any) -> str:
    """Return a string value as it is, and for any other value its kind; empty for none."""
    kind = value.WhichOneof("value")
    return value.string_value if kind == "string_value" else kind or ""
