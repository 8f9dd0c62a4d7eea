"""Traces with rare spans are looked up once, and found as if they were not rare."""

import pytest

from otel_vtrack.errors import ReadsTooMuch
from otel_vtrack.query import rare, trace_search
from otel_vtrack.store.client import Store

FILTERS = [
    "span.attributes.answer = 'a1'",
    "NOT span.attributes.answer = 'a1'",
    "span.attributes.answer = 'a2' OR span.attributes.answer = 'a3'",
    "span.attributes.answer = 'a2' OR name = 'n1'",
    "exists span (attributes.answer = 'a1') AND exists span (attributes.answer = 'a2')",
    "span.attributes.answer = 'a1' AND version = '2' AND span_count > 1",
    "span.attributes.answer = 'a1' AND span_count > 2",
    "span.attributes.answer = 'nowhere'",
    "span.status = 'ERROR'",
]
ORDERS = [[], ["name DESC"], ["execution_time", "timestamp ASC"]]


@pytest.fixture
def traces(store, send):
    """Send traces that answer one of five things, some of them in two minutes or experiments."""
    for trace in range(1, 21):
        spans = [
            {
                "trace": trace,
                "span": span,
                "parent": span - 1,
                "name": f"n{trace % 3}",
                "at": 40_000 * (trace // 3) + span * 30_000,
                "status": 2 * (trace % 4 == span),
                "attributes": {"answer": f"a{(trace + span * (trace % 2)) % 5}"},
            }
            for span in range(1, 4)
        ]
        send(*spans[:2], service__name="shop", service__version=str(trace % 3))
        send(spans[2], service__name="shop" if trace % 4 else "stock", service__version="2")
    return store


def pages(store, text, keys, experiment, size):
    found, token = [], ""
    while True:
        page = trace_search.search(
            store,
            text=text,
            order_by=keys,
            experiment=experiment,
            page_size=size,
            page_token=token,
        )
        found += page.traces
        if not (token := page.next_page_token):
            return found


def answers(store):
    listed = [
        pages(store, text, keys, experiment, size)
        for text in FILTERS
        for keys in ORDERS
        for experiment, size in (("", 50), ("shop", 50), ("", 3))
    ]
    counted = [
        (trace_search.count(store, text=text), trace_search.histogram(store, text=text))
        for text in FILTERS
    ]
    return listed, counted


@pytest.mark.slow
def test_what_is_rare_is_found_as_what_is_not(traces, monkeypatch):
    known = answers(traces)
    assert {len(each) for each in known[0]} >= {0, 4, 12}
    for name in ("_MOST_SPANS", "_MOST_FOUND"):
        with monkeypatch.context() as patch:
            patch.setattr(rare, name, 1)
            assert answers(traces) == known, name


def test_a_rare_attribute_is_looked_for_once(traces, monkeypatch):
    statements = []
    run = Store.select
    monkeypatch.setattr(
        Store, "select", lambda self, text, *rest: statements.append(text) or run(self, text, *rest)
    )
    for text in (FILTERS[0], FILTERS[5]):
        for ask in (trace_search.search, trace_search.count, trace_search.histogram):
            statements.clear()
            ask(traces, text=text)
            assert sum("s.attributes[" in each for each in statements) == 1, (text, ask)


def test_what_the_index_leaves_too_much_of_is_not_read(traces):
    asked = {"most": 9, "most_spans": 1}
    with pytest.raises(ReadsTooMuch):
        traces.query("spans/places", asked)
    [row] = traces.query("spans/places", asked | {"most": 1, "most_spans": 1000})
    assert row["start_ns"] % 60_000_000_000 == 0
