"""Searching by cost: the engine and `query.tokens` come to the same."""

import itertools
import json

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import prices, spans, tokens, trace_search
from otel_vtrack.query.filter import compile_traces, costs
from otel_vtrack.query.filter.fields import Parameters
from otel_vtrack.query.prices import DAY_NS, Prices, Rate, Schedule, Step
from otel_vtrack.query.tokens import Bill

HOUR_NS = DAY_NS // 24
# As claude-sonnet and deepseek have it: dearer for long prompts, since a day, and by night.
SCHEDULE = Schedule(
    (
        Step(0, 0, DAY_NS, -1, Rate(3.0, 15.0, 0.3, 3.75)),
        Step(0, 0, DAY_NS, 200, Rate(6.0, 22.5, 0.6, 7.5)),
        Step(20_000 * DAY_NS, 0, DAY_NS, -1, Rate(1.1, 2.2)),
        Step(20_000 * DAY_NS, 16 * HOUR_NS, DAY_NS, -1, Rate(0.7, 1.3, None, 0.2)),
    )
)
KNOWN = {
    "plain": Rate(0.1, 0.4).charge,
    "cached": Rate(2.0, 8.0, 0.5, 2.5).charge,
    "changing": SCHEDULE.charge,
}
TABLE = Prices(lambda model, provider: KNOWN.get(model) if provider != "elsewhere" else None)
TOLD = (
    *("", "", "", "", "0.25", "0", "-1", "true", "nonsense", "[1]", '"2"', " 1e-3 ", "1e999"),
    *("123456789012345678901234567890", "NaN", '{"total_cost": 1.5, "total_cost": 2}'),
    *('{"input_cost": 0.1, "output_cost": 0.2}', '{"output_cost": 0.3, "total_cost": "2"}'),
    *('{"total_cost": null}', '{"total_cost": -1, "input_cost": 7}', "{}"),
    *('{"total_cost": 1, "x": NaN}', '{"total_cost": 1, "x": 1e999}'),
)
counts = st.sampled_from([0, 0, 1, 100, 200, 201, 1_000, 12_345_678])
said_of_spans = st.fixed_dictionaries(
    {
        "parent": st.integers(0, 9),  # may be missing, itself, or below it
        "used": st.none() | st.tuples(counts, counts, st.sampled_from([0, 0, 5])),
        "model": st.sampled_from(["", "plain", "plain", "cached", "changing", "unknown"]),
        "provider": st.sampled_from(["", "", "openai", "elsewhere"]),
        "cached": st.tuples(st.sampled_from([0, 0, 50, 500]), st.sampled_from([0, 0, 60])),
        "told": st.sampled_from(TOLD),
        "sums": st.booleans(),  # reports what those right below it do
    }
)
traces = st.fixed_dictionaries(
    {
        "spans": st.lists(said_of_spans, min_size=1, max_size=8),
        "at_ns": st.integers(-HOUR_NS, 30_000 * DAY_NS),
    }
)
number = itertools.count(1)


def reported(trace):
    """What `traces` keeps of the spans: their usage, edges and billing."""
    used, edges, billing = [], [], []
    given_ = {}
    for span, said in reversed(list(enumerate(trace["spans"], 1))):
        given_[span] = said["used"]
        if said["sums"] and said["used"] is not None:
            below = [
                given_[each] or (0, 0, 0)
                for each in range(span + 1, len(trace["spans"]) + 1)
                if trace["spans"][each - 1]["parent"] == span
            ]
            given_[span] = tuple(map(sum, zip((0, 0, 0), *below, strict=True)))
    for span, said in enumerate(trace["spans"], 1):
        edges.append(span << 32 | said["parent"])
        if given_[span] is not None:
            taken, out, more = given_[span]
            used.append((span, taken, out, taken + out + more))
        if given_[span] is not None or said["told"]:
            billing.append(
                Bill(span, said["model"], said["provider"], *said["cached"], said["told"])
            )
    return used, edges, billing


@pytest.mark.slow
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    # A smaller example would take minutes to find.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(given_traces=st.lists(traces, min_size=1, max_size=60))
def test_the_engine_makes_up_the_same_cost(store, given_traces):
    expected, inserted = {}, []
    for trace in given_traces:
        used, edges, billing = reported(trace)
        trace_id = next(number).to_bytes(16, "big")
        found = tokens.cost(used, edges, billing, TABLE, trace["at_ns"])
        known = found is not None and not found.unknown_models
        expected[trace_id] = found.total_cost if known else None
        # In two rows, as two inserts make them.
        for part in (0, 1):
            said = [json.dumps(each[part::2]) for each in (used, edges, billing)]
            inserted.append([trace_id.hex(), str(trace["at_ns"]), *said])
    store.command(
        "INSERT INTO traces (trace_id, experiment, root, usage, edges, billing) SELECT"
        " unhex(row[1]), 'e', tuple(0, fromUnixTimestamp64Nano(toInt64(row[2]), 'UTC'),"
        " '', '', '', '', '', '', 0, '', ''),"
        " JSONExtract(row[3], 'Array(Tuple(UInt32, UInt64, UInt64, UInt64))'),"
        " JSONExtract(row[4], 'Array(UInt64)'),"
        " JSONExtract(row[5], 'Array(Tuple(UInt32, String, String, UInt64, UInt64, String))')"
        " FROM (SELECT arrayJoin(JSONExtract({rows:String}, 'Array(Array(String))')) AS row)",
        {"rows": json.dumps(inserted)},
    )
    parameters = Parameters()
    models = [
        costs.Priced(model, provider, TABLE.steps(model, provider))
        for model in KNOWN
        for provider in ("", "openai")
    ]
    query = costs.rows(models, parameters)
    least = min(expected).hex()
    rows = store.select(
        f"SELECT hex(trace_id) AS id, cost FROM ({query}) WHERE trace_id >= unhex('{least}')",
        parameters.bound,
    )
    found = {bytes.fromhex(row["id"]): row["cost"] for row in rows}
    wrong = {
        key: (found.get(key), expected[key]) for key in expected if found.get(key) != expected[key]
    }
    assert not wrong


