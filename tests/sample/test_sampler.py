"""Which traces are kept, what they stand for, and that nothing else of a request changes."""

import math
import random
import struct
from collections import Counter

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_vtrack.sample import randomness, versions
from otel_vtrack.sample.sampler import Sampler
from otel_vtrack.sample.settings import Sample
from otel_vtrack.store import sql
from otel_vtrack.wire import framing

COUNT_TAG = framing.adjusted_count(1.0)[:2]


def sampler(clock=lambda: 0.0, **settings):
    return Sampler(Sample(**{"probability": 0.25, "minimum_per_minute": 0} | settings), clock)


def sampled(one, *requests):
    """Look at requests together, decide, and return the adjusted count of each span stored."""
    ids = []
    for request in requests:
        ids += one.observe(request.SerializeToString())[0]
    one.decide(ids)
    return [stored(one, request) for request in requests]


def stored(one, request):
    """Return what is stored of a request: adjusted counts by trace id and span id."""
    payload, tally = one.apply(request.SerializeToString())
    one.count(tally)
    found = {}
    for group in ExportTraceServiceRequest.FromString(payload).resource_spans:
        raw = group.SerializeToString()
        assert raw[-6:-4] == COUNT_TAG
        (count,) = struct.unpack("<f", raw[-4:])
        for scoped in group.scope_spans:
            for span in scoped.spans:
                assert (span.trace_id, span.span_id) not in found
                found[span.trace_id, span.span_id] = count
    return found


def by_trace(found):
    counts = {}
    for (trace_id, _), count in found.items():
        assert counts.setdefault(trace_id, count) == count, "all spans of a trace have the same"
    return counts


def test_the_threshold_and_the_randomness_are_those_of_opentelemetry(traces):
    # A quarter is the threshold "c", of 56 bits that end the id; "rv" in a tracestate wins.
    kept = bytes(9) + bytes.fromhex("c0000000000000")
    dropped = b"\xff" * 9 + bytes.fromhex("bfffffffffffff")
    state = "vendor=1,ot=th:0;rv:ffffffffffffff"
    told = bytes(15) + b"\x01"
    first, second = sampled(
        sampler(), traces.request([kept, dropped]), traces.request([told], state=state)
    )
    assert by_trace(first) == {kept: 4}
    assert by_trace(second) == {told: 4}


def test_what_is_kept_is_what_it_was_and_what_is_not_is_counted(traces):
    ids = traces.ids(400)
    request = traces.request(ids, spans=(0, 1, 2))
    request.resource_spans[0].resource.dropped_attributes_count = 3
    request.resource_spans[0].scope_spans.add().scope.name = "empty"
    request.resource_spans[0].scope_spans.add(schema_url="x").spans.add(
        trace_id=ids[0], span_id=bytes(7) + b"x", name="other scope"
    )
    one = sampler()
    one.decide(one.observe(request.SerializeToString())[0])
    payload, _ = one.apply(request.SerializeToString())
    (group,) = ExportTraceServiceRequest.FromString(payload).resource_spans
    group.DiscardUnknownFields()
    kept = {span.trace_id for scoped in group.scope_spans for span in scoped.spans}
    expected = request.resource_spans[0]
    for scoped in list(expected.scope_spans):
        spans = [span for span in scoped.spans if span.trace_id in kept]
        del scoped.spans[:]
        scoped.spans.extend(spans)
    whole = [scoped for scoped in expected.scope_spans if scoped.spans]
    del expected.scope_spans[:]
    expected.scope_spans.extend(whole)
    assert group == expected
    assert 60 < len(kept) < 140


def test_failed_and_slow_traces_are_kept_whole_and_stand_for_themselves(traces):
    ids = traces.ids(500)
    failed, slow = set(ids[:50]), set(ids[40:90])
    request = traces.request(ids, failed=failed, slow=slow)
    one = sampler(probability=0.01, slow_seconds=3)
    (found,) = sampled(one, request)
    counts = by_trace(found)
    assert {counts[each] for each in failed | slow} == {1}
    assert len(found) == 2 * len(counts), "both spans of each"
    others = [counts[each] for each in counts if each not in failed | slow]
    assert others
    assert set(others) == {100}
    told = one.counts()
    assert told["stored_traces"] == {
        "error": 50,
        "slow": 40,
        "minimum": 0,
        "probability": len(others),
    }
    assert sum(told["stored_spans"].values()) + told["sampled_out_spans"] == 1_000
    assert told["sampled_out_traces"] == 410 - len(others)


