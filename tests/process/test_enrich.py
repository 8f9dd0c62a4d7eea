"""Which attributes a Resource gets, from where, and that nothing else changes."""

import json
import logging
import os
import re
from pathlib import Path

import pydantic
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_vtrack.process import sources
from otel_vtrack.process.enrich import CHAINS, Enricher
from otel_vtrack.process.enrichment import SHORT_NAMES, Enrich
from otel_vtrack.sdk import platforms
from otel_vtrack.sdk import settings as sdk_settings
from otel_vtrack.wire import framing

MAPPING = (Path(__file__).parents[2] / "docs" / "mapping.md").read_text(encoding="utf-8")


def request_of(*resources) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    for number, attributes in enumerate(resources):
        group = request.resource_spans.add(schema_url=f"s{number}")
        for key, value in attributes.items():
            group.resource.attributes.add(key=key).value.string_value = value
        group.scope_spans.add().spans.add(name=f"span {number}")
    return request


def attributes_of(payload):
    return [
        {pair.key: pair.value.string_value for pair in group.resource.attributes}
        for group in ExportTraceServiceRequest.FromString(payload).resource_spans
    ]


def enriched(has, environment=(), **given):
    """What a Resource has in the end."""
    enrich = Enricher(Enrich(**given), dict(environment))
    payload, _ = enrich(request_of(has).SerializeToString())
    return attributes_of(payload)[0]


def test_other_names_of_an_attribute_are_those_that_the_store_reads():
    rows = re.findall(r"^\| `\w+` \| (`.+`) \|$", MAPPING, re.MULTILINE)
    chains = [tuple(re.findall(r"`([^`]+)`", row)) for row in rows]
    assert {(name, *others) for name, others in CHAINS.items()} <= set(chains)
    assert set(SHORT_NAMES.values()) - CHAINS.keys() == {"vtrack.experiment"}
    for name, attribute in SHORT_NAMES.items():
        variable = getattr(sdk_settings, f"OTEL_VTRACK_{name.upper()}")
        assert sources.of_environment({variable: " x "}) == {attribute: "x"}


@pytest.mark.parametrize("name", ["service.version", *CHAINS["service.version"]])
def test_what_is_there_under_any_name_stays_unless_told_otherwise(name):
    given = {"attributes": {"version": "2", "team": "a"}}
    assert enriched({name: "1"}, **given) == {name: "1", "team": "a"}
    told = enriched({name: "1"}, override=True, **given)
    assert told == {name: "1"} | {"service.version": "2", "team": "a"}
    # Empty is not there.
    assert enriched({name: ""}, **given) == {name: "", "service.version": "2", "team": "a"}


def test_an_attribute_that_is_replaced_is_there_once():
    enrich = Enricher(Enrich(attributes={"version": "2", "team": "a"}, override=True), {})
    has = {"service.version": "1", "region": "eu"}
    payload, _ = enrich(request_of(has).SerializeToString())
    wanted = request_of(has | {"service.version": "2", "team": "a"})
    assert ExportTraceServiceRequest.FromString(payload) == wanted


def test_sources_count_in_their_order(tmp_path):
    (tmp_path / "labels").write_text('app.kubernetes.io/version="pod"\npod-template-hash="5d4"\n')
    (tmp_path / "annotations").write_text(
        'resource.opentelemetry.io/team="\\"a\\"\\u00fc"\nother="x"\nresource.opentelemetry.io/bad=\\x\n'
    )
    file = tmp_path / "deployment"
    file.write_text("version: file\ndeployment_id: file\nregion: eu\nteam: file\n")
    given = {
        "rules": [
            {"service": "shop", "attributes": {"version": "rule 1"}},
            {"service": "sh*", "attributes": {"version": "rule 2", "a": "rule 2"}},
        ],
        "attributes": {"version": "settings", "a": "settings", "commit": "settings"},
        "variables": True,
        "podinfo": tmp_path,
        "deployment_file": file,
    }
    environment = {
        "OTEL_VTRACK_COMMIT": "variable",
        "OTEL_VTRACK_BRANCH": "variable",
        "OTEL_VTRACK_TAGS": "zone=1%2C2,bad,=x",
        # What a CI system says is about this process.
        "GITHUB_ACTIONS": "true",
        "GITHUB_SHA": "0123456789",
    }
    assert enriched({"service.name": "shop"}, environment, **given) == {
        "service.name": "shop",
        "service.version": "rule 1",
        "a": "rule 2",
        "vcs.ref.head.revision": "settings",
        "vcs.ref.head.name": "variable",
        "zone": "1,2",
        "deployment.id": "5d4",
        "team": '"a"ü',
        "region": "eu",
    }
    assert enriched({}, environment, **given)["service.version"] == "settings"
    del given["variables"], given["attributes"]
    assert enriched({}, environment, **given)["service.version"] == "pod"


