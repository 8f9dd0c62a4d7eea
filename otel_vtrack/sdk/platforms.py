"""Version attributes from the environment variables of CI systems and hosting platforms.

Mostly a table. A platform counts only when its marker is set, so a stray ``GIT_COMMIT`` means
nothing outside Jenkins. Each attribute comes from the first platform that has it: where the code
*runs* precedes what *built* it, because build variables can remain in an image and because a
pipeline may be running a deployed service.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from otel_vtrack import semconv
from otel_vtrack.sdk import settings

_VERSION: Final = semconv.SERVICE_VERSION
_ENVIRONMENT: Final = semconv.DEPLOYMENT_ENVIRONMENT_NAME
_DEPLOYMENT: Final = semconv.DEPLOYMENT_ID
_COMMIT: Final = semconv.VCS_REF_HEAD_REVISION
_BRANCH: Final = semconv.VCS_REF_HEAD_NAME
_REPOSITORY: Final = semconv.VCS_REPOSITORY_URL_FULL
_RUN: Final = semconv.CICD_PIPELINE_RUN_ID
_RUN_URL: Final = semconv.CICD_PIPELINE_RUN_URL_FULL
_PIPELINE: Final = semconv.CICD_PIPELINE_NAME


class Env(NamedTuple):
    """A value built from variables; absent if any of them is unset or empty.

    With a `pattern`, the value is the pattern's first group; absent without a match.
    """

    template: str
    pattern: str = ""


class Platform(NamedTuple):
    """One system: the variable that identifies it, and the sources of each attribute."""

    name: str
    marker: str
    attributes: Mapping[str, tuple[Env, ...]]


_A_BRANCH: Final = r"^(?:refs/heads/|origin/)?(?!refs/)(.+)$"
_A_COMMIT: Final = r"^([0-9a-fA-F]{7,64})$"  # Buildkite sets HEAD until it has resolved the commit

PLATFORMS: Final = (
    # --- where it runs ---
    Platform(
        "Kubernetes downward API",
        "podinfo",
        {
            _VERSION: (
                Env("{annotations[resource.opentelemetry.io/service.version]}"),
                Env("{labels[app.kubernetes.io/version]}"),
            ),
            _ENVIRONMENT: (
                Env("{annotations[resource.opentelemetry.io/deployment.environment.name]}"),
            ),
            _DEPLOYMENT: (
                Env("{annotations[resource.opentelemetry.io/deployment.id]}"),
                Env("{labels[pod-template-hash]}"),
                Env("{labels[controller-revision-hash]}"),
            ),
            _COMMIT: (Env("{annotations[resource.opentelemetry.io/vcs.ref.head.revision]}"),),
            _BRANCH: (Env("{annotations[resource.opentelemetry.io/vcs.ref.head.name]}"),),
            _REPOSITORY: (Env("{annotations[resource.opentelemetry.io/vcs.repository.url.full]}"),),
        },
    ),
    Platform(
        "AWS Lambda",
        "AWS_LAMBDA_FUNCTION_NAME",
        {
            # $LATEST is a pointer, not a version.
            _VERSION: (Env("{AWS_LAMBDA_FUNCTION_VERSION}", r"^(\d+)$"),),
        },
    ),
    Platform("Cloud Run", "K_REVISION", {_DEPLOYMENT: (Env("{K_REVISION}"),)}),
    Platform(
        "App Engine",
        "GAE_SERVICE",
        {_VERSION: (Env("{GAE_VERSION}"),), _DEPLOYMENT: (Env("{GAE_DEPLOYMENT_ID}"),)},
    ),
    Platform(
        "Azure Container Apps",
        "CONTAINER_APP_NAME",
        {_DEPLOYMENT: (Env("{CONTAINER_APP_REVISION}"),)},
    ),
    Platform(
        "Heroku",
        "DYNO",
        {
            _VERSION: (Env("{HEROKU_RELEASE_VERSION}"),),
            _DEPLOYMENT: (Env("{HEROKU_RELEASE_VERSION}"),),
            _COMMIT: (Env("{HEROKU_BUILD_COMMIT}"), Env("{HEROKU_SLUG_COMMIT}")),
        },
    ),
    Platform(
        "Render",
        "RENDER",
        {_COMMIT: (Env("{RENDER_GIT_COMMIT}"),), _BRANCH: (Env("{RENDER_GIT_BRANCH}"),)},
    ),
    Platform(
        "Fly",
        "FLY_APP_NAME",
        # The image tag changes with every deployment; FLY_MACHINE_VERSION also on a scale-up.
        {_DEPLOYMENT: (Env("{FLY_IMAGE_REF}", r"^[^@]*:([^:/@]+)(?:@.*)?$"),)},
    ),
    Platform(
        "Vercel",
        "VERCEL",
        {
            _ENVIRONMENT: (Env("{VERCEL_TARGET_ENV}"), Env("{VERCEL_ENV}")),
            _DEPLOYMENT: (Env("{VERCEL_DEPLOYMENT_ID}"),),
            _COMMIT: (Env("{VERCEL_GIT_COMMIT_SHA}"),),
            _BRANCH: (Env("{VERCEL_GIT_COMMIT_REF}"),),
        },
    ),
    Platform(
        "Railway",
        "RAILWAY_PROJECT_ID",
        {
            _ENVIRONMENT: (Env("{RAILWAY_ENVIRONMENT_NAME}"),),
            _DEPLOYMENT: (Env("{RAILWAY_DEPLOYMENT_ID}"),),
            _COMMIT: (Env("{RAILWAY_GIT_COMMIT_SHA}"),),
            _BRANCH: (Env("{RAILWAY_GIT_BRANCH}"),),
        },
    ),
    # --- what built it ---
    Platform(
        "GitHub Actions",
        "GITHUB_ACTIONS",
        {
            _VERSION: (Env("{GITHUB_REF_TYPE}:{GITHUB_REF_NAME}", r"^tag:(.+)$"),),
            _COMMIT: (Env("{GITHUB_SHA}"),),
            _BRANCH: (
                Env("{GITHUB_HEAD_REF}"),  # set for a pull request, whose own ref is 12/merge
                Env("{GITHUB_REF_TYPE}:{GITHUB_REF_NAME}", r"^branch:(.+)$"),
            ),
            _REPOSITORY: (Env("{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}"),),
            _RUN: (Env("{GITHUB_RUN_ID}"),),
            _RUN_URL: (
                Env("{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/actions/runs/{GITHUB_RUN_ID}"),
            ),
            _PIPELINE: (Env("{GITHUB_WORKFLOW}"),),
        },
    ),
    Platform(
        "GitLab CI",
        "GITLAB_CI",
        {
            _VERSION: (Env("{CI_COMMIT_TAG}"),),
            _ENVIRONMENT: (Env("{CI_ENVIRONMENT_NAME}"),),
            _COMMIT: (Env("{CI_COMMIT_SHA}"),),
            _BRANCH: (
                Env("{CI_MERGE_REQUEST_SOURCE_BRANCH_NAME}"),
                Env("{CI_COMMIT_BRANCH}"),
            ),
            _REPOSITORY: (Env("{CI_PROJECT_URL}"),),
            _RUN: (Env("{CI_PIPELINE_ID}"),),
            _RUN_URL: (Env("{CI_PIPELINE_URL}"),),
            _PIPELINE: (Env("{CI_PIPELINE_NAME}"), Env("{CI_PROJECT_PATH}")),
        },
    ),
    Platform(
        "Jenkins",
        "JENKINS_URL",
        {
            _VERSION: (Env("{TAG_NAME}"),),
            _COMMIT: (Env("{GIT_COMMIT}"),),
            _BRANCH: (Env("{CHANGE_BRANCH}"), Env("{BRANCH_NAME}"), Env("{GIT_BRANCH}", _A_BRANCH)),
            _REPOSITORY: (Env("{GIT_URL}"),),
            _RUN: (Env("{BUILD_ID}"),),
            _RUN_URL: (Env("{BUILD_URL}"),),
            _PIPELINE: (Env("{JOB_NAME}"),),
        },
    ),
    Platform(
        "CircleCI",
        "CIRCLECI",
        {
            _VERSION: (Env("{CIRCLE_TAG}"),),
            _COMMIT: (Env("{CIRCLE_SHA1}"),),
            _BRANCH: (Env("{CIRCLE_BRANCH}"),),
            _REPOSITORY: (Env("{CIRCLE_REPOSITORY_URL}"),),
            _RUN: (Env("{CIRCLE_WORKFLOW_ID}"),),
            _RUN_URL: (Env("{CIRCLE_BUILD_URL}"),),
            _PIPELINE: (Env("{CIRCLE_PROJECT_REPONAME}"),),
        },
    ),
    Platform(
        "Buildkite",
        "BUILDKITE",
        {
            _VERSION: (Env("{BUILDKITE_TAG}"),),
            _COMMIT: (Env("{BUILDKITE_COMMIT}", _A_COMMIT),),
            _BRANCH: (Env("{BUILDKITE_BRANCH}"),),
            _REPOSITORY: (Env("{BUILDKITE_REPO}"),),
            _RUN: (Env("{BUILDKITE_BUILD_ID}"),),
            _RUN_URL: (Env("{BUILDKITE_BUILD_URL}"),),
            _PIPELINE: (Env("{BUILDKITE_PIPELINE_NAME}"), Env("{BUILDKITE_PIPELINE_SLUG}")),
        },
    ),
    Platform(
        "Azure Pipelines",
        "TF_BUILD",
        {
            _VERSION: (Env("{BUILD_SOURCEBRANCH}", r"^refs/tags/(.+)$"),),
            _ENVIRONMENT: (Env("{ENVIRONMENT_NAME}"), Env("{RELEASE_ENVIRONMENTNAME}")),
            _DEPLOYMENT: (Env("{RELEASE_DEPLOYMENTID}"),),
            _COMMIT: (Env("{BUILD_SOURCEVERSION}"),),
            _BRANCH: (
                Env("{SYSTEM_PULLREQUEST_SOURCEBRANCH}", _A_BRANCH),
                Env("{BUILD_SOURCEBRANCH}", _A_BRANCH),
            ),
            _REPOSITORY: (Env("{BUILD_REPOSITORY_URI}"),),
            _RUN: (Env("{BUILD_BUILDID}"),),
            _RUN_URL: (
                Env(
                    "{SYSTEM_COLLECTIONURI}{SYSTEM_TEAMPROJECT}/_build/results?buildId={BUILD_BUILDID}"
                ),
            ),
            _PIPELINE: (Env("{BUILD_DEFINITIONNAME}"),),
        },
    ),
    Platform(
        "Bitbucket Pipelines",
        "BITBUCKET_BUILD_NUMBER",
        {
            _VERSION: (Env("{BITBUCKET_TAG}"),),
            _ENVIRONMENT: (Env("{BITBUCKET_DEPLOYMENT_ENVIRONMENT}"),),
            _COMMIT: (Env("{BITBUCKET_COMMIT}"),),
            _BRANCH: (Env("{BITBUCKET_BRANCH}"),),
            _REPOSITORY: (Env("{BITBUCKET_GIT_HTTP_ORIGIN}"),),
            _RUN: (Env("{BITBUCKET_PIPELINE_UUID}"), Env("{BITBUCKET_BUILD_NUMBER}")),
            _RUN_URL: (
                Env(
                    "{BITBUCKET_GIT_HTTP_ORIGIN}/pipelines/results/{BITBUCKET_BUILD_NUMBER}",
                ),
            ),
            _PIPELINE: (Env("{BITBUCKET_REPO_FULL_NAME}"),),
        },
    ),
)


def detect(environment: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield (attribute, value, platform); the first for each attribute counts."""
    known: dict[str, object] = {**environment, **_podinfo()}
    for platform in PLATFORMS:
        if not known.get(platform.marker):
            continue
        for attribute, sources in platform.attributes.items():
            value = _first(sources, known)
            if value:
                yield attribute, value, platform.name


