"""Settings of the server: flag, else environment, else file, else default.

The file is TOML, or YAML if its name ends in .yaml or .yml. Each field of `Settings` is a setting,
and its other names derive from the field's:

    field store_url    flag --store-url    environment OTEL_VTRACK_STORE_URL    file store_url

The field's description is its command-line help; docs/server.md has the details, and a test keeps
the two consistent.
"""

import difflib
import ipaddress
import json
import os.path
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args
from urllib.parse import unquote, urlsplit

import platformdirs
import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
    YamlConfigSettingsSource,
)
from typing_extensions import Self

from otel_vtrack.errors import SettingsError
from otel_vtrack.forward.destination import Destination, checked_headers, header_list
from otel_vtrack.process.enrichment import Enrich
from otel_vtrack.process.redaction import Redact
from otel_vtrack.sample.settings import Sample

PREFIX: Final = "OTEL_VTRACK_"
FILE_VARIABLE: Final = PREFIX + "CONFIG"
"""Environment variable of `--config`, the one option that is not a setting."""

_FORWARD: Final = "forward"
_LARGEST_INT: Final = (1 << 31) - 1
_LAST_PORT: Final = 65_535
# Timers of the operating system end somewhere beyond.
_YEAR_SECONDS: Final = 31_536_000.0
_ANY: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared only
_STORES: Final = "write chdb:///absolute/folder or clickhouse://user:password@host:port/database"


def _default_store() -> str:
    return platformdirs.user_data_path("otel-vtrack", appauthor=False).joinpath("store").as_uri()


def _store(url: str) -> str:
    # The default is a file: URI, because pathlib quotes the folder's name in those.
    if url.startswith("file:///"):
        url = "chdb" + url.removeprefix("file")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError(f"this is not a store URL; {_STORES}") from None
    if "?" in url or "#" in url:
        # It would name another folder, or contain a password that `store_shown` does not hide.
        raise ValueError(
            f"? and # are not allowed, in a folder's name write %3F and %23; {_STORES}"
        )
    if parts.scheme == "chdb" and not parts.netloc and len(parts.path) > 1:
        return url
    if parts.scheme in {"clickhouse", "clickhouses"} and parts.hostname:
        return url
    raise ValueError(f"this is not a store URL; {_STORES}")


def split_address(address: str) -> tuple[str, int]:
    """Split HOST:PORT, including `[::1]:4317`.

    Raises:
        ValueError: The address is malformed.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or (":" in host and host[0] != "["):
        raise ValueError("write HOST:PORT, such as 127.0.0.1:4317; port 0 picks a free one")
    if int(port) > _LAST_PORT:
        raise ValueError(f"a port is a number up to {_LAST_PORT}; port 0 picks a free one")
    return host.removeprefix("[").removesuffix("]") or "0.0.0.0", int(port)  # noqa: S104 - the meaning of ":4317"


def join_address(host: str, port: int) -> str:
    """Join host and port; the inverse of `split_address`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(address: str) -> bool:
    """Return whether an address is reachable only from this machine."""
    host, _ = split_address(address)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_same(address: str, own: str) -> bool:
    """Return whether an address leads to one that this server listens on, as far as names tell."""
    (host, port), (own_host, own_port) = split_address(address), split_address(own)
    if port != own_port or not port:
        return False
    if own_host in _ANY:
        return host in _ANY or is_loopback(address)
    by_name = "localhost" in {host, own_host} and is_loopback(address) and is_loopback(own)
    return host == own_host or by_name


def _address(address: str) -> str:
    return join_address(*split_address(address))