def test_the_pod_says_the_same_here_and_in_the_application(tmp_path, monkeypatch):
    monkeypatch.setenv(sdk_settings.OTEL_VTRACK_PODINFO, str(tmp_path))
    names = [name for name in SHORT_NAMES.values() if not name.startswith("vtrack.")]
    annotations = [f'resource.opentelemetry.io/{name}="of {name}"' for name in names]
    labels = ("app.kubernetes.io/version", "pod-template-hash", "controller-revision-hash")
    for count in range(len(labels), -1, -1):
        (tmp_path / "labels").write_text("\n".join(f'{key}="of {key}"' for key in labels[:count]))
        for lines in (annotations, []):
            (tmp_path / "annotations").write_text("\n".join(lines))
            known = {
                name: value
                for name, value, platform in platforms.detect({})
                if platform == "Kubernetes downward API"
            }
            assert sources.podinfo(tmp_path).value == known


def test_rules_are_by_service_namespace_and_environment():
    def given(override=None, **rule):
        return {"rules": [{"attributes": {"team": "b"}, "override": override, **rule}]}

    has = {"service.name": "Shop", "service.namespace": "x", "env": "prod-1"}
    for rule, expected in [
        ({"service": "Shop"}, "b"),
        ({"service": "shop"}, None),
        ({"service": "*"}, "b"),
        ({"service": "*", "namespace": "x", "environment": "prod-?"}, "b"),
        ({"service": "*", "namespace": "y"}, None),
        ({"service": "*", "environment": "prod"}, None),
    ]:
        assert enriched(has, **given(**rule)).get("team") == expected
    assert enriched(has | {"team": "a"}, **given(service="*"))["team"] == "a"
    assert enriched(has | {"team": "a"}, **given(service="*", override=True))["team"] == "b"
    told = given(service="*", override=False) | {"override": True}
    assert enriched(has | {"team": "a"}, **told)["team"] == "a"


def test_all_else_stays_byte_for_byte():
    enrich = Enricher(Enrich(attributes={"version": "2"}))
    request = request_of({"a": "b"}, {"service.version": "1"}, {})
    request.resource_spans[2].ClearField("resource")
    payload = request.SerializeToString() + b"\xf2\x3f\x03new"
    new, count = enrich(payload)
    assert count == 2
    for group in request.resource_spans[0], request.resource_spans[2]:
        group.resource.attributes.add(key="service.version").value.string_value = "2"
    assert new.endswith(b"\xf2\x3f\x03new")
    assert ExportTraceServiceRequest.FromString(new[:-6]) == request
    untouched = request.resource_spans[1].SerializeToString()
    assert framing.length_delimited(1, untouched) in new
    assert enrich(new) == (new, 0)
    same = request_of({"service.version": "1"}).SerializeToString()
    assert enrich(same)[0] is same
    # A Resource in two parts, which protobuf takes for one, and one too large to remember.
    parts = request_of({"a": "1"}).resource_spans[0].SerializeToString() + framing.length_delimited(
        1, request_of({"b": "x" * 5_000}).resource_spans[0].resource.SerializeToString()
    )
    new, _ = enrich(framing.length_delimited(1, parts))
    assert attributes_of(new) == [{"a": "1", "b": "x" * 5_000, "service.version": "2"}]


