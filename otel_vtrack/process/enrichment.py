"""Which attributes a Resource is to have, as the settings say it."""

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
"""What attributes may be called for short, as in OTEL_VTRACK_VERSION of the application's half."""


def _written_out(given: Mapping[str, str]) -> dict[str, str]:
    for name, value in given.items():
        if not name or not value:
            raise ValueError(f"{name or 'an attribute'} has no name or no value; leave it out")
    return {SHORT_NAMES.get(name, name): value for name, value in given.items()}


Attributes = Annotated[dict[str, str], AfterValidator(_written_out)]


class EnrichRule(BaseModel):
    """Attributes of some services; `*`, `?` and `[...]` match as in file names.

    Attributes:
        service: Their service.name.
        namespace: Their service.namespace.
        environment: Where they run, as they say it themselves.
        attributes: What they get.
        override: Whether also in place of what they have; unless told, as for all others.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    service: Annotated[str, Field(min_length=1)]
    namespace: str | None = None
    environment: str | None = None
    attributes: Attributes
    override: bool | None = None

    def matches(self, service: str, namespace: str, environment: str) -> bool:
        """Say whether a service is one of them."""
        pairs = (
            (service, self.service),
            (namespace, self.namespace),
            (environment, self.environment),
        )
        return all(it is None or fnmatch.fnmatchcase(said, it) for said, it in pairs)


class Enrich(BaseModel):
    """All of it, in the order in which it counts.

    Attributes:
        rules: By service; of two that match the first that has an attribute gives it.
        attributes: Of every service.
        variables: Take OTEL_VTRACK_VERSION and its like from this process's environment.
        podinfo: Folder with the files of Kubernetes' downward API.
        deployment_file: File that says what is deployed.
        override: Set attributes also in place of what is there.
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
    """What a deployment file says.

    Attributes:
        rules: As in the settings.
        attributes: Of every service.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    rules: tuple[EnrichRule, ...] = ()
    attributes: Attributes = Field(default_factory=dict)

    @classmethod
    def of(cls, given: Any, names: Mapping[str, str]) -> "DeploymentFile":
        """Read what a file was parsed to: `rules`, and names of attributes with their values.

        Args:
            given: The outermost object of the file.
            names: What attributes may be called beside their own names.

        Raises:
            ValueError: It is none.
        """
        if not isinstance(given, dict):
            raise ValueError("it has no names with values")  # noqa: TRY004 - a file's, not a caller's
        attributes = {names.get(name, name): value for name, value in given.items() if value != ""}
        rules = attributes.pop("rules", ())
        return cls.model_validate({"rules": rules, "attributes": attributes})
