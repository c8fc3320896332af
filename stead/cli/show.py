"""Showing an answer while it comes."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable

import click

from stead.cli.common import aside, for_eyes, harmless, on_terminal, short, style
from stead.cli.follow import End, Heard
from stead.core.place import Retold

_EVERY_S = 5.0


def live(heard: Iterable[Heard | End]) -> End:
    """Print tokens as they come; return the end, its text printed whole.

    An answer that begins anew, because its worker was lost, goes on here where it goes beyond
    what stands on the screen; only if it is another text is it printed from its beginning.
    """
    told, why = Retold(), ""
    notes = Notes()
    for event in heard:
        if isinstance(event, End):
            notes.over()
            _print(*told.end(event.text), why)
            if told.shown and not told.shown.endswith("\n"):
                click.echo()
            sys.stdout.flush()
            return event
        if event.type == "token":
            text, other = told.more(event.text)
            if text:
                notes.over()
                _print(text, other, why)
        elif event.type == "reset":
            told.anew()
            why = event.text or "the worker was lost; the answer starts again"
        else:
            notes.show(event, told.shown)
    return End(state="")


def _print(text: str, other: bool, why: str) -> None:
    if other:
        click.echo()
        if why:
            aside(f"({why})")
    click.echo(for_eyes(text, sys.stdout), nl=False)
    sys.stdout.flush()


def quiet(heard: Iterable[Heard | End]) -> End:
    """Wait for the end; remarks go to stderr."""
    notes = Notes()
    for event in heard:
        if isinstance(event, End):
            notes.over()
            return event
        if event.type != "token":
            notes.show(event, "")
    return End(state="")


def verdict(end: End) -> bool:
    """Say on stderr why there is no answer; True when there is one."""
    if end.state == "done":
        return True
    if end.state == "waiting":
        job = short(end.job_id)
        click.echo(f"The job waits for you: {end.waiting_for}", err=True)
        how = f"stead approvals {short(end.approval)}" if end.approval else ""
        click.echo(f"Answer with: {how or f'stead jobs answer {job} repeat|done|fail'}", err=True)
    elif end.state == "cancelled":
        click.echo("The job was cancelled.", err=True)
    else:
        reason = end.error or "it ended without a reason"
        click.echo(style(f"No answer: {reason}", fg="red"), err=True)
        click.echo(f"The whole story: stead why {short(end.job_id)}", err=True)
    return False


class Notes:
    """What the agent is doing and what it waits for, on stderr.

    On a terminal a note replaces the one before it, so that progress stays one
    line; elsewhere a progress that goes on is told every few seconds.
    """

    def __init__(self) -> None:
        self._terminal = on_terminal(sys.stderr)
        self._open = False
        self._told = 0.0
        self._gist = ""

    def show(self, event: Heard, shown: str) -> None:
        """Tell one event; ``shown`` is what of the answer stands on the screen."""
        if not event.text:
            return
        if not self._terminal:
            now, gist = time.monotonic(), re.sub(r"\d+", "", event.text)
            if event.type != "note" or gist != self._gist or now - self._told >= _EVERY_S:
                self._told, self._gist = now, gist
                click.echo(f"[{event.text}]", err=True)
            return
        if self._open and event.type == "note":
            click.echo("\r\x1b[K", nl=False, err=True)
        else:
            self.over()
            if shown and not shown.endswith("\n"):
                click.echo()
        click.echo(style(f"[{harmless(event.text)}]", dim=True), nl=event.type != "note", err=True)
        self._open = event.type == "note"

    def over(self) -> None:
        """Something else follows: leave the line of the last note."""
        if self._open:
            click.echo(err=True)
            self._open = False