@pytest.mark.parametrize(
    "text",
    [
        "version: 1.10\ncommit: 0123456\nempty:\nteam: 'a b'\n",
        json.dumps(
            {"version": "1.10", "service.version": "1.10", "commit": "0123456", "team": "a b"}
        ),
        "# of the release\n\nversion=1.10\ncommit = '0123456'\nteam=\"a b\"\nempty=\n",
        "export OTEL_VTRACK_VERSION=1.10\nvcs.ref.head.revision=0123456\nteam=a b\n",
    ],
)
def test_a_deployment_file_is_yaml_json_or_assignments(tmp_path, text):
    file = tmp_path / "deployment"
    file.write_text(text)
    assert enriched({}, deployment_file=file) == {
        "service.version": "1.10",
        "vcs.ref.head.revision": "0123456",
        "team": "a b",
    }


def test_a_deployment_file_may_have_rules(tmp_path):
    file = tmp_path / "deployment"
    file.write_text("version: 1\nrules:\n- {service: a*, attributes: {version: '${env:HOME}'}}\n")
    assert (
        enriched({"service.name": "ab"}, deployment_file=file)["service.version"] == "${env:HOME}"
    )
    assert enriched({"service.name": "b"}, deployment_file=file)["service.version"] == "1"


@pytest.fixture
def release(tmp_path):
    """Put a file where Kubernetes would, by swapping a link; `age` is in seconds."""

    def put(text, age=10.0):
        folder = tmp_path / f"..{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        file = folder / "deployment.yaml"
        file.write_text(text)
        then = file.stat().st_mtime - age
        os.utime(file, (then, then))
        link = tmp_path / "..new"
        link.symlink_to(folder.name)
        link.rename(tmp_path / "..data")

    (tmp_path / "deployment.yaml").symlink_to("..data/deployment.yaml")
    put.path = tmp_path / "deployment.yaml"
    return put


def test_files_are_read_again_when_they_change_and_are_whole(release, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "otel_vtrack")
    now = 1_000.0
    monkeypatch.setattr("otel_vtrack.process.enrich.time.monotonic", lambda: now)
    enrich = Enricher(Enrich(deployment_file=release.path), {})
    payload = request_of({}).SerializeToString()

    def version():
        return attributes_of(enrich(payload)[0])[0].get("service.version")

    assert enrich
    assert version() is None
    release("version: '1'")
    assert version() is None
    now += 1
    assert version() == "1"
    # Not more often than once a second.
    release("version: '2'")
    assert version() == "1"
    now += 1
    assert version() == "2"
    # What is wrong, or may be half of itself, changes nothing, and is said once.
    for text, age in (("version: [hunter2", 10), ("- hunter2", 10), ("version: '3", 0.0)):
        release(text, age)
        now += 1
        assert version() == "2"
        now += 1
        assert version() == "2"
    release("version: " + "[" * 20_000)
    now += 1
    assert version() == "2"
    release("version: {hunter2: x}")
    now += 1
    assert version() == "2"
    release.path.resolve().unlink()
    now += 1
    assert version() == "2"
    release("rules: [{service: '*', attributes: {version: '4'}}]")
    now += 1
    assert version() == "4"
    said = [record.getMessage() for record in caplog.records]
    assert sum("the file does not exist yet" in line for line in said) == 2
    assert sum("not YAML" in line for line in said) == 1
    assert sum("nested too deeply" in line for line in said) == 1
    assert sum("no names and values" in line for line in said) == 1
    assert sum("attributes.version" in line for line in said) == 1
    assert "hunter2" not in "".join(said)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"attributes": {"version": ""}}, "version has no name or no value"),
        ({"attributes": {"version": 1.1}}, "valid string"),
        ({"attributes": {"a": "${env:NOT_THERE}"}}, "no variable NOT_THERE"),
        ({"rules": [{"attributes": {"a": "b"}}]}, "rules.0.service"),
        ({"rule": []}, "rule\n"),
    ],
)
def test_settings_that_make_no_sense_are_said_so(given, says):
    with pytest.raises(pydantic.ValidationError) as error:
        Enrich(**given)
    assert says in str(error.value)


def test_off_is_off():
    assert not Enricher(Enrich(), {"OTEL_VTRACK_VERSION": "1"})
