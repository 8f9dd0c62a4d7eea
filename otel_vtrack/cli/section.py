"""A group of subcommands of `vtrack`."""

import click
from typing_extensions import override

_WHOLE = 1_000


class Section(click.Group):
    """Lists commands with their full summaries, which click would truncate."""

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands, each with its whole summary."""
        rows = [
            (name, command.get_short_help_str(_WHOLE))
            for name in self.list_commands(ctx)
            if (command := self.get_command(ctx, name))
        ]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)
