"""Command-line options generated from `Settings`, so that no setting is defined twice."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from otel_vtrack import settings

_Command = TypeVar("_Command", bound=Callable[..., Any])

_METAVARS = {
    "prices": "FILE",
    "retention": "AGE",
    "forward": "URL",
    "forward_headers": "NAME=VALUE,...",
    "allowed_hosts": "NAME,...",
    "destinations": "JSON",
    "enrich": "JSON",
    "redact": "JSON",
    "sample": "JSON",
}


def takes(names: Iterable[str]) -> Callable[[_Command], _Command]:
    """Add the options of these settings, and `--config`, to a command.

    The function receives them as keyword arguments, to pass to `load`.
    """
    made = [_option(name) for name in names]
    made.append(
        click.option(
            "--config",
            type=click.Path(path_type=Path),
            envvar=settings.FILE_VARIABLE,
            show_envvar=True,
            help="TOML or YAML file of settings; flags and environment win over it.",
        )
    )

    def decorate(command: _Command) -> _Command:
        for option in reversed(made):
            command = option(command)
        return command

    return decorate


def load(config: Path | None, options: dict[str, Any]) -> settings.Settings:
    """Load the settings of a command decorated with `takes`; raises as `settings.load` does."""
    flags = {name: value for name, value in options.items() if value is not None}
    return settings.load(flags, config)


def _option(name: str) -> Callable[[_Command], _Command]:
    # No type and no default: `Settings` validates values, and only it knows their sources.
    field = settings.Settings.model_fields[name]
    flag = settings.flag(name)
    notes = [f"env: {settings.variable(name)}"]
    if field.default_factory is None:
        notes.append(f"default: {shown(field.default)}")
    help_ = f"{field.description}  [{'; '.join(notes)}]"
    if field.annotation is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=help_)
    return click.option(flag, name, metavar=_metavar(name, field.annotation), help=help_)


def _metavar(name: str, annotation: Any) -> str:
    if choices := [each for each in get_args(annotation) if isinstance(each, str)]:
        return "|".join(choices)
    if name in _METAVARS:
        return _METAVARS[name]
    return "HOST:PORT" if name in {"grpc", "http"} else name.rpartition("_")[2].upper()


def shown(value: Any) -> str:
    """Format the default of a setting for display."""
    from pydantic import ByteSize  # noqa: PLC0415 - for the type of a default

    if isinstance(value, ByteSize):
        return value.human_readable(separator="")
    return str(value).lower() if isinstance(value, bool) else str(value)
