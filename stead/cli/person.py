"""`stead person`: the people of the house besides the owner, and what they may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from stead.cli.common import Cli, harmless, json_option, print_json, table, usd, when
from stead.cli.http import quote
from stead.cli.scopes import dollars, given, limits, moment, names, until

_F = TypeVar("_F", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--tools", callback=names, metavar="A,B",
                 help="Tools their jobs may use, with *; any: those that touch nothing of yours."),
    click.option("--lanes", callback=names, metavar="A,B", help="Only these lanes; any: all."),
    click.option("--models", callback=names, metavar="A,B", help="Only these models; any: all."),
    click.option("--budget-day", "day_micro", callback=dollars, metavar="USD",
                 help="Money in a day (UTC); 0: only what is free; any: no limit of their own."),
    click.option("--budget-month", "month_micro", callback=dollars, metavar="USD",
                 help="Money in a month (UTC)."),
    click.option("--rate", "requests_per_min", type=click.IntRange(0), metavar="N",
                 help="Model calls a minute; 0: any."),
    click.option("--tokens", "tokens_per_min", type=click.IntRange(0), metavar="N",
                 help="Tokens a minute; 0: any."),
    click.option("--at-once", type=click.IntRange(0), metavar="N",
                 help="Model calls at once; 0: any."),
    click.option("--expires", "expires_at", callback=moment, metavar="WHEN",
                 help="Let in until then: 30d, 12h, 2026-12-31 or never."),
    click.option("--local-only/--not-local-only", default=None,
                 help="What they say never leaves the house."),
    click.option("--keep-bodies/--no-bodies", default=None,
                 help="Whether their texts may be kept for the audit."),
    click.option("--reserve/--no-reserve", "chat", default=None,
                 help="Whether they may use the money that is kept for your own chat."),
)  # fmt: skip


def _terms(command: _F) -> _F:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.group()
def person() -> None:
    """People besides you (family, a guest): let them in, say what they may."""


@person.command()
@click.argument("called")
@click.option("--name", help="For commands and rules (default: made of CALLED).")
@_terms
@json_option
@click.pass_obj
def add(obj: Cli, /, called: str, name: str | None, as_json: bool, **terms: Any) -> None:
    """Let somebody in who is CALLED so, with conversations and limits of their own.

    \b
    stead person add Anna --budget-day 0.50
    stead person add "Zoë Müller" --name zoe --local-only --tools "clock,web_*"
    """
    body = {"called": called, **({"name": name} if name else {}), **given(terms)}
    made = obj.api().post("/api/v1/people", body)
    if as_json:
        print_json(made)
        return
    click.echo(f"{_called(made)} can be let in now, as {made['name']}. {_words(made)}.")
    click.echo(f"  stead person invite {made['name']}    a code to sign in to the page with")


@person.command("list")
@click.option("--all", "everybody", is_flag=True, help="Who was removed, too.")
@json_option
@click.pass_obj
def list_(obj: Cli, everybody: bool, as_json: bool) -> None:
    """List the people of the house, what they spent and what they may."""
    data = obj.api().get("/api/v1/people", all="1" if everybody else "")
    if as_json:
        print_json(data)
        return
    rows = [
        (one["name"], _called(one), one["state"], _spent(one), _words(one))
        for one in data["people"]
    ]
    click.echo(table(("NAME", "CALLED", "STATE", "TODAY, MONTH", "MAY"), rows))


@person.command()
@click.argument("name")
@json_option
@click.pass_obj
def show(obj: Cli, name: str, as_json: bool) -> None:
    """Show what the person NAME may, and has spent."""
    data = obj.api().get(f"/api/v1/people/{quote(name)}")
    if as_json:
        print_json(data)
        return
    click.echo(f"{_called(data)} ({data['name']}), here since {when(data['created_at'])}")
    click.echo(f"may:    {_words(data)}")
    click.echo(f"tools:  {harmless(', '.join(data['tools']))}")
    if not data["owner"]:
        click.echo(f"spent:  {_spent(data)} (today, this month)")


@person.command()
@click.argument("name")
@click.option("--called", help="Another way to address them.")
@click.option("--name", "new_name", metavar="NEW", help="Another name for commands and rules.")
@_terms
@json_option
@click.pass_obj
def change(
    obj: Cli, /, name: str, called: str | None, new_name: str | None, as_json: bool, **terms: Any
) -> None:
    """Change what the person NAME may; it holds from the next message on.

    Of you (`owner`) only --called can be changed: your limits are in the settings.
    """
    what = given({**terms, "called": called, "name": new_name})
    if not what:
        raise click.UsageError("Say what is to be changed: `stead person change --help`.")
    data = obj.api().post(f"/api/v1/people/{quote(name)}", what)
    if as_json:
        print_json(data)
    else:
        click.echo(f"{_called(data)} ({data['name']}): {_words(data)}.")


@person.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def remove(obj: Cli, name: str, yes: bool, as_json: bool) -> None:
    """Let the person NAME in no longer; what they asked for is stopped.

    What they said stays in the record until you forget it (`stead forget`).
    """
    if not yes and not as_json:
        click.confirm(f"Let {name} in no longer?", abort=True)
    data = obj.api().delete(f"/api/v1/people/{quote(name)}")
    if as_json:
        print_json(data)
        return
    stopped = f" {data['stopped']} of their jobs were stopped." if data["stopped"] else ""
    click.echo(f"{_called(data)} is let in no longer.{stopped}")


@person.command()
@click.argument("name")
@click.option("--for", "for_h", type=click.FloatRange(0.01, 168), default=24.0, show_default=True,
              metavar="HOURS", help="How long the code is good.")  # fmt: skip
@json_option
@click.pass_obj
def invite(obj: Cli, name: str, for_h: float, as_json: bool) -> None:
    """Make a code with which the person NAME signs in to the page, once."""
    body = {"person": name, "for_s": round(for_h * 3600)}
    data = obj.api().post("/api/v1/logins", body)
    if as_json:
        print_json(data)
        return
    click.echo(f"  {data['url']}")
    click.echo(
        f"Open that within {for_h:g} h, or sign in at the page with the code {data['code']}."
    )
    click.echo("It is good for one sign-in; who has it is let in as that person.")


def _called(row: dict[str, Any]) -> str:
    return harmless(str(row["called"]))


def _spent(row: dict[str, Any]) -> str:
    if row["owner"]:
        return ""
    return f"{usd(row['spent']['day_micro'])}, {usd(row['spent']['month_micro'])}"


def _words(row: dict[str, Any]) -> str:
    """What somebody may, in words."""
    if row["owner"]:
        return "everything"
    scope = row["scope"]
    words = [*limits(scope), *["your chat reserve too"] * scope["chat"], *until(scope)]
    return harmless("; ".join(words)) or "talk, without limits of their own"
