"""`stead key`: the owner's key, and those of programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from stead.cli.common import Cli, harmless, json_option, print_json, table, when
from stead.cli.http import quote
from stead.cli.scopes import dollars, given, limits, moment, names, until
from stead.core.keys import new_key, read_key, write_new_key

_F = TypeVar("_F", bound=Callable[..., Any])


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def key(ctx: click.Context, /, as_json: bool) -> None:
    """Print the owner's key; make, list, change and revoke those of programs."""
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
    """Make another owner's key in FILE (readable by you only), for gateway.key_file."""
    write_new_key(file, new_key("owner"))
    if as_json:
        print_json({"path": str(file.absolute())})
        return
    click.echo(f"A new key is in {file}. To use it:")
    click.echo(f"  stead config set gateway.key_file {file.absolute()}")


# --- the keys of programs ---------------------------------------------------------------


_OPTIONS = (
    click.option("--lanes", callback=names, metavar="A,B", help="Only these lanes; any: all."),
    click.option("--models", callback=names, metavar="A,B", help="Only these models; any: all."),
    click.option(
        "--endpoints", callback=names, metavar="A,B",
        help="Only these paths below /v1/, such as chat/completions; any: all.",
    ),
    click.option("--rate", "requests_per_min", type=click.IntRange(0), metavar="N",
                 help="Requests a minute; 0: any."),
    click.option("--tokens", "tokens_per_min", type=click.IntRange(0), metavar="N",
                 help="Tokens a minute; 0: any."),
    click.option("--at-once", type=click.IntRange(0), metavar="N", help="Calls at once; 0: any."),
    click.option("--max-body-kb", type=click.IntRange(0), metavar="N",
                 help="Largest request, in kB; 0: any."),
    click.option("--budget-day", "day_micro", callback=dollars, metavar="USD",
                 help="Money in a day (UTC); 0: only what is free; any: no limit of its own."),
    click.option("--budget-month", "month_micro", callback=dollars, metavar="USD",
                 help="Money in a month (UTC)."),
    click.option("--expires", "expires_at", callback=moment, metavar="WHEN",
                 help="30d, 12h, 2026-12-31 or never."),
    click.option("--local-only/--not-local-only", default=None,
                 help="What it asks never leaves the house."),
    click.option("--keep-bodies/--no-bodies", default=None,
                 help="Whether its texts may be kept for the audit."),
    click.option("--chat/--background", default=None,
                 help="Whether it is a way of yours to talk: it may use the chat reserve then."),
)  # fmt: skip


def _scope_options(command: _F) -> _F:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@key.command()
@click.argument("name")
@_scope_options
@json_option
@click.pass_obj
def create(obj: Cli, /, name: str, as_json: bool, **scope: Any) -> None:
    """Make a key for the program NAME; it is shown only now."""
    api = obj.api()
    made = api.post("/api/v1/keys", {"name": name, **given(scope)})
    if as_json:
        print_json({**made, "url": f"{api.url}/v1"})
        return
    click.echo(made["key"])
    click.echo(f"This is the key of {name}; it is not shown again. {_words(made)}", err=True)
    click.echo(f"The program asks {api.url}/v1 (OpenAI) or {api.url} (Anthropic).", err=True)


@key.command("list")
@click.option("--all", "everything", is_flag=True, help="Those that were revoked, too.")
@json_option
@click.pass_obj
def list_(obj: Cli, everything: bool, as_json: bool) -> None:
    """List the keys of programs (not the keys themselves: nobody has them)."""
    data = obj.api().get("/api/v1/keys", all="1" if everything else "")
    if as_json:
        print_json(data)
        return
    rows = [
        (one["name"], one["state"], when(one["created_at"]), _words(one)) for one in data["keys"]
    ]
    click.echo(table(("NAME", "STATE", "MADE", "FOR"), rows) if rows else "None")


@key.command()
@click.argument("name")
@json_option
@click.pass_obj
def show(obj: Cli, name: str, as_json: bool) -> None:
    """Show what the key of the program NAME is for."""
    data = obj.api().get(f"/api/v1/keys/{quote(name)}")
    if as_json:
        print_json(data)
    else:
        click.echo(
            f"{data['name']} {data['state']} since {when(data['created_at'])}: {_words(data)}"
        )


@key.command("set")
@click.argument("name")
@_scope_options
@json_option
@click.pass_obj
def set_(obj: Cli, /, name: str, as_json: bool, **scope: Any) -> None:
    """Change what the key of the program NAME is for; it holds from the next request on."""
    change = given(scope)
    if not change:
        raise click.UsageError("Say what is to be changed: `stead key set --help`.")
    data = obj.api().post(f"/api/v1/keys/{quote(name)}", change)
    if as_json:
        print_json(data)
    else:
        click.echo(f"{data['name']}: {_words(data)}")


@key.command()
@click.argument("name")
@json_option
@click.pass_obj
def revoke(obj: Cli, name: str, as_json: bool) -> None:
    """Take back the key of the program NAME: its next request is refused."""
    data = obj.api().delete(f"/api/v1/keys/{quote(name)}")
    if as_json:
        print_json(data)
    else:
        click.echo(f"The key of {data['name']} opens nothing any more.")


def _words(row: dict[str, Any]) -> str:
    """What a key is for, in words."""
    scope = row["scope"]
    words = [*limits(scope), *["the owner's chat"] * scope["chat"], *until(scope)]
    return harmless("; ".join(words)) or "everything but the agent"
