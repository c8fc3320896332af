"""`stead backends`: how the model servers are, and a look at one of them."""

from __future__ import annotations

from typing import Any

import click

from stead.cli.common import FAILED, Cli, json_option, print_json, span, style, table
from stead.cli.http import quote

_COLOURS = {"ok": "green", "resting": "red", "waiting": "yellow", "trial": "yellow"}
_MOST = 20


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def backends(context: click.Context, as_json: bool) -> None:
    """List the backends with how they are, and the lanes; or test one."""
    if context.invoked_subcommand is None:
        context.invoke(list_, as_json=as_json)


@backends.command("list")
@json_option
@click.pass_obj
def list_(obj: Cli, as_json: bool) -> None:
    """List every instance of every backend, and every lane."""
    found = obj.api().get("/api/v1/backends")
    if as_json:
        print_json(found)
        return
    if found["backends"]:
        head = ("BACKEND", "AT", "WHERE", "STATE", "CALLS", "UNDER WAY", "MODELS")
        click.echo(table(head, [_row(one) for one in found["backends"]]))
    else:
        click.echo("No backend is set up: add a [[backend]] to stead.toml.")
    for one in found["backends"]:
        if one["why"]:
            click.echo(f"{one['name']} at {one['url']}: {one['why']}")
    click.echo()
    click.echo(
        table(("LANE", "MODELS"), [[lane["name"], _models(lane)] for lane in found["lanes"]])
    )
    for lane in found["lanes"]:
        for words in lane["left_out"]:
            click.echo(f"lane {lane['name']} never reaches {words}")


def _row(one: dict[str, Any]) -> list[str]:
    state = str(one["state"])
    failed = f" ({one['failed']} failed)" if one["failed"] else ""
    return [
        one["name"],
        one["url"],
        one["where"],
        style(state, fg=_COLOURS.get(state)),
        f"{one['calls']}{failed}",
        str(one["under_way"]),
        ", ".join(one["models"]) or "none",
    ]


def _models(lane: dict[str, Any]) -> str:
    shares = lane["shares"]
    words = [f"{name} ({shares[name]:.0%})" if name in shares else name for name in lane["models"]]
    text = ", then ".join(words) or "nothing"
    return f"{text}; beside: {lane['shadow']}" if lane["shadow"] else text


@backends.command()
@click.argument("name")
@json_option
@click.pass_obj
def test(obj: Cli, name: str, as_json: bool) -> int:
    """Ask every instance of the backend NAME for its models. That costs nothing.

    Exit code 1: one does not answer, or lacks a model that is set up for it.
    """
    found = obj.api().post(f"/api/v1/backends/{quote(name)}/test", {})["instances"]
    good = all(one["ok"] and not one["lacking"] for one in found)
    if as_json:
        print_json(found)
        return 0 if good else FAILED
    for one in found:
        click.echo(f"{one['name']} at {one['url']}: {one['words']}" + _took(one))
        if one["models"]:
            more = len(one["models"]) - _MOST
            names = ", ".join(one["models"][:_MOST]) + (f" and {more} more" if more > 0 else "")
            click.echo(f"  has {names}")
        if one["lacking"]:
            click.echo(f"  lacks {', '.join(one['lacking'])}, which stead.toml names")
    return 0 if good else FAILED


def _took(one: dict[str, Any]) -> str:
    return f" ({span(one['ms'])})" if one["ok"] else ""
