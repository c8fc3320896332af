"""Showing an answer while it comes."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable

import click

from stead.cli.common import aside, for_eyes, harmless, on_terminal, short, style
from stead.cli.follow import End, Heard

_EVERY_S = 5.0


def live(heard: Iterable[Heard | End]) -> End:
    """Print tokens as they come; return the end, its text printed whole."""
    shown = ""
    notes = Notes()
    for event in heard:
        if isinstance(event, End):
            notes.over()
            _finish(shown, event.text)
            return event
        if event.type == "token":
            notes.over()
            shown += event.text
            click.echo(for_eyes(event.text, sys.stdout), nl=False)
            sys.stdout.flush()
        elif event.type == "reset":
            notes.over()
            if shown:
                click.echo()
            shown = ""
            aside(f"({event.text or 'the worker was lost; the answer starts again'})")
        else:
            notes.show(event, shown)
    return End(state="")


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
        click.echo(f"Answer with: stead jobs answer {job} repeat|done|fail", err=True)
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


def _finish(shown: str, text: str) -> None:
    """Complete what was streamed to what the answer really is."""
    if text.startswith(shown):
        click.echo(for_eyes(text[len(shown) :], sys.stdout), nl=False)
    elif text.strip() != shown.strip():
        click.echo(for_eyes(f"\n{text}", sys.stdout), nl=False)
    if (text or shown) and not (text or shown).endswith("\n"):
        click.echo()
    sys.stdout.flush()
