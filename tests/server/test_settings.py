"""Where a setting comes from, and what is said of one that makes no sense."""

import re
from pathlib import Path

import pytest

from otel_vtrack import settings
from otel_vtrack.errors import SettingsError
from otel_vtrack.sample.settings import Sample


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in settings.Settings.model_fields:
        monkeypatch.delenv(settings.variable(name), raising=False)


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "vtrack.toml"
        path.write_text(text)
        return path

    return write


def test_a_flag_wins_over_the_environment_which_wins_over_the_file(monkeypatch, file):
    path = file('http = "127.0.0.1:1"\ngrpc = "127.0.0.1:2"\nlog_level = "error"')
    monkeypatch.setenv("OTEL_VTRACK_HTTP", "127.0.0.1:3")
    monkeypatch.setenv("OTEL_VTRACK_GRPC", "127.0.0.1:4")
    found = settings.load({"grpc": "127.0.0.1:5"}, path)
    assert (found.log_level, found.http, found.grpc) == ("error", "127.0.0.1:3", "127.0.0.1:5")
    assert found.durability == "process"


def test_an_empty_variable_is_none(monkeypatch):
    monkeypatch.setenv("OTEL_VTRACK_HTTP", "")
    assert settings.load().http == "127.0.0.1:4318"


def test_variables_of_the_app_half_are_no_mistake(monkeypatch):
    monkeypatch.setenv("OTEL_VTRACK_VERSION", "2.4.0")
    assert settings.load()


def test_data_is_kept_in_a_folder_of_the_user_by_default(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "a folder"))
    found = settings.load().store_url
    assert found.startswith("chdb:///")
    assert "otel-vtrack" in found
    assert " " not in found


def test_sizes_have_units():
    assert settings.load({"queue_max_bytes": "2MiB"}).queue_max_bytes == 2 << 20


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("localhost:4317", "localhost", 4317),
        ("[::1]:4317", "::1", 4317),
        (":4317", "0.0.0.0", 4317),
    ],
)
def test_an_address_is_host_and_port(address, host, port):
    assert settings.split_address(address) == (host, port)
    assert settings.split_address(settings.join_address(host, port)) == (host, port)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        *(
            (each, "write HOST:PORT")
            for each in ("", "here", "here:", "here:x", "::1:4317", "a:-1")
        ),
        ("here:65536", "a port is a number up to 65535"),
    ],
)
def test_what_is_no_address_is_said_so(address, says):
    with pytest.raises(SettingsError, match=rf"--grpc .* {says}"):
        settings.load({"grpc": address})


@pytest.mark.parametrize("size", ["1x", "much", ""])
def test_what_is_no_size_says_what_to_write(size):
    with pytest.raises(SettingsError, match=r"--queue-max-bytes .* write bytes, or a number and a"):
        settings.load({"queue_max_bytes": size})


@pytest.mark.parametrize("url", ["", "hidden", "ftp://hidden", "https://", "http://[hidden"])
@pytest.mark.parametrize("name", ["watch_webhook_url", "watch_otlp_endpoint"])
def test_what_cannot_be_posted_to_is_said_so_without_telling_it(name, url):
    with pytest.raises(SettingsError, match="begins with https:// or http://") as raised:
        settings.load({name: url})
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "chdb://",
        "chdb:///",
        "chdb://host/folder",
        "postgres://user:hunter2@host",
        "clickhouse://",
        "clickhouse://default:hunter2@host:port",
        "clickhouse://host/traces?password=hunter2",
        "clickhouse://default:hunter2#@host",
        "chdb:///data/#1",
    ],
)
def test_what_is_no_store_is_said_so_without_its_password(url):
    with pytest.raises(
        SettingsError, match=r"--store-url .* write chdb:///absolute/folder"
    ) as error:
        settings.load({"store_url": url})
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("scheme", ["clickhouse", "clickhouses"])
def test_a_password_is_never_shown(scheme):
    found = settings.load({"store_url": f"{scheme}://me:hunter2@db.example:9000/traces"})
    assert found.store_shown == f"{scheme}://me:***@db.example:9000/traces"
    assert "hunter2" not in repr(found)
    assert "hunter2" in found.store_url


def test_every_mistake_is_said_at_once():
    with pytest.raises(SettingsError) as error:
        settings.load({"durability": "none", "queue_max_requests": 0, "log_level": "loud"})
    for flag in ("--durability", "--queue-max-requests", "--log-level"):
        assert flag in str(error.value)


def test_an_unknown_name_in_the_file_is_a_mistake(file):
    with pytest.raises(SettingsError, match="there is no setting grcp"):
        settings.load(file=file('grcp = "127.0.0.1:1"'))


@pytest.mark.parametrize("name", ["none.toml", "n" * 300])
def test_a_file_that_is_not_there_is_a_mistake(tmp_path, name):
    with pytest.raises(SettingsError, match=r"there is no file .* correct --config"):
        settings.load(file=tmp_path / name)


