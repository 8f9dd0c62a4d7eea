"""What commands that call the server share: connection options, output formats and errors.

They exit with 0 on success; with 1 if something requested does not exist, something to create
already exists, or the server could not answer; and with 2 if the command itself is invalid or was
not confirmed.
"""

import contextlib
import functools
import json
import re
import sys
from collections.abc import Callable, Generator, Iterable, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import click
import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from typing_extensions import override

from otel_vtrack.cli import show
from otel_vtrack.client import Client

_Command = TypeVar("_Command", bound=Callable[..., Any])
_Found = TypeVar("_Found")

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_AGE: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")

FAILED: Final = 1
USAGE: Final = 2

_RANGES: Final = (
    ("since", "until"),
    ("baseline_since", "baseline_until"),
    ("start_time_from", "start_time_until"),
    ("event_time_from", "event_time_until"),
)
"""Arguments of commands that are the two ends of a time range."""

_HOW: Final = f"{__name__}.how"

# Short, because somebody is waiting at the terminal.
_RETRY_SECONDS: Final = 0.5


def asks(command: _Command) -> _Command:
    """Add connection options and `--json` to a command; print errors as one line, and exit."""

    @click.option(
        "--server",
        metavar="HOST:PORT",
        default="127.0.0.1:4317",
        envvar="OTEL_VTRACK_SERVER",
        show_default=True,
        show_envvar=True,
        help="gRPC address of `vtrack serve`; put https:// before it for TLS.",
    )
    @click.option(
        "--token-file",
        metavar="FILE",
        help="File with the token that the server asks for: its first line that is neither empty"
        " nor begins with #."
        "  [env var: OTEL_VTRACK_TOKEN_FILE, or OTEL_VTRACK_TOKEN]",
    )
    @click.option(
        "--ca-file",
        metavar="FILE",
        help="Authorities to trust (PEM) instead of the usual ones; implies TLS."
        "  [env var: OTEL_VTRACK_CA_FILE]",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print the API's messages as JSON.")
    @functools.wraps(command)
    def asking(*args: Any, **keywords: Any) -> Any:
        for start, end in _RANGES:
            since, until = keywords.get(start), keywords.get(end)
            if since and until and since >= until:
                raise click.UsageError("nothing is after --since and before --until: swap them?")
        # Passed to `client` through the context, so that commands need not forward the options.
        context = click.get_current_context()
        if any(_is_no_text(value) for value in keywords.values()):
            fail("an argument is not valid UTF-8: write it in a terminal with that encoding", USAGE)
        context.meta[_HOW] = {name: keywords.pop(name) for name in ("token_file", "ca_file")}
        with _explained(keywords["server"]):
            return command(*args, **keywords)

    return cast("_Command", asking)


def _is_no_text(value: Any) -> bool:
    """Return whether a value has bytes that are not UTF-8, which Python decodes to surrogates."""
    if isinstance(value, tuple):
        return any(map(_is_no_text, cast("tuple[Any, ...]", value)))
    return isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value)


def finds(key: str, *, limit: int = 20) -> Callable[[_Command], _Command]:
    """Add `--filter`, `--order-by` and `--limit` to a command; used together with `asks`.

    Args:
        key: Sort key for the example in the help of `--order-by`.
        limit: Default of `--limit`.
    """

    def decorate(command: _Command) -> _Command:
        for option in (limited(limit), ordered(key), filtered):
            command = option(command)
        return command

    return decorate


def filtered(command: _Command) -> _Command:
    """Add `--filter` to a command."""
    return click.option(
        "--filter",
        "filter_",
        metavar="EXPRESSION",
        default="",
        help="Only what matches this filter, in the search language (docs/search.md).",
    )(command)


def ordered(key: str) -> Callable[[_Command], _Command]:
    """Add `--order-by` to a command, with a sort key for its help."""
    return click.option(
        "--order-by",
        multiple=True,
        metavar="KEY",
        help=f"Sort by this, as in '{key} DESC'; may be given more than once.",
    )


def limited(limit: int = 20) -> Callable[[_Command], _Command]:
    """Add `--limit` to a command."""
    return click.option(
        "--limit",
        type=click.IntRange(1),
        default=limit,
        show_default=True,
        help="At most this many.",
    )


def client(server: str) -> Client:
    """Create a client from options and environment variables; the caller closes it."""
    how: dict[str, Any] = {"target": server, "retry_seconds": _RETRY_SECONDS}
    given = click.get_current_context().meta[_HOW]
    if given["token_file"]:
        how["token_file"] = given["token_file"]
    try:
        if given["ca_file"]:
            how["root_certificates"] = Path(given["ca_file"]).read_bytes()
    except OSError as error:
        raise click.UsageError(f"--ca-file {given['ca_file']}: {error.strerror}") from None
    try:
        return Client.from_env(**how)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@contextlib.contextmanager
def _explained(server: str) -> Generator[None]:
    try:
        yield
    except ValueError as error:
        # Raised by protobuf for a number that does not fit its field.
        if not str(error).startswith("Value out of range"):
            raise
        fail(f"{error}: write a smaller number", USAGE)
    except BrokenPipeError:
        # The reader closed the pipe, as `head` does: click exits silently.
        raise
    except OSError as error:
        fail(f"the answer cannot be written: {error.strerror or error}")
    except grpc.RpcError as error:
        code = cast("grpc.Call", error).code()
        said = cast("grpc.Call", error).details() or code.name
        usage = code is grpc.StatusCode.INVALID_ARGUMENT
        fail(_advised(code, said, server), USAGE if usage else FAILED)