def _from_age(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not (age := re.fullmatch(r"([1-9][0-9]{0,4})([dw])", value)):
        raise ValueError("write days or weeks, such as 30d or 8w")
    return int(age[1]) * {"d": 1, "w": 7}[age[2]]


def _http(url: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("write a URL that begins with https:// or http://")
    return url


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _from_list(value: Any) -> Any:
    if isinstance(value, str):
        return [each.strip() for each in value.split(",") if each.strip()]
    return value


def _host_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
        raise ValueError("write names without a port, such as vtrack.example.com")
    return name


def _from_json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        found = json.loads(value)
    except ValueError:
        found = value
    # A number alone is JSON as well, but no setting with several values.
    if isinstance(found, str | int | float):
        raise ValueError(  # noqa: TRY004 - what pydantic expects
            "write it in JSON, in braces or brackets, or use the file"
        )
    return found


def _from_header_list(value: Any) -> Any:
    if isinstance(value, str):
        return header_list(value)
    return checked_headers(value) if isinstance(value, dict) else value


def _forward_url(url: str | None) -> str | None:
    if url is not None:
        try:
            Destination(name=_FORWARD, endpoint=url)
        except ValidationError as error:
            said = error.errors()[0]["msg"]
            raise ValueError(said.partition("endpoint: ")[2] or said) from None
    return url


Address = Annotated[str, AfterValidator(_address)]
HostName = Annotated[str, AfterValidator(_host_name)]
Days = Annotated[int, Field(ge=1, le=7 * 99_999)]
AtLeastOne = Annotated[int, Field(ge=1)]
# gRPC takes no greater number.
Countable = Annotated[int, Field(ge=1, le=_LARGEST_INT)]
Message = Annotated[ByteSize, Field(ge=1, le=_LARGEST_INT)]
Size = Annotated[ByteSize, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0, le=_YEAR_SECONDS)]


class Settings(BaseSettings):
    """The settings of `vtrack serve`; create them with `load`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        # Deployments often leave a variable empty to omit it.
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        # An input may be a URL that contains a password.
        hide_input_in_errors=True,
        validate_default=True,
    )

    store_url: Annotated[str, AfterValidator(_store)] = Field(
        default_factory=_default_store,
        repr=False,
        description="Where data is kept: chdb:///FOLDER for the embedded database, or "
        "clickhouse://USER:PASSWORD@HOST:PORT/DATABASE (clickhouses:// for TLS). "
        "Default: a folder of this user.",
    )
    store_ca_file: Path | None = Field(
        default_factory=lambda: None,
        description="Authorities (PEM) trusted to certify a ClickHouse server, instead of the "
        "system's; with clickhouses://.",
    )
    store_cert_file: Path | None = Field(
        default_factory=lambda: None,
        description="vtrack's own certificate and its chain (PEM), for a ClickHouse server that "
        "asks for one.",
    )
    store_key_file: Path | None = Field(
        default_factory=lambda: None,
        description="Key of that certificate (PEM), without a password.",
    )
    store: bool = Field(
        default=True,
        description="Store what is received. With --no-store it is only forwarded, and queries are "
        "not answered.",
    )
    cluster: bool = Field(
        default=False,
        description="The ClickHouse server belongs to a cluster that defines the macros cluster, "
        "shard and replica.",
    )
    migrate: bool = Field(
        default=False,
        description="Bring the tables of a ClickHouse server up to date at start, as always "
        "happens for an embedded store.",
    )
    grpc: Address = Field(
        default="127.0.0.1:4317",
        description="HOST:PORT of OTLP/gRPC and the API; port 0 picks one.",
    )
    http: Address = Field(
        default="127.0.0.1:4318",
        description="HOST:PORT of OTLP/HTTP, the API as JSON, /readyz and /livez; port 0 picks "
        "one.",
    )
    allowed_hosts: Annotated[tuple[HostName, ...], NoDecode, BeforeValidator(_from_list)] = Field(
        default_factory=tuple,
        description="Names by which the HTTP port may be addressed, besides localhost and IP "
        "addresses. Default: none on loopback without tokens, elsewhere any.",
    )
    tls_cert_file: Path | None = Field(
        default_factory=lambda: None,
        description="Certificate of both ports and its chain (PEM); with it they speak only TLS. "
        "Read again when it changes.",
    )
    tls_key_file: Path | None = Field(
        default_factory=lambda: None,
        description="Key of that certificate (PEM), without a password.",
    )
    tls_client_ca_file: Path | None = Field(
        default_factory=lambda: None,
        description="Authorities (PEM): whoever connects must present a certificate from one of "
        "them.",
    )
    token_file: Path | None = Field(
        default_factory=lambda: None,
        description="Bearer tokens, one per line: every request needs one of them. Read again when "
        "it changes.",
    )
    retention: Annotated[Days | None, BeforeValidator(_from_age)] = Field(
        default_factory=lambda: None,
        description="How long to keep traces and log records at least, such as 30d or 8w; they are "
        "deleted by whole days (UTC). Default: for ever.",
    )
    durability: Annotated[Literal["process", "fsync"], BeforeValidator(_lower)] = Field(
        default="process",
        description="What acknowledged data survives. process: the end of this process; fsync: a "
        "crash of the machine as well, at some cost in speed.",
    )
    max_request_bytes: Message = Field(
        default=ByteSize(64 << 20),
        description="Largest request, before and after decompression; OTLP's own limit is 64MiB.",
    )
    max_batch_bytes: Size = Field(
        default=ByteSize(16 << 20),
        description="Most that one write to the journal or to a ClickHouse server joins.",
    )
    queue_max_bytes: Size = Field(
        default=ByteSize(256 << 20),
        description="Most bytes of each signal that wait to be stored; beyond that, senders are "
        "told to retry.",
    )
    queue_max_requests: AtLeastOne = Field(default=10_000, description="The same, in requests.")
    backlog_max_bytes: Size = Field(
        default=ByteSize(96 << 20),
        description="Most bytes of each signal that are acknowledged and safe in the journal but "
        "not yet in the tables; embedded store only.",
    )
    arriving_max_bytes: Size = Field(
        default=ByteSize(128 << 20),
        description="Most bytes of bodies arriving over HTTP at the same time; beyond that, "
        "senders are told to retry.",
    )
    max_connections: Countable = Field(
        default=1_000,
        description="Most connections to each port at a time; beyond that, senders are "
        "told to retry.",
    )
    body_timeout_seconds: Annotated[float, Field(gt=0, le=_YEAR_SECONDS)] = Field(
        default=60.0, description="How long the body of an HTTP request may take to arrive."
    )
    drain_timeout_seconds: Seconds = Field(
        default=20.0,
        description="How long to go on storing what was received after SIGTERM or SIGINT.",
    )
    forward: Annotated[str | None, AfterValidator(_forward_url)] = Field(
        default_factory=lambda: None,
        description="One backend to forward everything to: http://HOST:PORT or https://HOST:PORT; "
        "gRPC if the port is 4317.",
    )
    forward_headers: Annotated[dict[str, str], NoDecode, BeforeValidator(_from_header_list)] = (
        Field(
            default_factory=dict,
            repr=False,
            description="Headers for that backend, as name=value,name=value; better set in the "
            "environment than by a flag.",
        )
    )
    destinations: Annotated[tuple[Destination, ...], NoDecode, BeforeValidator(_from_json)] = Field(
        default_factory=tuple,
        description="Any number of backends to forward to; usually set in the settings file.",
    )
    forward_folder: Path | None = Field(
        default_factory=lambda: None,
        description="Where data waits to be forwarded. Default: in the folder of the embedded "
        "store, else a folder of this user.",
    )
    enrich: Annotated[Enrich, NoDecode, BeforeValidator(_from_json)] = Field(
        default_factory=Enrich,
        description="Attributes to give Resources that lack them; usually set in the settings "
        "file.",
    )
    redact: Annotated[Redact, NoDecode, BeforeValidator(_from_json)] = Field(
        default_factory=Redact,
        description="What is hidden in traces and logs before they are stored or forwarded; "
        "usually set in the settings file. Default: credentials in URLs.",
    )
    sample: Annotated[Sample | None, NoDecode, BeforeValidator(_from_json)] = Field(
        default_factory=lambda: None,
        description="Which of the traces received are stored, forwarded or not; usually set in the "
        "settings file. Default: all.",
    )
    prices: Path | None = Field(
        default_factory=lambda: None,
        description="TOML file of token prices, instead of the built-in ones.",
    )
    watch_interval_seconds: Seconds = Field(
        default=60.0,
        description="How often to compare new deployments with what they replaced; 0 means never.",
    )
    watch_webhook_url: Annotated[str, AfterValidator(_http)] | None = Field(
        default_factory=lambda: None,
        repr=False,
        description="Where to post what the watch finds.",
    )
    watch_webhook_secret: str | None = Field(
        default_factory=lambda: None,
        repr=False,
        description="Secret that signs these posts: whsec_ and 24 to 64 random bytes in base64.",
    )
    watch_webhook_secret_file: Path | None = Field(
        default_factory=lambda: None,
        description="File with the secret, instead of the previous setting.",
    )
    watch_otlp_endpoint: Annotated[str, AfterValidator(_http)] | None = Field(
        default_factory=lambda: None,
        repr=False,
        description="Base URL of OTLP/HTTP to which what the watch finds is sent as log events.",
    )
    metrics_otlp_endpoint: Annotated[str, AfterValidator(_http)] | None = Field(
        default_factory=lambda: None,
        repr=False,
        description="Base URL of OTLP/HTTP to which metrics of the server itself are sent.",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = (
        Field(default="info", description="Least severe level that is logged, to stderr.")
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
        """Set the precedence given in the module's docstring."""
        del dotenv_settings, file_secret_settings
        return (
            init_settings,
            env_settings,
            TomlConfigSettingsSource(settings_cls),
            YamlConfigSettingsSource(settings_cls),
        )

    @model_validator(mode="after")
    def _forwards_in_order(self) -> Self:
        names = [each.name for each in self.all_destinations]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(
                f"destinations: {min(twice)} is used twice (--forward is named {_FORWARD}); "
                "give each its own name"
            )
        if self.forward_headers and not self.forward:
            raise ValueError(
                "forward_headers: they are for --forward only; set headers in each destination"
            )
        if not (self.store or names):
            raise ValueError(
                "store: without a store there must be somewhere to forward to; set --forward or "
                "destinations"
            )
        if self.sample and not self.store:
            raise ValueError("sample: without a store there is nothing to sample; leave it out")
        if self.retention and not self.store:
            raise ValueError("retention: without a store there is nothing to keep; leave it out")
        for name in ("watch_webhook_url", "watch_otlp_endpoint"):
            if getattr(self, name) and not self.store:
                raise ValueError(f"{name}: without a store there is nothing to watch; leave it out")
        for each in self.all_destinations:
            if _is_same(each.address, self.grpc) or _is_same(each.address, self.http):
                raise ValueError(
                    f"{_FORWARD if each.name == _FORWARD else 'destinations'}: {each.address} is "
                    "this server's own address, so what it receives would go round for ever; "
                    "correct it, or choose other ports with --grpc and --http"
                )
        return self

    @model_validator(mode="after")
    def _store_as_asked(self) -> Self:
        if (self.store_cert_file is None) != (self.store_key_file is None):
            raise ValueError(
                "store_cert_file: a certificate needs its key: give both --store-cert-file and "
                "--store-key-file"
            )
        if self.cluster and urlsplit(self.store_url).scheme == "chdb":
            raise ValueError(
                "cluster: the embedded database belongs to no cluster; name a ClickHouse server "
                "with --store-url, or leave it out"
            )
        if any(self.store_tls) and urlsplit(self.store_url).scheme != "clickhouses":
            raise ValueError(
                "store_url: the store's certificates are used with TLS only; write clickhouses:// "
                "or leave them out"
            )
        return self

    @model_validator(mode="after")
    def _safe_as_asked(self) -> Self:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError(
                "tls_cert_file: a certificate needs its key: give both --tls-cert-file and "
                "--tls-key-file"
            )
        if self.tls_client_ca_file and not self.tls_cert_file:
            raise ValueError(
                "tls_client_ca_file: client certificates need TLS: give --tls-cert-file as well"
            )
        return self

    @property
    def mode(self) -> str:
        """Whether received data is stored, forwarded or both."""
        if not self.all_destinations:
            return "store only"
        return "store and forward" if self.store else "forward only"

    @property
    def store_tls(self) -> tuple[Path | None, Path | None, Path | None]:
        """Authorities, certificate and key for the connection to a ClickHouse server."""
        return self.store_ca_file, self.store_cert_file, self.store_key_file

    @property
    def all_destinations(self) -> tuple[Destination, ...]:
        """The `destinations`, followed by the one of `forward`, if any."""
        if not self.forward:
            return self.destinations
        single = Destination(name=_FORWARD, endpoint=self.forward, headers=self.forward_headers)
        return (*self.destinations, single)

    @property
    def queue_folder(self) -> Path:
        """The folder of the queues to forward from."""
        if self.forward_folder:
            return self.forward_folder
        parts = urlsplit(self.store_url)
        if self.store and parts.scheme == "chdb":
            return Path(unquote(parts.path)) / "forward"
        return platformdirs.user_data_path("otel-vtrack", appauthor=False) / "forward"

    @property
    def store_shown(self) -> str:
        """The store's URL with its password hidden, for display and logs."""
        parts = urlsplit(self.store_url)
        if parts.password is None:
            return self.store_url
        user, _, host = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{user.partition(':')[0]}:***@{host}").geturl()


def flag(name: str) -> str:
    """Return a setting's command-line flag."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """Return a setting's environment variable."""
    return PREFIX + name.upper()


def load(flags: Mapping[str, Any] | None = None, file: Path | None = None) -> Settings:
    """Read all settings.

    Args:
        flags: Values by field name; only those given on the command line.
        file: A TOML or YAML file, if there is one.

    Raises:
        SettingsError: A setting is invalid; the message lists each mistake, without values.
    """
    if file and not os.path.isfile(file):  # noqa: PTH113 - Path raises if the name is too long
        raise SettingsError(f"there is no file {file}: correct --config or {FILE_VARIABLE}")

    is_yaml = bool(file) and file.suffix.lower() in {".yaml", ".yml"}

    class FromFile(Settings):
        model_config = SettingsConfigDict(
            toml_file=None if is_yaml else file, yaml_file=file if is_yaml else None
        )

    try:
        found = FromFile(**(flags or {}))
    except ValidationError as error:
        raise SettingsError("; ".join(map(_mistake, error.errors()))) from None
    except yaml.YAMLError as error:
        # Its message may quote the file.
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}" if mark else ""
        raise SettingsError(f"{file} cannot be read as YAML{place}") from None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        kind = "YAML" if is_yaml else "TOML"
        raise SettingsError(f"{file} cannot be read as {kind}: {error}") from None
    return found