def test_a_file_that_is_no_toml_is_a_mistake(file):
    with pytest.raises(SettingsError, match="cannot be read as TOML"):
        settings.load(file=file("grpc = "))


DESTINATION = {"name": "backend", "endpoint": "http://127.0.0.1:4317"}


def test_destinations_come_from_toml_yaml_and_json_alike(monkeypatch, file, tmp_path):
    by_toml = file(
        '[[destinations]]\nname = "b"\nendpoint = "${env:PLACE:-h:1}"\nsignals = ["logs"]\n'
        'queue_max_bytes = "1GiB"\ntls = { insecure = true }'
    )
    by_yaml = tmp_path / "vtrack.yaml"
    by_yaml.write_text(
        "destinations:\n- {name: b, endpoint: 'h:1', signals: [logs], queue_max_bytes: 1GiB,\n"
        "   tls: {insecure: true}}\n"
    )
    expected = settings.load(file=by_yaml).destinations
    assert (expected[0].protocol, expected[0].secure, expected[0].address) == ("grpc", False, "h:1")
    assert settings.load(file=by_toml).destinations == expected
    monkeypatch.setenv("PLACE", "other:2")
    assert settings.load(file=by_toml).destinations[0].address == "other:2"
    text = (
        '[{"name": "b", "endpoint": "h:1", "signals": ["logs"], "queue_max_bytes": 1073741824,'
        ' "tls": {"insecure": true}}]'
    )
    assert settings.load({"destinations": text}).destinations == expected
    monkeypatch.setenv("OTEL_VTRACK_DESTINATIONS", text)
    assert settings.load().destinations == expected


@pytest.mark.parametrize(
    ("endpoint", "protocol", "address", "secure"),
    [
        ("http://h:4317", "grpc", "h:4317", False),
        ("https://h:4317/", "grpc", "h:4317", True),
        ("h:9", "grpc", "h:9", True),
        ("[::1]:4317", "grpc", "[::1]:4317", True),
        ("http://h:4318", "http/protobuf", "h:4318", False),
        ("https://h/otlp", "http/protobuf", "h:443", True),
    ],
)
def test_an_endpoint_says_how_it_is_reached(endpoint, protocol, address, secure):
    (found,) = settings.load({"forward": endpoint}).all_destinations
    assert (found.protocol, found.address, found.secure) == (protocol, address, secure)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"compresion": "gzip"}, r"destinations\[0\], did you mean compression"),
        ({"tls": {"ca_fil": "x"}}, r"destinations\[0\]\.tls, did you mean ca_file"),
        ({"compression": "zip"}, r"destinations\[0\]\.compression: .*'none' or 'gzip'"),
        ({"signals": ["spans"]}, r"destinations\[0\]\.signals\[0\]"),
        ({"signals": []}, "at least one"),
        ({"headers": {"a b": "hunter2"}}, "'a b' is not a header"),
        ({"headers": {"authorization": "hunter2\nx: y"}}, "value of authorization"),
        ({"headers": {"authorization": "${env:NOT_THERE}"}}, "no variable NOT_THERE"),
        ({"endpoint": "http://me:hunter2@h:4317"}, "use headers"),
        ({"endpoint": "http://"}, "write http://HOST:PORT"),
        ({"endpoint": "ftp://h:1"}, "write http://HOST:PORT"),
        ({"endpoint": "http://h:4317/hunter2"}, "gRPC has no path"),
        ({"tls": {"cert_file": "x"}}, "both cert_file and key_file"),
        ({"tls": {"ca_file": "x"}}, "write https://"),
        ({"retry_initial_seconds": 9, "retry_max_seconds": 1}, "retry_max_seconds"),
        ({"name": "../x"}, r"destinations\[0\]\.name"),
    ],
)
def test_a_destination_that_makes_no_sense_is_said_so_without_its_secrets(more, says):
    with pytest.raises(SettingsError, match=says) as error:
        settings.load({"destinations": [DESTINATION | more]})
    assert "hunter2" not in str(error.value)


def test_destinations_together_have_to_make_sense():
    with pytest.raises(SettingsError, match=r"--destinations .*backend is used twice"):
        settings.load({"destinations": [DESTINATION, DESTINATION]})
    with pytest.raises(SettingsError, match=r"--store .*somewhere to forward to"):
        settings.load({"store": False})
    with pytest.raises(SettingsError, match=r"--forward-headers .*for --forward only"):
        settings.load({"forward_headers": "a=b"})
    with pytest.raises(SettingsError, match=r"--forward .*write http://HOST:PORT"):
        settings.load({"forward": "ftp://me:hunter2@h"})
    found = settings.load({"forward": "h:1", "forward_headers": "Api-Key=hunter2%21"})
    assert found.all_destinations[0].headers == {"api-key": "hunter2!"}
    assert "hunter2" not in repr(found) + repr(found.all_destinations)


