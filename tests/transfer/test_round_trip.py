"""What is exported from one server and imported into another is the same there."""

import json
import subprocess
import sys

import pytest

from otel_vtrack.client import Client
from otel_vtrack.transfer import FORMATS, export_to, import_from


def everything(served, folder, name):
    """Return all that a server keeps, as a set of lines."""
    path = folder / name
    with Client(served.grpc, timeout=60) as client:
        export_to(path, client, format="jsonl")
    lines = path.read_text().splitlines()
    assert len(lines) == len(set(lines))
    return set(lines)


def answers(served):
    """Return what the API says of what was moved."""
    with Client(served.grpc, timeout=60) as client:
        found = {
            "traces": client.search_traces(order_by=["request_id"]),
            "assessments": client.search_assessments(order_by=["assessment_id"]),
            "experiments": client.search_experiments(include_archived=True),
            "deployments": client.search_deployments(),
            "versions": client.search_versions(),
        }
        plain = {name: [str(it) for it in items] for name, items in found.items()}
        plain["history"] = [
            str(client.list_assessment_changes(it.assessment_id))
            for it in client.search_assessments(order_by=["assessment_id"])
        ]
        return plain


def run(served, *words, expect=0, **options):
    done = subprocess.run(
        [sys.executable, "-m", "otel_vtrack", *words, "--server", served.grpc],
        capture_output=True,
        timeout=100,
        check=False,
        **options,
    )
    assert done.returncode == expect, done.stderr.decode()
    return done


@pytest.fixture(scope="session")
def original(full, tmp_path_factory):
    return everything(full, tmp_path_factory.mktemp("original"), "all.jsonl"), answers(full)


def test_something_of_everything_is_exported(full, original):
    lines, found = original
    kinds = {}
    for line in lines:
        kind = json.loads(line)["type"]
        kinds[kind] = kinds.get(kind, 0) + 1
    assert kinds.pop("assessment") >= 8
    assert kinds == {
        "span": 14 + 14 + 1 + 3 - full.rejected,
        "log_record": 13 + 13,
        "trace_tag": 2,
        "experiment": 3,
        "deployment": 2,
        "version": 1,
        "version_alias": 3,
    }
    assert full.rejected < 3
    sampled = [each["adjusted_count"] for each in map(json.loads, lines) if "span" in each]
    assert sorted(set(sampled)) == [1, pytest.approx(10 / 3)]
    assert sum("adjusted_count: 3.33" in text for text in found["traces"]) == 1
    assert all(found.values())


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "form",
    [pytest.param(form, marks=pytest.mark.slow if n else ()) for n, form in enumerate(FORMATS)],
)
def test_all_of_it_is_the_same_after_a_round_trip(full, original, empty, tmp_path, form):
    lines, found = original
    output = str(tmp_path / "moved")
    run(full, "export", "--format", form, "--output", output)
    other = empty()
    run(other, "import", output)
    assert everything(other, tmp_path, "again.jsonl") == lines
    assert answers(other) == found
    # And once more: all of it is there already.
    with Client(other.grpc, timeout=60) as client:
        import_from([output], client)
    assert everything(other, tmp_path, "twice.jsonl") == lines
    assert answers(other) == found
    other.stop()
