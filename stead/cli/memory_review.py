"""`stead memory review`: what the nightly review did, and what waits for the owner's word."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from typing import Any

import click

from stead.cli.api import Api
from stead.cli.common import (
    FAILED,
    Cli,
    aside,
    dim,
    for_eyes,
    json_option,
    look,
    on_terminal,
    one_line,
    print_json,
    style,
    table,
    usd,
    when,
)
from stead.cli.http import quote

_AT = "/api/v1/memory/review"
_LOOK_S = 0.3
_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def review(ctx: click.Context, as_json: bool) -> None:
    """Show the nightly review: when it ran, and what waits for your word."""
    if ctx.invoked_subcommand is not None:
        return
    state = ctx.obj.api().get(_AT)
    if as_json:
        print_json(state)
        return
    at = f"every night at {state['at']}" if state["at"] else "only when you ask for it"
    click.echo(f"Memory is reviewed {at}.")
    if state["running"]:
        click.echo(f"It is under way: {_progress(state['running'])}")
    rows = [_night(one) for one in state["nights"][:10]]
    if rows:
        click.echo(table(("SLOT", "STATE", "TAKEN", "PROPOSED", "DROPPED", "COST", "WHY"), rows))
    if state["open"]:
        click.echo(f"{state['open']} wait for your word: stead memory review list")


@review.command()
@click.option(
    "--day", type=click.DateTime(["%Y-%m-%d"]), metavar="DATE",
    help="Only this day (YYYY-MM-DD); else all of late that are not read to their end.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only show what would be done; the model is asked.")
@json_option
@click.pass_obj
def now(obj: Cli, day: datetime | None, dry_run: bool, as_json: bool) -> int:
    """Review now, and wait for its end."""
    api = obj.api()
    begun = api.post(_AT, {"day": f"{day:%Y-%m-%d}" if day else "", "dry_run": dry_run})
    done = _wait(api, begun["run"], quiet=as_json)
    if as_json:
        print_json(done)
    else:
        _show_run(done, begun["days"])
    return FAILED if done["state"] == "skipped" else 0


def _wait(api: Api, run: str, *, quiet: bool) -> dict[str, Any]:
    said = ""
    while True:
        state = api.get(_AT)
        if state["running"] is None:
            record: dict[str, Any] = api.get(f"{_AT}/nights/{quote(run)}")
            if record.get("state") not in (None, "running"):
                if said and on_terminal(sys.stderr):
                    click.echo(err=True)
                return record
        elif not quiet and (told := _progress(state["running"])) != said:
            said = told
            if on_terminal(sys.stderr):
                click.echo(f"\r{told}\x1b[K", err=True, nl=False)
        time.sleep(_LOOK_S)


def _progress(running: dict[str, Any]) -> str:
    counts = running["counts"]
    return (
        f"{running['day']}: {counts['pieces']} pieces read, {counts['taken']} taken,"
        f" {counts['waiting']} proposed, {_tokens(counts)} tokens"
    )


def _show_run(done: dict[str, Any], days: list[str]) -> None:
    counts = done.get("counts") or {}
    if not days:
        click.echo("There was nothing to read.")
    for words in done.get("taken", []):
        click.echo(f"{style('taken', fg='green')}     {for_eyes(words, sys.stdout)}")
    for one in done.get("waiting", []):
        click.echo(
            f"{style('proposed', fg='yellow')}  {one['id']}  {for_eyes(one['summary'], sys.stdout)}"
            f" {dim('(' + one['why'] + ')')}"
        )
    for why, count in sorted(counts.get("dropped", {}).items()):
        click.echo(dim(f"dropped   {count}: {why}"))
    for why, count in sorted(counts.get("thrown", {}).items()):
        click.echo(dim(f"thrown    {count} answers: {why}"))
    if counts:
        click.echo(
            f"{counts['calls']} calls, {_tokens(counts)} tokens, {usd(counts['cost_micro'])}."
        )
    if done.get("why"):
        click.echo(f"It ended early: {done['why']}")
    if done.get("dry_run"):
        click.echo("Nothing was written.")
    elif done.get("waiting"):
        click.echo("Look: stead memory review show ID; then accept, reject or edit it.")


@review.command("list")
@click.option(
    "--state", type=click.Choice(["open", "accepted", "rejected", "stale", "all"]), default="open"
)
@json_option
@click.pass_obj
def list_(obj: Cli, state: str, as_json: bool) -> int:
    """List what waits for your word."""
    data, code = look(
        obj,
        lambda api: api.get(f"{_AT}/proposals", state=state),
        lambda home: home.proposals(obj.home, "" if state == "all" else state),
    )
    if as_json:
        print_json(data)
        return code
    rows = [
        [
            one["id"],
            one["state"],
            one["day"],
            one_line(one["summary"], 70),
            one_line(one["why"]),
        ]
        for one in data["proposals"]
    ]
    if not rows:
        click.echo("Nothing waits for your word." if state == "open" else "There is none.")
        return code
    click.echo(table(("ID", "STATE", "DAY", "WHAT", "WHY IT WAITS"), rows))
    if state == "open":
        click.echo("Whole: stead memory review show ID. All: stead memory review accept all")
    return code


@review.command()
@click.argument("ident", metavar="ID")
@json_option
@click.pass_obj
def show(obj: Cli, ident: str, as_json: bool) -> int:
    """Show a proposal: what would change, and the words that it comes from."""
    one, code = look(
        obj,
        lambda api: api.get(f"{_AT}/proposals/{quote(ident)}"),
        lambda home: home.proposal(obj.home, ident),
    )
    if as_json:
        print_json(one)
        return code
    _show(one)
    return code


def _show(one: dict[str, Any]) -> None:
    click.echo(style(f"{one['id']}: {for_eyes(one['summary'], sys.stdout)}", bold=True))
    click.echo(f"  state:   {one['state']}, proposed {when(one['at'])}")
    if one["quote"]:
        click.echo(f"  {one['speaker']} said: “{for_eyes(one['quote'], sys.stdout)}”")
    click.echo(f"  source:  {one['source']}")
    click.echo(f"  waits:   {one['why']}")
    if one.get("note"):
        click.echo(f"  careful: {one['note']}")
    click.echo()
    for line in for_eyes(one["diff"], sys.stdout).split("\n"):
        click.echo(style(line, fg=_COLOURS.get(line[:1])))


@review.command()
@click.argument("idents", metavar="ID...", nargs=-1, required=True)
@json_option
@click.pass_obj
def accept(obj: Cli, idents: tuple[str, ...], as_json: bool) -> None:
    """Do what was proposed (`all`: all that wait), as one change of the home's history."""
    done = obj.api().post(f"{_AT}/accept", {"ids": list(idents)})
    if as_json:
        print_json(done)
        return
    click.echo(f"Done: {', '.join(done['paths']) or 'nothing had to be changed'}.")
    for why in done["unfit"]:
        click.echo(f"Left out: {why}", err=True)
    if done["commit"]:
        aside("`stead memory undo` takes it back.")


