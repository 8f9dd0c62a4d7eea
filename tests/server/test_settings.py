"""Where a setting comes from, and what is said of one that makes no sense."""

import pytest

from otel_vtrack import settings
from otel_vtrack.errors import SettingsError


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
    "address", ["", "here", "here:", "here:x", "::1:4317", "here:65536", "a:-1"]
)
def test_what_is_no_address_is_said_so(address):
    with pytest.raises(SettingsError, match=r"--grpc .* write HOST:PORT"):
        settings.load({"grpc": address})


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


def test_a_file_that_is_not_there_is_a_mistake(tmp_path):
    with pytest.raises(SettingsError, match=r"there is no file .* correct --config"):
        settings.load(file=tmp_path / "none.toml")


def test_a_file_that_is_no_toml_is_a_mistake(file):
    with pytest.raises(SettingsError, match="no TOML file"):
        settings.load(file=file("grpc = "))
