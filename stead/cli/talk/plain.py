"""A talk line by line: in a pipe, on a terminal that can do no more, for a screen reader."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any

import click

from stead.cli import show
from stead.cli.common import AWAY, aside, dim, for_eyes, on_terminal, one_line, sound, style
from stead.cli.follow import End, follow
from stead.cli.talk import commands
from stead.cli.talk.questions import Question
from stead.cli.talk.talk import CHANNEL, Talk, with_files
from stead.core.errors import GatewayAway, SteadError


class Plain:
    """The front of a talk (``commands.Front``) that waits for each answer before the next line."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self._typed = on_terminal(sys.stdin)
        self._left = False
        self._question: Question | None = None
        self._filled = ""

    def run(self) -> int:
        """Talk until the end of the input; the exit code."""
        if isinstance(sys.stdin, io.TextIOWrapper):  # bytes that are no UTF-8 must not end the talk
            sys.stdin.reconfigure(errors="surrogateescape")
        self.arrive()
        aside("/help lists what else can be said; Ctrl-D leaves.")
        if self.talk.off:
            aside("Off the record: when you leave, nothing stays but what it cost.")
        while not self._left:
            try:
                line = self._read()
            except EOFError:
                return 0
            except KeyboardInterrupt:
                click.echo(err=True)
                continue
            try:
                self._line(line)
            except GatewayAway as error:
                click.echo(style(error.message, fg="red"), err=True)
                if not self._typed:
                    return AWAY
            except SteadError as error:
                click.echo(style(error.message, fg="red"), err=True)
        return 0

    def _read(self) -> str:
        """A line, with those that go on with it."""
        lines = [self._input(self._prompt())]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1][:-1]
            try:
                lines.append(self._input("  "))
            except EOFError:
                break
        return "\n".join(lines).strip()

    def _prompt(self) -> str:
        return "allow? " if self._question and self._question.row else "> "

    def _input(self, prompt: str) -> str:
        if self._typed:  # on stderr: what is written to a file or a pipe is the talk alone
            click.echo(prompt, nl=False, err=True)
        line = sys.stdin.readline()
        if not line:
            if self._typed:
                click.echo(err=True)
            raise EOFError
        return sound(line.rstrip("\n"))

    def _line(self, line: str) -> None:
        asked = self._question
        if not line and not self.talk.files:
            self.look()
        elif commands.is_command(line):
            if line.split()[0] == "/later":
                self._question = None
            else:
                commands.obey(self, line)
        elif asked is not None:
            meant = asked.meant(line)
            if meant is None:
                self.tell(f"That is no answer. Say: {asked.choices()}")
            else:
                self.answer(*meant)
        else:
            self.look()
            self.send(commands.meant(line))

    # --- what commands do (commands.Front) ---

    def tell(self, text: str) -> None:
        click.echo(text)

    def send(self, text: str) -> None:
        self.follow(self.talk.say(text).job_id)

    def again(self, job_id: str) -> None:
        self.follow(job_id)

    def arrive(self, go: Callable[[], object] = lambda: None) -> None:
        go()
        self._question = None
        self.look()

    def stop(self, every: bool) -> bool:
        jobs = self.talk.under_way() if every else [self.talk.last] if self.talk.last else []
        for job_id in jobs:
            self.talk.cancel(job_id)
            aside("stopped")
        return bool(jobs)

    def fill(self, text: str) -> None:
        self.tell(text)
        self.tell(dim("It cannot be changed here; say it anew."))

    def answer(self, word: str, text: str) -> None:
        asked = self._question
        if asked is None:
            self.tell("Nothing waits for your word here.")
            return
        self._question = None
        if asked.row is None:
            self.talk.resume(asked.job_id, word)
        else:
            self.talk.decide(asked.id, word, text)
        self.follow(asked.job_id)

    def leave(self) -> None:
        self._left = True

    # --- what comes ---

    def look(self) -> None:
        """Show what was said since the last look, and what becomes of what was asked elsewhere."""
        news = self.talk.news()
        for message in news.messages:
            click.echo(_shown(message))
        for job_id in news.followed:
            self.follow(job_id)

    def follow(self, job_id: str) -> None:
        """Show an answer as it comes, to its end. Ctrl-C stops it."""
        try:
            end = show.live(follow(self.talk.api, job_id))
        except KeyboardInterrupt:
            self._cancel(job_id)
            return
        if end.state == "waiting" and self._asked(job_id, end):
            return
        show.verdict(end)
        aside(end.footer())

    def _asked(self, job_id: str, end: End) -> bool:
        """Show what is asked; whether it can be answered here."""
        try:
            row = self.talk.question(end.approval) if end.approval else None
        except SteadError:
            return False
        self._question = Question(job_id, row, end.waiting_for)
        for line in self._question.shown():
            self.tell(line)
        return True

    def _cancel(self, job_id: str) -> None:
        click.echo(err=True)
        try:
            self.talk.cancel(job_id)
        except SteadError as error:
            click.echo(f"It could not be stopped: {error.message}", err=True)
        else:
            aside("stopped")


def _shown(message: dict[str, Any]) -> str:
    role, text = str(message["role"]), for_eyes(with_files(message), sys.stdout)
    if role == "owner":
        channel = str(message.get("channel") or CHANNEL)
        by = "" if channel == CHANNEL else f"{one_line(channel, 20)} "
        return dim(f"{by}> {text}")
    return style(f"[{text}]", fg="yellow") if role == "notice" else text
