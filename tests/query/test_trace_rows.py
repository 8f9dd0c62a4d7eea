"""What is found and loaded from rows side by side is what whole traces say.

Asked of a store whose traces came in pieces: in any order, twice, over experiments and days, with
spans that begin at once, roots that come late or not at all, and samples.
"""

import random
import re

import pytest

from otel_vtrack.query import facts, near, partial, rare, trace_search
from otel_vtrack.store import sql

DAY_MS = 86_400_000
FILTERS = [
    "",
    "version = '1' AND environment = 'live'",
    "tag.app_version = '2' AND status = 'OK'",
    "status = 'ERROR'",
    "status = 'IN_PROGRESS'",
    "NOT (name = 'n1' OR service_name = 'b')",
    "timestamp > '2026-09-21T14:13:21Z'",
    "version = '2' AND span.attributes.input.value = 'asked 3'",
    "version = '1' AND total_tokens > 4",
]
ORDERS = [[], ["name DESC", "timestamp ASC"]]


def pieces(seed):
    """Yield spans of some forty traces, a few at a time, each with its resource."""
    dice = random.Random(seed)
    spans = []
    for trace in range(1, 41):
        begin = dice.choice([0, 0, 5, 1_000, 59_990, dice.randrange(120_000), DAY_MS - 20_000_000])
        for number in range(1, dice.randrange(2, 7)):
            attributes = (
                {"input.value": f"asked {dice.randrange(9)}"} if dice.random() < 0.5 else {}
            )
            if dice.random() < 0.5:
                attributes |= {"output.value": "said", "gen_ai.usage.input_tokens": number}
            span = {
                "trace": trace,
                "span": number,
                "at": begin + dice.choice([0, 0, 1, 3, 70_000]),
                "ms": dice.choice([0, 1, 30_000]),
                "name": f"n{dice.randrange(3)}",
                "attributes": attributes,
                "status": dice.choice([0, 0, 1, 2]),
                "kind": dice.choice([1, 1, 2]),
                "trace_state": "ot=th:8" if trace % 3 else "",
            }
            if number > 1 or dice.random() < 0.1:
                span["parent"] = dice.choice([1, 2, 9])
            place = {
                "service__name": dice.choice("aab"),
                "service__version": str(1 + (trace + dice.randrange(9) // 8) % 2),
                "deployment__environment__name": dice.choice(["live", "live", "test"]),
            }
            spans.append((span, place))
    spans += dice.sample(spans, 30)
    dice.shuffle(spans)
    yield from spans


@pytest.fixture(params=[1])
def world(request, store, writer, make_spans):
    """A store of such traces, and what merges its tables."""
    store.command("SYSTEM STOP MERGES")
    every = list(pieces(request.param))
    for at in range(0, len(every), 12):
        writer.write_traces(
            b"".join(make_spans(span, **r).SerializeToString() for span, r in every[at : at + 12])
        )
    yield store
    store.command("SYSTEM START MERGES")


def pages(store, text, keys):
    found, token = [], ""
    while True:
        page = trace_search.search(store, text=text, order_by=keys, page_size=15, page_token=token)
        found += page.traces
        if not (token := page.next_page_token):
            return found


def grouped(row, whole):
    """Put all traces together by the view."""
    return {"whole": f"({row}) AND ({whole})"}


def answers(store):
    listed = {(text, *keys): pages(store, text, keys) for text in FILTERS for keys in ORDERS}
    counted = {
        text: (trace_search.count(store, text=text), trace_search.histogram(store, text=text))
        for text in FILTERS
    }
    return listed, counted


@pytest.mark.slow
def test_rows_tell_what_whole_traces_tell(world, monkeypatch):
    def slowly():
        with monkeypatch.context() as patch:
            # By all traces, put together and sorted.
            patch.setattr(trace_search._Search, "_by_rows", lambda *_: None)
            patch.setattr(trace_search, "_look", lambda *_: ([], False))
            patch.setattr(trace_search, "_counting", lambda found: grouped(found.row, found.where))
            patch.setattr(
                trace_search,
                "_of_many",
                lambda parts: parts | grouped(parts["row"], parts["whole"]),
            )
            patch.setattr(rare, "look", lambda _store, compiled, _experiment: rare.Looked(compiled))
            return answers(world)

    wanted = slowly()
    assert len(wanted[0]["",]) > 40
    assert answers(world) == wanted
    world.command("SYSTEM START MERGES")
    for table in ("spans", "traces", "trace_roots"):
        world.command(f"OPTIMIZE TABLE {table} FINAL")
    assert slowly() == wanted
    assert answers(world) == wanted


def test_spans_near_by_tell_what_the_rows_of_traces_tell(world, monkeypatch):
    wholes = partial.traces(world, [f"{number:032x}" for number in range(1, 41)])
    said = facts.of_traces(world, wholes)
    places = [(whole.root.start_time_ns, whole.trace_id) for whole in wholes]
    wanted = {(each.trace_id, each.experiment): each for each in wholes}
    bounds = near.bounds(world, [whole.trace_id for whole in wholes])
    found = near.load(world, places, lambda: bounds)
    assert {key: whole for key, (whole, _) in found.items()} == wanted
    assert {key: told for key, (_, told) in found.items()} == said
    # And as well if there are too many spans, or they are too large.
    with monkeypatch.context() as patch:
        patch.setattr(near, "_MOST_SPANS", 3)
        assert near.load(world, places, lambda: bounds) == found
    text, asked = sql.text, []

    def narrow(kind, name):
        asked.append(name)
        return re.sub("(?<=max_result_bytes = )[0-9]+", "1000", text(kind, name))

    monkeypatch.setattr(sql, "text", narrow)
    assert near.load(world, places, lambda: bounds) == found
    assert asked[-2:] == ["traces/describe", "traces/root_facts"]


def test_a_span_with_fewer_kinds_than_attributes_is_listed_all_the_same(store, send):
    said = {"n": 1, "gen_ai.prompt.0.content": "why?"}
    send({"trace": 1, "attributes": said}, {"trace": 2, "attributes": said})
    store.command(
        "ALTER TABLE spans UPDATE attribute_types = [3] WHERE trace_id = unhex({id:String})"
        " SETTINGS mutations_sync = 2",
        {"id": f"{1:032x}"},
    )
    listed = {int(each.trace_id, 16): each for each in trace_search.search(store).traces}
    assert listed.keys() == {1, 2}
    assert "why?" in listed[2].request_preview
