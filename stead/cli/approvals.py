"""`stead approvals`, `approve`, `deny` and `answer`: what waits for the owner's word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from stead.cli import show
from stead.cli.common import (
    FAILED,
    Cli,
    harmless,
    json_option,
    look,
    one_line,
    print_json,
    short,
    style,
    table,
    when,
)
from stead.cli.follow import follow
from stead.cli.http import quote


@click.command()
@click.argument("ident", metavar="[ID]", default="")
@click.option("--all", "every", is_flag=True, help="Also what is over.")
@click.option("-n", "--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@json_option
@click.pass_obj
def approvals(obj: Cli, ident: str, every: bool, limit: int, as_json: bool) -> int:
    """Show what waits for your word; with an ID one question, whole."""
    if ident:
        return _one(obj, ident, as_json)
    state = "all" if every else "open"
    data, code = look(
        obj,
        lambda api: api.get("/api/v1/approvals", state=state, limit=limit),
        lambda home: home.approvals(obj.home, state="" if every else state, limit=limit),
    )
    if as_json:
        print_json(data)
        return code
    rows = data["approvals"]
    if not rows:
        click.echo("Nothing was asked yet." if every else "Nothing waits for your word.")
        return code
    head = ("ID", "STATE", "ASKED", "JOB", "WHAT", "WHY")
    click.echo(table(head, [_row(row) for row in rows]))
    if not every:
        click.echo("Whole: stead approvals ID. Answer: stead approve ID, or stead deny ID.")
    return code


def _one(obj: Cli, ident: str, as_json: bool) -> int:
    row, code = look(
        obj,
        lambda api: api.get(f"/api/v1/approvals/{quote(ident)}"),
        lambda home: home.approval(obj.home, ident),
    )
    if as_json:
        print_json(row)
    else:
        click.echo("\n".join(words(row)))
    return code


def words(row: dict[str, Any]) -> Iterator[str]:
    """A question, line by line."""
    name = short(row["id"])
    yield style(f"{name}: {_state(row)}", bold=True)
    yield from (f"  {line}" for line in harmless(str(row["preview"])).splitlines())
    if row["kind"] == "call":
        yield harmless(f"  in full:    {row['tool']} {row['args']}")
        yield harmless(f"  why:        {row['why']}")
    if row["foreign"]:
        yield "  careful:    it had read text that others wrote, which may be what wanted this"
    yield f"  asked:      {when(row['asked_at'])}, step {row['seq']} of job {short(row['job_id'])}"
    if row["state"] != "open":
        return
    yield f"  until:      {when(row['expires_at'])}, then it goes on without"
    if row["kind"] == "question":
        yield f"  stead answer {name} {'|'.join(row['offers']) or 'TEXT'}"
        return
    yield f"  stead approve {name}           only this time"
    if "job" in row["offers"]:
        yield f"  stead approve {name} job       and the like for the rest of this job"
    if "always" in row["offers"]:
        yield f"  stead approve {name} always    for ever: {row['always']}"
    yield f"  stead deny {name} --why TEXT   no"


@click.command()
@click.argument("ident", metavar="ID")
@click.argument("how", type=click.Choice(["once", "job", "always"]), default="once")
@click.option("--wait", is_flag=True, help="Follow the job to its end, and print its answer.")
@json_option
@click.pass_obj
def approve(obj: Cli, ident: str, how: str, wait: bool, as_json: bool) -> int:
    """Allow what the agent asks for: once (the default), for its job, or always.

    ID is that of the question or of its job, or a piece of it.
    """
    return _answer(obj, ident, {"answer": how}, wait, as_json)


@click.command()
@click.argument("ident", metavar="ID")
@click.option("--why", default="", help="Told to the agent.")
@click.option("--wait", is_flag=True, help="Follow the job to its end, and print its answer.")
@json_option
@click.pass_obj
def deny(obj: Cli, ident: str, why: str, wait: bool, as_json: bool) -> int:
    """Forbid what the agent asks for; its job goes on without."""
    return _answer(obj, ident, {"answer": "no", "text": why}, wait, as_json)


@click.command()
@click.argument("ident", metavar="ID")
@click.argument("text", nargs=-1, required=True)
@click.option("--wait", is_flag=True, help="Follow the job to its end, and print its answer.")
@json_option
@click.pass_obj
def answer(obj: Cli, ident: str, text: tuple[str, ...], wait: bool, as_json: bool) -> int:
    """Answer a question that the agent asks you in the midst of a job."""
    return _answer(obj, ident, {"answer": "answer", "text": " ".join(text)}, wait, as_json)


def _answer(obj: Cli, ident: str, body: dict[str, str], wait: bool, as_json: bool) -> int:
    api = obj.api()
    done = api.post(f"/api/v1/approvals/{quote(ident)}/answer", body)
    row = done["approval"]
    if as_json and not wait:
        print_json(done)
        return 0
    if not as_json:
        click.echo(f"{short(row['id'])}: {_state(row)}; its job goes on.")
    if not wait:
        return 0
    heard = follow(api, row["job_id"])
    end = show.quiet(heard) if as_json else show.live(heard)
    if as_json:
        print_json({**done, "state": end.state, "text": end.text, "error": end.error})
        return 0 if end.state == "done" else FAILED
    return 0 if show.verdict(end) else FAILED


def _state(row: dict[str, Any]) -> str:
    state = str(row["state"])
    if state == "open":
        return "waits for your word"
    if state == "expired":
        return "not answered in time"
    if state == "void":
        return "void, as its job ended or asks something else"
    said = f"yes, {row['word']}"
    if row["word"] == "answer":
        said = f"“{one_line(str(row['said']), 60)}”"
    elif row["word"] == "no":
        said = "no" + (f" ({one_line(str(row['said']), 60)})" if row["said"] else "")
    return f"{row['answered_by']} said {said} at {when(row['answered_at'])}"


def _row(row: dict[str, Any]) -> list[str]:
    return [
        short(str(row["id"])), str(row["word"] or row["state"]), when(row["asked_at"]),
        short(str(row["job_id"])), one_line(str(row["preview"]), 60), one_line(str(row["why"]), 60),
    ]  # fmt: skip
