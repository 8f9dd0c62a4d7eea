"""The connection to a ClickHouse server by TLS: to one that is trusted, and to no other."""

import contextlib
import http.server
import ssl
import subprocess
import sys
import threading

import pytest

from otel_vtrack.errors import SettingsError, StoreUnavailable
from otel_vtrack.store.client import Store


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers what is asked by ClickHouse's HTTP interface, from the embedded engine."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.server.seen.append(dict(self.headers))
        statement = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with self.server.lock:
            answer = self.server.engine.raw_query(statement)
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class Https(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A handshake that fails is what is tested."""


@pytest.fixture
def served(store, certificates):
    """Start one, which asks for certificates if told to."""
    with contextlib.ExitStack() as stack:

        def serve(*, asks=False):
            server = stack.enter_context(Https(("127.0.0.1", 0), Handler))
            server.seen, server.lock, server.engine = [], threading.Lock(), store.connect()
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificates.server.chain, certificates.server.key)
            if asks:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(certificates.ca)
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            stack.callback(server.shutdown)
            server.at = f"127.0.0.1:{server.server_port}/default"
            return server

        yield serve


def test_a_server_is_asked_whose_authority_is_trusted_and_no_other(served, certificates):
    server = served()
    url = f"clickhouses://vtrack:hunter2@{server.at}"
    for ca in (None, certificates.other.chain):
        with pytest.raises(StoreUnavailable, match="--store-ca-file") as refused:
            Store(url, tls=(ca, None, None))
        assert "hunter2" not in str(refused.value)
    # Nor one of another name.
    elsewhere = url.replace("127.0.0.1", "localhost")
    with pytest.raises(StoreUnavailable, match="for another name"):
        Store(elsewhere, tls=(certificates.ca, None, None))
    assert server.seen == []
    with Store(url, tls=(certificates.ca, None, None)) as found:
        assert found.select("SELECT 1 AS one") == [{"one": 1}]
    assert all(each["Authorization"].startswith("Basic ") for each in server.seen)


@pytest.mark.parametrize("user", ["vtrack", "vtrack:hunter2"])
def test_a_certificate_is_shown_to_who_asks_for_one(served, certificates, user):
    server = served(asks=True)
    url = f"clickhouses://{user}@{server.at}"
    with pytest.raises(StoreUnavailable):
        Store(url, tls=(certificates.ca, None, None))
    assert server.seen == []
    client = certificates.client
    with Store(url, tls=(certificates.ca, client.chain, client.key)) as found:
        assert found.select("SELECT 1 AS one") == [{"one": 1}]
    by_certificate = {each.get("X-ClickHouse-SSL-Certificate-Auth") for each in server.seen}
    by_password = {"Authorization" in each for each in server.seen}
    assert (by_certificate, by_password) == (({None}, {True}) if ":" in user else ({"on"}, {False}))


def test_files_that_cannot_be_used_are_named(certificates, tmp_path):
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    client, other = certificates.client, certificates.other
    for tls in (
        (empty, None, None),
        (tmp_path / "none.pem", None, None),
        (certificates.ca, client.chain, other.key),
    ):
        with pytest.raises(SettingsError, match="--store-ca-file") as refused:
            Store("clickhouses://127.0.0.1:1/default", tls=tls)
        assert str(tls[-1] or tls[0]) in str(refused.value)


@pytest.mark.slow
def test_the_commands_are_told_of_it(served, certificates, vtrack):
    server = served()
    url = f"clickhouses://{server.at}"
    trusts = ("--store-url", url, "--store-ca-file", str(certificates.ca))
    done = subprocess.run(
        [sys.executable, "-m", "otel_vtrack", "migrate", "--status", *trusts],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.startswith("applied  migrations/"), done.stderr
    ready = vtrack(*trusts)
    assert f"store {url}" in ready.printed[0]
    assert ready.stop() == 0
    refused = vtrack(*trusts[:2], ready=False)
    assert refused.wait() == 1
    assert "--store-ca-file" in refused.log.splitlines()[-1]
