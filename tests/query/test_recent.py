import threading
import time

import pytest

from otel_vtrack import api
from otel_vtrack.errors import NotFound, StoreUnavailable
from otel_vtrack.query import export, traces
from otel_vtrack.query.recent import Recent

FIRST_S = 1_790_000_000
START_S = FIRST_S // 60 * 60
MINUTE_MS = 60_000


def now_ms():
    """Return the time as `at` takes it."""
    return (int(time.time()) - FIRST_S) * 1000


def minute_of(at_ms):
    return (FIRST_S + at_ms // 1000) // 60 * 60


def test_minutes_are_known_once_they_are_loaded(store, send, trace_id):
    now = now_ms()
    recent = Recent(store)
    an_hour_ago = now - 60 * MINUTE_MS
    send(
        {"trace": 1, "at": an_hour_ago},
        {"trace": 2, "at": now},
        {"trace": 2, "span": 9, "parent": 2, "at": now - MINUTE_MS},
        {"trace": 3, "at": now - 8 * 24 * 60 * MINUTE_MS},
    )
    assert recent.minute(trace_id(1)) is None
    recent.load()
    assert recent.minute(trace_id(1)) == minute_of(an_hour_ago)
    assert recent.minute(trace_id(2)) == minute_of(now)
    assert recent.minute(trace_id(3)) is None, "it is older than a week"
    assert recent.minute(trace_id(4)) is None


def test_later_loads_add_what_is_new(store, send, trace_id):
    now = now_ms()
    recent = Recent(store)
    recent.load()
    send({"trace": 1, "at": now}, {"trace": 2, "at": now - 60 * MINUTE_MS})
    recent.load()
    assert recent.minute(trace_id(1)) == minute_of(now)
    assert recent.minute(trace_id(2)) is None, "it began long before the first load"


def test_traces_whose_ids_share_a_half_are_told_apart(store, writer, make_spans):
    now = now_ms()
    first, second = (f"{high:016x}{low:016x}" for high, low in ((1, 7), (1, 8)))
    later = now + 2 * MINUTE_MS
    request = make_spans({"at": now}, {"at": later})
    for span, identity in zip(
        request.resource_spans[0].scope_spans[0].spans, (first, second), strict=True
    ):
        span.trace_id = bytes.fromhex(identity)
    writer.write_traces(request.SerializeToString())
    recent = Recent(store)
    recent.load()
    assert (recent.minute(first), recent.minute(second)) == (
        minute_of(now),
        minute_of(later),
    )


def test_the_thread_loads_what_was_missed(store, send, trace_id):
    now = now_ms()
    send({"at": now})
    recent = Recent(store)
    recent.start()
    try:
        assert recent.minute(trace_id()) is None
        until = time.monotonic() + 20
        while recent.minute(trace_id()) is None and time.monotonic() < until:
            time.sleep(0.01)
        assert recent.minute(trace_id()) == minute_of(now)
    finally:
        recent.stop()


def test_the_thread_outlives_a_store_that_fails(store, monkeypatch):
    failed = threading.Event()

    def refuse(*_):
        failed.set()
        raise StoreUnavailable("not now")

    monkeypatch.setattr(store, "binary", refuse)
    recent = Recent(store)
    recent.start()
    recent.minute("0" * 32)
    assert failed.wait(20)
    recent.stop()


def test_a_guess_changes_nothing(store, send, trace_id):
    kinds = [
        [{}],
        [{}, {"parent": 1, "at": MINUTE_MS}, {"parent": 1, "at": 2 * MINUTE_MS}],
        [{}, {"span": 1, "at": MINUTE_MS}],
        [{}, {"span": 1, "ms": 2}],
        [{}, {"parent": 1, "at": 90 * MINUTE_MS}],
        [{}, {"parent": 1, "start_time_unix_nano": (1 << 63) - 1}],
        [{"start_time_unix_nano": 1, "end_time_unix_nano": 2}],
    ]
    for number, spans in enumerate(kinds, 1):
        send(*({"trace": number, **span} for span in spans))
    for identity in map(trace_id, range(1, len(kinds) + 1)):
        known = sorted(export.spans(store, identity), key=str)
        whole = traces.get(store, identity)
        assert known
        for minute in (*range(START_S - 60, START_S + 180, 60), 60, (1 << 32) - 60):
            assert sorted(export.spans(store, identity, minute), key=str) == known
            assert traces.get(store, identity, minute_of=lambda _, at=minute: at) == whole


def test_the_api_asks_for_a_guess(store, send, trace_id):
    send({})
    [method] = [m for s in api.SERVICES for m in s.methods if m.path.endswith("/GetTrace")]
    asked = []
    backend = api.Backend(store, minute_of=asked.append)
    [info] = method.handler(backend, method.request(trace_id=f"tr-{trace_id()}")).traces
    assert (info.trace_id, asked) == (trace_id(), [trace_id()])


def test_a_guess_does_not_make_a_trace(store, send, trace_id):
    send({})
    with pytest.raises(NotFound):
        traces.get(store, trace_id(2), minute_of=lambda _: START_S)
