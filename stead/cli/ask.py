"""`stead ask`: one question, one answer."""

from __future__ import annotations

import contextlib
import os
import select
import stat
import sys
from pathlib import Path

import click

from stead.cli import show
from stead.cli.api import Api
from stead.cli.attach import check, upload
from stead.cli.common import (
    FAILED,
    INTERRUPTED,
    Cli,
    aside,
    for_eyes,
    json_option,
    on_terminal,
    print_json,
    sound,
)
from stead.cli.follow import End, Sent, follow, send
from stead.core.errors import SteadError

_SLOW_S = 1.0

off_option = click.option(
    "--off-the-record", is_flag=True, help="Nothing of it stays but what it cost."
)


@click.command()
@click.argument("words", nargs=-1)
@click.option(
    "--stream/--no-stream",
    default=True,
    help="Print the answer as it comes (the default), or whole at its end.",
)
@click.option("--session", default="", help="The conversation (default: main).")
@click.option("--light", "mark", flag_value="light", help="Answer in the gateway.")
@click.option("--heavy", "mark", flag_value="heavy", help="Send it to a node.")
@click.option("--needs", metavar="LABEL", multiple=True, help="Only a node with this label.")
@click.option("--prefer", metavar="NODE", multiple=True, help="This node, while it is there.")
@click.option("--avoid", metavar="NODE", multiple=True, help="Never this node.")
@click.option(
    "--attach",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Hand in a file with it (a picture, a PDF, ...); may be given again.",
)
@off_option
@json_option
@click.pass_obj
def ask(
    obj: Cli,
    words: tuple[str, ...],
    stream: bool,
    session: str,
    mark: str | None,
    needs: tuple[str, ...],
    prefer: tuple[str, ...],
    avoid: tuple[str, ...],
    attach: tuple[Path, ...],
    off_the_record: bool,
    as_json: bool,
) -> int:
    """Ask something and print the answer.

    What is piped in is added below WORDS; `-` or no words at all reads only the pipe.
    Exit code 1: the job ended without an answer.
    """
    check(attach)
    text = question(sound(" ".join(words)), alone=bool(attach))
    api = obj.api()
    files = [str(upload(api, path)["id"]) for path in attach]
    nodes = {"needs": needs, "prefer": prefer, "avoid": avoid}
    sent = send(
        api, text, session=sound(session), mark=mark or "", channel="cli", nodes=nodes,
        off_the_record=off_the_record, files=files,
    )  # fmt: skip
    try:
        return _answer(api, sent, stream=stream, as_json=as_json)
    finally:
        if off_the_record:
            leave(api, sent.session)


def _answer(api: Api, sent: Sent, *, stream: bool, as_json: bool) -> int:
    """Print the answer as it comes, or whole."""
    streaming = stream and not as_json
    try:
        heard = follow(api, sent.job_id)
        end = show.live(heard) if streaming else show.quiet(heard)
    except KeyboardInterrupt:
        cancel(api, sent.job_id)
        return INTERRUPTED
    if as_json:
        print_json(_as_data(sent, end))
        return 0 if end.state == "done" else FAILED
    if not streaming and end.text:
        click.echo(for_eyes(end.text, sys.stdout))
    answered = show.verdict(end)
    aside(end.footer())
    return 0 if answered else FAILED


def leave(api: Api, session: str) -> None:
    """A conversation off the record is over: its words go. Never fails; who is not heard now is
    taken to have left after a while."""
    with contextlib.suppress(SteadError):
        api.post("/api/v1/off-the-record/end", {"session": session})


def question(words: str, *, alone: bool = False) -> str:
    """The text to send, from the words given and what is piped in. ``alone``: it may be empty,
    where a file says it all."""
    piped = ""
    if words == "-" or (not words and not alone) or _has_pipe():
        if not words and not alone and on_terminal(sys.stdin):
            raise click.UsageError('Nothing to ask. Say: stead ask "..."')
        _say_if_slow(bool(words))
        piped = sys.stdin.buffer.read().decode("utf-8", "replace").strip("\n")
    parts = [part for part in ("" if words == "-" else words, piped) if part.strip()]
    if not parts and not alone:
        raise click.UsageError("Nothing to ask: the text is empty.")
    return "\n\n".join(parts)


def cancel(api: Api, job_id: str) -> None:
    """Ask the gateway to stop a job; say so, and never fail."""
    click.echo(err=True)
    try:
        api.post(f"/api/v1/jobs/{job_id}/cancel")
    except SteadError as error:
        click.echo(f"The job could not be cancelled: {error.message}", err=True)
    else:
        aside("cancelled")


def _say_if_slow(words: bool) -> None:
    """A pipe that somebody left open would hold us up for ever; say what is waited for."""
    with contextlib.suppress(OSError, ValueError):
        if words and not select.select([sys.stdin], [], [], _SLOW_S)[0]:
            click.echo("(waiting for the end of the pipe on stdin; </dev/null if none)", err=True)


def _has_pipe() -> bool:
    """Whether stdin is a pipe or a file that somebody meant for us (not a terminal, not
    /dev/null, not the closed stdin of a service)."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError, AttributeError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def _as_data(sent: Sent, end: End) -> dict[str, object]:
    return {
        "state": end.state,
        "text": end.text,
        "error": end.error or None,
        "waiting_for": end.waiting_for or None,
        "message_id": sent.message_id,
        "job_id": sent.job_id,
        "route": sent.route,
        "waited_ms": end.waited_ms,
        "worked_ms": end.worked_ms,
        "usage": end.usage,
    }
