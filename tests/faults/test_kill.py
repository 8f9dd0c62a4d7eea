"""A process that ends under load, in order or by `kill -9`."""

import random
import signal
import time

import grpc
import pytest

READY_SECONDS = 20


def restarted(vtrack):
    """Start it on the same folder, and stop it: what counts is what is there then."""
    served = vtrack(ready=False)
    assert served.wait_ready() < READY_SECONDS
    assert served.stop() == 0
    return served


@pytest.mark.slow
def test_sigterm_under_load_ends_with_0_and_loses_nothing(vtrack, senders, reopened):
    served = vtrack()
    senders.start(served)
    senders.wait_for(40)
    assert served.stop() == 0
    senders.join()
    assert set(senders.codes) <= {grpc.StatusCode.UNAVAILABLE}
    senders.check(reopened(restarted(vtrack)))


@pytest.mark.slow
def test_a_second_signal_ends_it_at_once_and_loses_nothing(vtrack, senders, reopened):
    served = vtrack()
    senders.start(served)
    senders.wait_for(20)
    served.process.send_signal(signal.SIGTERM)
    time.sleep(0.01)
    assert served.stop() in {0, 128 + signal.SIGTERM}
    senders.join()
    senders.check(reopened(restarted(vtrack)))


def killed_under_load(rounds, vtrack, senders):
    """Kill it so many times on one folder, and return the last process, running."""
    chance = random.Random(rounds)
    served = vtrack()
    for _ in range(rounds):
        senders.start(served)
        senders.wait_for(chance.randint(5, 60))
        # Anywhere in an insert.
        time.sleep(chance.random() * 0.05)
        assert served.stop(signal.SIGKILL) == -signal.SIGKILL
        senders.join()
        assert senders.unanswered
        served = vtrack(ready=False)
        assert served.wait_ready() < READY_SECONDS
        # Exporters send again what they had no answer to; some of it is stored already, and
        # some whose answer was lost on its way is sent again too.
        senders.retry(served, more=chance.sample(senders.acknowledged, 5))
    return served


def test_kill_9_twice_under_load_loses_and_repeats_nothing(vtrack, senders, reopened):
    served = killed_under_load(2, vtrack, senders)
    assert served.stop() == 0
    senders.check(reopened(served))


@pytest.mark.slow
def test_kill_9_ten_times_under_load_loses_and_repeats_nothing(vtrack, senders, reopened):
    served = killed_under_load(10, vtrack, senders)
    assert served.stop() == 0
    senders.check(reopened(served))


@pytest.mark.slow
def test_what_was_acknowledged_is_there_when_nobody_retries(vtrack, senders, reopened):
    served = vtrack("--durability", "fsync")
    senders.start(served)
    senders.wait_for(10)
    served.stop(signal.SIGKILL)
    senders.join()
    senders.check(reopened(restarted(vtrack)))
