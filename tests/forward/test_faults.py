"""`kill -9` and a full disk while requests are passed on: what was acknowledged arrives."""

import itertools
import signal
import subprocess
import sys
import threading
import time

import grpc
import pytest


class Senders:
    """Threads that send requests of one numbered span each, and remember what was acknowledged."""

    def __init__(self, make_spans):
        self._make_spans = make_spans
        self._numbers = itertools.count(1)
        self.acknowledged = set()
        self.refused = []

    def run(self, served, seconds, threads=4, pad=0):
        """Send for so long, or until the server is gone; a refusal ends nothing."""
        until = time.monotonic() + seconds
        started = [
            threading.Thread(target=self._send, args=[served, until, pad]) for _ in range(threads)
        ]
        for thread in started:
            thread.start()
        return started

    def _send(self, served, until, pad):
        while time.monotonic() < until and served.process.poll() is None:
            number = next(self._numbers)
            attributes = {"pad": "x" * pad}
            request = self._make_spans(
                {"trace": number, "name": f"span {number}", "attributes": attributes}
            )
            try:
                served.export(request)
            except grpc.RpcError as error:
                self.refused.append(error.code())
            else:
                self.acknowledged.add(f"span {number}")


@pytest.fixture
def senders(make_spans):
    return Senders(make_spans)


def killed_under_load(served, senders, seconds, pad=0):
    threads = senders.run(served, 60, pad=pad)
    time.sleep(seconds)
    assert served.stop(signal.SIGKILL) == -signal.SIGKILL
    for thread in threads:
        thread.join(30)


def test_kill_9_under_load_loses_nothing_that_was_acknowledged(
    forwarding, backend_on, endpoint, senders, until, counts
):
    fast, slow = backend_on(), backend_on()
    slow.answer = lambda *_: time.sleep(0.2)
    destinations = (
        endpoint(fast, signals=["traces"]),
        endpoint(slow, "http/protobuf", "slow", signals=["traces"]),
    )
    # Much, so that files of the queue are written over.
    killed_under_load(forwarding(*destinations), senders, 1.0, pad=100_000)
    slow.answer = lambda *_: None
    served = forwarding(*destinations)
    for name, backend in (("backend", fast), ("slow", slow)):
        until(lambda name=name: not counts(served, name)["queued_bytes"])
        assert senders.acknowledged <= set(backend.spans())
        # Each span counts once as sent, though the last of them may have come twice.
        found = counts(served, name)
        assert len(senders.acknowledged) <= found["sent_items"] <= len(backend.spans())
        assert found["dropped_items"] == found["dead_lettered_items"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("durability", ["process", "fsync"])
def test_kill_9_again_and_again_with_a_store(vtrack, backend, senders, until, reopened, durability):
    flags = ("--durability", durability, "--forward", f"http://127.0.0.1:{backend.http_port}")
    for pause in (0.5, 1.0, 1.5):
        killed_under_load(vtrack(*flags), senders, pause)
    served = vtrack(*flags)
    until(lambda: senders.acknowledged <= set(backend.spans()))
    assert served.stop() == 0
    rows = reopened(served).select("SELECT name, count() AS n FROM spans FINAL GROUP BY name")
    assert senders.acknowledged <= {row["name"] for row in rows}
    assert {row["n"] for row in rows} == {1}


@pytest.fixture
def disk(tmp_path):
    """A file system of 48 MiB, and nothing on it."""
    if sys.platform != "linux":
        pytest.skip("mounts a tmpfs")
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", place],
        check=False,
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"mounting is not permitted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.slow
def test_a_full_disk_is_answered_with_come_again_and_gets_empty_by_itself(
    forwarding, backend, endpoint, senders, until, counts, disk
):
    backend.stop()
    served = forwarding(
        endpoint(backend, "http/protobuf", signals=["traces"]),
        flags=("--forward-folder", str(disk / "queue")),
    )
    threads = senders.run(served, 60, pad=1 << 20)
    until(lambda: len(senders.refused) > 10, 30)
    assert set(senders.refused) == {grpc.StatusCode.UNAVAILABLE}
    assert len(senders.acknowledged) > 5
    backend.start()
    # It takes more than the disk holds without being told that there is room again.
    until(lambda: len(senders.acknowledged) > 100, 40)
    assert served.process.poll() is None
    until(lambda: counts(served)["sent_items"] > 100)
    served.process.kill()
    for thread in threads:
        thread.join(30)
    served = forwarding(
        endpoint(backend, "http/protobuf", signals=["traces"]),
        flags=("--forward-folder", str(disk / "queue")),
    )
    until(lambda: senders.acknowledged <= set(backend.spans()))
    assert "Traceback" not in served.log
