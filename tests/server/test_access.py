"""TLS and tokens of the server's own ports, asked by real clients."""

import asyncio
import http.client
import json
import logging
import os
import shutil
import ssl

import grpc
import pytest
from click.testing import CliRunner
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from otel_vtrack import __version__, server
from otel_vtrack.cli import serve
from otel_vtrack.cli.group import group
from otel_vtrack.client import AsyncClient, Client
from otel_vtrack.errors import SettingsError
from otel_vtrack.sdk.exporter import VtrackSpanExporter
from otel_vtrack.settings import load

TOKEN = "correct-horse-battery-staple"
OTHER = "another-token-that-is-known"
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
ASK = "/otel_vtrack.v1.VersionService/SearchVersions"
PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json"}


def replace(path, content):
    """As renewals do: what reads has the whole file, old or new."""
    new = path.with_suffix(".new")
    new.write_bytes(content if isinstance(content, bytes) else content.encode())
    os.replace(new, path)  # noqa: PTH105 - pathlib's replace says nothing more


@pytest.fixture(scope="module")
def locked(tmp_path_factory, copy_store, certificates):
    """A server with TLS and tokens; its files may be replaced."""
    folder = tmp_path_factory.mktemp("locked")
    copy_store(folder / "store")
    for name in ("chain", "key"):
        shutil.copy(getattr(certificates.server, name), folder / name)
    (folder / "tokens").write_text(f"# of the gateway\n{TOKEN}\n\n{OTHER}\n")
    settings = load(
        {
            "store_url": f"chdb://{folder / 'store'}",
            "grpc": "127.0.0.1:0",
            "http": "127.0.0.1:0",
            "tls_cert_file": folder / "chain",
            "tls_key_file": folder / "key",
            "token_file": folder / "tokens",
        }
    )
    with server.running(settings) as running:
        yield running


@pytest.fixture
def channel(certificates):
    """Open channels that share no connection."""
    opened = []

    def open_(served, ca=certificates.ca, client=None):
        credentials = grpc.ssl_channel_credentials(
            ca.read_bytes(),
            client.key.read_bytes() if client else None,
            client.chain.read_bytes() if client else None,
        )
        options = [("grpc.use_local_subchannel_pool", 1)]
        opened.append(grpc.secure_channel(served.grpc_address, credentials, options))
        return opened[-1]

    yield open_
    for each in opened:
        each.close()


@pytest.fixture
def ask(certificates):
    """Ask over HTTPS once, on a connection of its own."""

    def request(
        served, path, token=None, body=None, headers=None, *, ca=certificates.ca, client=None
    ):
        context = ssl.create_default_context(cafile=ca)
        if client:
            context.load_cert_chain(client.chain, client.key)
        connection = http.client.HTTPSConnection(served.http_address, timeout=20, context=context)
        try:
            more = {"authorization": f"Bearer {token}"} if token else {}
            method = "GET" if body is None else "POST"
            connection.request(method, path, body, {**(headers or {}), **more})
            response = connection.getresponse()
            response.content = response.read()
            return response
        finally:
            connection.close()

    return request


def code_of(call):
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return raised.value.code()


def bearer(token):
    return (("authorization", f"Bearer {token}"),)