def _advised(code: grpc.StatusCode, said: str, server: str) -> str:
    """Return the server's message or, if it could not send a useful one, what to do."""
    if code is grpc.StatusCode.UNAVAILABLE:
        return _unreachable(said, server)
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return f"{server} needs a token that it accepts: name a file that has one with --token-file"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"the server at {server} took too long: narrow the question, or try again later"
    if code is grpc.StatusCode.UNIMPLEMENTED and "store" not in said:
        return (
            f"what answers at {server} does not know this call: it is older than this command, or"
            " not a vtrack server; say where one is with --server"
        )
    return said


def _unreachable(said: str, server: str) -> str:
    if "handshake" in said:
        return (
            f"no TLS with {server}: it does not speak TLS, is not trusted, or asks for a client"
            " certificate (--ca-file, OTEL_VTRACK_CLIENT_CERTIFICATE_FILE and _KEY_FILE)"
        )
    if said.endswith("Socket closed"):
        return (
            f"{server} answers, but not gRPC without TLS: if it speaks TLS, write https://{server}"
        )
    if "http1" in said:
        return (
            f"{server} speaks HTTP, but questions go over gRPC: name the server's gRPC port, which"
            " is 4317 unless it was told another"
        )
    if "store" not in said:
        return (
            f"no server answers at {server}: start one with `vtrack serve`, or say where it is"
            " with --server HOST:PORT or OTEL_VTRACK_SERVER"
        )
    return said


def fail(message: str, code: int = FAILED) -> None:
    """Print an error as one line and exit."""
    click.echo(f"vtrack: {show.visible(message)}", err=True)
    raise click.exceptions.Exit(code)


def print_json(value: Message | Mapping[str, Any]) -> None:
    """Print a message as JSON, with every field, even if empty, named as in the proto."""
    shown = as_object(value) if isinstance(value, Message) else value
    click.echo(as_json(shown, indent=2))


def as_json(value: Mapping[str, Any], indent: int | None = None) -> str:
    """Serialize to JSON that stdout can encode, with terminal control characters escaped."""
    only_ascii = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    text = json.dumps(value, indent=indent, ensure_ascii=only_ascii)
    return show.CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def as_object(message: Message) -> dict[str, Any]:
    """Return the object that `print_json` prints for a message."""
    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def as_list(name: str, messages: Iterable[Message]) -> dict[str, Any]:
    """Return messages as an object with one list."""
    return {name: [as_object(message) for message in messages]}


def found(ask: Callable[[], _Found]) -> _Found | None:
    """Return the result of a call, or None if the server responds NOT_FOUND."""
    try:
        return ask()
    except grpc.RpcError as error:
        if cast("grpc.Call", error).code() is grpc.StatusCode.NOT_FOUND:
            return None
        raise


def confirm(preview: str, *, yes: bool) -> None:
    """Ask for confirmation of an irreversible action; without a terminal, `--yes` is required.

    Args:
        preview: What the action would do.
        yes: Whether it is already confirmed.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        fail(f"{preview}: say --yes to do it without confirmation", USAGE)
    click.echo(show.visible(preview), err=True)
    if not click.confirm("Go on?", err=True):
        fail("nothing was changed", USAGE)


agreed = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
"""Adds `--yes` to a command."""


class Pair(click.ParamType):  # pyright: ignore[reportMissingTypeArgument]
    """A key and its value, such as `team=search`."""

    name = "KEY=VALUE"

    @override
    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Parse the argument."""
        if isinstance(value, tuple):
            return cast("tuple[str, str]", value)
        key, equals, text = value.partition("=")
        if not (key and equals):
            self.fail(f"{value!r} is not KEY=VALUE", param, ctx)
        return key, text


class Moment(click.ParamType):  # pyright: ignore[reportMissingTypeArgument]
    """A time: how long ago (`90s`, `15m`, `1h`, `7d`, `2w`), or ISO 8601, in UTC by default."""

    name = "time"

    @override
    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Parse the argument."""
        if isinstance(value, datetime):
            return value
        now = datetime.now(timezone.utc)
        try:
            if age := _AGE.fullmatch(value):
                return now - timedelta(seconds=float(age[1]) * _UNITS[age[2]])
            # Python 3.10 does not accept the suffix Z.
            moment = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", value))
            if not moment.tzinfo:
                return moment.replace(tzinfo=timezone.utc)
            return moment.astimezone(timezone.utc)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no time: write 1h, 7d or 2026-01-31T12:00:00Z", param, ctx)


class Length(click.ParamType):  # pyright: ignore[reportMissingTypeArgument]
    """A duration, such as `250ms`, `2s` or `1.5m`.

    Args:
        above_zero: Refuse zero, which would otherwise mean the API's own choice.
    """

    name = "duration"

    def __init__(self, *, above_zero: bool = False) -> None:
        self._above_zero = above_zero

    @override
    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Parse the argument."""
        if isinstance(value, timedelta):
            return value
        try:
            length = self._read(value)
        except OverflowError:
            self.fail(f"{value!r} is too long: write a shorter duration", param, ctx)
        if length is None:
            self.fail(f"{value!r} is no duration: write 250ms, 2s or 1.5m", param, ctx)
        if self._above_zero and not length:
            self.fail(
                f"{value!r} is too short: write a longer duration, or leave it out for the default",
                param,
                ctx,
            )
        return length

    @staticmethod
    def _read(text: str) -> timedelta | None:
        if milliseconds := re.fullmatch(r"(\d+(?:\.\d+)?)ms", text):
            return timedelta(milliseconds=float(milliseconds[1]))
        if length := _AGE.fullmatch(text):
            return timedelta(seconds=float(length[1]) * _UNITS[length[2]])
        return None
