"""A group of commands below `vtrack`."""

import click
from typing_extensions import override

_WHOLE = 1_000


class Section(click.Group):
    """Lists commands without cutting what is said of them, as click does after some words."""

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List them, each with its whole first line."""
        rows = [
            (name, command.get_short_help_str(_WHOLE))
            for name in self.list_commands(ctx)
            if (command := self.get_command(ctx, name))
        ]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)