def test_a_child_that_is_slow_is_not_a_slow_trace_and_neither_is_kept_unless_asked(traces):
    ids = traces.ids(200)
    request = traces.request(ids, failed=set(ids), slow=set(ids))
    for span in request.resource_spans[0].scope_spans[0].spans:
        if not span.parent_span_id:
            span.end_time_unix_nano = span.start_time_unix_nano
        else:
            span.end_time_unix_nano += 10**12
    (found,) = sampled(sampler(probability=0, slow_seconds=1, keep_errors=False), request)
    assert found == {}
    # It enters a service: by its kind, or by its flags where they say so.
    spans = request.resource_spans[0].scope_spans[0].spans
    spans[1].kind, spans[3].flags, spans[5].kind, spans[5].flags = 2, 0x300, 2, 0x100
    (found,) = sampled(sampler(probability=0, slow_seconds=1, keep_errors=False), request)
    assert set(by_trace(found)) == {ids[0], ids[1]}


def test_samplers_agree_on_traces_whatever_parts_of_them_they_see(traces):
    ids = traces.ids(1_000)
    (whole,) = sampled(sampler(), traces.request(ids))
    (part,) = sampled(sampler(), traces.request(ids[::2], spans=(1,), version="2.0"))
    assert by_trace(part) == {
        each: count for each, count in by_trace(whole).items() if each in ids[::2]
    }
    # A stricter one keeps a part of it.
    (strict,) = sampled(sampler(probability=0.1), traces.request(ids))
    assert set(by_trace(strict)) < set(by_trace(whole))


def test_a_new_version_is_stored_whole_up_to_its_minimum_and_counts_stay_right(traces):
    one = sampler(probability=0.01, minimum_per_minute=40)
    busy, canary = traces.ids(5_000), traces.ids(30)
    found, new = sampled(
        one, traces.request(busy), traces.request(canary, version="2.0", deployment__id="d")
    )
    assert by_trace(new) == dict.fromkeys(canary, 1)
    counts = by_trace(found)
    assert 40 <= len(counts) < 120, "its minimum, or what the probability gives"
    assert len(set(counts.values())) == 1
    # A busy new one is not stored whole: exactly its minimum, each for as many.
    (other,) = sampled(one, traces.request(traces.ids(1_000), version="3.0"))
    assert len(by_trace(other)) == 40
    assert sum(by_trace(other).values()) == pytest.approx(1_000, rel=0.4)


def test_a_canary_behind_a_busy_service_has_its_minimum_as_well(traces):
    one = sampler(probability=0, minimum_per_minute=20)
    ids = traces.ids(500)
    behind = traces.request(ids[:10], version="canary", spans=(1,), service__name="back")
    for span in behind.resource_spans[0].scope_spans[0].spans:
        span.kind = 2
    front, back = sampled(one, traces.request(ids, spans=(0,)), behind)
    assert by_trace(back) == dict.fromkeys(ids[:10], 1)
    counts = by_trace(front)
    assert counts.items() >= by_trace(back).items(), "the same in all its parts"
    assert 20 <= len(counts) <= 30


def test_the_minimum_fills_again_as_time_goes(traces):
    now = [0.0]
    one = sampler(lambda: now[0], probability=0, minimum_per_minute=60)
    (first,) = sampled(one, traces.request(traces.ids(100)))
    (at_once,) = sampled(one, traces.request(traces.ids(100)))
    now[0] = 10.0
    (later,) = sampled(one, traces.request(traces.ids(100)))
    assert [len(by_trace(each)) for each in (first, at_once, later)] == [60, 0, 10]


def test_what_a_span_says_of_its_version_wins(traces):
    one = sampler(probability=0, minimum_per_minute=5)
    request = traces.request(traces.ids(100))
    spans = request.resource_spans[0].scope_spans[0].spans
    for number, span in enumerate(spans):
        if not span.parent_span_id:
            told = span.attributes.add(key="app_version").value
            told.string_value = "2.0" if number < 10 else "1.0"
    (found,) = sampled(one, request)
    assert Counter(spans[0].trace_id == each for each in by_trace(found))[True] == 1
    assert len(by_trace(found)) == 10


