"""The command group `vtrack`, which imports a command only when it is called or listed."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from keyword import iskeyword
from typing import Final

import click
from typing_extensions import override

SECTIONS: Final[Mapping[str, Sequence[str]]] = {
    "Ask": (
        "versions",
        "compare",
        "differences",
        "gate",
        "flags",
        "traces",
        "spans",
        "assessments",
        "deployments",
        "watch",
        "experiments",
    ),
    "Say": ("feedback",),
    "Run": ("serve", "migrate"),
    "Move": ("export", "import"),
    "Set up": ("completion",),
}
"""Command names by heading. Each is `command` in the module of that name in this package; if the
name is a Python keyword, the module's name ends in `_`.
"""


_WHOLE: Final = 1_000


class LazyGroup(click.Group):
    """Finds its commands by module name."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        names = (name for section in SECTIONS.values() for name in section)
        return [name for name in names if find_spec(_module(name))]

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        return import_module(_module(cmd_name)).command

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; click would look for similar names among those it has loaded."""
        there = self.list_commands(ctx)
        if args[0] not in there and args[0][:1] != "-" and not ctx.resilient_parsing:
            near = get_close_matches(args[0], there, n=1)
            ctx.fail(
                f"No such command {args[0]!r}." + (f" Did you mean {near[0]!r}?" if near else "")
            )
        return super().resolve_command(ctx, args)

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands under headings."""
        there = self.list_commands(ctx)
        width = max(len(name) for name in there)
        for heading, names in SECTIONS.items():
            rows = [
                (name.ljust(width), command.get_short_help_str(_WHOLE))
                for name in names
                if name in there and (command := self.get_command(ctx, name))
            ]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)


def _module(name: str) -> str:
    return f"otel_vtrack.cli.{name}_" if iskeyword(name) else f"otel_vtrack.cli.{name}"


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="otel-vtrack", message="vtrack %(version)s")
def group() -> None:
    """Store the traces of every version of an application, and compare the versions."""
