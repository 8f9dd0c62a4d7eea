import re
from pathlib import Path

import pytest

from otel_vtrack.analysis import compare
from otel_vtrack.errors import SettingsError
from otel_vtrack.gate import policy

DOCS = (Path(__file__).parents[2] / "docs" / "gate.md").read_text()


def test_a_metric_with_nothing_behind_it_has_the_defaults_and_others_do_not_count():
    rules = policy.parse("metrics:\n  latency:\n  error_rate: {}\n").gated
    assert list(rules) == ["latency", "error_rate"]
    assert [each.smallest_change for each in rules.values()] == [0.05, 0.01]
    latency = rules["latency"].model_dump()
    del latency["smallest_change"]
    assert latency == {
        "direction": "less",
        "minimum_traces": 20,
        "on_not_enough_data": "fail",
        "on_no_evidence": "pass",
    }


def test_the_least_minimum_is_the_servers():
    assert policy.MINIMUM_TRACES == compare.ENOUGH


def test_the_policy_shown_in_the_documentation_is_one_and_every_key_is_explained():
    [shown] = re.findall(r"```yaml\n(metrics:.*?)```", DOCS, re.DOTALL)
    rules = policy.parse(shown).gated
    assert [each.smallest_change for each in rules.values()] == [0.05, 0.005, 0.05]
    keys = re.findall(r"^\| `([a-z_]+)` \|", DOCS, re.MULTILINE)
    assert keys == list(policy.MetricPolicy.model_fields)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "begin with `metrics:`"),
        ("- a", "begin with `metrics:`"),
        ("metrics: {}", "line 1: metrics has none"),
        ("metrics:", "line 1: metrics: write keys under it: latency"),
        ("metric:\n  latency:", "line 1: metric is not known: did you mean metrics?"),
        ("metrics:\n  latncy:", "line 2: metrics.latncy is not known: did you mean latency?"),
        ("metrics:\n  x9:", "write one of latency, error_rate, tokens"),
        (
            "metrics:\n  latency:\n    smalest_change: 5 %",
            "line 3: metrics.latency.smalest_change is not known: did you mean smallest_change?",
        ),
        ("metrics:\n  latency:\n    smallest_change: 5", "line 3: metrics.latency.smallest_change"),
        ("metrics: {latency: {smallest_change: 1 point}}", "such as 5 %"),
        ("metrics: {latency: {smallest_change: -5 %}}", "such as 5 %"),
        ("metrics: {latency: {smallest_change: .nan}}", "such as 5 %"),
        ("metrics: {error_rate: {smallest_change: 5 %}}", "such as 1 point"),
        ("metrics: {error_rate: {smallest_change: 101 points}}", "100 points at most"),
        ("metrics: {latency: {direction: up}}", "write less or more"),
        ("metrics: {latency: {on_not_enough_data: yes}}", "write pass or fail"),
        ("metrics: {latency: {minimum_traces: 19}}", "write 20 or more"),
        ("metrics: {latency: {minimum_traces: '50'}}", "a whole number"),
        ("metrics: {latency: {minimum_traces: true}}", "a whole number"),
        ("metrics: {latency: [1]}", "write keys under it: smallest_change"),
        ("metrics:\n  latency:\n  latency:", "line 3: latency is there twice"),
        ("metrics:\n  1:", "line 2: a key is a word"),
        ("metrics:\n  latency: &a {}\n  tokens: *a", "no aliases"),
        ("a: &a [*a]", "no aliases"),
        ("metrics: !!python/object/apply:os.getcwd []", "this is no YAML"),
        ("metrics: !!int ''", "not of the type it claims"),
        ("metrics: !!bool odd", "not of the type it claims"),
        ("metrics: 2026-99-99", "not of the type it claims"),
        ("metrics: {", "this is no YAML"),
        ("metrics: {}\n---\nmetrics: {}", "this is no YAML"),
        ("\x00", "is no YAML"),
        ("[" * 5000, "nested too deeply"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_would_be_right(text, says):
    with pytest.raises(SettingsError) as caught:
        policy.parse(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_a_policy_is_refused(tmp_path):
    path = tmp_path / "policy.yaml"
    for content, says in ((b"\xff", "UTF-8"), (b"#" * 70_000, "bytes")):
        path.write_bytes(content)
        with pytest.raises(SettingsError, match=says):
            policy.load(path)
    with pytest.raises(SettingsError, match="cannot be read"):
        policy.load(tmp_path / "none")