@pytest.mark.parametrize("kind", ["grpc", "http", "vtrack"])
def test_exporters_send_with_the_standard_variables(locked, certificates, monkeypatch, kind):
    # requests, which the exporter over HTTP uses, would heed them more.
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    http_ = kind == "http"
    path = f"{locked.http_address}/v1/traces" if http_ else locked.grpc_address
    for name, value in {
        "CERTIFICATE": certificates.ca,
        "HEADERS": f"authorization=Bearer%20{TOKEN}",
        "TRACES_ENDPOINT": f"https://{path}",
    }.items():
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", str(value))
    exporter = {"grpc": GrpcExporter, "http": HttpExporter, "vtrack": VtrackSpanExporter}[kind]()
    provider = TracerProvider(resource=Resource({"service.version": f"by-{kind}"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    provider.get_tracer("test").start_span("sent").end()
    provider.shutdown()
    token_file = locked.settings.token_file
    with Client(
        f"https://{locked.grpc_address}",
        token_file=token_file,
        root_certificates=certificates.ca.read_bytes(),
    ) as client:
        assert client.get_version(f"by-{kind}").trace_count == 1

    async def ask_too():
        async with AsyncClient(
            locked.grpc_address, token=OTHER, root_certificates=certificates.ca.read_bytes()
        ) as client:
            return await client.count_traces(version=f"by-{kind}")

    assert asyncio.run(ask_too()) == 1


def test_nothing_is_answered_over_grpc_without_a_token(locked, channel):
    before = locked._tokens.refused
    opened = channel(locked)
    refused = [
        (),
        bearer(TOKEN[:-1]),
        bearer(f"{TOKEN} {TOKEN}"),
        bearer(""),
        (("authorization", f"Basic {TOKEN}"),),
        (("authorization", TOKEN),),
        bearer(TOKEN) + bearer("x"),
    ]
    for method in (EXPORT, ASK, "/nobody/Knows"):
        for metadata in refused:
            call = opened.unary_unary(method).with_call
            code = code_of(lambda call=call, given=metadata: call(b"", metadata=given, timeout=20))
            assert code is grpc.StatusCode.UNAUTHENTICATED, (method, metadata)
        if method != "/nobody/Knows":
            opened.unary_unary(method)(b"", metadata=(("authorization", f"bearer {TOKEN}"),))
    assert locked._tokens.refused == before + 3 * len(refused)


def test_reflection_needs_a_token_and_health_does_not(locked, channel):
    stub = reflection_pb2_grpc.ServerReflectionStub(channel(locked))
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    assert code_of(lambda: next(stub.ServerReflectionInfo(iter([asked])))) is (
        grpc.StatusCode.UNAUTHENTICATED
    )
    answer = next(stub.ServerReflectionInfo(iter([asked]), metadata=bearer(OTHER)))
    assert len(answer.list_services_response.service) > 3
    checked = health_pb2_grpc.HealthStub(channel(locked)).Check(health_pb2.HealthCheckRequest())
    assert checked.status == health_pb2.HealthCheckResponse.SERVING


def test_over_http_the_refusal_is_of_the_form_that_the_sender_reads(locked, ask):
    before = locked._tokens.refused
    # Larger than what the sockets hold, so that it would meet a closed connection.
    told = ask(locked, "/v1/traces", "wrong-token-of-nobody", b"x" * (4 << 20), PROTOBUF)
    assert told.status == 401
    assert told.headers["www-authenticate"] == 'Bearer realm="otel-vtrack", error="invalid_token"'
    assert b"send authorization: Bearer TOKEN" in told.content
    assert told.content[:2] == b"\x08\x10"  # UNAUTHENTICATED in a google.rpc.Status
    told = ask(locked, "/v1/logs", None, b"{}", JSON | {"expect": "100-continue"})
    assert told.headers["www-authenticate"] == 'Bearer realm="otel-vtrack"'
    assert json.loads(told.content)["code"] == 16
    told = ask(locked, ASK, None, b"{}", JSON)
    assert (told.status, json.loads(told.content)["code"]) == (401, "unauthenticated")
    for path in ("/statusz", "/nothing", "/readyz/", "//readyz"):
        assert ask(locked, path).status == 401, path
    assert [ask(locked, path).status for path in ("/readyz", "/livez")] == [200, 200]
    assert ask(locked, ASK, OTHER, b"{}", JSON).status == 200
    status = json.loads(ask(locked, "/statusz", TOKEN).content)
    assert status["version"] == __version__
    counted = status["unauthenticated"]
    assert counted == before + 7


def test_tokens_are_taken_up_when_their_file_changes(locked, ask, caplog):
    file = locked.settings.token_file
    before = file.read_text()
    caplog.set_level(logging.INFO, "otel_vtrack")
    new = "a-new-token-of-this-test"

    def answers():
        return [ask(locked, "/statusz", token).status for token in (TOKEN, OTHER, new)]

    try:
        replace(file, f"{OTHER}\n{new}\n")
        assert answers() == [401, 200, 200]
        for broken in ("", "# none\n", "short\n", f"{TOKEN} {TOKEN}\n", b"\xff" * 20):
            replace(file, broken)
            assert ask(locked, "/statusz", new).status == 200
        file.unlink()
        assert answers() == [401, 200, 200]
        assert "the previous ones stay valid" in caplog.text
    finally:
        replace(file, before)
    assert answers() == [200, 200, 401]
    assert not any(token in caplog.text for token in (TOKEN, OTHER, new))


def test_a_renewed_certificate_is_taken_up_whole(locked, channel, ask, certificates, caplog):
    settings = locked.settings
    old, new = certificates.server, certificates.other

    def check(trusted, distrusted):
        channel(locked, trusted).unary_unary(EXPORT)(b"", metadata=bearer(TOKEN), timeout=20)
        assert ask(locked, "/readyz", ca=trusted).status == 200
        refused = channel(locked, distrusted).unary_unary(EXPORT)
        assert code_of(lambda: refused(b"", timeout=20)) is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(ssl.SSLCertVerificationError):
            ask(locked, "/readyz", ca=distrusted)

    try:
        replace(settings.tls_cert_file, new.chain.read_bytes())
        check(certificates.ca, new.chain)
        assert caplog.text.count("the previous ones stay in use") == 1
        replace(settings.tls_key_file, new.key.read_bytes())
        check(new.chain, certificates.ca)
    finally:
        replace(settings.tls_cert_file, old.chain.read_bytes())
        replace(settings.tls_key_file, old.key.read_bytes())
    check(certificates.ca, new.chain)


def test_who_shows_no_certificate_is_not_spoken_to(tmp_path, certificates, channel, ask):
    settings = load(
        {
            "store": False,
            "forward": "http://127.0.0.1:9",
            "forward_folder": tmp_path,
            "grpc": "127.0.0.1:0",
            "http": "127.0.0.1:0",
            "tls_cert_file": certificates.server.chain,
            "tls_key_file": certificates.server.key,
            "tls_client_ca_file": certificates.ca,
        }
    )
    with server.running(settings) as served:
        for client in (None, certificates.other):
            call = channel(served, client=client).unary_unary(EXPORT)
            assert code_of(lambda call=call: call(b"", timeout=20)) is grpc.StatusCode.UNAVAILABLE
            with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
                ask(served, "/readyz", client=client)
        known = certificates.client
        assert channel(served, client=known).unary_unary(EXPORT)(b"") == b""
        assert ask(served, "/readyz", client=known).status == 200


def test_the_command_line_says_what_is_missing(locked, certificates, tmp_path):
    def said(*options, address=locked.grpc_address):
        words = ["versions", "list", "--server", address, *options]
        result = CliRunner(env={"OTEL_VTRACK_TOKEN_FILE": None}).invoke(group, words)
        return result.exit_code, result.output

    ca = ("--ca-file", str(certificates.ca))
    token = ("--token-file", str(locked.settings.token_file))
    assert said(*ca, *token)[0] == 0
    assert said(*ca, *token, address=f"https://{locked.grpc_address}")[0] == 0
    for code, text, given in (
        (1, "write https://", ()),
        (1, "--ca-file", (*token, "--ca-file", str(certificates.other.chain))),
        (1, "--token-file", ca),
        (2, "No such file", (*ca, "--token-file", str(tmp_path / "none"))),
        (2, "No such file", ("--ca-file", str(tmp_path / "none"))),
    ):
        result = said(*given)
        assert result[0] == code
        assert text in result[1]
    assert said(*ca, address=f"http://{locked.grpc_address}")[0] == 2


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"tls_cert_file": "server.chain"}, "both --tls-cert-file and --tls-key-file"),
        ({"tls_client_ca_file": "ca"}, "give --tls-cert-file as well"),
        ({"tls_cert_file": "server.chain", "tls_key_file": "client.key"}, "KEY_VALUES_MISMATCH"),
        ({"tls_cert_file": "server.chain", "tls_key_file": "none"}, "No such file"),
        ({"tls_cert_file": "server.key", "tls_key_file": "server.key"}, "belong together"),
        (
            {
                "tls_cert_file": "server.chain",
                "tls_key_file": "server.key",
                "tls_client_ca_file": "server.key",
            },
            "--tls-client-ca-file",
        ),
        ({"token_file": "none"}, "No such file"),
        ({"token_file": "empty"}, "openssl rand"),
        ({"token_file": "short"}, "16 characters"),
    ],
)
def test_what_cannot_be_used_is_said_at_the_start(tmp_path, certificates, given, says):
    (tmp_path / "empty").write_text("\n# nothing\n")
    (tmp_path / "short").write_text("hunter2\n")

    def path(name):
        found = certificates
        for part in name.split("."):
            found = getattr(found, part, tmp_path / name)
        return found

    files = {name: path(value) for name, value in given.items()}
    with pytest.raises(SettingsError, match=says) as raised:
        server.Server(load(files))._lock()
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "case",
    [
        ("127.0.0.1:0", (), None),
        ("localhost:0", ("token",), None),
        ("[::1]:0", (), None),
        (":0", (), "can read, write and delete"),
        ("0.0.0.0:0", ("tls",), "can read, write and delete"),
        ("vtrack.example:0", ("token",), "unencrypted"),
        ("[::]:0", ("token", "tls"), None),
        ("0.0.0.0:0", ("tls", "client"), None),
    ],
)
def test_it_warns_of_what_is_open_to_others(tmp_path, certificates, caplog, case):
    address, given, warned = case
    (tmp_path / "tokens").write_text(TOKEN)
    files = {
        "token": {"token_file": tmp_path / "tokens"},
        "client": {"tls_client_ca_file": certificates.ca},
        "tls": {
            "tls_cert_file": certificates.server.chain,
            "tls_key_file": certificates.server.key,
        },
    }
    chosen = {name: value for each in given for name, value in files[each].items()}
    server.Server(load({"grpc": address, **chosen}))._lock()
    assert len(caplog.records) == bool(warned)
    assert (warned or "") in caplog.text


def test_what_forward_names_is_told_by_its_address():
    destination = {"name": "backend", "endpoint": "h:1"}
    settings = load({"forward": "https://collector.example:4318", "destinations": [destination]})
    assert list(serve._places(settings))[1] == "forwards to backend, collector.example:4318"