def test_weighted_counts_are_those_of_all_traces(traces):
    """Over many rounds, with fixed ids: within four standard errors of the truth."""
    now = [0.0]
    one = sampler(lambda: now[0], probability=0.05, minimum_per_minute=60, slow_seconds=2)
    chance = random.Random(5)
    truth, told, squares = Counter(), Counter(), Counter()
    for _ in range(60):
        now[0] += 5
        for version, most in (("1.0", 400), ("2.0", 12), ("3.0", 60)):
            ids = traces.ids(chance.randint(1, most))
            odd = {each for each in ids if chance.random() < 0.02}
            (found,) = sampled(one, traces.request(ids, version=version, failed=odd))
            counts = by_trace(found)
            truth[version] += len(ids)
            told[version] += sum(counts.values())
            # The variance of an estimate of Horvitz and Thompson, estimated.
            squares[version] += sum(count * (count - 1) for count in counts.values())
            assert all(counts[each] == 1 for each in odd)
    for version, number in truth.items():
        bound = 4 * math.sqrt(squares[version])
        assert abs(told[version] - number) <= bound
        assert bound < number / 2 or version == "2.0"


def test_a_late_failure_keeps_what_comes_from_then_on(traces):
    ids = traces.ids(100)
    one = sampler(probability=0)
    (first,) = sampled(one, traces.request(ids, spans=(0,)))
    assert first == {}
    (later,) = sampled(one, traces.request(ids, spans=(1,), failed={ids[3]}))
    assert by_trace(later) == {ids[3]: 1}
    assert one.counts()["stored_traces"]["error"] == 1
    assert one.counts()["sampled_out_traces"] == 99


def test_what_was_kept_or_dropped_stays_so_when_it_comes_again_or_in_parts(traces):
    now = [0.0]
    one = sampler(lambda: now[0], probability=0.1, minimum_per_minute=10)
    ids = traces.ids(300)
    (first,) = sampled(one, traces.request(ids, spans=(0,)))
    now[0] = 60.0  # There is room for more, but not for these.
    again, rest = sampled(one, traces.request(ids, spans=(0,)), traces.request(ids, spans=(1, 2)))
    assert again == first
    assert by_trace(rest) == by_trace(first)


def test_another_process_remembers_what_was_decided(traces):
    ids = traces.ids(300)
    request = traces.request(ids, failed=set(ids[:3]))
    first = sampler(probability=0.1, minimum_per_minute=50)
    notes = first.decide(first.observe(request.SerializeToString())[0])
    second = sampler(probability=0.9)
    second.recall(notes)
    assert second.observe(request.SerializeToString())[0] == []
    assert stored(second, request) == stored(first, request)
    assert {d.reason for d in map(second.decision, ids)} == {"error", "minimum", "probability"}


def test_a_late_failure_takes_back_only_what_this_process_counted(traces):
    ids = traces.ids(20)
    first = sampler(probability=0)
    notes = first.decide(first.observe(traces.request(ids).SerializeToString())[0])
    assert first.counts()["sampled_out_traces"] == 20
    second = sampler(probability=0)
    second.recall(notes)
    late = traces.request(ids, spans=(2,), failed=set(ids[:3]))
    (found,) = sampled(second, late)
    assert by_trace(found) == dict.fromkeys(ids[:3], 1)
    assert second.counts()["stored_traces"]["error"] == 3
    assert second.counts()["sampled_out_traces"] == 0


def test_what_was_sampled_elsewhere_is_kept_as_it_is(traces):
    payload = framing.with_experiment(
        traces.request(traces.ids(9)).SerializeToString(), "named", 7.0
    )
    one = sampler(probability=0)
    assert one.observe(payload) == ([], 18)
    assert one.apply(payload)[0] == payload


def test_spans_sampled_elsewhere_are_stored_once_and_counted_as_such(traces):
    told = [traces.request(traces.ids(9)).SerializeToString() for _ in range(2)]
    payload = b"".join(framing.with_experiment(each, "named", 7.0) for each in told)
    one = sampler(probability=1)
    stored, tally = one.apply(payload)
    assert stored == payload
    one.count(tally)
    assert one.counts()["stored_spans"] == dict.fromkeys(one.counts()["stored_spans"], 0) | {
        "told": 36
    }


