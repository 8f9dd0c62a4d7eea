"""Which source says which version runs: the order of the sources, and each source."""

import importlib.metadata
import json
import sys

import pytest
from opentelemetry.sdk.resources import Resource

import otel_vtrack
from otel_vtrack.sdk import detect, distribution, platforms
from otel_vtrack.sdk.detect import Detection

COMMIT = "8f2d9c1b7a6e5d4c3b2a19f8e7d6c5b4a3f2e1d0"
VERSION = "service.version"


def sources(resource=None, **explicit):
    found = Detection({k: v for k, v in explicit.items() if v}).findings(resource or {})
    return {name: (finding.value, finding.source) for name, finding in found.items()}


def test_nothing_known_is_nothing_said():
    assert otel_vtrack.detect_version() == {}


def test_each_source_gives_way_to_the_one_before_it(monkeypatch):
    def version(resource=None, explicit=None):
        given = {VERSION: explicit} if explicit else {}
        return Detection(given).findings(resource or {})[VERSION]

    monkeypatch.setenv("OTEL_SERVICE_NAME", "otel-vtrack")
    own = importlib.metadata.version("otel-vtrack")
    assert version() == (own, "distribution")
    monkeypatch.setenv("GITLAB_CI", "true")
    monkeypatch.setenv("CI_COMMIT_TAG", "v5")
    assert version() == ("v5", "GitLab CI")
    monkeypatch.setenv("DYNO", "web.1")
    monkeypatch.setenv("HEROKU_RELEASE_VERSION", "v4")
    assert version() == ("v4", "Heroku")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "a=b,service.version=3%2E1")
    assert version() == ("3.1", "OTEL_RESOURCE_ATTRIBUTES")
    resource = {VERSION: "3"}
    assert version(resource) == ("3", "resource")
    monkeypatch.setenv("OTEL_VTRACK_VERSION", "2")
    assert version(resource) == ("2", "OTEL_VTRACK_VERSION")
    assert version(resource, "1") == ("1", "argument")


def test_each_attribute_has_its_own_first_source(monkeypatch):
    monkeypatch.setenv("OTEL_VTRACK_VERSION", "2")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_SHA", COMMIT)
    monkeypatch.setenv("GITHUB_RUN_ID", "77")
    assert sources({"deployment.environment": "staging"}) == {
        VERSION: ("2", "OTEL_VTRACK_VERSION"),
        "deployment.environment.name": ("staging", "resource"),
        "vcs.ref.head.revision": (COMMIT, "GitHub Actions"),
        "cicd.pipeline.run.id": ("77", "GitHub Actions"),
    }


def test_every_setting_has_its_attribute(monkeypatch):
    for name in ("VERSION", "ENVIRONMENT", "DEPLOYMENT_ID", "COMMIT", "BRANCH", "EXPERIMENT"):
        monkeypatch.setenv(f"OTEL_VTRACK_{name}", name.lower())
    monkeypatch.setenv("OTEL_VTRACK_REPOSITORY", "https://me:secret@code.example/a/b.git")
    monkeypatch.setenv("OTEL_VTRACK_DIRTY", "no")
    monkeypatch.setenv("OTEL_VTRACK_TAGS", "team=search, region = eu%2Cwest ,broken,=x")
    assert otel_vtrack.detect_version() == {
        VERSION: "version",
        "deployment.environment.name": "environment",
        "deployment.id": "deployment_id",
        "vcs.ref.head.revision": "commit",
        "vcs.ref.head.name": "branch",
        "vtrack.experiment": "experiment",
        "vcs.repository.url.full": "https://code.example/a/b",
        "vtrack.vcs.dirty": False,
        "team": "search",
        "region": "eu,west",
    }


def test_no_source_puts_the_password_of_a_repository_on_spans(monkeypatch):
    address = {"vcs.repository.url.full": "https://me:secret@code.example/a/b.git"}
    shown = "https://code.example/a/b"
    assert Detection(address).attributes({}) == dict.fromkeys(address, shown)
    assert Detection({}).attributes(address) == dict.fromkeys(address, shown)
    [[name, value]] = address.items()
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", f"{name}={value}")
    assert otel_vtrack.detect_version() == dict.fromkeys(address, shown)


