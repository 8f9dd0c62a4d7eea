"""Retried and reordered data counts once, everywhere."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_vtrack.errors import StoreError
from otel_vtrack.store import migrate
from otel_vtrack.store.client import Store
from otel_vtrack.store.writer import Writer

DAY = 24 * 3_600 * 10**9
TABLES = ("spans", "traces", "versions", "activity_minutes", "activity_hours", "log_records")


def some_spans(otlp):
    """Two traces over midnight, with errors, usage, sessions, a late root and a stray child."""
    session = {"session.id": "s-1", "user.id": "u-1"}
    usage = {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 4}
    return [
        otlp.span(1, name="root", duration=9_000, attributes=session),
        otlp.span(2, parent=1, attributes=usage, status=2),
        otlp.span(3, parent=1, start=otlp.T0 + DAY, attributes=usage),
        otlp.span(4, parent=3, start=otlp.T0 - DAY, duration=-500, status=2),
        otlp.span(5, trace=2, parent=77, name="stray", kind=2, attributes={"session.id": "s-2"}),
        otlp.span(6, trace=2, parent=5, attributes=usage | {"service.version": "3.0.0"}),
    ]


RESOURCES = (
    {"service.name": "shop", "service.version": "2.3.1", "deployment.environment.name": "prod"},
    {"service.name": "bank", "vcs.ref.head.revision": "0123456789abcdef"},
)


@pytest.fixture
def payloads(otlp):
    """One request a span; resources take turns, so both traces cross services."""
    return [
        otlp.request(one, resource=RESOURCES[number % 2]).SerializeToString()
        for number, one in enumerate(some_spans(otlp))
    ]


@pytest.fixture
def once(store, writer, payloads, contents):
    """What the store answers after every span came once; the store is empty again."""
    writer.write_traces(b"".join(payloads))
    answers = contents(store)
    assert len(answers["spans"]) == len(payloads)
    assert {row["id"][-1] for row in answers["traces"]} == {"1", "2"}
    empty(store)
    assert not any(contents(store).values())
    return answers


def empty(store):
    for table in TABLES:
        store.command(f"TRUNCATE TABLE {table}")


def merge(store):
    for table in TABLES:
        store.command(f"OPTIMIZE TABLE {table} FINAL")


def parts(store, table):
    return store.select(
        "SELECT count() AS n FROM system.parts WHERE active AND table = {table:String}"
        " AND database = currentDatabase()",
        {"table": table},
    )[0]["n"]


def test_a_request_repeated_within_one_batch_counts_once(store, writer, payloads, once, contents):
    writer.write_traces(b"".join(payloads * 3))
    assert contents(store) == once


def test_a_retried_request_counts_once(store, writer, payloads, once, contents):
    for _ in range(3):
        writer.write_traces(b"".join(payloads))
    assert contents(store) == once


def test_a_retry_into_another_part_counts_once_before_and_after_the_merge(
    store, writer, payloads, once, contents
):
    for table in TABLES:
        store.command(f"SYSTEM STOP MERGES {table}")
    writer.write_traces(b"".join(payloads))
    first = parts(store, "spans")
    writer.write_traces(b"".join(payloads))
    assert parts(store, "spans") == 2 * first
    assert contents(store) == once
    for table in TABLES:
        store.command(f"SYSTEM START MERGES {table}")
    merge(store)
    assert parts(store, "spans") == 3, "one part a day"
    assert contents(store) == once
    assert store.select("SELECT count() AS n FROM spans")[0]["n"] == len(payloads)


def test_a_retry_after_a_merge_counts_once(store, writer, payloads, once, contents):
    writer.write_traces(b"".join(payloads))
    merge(store)
    writer.write_traces(b"".join(payloads))
    assert contents(store) == once
    merge(store)
    assert contents(store) == once


def test_a_retry_after_a_restart_counts_once(url, payloads, contents):
    answers = []
    for _ in range(2):
        with Store(url) as store:
            migrate.apply(store)
            Writer(store).write_traces(b"".join(payloads))
            answers.append(contents(store))
    assert answers[0] == answers[1]
    assert answers[0]["spans"]


@pytest.mark.parametrize("order", ["forward", "backward"])
def test_spans_of_a_trace_may_come_one_by_one_with_the_root_first_or_last(
    store, writer, payloads, once, contents, *, order
):
    for payload in payloads if order == "forward" else payloads[::-1]:
        writer.write_traces(payload)
    assert contents(store) == once
    merge(store)
    assert contents(store) == once


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_split_with_any_repeats_in_any_order_gives_the_same_answers(
    store, writer, payloads, once, contents, *, data
):
    empty(store)
    every = list(range(len(payloads)))
    repeats = data.draw(st.lists(st.sampled_from(every), max_size=6))
    order = data.draw(st.permutations(every + repeats))
    cuts = data.draw(st.lists(st.integers(0, len(order)), max_size=5).map(sorted))
    for start, end in zip([0, *cuts], [*cuts, len(order)], strict=True):
        writer.write_traces(b"".join(payloads[number] for number in order[start:end]))
        if data.draw(st.booleans()):
            merge(store)
    assert contents(store) == once


@pytest.mark.parametrize("target", ["traces", "versions", "activity_minutes"])
def test_a_view_that_fails_half_way_leaves_nothing_wrong_once_the_batch_is_retried(
    store, writer, payloads, once, contents, *, target
):
    """An insert is not atomic over its views: the other targets keep their rows."""
    definition = store.select(f"SHOW CREATE TABLE {target}")[0]["statement"]
    store.command(f"RENAME TABLE {target} TO {target}_away")
    # Same columns, but no row may ever enter.
    head, engine = definition.split("\nENGINE", 1)
    body = head.rstrip().removesuffix(")").rstrip()
    store.command(f"{body},\n CONSTRAINT shut CHECK version() = ''\n)\nENGINE{engine}")
    with pytest.raises(StoreError, match="shut"):
        writer.write_traces(b"".join(payloads))
    left = contents(store)
    assert not left[target]
    assert left["spans"] == once["spans"], "the failure was meant to leave half of it behind"
    store.command(f"DROP TABLE {target} SYNC")
    store.command(f"RENAME TABLE {target}_away TO {target}")
    writer.write_traces(b"".join(payloads))
    assert contents(store) == once


def test_a_thousand_spans_in_random_batches_count_once(store, writer, otlp, contents):
    chance = random.Random(7)
    spans = [
        otlp.span(
            number,
            trace=1 + number % 50,
            parent=0 if number <= 50 else number % 50 + 1,
            start=otlp.T0 + number * DAY // 100,
            attributes={"llm.token_count.total": number, "user.id": f"u{number % 9}"},
            status=number % 3,
        )
        for number in range(1, 1001)
    ]
    writer.write_traces(otlp.request(*spans).SerializeToString())
    expected = contents(store)
    assert len(expected["spans"]) == 1000
    empty(store)
    for _ in range(2):
        chance.shuffle(spans)
        for start in range(0, 1000, 150):
            writer.write_traces(otlp.request(*spans[start : start + 200]).SerializeToString())
    assert contents(store) == expected


def test_a_log_record_sent_twice_counts_once(store, writer, otlp, contents):
    payload = otlp.logs(
        *(
            otlp.record(time_unix_nano=otlp.T0 + number * DAY, body={"n": [number]}, event_name="e")
            for number in range(5)
        )
    ).SerializeToString()
    writer.write_logs(payload)
    once = contents(store)
    assert len(once["log_records"]) == 5
    writer.write_logs(payload + payload)
    assert contents(store) == once
    merge(store)
    assert contents(store) == once
    assert store.select("SELECT count() AS n FROM log_records")[0]["n"] == 5
