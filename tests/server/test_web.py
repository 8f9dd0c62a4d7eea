"""What the ports take of whoever reaches them, asked over real sockets."""

import contextlib
import http.client
import json
import socket
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from otel_vtrack import server, web
from otel_vtrack.ingest.room import Share
from otel_vtrack.settings import load

MIB = 1 << 20
OTLP = ("/v1/traces", "application/x-protobuf")
API = ("/otel_vtrack.v1.VersionService/SearchVersions", "application/json")


@pytest.fixture(scope="module")
def served(tmp_path_factory, copy_store):
    folder = tmp_path_factory.mktemp("narrow")
    copy_store(folder / "store")
    settings = load(
        {
            "store_url": f"chdb://{folder / 'store'}",
            "grpc": "127.0.0.1:0",
            "http": "127.0.0.1:0",
            "arriving_max_bytes": 4 * MIB,
            "max_connections": 20,
        }
    )
    with server.running(settings) as running:
        yield running


@pytest.fixture
def connect(served):
    with contextlib.ExitStack() as stack:

        def connect() -> socket.socket:
            host, port = served.http_address.split(":")
            return stack.enter_context(socket.create_connection((host, int(port)), timeout=20))

        yield connect


def ask(served, path, body=None, headers=None):
    connection = http.client.HTTPConnection(served.http_address, timeout=20)
    try:
        connection.request("GET" if body is None else "POST", path, body, headers or {})
        response = connection.getresponse()
        response.content = response.read()
        return response
    finally:
        connection.close()


def within(seconds, holds):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("kind", [OTLP, API], ids=["otlp", "api"])
def test_bodies_that_arrive_have_a_limit_together(served, connect, kind, caplog, monkeypatch):
    taken, grow = [], Share.grow

    def growing(share, size):
        grow(share, size)
        taken.append(size)

    monkeypatch.setattr(Share, "grow", growing)
    path, media_type = kind
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\n"
    half_sent = connect()
    half_sent.sendall(f"{head}Content-Length: {8 * MIB}\r\n\r\n".encode() + b" " * (3 * MIB))
    within(10, lambda: sum(taken) >= 3 * MIB)
    # Neither OTLP nor JSON, as the first byte shows.
    small, large = b"{}" if kind is API else b"", b"\xff" * (2 * MIB)
    headers = {"Content-Type": media_type}
    refused = ask(served, path, large, headers)
    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    # What was turned away holds nothing, though its sender is not done with it.
    turned_away = connect()
    before = len(taken)
    turned_away.sendall(f"{head}Content-Length: {8 * MIB}\r\n\r\n".encode() + large)
    within(10, lambda: len(taken) > before)
    time.sleep(0.2)
    fits = b"\xff" * (MIB - 65_536)
    assert ask(served, path, fits, headers).status != 503
    assert ask(served, path, small, headers).status == 200
    assert "senders of more are told to retry" in caplog.text or kind is API
    half_sent.close()
    # There is room again.
    within(10, lambda: ask(served, path, large, headers).status != 503)
    # What arrives alone may be larger than the room.
    alone = ask(served, path, b"\xff" * (6 * MIB), headers)
    assert alone.status != 503


def test_connections_have_a_limit_and_no_end_of_time(served, connect, monkeypatch):
    monkeypatch.setattr(web, "_HEAD_SECONDS", 1.5)
    idle = [connect() for _ in range(20)]
    within(5, lambda: ask(served, "/statusz").status == 503)
    refused = ask(served, API[0], b"{}", {"Content-Type": API[1]})
    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    assert json.loads(refused.content)["code"] == "unavailable"
    assert ask(served, "/livez").status == 200
    # A head that comes by bytes has no more time than one that does not come.
    slow = connect()
    with contextlib.suppress(OSError):
        for _ in range(60):
            slow.sendall(b"G")
            time.sleep(0.05)
    for each in (*idle, slow):
        with contextlib.suppress(ConnectionResetError):
            assert each.recv(1) == b""
    assert ask(served, "/statusz").status == 200


def test_connections_over_grpc_have_a_limit_too(served):
    host, port = served.grpc_address.split(":")

    def closed_at_once(connection):
        connection.settimeout(0.5)
        try:
            return connection.recv(1) == b""
        except TimeoutError:
            return False

    with contextlib.ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection((host, int(port)), timeout=20))
            for _ in range(21)
        ]
        assert closed_at_once(silent[20])
        assert not closed_at_once(silent[0])
    with grpc.insecure_channel(served.grpc_address) as channel:
        asked = health_pb2.HealthCheckRequest()
        health_pb2_grpc.HealthStub(channel).Check(asked, wait_for_ready=True, timeout=20)


