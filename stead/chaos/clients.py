"""Those who send messages as channels and programs do, and write down what they were told.

A message counts as accepted when the API has said so: with 202, or with the head
of an answer. Until then it is said again, as any channel would, under the same
name; some are said twice on purpose.
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from stead.chaos.door import AWAY, Door, events
from stead.chaos.talk import CHAT, FOLLOW, PLAIN, PUSHED, STREAM, Said

_PAUSE_S = 0.1
_LEAVE_S = 15.0
_AHEAD = 3
"""Messages that one conversation may have open at a time."""
_FINAL = ("done", "dead", "cancelled")
_LEFT = ("left", "ambiguous", "failed")


@dataclass(slots=True)
class Noted:
    """What is known from the outside of one message. Times: ``time.monotonic()``."""

    said: Said
    accepted_at: float = 0.0
    jobs: set[str] = field(default_factory=set)
    """The jobs it was said to have become: one, if all is well."""
    answered_at: float = 0.0
    state: str = ""
    answers: list[str] = field(default_factory=list)
    """Every text that was given as its answer, on any way."""
    broken_streams: int = 0
    refused: str = ""
    """What was answered to it, where that can never go well."""


class Book:
    """What all clients have noted, and how fast they may go on."""

    def __init__(self) -> None:
        self.noted: dict[str, Noted] = {}
        self.answer_times: list[float] = []
        self.accepted = 0
        self.answered = 0
        self.last_change = time.monotonic()
        self._change = threading.Condition()
        self._allowed = 0
        self.stopped = False

    def allow(self, upto: int) -> None:
        """Let messages be sent until so many are accepted (the plan must keep up)."""
        with self._change:
            if upto > self._allowed:
                self._allowed = upto
                self._change.notify_all()

    def wait_for_leave(self, number: int) -> bool:
        """Wait until message ``number`` may be sent; False when all is to end."""
        with self._change:
            self._change.wait_for(lambda: self.stopped or number <= self._allowed)
            return not self.stopped

    def stop(self) -> None:
        with self._change:
            self.stopped = True
            self._change.notify_all()

    def open(self, said: Said) -> Noted:
        with self._change:
            return self.noted.setdefault(said.tag, Noted(said))

    def accept(self, noted: Noted, job_id: str) -> None:
        with self._change:
            noted.jobs.add(job_id)
            if not noted.accepted_at:
                noted.accepted_at = time.monotonic()
                self.accepted += 1
                self.last_change = noted.accepted_at

    def answer(self, noted: Noted, state: str, text: str) -> None:
        with self._change:
            noted.state = state
            if state == "done":
                noted.answers.append(text)
            if not noted.answered_at:
                noted.answered_at = time.monotonic()
                self.answered += 1
                self.answer_times.append(noted.answered_at)
                self.last_change = noted.answered_at


class Clients:
    """Many conversations at once, each in a thread of its own turn."""

    def __init__(self, door: Door, sessions: list[list[Said]], at_once: int) -> None:
        self.book = Book()
        self._door = door
        self._sessions: queue.SimpleQueue[list[Said]] = queue.SimpleQueue()
        for session in sessions:
            self._sessions.put(session)
        self._started = 0
        self._count = threading.Lock()
        self._threads = [
            threading.Thread(target=self._work, name=f"client {n}", daemon=True)
            for n in range(min(at_once, len(sessions)))
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def busy(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """Let everyone leave, answered or not."""
        self.book.stop()
        until = time.monotonic() + _LEAVE_S
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        while not self.book.stopped:
            try:
                session = self._sessions.get_nowait()
            except queue.Empty:
                return
            _Conversation(self._door, self.book, self._next).hold(session)

    def _next(self) -> int:
        with self._count:
            self._started += 1
            return self._started


class _Conversation:
    """One session's messages, in order."""

    def __init__(self, door: Door, book: Book, turn: Callable[[], int]) -> None:
        self._door = door
        self._book = book
        self._turn = turn

    def hold(self, talk: list[Said]) -> None:
        waiting: list[Noted] = []
        for said in talk:
            if not self._book.wait_for_leave(self._turn()):
                return
            noted = self._book.open(said)
            if said.way in (CHAT, STREAM):
                self._until(partial(self._chat, noted))
                continue
            self._until(partial(self._post, noted))
            if said.twice:
                self._until(partial(self._post, noted))
            waiting.append(noted)
            if said.way == FOLLOW or len(waiting) >= _AHEAD:
                self._wait(waiting.pop(0))
        for noted in waiting:
            self._wait(noted)

    def _until(self, works: Callable[[], bool]) -> None:
        """Try until it works; a gateway that is away, or stumbles, is tried again."""
        while not self._book.stopped:
            with contextlib.suppress(*AWAY):
                if works():
                    return
            time.sleep(_PAUSE_S)

    # --- saying ------------------------------------------------------------------------

    def _post(self, noted: Noted) -> bool:
        said = noted.said
        body = {
            "text": said.text, "session": said.session, "mark": said.mark, "lane": said.lane,
            "external_id": said.external_id, "channel": said.channel,
        }  # fmt: skip
        status, answer = self._door.call("POST", "/api/v1/messages", body)
        if status == 202:
            self._book.accept(noted, answer["job_id"])
            return True
        return self._given_up(noted, status, answer)

    def _given_up(self, noted: Noted, status: int, answer: Any) -> bool:
        """Whether this answer is for good: then it is noted, and is a fault of stead."""
        if status >= 500 or status == 429:
            return False
        noted.refused = f"{status} {answer}"
        return True

    def _chat(self, noted: Noted) -> bool:
        """As an OpenAI client says it; the answer comes on the same connection."""
        said = noted.said
        body = {
            "model": "stead", "stream": said.way == STREAM,
            "messages": [{"role": "user", "content": said.text}],
            "metadata": {"session": said.session, "mark": said.mark},
        }  # fmt: skip
        headers = {"Idempotency-Key": said.tag}
        with self._door.open(
            "POST", "/v1/chat/completions", body, headers=headers, timeout=30.0
        ) as answer:
            if answer.status != 200:
                raw = answer.read()
                told = json.loads(raw)
                if told.get("error", {}).get("code", "").startswith("job_"):
                    self._book.answer(noted, "dead", str(told))
                    return True
                return self._given_up(noted, answer.status, told)
            if said.way == CHAT:
                whole = json.loads(answer.read())
                self._book.accept(noted, whole["stead"]["job_id"])
                self._book.answer(noted, "done", whole["choices"][0]["message"]["content"])
                return True
            return self._read_stream(noted, answer)

    def _read_stream(self, noted: Noted, answer: Any) -> bool:
        text, ended = "", False
        for _, _, data in events(answer):
            if data == "[DONE]":
                ended = True
                break
            chunk = json.loads(data)
            if "error" in chunk:
                code = str(chunk["error"].get("code") or "")
                if code.startswith("job_"):
                    self._book.answer(noted, "dead", chunk["error"]["message"])
                    return True
                break
            self._book.accept(noted, str(chunk["id"]).removeprefix("chatcmpl-"))
            for choice in chunk["choices"]:
                text += choice["delta"].get("content") or ""
        if not ended:
            noted.broken_streams += 1
            return False
        # What was streamed before an attempt was lost cannot be taken back; the answer itself
        # follows behind words that say so.
        begins_again = "\n\n[starting again: "
        if begins_again in text and text.endswith(noted.said.expected):
            text = noted.said.expected
        self._book.answer(noted, "done", text)
        return True

    # --- waiting -----------------------------------------------------------------------

    def _arrived(self, noted: Noted) -> bool:
        """Whether the reply was pushed, or its doubtful delivery was left at that."""
        if noted.answered_at:
            return True
        time.sleep(0.5)
        if noted.answered_at or noted.said.channel != PLAIN:
            return bool(noted.answered_at)
        status, story = self._door.call("GET", f"/api/v1/why/{sorted(noted.jobs)[0]}")
        if status == 200 and any(one["state"] in _LEFT for one in story["delivery"]):
            self._book.answer(noted, "left", "")
            return True
        return False

    def _wait(self, noted: Noted) -> None:
        """Follow a job to its end, however often the connection breaks."""
        if noted.refused or not noted.jobs:
            return
        if noted.said.channel in PUSHED:
            self._until(partial(self._arrived, noted))
            return
        job_id = sorted(noted.jobs)[0]
        seen: dict[str, str] = {}
        path = f"/api/v1/jobs/{job_id}/events"

        def follow() -> bool:
            headers = {"Last-Event-ID": seen["id"]} if "id" in seen else {}
            with self._door.open("GET", path, headers=headers, timeout=30.0) as answer:
                if answer.status != 200:
                    return False
                for name, ident, data in events(answer):
                    if ident:
                        seen["id"] = ident
                    if name == "end":
                        end = json.loads(data)
                        if end["state"] not in _FINAL:
                            time.sleep(0.4)  # it waits for the owner
                            return False
                        self._book.answer(noted, end["state"], end["text"])
                        return True
            return False

        self._until(follow)