def _first(sources: Iterable[Env], known: Mapping[str, object]) -> str:
    for template, pattern in sources:
        names = re.findall(r"\{(\w+)\}", template)
        if not all(known.get(name) for name in names):
            continue
        try:
            value = template.format_map(known).strip()
        except KeyError:  # no such label
            continue
        match = re.search(pattern, value) if pattern else None
        value = match[1] if match else "" if pattern else value
        if value:
            return value
    return ""


def _podinfo() -> dict[str, object]:
    """Read the downward API's files, lines of `key="value"`; no entries if not mounted."""
    folder = Path(settings.text(settings.OTEL_VTRACK_PODINFO) or "/etc/podinfo")
    files: dict[str, object] = {}
    for name in ("labels", "annotations"):
        try:
            lines = (folder / name).read_text(errors="replace").splitlines()
        except OSError:
            lines = []
        parsed = (line.partition("=") for line in lines)
        files[name] = {key: _unquote(value) for key, _, value in parsed}
    return {**files, "podinfo": any(files.values())}


def _unquote(value: str) -> str:
    # Kubernetes writes Go's %q; a value that is not also JSON is not a version.
    import json  # noqa: PLC0415 - needed only in a pod with these files

    try:
        return str(json.loads(value))
    except ValueError:
        return ""
