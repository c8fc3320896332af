"""`stead secret`: values that tools use without ever seeing them."""

from __future__ import annotations

import sys

import click

from stead.cli.common import Cli, dim, json_option, on_terminal, print_json, table
from stead.core.errors import SteadError


@click.group()
def secret() -> None:
    """Keep the values of credentials: set, list, remove them; see where they are used.

    A value is read from a prompt or from stdin, never from the command line, which other
    programs and your shell's history see. [[credential]] in stead.toml says what it is for.
    """


@secret.command("set")
@click.argument("name")
@json_option
@click.pass_obj
def set_(obj: Cli, name: str, as_json: bool) -> None:
    """Keep a value under NAME, readable by you only; one that was there is replaced."""
    from stead.app.secret_files import remark, store_of  # late: only this command needs it

    store = store_of(obj.home)
    store.path(name)  # a bad name is said before the value is asked for
    if on_terminal(sys.stdin):
        value = click.prompt(f"Value of {name} (not shown)", hide_input=True, err=True)
    else:
        value = _piped()
    path = store.set(name, value)
    note = remark(value.strip())
    if as_json:
        print_json({"name": name, "path": str(path), "note": note})
        return
    click.echo(f"{name} is kept in {path}.")
    if note:
        click.echo(note, err=True)


def _piped() -> str:
    data = sys.stdin.buffer.read(1_000_000)
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise SteadError("The value is not UTF-8 text; nothing was kept.") from None


@secret.command("list")
@json_option
@click.pass_obj
def list_(obj: Cli, as_json: bool) -> None:
    """List the names, and the credentials that use them. Never a value."""
    from stead.app.secret_files import told  # late: only this command needs it

    found = told(obj.loaded)
    if as_json:
        print_json({"secrets": found})
        return
    if not found:
        click.echo("No secrets are kept. `stead secret set NAME` keeps one.")
        return
    rows = [
        [one.name, one.trouble or "kept" if one.there else one.trouble or "not seen from here",
         "; ".join(one.credentials) or dim("no credential uses it")]
        for one in found
    ]  # fmt: skip
    click.echo(table(["name", "value", "used by"], rows))


@secret.command()
@click.argument("name")
@json_option
@click.pass_obj
def remove(obj: Cli, name: str, as_json: bool) -> None:
    """Delete the value kept under NAME."""
    from stead.app.secret_files import store_of  # late: only this command needs it

    store_of(obj.home).remove(name)
    if as_json:
        print_json({"name": name, "removed": True})
    else:
        click.echo(f"{name} is deleted. Revoke it where it came from, too, if it was to be gone.")


@secret.command("show-where")
@click.argument("name")
@json_option
@click.pass_obj
def show_where(obj: Cli, name: str, as_json: bool) -> None:
    """Say where the value of NAME comes from, and which requests it is put into."""
    from stead.app.secret_files import told  # late: only this command needs it

    found = [one for one in told(obj.loaded) if one.name == name]
    if not found:
        raise SteadError(f"There is no secret and no credential {name!r}; `stead secret list`.")
    if as_json:
        print_json(found[0])
        return
    (one,) = found[:1]
    click.echo(one.where)
    if one.trouble:
        click.echo(f"It cannot be used: {one.trouble}")
    for use in one.credentials or ("no credential uses it",):
        click.echo(f"  {use}")