def test_no_source_puts_the_password_of_a_pipeline_s_page_on_the_resource(monkeypatch):
    monkeypatch.setenv("JENKINS_URL", "https://ci.example/")
    monkeypatch.setenv("BUILD_URL", "https://me:secret@ci.example/5?a=b")
    found = Detection({}).attributes({}, detect.ON_RESOURCES)
    assert found == {"cicd.pipeline.run.url.full": "https://ci.example/5?a=b"}


GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SHA": COMMIT,
    "GITHUB_REF_TYPE": "branch",
    "GITHUB_REF_NAME": "main",
    "GITHUB_SERVER_URL": "https://code.example",
    "GITHUB_REPOSITORY": "shop/checkout",
    "GITHUB_RUN_ID": "77",
    "GITHUB_WORKFLOW": "ci",
    "GITHUB_HEAD_REF": "",
}
AZURE = {
    "TF_BUILD": "True",
    "BUILD_SOURCEVERSION": COMMIT,
    "BUILD_SOURCEBRANCH": "refs/heads/feature/x",
    "BUILD_REPOSITORY_URI": "https://token@code.example/shop/checkout.git",
    "BUILD_BUILDID": "9",
    "BUILD_DEFINITIONNAME": "ci",
    "SYSTEM_COLLECTIONURI": "https://azure.example/shop/",
    "SYSTEM_TEAMPROJECT": "checkout",
}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (
            GITHUB,
            {
                "vcs.ref.head.revision": COMMIT,
                "vcs.ref.head.name": "main",
                "vcs.repository.url.full": "https://code.example/shop/checkout",
                "cicd.pipeline.run.id": "77",
                "cicd.pipeline.run.url.full": "https://code.example/shop/checkout/actions/runs/77",
                "cicd.pipeline.name": "ci",
            },
        ),
        (
            {**GITHUB, "GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": "v2.4.0"},
            {VERSION: "v2.4.0", "vcs.ref.head.name": None},
        ),
        (
            {**GITHUB, "GITHUB_HEAD_REF": "fix-it", "GITHUB_REF_NAME": "12/merge"},
            {"vcs.ref.head.name": "fix-it"},
        ),
        (
            {
                "GITLAB_CI": "true",
                "CI_COMMIT_SHA": COMMIT,
                "CI_COMMIT_BRANCH": "main",
                "CI_PROJECT_URL": "https://code.example/shop/checkout",
                "CI_PIPELINE_ID": "8",
                "CI_PIPELINE_URL": "https://code.example/p/8",
                "CI_PROJECT_PATH": "shop/checkout",
                "CI_ENVIRONMENT_NAME": "production",
            },
            {
                "vcs.ref.head.revision": COMMIT,
                "vcs.ref.head.name": "main",
                "vcs.repository.url.full": "https://code.example/shop/checkout",
                "cicd.pipeline.run.id": "8",
                "cicd.pipeline.run.url.full": "https://code.example/p/8",
                "cicd.pipeline.name": "shop/checkout",
                "deployment.environment.name": "production",
            },
        ),
        (
            {
                "JENKINS_URL": "https://ci.example/",
                "GIT_COMMIT": COMMIT,
                "GIT_BRANCH": "origin/main",
                "GIT_URL": "git@code.example:shop/checkout.git",
                "BUILD_ID": "5",
                "BUILD_URL": "https://ci.example/5",
                "JOB_NAME": "checkout",
            },
            {
                "vcs.ref.head.revision": COMMIT,
                "vcs.ref.head.name": "main",
                "vcs.repository.url.full": "https://code.example/shop/checkout",
                "cicd.pipeline.run.id": "5",
                "cicd.pipeline.run.url.full": "https://ci.example/5",
                "cicd.pipeline.name": "checkout",
            },
        ),
        (
            {
                "CIRCLECI": "true",
                "CIRCLE_SHA1": COMMIT,
                "CIRCLE_BRANCH": "main",
                "CIRCLE_WORKFLOW_ID": "w-1",
                "CIRCLE_TAG": "v1",
            },
            {
                "vcs.ref.head.revision": COMMIT,
                "vcs.ref.head.name": "main",
                "cicd.pipeline.run.id": "w-1",
                VERSION: "v1",
            },
        ),
        (
            {"BUILDKITE": "true", "BUILDKITE_COMMIT": "HEAD", "BUILDKITE_BRANCH": "main"},
            {"vcs.ref.head.revision": None, "vcs.ref.head.name": "main"},
        ),
        (
            AZURE,
            {
                "vcs.ref.head.revision": COMMIT,
                "vcs.ref.head.name": "feature/x",
                "vcs.repository.url.full": "https://code.example/shop/checkout",
                "cicd.pipeline.run.id": "9",
                "cicd.pipeline.run.url.full": (
                    "https://azure.example/shop/checkout/_build/results?buildId=9"
                ),
                "cicd.pipeline.name": "ci",
            },
        ),
        (
            {**AZURE, "BUILD_SOURCEBRANCH": "refs/tags/v3"},
            {VERSION: "v3", "vcs.ref.head.name": None},
        ),
        (
            {
                "BITBUCKET_BUILD_NUMBER": "4",
                "BITBUCKET_COMMIT": COMMIT,
                "BITBUCKET_BRANCH": "main",
                "BITBUCKET_DEPLOYMENT_ENVIRONMENT": "test",
            },
            {
                "vcs.ref.head.revision": COMMIT,
                "vcs.ref.head.name": "main",
                "deployment.environment.name": "test",
                "cicd.pipeline.run.id": "4",
            },
        ),
        (
            {
                "DYNO": "web.1",
                "HEROKU_RELEASE_VERSION": "v42",
                "HEROKU_SLUG_COMMIT": COMMIT,
            },
            {VERSION: "v42", "deployment.id": "v42", "vcs.ref.head.revision": COMMIT},
        ),
        (
            {"RENDER": "true", "RENDER_GIT_COMMIT": COMMIT, "RENDER_GIT_BRANCH": "main"},
            {"vcs.ref.head.revision": COMMIT, "vcs.ref.head.name": "main"},
        ),
        (
            {"FLY_APP_NAME": "a", "FLY_IMAGE_REF": "images.example/a:deployment-01H"},
            {"deployment.id": "deployment-01H"},
        ),
        (
            {"FLY_APP_NAME": "a", "FLY_IMAGE_REF": "images.example:5000/a@sha256:00ff"},
            {"deployment.id": None},
        ),
        (
            {"AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_LAMBDA_FUNCTION_VERSION": "17"},
            {VERSION: "17"},
        ),
        (
            {"AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST"},
            {VERSION: None},
        ),
        ({"K_REVISION": "checkout-00041-kib"}, {"deployment.id": "checkout-00041-kib"}),
        ({"GIT_COMMIT": COMMIT, "CI_COMMIT_SHA": COMMIT}, {"vcs.ref.head.revision": None}),
    ],
)
def test_platforms_are_read_where_their_marker_is_set(monkeypatch, variables, expected):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = Detection({}).attributes({}, detect.ON_RESOURCES)
    if None in expected.values():  # the point is one attribute
        found = {name: found.get(name) for name in expected}
    elif len(expected) == 1 and len(found) > 1:
        found = {name: found[name] for name in expected}
    assert found == expected