def test_equal_random_numbers_make_no_trace_stand_for_billions(traces):
    # A client with a broken random source may send the greatest number with every trace.
    request = traces.request(traces.ids(100), state="ot=rv:ffffffffffffff")
    (found,) = sampled(sampler(probability=0, minimum_per_minute=20), request)
    assert sum(by_trace(found).values()) <= 100


def test_the_experiment_that_a_header_named_is_kept(traces):
    ids = traces.ids(2)
    payload = framing.with_experiment(traces.request(ids).SerializeToString(), "cart")
    one = sampler(probability=1)
    one.decide(one.observe(payload)[0])
    assert one.apply(payload)[0] == framing.with_experiment(payload, "cart", 1.0)


def test_memory_is_bounded_by_the_last_traces_and_versions(traces, monkeypatch):
    monkeypatch.setattr("otel_vtrack.sample.sampler._REMEMBERED", 1_000)
    monkeypatch.setattr("otel_vtrack.sample.sampler._MOST_VERSIONS", 50)
    one = sampler(minimum_per_minute=1, probability=0)
    kept = 0
    for number in range(70):
        (found,) = sampled(one, traces.request(traces.ids(30), version=str(number)))
        kept += len(by_trace(found))
        assert len(one._decided) + len(one._decided_before) <= 1_000
    # What is beyond them shares one minimum, which is used up, also where many come at once.
    assert kept == len(one._buckets) == 51
    several = [traces.request(traces.ids(30), version=f"new {n}") for n in range(9)]
    assert not any(sampled(one, *several))
    assert not one._open


def test_a_new_version_has_room_once_others_are_silent_for_a_minute(traces, monkeypatch):
    monkeypatch.setattr("otel_vtrack.sample.sampler._MOST_VERSIONS", 5)
    now = [1_000.0]
    one = sampler(lambda: now[0], minimum_per_minute=3, probability=0)

    def kept(version):
        (found,) = sampled(one, traces.request(traces.ids(9), version=version))
        return len(by_trace(found))

    assert [kept(f"old {n}") for n in range(7)] == [3, 3, 3, 3, 3, 3, 0]
    now[0] += 59
    assert kept("shares what the seventh left") == 2
    now[0] += 1
    assert [kept(f"new {n}") for n in range(2)] == [3, 3]


def test_versions_are_told_by_the_names_that_the_mapping_has():
    view = sql.text("mapping", "spans_from_otlp")
    block = view[view.index("transform(name, [") : view.index("Array(UInt16)")]
    names = list(block.split("], [")[0].split("'")[1::2])
    codes = [int(word) for word in block.split("], [")[1].replace(",", " ").split("]")[0].split()]
    roles = {}
    for code, name in sorted(zip(codes, names, strict=True)):
        roles.setdefault(code // 16, []).append(name)
    assert tuple(roles[1] + roles[2] + roles[5]) == versions.VERSION
    assert tuple(roles[3]) == versions.ENVIRONMENT


@pytest.mark.parametrize(
    ("attributes", "header", "expected"),
    [
        ({"service.name": "s"}, b"", ("s", "s", "", "")),
        ({"service.name": "s", "service.namespace": "n"}, b"", ("n/s", "s", "", "")),
        ({"vtrack.experiment": "x", "app_version": "2"}, b"", ("x", "", "2", "")),
        ({"service.version": "", "git.commit": "abc", "env": "p"}, b"h", ("h", "", "abc", "p")),
    ],
)
def test_a_version_is_what_its_resource_says(attributes, header, expected):
    resource = {name: text for name, text in attributes.items() if text}
    assert versions.version_of(header, resource) == expected


def test_a_request_that_cannot_be_looked_at_leaves_nothing_behind(traces, monkeypatch):
    one = sampler()
    first, second, other = traces.ids(3)
    known = one.observe(traces.request([other]).SerializeToString())[0]
    of_trace = randomness.of_trace

    def fails(trace_id, trace_state):
        if trace_id == second:
            raise ArithmeticError
        return of_trace(trace_id, trace_state)

    monkeypatch.setattr(randomness, "of_trace", fails)
    with pytest.raises(ArithmeticError):
        one.observe(traces.request([other, first, second]).SerializeToString())
    monkeypatch.undo()
    # Sent again, it is as new as it was, and what others told of before still waits.
    again = one.observe(traces.request([other, first, second]).SerializeToString())[0]
    assert again == [first, second]
    one.decide([*known, *again])
    assert all(one.decision(each) is not None for each in (first, second, other))
