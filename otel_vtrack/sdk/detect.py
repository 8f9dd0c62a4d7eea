"""Detects, once, which version of the code is running.

Each attribute comes from the first source that has it:

1. arguments of `install` or `VersionSpanProcessor`
2. `OTEL_VTRACK_*`
3. the resource of the provider, then OTEL_RESOURCE_ATTRIBUTES
4. the platform it runs on, then the pipeline it runs in (`platforms`)
5. git (`git`)
6. the metadata of the application's own distribution (`distribution`)
"""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from otel_vtrack import semconv
from otel_vtrack.sdk import distribution, git, guest, platforms, settings
from otel_vtrack.sdk.values import Value, clean_all

ON_SPANS: Final = (
    semconv.VTRACK_EXPERIMENT,
    semconv.CICD_PIPELINE_RUN_ID,
    semconv.VCS_REPOSITORY_URL_FULL,
    semconv.VTRACK_VCS_DIRTY,
    semconv.VCS_REF_HEAD_NAME,
    semconv.VCS_REF_HEAD_REVISION,
    semconv.DEPLOYMENT_ID,
    semconv.DEPLOYMENT_ENVIRONMENT_NAME,
    semconv.SERVICE_VERSION,
)
"""Attributes of spans, most important last, because the SDK evicts from the front."""

ON_RESOURCES: Final = (
    semconv.CICD_PIPELINE_NAME,
    semconv.CICD_PIPELINE_RUN_URL_FULL,
    *ON_SPANS,
)
"""Attributes from the resource detector; includes those too long to repeat on every span."""

_FORMER_NAMES: Final = {
    semconv.DEPLOYMENT_ENVIRONMENT_NAME: ("deployment.environment",),
    semconv.VCS_REF_HEAD_REVISION: ("vcs.repository.ref.revision", "heroku.release.commit"),
    semconv.VCS_REF_HEAD_NAME: ("vcs.repository.ref.name",),
}
"""Deprecated names that a resource may still use, oldest conventions last."""

_SETTINGS: Final = {
    settings.OTEL_VTRACK_VERSION: semconv.SERVICE_VERSION,
    settings.OTEL_VTRACK_ENVIRONMENT: semconv.DEPLOYMENT_ENVIRONMENT_NAME,
    settings.OTEL_VTRACK_DEPLOYMENT_ID: semconv.DEPLOYMENT_ID,
    settings.OTEL_VTRACK_COMMIT: semconv.VCS_REF_HEAD_REVISION,
    settings.OTEL_VTRACK_BRANCH: semconv.VCS_REF_HEAD_NAME,
    settings.OTEL_VTRACK_REPOSITORY: semconv.VCS_REPOSITORY_URL_FULL,
    settings.OTEL_VTRACK_EXPERIMENT: semconv.VTRACK_EXPERIMENT,
}


_ADDRESSES: Final[Mapping[str, Callable[[str], str]]] = {
    semconv.VCS_REPOSITORY_URL_FULL: git.without_credentials,
    semconv.CICD_PIPELINE_RUN_URL_FULL: git.without_user,
}


class Finding(NamedTuple):
    """A value and the source it came from."""

    value: Value
    source: str


Findings = dict[str, Finding]