@pytest.fixture
def calls(send):
    """One trace a call of a model, numbered from 1; the last two have no cost that is known."""
    for at, (model, tokens_) in enumerate(
        [("cached", 1_000), ("plain", 2_000_000), ("changing", 100_000), ("unknown", 5), ("", 0)], 1
    ):
        asked = {"gen_ai.request.model": model, "gen_ai.usage.input_tokens": tokens_}
        send({"trace": at, "at": at, "attributes": asked if model else {}})


def test_traces_are_found_by_cost(store, calls):
    assert calls is None
    for text, wanted in (
        ("cost > 0.1", {2, 3}),
        ("trace.total_cost BETWEEN 0.11 AND 0.19 OR cost = 0.002", {1, 3}),
        ("cost IS NULL", {4, 5}),
        ("NOT cost > 0.1", {1, 4, 5}),
        ("cost != 0.002 AND span_count = 1", {2, 3}),
    ):
        found = trace_search.search(store, text=text, table=TABLE).traces
        assert {int(each.trace_id, 16) for each in found} == wanted
    assert trace_search.count(store, text="cost IN (0.2, 7)", table=TABLE) == 1
    found = trace_search.histogram(store, text="cost > 0.1", width_s=3_600, table=TABLE)
    assert [each.trace_count for each in found.buckets] == [2]


def test_traces_are_sorted_by_cost_and_what_is_unknown_comes_last(store, calls):
    assert calls is None
    for order, wanted in (("cost", [1, 3, 2, 5, 4]), ("cost DESC", [2, 3, 1, 5, 4])):
        found, token = [], ""
        while True:
            page = trace_search.search(
                store,
                text="timestamp > 0",
                order_by=[order],
                page_size=2,
                page_token=token,
                table=TABLE,
            )
            found += [int(each.trace_id, 16) for each in page.traces]
            if not (token := page.next_page_token):
                break
        assert found == wanted


def test_traces_and_spans_are_found_by_what_a_cache_had(store, send):
    used = {"gen_ai.usage.input_tokens": 10}
    send({"trace": 1, "attributes": used | {"gen_ai.usage.cache_read.input_tokens": 7}})
    send({"trace": 2, "attributes": used})
    send({"trace": 3})
    key = "cache_read_input_tokens"
    for text, wanted in ((f"{key} > 6", {1}), (f"{key} < 6", {2}), (f"{key} IS NULL", {3})):
        found = trace_search.search(store, text=text).traces
        assert {int(each.trace_id, 16) for each in found} == wanted
    found = trace_search.search(store, order_by=[f"{key} DESC"]).traces
    assert [int(each.trace_id, 16) for each in found] == [1, 2, 3]
    [span] = spans.search(store, text=f"{key} = 7").spans
    assert int(span.trace_id, 16) == 1


def test_hostile_names_of_models_are_names(store, send):
    name = "'); DROP TABLE spans; --\\ \0 {p0:String} \" %"
    table = Prices(lambda model, _: Rate(1.0, 1.0).charge if model == name else None)
    asked = {"gen_ai.request.model": name, "gen_ai.usage.input_tokens": 1_000_000}
    send({"attributes": asked})
    assert trace_search.count(store, text="cost = 1", table=table) == 1
    assert trace_search.count(store, text="cost = 1", table=TABLE) == 0


def test_where_prices_are_not_known_there_is_no_such_key():
    with pytest.raises(InvalidArgument, match="no key 'cost'"):
        compile_traces("cost > 1")


def test_the_table_that_comes_along_is_told_in_steps():
    """Each of its models costs by its steps what genai-prices itself says."""
    from datetime import datetime, timezone  # noqa: PLC0415

    from genai_prices import Usage, calc_price  # noqa: PLC0415

    for model, provider in (
        ("claude-sonnet-4-5", "anthropic"),
        ("claude-opus-4-6", "anthropic"),
        ("deepseek-chat", "deepseek"),
        ("deepseek-v4-pro", "deepseek"),
        ("gpt-4o", "openai"),
    ):
        assert prices.BUILT_IN.steps(model, provider)
        for taken, at_s in itertools.product(
            (1_000, 200_001), range(1_735_000_000, 1_800_000_000, 7_777_777)
        ):
            usage = Usage(input_tokens=taken, output_tokens=7, cache_read_tokens=500)
            when = datetime.fromtimestamp(at_s, timezone.utc)
            asked = calc_price(usage, model, provider_id=provider, genai_request_timestamp=when)
            charge = prices.BUILT_IN.charge(
                model, provider, prices.Tokens(taken, 7, 500), at_s * 1_000_000_000
            )
            assert charge == pytest.approx((float(asked.input_price), float(asked.output_price)))
