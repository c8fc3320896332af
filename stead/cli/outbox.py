"""`stead outbox`: replies on their way, those in doubt, and the channels they go by."""

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

STATES = {
    "pending": "still to be delivered",
    "sending": "being sent",
    "ambiguous": "may or may not have arrived",
    "failed": "could not be delivered",
    "left": "may not have arrived; left at that by rule",
    "dropped": "given up by you",
    "sent": "delivered",
}
_COLOURS = {"ambiguous": "yellow", "failed": "red", "sent": "green"}


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def outbox(ctx: click.Context, /, as_json: bool) -> int:
    """List replies that are not delivered yet; settle one; pause or resume a channel."""
    if ctx.invoked_subcommand is None:
        return _list(ctx.obj, {}, as_json)
    return 0


@outbox.command("list")
@click.option("--state", type=click.Choice(list(STATES)), help="Only in this state.")
@click.option("--channel", help="Only of this channel.")
@click.option("-n", "--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@click.option("--before", type=int, metavar="NUMBER", help="Older than this one.")
@json_option
@click.pass_obj
def list_(obj: Cli, /, as_json: bool, **filters: Any) -> int:
    """List replies, the newest first; without --state those that are not settled."""
    return _list(obj, {key: value for key, value in filters.items() if value}, as_json)


def _list(obj: Cli, filters: dict[str, Any], as_json: bool) -> int:
    data, code = look(
        obj,
        lambda api: api.get("/api/v1/outbox", **filters),
        lambda home: home.outbox(obj.home, **filters),
    )
    if as_json:
        print_json(data)
        return code
    rows = data["deliveries"]
    if not rows:
        click.echo("No such replies." if filters else "Everything is delivered.")
        return code
    head = ("NUMBER", "STATE", "CHANNEL", "CONVERSATION", "TRIES", "JOB", "TEXT", "NOTE")
    click.echo(table(head, [_row(row) for row in rows]))
    if data.get("more"):
        click.echo(f"More: stead outbox list --before {rows[-1]['id']}")
    return code


@outbox.command()
@click.argument("ident", metavar="ID")
@json_option
@click.pass_obj
def show(obj: Cli, ident: str, as_json: bool) -> int:
    """Show one reply. ID is its number, or the end of the id of its message or job."""
    row, code = look(
        obj,
        lambda api: api.get(f"/api/v1/outbox/{quote(ident)}"),
        lambda home: home.delivery(obj.home, ident),
    )
    if as_json:
        print_json(row)
        return code
    state = str(row["state"])
    click.echo(f"{row['id']}: {style(state, fg=_COLOURS.get(state))} ({STATES.get(state, '')})")
    for label, text in (
        ("channel", row["channel"]),
        ("conversation", row["session"]),
        ("recorded", when(row["at"])),
        ("delivered", when(row["delivered_at"])),
        ("tries", f"{row['tries']}, of which in doubt: {row['doubts']}"),
        ("next try", when(row["next_at"]) if state == "pending" else ""),
        ("waits", "for an earlier reply of its conversation" if row["blocked"] else ""),
        ("note", row["note"]),
        ("id", row["message_id"]),
        ("job", row["job_id"] or ""),
    ):
        if text:
            click.echo(f"  {label:<13}{text}")
    click.echo(f"\n{row['text']}")
    if state in ("ambiguous", "failed", "left"):
        click.echo(f"\nSettle it: stead outbox settle {row['id']} --sent|--again|--drop")
    return code


@outbox.command()
@click.argument("idents", metavar="ID...", nargs=-1, required=True)
@click.option("--sent", "how", flag_value="sent", help="It arrived, as you know.")
@click.option("--again", "how", flag_value="again", help="Send it again.")
@click.option("--drop", "how", flag_value="drop", help="Do not send it.")
@json_option
@click.pass_obj
def settle(obj: Cli, idents: tuple[str, ...], how: str | None, as_json: bool) -> None:
    """Say what became, or is to become, of replies."""
    if how is None:
        raise click.UsageError("Say what is to be done: --sent, --again or --drop.")
    api = obj.api()
    rows = []
    for ident in idents:
        rows.append(api.post(f"/api/v1/outbox/{quote(ident)}/settle", {"how": how}))
        if not as_json:
            click.echo(f"{rows[-1]['id']} is {rows[-1]['state']} now.")
    if as_json:
        print_json({"deliveries": rows})


@outbox.command()
@json_option
@click.pass_obj
def channels(obj: Cli, as_json: bool) -> None:
    """List the channels that replies are pushed to, and how things stand with them."""
    data = obj.api().get("/api/v1/outbox/channels")
    if as_json:
        print_json(data)
    elif not data["channels"]:
        click.echo("No channel is set up (docs/channels.md).")
    else:
        head = ("CHANNEL", "KIND", "STATE", "WAIT", "IN DOUBT", "FAILED", "WHY")
        click.echo(table(head, [_channel(channel) for channel in data["channels"]]))


@outbox.command()
@click.argument("name")
@json_option
@click.pass_obj
def pause(obj: Cli, name: str, as_json: bool) -> None:
    """Hold back what goes by a channel, until `resume`; nothing is lost."""
    _switch(obj, name, "pause", "Replies by {} are held back now.", as_json)


@outbox.command()
@click.argument("name")
@json_option
@click.pass_obj
def resume(obj: Cli, name: str, as_json: bool) -> None:
    """Let go what goes by a channel; one that was away is tried at once."""
    _switch(obj, name, "resume", "Replies by {} go out again.", as_json)


def _switch(obj: Cli, name: str, verb: str, said: str, as_json: bool) -> None:
    data = obj.api().post(f"/api/v1/outbox/channels/{quote(name)}/{verb}")
    if as_json:
        print_json(data)
    else:
        click.echo(said.format(name))


def _channel(channel: dict[str, Any]) -> list[str]:
    open_ = channel.get("open") or {}
    state = str(channel["state"])
    if state == "away":
        state += f" since {when(channel['since'])}"
    waiting = int(open_.get("pending", 0)) + int(open_.get("sending", 0))
    return [
        str(channel["name"]), str(channel["kind"]), state, str(waiting),
        str(open_.get("ambiguous", 0)), str(open_.get("failed", 0)), str(channel["why"]),
    ]  # fmt: skip


def _row(row: dict[str, Any]) -> list[str]:
    return [
        str(row["id"]), str(row["state"]), str(row["channel"]), one_line(str(row["session"]), 20),
        str(row["tries"]), short(str(row["job_id"] or "")), one_line(str(row["text"]), 40),
        one_line(str(row["note"]), 80),
    ]  # fmt: skip
