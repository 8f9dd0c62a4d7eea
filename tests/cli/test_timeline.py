import json

import pytest

from otel_vtrack.cli import show


def test_the_timeline_is_told_in_a_table_and_sentences(run, send):
    for first, version in ((0, "1"), (100, "2"), (200, "1")):
        send(
            *({"trace": 1 + first + n, "at": 1000 * (first + n)} for n in range(60)),
            service__version=version,
            deployment__environment__name="production",
        )
    result = run("deployments", "timeline", "--service", "shop", "--environment", "production")
    assert result.exit_code == 0, result.output
    assert "last seen 2026-09-21 14:17:39" in result.stdout
    until = ("--until", "2026-09-21T14:30:00Z")
    assert "still live" in run("deployments", "timeline", *until).stdout
    assert "shop in production was rolled back from 2 to 1." in result.stdout
    assert "It had 60 traces, 0 failed" in result.stdout
    answer = json.loads(run("deployments", "timeline", "--json").stdout)
    assert [each["version"] for each in answer["periods"]] == ["1", "2", "1"]
    assert "No matching trace" in run("deployments", "timeline", "--experiment", "none").stdout


def test_record_is_create(run):
    result = run("deployments", "record", "shop", "production", "1", "--json")
    assert json.loads(result.stdout)["version"] == "1"


def test_shares_are_told_with_instances(run, send):
    for first, version in ((0, "1"), (1, "2")):
        send(
            *({"trace": 1 + n, "at": 1000 * n} for n in range(first, 60, 2)),
            service__version=version,
            service__instance__id=version,
        )
    shown = run("deployments", "timeline", "--shares").stdout
    assert "1 100 % (1 instance)" in shown
    found = json.loads(run("deployments", "timeline", "--shares", "--json").stdout)
    assert sum(int(each["trace_count"]) for each in found["buckets"]) == 60
    assert [each["instance_count"] for each in found["periods"]] == ["1", "1"]
    wrong = run("deployments", "timeline", "--error-rate-margin", "2")
    assert wrong.exit_code == 2
    assert "error_rate_margin" in wrong.stderr


def test_progression_is_told_in_a_table_and_sentences(run, send):
    ways = [("1", "dev", 0), ("2", "dev", 100), ("2", "prod", 200), ("3", "prod", 300)]
    for version, environment, first in ways:
        send(
            *({"trace": 1 + first + n, "at": 1000 * (first + n)} for n in range(60)),
            service__version=version,
            deployment__environment__name=environment,
        )
    shown = run("versions", "progression", "--service", "shop").stdout
    assert "shop: dev -> prod, as most versions go." in shown
    assert "1 is stuck in dev: 2 went past it." in shown
    assert "3 skipped dev." in shown
    assert "1 skipped" not in shown
    assert "2 skipped" not in shown
    assert "59 s, last seen 2026-09-21 14:19:19" in shown
    assert "0 (0 to " in shown
    told = json.loads(run("versions", "progression", "2", "--order", "prod,dev", "--json").stdout)
    [only] = told["progressions"]
    assert [each["environment"] for each in only["steps"]] == ["prod", "dev"]
    assert only["state"] == "PROGRESSION_STATE_COMPLETE"
    assert "No matching trace" in run("versions", "progression", "9").stdout


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (59.9, "59.9 s"),
        (119.7, "2 min 0 s"),
        (600, "10 min"),
        (3599, "59 min 59 s"),
        (17_994, "5 h 0 min"),
        (237_517, "2 d 18 h"),
    ],
)
def test_long_times_are_written_in_two_units(seconds, expected):
    assert show.length(seconds * 1e9) == expected
