"""Files that are read again once that is allowed, though their content did not change."""

import ctypes
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from otel_vtrack.process import sources
from otel_vtrack.tokens import Tokens

NOBODY = 65_534


@pytest.fixture
def folder():
    """A folder in which the modes of files bind this thread, also if the tests run as root."""
    # The folders around `tmp_path` are closed to others.
    made = Path(tempfile.mkdtemp())
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(made, NOBODY, -1)
        ctypes.CDLL(None).setfsuid(NOBODY)
    try:
        yield made
    finally:
        if is_root:
            ctypes.CDLL(None).setfsuid(0)
        shutil.rmtree(made)


def test_tokens_hold_once_their_file_may_be_read(folder, caplog):
    first, second = ("Bearer a-token-that-is-known", "Bearer another-token-of-this-test")
    file = folder / "tokens"
    file.write_text(first.removeprefix("Bearer "))
    tokens = Tokens(file)
    assert tokens.admit([first])
    new = folder / "new"
    new.write_text(second.removeprefix("Bearer "))
    new.chmod(0)
    new.rename(file)
    assert tokens.admit([first])
    assert not tokens.admit([second])
    assert caplog.text.count("Permission denied") == 1
    file.chmod(0o400)
    assert tokens.admit([second])
    assert not tokens.admit([first])


def test_what_describes_a_deployment_counts_once_it_may_be_read(folder, caplog):
    file = folder / "deployment.yaml"
    file.write_text("version: '1'")
    then = file.stat().st_mtime - 10
    os.utime(file, (then, then))
    file.chmod(0)
    watched = sources.deployment_file(file)
    assert not watched.look()
    assert caplog.text.count("Permission denied") == 1
    file.chmod(0o400)
    assert watched.look()
    assert watched.value.attributes == {"service.version": "1"}
