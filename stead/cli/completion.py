"""`stead completion`: what makes the Tab key of a shell know stead."""

from __future__ import annotations

import click

_HOW = {
    "bash": 'put into ~/.bashrc:   eval "$(stead completion bash)"   (bash 4.4 or newer)',
    "zsh": 'put into ~/.zshrc, after compinit:   eval "$(stead completion zsh)"',
    "fish": "stead completion fish > ~/.config/fish/completions/stead.fish",
}


@click.command(epilog="\b\n" + "\n".join(_HOW.values()))
@click.argument("shell", type=click.Choice(list(_HOW)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes the Tab key of SHELL know commands, options, and names of your house
    (conversations, models, nodes, jobs)."""
    from click.shell_completion import get_completion_class  # late: only this command needs it

    made = get_completion_class(shell)
    assert made is not None
    script = made(ctx.find_root().command, {}, "stead", "_STEAD_COMPLETE")
    click.echo(script.source_template % script.source_vars())
