"""Searching by cost: the engine and `query.tokens` come to the same."""

import itertools
import json

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from otel_vtrack.analysis import compare
from otel_vtrack.analysis.metrics import MetricQuery
from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import prices, spans, tokens, trace_search, versions
from otel_vtrack.query.filter import compile_spans, compile_traces, costs
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


@settings(deadline=None, max_examples=200)
@given(trace=traces)
def test_usage_and_cost_are_the_same_together(trace):
    used, edges, billing = reported(trace)
    apart = (
        tokens.usage(used, edges, billing),
        tokens.cost(used, edges, billing, TABLE, trace["at_ns"]),
    )
    assert tokens.usage_and_cost(used, edges, billing, TABLE, trace["at_ns"]) == apart


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


@settings(
    max_examples=5,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(
    said=st.lists(
        st.tuples(said_of_spans, st.integers(-HOUR_NS, 30_000 * DAY_NS)), min_size=50, max_size=200
    )
)
def test_the_engine_makes_up_the_same_cost_of_a_span(store, said):
    store.command("TRUNCATE TABLE spans")
    expected, inserted = {}, []
    for at, (span, at_ns) in enumerate(said, 1):
        taken, given_, more = span["used"] or (0, 0, 0)
        used = [(1, taken, given_, taken + given_ + more)] if span["used"] else []
        bill = Bill(1, span["model"], span["provider"], *span["cached"], span["told"])
        # A trace of one span costs what it does.
        found = tokens.cost(used, [1 << 32], [bill], TABLE, at_ns)
        known = found is not None and not found.unknown_models
        expected[f"{at:016x}"] = found.total_cost if known else None
        counted = [*used[0][1:], *span["cached"]] if used else [None] * 3 + list(span["cached"])
        inserted.append([f"{at:016x}", str(at_ns), *bill[1:3], span["told"], json.dumps(counted)])
    store.command(
        "INSERT INTO spans (span_id, start_time, model, provider, cost, input_tokens,"
        " output_tokens, total_tokens, cache_read_input_tokens, cache_creation_input_tokens)"
        " SELECT unhex(row[1]), fromUnixTimestamp64Nano(toInt64(row[2]), 'UTC'), row[3], row[4],"
        " row[5], counts[1], counts[2], counts[3], counts[4], counts[5] FROM (SELECT"
        " arrayJoin(JSONExtract({rows:String}, 'Array(Array(String))')) AS row,"
        " JSONExtract(row[6], 'Array(Nullable(UInt64))') AS counts)",
        {"rows": json.dumps(inserted)},
    )
    models = [
        costs.Priced(model, provider, TABLE.steps(model, provider))
        for model in KNOWN
        for provider in ("", "openai")
    ]
    parameters = Parameters()
    field = costs.of_span(lambda: models, parameters)
    rows = store.select(
        f"SELECT lower(hex(s.span_id)) AS id, {field.sorted_by} AS priced FROM spans AS s",
        parameters.bound,
    )
    assert {row["id"]: row["priced"] for row in rows} == expected


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
        ("cost > 0.002 AND cost < 0.19 AND cost IS NOT NULL", {3}),
        ("NOT (cost > 0.002 AND (cost < 0.19 OR cost = 7))", {1, 2, 4, 5}),
        ("cost = 0.002 OR (cost < 0.19 AND span_count = 1) OR cost > 7", {1, 3}),
    ):
        found = trace_search.search(store, text=text, table=TABLE).traces
        assert {int(each.trace_id, 16) for each in found} == wanted, text
    assert trace_search.count(store, text="cost IN (0.2, 7)", table=TABLE) == 1
    found = trace_search.histogram(store, text="cost > 0.1", width_s=3_600, table=TABLE)
    assert [each.trace_count for each in found.buckets] == [2]


def test_what_traces_cost_is_made_up_once_for_conditions_side_by_side():
    for text, times in (
        ("cost > 1 AND cost < 2", 1),
        ("status = 'OK' AND (cost > 1 OR (cost < 0.5 AND cost != 0.1))", 1),
        ("cost > 1 OR cost IS NULL", 2),
        (" OR ".join(f"cost = {n}" for n in range(200)), 1),
    ):
        compiled = compile_traces(text, priced=list)
        assert compiled.where.count(costs.WANTED) == times


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


def test_spans_are_found_and_sorted_by_cost(store, calls):
    assert calls is None
    for text, wanted in (
        ("cost > 0.1", {2, 3}),
        ("span.total_cost BETWEEN 0.11 AND 0.19 OR cost = 0.002", {1, 3}),
        ("cost IS NULL", {4, 5}),
        ("NOT cost > 0.1", {1, 4, 5}),
        ("cost != 0.002", {2, 3}),
        ("cost IN (0.2, 7)", {2}),
    ):
        found = spans.search(store, text=text, table=TABLE).spans
        assert {int(each.trace_id, 16) for each in found} == wanted, text
    for order, wanted in (("cost", [1, 3, 2, 5, 4]), ("cost DESC", [2, 3, 1, 5, 4])):
        found, token = [], ""
        while True:
            page = spans.search(store, order_by=[order], page_size=2, page_token=token, table=TABLE)
            found += [int(each.trace_id, 16) for each in page.spans]
            if not (token := page.next_page_token):
                break
        assert found == wanted
    for text, wanted in (
        ("span.cost > 0.1 AND span.input_tokens < 1000000", 1),
        ("NOT span.cost > 0.1 AND cost IS NOT NULL", 1),
        ("exists span (cost IS NULL)", 2),
    ):
        assert trace_search.count(store, text=text, table=TABLE) == wanted
    with pytest.raises(InvalidArgument, match="no key 'cost'"):
        compile_spans("cost > 1")