def test_every_attribute_of_the_table_is_one_we_put_somewhere():
    for platform in platforms.PLATFORMS:
        assert platform.attributes.keys() <= set(detect.ON_RESOURCES), platform.name


def test_the_files_of_kubernetes_downward_api_are_read(monkeypatch, tmp_path):
    (tmp_path / "labels").write_text(
        'app="checkout"\napp.kubernetes.io/version="2.4.0"\npod-template-hash="6d4c"\n'
    )
    (tmp_path / "annotations").write_text(
        'note="two\\nlines = \\"quoted\\""\n'
        'resource.opentelemetry.io/deployment.environment.name="production"\n'
        "broken line\n"
    )
    monkeypatch.setenv("OTEL_VTRACK_PODINFO", str(tmp_path))
    assert otel_vtrack.detect_version() == {
        VERSION: "2.4.0",
        "deployment.id": "6d4c",
        "deployment.environment.name": "production",
    }


def test_a_launcher_is_not_the_application(monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "pytest", "app:main"])
    assert distribution.version(None) is None


def test_a_launcher_is_not_the_application_even_if_the_service_is_called_like_it(
    monkeypatch, tmp_path
):
    info = tmp_path / "site" / "Gunicorn-27.0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: Gunicorn\nVersion: 27.0.1\n")
    (info / "entry_points.txt").write_text("[console_scripts]\ngunicorn = gunicorn:run\n")
    # As packages of conda have.
    (info / "direct_url.json").write_text(json.dumps({"url": "file:///build", "dir_info": {}}))
    monkeypatch.syspath_prepend(str(info.parent))
    for argv in (["python", "/bin/gunicorn", "shop:app"], ["python", "-m", "gunicorn", "shop:app"]):
        monkeypatch.setattr(sys, "orig_argv", argv)
        for service in ("gunicorn", "Gunicorn", "shop", None):
            assert distribution.version(service) is None
    monkeypatch.setenv("OTEL_VTRACK_DISTRIBUTION", "gunicorn")
    assert distribution.version("shop") == "27.0.1", "the settings say so"


