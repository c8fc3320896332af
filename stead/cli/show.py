"""Showing an answer while it comes."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import click

from stead.cli.common import aside, on_terminal, short, style
from stead.cli.follow import End, Heard


def live(heard: Iterable[Heard | End]) -> End:
    """Print tokens as they come; return the end, its text printed whole."""
    shown = ""
    for event in heard:
        if isinstance(event, End):
            _finish(shown, event.text)
            return event
        if event.type == "token":
            shown += event.text
            click.echo(event.text, nl=False)
            sys.stdout.flush()
        elif event.type == "reset":
            if shown:
                click.echo()
            shown = ""
            aside(f"({event.text or 'the worker was lost; the answer starts again'})")
        else:
            _note(shown, event)
    return End(state="")


def quiet(heard: Iterable[Heard | End]) -> End:
    """Wait for the end; remarks go to the terminal only."""
    for event in heard:
        if isinstance(event, End):
            return event
        if event.type != "token":
            _note("", event)
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


def _note(shown: str, event: Heard) -> None:
    if not event.text:
        return
    if shown and not shown.endswith("\n") and on_terminal(sys.stderr):
        click.echo()
    aside(f"[{event.text}]")


def _finish(shown: str, text: str) -> None:
    """Complete what was streamed to what the answer really is."""
    if text.startswith(shown):
        click.echo(text[len(shown) :], nl=False)
    elif text.strip() != shown.strip():
        click.echo(f"\n{text}", nl=False)
    if (text or shown) and not (text or shown).endswith("\n"):
        click.echo()
    sys.stdout.flush()