def test_who_offers_another_protocol_is_answered_in_this_one_and_not_logged(served, caplog):
    upgrade = {
        "Connection": "Upgrade, HTTP2-Settings",
        "Upgrade": "h2c",
        "HTTP2-Settings": "AAMAAABkAAQAAP__",
    }
    assert ask(served, OTLP[0], b"", {"Content-Type": OTLP[1]} | upgrade).status == 200
    assert not caplog.records


def test_a_connection_that_asks_is_left_alone(served, connect, monkeypatch):
    monkeypatch.setattr(web, "_HEAD_SECONDS", 0.2)
    asking = connect()
    head = (
        b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n"
    )
    for _ in range(2):
        asking.sendall(head + b"Content-Length: 2\r\n\r\n\xfa")
        time.sleep(0.5)
        asking.sendall(b"\x00")
        answer = http.client.HTTPResponse(asking)
        answer.begin()
        assert (answer.status, bool(answer.read())) == (400, True)


def rebound(served, host):
    """Ask as a page does whose name leads here."""
    kinds = ((API[0], b"{}", API[1]), (OTLP[0], b"", OTLP[1]), ("/statusz", None, API[1]))
    return {
        ask(served, path, body, {"Content-Type": media_type, "Host": host}).status
        for path, body, media_type in kinds
    }


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:4318",
        "app.localhost:80",
        "127.0.0.1:1",
        "10.1.2.3",
        "[::1]",
        "[::1]:4318",
        "host.docker.internal:4318",
    ],
)
def test_it_is_asked_by_its_own_names_and_by_addresses(served, host):
    assert rebound(served, host) == {200}


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:4318",
        "localhost.evil.example",
        "notlocalhost",
        "127.0.0.1.evil.example:80",
        "[::1].evil.example",
        "",
        "localhost:80:evil.example",
    ],
)
def test_a_page_of_another_site_is_not_answered(served, host):
    assert rebound(served, host) == {403}
    refused = ask(served, API[0], b"{}", {"Content-Type": API[1], "Host": host})
    said = json.loads(refused.content)
    assert said["code"] == "permission_denied"
    assert "--allowed-hosts" in said["message"]


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://localhost:4318", "localhost:4318", 200),
        ("HTTPS://localhost", "evil.example", 200),
        ("http://evil.example", "localhost", 403),
    ],
)
def test_a_target_may_be_a_whole_url_whose_host_counts(served, target, host, status):
    for path, media_type in (OTLP, API):
        headers = {"Content-Type": media_type, "Host": host}
        body = b"{}" if path == API[0] else b""
        assert ask(served, target + path, body, headers).status == status
    assert ask(served, f"{target}/livez?a=b", headers={"Host": host}).status == status
    nowhere = ask(served, f"{target}?a=b", headers={"Host": host}).status
    assert nowhere == (404 if status == 200 else 403)


@pytest.mark.parametrize(
    ("given", "statuses"),
    [
        # A proxy in front passes its own name on.
        ({"allowed_hosts": "a.example, vtrack.example"}, (200, 403)),
        # Who needs a token cannot be a page.
        ({"token_file": "tokens"}, (401, 401)),
        # As a gateway, it is known by names that it does not know.
        ({"http": "0.0.0.0:0"}, (200, 200)),
        ({"http": "0.0.0.0:0", "allowed_hosts": "vtrack.example"}, (200, 403)),
    ],
)
def test_other_names_are_let_in_where_a_page_could_do_no_harm(tmp_path, given, statuses):
    (tmp_path / "tokens").write_text("correct-horse-battery-staple")
    if "token_file" in given:
        given = {"token_file": tmp_path / "tokens"}
    settings = load(
        {
            "store": False,
            "forward": "http://127.0.0.1:9",
            "forward_folder": tmp_path,
            "grpc": "127.0.0.1:0",
            "http": "127.0.0.1:0",
            **given,
        }
    )
    with server.running(settings) as running:
        found = tuple(
            ask(running, "/statusz", headers={"Host": host}).status
            for host in ("VTRACK.example:443", "evil.example")
        )
    assert found == statuses
