"""What the log has of a store's errors, and what not."""

import contextlib
import logging

import pytest

from otel_vtrack import log
from otel_vtrack.errors import StoreUnavailable
from otel_vtrack.ingest import backlog as backlogs
from otel_vtrack.ingest.backlog import Backlog
from otel_vtrack.ingest.commit import GroupCommit
from otel_vtrack.store.client import Store
from otel_vtrack.store.journal import Journal

SECRET = "hunter2"


@pytest.fixture
def quoting(tmp_path, copy_store):
    """Raise what the engine says of a row that it cannot read."""
    with Store(f"chdb://{copy_store(tmp_path / 'store')}") as store:

        def write(payload):
            store.select(f"SELECT toUInt8('{payload.decode()}')")

        with pytest.raises(Exception, match=SECRET):
            write(SECRET.encode())
        yield write


def test_what_the_engine_quotes_of_a_row_is_not_logged(quoting, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(backlogs, "_PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(backlogs, "_ATTEMPTS", 2)
    waits = Backlog(Journal(tmp_path / "journal.sqlite"), quoting, name="traces", writers=1)
    commit = GroupCommit(quoting, name="logs")
    refused = commit.submit(SECRET.encode(), 1)
    with contextlib.suppress(StoreUnavailable):
        waits.append(SECRET.encode())
    assert waits.close(10)
    assert refused.exception(10)
    commit.drain(10)
    for record in caplog.records:
        record.exc_text = None  # as pytest has written it
    lines = [log.OneLine().format(record) for record in caplog.records]
    told = [line for line in lines if "refuses data" in line or "set_aside" in line]
    assert len(told) == 3, lines
    for line in told:
        assert "DatabaseError (6 CANNOT_PARSE_TEXT)" in line, lines
    assert SECRET not in "".join(lines)


def test_what_we_say_ourselves_is_logged():
    full = OSError(28, "No space left on device")
    ours = StoreUnavailable("the journal cannot be written at the moment: No space left on device")
    ours.__cause__ = full
    assert "No space left" in log.said(ours)
    assert log.said(StoreUnavailable("slower than its senders")) == "slower than its senders"
    record = logging.makeLogRecord({"msg": "so", "exc_info": (type(ours), ours, None)})
    assert log.OneLine().format(record).count("No space left") == 1
