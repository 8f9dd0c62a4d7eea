"""A store that cannot write for a while: senders are told to retry, and it recovers by itself.

Needs the right to mount a small file system of its own.
"""

import contextlib
import subprocess
import sys
import time

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

REFUSES = "the store refuses data; senders are told to retry"
RECOVERS = "the store accepts data again"


@pytest.fixture
def disk(tmp_path):
    """A file system of 96 MiB, and nothing on it."""
    if sys.platform != "linux":
        pytest.skip("mounts a tmpfs")
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", place],
        check=False,
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"mounting is not permitted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
def serve_on_disk(vtrack_on, disk, tmp_path):
    """Start `vtrack serve` with its store on the disk and its log elsewhere."""

    def start(**others):
        return vtrack_on(disk / "store", log=tmp_path / "store.log", **others)

    return start


@pytest.fixture
def fill(disk):
    """Fill the disk, and return what gives the space back."""

    def run():
        with (disk / "ballast").open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)):
                        pass
        return (disk / "ballast").unlink

    return run


@pytest.fixture
def make_read_only(disk):
    """Let nothing be made in the store any more, and return what undoes it.

    Folder by folder, because a file system with a file open for writing, which the store always
    has, can't be remounted read-only; that happens to one whose device fails.
    """

    def run():
        every = (disk / "store").rglob("*")
        folders = [path for path in every if path.is_dir() and not path.is_symlink()]
        done = subprocess.run(["chattr", "+i", *folders], check=False, capture_output=True)
        if done.returncode:
            pytest.skip(f"chattr is not permitted here: {done.stderr.decode().strip()}")
        return lambda: subprocess.run(["chattr", "-i", *folders], check=True)

    return run


def refusal(served, request):
    """Send until it is refused: what still fits into the journal is acknowledged, and kept."""
    for _ in range(100):
        try:
            served.export(request)
        except grpc.RpcError as refused:
            return refused
        time.sleep(0.05)
    raise AssertionError("never refused")


@pytest.mark.parametrize("trouble", ["fill", "make_read_only"])
def test_senders_try_again_until_it_recovers_by_itself(
    request, serve_on_disk, make_spans, reopened, trouble
):
    served = serve_on_disk()
    assert served.export(make_spans({"trace": 1})) == b""
    undo = request.getfixturevalue(trouble)()
    error = refusal(served, make_spans({"trace": 2}))
    assert error.code() is grpc.StatusCode.UNAVAILABLE, error
    trailers = dict(error.trailing_metadata())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    retry = error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() > 0
    for _ in range(5):
        response = served.ask("/v1/traces", make_spans({"trace": 2}).SerializeToString())
        assert response.status == 503
        assert int(response.getheader("Retry-After")) > 0
    assert served.ask("/readyz").status == 200
    assert served.log.count(REFUSES) == 1
    undo()
    assert served.export(make_spans({"trace": 2})) == b""
    assert served.log.count(RECOVERS) == 1
    assert served.stop() == 0
    assert "Traceback" not in served.log
    found = reopened(served).select("SELECT uniq(trace_id) AS n, count() AS c FROM spans FINAL")
    assert found == [{"n": 2, "c": 2}]


def test_a_disk_that_fills_under_load_loses_nothing(serve_on_disk, fill, senders, reopened):
    served = serve_on_disk()
    senders.start(served)
    senders.wait_for(10)
    undo = fill()
    senders.join()
    assert set(senders.codes) <= {grpc.StatusCode.UNAVAILABLE}
    undo()
    senders.retry(served)
    # Both inserts may have been under way when it got better, and one fails after the other.
    senders.start(served, patient=True)
    senders.wait_for(10)
    senders.join()
    assert served.stop() == 0
    # Neither is lost, but neither is in the tables.
    assert "safe in the journal" not in served.log
    assert "set_aside" not in served.log
    senders.check(reopened(served))


@pytest.mark.slow
def test_a_kill_while_the_disk_is_full_loses_nothing(serve_on_disk, fill, senders, reopened):
    served = serve_on_disk()
    senders.start(served)
    senders.wait_for(10)
    undo = fill()
    senders.join()
    served.process.kill()
    served.wait()
    undo()
    served = serve_on_disk()
    senders.retry(served)
    assert served.stop() == 0
    senders.check(reopened(served))


@pytest.mark.slow
def test_a_stop_while_the_disk_is_full_is_in_order_and_loses_nothing(
    serve_on_disk, fill, senders, reopened
):
    served = serve_on_disk(OTEL_VTRACK_DRAIN_TIMEOUT_SECONDS="2")
    senders.start(served)
    senders.wait_for(10)
    undo = fill()
    senders.join()
    started = time.monotonic()
    assert served.stop() == 0
    assert time.monotonic() - started < 15
    assert "Traceback" not in served.log
    undo()
    served = serve_on_disk()
    senders.retry(served)
    assert served.stop() == 0
    senders.check(reopened(served))


def test_it_does_not_start_on_a_full_disk_and_says_why(serve_on_disk, fill):
    fill()
    served = serve_on_disk(ready=False, new=True)
    assert served.wait() == 1
    last = served.log.splitlines()[-1]
    assert last.startswith("vtrack: "), served.log
    assert "space" in last
