"""The group `vtrack`, which imports a command only when it is called or listed."""

from importlib import import_module
from importlib.util import find_spec
from typing import Final

import click
from typing_extensions import override

COMMANDS: Final = ("serve", "migrate", "versions", "compare", "traces")
"""Each is `command` of the module of that name beside this one."""


class LazyGroup(click.Group):
    """Finds its commands by module name."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in COMMANDS if find_spec(f"otel_vtrack.cli.{name}")]

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        return import_module(f"otel_vtrack.cli.{cmd_name}").command


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="otel-vtrack", message="vtrack %(version)s")
def group() -> None:
    """Keep the traces of every version of an application, and compare the versions."""
