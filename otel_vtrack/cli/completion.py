"""`vtrack completion`: shell completion of commands and options."""

import click
from click.shell_completion import get_completion_class

_VARIABLE = "_VTRACK_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, *, shell: str) -> None:
    """Print a script that makes your shell complete `vtrack`.

    Put `eval "$(vtrack completion bash)"` into ~/.bashrc, likewise for zsh into ~/.zshrc, or
    `vtrack completion fish | source` into ~/.config/fish/config.fish.
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - the choices are click's own
    click.echo(kind(ctx.find_root().command, {}, "vtrack", _VARIABLE).source())
