"""Listening to one job until it is over, in a thread of its own."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Protocol

from stead.cli.api import Api
from stead.cli.follow import End, Heard, follow
from stead.core.errors import SteadError
from stead.core.place import Retold


class Listener(Protocol):
    """Whom is told what is heard. ``visit`` is the visit of a conversation it belongs to."""

    def heard(self, job: Job, event: Heard) -> None:
        """A remark or the beginning of an answer anew."""

    def text(self, job: Job, text: str, other: bool) -> None:
        """More of an answer; ``other``: it is another text than the one so far."""

    def ended(self, job: Job, end: End) -> None:
        """It is over, or waits."""

    def failed(self, job: Job, error: SteadError) -> None:
        """It cannot be followed."""

    def lost(self, why: str) -> None:
        """The gateway has gone; empty: it is back."""


class Floor:
    """Who speaks. An answer is shown to its end before the next one begins."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._holder = ""

    def take(self, job_id: str, void: Callable[[], bool]) -> None:
        """Wait for one's turn, unless that is ``void`` meanwhile."""
        with self._free:
            while self._holder not in ("", job_id) and not void():
                self._free.wait(0.5)
            self._holder = self._holder or job_id

    def leave(self, job_id: str) -> None:
        with self._free:
            if self._holder == job_id:
                self._holder = ""
                self._free.notify_all()


class Job:
    """A job that is followed, and how far it was."""

    def __init__(self, ident: str, visit: int) -> None:
        self.id = ident
        self.visit = visit
        self.told = Retold()
        self.why = ""
        """Why its answer began anew."""
        self._last = ""

    def listen(self, api: Api, floor: Floor, listener: Listener, void: Callable[[], bool]) -> None:
        """Follow it, in a thread that ends with the program."""
        work = threading.Thread(
            target=self._listen, args=(api, floor, listener, void), daemon=True, name=self.id[-8:]
        )
        work.start()

    def _listen(self, api: Api, floor: Floor, listener: Listener, void: Callable[[], bool]) -> None:
        try:
            heard = follow(api, self.id, last=self._last, patience_s=math.inf, lost=listener.lost)
            for event in heard:
                if void():
                    return
                if isinstance(event, End):
                    text, other = (
                        self.told.end(event.text) if event.state == "done" else ("", False)
                    )
                    if text:
                        floor.take(self.id, void)
                        listener.text(self, text, other)
                    listener.ended(self, event)
                    return
                self._last = event.id or self._last
                if event.type == "token":
                    floor.take(self.id, void)
                    text, other = self.told.more(event.text)
                    if text:
                        listener.text(self, text, other)
                elif event.type == "reset":
                    self.told.anew()
                    self.why = event.text
                else:
                    listener.heard(self, event)
        except SteadError as error:
            if not void():
                listener.failed(self, error)
        finally:
            floor.leave(self.id)