@review.command()
@click.argument("ident", metavar="ID")
@click.option("--why", default="", help="Kept with it.")
@json_option
@click.pass_obj
def reject(obj: Cli, ident: str, why: str, as_json: bool) -> None:
    """Say no to a proposal; it is not made again."""
    one = obj.api().post(f"{_AT}/proposals/{quote(ident)}/reject", {"why": why})
    if as_json:
        print_json(one)
    else:
        click.echo(f"{one['id']} is rejected.")


@review.command()
@click.argument("ident", metavar="ID")
@click.option("--text", default="", help="The words; without them your editor is opened.")
@click.option("--accept", "at_once", is_flag=True, help="And accept it so.")
@json_option
@click.pass_obj
def edit(obj: Cli, ident: str, text: str, at_once: bool, as_json: bool) -> None:
    """Put what is proposed into words of your own."""
    api = obj.api()
    one = api.get(f"{_AT}/proposals/{quote(ident)}")
    if not text:
        text = (click.edit(one["operation"]["text"]) or "").strip()
    made = api.post(f"{_AT}/proposals/{quote(one['id'])}/edit", {"text": text})
    if at_once:
        api.post(f"{_AT}/accept", {"ids": [made["id"]]})
        made = api.get(f"{_AT}/proposals/{quote(made['id'])}")
    if as_json:
        print_json(made)
    else:
        _show(made)


def _night(one: dict[str, Any]) -> list[str]:
    counts = one.get("counts") or {}
    dropped = sum((counts.get("dropped") or {}).values()) + counts.get("failed", 0)
    slot = one["slot"] if len(one["slot"]) == 10 else f"{one['slot'][:10]} by hand"
    return [
        slot, str(one.get("state", "")), str(counts.get("taken", "")),
        str(counts.get("waiting", "")), str(dropped), f"{_tokens(counts)} tokens",
        one_line(str(one.get("why", "")), 60),
    ]  # fmt: skip


def _tokens(counts: dict[str, Any]) -> int:
    return int(counts.get("prompt_tokens", 0) + counts.get("answer_tokens", 0))
