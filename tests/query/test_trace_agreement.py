"""Whoever loads a trace and whoever finds it is told the same, and loading reads little."""

import random

from otel_vtrack.query import trace_search, trace_spans, traces
from otel_vtrack.store import sql

DAY_MS = 86_400_000
EXPERIMENTS = ("shop", "search")
USAGE = (
    {"gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 3},
    {"gen_ai.usage.total_tokens": 5, "gen_ai.response.model": "gpt-4o"},
    {"gen_ai.usage.input_tokens": str(2**64 - 1), "llm.token_count.completion": 2},
    {"gen_ai.usage.input_tokens": 9, "gen_ai.usage.cache_read.input_tokens": 4},
    {"mlflow.llm.cost": '{"total_cost": 0.5}'},
    {"mlflow.chat.tokenUsage": '{"input_tokens": 1, "output_tokens": 2, "total_tokens": 4}'},
)
TAGS = (
    {"session.id": "s1"},
    {"session.id": b"\xff", "enduser.id": "u"},
    {"service.version": "2", "vcs.ref.head.revision": "abc"},
    {"deployment.environment.name": "staging", "deployment.id": "d7"},
    {"mlflow.traceTag.team": "blue", "vtrack.flag.prompt": "v2"},
)


def strange_span(draw, trace):
    """Draw a span of a trace: without a parent, below one that may be missing, or itself."""
    span = {
        "trace": trace,
        "span": draw.randint(1, 6),
        "parent": draw.choice([0, 0, 1, 2, 3, 4, 5, 6, 99]),
        "at": draw.choice([0, 0, 1, 5, 5, 3 * DAY_MS, -DAY_MS]) + draw.random(),
        "ms": draw.choice([0, 1, 20, -500, 2 * DAY_MS]),
        "kind": draw.randint(0, 5),
        "flags": draw.choice([0, 0, 0x100, 0x300]),
        "status": draw.choice([0, 0, 1, 2]),
        "message": draw.choice(["", "failed"]),
        "trace_state": draw.choice(["", "", "ot=th:c", "ot=th:fe"]),
        "attributes": draw.choice([{}, *TAGS]) | draw.choice([{}, *USAGE]),
    }
    if draw.random() < 0.05:
        span["start_time_unix_nano"] = draw.choice([0, 2**63 - 900, 2**63 + 5, 2**64 - 1])
        span["end_time_unix_nano"] = draw.choice([0, 2**63 + 5000, 2**64 - 1])
    return span


def test_strange_traces_are_told_alike_by_both(store, writer, make_spans, trace_id):
    draw = random.Random(1)
    spans = [strange_span(draw, trace) for trace in range(1, 31) for _ in range(draw.randint(1, 7))]
    # A span is sent again as it was, never changed: the engine keeps one of those that are alike.
    once = list({(span["trace"], span["span"]): span for span in spans}.values())
    draw.shuffle(once)
    requests = [
        make_spans(*once[at::5], service__name=EXPERIMENTS[at % 2]).SerializeToString()
        for at in range(5)
    ]
    for request in [*requests, requests[2]]:
        writer.write_traces(request)
    found = trace_search.search(store, page_size=1000).traces
    loaded = [info for n in range(1, 31) for info in traces.get(store, trace_id(n)).infos]
    assert len(loaded) > 30
    assert len({info.state for info in loaded}) == 3
    assert sorted(loaded, key=str) == sorted(found, key=str)
    # And very many traces are told as few are.
    of_many = trace_search._of_many({"some": "1", "cost": "FROM trace_charges AS p"})
    for view, told in (("whole_traces", of_many["from"]), ("trace_charges", of_many["cost"][5:])):
        both = (f"SELECT * FROM {view} AS t", f"SELECT * FROM {told}")
        for one, other in (both, both[::-1]):
            statement = f"SELECT count() AS rows FROM ({one} EXCEPT {other})"
            settings = "SETTINGS query_plan_merge_expressions = 0"
            assert store.select(f"{statement} {settings}") == [{"rows": 0}], view


def test_a_trace_is_found_without_reading_the_rest(store):
    store.command(
        "INSERT INTO spans (trace_id, span_id, start_time)"
        " SELECT toFixedString(reinterpretAsString(cityHash64(number)), 16),"
        " toFixedString('', 8), fromUnixTimestamp64Nano(toInt64(number) * 100000000, 'UTC')"
        " FROM numbers(30000)"
    )
    [row] = store.select(
        "SELECT lower(hex(trace_id)) AS id, toUInt32(toStartOfMinute(start_time)) AS minute"
        " FROM spans ORDER BY start_time LIMIT 1 OFFSET 20000"
    )
    parameters = {
        "trace_id": row["id"],
        "first_minute": row["minute"],
        "last_minute": row["minute"],
        "minutes": [row["minute"]],
        "minute": row["minute"],
    }
    of_spans = [f"spans/{name}" for name in ("list", "of_trace", "events")]
    for name in ("traces/bounds", *of_spans):
        statement = sql.text("queries", name).rstrip().removesuffix(";")
        for asked in (statement, sql.filled(statement, trace_spans.OF_ONE_MINUTE)):
            [plan] = store.select(f"EXPLAIN ESTIMATE {asked}", parameters)
            assert 0 < plan["rows"] <= (3 * 2048 if name in of_spans else 2 * 1024), name
    [info] = traces.get(store, row["id"]).infos
    assert info.span_count == 1