def test_a_program_installed_from_source_is_the_application(monkeypatch, tmp_path):
    info = tmp_path / "site" / "shop-7.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 7.1\n")
    (info / "entry_points.txt").write_text("[console_scripts]\nshop-serve = shop:main\n")
    monkeypatch.syspath_prepend(str(info.parent))
    script = ["python", "-X", "dev", "/somewhere/bin/shop-serve", "-m", "x"]
    for argv in (script, ["python", "-m", "shop.cli"]):
        monkeypatch.setattr(sys, "orig_argv", argv)
        assert distribution.version(None) is None, "from an index it may be any program"
    (info / "direct_url.json").write_text(json.dumps({"url": "file:///src", "dir_info": {}}))
    for argv in (script, ["python", "-m", "shop.cli"]):
        monkeypatch.setattr(sys, "orig_argv", argv)
        assert distribution.version(None) == "7.1"
    for options in (["-Im", "shop"], ["-mshop.cli"], ["-um", "shop"], ["-Wd", "-mshop"]):
        monkeypatch.setattr(sys, "orig_argv", ["python", *options, "x"])
        assert distribution.version(None) == "7.1"
    # As conda's packages are, whose `direct_url.json` tells of the machine that built them.
    for installer, version in (("conda\n", None), ("pip\n", "7.1")):
        (info / "INSTALLER").write_text(installer)
        assert distribution.version(None) == version
    for options in (
        ["-c", "pass"],
        ["-cpass"],
        ["-Ic", "pass"],
        ["-mother"],
        ["-Xdev", "other.py"],
    ):
        monkeypatch.setattr(sys, "orig_argv", ["python", *options, "shop-serve"])
        assert distribution.version(None) is None


def test_a_distribution_may_be_named_or_named_like_the_service(monkeypatch):
    own = importlib.metadata.version("otel-vtrack")
    assert distribution.version("otel-vtrack") == own
    assert distribution.version("no-such-distribution") is None
    monkeypatch.setenv("OTEL_VTRACK_DISTRIBUTION", "otel-vtrack")
    assert distribution.version("no-such-distribution") == own


def test_the_service_is_the_one_that_the_resource_names(monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "opentelemetry-sdk")
    found = detect.Detection({}).attributes({"service.name": "otel-vtrack"})
    assert found["service.version"] == importlib.metadata.version("otel-vtrack")


def test_a_resource_with_the_older_names_is_understood():
    older = Resource(
        {"deployment.environment": "staging", "vcs.repository.ref.revision": COMMIT, VERSION: ""}
    )
    assert Detection({}).attributes(older.attributes) == {
        "deployment.environment.name": "staging",
        "vcs.ref.head.revision": COMMIT,
    }
