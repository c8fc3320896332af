"""Tells browsers that are not looking: what waits for the owner, and answers asked for in a page.

Best effort by its nature (a phone may be off for days); what is said is in the record anyway. So a
push is tried a few times and then left, and what is older than a day is not told any more. How far
things were told is kept: nothing is told twice after a restart, and nothing in between is missed.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import logging
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

from stead.core.errors import BadRequest, StoreUnusable
from stead.core.people import outside, person_of
from stead.core.push import PushStore, Subscription, Word
from stead.core.storage import FactStore
from stead.net.http import Client, HttpFailed

log = logging.getLogger(__name__)

PAGE = "page"
"""The channel of what is said in the page: who asks there may have gone since."""

_LOOK_S = 30.0
_DAY_S = 86_400
_MOST = 50
#: So many notices of one look go to a browser one by one; more are told in one.
_EACH = 4
_WAITS_S = (2.0, 10.0, 60.0)
_TIMEOUT_S = 20.0
_MARK = "push_mark"
_B64 = re.compile(r"[A-Za-z0-9_-]+=*")
#: A payload is made this long, or a multiple: its length tells the push service nothing.
_STEP = 512


class _Store(PushStore, FactStore, Protocol):
    """What the pusher asks of a storage."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How the owner wants it."""

    services: tuple[str, ...]
    """Hosts (``*`` for a part, ``host:port`` for another port) that pushes may go to."""
    contact: str
    """A URI by which a push service can reach who runs this: mailto: or https:."""
    words: bool
    """Whether notices show what was said; else only that something was."""
    offline: bool


@dataclass(frozen=True, slots=True)
class Notice:
    """What a browser shows (``worker.js``)."""

    title: str
    body: str
    path: str
    tag: str
    """A later one with the same tag takes its place."""

    def text(self) -> str:
        told = {"title": self.title, "body": self.body, "path": self.path, "tag": self.tag}
        plain = json.dumps(told, ensure_ascii=False)
        return plain + " " * (-len(plain.encode()) % _STEP)


