"""VersionResourceDetector: the version on the resource."""

import pytest
from opentelemetry.sdk.resources import Resource

from otel_vtrack.sdk import detect
from otel_vtrack.sdk.resource import VersionResourceDetector


@pytest.fixture
def chosen(monkeypatch):
    monkeypatch.setenv("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "vtrack,otel")


def test_the_detector_is_found_by_name_and_gives_what_spans_do_not_repeat(chosen, monkeypatch):
    monkeypatch.setenv("OTEL_VTRACK_VERSION", "2.4.0")
    monkeypatch.setenv("GITLAB_CI", "true")
    monkeypatch.setenv("CI_PIPELINE_URL", "https://code.example/p/8")
    attributes = Resource.create().attributes
    assert attributes["service.version"] == "2.4.0"
    assert attributes["cicd.pipeline.run.url.full"] == "https://code.example/p/8"


def test_attributes_given_in_code_or_by_the_standard_variable_stay(chosen, monkeypatch):
    monkeypatch.setenv("GITLAB_CI", "true")
    monkeypatch.setenv("CI_COMMIT_TAG", "v5")
    monkeypatch.setenv("CI_ENVIRONMENT_NAME", "review")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=production")
    attributes = Resource.create({"service.version": "2"}).attributes
    assert attributes["service.version"] == "2"
    assert attributes["deployment.environment.name"] == "production"


def test_a_detector_that_fails_gives_an_empty_resource(monkeypatch):
    monkeypatch.delenv("OTEL_VTRACK_RAISE_ERRORS")
    monkeypatch.setattr(detect, "Detection", None)
    assert VersionResourceDetector().detect().attributes == {}