@pytest.mark.parametrize(
    ("forward", "more"),
    [
        ("http://localhost:4318", {}),
        ("http://127.0.0.1:4317", {}),
        ("http://127.0.0.1:4318", {"http": "localhost:4318"}),
        ("http://[::1]:99", {"grpc": "[::]:99"}),
        ("http://127.0.0.1:99", {"http": ":99"}),
        ("http://vtrack.example.com:99", {"http": "vtrack.example.com:99"}),
    ],
)
def test_forwarding_to_itself_is_refused(forward, more):
    with pytest.raises(SettingsError, match=r"--forward .* this server's own address"):
        settings.load({"forward": forward, **more})
    one = {"name": "collector", "endpoint": forward}
    with pytest.raises(SettingsError, match=r"--destinations .* this server's own address"):
        settings.load({"destinations": [one], **more})


@pytest.mark.parametrize(
    ("forward", "more"),
    [
        ("http://collector:4317", {"grpc": ":4317"}),
        ("http://127.0.0.2:4317", {}),
        ("http://127.0.0.1:4317", {"grpc": "[::1]:4317"}),
        ("http://127.0.0.1:14317", {}),
    ],
)
def test_forwarding_to_a_neighbour_is_not_forwarding_to_itself(forward, more):
    assert settings.load({"forward": forward, **more}).forward == forward


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"max_request_bytes": "2GiB"}, r"--max-request-bytes .*2147483647"),
        ({"max_connections": 1 << 31}, r"--max-connections .*2147483647"),
        ({"drain_timeout_seconds": 1e12}, r"--drain-timeout-seconds .*31536000"),
        ({"body_timeout_seconds": "inf"}, r"--body-timeout-seconds .*31536000"),
        ({"destinations": [DESTINATION | {"timeout_seconds": 1e7}]}, r"timeout_seconds: .*86400"),
        ({"cluster": True, "store_url": "chdb:///data"}, r"--cluster .*no cluster"),
    ],
)
def test_what_would_only_fail_later_is_refused_at_once(given, says):
    with pytest.raises(SettingsError, match=says):
        settings.load(given)


@pytest.mark.parametrize("name", ["watch_webhook_url", "watch_otlp_endpoint"])
def test_without_a_store_there_is_nothing_to_watch(name):
    given = {"store": False, "forward": "http://collector:4317", name: "http://127.0.0.1:1"}
    with pytest.raises(SettingsError, match="nothing to watch"):
        settings.load(given)


def test_what_is_forwarded_waits_beside_the_embedded_store(tmp_path):
    assert settings.load({"store_url": "chdb:///data"}).queue_folder == Path("/data/forward")
    chosen = settings.load({"forward_folder": str(tmp_path)})
    assert chosen.queue_folder == tmp_path
    remote = settings.load({"store_url": "clickhouse://h/d"}).queue_folder
    assert remote.parts[-2:] == ("otel-vtrack", "forward")


def test_a_file_that_is_no_yaml_is_a_mistake(tmp_path):
    path = tmp_path / "vtrack.yml"
    for text in ("grpc: [hunter2", "- hunter2", "hunter2"):
        path.write_text(text)
        with pytest.raises(SettingsError, match="cannot be read as YAML") as error:
            settings.load(file=path)
        assert "hunter2" not in str(error.value)


def test_the_example_of_a_sidecar_is_what_it_says(monkeypatch, tmp_path):
    monkeypatch.setenv("VENDOR_TOKEN", "hunter2")
    file = Path(__file__).parents[2] / "collector-config" / "vtrack-sidecar.yaml"
    found = settings.load(file=file)
    assert found.mode == "store and forward"
    collector, vendor = found.destinations
    assert (collector.protocol, collector.secure, collector.address) == (
        "grpc",
        False,
        "127.0.0.1:14317",
    )
    assert vendor.secure
    assert vendor.headers == {"authorization": "Bearer hunter2"}
    # What it only shows is right as well.
    text = re.sub(r"(?m)^( +)# (headers_file:|- name: gateway| +\S+:)", r"\1\2", file.read_text())
    path = tmp_path / "vtrack.yaml"
    path.write_text(text)
    _, vendor, gateway = settings.load(file=path).destinations
    assert vendor.headers_file
    assert len(gateway.files) == 3
    assert gateway.secure
    # So are the blocks about processing.
    blocks = re.findall(r"(?m)^# (?:enrich|redact):\n(?:#.*\n)+", text)
    path.write_text(re.sub(r"(?m)^# ", "", "".join(blocks)))
    found = settings.load(file=path)
    assert found.enrich.rules[0].attributes == {"team": "payments"}
    assert found.enrich.attributes == {"deployment.environment.name": "production"}
    assert found.redact.url_credentials
    assert [rule.name for rule in found.redact.rules] == ["people", "bodies"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"enrich": {"rule": []}}, "no setting rule in enrich, did you mean rules"),
        ({"enrich": {"rules": [{"service": "a"}]}}, r"enrich\.rules\[0\]\.attributes: "),
        ({"redact": {"rules": [{"name": "r", "patern": "a"}]}}, "did you mean pattern"),
        ({"redact": {"rules": [{"name": "r", "pattern": "(a"}]}}, r"redact\.rules\[0\]\.pattern: "),
        ({"redact": {"detectors": ["jwd"]}}, r"redact\.detectors: .*did you mean jwt"),
        ({"redact": {"hash_key": "hunter2"}}, r"--redact .*hash_key: it has fewer than 16 bytes"),
        ({"redact": "{'hunter2'"}, "--redact .*write it in JSON"),
    ],
)
def test_processing_that_makes_no_sense_is_said_so_without_its_secrets(given, says):
    with pytest.raises(SettingsError, match=says) as error:
        settings.load(given)
    assert "hunter2" not in str(error.value)


