import json


def test_the_timeline_is_told_in_a_table_and_sentences(run, send):
    for first, version in ((0, "1"), (100, "2"), (200, "1")):
        send(
            *({"trace": 1 + first + n, "at": 1000 * (first + n)} for n in range(60)),
            service__version=version,
            deployment__environment__name="production",
        )
    result = run("deployments", "timeline", "--service", "shop", "--environment", "production")
    assert result.exit_code == 0, result.output
    assert "still live" in result.stdout
    assert "shop in production was rolled back from 2 to 1." in result.stdout
    assert "It had 60 traces, 0 failed" in result.stdout
    answer = json.loads(run("deployments", "timeline", "--json").stdout)
    assert [each["version"] for each in answer["periods"]] == ["1", "2", "1"]
    assert "No trace" in run("deployments", "timeline", "--experiment", "none").stdout


def test_record_is_create(run):
    result = run("deployments", "record", "shop", "production", "1", "--json")
    assert json.loads(result.stdout)["version"] == "1"