def test_versions_are_found_and_sorted_by_what_they_cost(store, send):
    for number, (version, model, taken) in enumerate(
        [
            *(("1", "plain", 1_000_000), ("1", "plain", 2_000_000), ("2", "cached", 100_000)),
            *(("3", "changing", 100), ("4", "unknown", 5), ("4", "plain", 9_000_000)),
            ("5", "", 0),
        ],
        1,
    ):
        asked = {"gen_ai.request.model": model, "gen_ai.usage.input_tokens": taken}
        send({"trace": number, "attributes": asked if model else {}}, service__version=version)
    shown = {
        each.version: each.usage.cost.total_cost
        for each in versions.search(store, usage_by=TABLE).versions
        if each.usage and not each.usage.cost.unknown_models
    }
    assert set(shown) == {"1", "2", "3"}

    def names(text="", **more):
        return [
            each.version
            for each in versions.search(store, filter_=text, table=TABLE, **more).versions
        ]

    for text, wanted in (
        ("cost > 0.1", {"1", "2"}),
        (f"cost = {shown['1']!r}", {"1"}),
        (f"cost < {shown['1']!r} AND trace_count = 1", {"2", "3"}),
        ("cost IS NULL", {"4", "5"}),
        ("NOT total_cost > 0.1", {"3", "4", "5"}),
        ("cost > 0.25 OR version = '5'", {"1", "5"}),
        ("cost != 7 AND has(version)", {"1", "2", "3"}),
    ):
        assert set(names(text)) == wanted, text
    for order, wanted in (("cost", ["3", "2", "1"]), ("cost DESC", ["1", "2", "3"])):
        found, token = [], ""
        while True:
            page = versions.search(
                store, order_by=[order], page_size=2, page_token=token, usage_by=TABLE
            )
            found += page.versions
            if not (token := page.next_page_token):
                break
        assert [each.version for each in found[:3]] == wanted
        assert {each.version for each in found[3:]} == {"4", "5"}
        for each in found[:3]:
            assert each.usage.cost.total_cost == shown[each.version]


def test_too_many_versions_to_add_up_are_refused(store, send, monkeypatch):
    monkeypatch.setattr(versions, "MOST_PRICED", 1)
    for version in "12":
        send({"trace": int(version)}, service__version=version)
    with pytest.raises(InvalidArgument, match=r"more than 1 versions .* narrow"):
        versions.search(store, filter_="cost > 1")
    assert versions.search(store, filter_="cost > 1 AND version = '1'").versions == []


@pytest.mark.parametrize("most", [0, pytest.param(30, marks=pytest.mark.slow)])
def test_versions_are_compared_by_traces_of_some_cost(store, send, most):
    def asked(taken):
        attributes = {"gen_ai.request.model": "plain", "gen_ai.usage.input_tokens": taken}
        return {"attributes": attributes if taken else {}}

    for version in "12":
        for part in range(3):
            first = 100 * int(version) + 20 * part
            sent = [
                {"trace": each, "span": each, "ms": each % 7 + 1, **asked(each % 3 * 1_000_000)}
                for each in range(first, first + 20)
            ]
            send(*sent, service__version=version)
    # One that came in parts: what it cost is in the one that does not have its root.
    send({"trace": 102, "span": 7, "parent": 8, **asked(1_000_000)}, service__version="1")
    wanted = {
        version: sum(each % 3 == 1 for each in range(100 * version, 100 * version + 60))
        for version in (1, 2)
    }
    wanted[1] += 1

    def counted(text, metric="latency"):
        question = compare.Question(
            baseline_version="1",
            candidate_version="2",
            metrics=[MetricQuery(metric)],
            filter=text,
            max_traces=most,
        )
        found = compare.compare(store, question, TABLE)
        return found.baseline.trace_count, found.candidate.trace_count, found

    texts = ["cost = 0.1", "cost > 0.05 AND NOT cost >= 0.2 AND status = 'OK'"]
    if most:
        texts += ["cost < 0.15", "exists span (cost = 0.1) AND total_tokens < 1500000"]
    for text, metric in zip(texts, ("latency", "cost", "tokens", "entry_latency"), strict=False):
        first, second, found = counted(text, metric)
        if not most:
            assert (first, second) == (wanted[1], wanted[2]), text
            assert found.metrics[0].baseline_count == wanted[1]
        assert 0 < first <= wanted[1]
        assert 0 < second <= wanted[2]
