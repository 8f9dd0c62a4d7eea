"""Merges wait for others, but not for ever."""

import errno
import os
import threading
from pathlib import Path

import pytest

from otel_vtrack.store import merging

pytestmark = pytest.mark.skipif(
    not hasattr(os, "SCHED_IDLE"), reason="only Linux has such a policy"
)


def policies():
    """The policies of the threads that merge."""
    return {
        os.sched_getscheduler(int(task.name))
        for task in Path("/proc/self/task").iterdir()
        if (task / "comm").read_text().startswith("MergeMutate")
    }


@pytest.fixture
def merged(store, send):
    """A store whose threads have merged something in the background."""
    for span in range(1, 4):
        send({"span": span})
    # A mutation waits for the threads that also merge.
    store.command("ALTER TABLE spans DELETE WHERE 0 SETTINGS mutations_sync = 2")
    return store


def test_merges_wait_until_there_are_too_many_parts(merged):
    with merged._reader() as client:
        merging.give_way(client)
        assert policies() == {os.SCHED_IDLE}
        merging.give_way(client, most_parts=0)
        assert policies() == {os.SCHED_OTHER}


def test_that_it_is_forbidden_is_said_once(merged, monkeypatch, caplog):
    def forbidden(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", forbidden)
    merging._say_forbidden.cache_clear()
    with merged._reader() as client:
        for most_parts in (500, 0, 500):
            merging.give_way(client, most_parts)
    [said] = [each.getMessage() for each in caplog.records]
    assert "may not call sched_setscheduler (Operation not permitted)" in said


def test_other_threads_are_left_alone(merged):
    with merged._reader() as client:
        merging.give_way(client)
        assert os.sched_getscheduler(threading.get_native_id()) == os.SCHED_OTHER
        merging.give_way(client, most_parts=0)


def test_one_of_pythons_that_merges_for_a_moment_is_left_alone(merged):
    own = Path(f"/proc/self/task/{threading.get_native_id()}/comm")
    before = own.read_text()
    # As the engine calls whoever runs OPTIMIZE.
    own.write_text("MergeMutate")
    try:
        with merged._reader() as client:
            merging.give_way(client)
            assert os.sched_getscheduler(threading.get_native_id()) == os.SCHED_OTHER
            merging.give_way(client, most_parts=0)
    finally:
        own.write_text(before)