def _mistake(error: Any) -> str:
    loc: tuple[str | int, ...] = error["loc"]
    if error["type"] == "extra_forbidden":
        return _unknown(loc)
    reason = error["msg"].removeprefix("Value error, ")
    if error["type"] in {"byte_size", "byte_size_unit"}:
        reason = "write bytes, or a number and a unit, such as 64MiB"
    if len(loc) > 1:
        return f"{_path(loc)}: {reason[0].lower()}{reason[1:]}"
    if loc:
        name = str(loc[0])
    else:
        # About several settings; the message begins with the name of one.
        name, _, reason = reason.partition(": ")
    return f"{flag(name)} (or {variable(name)}): {reason[0].lower()}{reason[1:]}"


def _unknown(loc: Sequence[str | int]) -> str:
    name = str(loc[-1])
    known: Iterable[str] = _model_at(loc[:-1]).model_fields
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = f", did you mean {near[0]}" if near else ""
    where = f" in {_path(loc[:-1])}" if len(loc) > 1 else ""
    return f"there is no setting {name}{where}{hint}: there are {', '.join(known)}"


def _model_at(loc: Sequence[str | int]) -> type[BaseModel]:
    """Return the model at a location in the settings."""
    model: type[BaseModel] = Settings
    for step in loc:
        if isinstance(step, str):
            annotation: Any = model.model_fields[step].annotation
            found = [annotation, *get_args(annotation)]
            model = next(each for each in found if isinstance(each, type) and _is_model(each))
    return model


def _is_model(kind: type) -> bool:
    return issubclass(kind, BaseModel)


def _path(loc: Sequence[str | int]) -> str:
    """Format a location in the settings, as in destinations[0].tls.ca_file."""
    return "".join(f"[{it}]" if isinstance(it, int) else f".{it}" for it in loc).removeprefix(".")
