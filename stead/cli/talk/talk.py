"""A conversation as one who talks in it has it: what was sent, what is new, what is asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stead.cli.api import Api, Refused
from stead.cli.ask import leave
from stead.cli.attach import upload
from stead.cli.common import one_line
from stead.cli.follow import Sent, send
from stead.cli.http import Exchange, query, quote
from stead.core.errors import SteadError
from stead.core.ids import uuid7

CHANNEL = "cli"
_FIRST = 6
_OTHERS = 20
#: Channels on which one types.
_TYPED = (CHANNEL, "page", "web", None)
_PAGE = 200


@dataclass(frozen=True, slots=True)
class News:
    """Messages that are new; ``followed`` are jobs that were asked elsewhere, and go on."""

    messages: list[dict[str, Any]]
    followed: list[str] = field(default_factory=list)


class Talk:
    """One conversation at a time. Its methods wait for the gateway, and may be called by any
    thread. They raise ``SteadError``, of which ``GatewayAway`` is one."""

    def __init__(self, api: Api, session: str, *, off: bool = False) -> None:
        self.api = api
        self.session = session
        self.off = off
        self.mark = ""
        self.files: list[dict[str, Any]] = []
        """What goes with the next message."""
        self.last = ""
        """The job that was asked last."""
        self.said = ""
        """What was said last, and (``message``) its id."""
        self.message = ""
        self.replaces = ""
        """The message whose place the next one takes."""
        self.visit = 0
        """Raised whenever the conversation changes; what belongs to an earlier one is void."""
        self._begun = not off  # one off the record gets its name with its first message
        self._seen = -1
        self._own: set[str] = set()
        self._lock = threading.RLock()

    def say(self, text: str) -> Sent:
        """Send a message, with the files that are to go along."""
        with self._lock:  # so that nobody takes it for one that came from elsewhere
            sent = send(
                self.api, text, session=self.session if self._begun else "", mark=self.mark,
                channel=CHANNEL, off_the_record=self.off, replaces=self.replaces,
                files=[str(one["id"]) for one in self.files],
            )  # fmt: skip
            self.session, self._begun = sent.session or self.session, True
            self.files, self.replaces, self.said = [], "", text
            self.last, self.message = sent.job_id, sent.message_id
            self._own.add(sent.job_id)
            return sent

    def attach(self, path: Path) -> dict[str, Any]:
        """Hand in a file, to go with the next message; what is known of it."""
        found = upload(self.api, path)
        self.files.append(found)
        return found

    def again(self) -> str:
        """The same words once more, in the place of those said last; the id of the new job."""
        with self._lock:
            body = {"external_id": uuid7(), "channel": CHANNEL}
            sent = self.api.post(f"/api/v1/messages/{quote(self.message)}/again", body)
            self.last, self.message = str(sent["job_id"]), str(sent["message_id"])
            self._own.add(self.last)
            return self.last

    def own(self, job_id: str) -> None:
        """Its answer is shown by who follows it, not as a message."""
        self._own.add(job_id)

    def news(self) -> News:
        """What was said in the conversation since we looked last, elsewhere or by itself."""
        with self._lock:
            if not self._begun:
                return News([])
            first = self._seen < 0
            found = self._page(_FIRST if first else _PAGE)
            mine = [one for one in found if one.get("job_id") not in self._own]
            for one in found:
                if one["role"] == "owner":
                    self.said, self.message = str(one["text"]), str(one.get("id", ""))
                    self.last = str(one["job_id"] or "")
            if first:
                asked = self.under_way()
                mine = [one for one in mine if one["role"] == "owner" or one["job_id"] not in asked]
            else:
                over = {one.get("job_id") for one in mine if one["role"] != "owner"}
                jobs = [str(one["job_id"] or "") for one in mine if one["role"] == "owner"]
                asked = [job for job in jobs if job and job not in over]
            self._own |= {*asked}
            return News(mine, asked)

    @property
    def begun(self) -> bool:
        """Whether there is a conversation to be looked at."""
        return self._begun

    def happens(self) -> Exchange:
        """A stream of what happens in the conversation from now on, but for answers that come."""
        path = f"/api/v1/sessions/{quote(self.session)}/events"
        return self.api.stream(path + query({"after": self._seen, "most": 0, "quiet": 1}))

    def _page(self, limit: int) -> list[dict[str, Any]]:
        found = self.api.get(
            "/api/v1/messages", session=self.session, after=self._seen, limit=limit, read=1
        )["messages"]
        self._seen = max([self._seen, 0, *(int(one["seq"]) for one in found)])
        return list(found)

    def under_way(self) -> list[str]:
        """Jobs of this conversation that are not over, the oldest first."""
        if not self._begun:
            return []
        try:
            view = self.api.get(f"/api/v1/sessions/{quote(self.session)}")
        except Refused as error:
            if error.status == 404:  # nothing was said in it yet
                return []
            raise
        return [str(job["id"]) for job in view["jobs"]]

    def cancel(self, job_id: str) -> None:
        self.api.post(f"/api/v1/jobs/{quote(job_id)}/cancel")

    def revive(self, job_id: str) -> None:
        self.api.post(f"/api/v1/jobs/{quote(job_id)}/retry")

    def state(self, job_id: str) -> str:
        return str(self.api.get(f"/api/v1/why/{quote(job_id)}")["job"]["state"])

    def move(self, session: str) -> None:
        """Go over to another conversation, or to one off the record that has no name yet."""
        if self.off:
            self.leave()
        with self._lock:
            self.session, self._begun = session, not self.off
            self._seen, self.last, self.said, self.message, self.replaces = -1, "", "", "", ""
            self._own = set()
            self.visit += 1

    def anew(self, name: str = "") -> str:
        """Begin a new conversation; its name."""
        self.move(name or f"chat-{uuid7()[-12:]}")
        return self.session

    def leave(self) -> None:
        """The owner goes; what was off the record is forgotten."""
        if self.off and self._begun:
            leave(self.api, self.session)

    # --- questions ---

    def question(self, ident: str) -> dict[str, Any]:
        """A question about a call, by its own id or its job's."""
        return dict(self.api.get(f"/api/v1/approvals/{quote(ident)}"))

    def decide(self, ident: str, word: str, text: str = "") -> dict[str, Any]:
        """The owner's word on it."""
        body = {"answer": word, "text": text}
        return dict(self.api.post(f"/api/v1/approvals/{quote(ident)}/answer", body)["approval"])

    def resume(self, job_id: str, word: str) -> None:
        """The owner's word on a step of which nobody knows whether it was done."""
        self.api.post(f"/api/v1/jobs/{quote(job_id)}/answer", {"answer": word})

    # --- conversations ---

    def sessions(self, like: str = "", limit: int = 20) -> list[dict[str, Any]]:
        """The conversations there are, the newest first."""
        page = self.api.get("/api/v1/sessions", like=like, limit=limit)
        return list(page["sessions"])

    def rename(self, name: str) -> None:
        """Call this conversation something."""
        self.api.post(f"/api/v1/sessions/{quote(self.session)}", {"name": name})

    def end(self) -> None:
        """End it; what is said in it later begins it again."""
        self.api.post(f"/api/v1/sessions/{quote(self.session)}/end")

    def find(self, words: str) -> list[dict[str, Any]]:
        """Messages that hold these words, in all conversations, the newest first."""
        return list(self.api.get("/api/v1/search", q=words, limit=20)["hits"])

    def named(self, word: str) -> str:
        """The conversation that a word means: its name or title, or a piece of one that only one
        has. A name that nobody has yet begins a conversation."""
        try:
            found = self.sessions(like=word, limit=50)
        except SteadError:
            return word
        for fits in (_is, _has):
            names = [str(one["id"]) for one in found if fits(one, word)]
            if word in names or (not names and fits is _has):
                return word
            if len(names) == 1:
                return names[0]
        return word

    def history(self) -> list[str]:
        """What one has said in this conversation, the newest first. It is the record itself, so
        what is forgotten is not kept here."""
        return [] if self.off else list(self._said_in(self.session, 200))

    def more_history(self) -> Iterator[str]:
        """And in others."""
        if self.off:
            return
        try:
            for one in self.sessions(limit=_OTHERS):
                if one["id"] != self.session:
                    yield from self._said_in(str(one["id"]), 50)
        except SteadError:  # what there is must do
            return

    def _said_in(self, session: str, limit: int) -> Iterator[str]:
        page = self.api.get("/api/v1/messages", session=session, after=-1, limit=limit)
        for one in reversed(page["messages"]):
            if one["role"] == "owner" and one.get("channel") in _TYPED and one["text"]:
                yield str(one["text"])


def _is(one: dict[str, Any], word: str) -> bool:
    return word.casefold() in (str(one["id"]).casefold(), title(one).casefold())


def _has(one: dict[str, Any], word: str) -> bool:
    return word.casefold() in f"{one['id']}\n{title(one)}".casefold()


def title(one: dict[str, Any]) -> str:
    """What a conversation is called."""
    return str(one.get("title") or one.get("name") or "")


def with_files(message: dict[str, Any]) -> str:
    """What a message says, and the names of the files that hang on it."""
    files = [f"[file: {one_line(str(one['name']), 60)}]" for one in message.get("files") or ()]
    return "\n".join([text for text in (str(message["text"]), *files) if text])
