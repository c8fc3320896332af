"""`stead config`: check, show and change the settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
import msgspec

from stead.cli.common import Cli, json_option, print_json, table
from stead.config import (
    DEFAULT,
    Loaded,
    as_toml,
    edit,
    is_live,
    leaves,
    load,
    prepare_home,
    value_of,
)


@click.group()
def config() -> None:
    """Check, show or change the settings in stead.toml."""


@config.command()
@json_option
@click.pass_obj
def check(obj: Cli, as_json: bool) -> None:
    """Check stead.toml and the environment. Exit code 1: something is wrong."""
    loaded = load(obj.home)
    file = obj.home / "stead.toml"
    said = _permits(loaded)
    if as_json:
        print_json({"ok": True, "path": str(file), "permits": said})
    elif file.exists():
        click.echo(f"{file} is valid.")
    else:
        click.echo(f"There is no {file}; the defaults hold.")
    for rule in () if as_json else said:
        click.echo(f"  the rule “{rule['name']}” {rule['words']}")
    for doubt in _doubts(loaded):
        click.echo(f"But {doubt}", err=True)


def _permits(loaded: Loaded) -> list[dict[str, Any]]:
    """The rules of permission in words: what they are taken to mean."""
    if not loaded.settings.permit:
        return []
    from stead.app import permits  # late: it loads the tools

    return [
        {"name": rule["name"], "words": rule["words"]} for rule in permits.rules(loaded.settings)
    ]


def _doubts(loaded: Loaded) -> Iterator[str]:
    """What is valid, and yet would not work as things are now."""
    key = loaded.settings.gateway.key_file
    if key and not loaded.owner_key_file.exists():
        yield f"gateway.key_file, {loaded.owner_key_file}, is not there."
    from stead.app import models, routing  # late: the other commands of this file need no models

    yield from models.doubts(loaded)
    yield from routing.doubts(loaded.home, loaded.settings)


@config.command()
@click.option("--changed", is_flag=True, help="Only what is not the default.")
@json_option
@click.pass_obj
def show(obj: Cli, changed: bool, as_json: bool) -> None:
    """Show every setting with where its value came from."""
    loaded = obj.loaded
    rows = [
        {"path": path, "value": value, "origin": loaded.origin(path)}
        for path, value in leaves(msgspec.to_builtins(loaded.settings))
    ]
    if changed:
        rows = [row for row in rows if row["origin"] != DEFAULT]
    if as_json:
        print_json(rows)
    else:
        cells = [[str(row["path"]), as_toml(row["value"]), str(row["origin"])] for row in rows]
        click.echo(table(("SETTING", "VALUE", "FROM"), cells))


@config.command("set")
@click.argument("path")
@click.argument("value")
@click.pass_obj
def set_(obj: Cli, path: str, value: str) -> None:
    """Set PATH (such as node.slots or backend[0].url) to VALUE in stead.toml.

    Lists are given with commas. Comments in the file are kept.
    """
    prepare_home(obj.home)
    edit(obj.home, path, value_of(path, value))
    when = "a running gateway takes it over" if is_live(path) else "it holds from the next start on"
    click.echo(f"{path} = {as_toml(value_of(path, value))}; {when}.")


@config.command()
@json_option
@click.pass_obj
def apply(obj: Cli, as_json: bool) -> None:
    """Have the running gateway take over stead.toml now, all of it or nothing.

    It notices changes by itself within some seconds; this waits for it, and says what is wrong.
    """
    done = obj.api(loosely=True).post("/api/v1/config/apply", {})
    if as_json:
        print_json(done)
        return
    click.echo("\n".join(_applied(done)))


def _applied(done: dict[str, Any]) -> Iterator[str]:
    live, restart = done["changed"], done["restart"]
    yield f"Taken over: {', '.join(live)}." if live else "Nothing that holds at once was changed."
    if restart:
        yield f"From the next start on: {', '.join(restart)}."


@config.command()
@click.pass_obj
def path(obj: Cli) -> None:
    """Print where stead.toml is."""
    click.echo(obj.home / "stead.toml")