def test_processing_comes_from_the_environment_too(monkeypatch):
    monkeypatch.setenv("OTEL_VTRACK_ENRICH", '{"variables": true}')
    monkeypatch.setenv("OTEL_VTRACK_REDACT", '{"url_credentials": false, "detectors": ["all"]}')
    found = settings.load()
    assert found.enrich.variables
    assert not found.redact.url_credentials
    assert len(found.redact.detectors) > 10


def test_what_is_stored_is_sampled_if_told(monkeypatch, file, tmp_path):
    assert settings.load().sample is None
    monkeypatch.setenv("OTEL_VTRACK_SAMPLE", '{"probability": 0.25, "slow_seconds": 2}')
    assert settings.load().sample.slow_seconds == 2
    found = settings.load({"sample": '{"probability": 1}'}, file("[sample]\nprobability = 0.5"))
    assert found.sample.probability == 1
    # The example shows every key.
    example = Path(__file__).parents[2] / "collector-config" / "vtrack-sidecar.yaml"
    block = re.search(r"(?m)^# sample:\n(?:#   .+\n)+", example.read_text())[0]
    path = tmp_path / "vtrack.yaml"
    path.write_text(re.sub("(?m)^# ", "", block))
    monkeypatch.delenv("OTEL_VTRACK_SAMPLE")
    assert settings.load(file=path).sample.model_fields_set == set(Sample.model_fields)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{}", "sample.probability: field required"),
        ('{"probability": 2}', "sample.probability: input should be less than or equal to 1"),
        ('{"probability": 1, "slow": 2}', "no setting slow in sample, did you mean slow_seconds"),
        ('{"probability": 1, "window_seconds": 601}', "sample.window_seconds"),
        ("0.1 or so", "write it in JSON, in braces or brackets, or use the file"),
        ("0.1", "write it in JSON, in braces or brackets, or use the file"),
    ],
)
def test_what_says_nothing_about_sampling_is_said_so(given, said):
    with pytest.raises(SettingsError, match=re.escape(said)):
        settings.load({"sample": given})


@pytest.mark.parametrize(("given", "days"), [("1d", 1), ("30d", 30), ("8w", 56)])
def test_how_long_to_keep_is_days_or_weeks(monkeypatch, given, days):
    monkeypatch.setenv("OTEL_VTRACK_RETENTION", given)
    assert settings.load().retention == days


@pytest.mark.parametrize("given", ["0d", "-1d", "30", "1.5d", "12h", "d", "999999d"])
def test_how_long_to_keep_is_nothing_else(given):
    said = r"--retention \(or OTEL_VTRACK_RETENTION\): write days or weeks, such as 30d"
    with pytest.raises(SettingsError, match=said):
        settings.load({"retention": given})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"store_cert_file": "a.pem"}, "needs its key"),
        ({"store_ca_file": "a.pem", "store_url": "clickhouse://a/b"}, "clickhouses://"),
        ({"store_ca_file": "a.pem"}, "clickhouses://"),
    ],
)
def test_certificates_of_a_store_have_to_make_sense(given, said):
    with pytest.raises(SettingsError, match=said):
        settings.load(given)


def test_without_a_store_there_is_nothing_to_keep():
    given = {"store": False, "forward": "http://127.0.0.1:4317", "retention": "30d"}
    with pytest.raises(SettingsError, match="nothing to keep"):
        settings.load(given)


def test_without_a_store_there_is_nothing_to_sample():
    given = {"store": False, "forward": "http://here:4318", "sample": '{"probability": 1}'}
    with pytest.raises(SettingsError, match="nothing to sample; leave it out"):
        settings.load(given)
