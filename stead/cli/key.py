"""`stead key`: the owner's key."""

from __future__ import annotations

from pathlib import Path

import click

from stead.cli.common import Cli, json_option, print_json
from stead.core.keys import new_key, read_key, write_new_key


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def key(ctx: click.Context, /, as_json: bool) -> None:
    """Print the owner's key, or make a new one."""
    if ctx.invoked_subcommand:
        return
    obj: Cli = ctx.obj
    file = obj.loaded.owner_key_file
    text = read_key(file)
    if as_json:
        print_json({"key": text, "path": str(file)})
    else:
        click.echo(text)


@key.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@json_option
def new(file: Path, as_json: bool) -> None:
    """Make a key in FILE (readable by you only), for gateway.key_file in stead.toml."""
    write_new_key(file, new_key("owner"))
    if as_json:
        print_json({"path": str(file.absolute())})
        return
    click.echo(f"A new key is in {file}. To use it:")
    click.echo(f"  stead config set gateway.key_file {file.absolute()}")
