"""What tokens cost, as the commands show it."""

import json
import re

import pytest


@pytest.fixture
def asked(send):
    for number, model in enumerate(["gpt-4o", "house-1"], start=1):
        usage = {"gen_ai.request.model": model, "gen_ai.usage.input_tokens": 1_000_000}
        send(
            {"trace": number, "name": f"ask {model}", "attributes": usage},
            service__version=str(number),
            vcs__ref__head__revision="abc",
        )


def test_the_cost_of_an_unknown_model_is_unknown_and_not_nothing(run, asked, trace_id):
    known, unknown = (
        run("traces", "get", trace_id(number)).stdout.splitlines()[0] for number in (1, 2)
    )
    assert ", $" in known
    assert unknown.endswith("cost unknown: no price of house-1")
    lines = run("traces", "search").stdout.splitlines()
    [line] = [line for line in lines if "ask house-1" in line]
    assert " unknown " in line
    [line] = [line for line in lines if "ask gpt-4o" in line]
    assert " unknown " not in line


def test_the_cost_of_versions_is_shown_where_asked_for(run, asked):
    lines = run("versions", "list", "--usage").stdout.splitlines()
    assert [" unknown " in line for line in lines if "1,000,000" in line] == [False, True]
    shown = run("versions", "get", "2", "--usage").stdout
    assert re.search(r"^usage\.cost\.total_cost +unknown$", shown, re.MULTILINE)
    found = json.loads(run("versions", "get", "1", "--usage", "--json").stdout)
    assert found["usage"]["cost"]["total_cost"] > 0


def test_a_trace_is_shown_with_its_metadata(run, asked, trace_id):
    shown = run("traces", "get", trace_id()).stdout
    assert "  mlflow.source.git.commit = abc\n" in shown
    assert "  app_version = 1\n" in shown
    assert "tokenUsage" not in shown
