"""Pages of traces, in stores that change meanwhile, and other things that need one of their own."""

import pytest

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import trace_search


def found(store, text):
    return {int(info.trace_id, 16) for info in trace_search.search(store, text=text).traces}


@pytest.mark.parametrize("keys", [[], ["name DESC"], ["execution_time"], ["tokens DESC"]])
def test_pages_neither_repeat_nor_skip_while_traces_arrive(store, send, keys):
    for number in range(1, 8):
        used = {"gen_ai.usage.input_tokens": number} if number % 2 else {}
        span = {"trace": number, "at": number * 10, "ms": number, "name": f"n{number}"}
        send(span | {"attributes": used})
    seen, token = [], ""
    while True:
        page = trace_search.search(store, order_by=keys, page_size=3, page_token=token)
        seen += [int(info.trace_id, 16) for info in page.traces]
        token = page.next_page_token
        # Before all there are, in each of these orders.
        early = {"gen_ai.usage.input_tokens": 1000}
        send(
            {"trace": 100 + len(seen), "at": 1000, "ms": 0, "name": "z", "attributes": early},
        )
        if not token:
            break
    assert sorted(seen) == [1, 2, 3, 4, 5, 6, 7]
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("keys", [[], ["execution_time"]])
def test_pages_go_on_behind_a_trace_that_is_going(store, send, keys):
    for number in range(1, 7):
        send({"trace": number, "at": number * 10, "ms": number})
    store.command(f"DELETE FROM spans WHERE trace_id = unhex('{3:032x}')")
    seen, token = [], ""
    while True:
        page = trace_search.search(store, order_by=keys, page_size=2, page_token=token)
        seen += [int(info.trace_id, 16) for info in page.traces]
        if not (token := page.next_page_token):
            break
    assert sorted(seen) == [1, 2, 4, 5, 6]


def test_traces_that_start_together_are_all_listed(store, send):
    send(*({"trace": number, "span": number} for number in range(1, 60)))
    first = trace_search.search(store, page_size=20)
    second = trace_search.search(store, page_size=50, page_token=first.next_page_token)
    ids = [int(info.trace_id, 16) for info in first.traces + second.traces]
    assert ids == list(range(1, 60))


def test_a_search_goes_on_until_it_has_what_few_match(store, send):
    for number in range(1, 30):
        send({"trace": number, "at": number, "ms": 500 if number == 2 else 1})
    page = trace_search.search(store, text="execution_time >= 400ms", page_size=1)
    assert [int(info.trace_id, 16) for info in page.traces] == [2]
    assert page.next_page_token == ""


def test_a_time_range_holds_its_start_and_not_its_end(store, send):
    for number in (1, 2, 3):
        send({"trace": number, "at": number})
    text = "timestamp >= '2026-09-21T14:13:20.001Z' AND timestamp < '2026-09-21T14:13:20.003Z'"
    assert found(store, text) == {1, 2}


@pytest.mark.parametrize(
    "change", [lambda t: t[:-2], lambda t: "A" + t[1:], lambda t: "no", str.upper]
)
def test_a_changed_page_token_is_refused(store, send, change):
    send({"trace": 1}, {"trace": 2})
    token = trace_search.search(store, page_size=1).next_page_token
    with pytest.raises(InvalidArgument, match="page_token"):
        trace_search.search(store, page_size=1, page_token=change(token))


def test_a_page_token_is_good_for_its_own_question_only(store, send):
    send({"trace": 1}, {"trace": 2})
    token = trace_search.search(store, page_size=1).next_page_token
    with pytest.raises(InvalidArgument, match="same filters"):
        trace_search.search(store, text="name = 'x'", page_size=1, page_token=token)


def test_nothing_matches_in_an_empty_store(store):
    assert trace_search.search(store) == trace_search.Page([], "")
    assert trace_search.count(store) == 0
    assert trace_search.histogram(store).buckets == []


def test_tokens_are_counted_once_as_query_tokens_counts_them(store, send):
    def used(count):
        return {"gen_ai.usage.input_tokens": count}

    send(
        {"span": 1, "attributes": used(100)},
        {"span": 2, "parent": 1},
        {"span": 3, "parent": 2, "attributes": used(60)},
        {"span": 4, "parent": 77, "attributes": used(7)},
        {"span": 5, "parent": 5, "attributes": used(1)},
    )
    # In a circle, and below it.
    send(
        {"span": 1, "trace": 2, "parent": 2, "attributes": used(3)},
        {"span": 2, "trace": 2, "parent": 1, "attributes": used(4)},
        {"span": 3, "trace": 2, "parent": 1, "attributes": used(5)},
    )
    totals = {
        int(row["id"], 16): row["total_tokens"]
        for row in store.select("SELECT lower(hex(trace_id)) AS id, total_tokens FROM whole_traces")
    }
    said = {
        int(i.trace_id, 16): i.token_usage.total_tokens for i in trace_search.search(store).traces
    }
    assert totals == said
    assert totals[1] == 108
