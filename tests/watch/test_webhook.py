"""How a webhook is signed, and when it is tried again."""

import logging
import threading
import time

import pytest

from otel_vtrack.errors import StoreUnavailable
from otel_vtrack.query import watch as query
from otel_vtrack.query.watch import WatchEvent
from otel_vtrack.record import watch as record
from otel_vtrack.watch import delivery, webhook
from otel_vtrack.watch.delivery import Delivery, Outcome
from otel_vtrack.wire import retry_after

NOW = 1_790_000_000_000_000_000
DAY = 86_400_000_000_000


def event(number, time_ns=NOW):
    return WatchEvent(
        event_id=f"evt_{number}",
        event_time_ns=time_ns,
        kind="regression",
        experiment="shop",
        service_name="shop",
        environment="production",
        version="2",
        deployment_id="",
        deployment_kind="new_version",
        deployment_start_time_ns=NOW - 1,
        baseline_version="1",
        baseline_deployment_id="",
        metric="error_rate",
        baseline=0.01,
        candidate=0.03,
        difference=0.02,
        difference_lower=0.01,
        difference_upper=0.03,
        threshold=0.001,
        baseline_count=1000,
        candidate_count=1000,
        routes_pooled=False,
        summary="worse",
    )


def test_a_signature_is_that_of_the_reference_implementations():
    # The vector that the libraries of Standard Webhooks test with.
    key = webhook.key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = webhook.signature(
        key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("secret", ["whsec_", "whsec_c2hvcnQ=", "whsec_!", "whsec_" + "A" * 100])
def test_what_is_no_secret_is_said_so_without_telling_it(secret):
    with pytest.raises(ValueError, match="24 to 64 random bytes") as raised:
        webhook.key(secret)
    assert secret not in str(raised.value) or secret == "whsec_"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        ("Mon, 21 Sep 2026 14:13:25 GMT", 5.0),
        ("Mon, 21 Sep 2026 14:13:10 GMT", 0.0),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text, seconds):
    assert retry_after.seconds(text, NOW / 1e9) == seconds


def test_an_address_that_nobody_answers_is_not_told_in_what_went_wrong():
    hook = webhook.Webhook("http://127.0.0.1:1/hidden?token=x", b"k" * 32)
    outcome = hook.send(event(1))
    assert (outcome.delivered, outcome.final) == (False, False)
    assert outcome.why == "it cannot be reached: ConnectionRefusedError"


class Channel:
    name = "webhook"

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.asked = []

    def send(self, told):
        self.asked.append(told.event_id)
        return self.outcomes.pop(0)


def wait_until(holds, timeout=20):
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_told_is_told_once_and_what_is_not_is_tried_again_for_a_day(
    store, monkeypatch, caplog
):
    monkeypatch.setattr(delivery, "FIRST_PAUSE", 0.05)
    caplog.set_level(logging.INFO, "otel_vtrack")
    failed, done = Outcome(delivered=False, why="no"), Outcome(delivered=True)
    gone = Outcome(delivered=False, why="it answered 410", final=True)
    record.add_events(store, [event(0, NOW - 2 * DAY), event(1, NOW - DAY), event(2), event(3)])
    # The first attempt is for the oldest that may still be told.
    channel = Channel(failed, failed, gone, failed, done)
    end_delivery, refused = record.end_delivery, []

    def refusing(*args, **keywords):
        if len(refused) < 1:
            refused.append(args)
            raise StoreUnavailable("not now")
        end_delivery(*args, **keywords)

    monkeypatch.setattr(record, "end_delivery", refusing)
    telling = Delivery(store, channel, 0.05, clock=lambda: NOW + 1)
    telling.start()
    wait_until(lambda: not query.undelivered(store, "webhook", NOW - DAY, 10))
    telling.stop()
    assert channel.asked == ["evt_1", "evt_2", "evt_3", "evt_2", "evt_2"]
    ends = store.select("SELECT event_id, delivered, attempts FROM watch_deliveries ORDER BY 1")
    assert [tuple(each.values()) for each in ends] == [
        ("evt_1", False, 1),
        ("evt_2", True, 3),
        ("evt_3", False, 1),
    ]
    given_up = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
    assert len(given_up) == 2
    assert "did not accept evt_1 after 1 attempts, giving up: no" in given_up[0]


def test_pauses_double_up_to_an_hour_and_are_never_shorter_than_asked_for():
    for attempts, longest in ((1, 1), (2, 2), (5, 16), (40, 3600)):
        assert longest / 2 <= delivery._pause(attempts, None) <= longest
    assert delivery._pause(1, 90.0) == 90.0
    assert delivery._pause(1, 1e9) == 3600


def test_a_channel_that_hangs_holds_up_neither_the_store_nor_the_end(store):
    going, may_go = threading.Event(), threading.Event()

    class Hanging:
        name = "webhook"

        def send(self, told):
            going.set()
            may_go.wait(30)
            return Outcome(delivered=True)

    record.add_events(store, [event(1)])
    telling = Delivery(store, Hanging(), 0.05, clock=lambda: NOW)
    telling.start()
    assert going.wait(10)
    assert len(query.search(store).events) == 1
    started = time.monotonic()
    telling.stop()
    assert time.monotonic() - started < 5
    may_go.set()
    telling._thread.join(10)
    # It was not stored that it was delivered: the next run tells it again.
    assert len(query.undelivered(store, "webhook", 0, 10)) == 1
