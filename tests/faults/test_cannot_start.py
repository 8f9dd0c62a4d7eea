"""Each reason why it cannot start: one line that says what to do, and an exit code."""

import hashlib
import socket
import time

import pytest

from otel_vtrack.store.client import Store


def refused(served):
    """Wait for its end and return what it said, which is one line."""
    code = served.wait()
    assert code == 1, served.log
    assert served.printed == []
    last = served.log.splitlines()[-1]
    assert last.startswith("vtrack: "), served.log
    assert "Traceback" not in served.log
    return last


@pytest.mark.parametrize("flag", ["--grpc", "--http"])
def test_a_taken_port(vtrack, flag):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        started = time.monotonic()
        said = refused(vtrack(flag, address, ready=False))
    assert f"cannot listen on {address}" in said
    assert f"{flag} HOST:PORT" in said
    assert time.monotonic() - started < 30


def test_an_address_that_is_not_this_machines(vtrack):
    said = refused(vtrack("--http", "192.0.2.1:4318", ready=False))
    assert "cannot listen on 192.0.2.1:4318" in said
    assert "an address of this machine" in said


def test_a_second_server_on_the_folder(vtrack, make_spans):
    first = vtrack()
    said = refused(vtrack(ready=False))
    assert f"another process has {first.folder} open" in said
    assert "--store-url" in said
    assert first.export(make_spans({})) == b""


@pytest.mark.parametrize("place", ["a file", "below a file", "/proc"])
def test_a_folder_that_cannot_be_written(vtrack, tmp_path, place):
    file = tmp_path / "file"
    file.write_text("")
    folder = {"a file": file, "below a file": file / "store", "/proc": "/proc/vtrack"}[place]
    said = refused(vtrack("--store-url", f"chdb://{folder}", ready=False))
    assert str(folder) in said
    assert "write access" in said
    assert "--store-url" in said


@pytest.fixture
def record(tmp_path, copy_store):
    """Say in a new store that a file was applied."""

    def write(kind, name, sha256):
        with Store(f"chdb://{copy_store(tmp_path / 'store')}") as store:
            store.command(
                "INSERT INTO schema_migrations VALUES"
                f" ('{kind}', '{name}', '{sha256}', now64(3) + INTERVAL 1 SECOND)"
            )

    return write


def test_a_folder_from_a_newer_release(vtrack, record):
    digest = hashlib.sha256(b"later").hexdigest()
    record("migrations", "9999_add_what_we_do_not_know", digest)
    said = refused(vtrack(ready=False))
    assert "newer otel-vtrack (it has 9999_add_what_we_do_not_know)" in said
    assert "upgrade" in said


def test_a_migration_edited_after_it_was_applied(vtrack, record):
    record("migrations", "0003_create_spans", "0" * 64)
    said = refused(vtrack(ready=False))
    assert "0003_create_spans was edited after it was applied" in said


def test_a_remote_store_that_does_not_answer(vtrack):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"clickhouse://default:hunter2@127.0.0.1:{port}/default"
    said = refused(vtrack("--store-url", url, ready=False))
    assert f"127.0.0.1:{port}" in said
    assert "hunter2" not in said


def test_every_setting_that_makes_no_sense_is_named(vtrack):
    said = refused(
        vtrack("--grpc", "here", "--durability", "none", ready=False, OTEL_VTRACK_LOG_LEVEL="loud")
    )
    for name in ("--grpc", "--durability", "--log-level (or OTEL_VTRACK_LOG_LEVEL)"):
        assert name in said


def test_prices_that_make_no_sense(vtrack, tmp_path):
    prices = tmp_path / "prices.toml"
    prices.write_text('[[price]]\nmodel = "a"\ninput = -1\noutput = 1\n')
    said = refused(vtrack("--prices", str(prices), ready=False))
    assert f"--prices: {prices}: price 1 (a): input must be dollars per million tokens" in said