class Pusher:
    """``secret``: of the house's key pair."""

    def __init__(self, store: _Store, secret: str, terms: Terms) -> None:
        self._store = store
        self._secret = secret
        self._terms = terms
        self._public = ""
        self._anybody = True
        """Whether a browser wants to be told, as far as is known: where none does, an answer costs
        nothing here."""
        self._news = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()

    # --- who wants to be told ----------------------------------------------------------------

    async def public(self) -> str:
        """The house's public key, as ``PushManager.subscribe`` takes it."""
        if not self._public:
            self._public = str((await self._sealed([]))["public"])
        return self._public

    async def subscribe(
        self, person: str, device: str, endpoint: str, p256dh: str, auth: str
    ) -> Subscription:
        """Raises ``BadRequest`` for what is no subscription, or goes somewhere unknown."""
        parts = urlsplit(endpoint)
        if parts.scheme != "https" or not parts.hostname or len(endpoint) > 2000 or parts.username:
            raise BadRequest("The endpoint of a subscription is an https URL.", param="endpoint")
        if not self._known(parts.netloc):
            raise BadRequest(
                f"stead does not know the push service {parts.netloc[:100]}. If it is right, add it"
                " to `services` in [push] of stead.toml.",
                param="endpoint",
            )
        if not (_B64.fullmatch(p256dh) and len(p256dh.rstrip("=")) == 87):
            raise BadRequest("p256dh is a P-256 point, base64url.", param="keys.p256dh")
        if not (_B64.fullmatch(auth) and len(auth.rstrip("=")) == 22):
            raise BadRequest("auth is 16 bytes, base64url.", param="keys.auth")
        if not await self._store.subscriptions():  # what was said before is not told now
            await self._store.set_fact(_MARK, str(await self._store.last_word()))
        made = await self._store.subscribe(person, device, endpoint, p256dh, auth)
        self._anybody = True
        return made

    def _known(self, place: str) -> bool:
        place = place.lower().removesuffix(":443")
        return any(fnmatchcase(place, known.lower()) for known in self._terms.services)

    async def test(self, person: str) -> int:
        """Send a notice to each browser of a person; how many there are."""
        mine = [one for one in await self._store.subscriptions() if one.person == person]
        notice = Notice("stead", "This is how stead tells you something.", "/", "test")
        self._send([(one, notice) for one in mine])
        return len(mine)

    # --- telling -----------------------------------------------------------------------------

    def nudge(self) -> None:
        """Something was said."""
        self._news.set()

    async def run(self) -> None:
        """Tell what is said from now on, until cancelled."""
        while True:
            try:
                await self._look()
            except StoreUnusable as error:
                log.warning("could not look at what is to be told: %s", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._news.wait()
            self._news.clear()

    async def aclose(self) -> None:
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)

    async def _look(self) -> None:
        if not self._anybody:
            return
        known = await self._store.subscriptions()
        mark = await self._store.fact(_MARK)
        self._anybody = bool(known)
        if not known or mark is None:
            return
        while words := await self._store.words_after(int(mark), _MOST):
            mark = str(words[-1].seq)
            letters = [
                (one, notice)
                for one in known
                for notice in notices([w for w in words if _for(one, w)], self._terms.words)
            ]
            self._send(letters)
            await self._store.set_fact(_MARK, mark)

    def _send(self, letters: Sequence[tuple[Subscription, Notice]]) -> None:
        if letters and not self._terms.offline:
            task = asyncio.create_task(self._deliver(letters), name="push")
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _deliver(self, letters: Sequence[tuple[Subscription, Notice]]) -> None:
        try:
            answer = await self._sealed(letters)
        except (OSError, ValueError, KeyError) as error:
            log.error("notices could not be sealed: %s", error)
            return
        pairs = zip(letters, answer["sealed"], strict=True)
        await asyncio.gather(*(self._try(one, notice, seal) for (one, notice), seal in pairs))

    async def _try(self, one: Subscription, notice: Notice, seal: dict[str, str]) -> None:
        """Hand one over, in a few tries."""
        if "wrong" in seal:
            log.warning("a subscription is dropped: %s", seal["wrong"])
            await self._store.subscription_told(one.id, gone=True)
            return
        for wait_s in (*_WAITS_S, 0.0):
            status = await self._post(one, notice, seal)
            if status in (404, 410):  # RFC 8030, 7.3: it is no more
                await self._store.subscription_told(one.id, gone=True)
                return
            if 200 <= status < 300:
                await self._store.subscription_told(one.id, gone=False)
                return
            if status not in (0, 429) and status < 500:
                break
            if wait_s:
                await asyncio.sleep(wait_s)
        log.warning("%s did not take a notice: %s", urlsplit(one.endpoint).netloc, status or "away")

    async def _post(self, one: Subscription, notice: Notice, seal: dict[str, str]) -> int:
        """The status; 0: not reached."""
        parts = urlsplit(one.endpoint)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        topic = hashlib.sha256(notice.tag.encode()).hexdigest()[:32]
        headers = {
            "authorization": seal["authorization"],
            "content-encoding": "aes128gcm",
            "content-type": "application/octet-stream",
            "ttl": str(_DAY_S),
            "urgency": "normal",
            "topic": topic,
        }
        try:
            async with Client(f"https://{parts.netloc}", max_idle=0, max_body=65_536) as client:
                answer = await client.request(
                    "POST", path, body=_decoded(seal["body"]), headers=headers, timeout=_TIMEOUT_S,
                    retry=False,
                )  # fmt: skip
        except HttpFailed as error:
            log.info("push: %s", error)
            return 0
        return answer.status

    async def _sealed(self, letters: Sequence[tuple[Subscription, Notice]]) -> dict[str, Any]:
        """Of ``stead.push.seal``. Raises ``OSError`` or ``ValueError`` where it failed."""
        asked = {
            "secret": self._secret,
            "sub": self._terms.contact,
            "at": int(time.time()),
            "letters": [
                {"endpoint": one.endpoint, "p256dh": one.p256dh, "auth": one.auth,
                 "text": notice.text()}
                for one, notice in letters
            ],
        }  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "stead.push.seal",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        try:
            async with asyncio.timeout(60.0):
                out, wrong = await process.communicate(json.dumps(asked).encode())
        except TimeoutError:
            raise OSError("it took longer than a minute") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        if process.returncode:
            raise OSError(wrong.decode(errors="replace").strip().splitlines()[-1:] or "no words")
        told: dict[str, Any] = json.loads(out)
        return told


def _for(one: Subscription, word: Word) -> bool:
    """Whether that browser is told of it: notices, and answers to what was asked in a page."""
    if word.at < time.time() * 1000 - _DAY_S * 1000 or person_of(word.session) != one.person:
        return False
    return word.role == "notice" or word.channel == PAGE


def notices(words: Sequence[Word], shown: bool) -> list[Notice]:
    """What is shown for what was said: the newest of each conversation, or how many."""
    newest = {word.session: word for word in words}
    if len(newest) > _EACH:
        return [Notice("stead", f"{len(words)} new messages.", "/", "many")]
    return [_notice(word, shown) for word in newest.values()]


def _notice(word: Word, shown: bool) -> Notice:
    if word.question:
        title, path, plain = "stead asks you", "/approvals", "Something waits for your word."
    elif word.role == "notice":
        title, path, plain = "stead", _place(word.session), "There is something to know."
    else:
        title, path, plain = "stead has answered", _place(word.session), "There is an answer."
    body = " ".join(word.text.split())
    if len(body) > 160:
        body = body[:159] + "\N{HORIZONTAL ELLIPSIS}"
    return Notice(title, body if shown and body else plain, path, word.session)


def _place(session: str) -> str:
    """Where a conversation is read."""
    return f"/chat/{quote(outside(session), safe='')}"


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
