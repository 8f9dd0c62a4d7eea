import re
from pathlib import Path

import pytest

from otel_vtrack.analysis import compare
from otel_vtrack.analysis.metrics import Direction, MetricQuery
from otel_vtrack.errors import SettingsError
from otel_vtrack.gate import policy

DOCS = (Path(__file__).parents[2] / "docs" / "gate.md").read_text()


def test_a_metric_with_nothing_behind_it_has_the_defaults_and_others_do_not_count():
    rules = policy.parse("metrics:\n  latency:\n  error_rate: {}\n")
    assert list(rules.gated) == ["latency", "error_rate"]
    assert rules.queries == [MetricQuery("latency"), MetricQuery("error_rate")]
    assert rules.gated["latency"].model_dump() == {
        "smallest_change": None,
        "direction": None,
        "minimum_count": 20,
        "on_not_enough_data": "fail",
        "on_no_evidence": "pass",
    }


def test_any_metric_may_be_asked_for_with_a_change_in_its_unit():
    text = """
    latency: {smallest_change: 20 ms}
    tokens: {smallest_change: 2.5 %}
    cost: {smallest_change: 0.01 USD}
    span_error_rate:pay: {smallest_change: 0.5 points}
    "assessment:score": {smallest_change: 0.2}
    "assessment:right": {smallest_change: 2 points, direction: more}
    "attribute:rows": {smallest_change: 10 %, direction: less}
    """
    assert policy.parse(f"metrics:{text}").queries == [
        MetricQuery("latency", smallest_absolute_change=20.0),
        MetricQuery("tokens", smallest_relative_change=0.025),
        MetricQuery("cost", smallest_absolute_change=0.01),
        MetricQuery("span_error_rate:pay", smallest_absolute_change=0.005),
        MetricQuery("assessment:score", smallest_absolute_change=0.2),
        MetricQuery("assessment:right", Direction.MORE, smallest_absolute_change=0.02),
        MetricQuery("attribute:rows", Direction.LESS, smallest_relative_change=0.1),
    ]


def test_the_least_minimum_is_the_servers():
    assert policy.MINIMUM_COUNT == compare.ENOUGH


def test_the_policy_shown_in_the_documentation_is_one_and_every_key_is_explained():
    [shown] = re.findall(r"```yaml\n(metrics:.*?)```", DOCS, re.DOTALL)
    assert policy.parse(shown).queries == [
        MetricQuery("latency", Direction.LESS, smallest_relative_change=0.05),
        MetricQuery("error_rate", smallest_absolute_change=0.005),
        MetricQuery("tokens"),
        MetricQuery("assessment:correct", smallest_absolute_change=0.02),
    ]
    keys = re.findall(r"^\| `([a-z_]+)` \|", DOCS, re.MULTILINE)
    assert keys == list(policy.MetricPolicy.model_fields)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "begin with `metrics:`"),
        ("- a", "begin with `metrics:`"),
        ("metrics: {}", "line 1: metrics is empty"),
        ("metrics:", "line 1: metrics: write keys under it: latency"),
        ("metric:\n  latency:", "line 1: metric is not known: did you mean metrics?"),
        ("metrics:\n  latncy:", "line 2: metrics.latncy: there is no metric latncy: did you mean"),
        ("metrics:\n  x9:", "there are latency, error_rate, tokens"),
        ("metrics: {'attribute:rows': }", "write direction: less, or more"),
        ("metrics: {'assessment:': }", "write assessment:NAME"),
        (
            "metrics:\n  latency:\n    smalest_change: 5 %",
            "line 3: metrics.latency.smalest_change is not known: did you mean smallest_change?",
        ),
        ("metrics:\n  latency:\n    smallest_change: 5", "line 3: metrics.latency.smallest_change"),
        ("metrics: {latency: {smallest_change: 1 point}}", "such as 5 %"),
        ("metrics: {latency: {smallest_change: -5 %}}", "such as 5 %"),
        ("metrics: {latency: {smallest_change: .nan}}", "such as 5 %"),
        ("metrics: {latency: {smallest_change: 0 ms}}", "write more than 0"),
        ("metrics: {error_rate: {smallest_change: 5 %}}", "such as 1 point"),
        ("metrics: {error_rate: {smallest_change: 101 points}}", "100 points at most"),
        ("metrics: {latency: {direction: up}}", "write less or more"),
        ("metrics: {latency: {on_not_enough_data: yes}}", "write pass or fail"),
        ("metrics: {latency: {minimum_count: 19}}", "write 20 or more"),
        ("metrics: {latency: {minimum_count: '50'}}", "a whole number"),
        ("metrics: {latency: {minimum_count: true}}", "a whole number"),
        ("metrics: {latency: [1]}", "write keys under it: smallest_change"),
        ("metrics:\n  latency:\n  latency:", "line 3: latency appears twice"),
        ("metrics:\n  1:", "line 2: a key must be a word"),
        ("metrics:\n  latency: &a {}\n  tokens: *a", "no aliases"),
        ("a: &a [*a]", "no aliases"),
        ("metrics: !!python/object/apply:os.getcwd []", "this is not YAML"),
        ("metrics: !!int ''", "not of its declared type"),
        ("metrics: !!bool odd", "not of its declared type"),
        ("metrics: 2026-99-99", "not of its declared type"),
        ("metrics: {", "this is not YAML"),
        ("metrics: {}\n---\nmetrics: {}", "this is not YAML"),
        ("\x00", "is not valid YAML"),
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