class Detection:
    """What this process knows about its version without a provider's resource.

    Args:
        explicit: Attributes by name; they override every other source.
    """

    def __init__(self, explicit: Mapping[str, object]) -> None:
        self._above = _found(clean_all(explicit), "argument")
        _add(self._above, _from_settings())
        self._beneath: Findings = {}
        self._git: Findings = {}
        self._distributions: dict[str | None, str | None] = {}
        _add(self._beneath, _from_platforms())
        if settings.switch(settings.OTEL_VTRACK_GIT, default=True) and (
            git.GIVES - self._above.keys() - self._beneath.keys()
        ):
            self._git = _from_git()
            _add(self._beneath, self._git)

    def findings(self, resource: Mapping[str, object]) -> Findings:
        """Return everything found, given a resource's attributes.

        Omits the dirty flag if the commit found is not git's, because the flag would then describe
        a different tree.
        """
        found = dict(self._above)
        declared = settings.pairs("OTEL_RESOURCE_ATTRIBUTES")
        _add(found, _from_resource(resource, "resource"))
        _add(found, _from_resource(declared, "OTEL_RESOURCE_ATTRIBUTES"))
        _add(found, self._beneath)
        if semconv.SERVICE_VERSION not in found:
            name = (
                resource.get(semconv.SERVICE_NAME)  # which may override the variables
                or os.environ.get("OTEL_SERVICE_NAME")
                or declared.get(semconv.SERVICE_NAME)
            )
            version = self._distribution(str(name) if name else None)
            _add(found, _found(clean_all({semconv.SERVICE_VERSION: version}), "distribution"))
        if self._dirt_is_foreign(found):
            del found[semconv.VTRACK_VCS_DIRTY]
        return found

    def attributes(
        self, resource: Mapping[str, object], names: Iterable[str] = ON_SPANS
    ) -> dict[str, Value]:
        """Return the user's own attributes, then those in `names` that were found.

        The user's own come from arguments and OTEL_VTRACK_TAGS and are not in `ON_RESOURCES`.
        """
        found = self.findings(resource)
        own = {n: f.value for n, f in self._above.items() if n not in ON_RESOURCES}
        return own | {name: found[name].value for name in names if name in found}

    def _distribution(self, service_name: str | None) -> str | None:
        # Cached: a span with a changed resource must not wait for file reads again.
        if service_name not in self._distributions:
            self._distributions[service_name] = distribution.version(service_name)
        return self._distributions[service_name]

    def _dirt_is_foreign(self, found: Findings) -> bool:
        dirty = found.get(semconv.VTRACK_VCS_DIRTY)
        commit = found.get(semconv.VCS_REF_HEAD_REVISION)
        head = self._git.get(semconv.VCS_REF_HEAD_REVISION)
        if dirty is None or commit is None or head is None or dirty.source != "git":
            return False
        return not str(head.value).startswith(str(commit.value))


def detect_version() -> dict[str, Value]:
    """Return the attributes that identify the version of the code running in this process.

    These are the tags on spans of a provider without a resource of its own; see `docs/sdk.md` for
    the sources and their order. Empty when nothing is known. The first call blocks for at most a
    second.
    """
    with guest.shield("working out the version"):
        return Detection({}).attributes({})
    return {}


def _from_settings() -> Findings:
    found: Findings = {}
    for variable, attribute in _SETTINGS.items():
        _add(found, _found(clean_all({attribute: settings.text(variable)}), variable))
    dirty = settings.switch(settings.OTEL_VTRACK_DIRTY, default=None)
    _add(found, _found(clean_all({semconv.VTRACK_VCS_DIRTY: dirty}), settings.OTEL_VTRACK_DIRTY))
    tags = settings.pairs(settings.OTEL_VTRACK_TAGS)
    _add(found, _found(clean_all(tags), settings.OTEL_VTRACK_TAGS))
    return found


def _from_resource(resource: Mapping[str, object], source: str) -> Findings:
    found: Findings = {}
    for attribute in ON_RESOURCES:
        for name in (attribute, *_FORMER_NAMES.get(attribute, ())):
            _add(found, _found(clean_all({attribute: resource.get(name)}), source))
    return found


def _from_platforms() -> Findings:
    found: Findings = {}
    with guest.shield("reading CI and platform variables"):
        for attribute, said, platform in platforms.detect(os.environ):
            _add(found, _found(clean_all({attribute: said}), platform))
    return found


def _from_git() -> Findings:
    with guest.shield("reading git"):
        return _found(git.detect(), "git")
    return {}


def _found(attributes: Mapping[str, Value], source: str) -> Findings:
    cleaned = dict(attributes)
    for name, clean_address in _ADDRESSES.items():
        address = cleaned.get(name)
        if isinstance(address, str):
            # Whatever the source: a password would end up on every span.
            cleaned[name] = clean_address(address)
    return {name: Finding(value, source) for name, value in cleaned.items() if value != ""}


def _add(found: Findings, more: Findings) -> None:
    for name, finding in more.items():
        found.setdefault(name, finding)
