"""`Server` inside this process."""

import asyncio
import contextlib
import http.client
import shutil
import socket
import subprocess
import sys
import threading
import time

import grpc
import pytest

from otel_vtrack import server
from otel_vtrack.errors import SettingsError
from otel_vtrack.pipeline import Pipeline
from otel_vtrack.settings import load
from otel_vtrack.store import writer
from otel_vtrack.wire.signals import TRACES

# Starts at once, as it has no store.
FORWARDS = {"store": False, "forward": "http://127.0.0.1:1"}


@pytest.fixture
def settings(tmp_path):
    return load(
        {
            "store_url": f"chdb://{tmp_path / 'store'}",
            "grpc": "127.0.0.1:0",
            "http": "127.0.0.1:0",
            "forward_folder": tmp_path / "forward",
        }
    )


def status_of(address, path="/readyz"):
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.request("GET", path)
    status = connection.getresponse().status
    connection.close()
    return status


def test_it_runs_from_a_thread_and_again_after_it_ended(settings):
    for _ in range(2):
        with server.running(settings) as running:
            assert status_of(running.http_address) == 200
            assert running.ready
        assert not running.ready
        with pytest.raises(ConnectionRefusedError):
            status_of(running.http_address)


def test_probes_are_told_that_it_stops(settings, monkeypatch):
    held = threading.Event()
    monkeypatch.setattr(Pipeline, "drain", lambda _: held.wait(10))
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(server.running(settings.model_copy(update=FORWARDS)))
        stopping = threading.Thread(target=stack.close)
        stopping.start()
        deadline = time.monotonic() + 10
        while status_of(running.http_address) == 200:
            assert time.monotonic() < deadline
        assert status_of(running.http_address) == 503
        assert status_of(running.http_address, "/livez") == 200
        held.set()
        stopping.join()


@pytest.mark.slow
def test_what_no_insert_has_the_memory_for_is_counted_once_it_is_set_aside(
    settings, tmp_path, empty_store, make_spans, monkeypatch
):
    shutil.copytree(empty_store, tmp_path / "store", symlinks=True)
    monkeypatch.setattr(writer, "_most_memory", lambda _: 1 << 20)
    pipeline = Pipeline(settings)
    asyncio.run(pipeline.receiver.export(TRACES, make_spans({}).SerializeToString()))
    deadline = time.monotonic() + 10
    while not (received := pipeline.received()["traces"])["poisoned"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert (received["poisoned"], received["accepted_requests"]) == (1, 1)
    pipeline.close()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_all_addresses_are_of_both_kinds(settings):
    everywhere = {"grpc": "[::]:0", "http": "[::]:0", **FORWARDS}
    with server.running(settings.model_copy(update=everywhere)) as running:
        port = running.http_address.removeprefix("[::]:")
        for host in ("127.0.0.1", "[::1]"):
            assert status_of(f"{host}:{port}") == 200
            with grpc.insecure_channel(running.grpc_address.replace("[::]", host)) as channel:
                grpc.channel_ready_future(channel).result(10)
        for name in ("http", "grpc"):
            taken = {name: f"0.0.0.0:{getattr(running, f'{name}_address')[5:]}"}
            again = settings.model_copy(update=everywhere | taken)
            with pytest.raises(SettingsError, match="another program"), server.running(again):
                pass


def test_what_was_opened_is_closed_when_it_cannot_start(settings):
    with server.running(settings) as first:
        taken = settings.model_copy(update={"http": first.http_address})
        with pytest.raises(SettingsError), server.running(taken):
            pass
    # The folder and the ports are free again.
    with server.running(settings.model_copy(update={"http": first.http_address})) as again:
        assert status_of(again.http_address) == 200


def test_it_starts_without_what_it_may_never_need():
    """Of its statistics, which take as long to load as everything else, and of its metrics."""
    unneeded = {"scipy", "opentelemetry.sdk", "opentelemetry.exporter"}
    code = f"import sys, otel_vtrack.server; sys.exit(bool({unneeded} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
