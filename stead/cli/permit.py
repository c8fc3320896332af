"""`stead permit`: what the agent may do, by which rule, and what was allowed for ever."""

from __future__ import annotations

from typing import Any

import click

from stead.cli.common import (
    Cli,
    json_option,
    look,
    one_line,
    print_json,
    short,
    style,
    table,
    when,
)
from stead.cli.http import quote

_COLOURS = {"allow": "green", "ask": "yellow", "deny": "red"}


@click.group()
def permit() -> None:
    """Show what the agent may do, and by which rule; take back what was allowed for ever."""


@permit.command("list")
@click.option("--all", "every", is_flag=True, help="Also grants that were taken back.")
@json_option
@click.pass_obj
def list_(obj: Cli, every: bool, as_json: bool) -> int:
    """List your rules, what you allowed for ever, and what holds for each tool without a rule."""
    from stead.app import permits  # late: it loads the tools

    grants, code = look(
        obj,
        lambda api: api.get("/api/v1/grants", all="1" if every else ""),
        lambda home: home.grants(obj.home, revoked=every),
    )
    found = {
        "rules": permits.rules(obj.loaded.settings),
        **grants,
        "tools": permits.tools(obj.home),
    }
    if as_json:
        print_json(found)
        return code
    click.echo(style("Rules of stead.toml", bold=True))
    for rule in found["rules"]:
        click.echo(f"  {rule['name']}: {rule['words']}")
    if not found["rules"]:
        click.echo("  none")
    click.echo(style("Allowed for ever", bold=True))
    for grant in found["grants"]:
        click.echo(f"  {_grant(grant)}")
    if not found["grants"]:
        click.echo("  nothing")
    click.echo(style("Where none of these says anything", bold=True))
    rows = [[tool["name"], tool["default"], tool["about"]] for tool in found["tools"]]
    click.echo(table(("TOOL", "", "WHAT IT DOES"), rows))
    return code


@permit.command()
@click.argument("tool")
@click.argument("args", nargs=-1)
@click.option("--session", default="main", help="In this conversation.")
@click.option("--channel", default="cli", help="Asked by this channel.")
@click.option("--person", default="owner", help="Asked by this person.")
@click.option("--background", is_flag=True, help="As background work.")
@click.option("--foreign", is_flag=True, help="After foreign text was read.")
@click.option("--private", is_flag=True, help="After something private was read.")
@json_option
@click.pass_obj
def check(obj: Cli, /, tool: str, args: tuple[str, ...], as_json: bool, **how: Any) -> int:
    """Say what would hold for a call, and why. Nothing is run.

    ARGS are NAME=VALUE, or one JSON object: stead permit check shell command='git log'.
    """
    from stead.app import permits  # late: it loads the tools

    grants, code = look(
        obj,
        lambda api: api.get("/api/v1/grants"),
        lambda home: home.grants(obj.home),
    )
    found = permits.check(obj.home, obj.loaded.settings, grants["grants"], tool, args, **how)
    if as_json:
        print_json(found)
        return code
    word = str(found["word"])
    click.echo(f"{style(word, fg=_COLOURS[word])}: {found['why']}")
    click.echo(f"  it would: {found['preview']}")
    for label, value in found["touches"].items():
        click.echo(f"  {label}: {value}")
    return code


@permit.command()
@click.argument("ident", metavar="ID")
@json_option
@click.pass_obj
def revoke(obj: Cli, ident: str, as_json: bool) -> None:
    """Take back what you allowed for ever; ID is that of the grant, or a piece of it."""
    grant = obj.api().post(f"/api/v1/grants/{quote(ident)}/revoke")
    if as_json:
        print_json(grant)
    else:
        click.echo(f"{short(grant['id'])} does not hold any more: {grant['always']}.")


def _grant(grant: dict[str, Any]) -> str:
    back = f", taken back {when(grant['revoked_at'])}" if grant["revoked_at"] else ""
    what = one_line(str(grant["preview"]), 80)
    return f"{short(grant['id'])}: {grant['always']} ({what}; since {when(grant['at'])}{back})"
