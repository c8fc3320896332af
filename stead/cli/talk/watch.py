"""Being told what happens in the conversation elsewhere."""

from __future__ import annotations

import threading
import time
from typing import Protocol

from stead.cli.http import Exchange, events
from stead.cli.talk.questions import Question
from stead.cli.talk.talk import Talk
from stead.core.errors import GatewayAway, SteadError

_AGAIN_S = 1.0


class Watcher(Protocol):
    """Who shows what is new."""

    talk: Talk

    @property
    def question(self) -> Question | None: ...

    def look(self) -> None: ...

    def lost(self, why: str) -> None: ...

    def settled(self, asked: Question) -> None: ...


class Watch:
    """Watches one conversation, until it is stopped: whenever something is recorded in it, or the
    state of its jobs changes, the front looks."""

    def __init__(self, front: Watcher) -> None:
        self._front = front
        self._exchange: Exchange | None = None
        self._stopped = False
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        """The conversation is left."""
        self._stopped = True
        if self._exchange is not None:
            self._exchange.close()

    def _run(self) -> None:
        talk = self._front.talk
        while not self._stopped:
            try:
                if talk.begun:
                    self._listen(talk)
            except GatewayAway as error:
                if not self._stopped:
                    self._front.lost(error.message)
            except SteadError:
                pass  # it is there; what it has against us comes up when one says something
            time.sleep(_AGAIN_S)

    def _listen(self, talk: Talk) -> None:
        with talk.happens() as exchange:
            self._exchange = exchange
            self._front.lost("")
            for event in events(iter(exchange)):
                if self._stopped:
                    return
                if event.type in ("message", "state"):
                    self._front.look()
                    self._answered()

    def _answered(self) -> None:
        """Whether somebody has answered the question elsewhere, or it is too late for it."""
        front = self._front
        asked = front.question
        if asked is None or self._stopped:
            return
        if asked.row is not None:
            if front.talk.question(asked.id)["state"] != "open":
                front.settled(asked)
        elif front.talk.state(asked.job_id) != "waiting":
            front.settled(asked)
