"""A flow over a real storage, with a worker that does as it is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stead.core.ids import uuid7
from stead.core.nouns import Inbound, Job, Trouble
from stead.core.place import BEGINNING, Place
from stead.core.states import Failure
from stead.core.storage import Accepted, Ended
from stead.core.wire import Event, Events, Finish
from stead.flow.flow import Flow, Tries
from stead.flow.live import Live
from stead.flow.router import Router
from stead.memory.daily import DailyLog
from stead.queue.policy import Policy
from stead.queue.queue import Queue
from stead.store.sqlite import SqliteStore


class House:
    """Everything between a message and its reply but the network."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open()

    def _open(self) -> None:
        self.store = SqliteStore(self._folder / "state.db", self._folder / "copies")
        self.queue = Queue(self.store, Policy(backoff_ms=0))
        self.live = Live()
        self.daily = DailyLog(self._folder / "memory", self.store)
        self.flow = Flow(
            self.store, self.queue, Router(), self.live, self.daily, Tries(tries=2, crashes=2)
        )
        self.replies = 0
        self.accepted = 0
        self.flow.on_reply(self._replied)
        self.flow.on_accept(self._accepted)

    def _replied(self) -> None:
        self.replies += 1

    def _accepted(self) -> None:
        self.accepted += 1

    async def restart(self) -> None:
        self.store.close()
        self._open()
        await self.queue.start()

    async def say(self, text: str = "do it", **more: Any) -> Accepted:
        more.setdefault("channel", "cli")
        more.setdefault("external_id", uuid7())
        return await self.flow.accept(Inbound(text=text, **more))

    async def claim(self, node: str = "n1", boot: str = "b1", light: bool = False) -> Job:
        granted = await self.queue.claim(
            request_id=uuid7(), node_id=node, boot=boot, lanes=["chat", "background"],
            labels=["@gateway"] if light else [], wait_s=0.0,
        )  # fmt: skip
        assert granted is not None
        return granted.job

    async def tell(self, job: Job, *events: Event) -> bool:
        assert job.node_id is not None
        report = Events(uuid7(), job.id, job.epoch, list(events))
        return await self.flow.events(job.node_id, report)

    async def settle(
        self,
        job: Job,
        outcome: str = "done",
        text: str = "",
        failure: Failure | None = None,
        ident: str = "",
        **more: Any,
    ) -> Ended:
        assert job.node_id is not None
        trouble = Trouble(failure, "it broke") if failure else None
        report = Finish(ident or uuid7(), job.id, job.epoch, outcome, text, trouble=trouble, **more)
        return await self.flow.settle(job.node_id, report)

    async def sent(self, channel: str = "cli") -> list[tuple[str, str]]:
        """What is in the outbox, as (role, text); it is delivered by this."""
        found = []
        while taken := await self.store.take(channel):
            for one in taken:
                await self.store.delivered(one.id)
                found.append((one.role, one.text))
        return found

    async def log(self) -> str:
        """The daily log, written now."""
        await self.daily.write_pending()
        return "".join(self._pages())

    def _pages(self) -> list[str]:
        return [path.read_text() for path in sorted((self._folder / "memory").glob("*.md"))]

    async def watched(self, job_id: str, place: Place = BEGINNING) -> list[tuple[str, str]]:
        return [
            (seen.type, seen.text)
            async for seen in self.live.watch(job_id, place)
            if seen is not None
        ]
