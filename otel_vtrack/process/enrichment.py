"""The enrichment settings: which attributes a Resource is to have."""

import fnmatch
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from otel_vtrack import semconv
from otel_vtrack.variables import expanded

SHORT_NAMES: Final = {
    "version": semconv.SERVICE_VERSION,
    "environment": semconv.DEPLOYMENT_ENVIRONMENT_NAME,
    "deployment_id": semconv.DEPLOYMENT_ID,
    "commit": semconv.VCS_REF_HEAD_REVISION,
    "branch": semconv.VCS_REF_HEAD_NAME,
    "repository": semconv.VCS_REPOSITORY_URL_FULL,
    "dirty": semconv.VTRACK_VCS_DIRTY,
    "experiment": semconv.VTRACK_EXPERIMENT,
}
"""Short names of attributes, as in the OTEL_VTRACK_VERSION variable of the SDK."""


def _written_out(given: Mapping[str, str]) -> dict[str, str]:
    for name, value in given.items():
        if not name or not value:
            raise ValueError(f"{name or 'an attribute'} has no name or no value; leave it out")
    return {SHORT_NAMES.get(name, name): value for name, value in given.items()}


Attributes = Annotated[dict[str, str], AfterValidator(_written_out)]


class EnrichRule(BaseModel):
    """Attributes for certain services; `*`, `?` and `[...]` match as in file names.

    Attributes:
        service: Pattern for service.name.
        namespace: Pattern for service.namespace.
        environment: Pattern for the environment that the service itself reports.
        attributes: The attributes to add.
        override: Whether they also replace existing values; None for the general setting.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    service: Annotated[str, Field(min_length=1)]
    namespace: str | None = None
    environment: str | None = None
    attributes: Attributes
    override: bool | None = None

    def matches(self, service: str, namespace: str, environment: str) -> bool:
        """Return whether the rule applies to a service."""
        pairs = (
            (service, self.service),
            (namespace, self.namespace),
            (environment, self.environment),
        )
        return all(it is None or fnmatch.fnmatchcase(said, it) for said, it in pairs)


class Enrich(BaseModel):
    """All enrichment settings, in order of precedence.

    Attributes:
        rules: Attributes by service; for each attribute the first matching rule wins.
        attributes: Attributes for every service.
        variables: Use OTEL_VTRACK_VERSION and the like from this process's environment.
        podinfo: Folder with the files of the Kubernetes downward API.
        deployment_file: File that describes the deployment.
        override: Also replace existing attributes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    rules: tuple[EnrichRule, ...] = ()
    attributes: Attributes = Field(default_factory=dict)
    variables: bool = False
    podinfo: Path | None = None
    deployment_file: Path | None = None
    override: bool = False

    @model_validator(mode="before")
    @classmethod
    def _from_environment(cls, given: Any) -> Any:
        return expanded(given)


class DeploymentFile(BaseModel):
    """The content of a deployment file.

    Attributes:
        rules: As in the settings.
        attributes: Attributes for every service.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    rules: tuple[EnrichRule, ...] = ()
    attributes: Attributes = Field(default_factory=dict)

    @classmethod
    def of(cls, given: Any, names: Mapping[str, str]) -> "DeploymentFile":
        """Validate a parsed file: `rules`, and attribute names with their values.

        Args:
            given: The top-level object of the file.
            names: Alternative names of attributes.

        Raises:
            ValueError: It is not a valid deployment file.
        """
        if not isinstance(given, dict):
            raise ValueError("it has no names and values")  # noqa: TRY004 - the file's type
        attributes = {names.get(name, name): value for name, value in given.items() if value != ""}
        rules = attributes.pop("rules", ())
        return cls.model_validate({"rules": rules, "attributes": attributes})
