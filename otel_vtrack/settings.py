"""Settings of the server: flag, else environment, else file, else default.

A field of `Settings` is a setting, and its names follow from it:

    field store_url    flag --store-url    environment OTEL_VTRACK_STORE_URL    file store_url

Its description is its help on the command line; docs/server.md says more, and a test holds the
two together.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import platformdirs
from pydantic import AfterValidator, BeforeValidator, ByteSize, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from otel_vtrack.errors import SettingsError

PREFIX: Final = "OTEL_VTRACK_"
FILE_VARIABLE: Final = PREFIX + "CONFIG"
"""Environment variable of `--config`, the one option that is no setting."""

_STORES: Final = "write chdb:///absolute/folder or clickhouse://user:password@host:port/database"


def _default_store() -> str:
    return platformdirs.user_data_path("otel-vtrack", appauthor=False).joinpath("store").as_uri()


def _store(url: str) -> str:
    # A default is a file: URI because only pathlib knows how a folder is quoted in one.
    if url.startswith("file:///"):
        url = "chdb" + url.removeprefix("file")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError(f"this is no store; {_STORES}") from None
    if parts.scheme == "chdb" and not parts.netloc and len(parts.path) > 1:
        return url
    if parts.scheme in {"clickhouse", "clickhouses"} and parts.hostname:
        return url
    raise ValueError(f"this is no store; {_STORES}")


def split_address(address: str) -> tuple[str, int]:
    """Take HOST:PORT apart, `[::1]:4317` included.

    Raises:
        ValueError: It is no such address.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535 or (":" in host and host[0] != "["):
        raise ValueError("write HOST:PORT, such as 127.0.0.1:4317; port 0 picks a free one")
    return host.removeprefix("[").removesuffix("]") or "0.0.0.0", int(port)  # noqa: S104 - asked for by ":4317"


def join_address(host: str, port: int) -> str:
    """Put an address together so that `split_address` takes it apart again."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _address(address: str) -> str:
    return join_address(*split_address(address))


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


Address = Annotated[str, AfterValidator(_address)]
AtLeastOne = Annotated[int, Field(ge=1)]
Size = Annotated[ByteSize, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Settings(BaseSettings):
    """What `vtrack serve` can be told; `load` makes one."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        # An empty variable is how deployments leave one out.
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        # An input may be a URL with a password.
        hide_input_in_errors=True,
        validate_default=True,
    )

    store_url: Annotated[str, AfterValidator(_store)] = Field(
        default_factory=_default_store,
        repr=False,
        description="Where data is kept: chdb:///FOLDER for the embedded engine, or "
        "clickhouse://USER:PASSWORD@HOST:PORT/DATABASE (clickhouses:// for TLS). "
        "Default: a folder of this user's.",
    )
    cluster: bool = Field(
        default=False,
        description="The remote store is a cluster that defines the macros of "
        "ReplicatedMergeTree and one named cluster.",
    )
    migrate: bool = Field(
        default=False,
        description="Bring the tables of a remote store up to date at start. An embedded one "
        "always is.",
    )
    grpc: Address = Field(
        default="127.0.0.1:4317", description="HOST:PORT of OTLP/gRPC and the API; port 0 is any."
    )
    http: Address = Field(
        default="127.0.0.1:4318",
        description="HOST:PORT of OTLP/HTTP, /readyz and /livez; port 0 is any.",
    )
    durability: Annotated[Literal["process", "fsync"], BeforeValidator(_lower)] = Field(
        default="process",
        description="What acknowledged data survives: process, the end of this process; fsync, "
        "that of the machine as well, at the price of speed.",
    )
    max_request_bytes: Size = Field(
        default=ByteSize(64 << 20),
        description="Largest request, before and after decompression; 64MiB is OTLP's own.",
    )
    max_batch_bytes: Size = Field(
        default=ByteSize(16 << 20), description="Most that one insert joins."
    )
    queue_max_bytes: Size = Field(
        default=ByteSize(256 << 20),
        description="Most bytes of a signal that wait to be stored; beyond them senders are told "
        "to try again.",
    )
    queue_max_requests: AtLeastOne = Field(default=10_000, description="The same in requests.")
    backlog_max_bytes: Size = Field(
        default=ByteSize(64 << 20),
        description="Most bytes of a signal that are acknowledged and safe in the journal but "
        "not in the tables yet; an embedded store only.",
    )
    body_timeout_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=60.0, description="How long the body of an HTTP request may take to arrive."
    )
    drain_timeout_seconds: Seconds = Field(
        default=20.0,
        description="How long to go on storing what was received after SIGTERM or SIGINT.",
    )
    prices: Path | None = Field(
        default_factory=lambda: None,
        description="TOML file of what tokens cost, instead of the prices that come along.",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = (
        Field(default="info", description="Least severe line of the log, which goes to stderr.")
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Set the precedence that the module names."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def store_shown(self) -> str:
        """The store's URL without its password, for people and logs."""
        parts = urlsplit(self.store_url)
        if parts.password is None:
            return self.store_url
        user, _, host = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{user.partition(':')[0]}:***@{host}").geturl()


def flag(name: str) -> str:
    """Return the command line's name of a setting."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """Return the environment's name of a setting."""
    return PREFIX + name.upper()


def load(flags: Mapping[str, Any] | None = None, file: Path | None = None) -> Settings:
    """Read all settings.

    Args:
        flags: By field name; those given on the command line and no others.
        file: A TOML file, if there is one.

    Raises:
        SettingsError: Something in them makes no sense; each mistake is said, with no value.
    """
    if file and not file.is_file():
        raise SettingsError(f"there is no file {file}: correct --config or {FILE_VARIABLE}")

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=file)

    try:
        found = FromFile(**(flags or {}))
    except ValidationError as error:
        raise SettingsError("; ".join(map(_mistake, error.errors()))) from None
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file} is no TOML file that can be read: {error}") from None
    return found


def _mistake(error: Any) -> str:
    name = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        known = ", ".join(Settings.model_fields)
        return f"there is no setting {name}: the file may have {known}"
    reason = error["msg"].removeprefix("Value error, ")
    return f"{flag(name)} (or {variable(name)}): {reason[0].lower()}{reason[1:]}"
