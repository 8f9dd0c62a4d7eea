"""Real servers that sample what they store: questions, counts, and what `kill -9` leaves."""

import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from otel_vtrack import pipeline
from otel_vtrack.client import Client
from otel_vtrack.errors import StoreUnavailable
from otel_vtrack.sample.sampler import Sampler
from otel_vtrack.sample.settings import Sample

# Long enough for what is sent to be held back while it is looked at, also where all is slow.
LONG = 600


def sample(**settings):
    told = {"probability": 0.25, "minimum_per_minute": 0, "window_seconds": 0.5}
    return ("--sample", json.dumps(told | settings))


def told(served):
    return json.loads(served.ask("/statusz").content)


def settled(served, spans):
    """Wait until so many spans are decided on, and return what is told of them."""
    deadline = time.monotonic() + 60
    while True:
        found = told(served)["sampled"]
        done = sum(found["stored_spans"].values()) + found["sampled_out_spans"]
        assert done <= spans
        if done == spans:
            assert found["waiting_spans"] == 0
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def counts_of(served):
    """Return the adjusted count of each trace stored, by its id; a query waits for what is due."""
    with Client(served.grpc, timeout=60) as client:
        return {
            bytes.fromhex(info.trace_id): info.adjusted_count
            for info in client.search_traces(page_size=1_000)
        }


def spans_in(store):
    [row] = store.select("SELECT count() AS n, uniq(trace_id) AS traces FROM spans FINAL")
    return row["n"], row["traces"]


def test_what_is_stored_counts_for_all_and_nothing_is_lost_on_the_way(vtrack, traces, reopened):
    served = vtrack(*sample(minimum_per_minute=30, slow_seconds=2))
    ids, canary = traces.ids(600), traces.ids(20)
    failed, slow = set(ids[:30]), set(ids[30:50])
    roots = traces.request(ids, spans=(0,), slow=slow)
    children = traces.request(ids, spans=(1, 2), failed=failed)
    # The failed child comes apart from its root, and what is sent twice changes nothing.
    for request in (roots, children, roots, traces.request(canary, version="2.0")):
        served.export(request)
    found = settled(served, 600 + 1_200 + 600 + 40)
    counts = counts_of(served)
    assert {counts[each] for each in canary} == {1}
    assert {counts[each] for each in failed | slow} == {1}
    others = [count for each, count in counts.items() if each in set(ids) - failed - slow]
    assert len(set(others)) == 1
    # 550 traces of which a quarter is kept: one standard error is 40.
    assert sum(others) == pytest.approx(550, abs=160)
    kept = len(others)
    assert found["stored_traces"]["error"] == 30
    assert found["stored_traces"]["slow"] == 20
    assert sum(found["stored_traces"].values()) == len(counts) == kept + 70
    assert found["sampled_out_traces"] == 550 - kept
    assert found["sampled_out_spans"] == 4 * (550 - kept)
    assert served.stop() == 0
    assert spans_in(reopened(served)) == (3 * (50 + kept) + 2 * 20, len(counts))


@pytest.mark.slow
def test_two_servers_store_the_same_traces_and_a_question_does_not_wait_for_the_window(
    tmp_path, vtrack_on, traces
):
    ids = traces.ids(400)
    servers = [vtrack_on(tmp_path / name, *sample(window_seconds=3)) for name in "ab"]
    for number, served in enumerate(servers):
        served.export(traces.request(ids, spans=(number,), version=str(number)))
        began = time.monotonic()
        assert counts_of(served) == {}
        assert time.monotonic() - began < 3
    for served in servers:
        settled(served, 400)
    assert counts_of(servers[0]) == counts_of(servers[1])
    assert 60 < len(counts_of(servers[0])) < 140
    # As OpenTelemetry's samplers decide, wherever they are.
    bound = 3 << 54
    assert set(counts_of(servers[0])) == {
        each for each in ids if int.from_bytes(each[9:], "big") >= bound
    }


@pytest.mark.slow
def test_kill_9_inside_the_window_loses_nothing_and_decisions_made_before_stay(
    vtrack, traces, reopened
):
    served = vtrack(*sample(probability=0, minimum_per_minute=50))
    early = traces.ids(200)
    served.export(traces.request(early, spans=(0,)))
    settled(served, 200)
    before = counts_of(served)
    assert len(before) == 50
    served.stop(signal.SIGKILL)
    served = vtrack(*sample(probability=0, minimum_per_minute=50, window_seconds=LONG))
    late = traces.ids(30)
    served.export(traces.request(early, spans=(1,)))
    served.export(traces.request(late, spans=(0,)))
    assert told(served)["received"]["traces"]["accepted_items"] == 230
    served.stop(signal.SIGKILL)
    # The journal has it; what was decided before the first kill is as it was.
    served = vtrack(*sample(probability=0, minimum_per_minute=50, window_seconds=1))
    served.export(traces.request(late, spans=(1,)))
    found = settled(served, 260)
    assert counts_of(served) == before | dict.fromkeys(late, 1)
    assert found["sampled_out_spans"] == 150
    assert served.stop() == 0
    assert spans_in(reopened(served)) == (2 * 50 + 2 * 30, 80)


@pytest.mark.slow
def test_a_window_full_of_bytes_slows_nobody_down_and_all_is_accounted_for(
    vtrack, traces, reopened
):
    flags = sample(window_seconds=LONG, window_max_bytes="1MiB", minimum_per_minute=10)
    served = vtrack(*flags, "--backlog-max-bytes", "4MiB")
    requests = [traces.request(traces.ids(500), failed=()) for _ in range(60)]
    size = sum(request.ByteSize() for request in requests)
    assert size > 4 << 20
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(served.export, requests))
    deadline = time.monotonic() + 60
    while True:
        found = told(served)["sampled"]
        done = sum(found["stored_spans"].values()) + found["sampled_out_spans"]
        if done + found["waiting_spans"] == 60_000:
            break
        # What has just come was not looked at yet.
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    assert found["waiting_spans"] <= 60_000 * (1.1 * (1 << 20) + requests[0].ByteSize() * 4) / size
    assert served.stop() == 0
    spans, kept = spans_in(reopened(served))
    assert spans == 2 * kept
    assert kept == pytest.approx(30_000 / 4, rel=0.1)


def test_without_a_journal_a_request_is_decided_on_alone_and_counted_once_it_is_stored(
    store, writer, traces, monkeypatch
):
    sampler = Sampler(Sample(probability=0, minimum_per_minute=0))
    ids = traces.ids(20)
    request = traces.request(ids, spans=(0,), failed={ids[0]}).SerializeToString()

    def refuse(_):
        raise StoreUnavailable("not now")

    with monkeypatch.context() as patch:
        patch.setattr(writer, "write_traces", refuse)
        with pytest.raises(StoreUnavailable):
            pipeline._write_sampled(sampler, writer, request)
    assert sum(sampler.counts()["stored_spans"].values()) == 0
    pipeline._write_sampled(sampler, writer, request)
    pipeline._write_sampled(
        sampler, writer, traces.request(ids, spans=(1,), failed={ids[1]}).SerializeToString()
    )
    assert spans_in(store) == (3, 2)
    counts = sampler.counts()
    assert (counts["stored_spans"]["error"], counts["sampled_out_spans"]) == (3, 37)
    assert (counts["stored_traces"]["error"], counts["sampled_out_traces"]) == (2, 18)
