"""`stead forget`: take words out of everything that stead keeps, and prove it."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import click

from stead.cli.api import refusal
from stead.cli.common import (
    Cli,
    dim,
    harmless,
    json_option,
    on_terminal,
    one_line,
    print_json,
    short,
    size,
    span,
    when,
)
from stead.cli.when import as_moment
from stead.core.errors import GatewayAway, SteadError

_LOOK_S = 0.2
_PLAN_S = 1800.0
"""A look through all bytes of a large home takes a while."""
KINDS = ("message", "person", "topic", "span", "text")


class ForgetFailed(SteadError):
    """{why}"""

    code = "forget_failed"


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("words", nargs=-1, required=True, metavar="WORDS...")
@click.option("--session", default="", metavar="NAME", help="Of a span: only this conversation.")
@click.option("--backups", is_flag=True, help="Also old copies of the database that hold it.")
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_context
def forget(
    ctx: click.Context, kind: str, words: tuple[str, ...], session: str, backups: bool,
    dry_run: bool, yes: bool, as_json: bool,
) -> None:  # fmt: skip
    """Forget a message, a person, a topic, a span of time or an exact text, for good.

    \b
    stead forget message 1a2b3c4d             a message (or job) and all of its turn
    stead forget person "Anna Berger"         all entries with one of her names
    stead forget topic gooseberry cake        all entries with all these words
    stead forget span 2026-03-01 2026-03-02   all that was said between these times
    stead forget text "4711-AB"               all entries with exactly this; - reads it

    Shows what would go, and asks. Then it is gone: from files, index, graph, database, spools, kept
    bodies, undo and history; every byte of the home is searched at the end. What cannot be reached
    (old copies, files of your own) is said.
    """
    obj: Cli = ctx.obj
    wish = _wish(ctx, kind, words, session, backups)
    plan = _ask(obj, "/api/v1/forget/plan", wish, run=False)
    if dry_run or not yes:
        if as_json and dry_run:
            print_json(plan)
        else:
            _show(plan, err=as_json)
        if dry_run:
            return
    if plan["empty"]:
        if as_json:
            print_json({"found": False})
        elif yes:
            click.echo("Nothing of it was found.")
        return
    if plan["busy"]:
        raise ForgetFailed(why=f"Nothing was forgotten: {'; '.join(plan['busy'][:5])}.")
    if not yes:
        if not on_terminal(sys.stdin):
            raise click.UsageError("Nobody is there to ask; say --yes if you mean it.")
        click.confirm("Forget it for good?", abort=True, err=as_json)
    receipt = _ask(obj, "/api/v1/forget", wish, run=True)
    if as_json:
        print_json(receipt)
    else:
        _tell(receipt)


def _wish(
    ctx: click.Context, kind: str, words: tuple[str, ...], session: str, backups: bool
) -> dict[str, Any]:
    wish: dict[str, Any] = {"kind": kind, "session": session, "backups": backups}
    if kind != "span":
        if session:
            raise click.UsageError("--session belongs to a span.")
        said = " ".join(words)
        if said == "-":  # so that it is not in the shell's history
            said = sys.stdin.read().rstrip("\n")
        return {**wish, "words": said}
    if len(words) != 2:
        raise click.UsageError("Say from when to when: stead forget span FROM TO.")
    param = next(one for one in ctx.command.params if one.name == "words")
    since, until = as_moment(ctx, param, words[0]), as_moment(ctx, param, words[1])
    return {**wish, "since": since, "until": until}


def _ask(obj: Cli, path: str, wish: dict[str, Any], *, run: bool) -> dict[str, Any]:
    """The plan or the receipt: from the gateway, or while it is away from the home directory."""
    try:
        api = obj.api()
        body = json.dumps(wish).encode()
        answer = api.ask(path, body, "application/json", timeout=_PLAN_S)
    except GatewayAway:
        from stead.app import forget as app  # late: only while the gateway is down

        if run:
            return app.run_at_home(obj.home, **wish)
        return app.plan_at_home(obj.home, **wish)
    if answer.status >= 400:
        raise refusal(answer.status, answer.body)
    found: dict[str, Any] = json.loads(answer.body)
    while run:
        found = api.get("/api/v1/forget")
        if not found["running"]:
            if found["error"] or found["last"] is None:
                stopped = {"error": {"message": "The gateway was stopped meanwhile."}}
                raise ForgetFailed(why=(found["error"] or stopped)["error"]["message"])
            last: dict[str, Any] = found["last"]
            return last
        time.sleep(_LOOK_S)
    return found


def _show(plan: dict[str, Any], err: bool = False) -> None:
    def say(words: str) -> None:
        click.echo(words, err=err)

    if plan["empty"]:
        say("Nothing of it was found.")
    if plan["names"]:
        say(f"Meant by that: {harmless(', '.join(plan['names']))}")
    for one in plan["messages"]:
        who = "you" if one["role"] == "owner" else "stead"
        say(f"{short(one['id'])} {when(one['at'])} {who}: {one_line(one['text'], 100)}")
    if plan["more_messages"]:
        say(f"... and {plan['more_messages']} more messages")
    for one in plan["entries"]:
        if one["text"]:
            say(f"{one['path']}:{one['line']}: {one_line(one['text'], 100)}")
    if plan["more_entries"]:
        say(f"... and {plan['more_entries']} more entries")
    for path in plan["copies"]:
        say(f"{path} (a copy)")
    for path in plan["backups"]:
        say(f"{path} holds it too; with --backups it goes")
    for path in plan["yours"]:
        say(f"{path} holds it too; it is yours and stays")
    for words in plan["busy"]:
        say(f"Not now: {words}.")
    searched = plan["searched"]
    say(dim(f"(searched {searched['files']} files, {size(searched['bytes'])})"))


def _tell(receipt: dict[str, Any]) -> None:
    counts = receipt["counts"]
    rows = sum(counts.get("rows", {}).values())
    entries = sum(counts.get("files", {}).values())
    told = [
        f"{receipt['messages']} messages", f"{rows} rows of the database",
        f"{entries} entries in {len(counts.get('files', {}))} files",
    ]  # fmt: skip
    told += [f"{many} {name}" for name, many in counts.get("copies", {}).items()]
    if counts.get("history"):
        told.append(f"{counts['history']} older versions of files")
    click.echo(f"Forgotten in {span(receipt['took_ms'])}: {', '.join(told)}.")
    if receipt["tombstones"]:
        click.echo(dim(f"Tombstones: {', '.join(receipt['tombstones'][:20])}"))
    click.echo(receipt["proof"][:1].upper() + receipt["proof"][1:])
    for words in receipt["left"]:
        click.echo(f"- {harmless(words)}")
