"""A cheap look at the live state before a remembered thing is shown: live state counts for more.

Only what can be known on this machine in a few milliseconds is looked at: whether a path is there,
whether anything answers on a port of this machine. A memory that names another machine is left
alone, as is a path whose folder is not there at all (another machine, a drive that is not mounted):
that it cannot be seen does not make it false. Versions and flags are not tried out: a program that
is named in a text is not run for it.

What is caught stale is shown as such at once. It is closed (with the date of today, nothing
deleted or written over) when it is caught a second time, a while later: a service may be down for a
moment, a folder on its way elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stead.core.storage import FactStore
from stead.memory.nouns import Entry, Hit, Layer
from stead.memory.recall.words import day

log = logging.getLogger(__name__)

_PATH = re.compile(r"(?<![\w:/.@~-])(?:~|/[\w.+@~-]+)(?:/[\w.+@~-]+)+")
_HERE = r"(?:localhost|127\.0\.0\.1|\[::1\]|this machine|here|diese[mr]? (?:maschine|rechner))"
_PORT = re.compile(rf"(?i){_HERE}\s*(?::|,?\s*(?:on\s+)?(?:port|auf port)\s+)(\d{{2,5}})\b")
_LISTENS = re.compile(
    r"(?i)\b(?:listens?|runs?|lauscht|läuft|answers?)\b[^.\n]{0,40}?\bport (\d{2,5})\b"
)
#: Names another machine: nothing of it can be seen from here.
_ELSEWHERE = re.compile(
    r"(?i)\b(?:nas|router|laptop|phone|handy|pi|raspberry|vps|remote|vm|container|ssh)\b"
    r"|\b\d{1,3}(?:\.\d{1,3}){3}\b(?<!127\.0\.0\.1)|\b[\w-]+@[\w.-]+|\b[\w-]+\.(?:local|lan|home)\b"
)
_MOUNTED = ("/mnt", "/media", "/run/media", "/Volumes", "/net", "/proc", "/sys", "/dev")
_MOST = 4
"""Claims of one entry that are looked at."""
_AGAIN_MS = 3_600_000

Close = Callable[[Entry, int, str], Awaitable[bool]]
"""Gives an entry its end date (ms), with why; False where that cannot be done to it."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Something of this machine that a text says is so."""

    path: str = ""
    port: int = 0

    @property
    def words(self) -> str:
        return (
            f"{self.path} is not there"
            if self.path
            else f"nothing answers on port {self.port} of this machine"
        )


def claims_of(text: str) -> list[Claim]:
    """What in a text can be looked at from here; nothing where it speaks of another machine."""
    plain = _PATH.sub("", re.sub(_HERE, "", text, flags=re.IGNORECASE))
    if _ELSEWHERE.search(plain):
        return []
    found = [Claim(path=match[0].rstrip(".,-")) for match in _PATH.finditer(text)]
    ports = [*_PORT.finditer(text), *_LISTENS.finditer(text)]
    found += [Claim(port=int(match[1])) for match in ports if 0 < int(match[1]) < 65_536]
    return list(dict.fromkeys(found))[:_MOST]


async def fails(claim: Claim, within_s: float) -> bool:
    """Whether the live state speaks against it. What cannot be told in time counts for it."""
    try:
        async with asyncio.timeout(within_s):
            if claim.path:
                return await asyncio.to_thread(_missing, claim.path)
            return not await _answers(claim.port)
    except TimeoutError:
        return False


def _missing(named: str) -> bool:
    """Whether a path is gone from a folder that is there. One with a space in its name ends, in a
    text, where that begins: then what begins so counts as it."""
    path = Path(os.path.expanduser(named))
    if str(path).startswith(tuple(f"{place}/" for place in _MOUNTED)) or os.path.lexists(path):
        return False
    if path.parent == Path("/") or not path.parent.is_dir():
        return False
    with contextlib.suppress(OSError), os.scandir(path.parent) as there:
        return not any(one.name.startswith(f"{path.name} ") for one in there)
    return False


async def _answers(port: int) -> bool:
    for host in ("127.0.0.1", "::1"):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
            return True
    return False


class Checks:
    """Looks at what is about to be shown."""

    def __init__(self, facts: FactStore, close: Close | None = None) -> None:
        self._facts = facts
        self.close = close
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, hits: Sequence[Hit], within_s: float) -> dict[str, str]:
        """What speaks against each, by key: for what still holds and is no mere talk of a day."""
        named = [
            (hit.entry, claim)
            for hit in hits
            if not hit.entry.until and not hit.entry.foreign
            for claim in claims_of(hit.entry.text)
        ]
        if not named or within_s <= 0:
            return {}
        stale = await asyncio.gather(*(fails(claim, within_s) for _, claim in named))
        now = time.time_ns() // 1_000_000
        against: dict[str, str] = {}
        for (entry, claim), is_stale in zip(named, stale, strict=True):
            if is_stale and entry.key not in against:
                against[entry.key] = (
                    f"no longer true as of {day(now)}: {claim.words} (looked just now)"
                )
                self._caught(entry, now, claim.words)
        return against

    def _caught(self, entry: Entry, now: int, why: str) -> None:
        if entry.layer not in (Layer.CARD, Layer.FACT, Layer.STANDING):
            return  # what was said on a day stays said
        task = asyncio.create_task(self._note(entry, now, why), name="stale memory")
        self._tasks.add(task)
        task.add_done_callback(self._noted)

    def _noted(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.warning("what was found stale could not be closed: %s", task.exception())

    async def _note(self, entry: Entry, now: int, why: str) -> None:
        name = f"stale:{entry.key}"
        since = await self._facts.fact(name)
        if since is None:
            await self._facts.set_fact(name, str(now))
        elif now - int(since) >= _AGAIN_MS:
            closed = self.close is not None and await self.close(
                entry, now, f"{why} (looked twice)"
            )
            if closed:
                await self._facts.set_fact(name, None)
                log.info("closed what no longer holds: %s", entry.source)

    async def settled(self) -> None:
        """Wait until what was caught is noted."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
