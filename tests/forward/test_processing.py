"""`vtrack serve` that enriches and redacts: what is stored, passed on and on the disk."""

import contextlib
import json
import os
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

PASSWORD, TOKEN, PERSON = "hunter2hunter2", "ghp_" + "a1B2c3D4e5" * 4, "bob.the.secret"


def on_disk(folder, *secrets):
    """Which of some texts are in which files, and how many files there are."""
    found, files = set(), 0
    # The engine writes and deletes meanwhile, so what is listed may be gone.
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                content = Path(place, name).read_bytes()
                files += 1
                found |= {(name, secret) for secret in secrets if secret.encode() in content}
    return found, files


@pytest.mark.slow
def test_what_is_hidden_reaches_neither_store_nor_disk_nor_backends(
    vtrack, backend, endpoint, make_spans, until, reopened, tmp_path
):
    deployment = tmp_path / "deployment.yaml"
    deployment.write_text("version: '1'\ncommit: abc\n")
    config = tmp_path / "vtrack.yaml"
    config.write_text(
        json.dumps(
            {
                "store_url": f"chdb://{tmp_path / 'store'}",
                "destinations": [endpoint(backend)],
                "enrich": {
                    "variables": True,
                    "deployment_file": str(deployment),
                    "rules": [{"service": "sh*", "attributes": {"team": "payments"}}],
                },
                "redact": {
                    "detectors": ["github"],
                    "hash_key": "${env:HASH_KEY}",
                    "rules": [{"name": "people", "keys": ["user.*"], "action": "hash"}],
                },
            }
        )
    )
    served = vtrack(
        *("--config", str(config)), HASH_KEY="0123456789abcdef", OTEL_VTRACK_ENVIRONMENT="staging"
    )
    # What is taken waits on the disk as long as the backend does not take it.
    backend.answer = lambda *_: backend.unavailable()
    attributes = {"db": f"postgres://me:{PASSWORD}@db/shop", "user.id": PERSON, "n": 1}
    request = make_spans(
        {"trace": 1, "name": f"clone {TOKEN}", "attributes": attributes, "message": TOKEN},
        {"trace": 2, "name": "bad", "span": 0},
    )
    answer = served.export(request, metadata=[("x-vtrack-experiment", "mine")])
    said = ExportTraceServiceResponse.FromString(answer).partial_success
    assert said.rejected_spans == 1
    as_json = {
        "resourceLogs": [
            {
                "resource": {
                    "attributes": [
                        {"key": "service.name", "value": {"stringValue": "shop"}},
                        {"key": "app_version", "value": {"stringValue": "9"}},
                    ]
                },
                "scopeLogs": [
                    {"logRecords": [{"body": {"stringValue": f"http://me:{PASSWORD}@h {TOKEN}"}}]}
                ],
            }
        ]
    }
    kind = {"Content-Type": "application/json"}
    assert served.ask("/v1/logs", json.dumps(as_json), kind).status == 200
    metrics = ExportMetricsServiceRequest()
    metrics.resource_metrics.add().scope_metrics.add().metrics.add(name=f"http://a:{TOKEN}@h")
    assert served.export(metrics, "metrics") == b""
    status = json.loads(served.ask("/statusz").content)
    assert status["processed"] == {
        "traces": {
            "enriched_resources": 1,
            "redacted": {"url_credentials": 1, "github": 2, "people": 1},
        },
        "logs": {"enriched_resources": 1, "redacted": {"url_credentials": 1, "github": 1}},
    }
    secrets = (PASSWORD, PERSON)
    found, files = on_disk(tmp_path / "store", *secrets, "postgres://***@db")
    # That is there, so the others would be found as well.
    assert {secret for _, secret in found} == {"postgres://***@db"}
    assert {name.partition(".")[0] for name, _ in found} >= {"journal-traces", "queue-traces"}
    assert files > 10
    backend.answer = lambda *_: None
    until(lambda: all(backend.taken[name] for name in ("traces", "logs", "metrics")))
    # A file that changed counts from the next request a second later.
    deployment.write_text("version: '2'\n")
    then = deployment.stat().st_mtime - 10
    os.utime(deployment, (then, then))

    def renewed():
        served.export(make_spans({"trace": 3, "name": "later"}))
        return b"2" in versions()

    def versions():
        taken = ExportTraceServiceRequest.FromString(backend.taken["traces"])
        return {
            pair.value.string_value.encode()
            for group in taken.resource_spans
            for pair in group.resource.attributes
            if pair.key == "service.version"
        }

    until(renewed)
    assert versions() == {b"1", b"2"}
    assert served.stop() == 0
    taken = backend.taken
    assert not any(
        secret.encode() in taken["traces"] + taken["logs"] for secret in (*secrets, TOKEN)
    )
    assert taken["metrics"] == metrics.SerializeToString()
    logs = ExportLogsServiceRequest.FromString(taken["logs"]).resource_logs[0]
    assert logs.scope_logs[0].log_records[0].body.string_value == "http://***@h ***"
    assert {pair.key: pair.value.string_value for pair in logs.resource.attributes} == {
        "service.name": "shop",
        "app_version": "9",
        "team": "payments",
        "deployment.environment.name": "staging",
        "vcs.ref.head.revision": "abc",
    }
    store = reopened(served)
    [row] = store.select(
        "SELECT name, experiment, version, environment, git_commit, status_message,"
        " attributes['db'] AS db, attributes['n'] AS n FROM spans WHERE experiment = 'mine'"
    )
    assert row == {
        "name": "clone ***",
        "experiment": "mine",
        "version": "1",
        "environment": "staging",
        "git_commit": "abc",
        "status_message": "***",
        "db": "postgres://***@db/shop",
        "n": "1",
    }
    found, _ = on_disk(tmp_path / "store", *secrets)
    assert not found
    assert not any(secret in served.log for secret in (*secrets, TOKEN, "0123456789abcdef"))


def test_nothing_told_still_hides_credentials_in_urls(
    forwarding, backend, endpoint, make_spans, until
):
    served = forwarding(endpoint(backend), OTEL_VTRACK_VERSION="1")
    plain = make_spans({"trace": 1, "attributes": {"url": "https://h/x@y", "mail": "a@b.example"}})
    served.export(plain)
    hidden = make_spans({"trace": 2, "attributes": {"url": f"https://me:{PASSWORD}@h"}})
    served.export(hidden)
    until(lambda: len(backend.spans()) == 2)
    expected = make_spans({"trace": 2, "attributes": {"url": "https://***@h"}})
    assert backend.taken["traces"] == plain.SerializeToString() + expected.SerializeToString()
    maps = Path(f"/proc/{served.process.pid}/maps")
    if maps.exists():
        assert "_re2" not in maps.read_text()
