"""`stead chat`: a conversation in the terminal, the same one as everywhere else."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import Any

import click

from stead.cli import show
from stead.cli.api import Api
from stead.cli.ask import cancel, leave, off_option
from stead.cli.common import AWAY, Cli, aside, dim, for_eyes, on_terminal, sound, style
from stead.cli.follow import follow, send
from stead.core.errors import GatewayAway, SteadError
from stead.core.ids import uuid7

_HELP = """\
/new       begin a new conversation
/light     answer the next messages in the gateway (again: let the router decide)
/heavy     send the next messages to a node (again: let the router decide)
/cancel    stop the job asked last, if it still runs
/help      this list
/quit      leave (as does Ctrl-D)
Ctrl-C while an answer comes stops that job."""


@click.command()
@click.option("--session", default="main", show_default=True, help="The conversation.")
@off_option
@click.pass_obj
def chat(obj: Cli, session: str, off_the_record: bool) -> int:
    """Talk with the agent in the terminal. /help lists what else can be said."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  late: editing and history at the prompt, where there is one

    if isinstance(sys.stdin, io.TextIOWrapper):  # bytes that are no UTF-8 must not end the talk
        sys.stdin.reconfigure(errors="surrogateescape")
    talk = Talk(obj.api(), sound(session), off=off_the_record)
    talk.catch_up(first=True)
    click.echo(dim("/help lists what else can be said; Ctrl-D leaves."))
    if off_the_record:
        click.echo(dim("Off the record: when you leave, nothing stays but what it cost."))
    try:
        return _until_left(talk)
    finally:
        talk.leave()


def _until_left(talk: Talk) -> int:
    while True:
        try:
            line = sound(input("> " if on_terminal(sys.stdin) else "")).strip()
        except EOFError:
            return 0
        except KeyboardInterrupt:
            click.echo()
            continue
        if line == "/quit":
            return 0
        try:
            talk.turn(line)
        except GatewayAway as error:
            click.echo(style(error.message, fg="red"), err=True)
            if not on_terminal(sys.stdin):
                return AWAY
        except SteadError as error:
            click.echo(style(error.message, fg="red"), err=True)


class Talk:
    """One conversation: what was shown of it, and how the next message goes out."""

    def __init__(self, api: Api, session: str, *, off: bool = False) -> None:
        self._api = api
        self._session = session
        self._off = off
        self._begun = not off
        """One off the record gets its name with its first message."""
        self._mark = ""
        self._seen = -1
        self._own: set[str] = set()
        self._last_job = ""

    def turn(self, line: str) -> None:
        """One line of the owner: a command, a message, or nothing (shows what came)."""
        if not line:
            self.catch_up()
        elif line.startswith("/"):
            self._command(line)
        else:
            self._say(line)

    def leave(self) -> None:
        """The owner goes; what was off the record is forgotten."""
        if self._off and self._begun:
            leave(self._api, self._session)

    def catch_up(self, first: bool = False) -> None:
        """Show what was said in the conversation since we looked last."""
        if not self._begun:
            return
        for message in self._new(limit=6 if first else 200):
            if message.get("job_id") not in self._own:
                click.echo(_line(message))

    def _new(self, limit: int) -> list[dict[str, Any]]:
        found = self._api.get(
            "/api/v1/messages", session=self._session, after=self._seen, limit=limit, read=1
        )["messages"]
        for message in found:
            self._seen = max(self._seen, int(message["seq"]))
        return list(found)

    def _say(self, text: str) -> None:
        self.catch_up()
        sent = send(
            self._api, text, session=self._session if self._begun else "", mark=self._mark,
            channel="cli", off_the_record=self._off,
        )  # fmt: skip
        self._session, self._begun = sent.session or self._session, True
        self._own.add(sent.job_id)
        self._last_job = sent.job_id
        try:
            end = show.live(follow(self._api, sent.job_id))
        except KeyboardInterrupt:
            cancel(self._api, sent.job_id)
            return
        show.verdict(end)
        aside(end.footer())

    def _command(self, line: str) -> None:
        word = line.split()[0]
        if word == "/new" and self._off:
            self.leave()
            self._seen, self._last_job, self._begun = -1, "", False
            click.echo(dim("A new conversation, off the record too."))
        elif word == "/new":
            self._session, self._seen, self._last_job = f"chat-{uuid7()[-12:]}", -1, ""
            click.echo(dim(f"A new conversation: {self._session}"))
        elif word in ("/light", "/heavy"):
            mark = word[1:]
            self._mark = "" if self._mark == mark else mark
            where = {"light": "answered in the gateway", "heavy": "sent to a node"}
            click.echo(dim(f"From now on {where.get(self._mark, 'the router decides')}."))
        elif word == "/cancel":
            if self._last_job:
                cancel(self._api, self._last_job)
            else:
                click.echo(dim("Nothing was asked yet."))
        else:
            if word != "/help":
                click.echo(f"There is no {word}.")
            click.echo(_HELP)


def _line(message: dict[str, Any]) -> str:
    role, text = str(message.get("role")), for_eyes(str(message.get("text")), sys.stdout)
    if role == "owner":
        return dim(f"> {text}")
    return style(f"[{text}]", fg="yellow") if role == "notice" else text
