"""Whole numbers that a double would round: kept on every way, or refused."""

import json

import pytest
from google.protobuf import json_format

from otel_vtrack.client.values import from_value
from otel_vtrack.query import spans, trace_search, traces

BIG = (1 << 53) + 1
MOST = (1 << 63) - 1
TOKENS = {1: BIG, 2: BIG - 1, 3: BIG + 1, 4: MOST, 5: 7}


@pytest.fixture
def used(send):
    for number, count in TOKENS.items():
        attributes = {"gen_ai.usage.input_tokens": count, "n": count}
        send({"trace": number, "attributes": attributes}, service__version=str(number))


def test_tokens_are_compared_digit_by_digit_and_pages_go_on_behind_them(store, used):
    for text, wanted in (
        (f"input_tokens = {BIG}", {1}),
        (f"input_tokens > {BIG}", {3, 4}),
        (f"input_tokens BETWEEN {BIG} AND {BIG}", {1}),
        (f"input_tokens IN ({BIG}, {MOST})", {1, 4}),
        (f"input_tokens < {BIG}", {2, 5}),
        (f"cost < {BIG} OR span_count > {BIG}", set()),
    ):
        found = trace_search.search(store, text=text).traces
        assert {int(each.trace_id, 16) for each in found} == wanted, text
        if "cost" not in text:
            found = spans.search(store, text=text).spans
            assert {int(each.trace_id, 16) for each in found} == wanted, text
    for search, name in ((trace_search.search, "traces"), (spans.search, "spans")):
        for order, wanted in (("", [5, 2, 1, 3, 4]), (" DESC", [4, 3, 1, 2, 5])):
            seen, token = [], ""
            for _ in TOKENS:
                page = search(
                    store, order_by=[f"input_tokens{order}"], page_size=1, page_token=token
                )
                seen += [int(each.trace_id, 16) for each in getattr(page, name)]
                token = page.next_page_token
            assert (seen, token) == (wanted, "")


def test_clients_get_every_digit_and_sums_end_at_the_most_there_is(client, used, send):
    found = {int(each.trace_id, 16): each for each in client.search_traces()}
    assert {at: each.token_usage.input_tokens for at, each in found.items()} == TOKENS
    shown = json.loads(json_format.MessageToJson(found[1]))
    assert shown["tokenUsage"]["inputTokens"] == str(BIG)
    data = client.get_trace(f"{4:032x}").otlp
    assert f'"intValue": "{MOST}"' in json_format.MessageToJson(data)
    frame = client.search_traces().to_pandas()
    assert set(frame["token_usage.input_tokens"]) == set(TOKENS.values())
    versions = {each.version: each for each in client.search_versions(include_usage=True)}
    assert versions["1"].usage.tokens.input_tokens == BIG
    # What one span says does not keep others from being shown.
    most = {"attributes": {"gen_ai.usage.input_tokens": MOST}}
    send({"trace": 9, "span": 1, **most}, {"trace": 9, "span": 2, **most}, service__version="9")
    assert client.get_trace(f"{9:032x}").infos[0].token_usage.input_tokens == MOST
    assert len(list(client.search_traces())) == len(TOKENS) + 1
    assert len(list(client.search_versions(include_usage=True))) == len(TOKENS) + 1


def test_sums_over_traces_do_not_begin_anew_where_they_end(client, send):
    """Four of what a quarter of 2^64 is are as many as there may be, and not none."""
    used = {
        "gen_ai.request.model": "gpt-4.1",
        "gen_ai.usage.input_tokens": 1 << 62,
        "gen_ai.usage.cache_read.input_tokens": 1 << 62,
    }
    for version, sent in (
        ("1", [{"trace": n, "attributes": used} for n in range(1, 5)]),
        ("2", [{"trace": 5, "span": n, "attributes": used} for n in range(1, 5)]),
    ):
        send(*sent, service__version=version)
    for version in client.search_versions(include_usage=True):
        tokens = version.usage.tokens
        assert (tokens.input_tokens, tokens.cache_read_input_tokens) == (MOST, MOST)
        assert version.usage.cost.total_cost >= 1e12
    found = client.compare_versions("1", "2", metrics=["tokens"])
    mean = next(each for each in found.metrics[0].figures if each.figure == "mean")
    assert mean.baseline.value == pytest.approx(1 << 62)
    assert mean.candidate.value == pytest.approx(1 << 64)


def test_a_trace_that_takes_more_than_there_may_be_is_found_by_the_most(store, send):
    """Two spans of it take 2^64 together, which is 0 in 64 bits."""
    half = {"gen_ai.usage.input_tokens": str(1 << 63)} | {
        f"gen_ai.usage.{name}": str(1 << 63)
        for name in ("output_tokens", "total_tokens", "cache_read.input_tokens")
    }
    send(*({"trace": 1, "span": n, "attributes": half} for n in (1, 2)))
    send({"trace": 2, "attributes": {"gen_ai.usage.total_tokens": 7}})
    # Of one span, which leaves its total to be added up.
    del half["gen_ai.usage.total_tokens"]
    send({"trace": 3, "attributes": half})
    found = trace_search.search(store, text=f"total_tokens = {MOST}").traces
    assert {int(each.trace_id, 16) for each in found} == {1, 3}
    assert {each.token_usage.total_tokens for each in found} == {MOST}
    assert traces.get(store, f"{3:032x}").infos[0].token_usage.total_tokens == MOST
    names = ("input_tokens", "output_tokens", "total_tokens", "cache_read_input_tokens")
    for name in names:
        found = trace_search.search(store, text=f"{name} > 1000", order_by=[name]).traces
        assert getattr(found[-1].token_usage, name) == MOST
        for text, count in ((f"{name} = {MOST}", 1), (f"{name} > {MOST}", 0)):
            assert trace_search.count(store, text=f"trace_id = '{1:032x}' AND {text}") == count


def test_numbers_of_assessments_are_doubles_or_texts(client, send, send_logs):
    send({"trace": 1})
    asked = {"trace_id": f"{1:032x}", "assessment_name": "a"}
    for value in (1 << 60, -(1 << 53), 0.5, 1e300, str(BIG), [1 << 70]):
        made = client.create_assessment(**asked, value=value)
        assert from_value(client.get_assessment(made.assessment_id).value) == value
    for value in (BIG, -BIG, [BIG], {"a": {"b": BIG}}, 10**400):
        with pytest.raises(ValueError, match="as a text"):
            client.create_assessment(**asked, value=value)
    with pytest.raises(ValueError, match="more digits"):
        client.update_assessment(made.assessment_id, value=BIG)
    # An event of OTLP has all digits, and so have the table and what is shown of it.
    said = {"gen_ai.evaluation.name": "told", "gen_ai.evaluation.score.value": BIG}
    send_logs({"trace": 1, "event_name": "gen_ai.evaluation.result", "attributes": said})
    [told] = client.search_assessments("name = 'told'")
    assert told.value.string_value == str(BIG)
